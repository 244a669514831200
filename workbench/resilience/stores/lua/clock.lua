-- What time it is, in microseconds since the Unix epoch: the server's, so that no caller's clock counts.
-- Tests put a line of their own in place of these.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local hold = 0 -- milliseconds for which keys are kept beyond their life
