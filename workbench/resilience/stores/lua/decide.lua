-- One decision on one charge or several: all of them are charged, or none is.
-- The same arithmetic as algorithms/ in Python, which says what it means; a test holds the two together.
--
-- KEYS[i]   where the state of charge i is kept
-- ARGV      '1' to charge or '0' to ask; then for each key: algorithm, cost, limit, period, capacity, phase
-- answer    for each key: allowed (1 or 0), remaining, retry_after (-1: never), next_after, reset_after
--
-- Times are whole microseconds. Numbers are doubles: the caller sees to it that no product reaches 2^53.
-- A refusal writes nothing, but for one case: a state from the future (the server's clock was set back) is settled to
-- now, or the key would wait until the clock has caught up.

local floor, ceil, max, min = math.floor, math.ceil, math.max, math.min
local NEVER = -1
local charging = ARGV[1] == '1'

local function broken(key)
  error('WBSTATE ' .. key .. ' holds something that is not the state of this limiter', 0)
end

-- Lua prints 14 digits of a number, and a time has 16.
local function whole(number)
  return string.format('%.0f', number)
end

local function milliseconds(life)
  return whole(max(1, ceil(life / 1000)) + hold)
end

local function keep(key, text, life)
  redis.call('SET', key, text, 'PX', milliseconds(life))
end

-- The counts of a window, kept as text: its number and so many numbers more.
local function counts(key, pattern)
  local text = redis.call('GET', key)
  if not text then return nil end
  local window, first, second = string.match(text, pattern)
  if not window then broken(key) end
  return tonumber(window), tonumber(first), tonumber(second)
end

-- Each algorithm has two parts. `ask` reads the state and says how long to wait (0: the cost fits now). `tell` is
-- called once all are known: it writes, and says what is left.

-- GCRA: one number, the time at which nothing is used any more.
local smooth = {}

function smooth.ask(asked)
  local interval = ceil(asked.period / asked.limit)
  local life = asked.capacity * interval
  local text = redis.call('GET', asked.key)
  local stored = text and (tonumber(text) or broken(asked.key)) or now
  asked.settled = stored - now > life
  asked.interval, asked.life, asked.tat = interval, life, min(max(stored, now), now + life)
  return asked.tat - now + asked.cost * interval - life
end

function smooth.tell(asked, charged)
  local used = asked.tat - now + charged * asked.interval
  if charged > 0 or asked.settled then keep(asked.key, whole(now + used), used) end
  if used == 0 then return asked.capacity, 0, 0 end
  local remaining = floor((asked.life - used) / asked.interval)
  return remaining, used + (remaining + 1) * asked.interval - asked.life, used
end

-- Log: when each unit was let through, oldest first, seven bytes a time, in one string. With a limit of 100 a full key
-- takes 0.9 kB in Redis 7.0; as a list, which decides a little faster, 1.2 kB; as a sorted set 3.7 kB.
local exact = {}
local WIDTH = 7
local SHORT = 128 -- up to this limit the string is read and written whole

local function stamps(count, time)
  return string.rep(struct.pack('>I7', time), count)
end

-- How many of the stamps are `time` or older. They are in order, so halving finds it.
local function up_to(time, at, size)
  local low, high = 0, size
  while low < high do
    local middle = floor((low + high) / 2)
    if at(middle) > time then high = middle else low = middle + 1 end
  end
  return low
end

function exact.ask(asked)
  local key, text, size = asked.key, nil, nil
  if asked.limit <= SHORT then
    text = redis.call('GET', key) or ''
    size = #text / WIDTH
  else
    size = redis.call('STRLEN', key) / WIDTH
  end
  if size ~= floor(size) then broken(key) end
  local function at(index)
    local from = index * WIDTH
    if text then return (struct.unpack('>I7', text, from + 1)) end
    return (struct.unpack('>I7', redis.call('GETRANGE', key, from, from + WIDTH - 1)))
  end
  if size > 0 and at(size - 1) > now then
    local past = up_to(now, at, size)
    text = string.sub(text or redis.call('GET', key), 1, past * WIDTH) .. stamps(size - past, now)
    asked.settled = true
  end
  local gone = up_to(now - asked.period, at, size)
  asked.text, asked.size, asked.gone = text, size, gone
  asked.oldest = gone < size and at(gone) or now
  asked.newest = gone < size and at(size - 1) or now
  local surplus = size - gone + asked.cost - asked.limit
  if surplus > 0 and asked.cost <= asked.limit then return at(gone + surplus - 1) + asked.period - now end
  return 0
end

function exact.tell(asked, charged)
  local key, period = asked.key, asked.period
  local live, newest = asked.size - asked.gone + charged, charged > 0 and now or asked.newest
  if charged > 0 or asked.settled then
    local more, life = stamps(charged, now), newest + period - now
    if asked.text or asked.gone * 2 >= asked.size then
      local text = live > charged and (asked.text or redis.call('GET', key)) or ''
      keep(key, string.sub(text, asked.gone * WIDTH + 1) .. more, life)
    else -- few bytes for a replica; written anew only once half of it is dead
      redis.call('APPEND', key, more)
      redis.call('PEXPIRE', key, milliseconds(life))
    end
  end
  if live == 0 then return asked.limit, 0, 0 end
  return asked.limit - live, asked.oldest + period - now, newest + period - now
end

-- Sliding counter: the number of the clock's window, the units of the one before, and those in it.
local approx = {}

function approx.wait(asked, cost)
  local limit, period, inside, current = asked.limit, asked.period, asked.inside, asked.current
  local room = limit - current - cost
  if room >= 0 then
    local enough = asked.previous > 0 and period - floor(room * period / asked.previous) or 0
    if enough < period then return enough - inside end
  end
  local later = current > 0 and period - floor((limit - cost) * period / current) or 0
  return period - inside + max(0, later)
end

function approx.ask(asked)
  local window = floor(now / asked.period)
  local stored, previous, current = counts(asked.key, '^(%d+) (%d+) (%d+)$')
  local age = stored and window - stored or 2
  asked.settled = age < 0
  if age == 1 then
    previous, current = current, 0
  elseif age > 1 then
    previous, current = 0, 0
  end
  asked.window, asked.inside, asked.previous, asked.current = window, now - window * asked.period, previous, current
  return approx.wait(asked, asked.cost)
end

function approx.tell(asked, charged)
  local limit, period, inside = asked.limit, asked.period, asked.inside
  asked.current = asked.current + charged
  local previous, current = asked.previous, asked.current
  local reset = (current > 0 and 2 * period or previous > 0 and period or inside) - inside
  if charged > 0 or asked.settled then
    keep(asked.key, whole(asked.window) .. ' ' .. whole(previous) .. ' ' .. whole(current), reset)
  end
  local remaining = max(0, limit - current - ceil(previous * (period - inside) / period))
  if remaining >= limit then return remaining, 0, 0 end
  return remaining, approx.wait(asked, remaining + 1), reset
end

-- Windows of the clock, shifted by the key's phase: the number of the window and the units in it.
local fixed = {}

function fixed.ask(asked)
  local window = floor((now + asked.phase) / asked.period)
  local stored, used = counts(asked.key, '^(%d+) (%d+)$')
  asked.settled = stored ~= nil and stored > window
  if not stored or stored < window then used = 0 end
  asked.window, asked.used = window, used
  asked.rest = (window + 1) * asked.period - now - asked.phase
  return used + asked.cost > asked.limit and asked.rest or 0
end

function fixed.tell(asked, charged)
  local used = asked.used + charged
  if charged > 0 or asked.settled then
    keep(asked.key, whole(asked.window) .. ' ' .. whole(used), asked.rest)
  end
  if used == 0 then return asked.limit, 0, 0 end
  return asked.limit - used, asked.rest, asked.rest
end

local algorithms = {smooth = smooth, exact = exact, approx = approx, fixed = fixed}
local all, fits = {}, true
for i, key in ipairs(KEYS) do
  local at = 6 * i - 4
  local asked = {
    key = key, algorithm = algorithms[ARGV[at]], cost = tonumber(ARGV[at + 1]), limit = tonumber(ARGV[at + 2]),
    period = tonumber(ARGV[at + 3]), capacity = tonumber(ARGV[at + 4]), phase = tonumber(ARGV[at + 5]),
  }
  local wait = asked.algorithm.ask(asked)
  if asked.cost > asked.capacity then
    asked.wait = NEVER
  else
    asked.wait = asked.cost == 0 and 0 or max(0, wait)
  end
  fits = fits and asked.wait == 0
  all[i] = asked
end

local answer = {}
for _, asked in ipairs(all) do
  if not charging then asked.settled = false end
  local remaining, next_after, reset_after = asked.algorithm.tell(asked, charging and fits and asked.cost or 0)
  for _, number in ipairs({asked.wait == 0 and 1 or 0, remaining, asked.wait, next_after, reset_after}) do
    answer[#answer + 1] = number
  end
end
return answer
