"""The load part: a real server under an open load, with the limiter before it and without.

Open means that requests are sent when they are due, whether or not earlier ones were answered in time, and that the
time of each counts from when it was due. A closed loop would wait with a slow server, and not see how slow it is.
A client is a connection; what is due while it waits for an answer is sent as soon as that is there.
"""

import asyncio
import contextlib
import json
import math
import re
import socket
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.timing import Case

__all__ = ["LIMIT", "Load", "Reply", "Serving", "cases", "faults_of", "serving"]

LIMIT = 200  # requests in a day, of all clients together: used up early in any run
_PATIENT = 60.0  # seconds
_CLIENTS = (100, 400)
_RATE = 1_000  # a second
_SECONDS = 20
_SHARES = (0.5, 0.99, 0.999)

_FIELDS = {
    "x-ratelimit-limit": r"[0-9]+",
    "x-ratelimit-remaining": r"[0-9]+",
    "x-ratelimit-reset": r"[0-9]+",
    "ratelimit-policy": rf'"load";q={LIMIT};w=86400',
    "ratelimit": r'"load";r=[0-9]+(;t=[1-9][0-9]*)?',
}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, and how long after it was due the last of it came, in seconds."""

    latency: float
    head: bytes
    body: bytes

    @property
    def status(self) -> int:
        return int(self.head[9:12])

    @property
    def headers(self) -> dict[str, str]:
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        pairs = [line.partition(":") for line in lines if line]
        return {name.lower(): value.strip() for name, _, value in pairs}


@dataclass
class Load:
    """``clients`` connections that together send ``rate`` requests a second for ``seconds``, evenly spread.

    ``replies`` grows while ``run`` runs. ``dropped``: requests of connections that the server closed.
    """

    port: int
    clients: int
    rate: float
    seconds: float
    replies: list[Reply] = field(default_factory=list, repr=False)
    dropped: int = 0

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        each = max(1, round(self.rate * self.seconds / self.clients))
        made = [_Client(self, each, self.clients / self.rate, number / self.rate) for number in range(self.clients)]
        for start in range(0, self.clients, 50):  # fewer than a listening socket keeps waiting
            batch = made[start : start + 50]
            await asyncio.gather(
                *(loop.create_connection(lambda one=one: one, "127.0.0.1", self.port) for one in batch)
            )
        begin = loop.time() + 0.05
        for client in made:
            client.begin(begin)
        await asyncio.gather(*(client.done for client in made))

    async def until(self, reached: Callable[[list[Reply]], bool]) -> None:
        """Wait for something to be seen in the replies."""
        async with asyncio.timeout(_PATIENT):
            while not reached(self.replies):
                await asyncio.sleep(0.01)

    def statuses(self) -> Counter[int]:
        return Counter(reply.status for reply in self.replies)

    def latency(self, share: float) -> float:
        """Seconds within which ``share`` of the requests were answered."""
        latencies = sorted(reply.latency for reply in self.replies)
        return latencies[max(0, math.ceil(share * len(latencies)) - 1)]


class _Client(asyncio.Protocol):
    """A connection and the times at which it is to send."""

    def __init__(self, load: Load, count: int, interval: float, offset: float) -> None:
        self._load, self._left, self._interval, self._due = load, count, interval, offset
        self._loop = asyncio.get_running_loop()
        self._buffer = b""
        self.done: asyncio.Future[None] = self._loop.create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def begin(self, at: float) -> None:
        self._due += at
        self._loop.call_at(self._due, self._send)

    def _send(self) -> None:
        self._transport.write(b"GET /work HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        length = re.search(rb"\r\ncontent-length: *([0-9]+)", self._buffer[:end], re.IGNORECASE)
        whole = end + 4 + (int(length[1]) if length else 0)
        if len(self._buffer) < whole:
            return
        latency = self._loop.time() - self._due
        self._load.replies.append(Reply(latency, self._buffer[:end], self._buffer[end + 4 : whole]))
        self._buffer = self._buffer[whole:]
        self._left -= 1
        self._due += self._interval
        if not self._left:
            self._transport.close()
        else:
            self._loop.call_at(self._due, self._send)  # at once, if that is past

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        self._load.dropped += self._left
        if not self.done.done():
            self.done.set_result(None)


def faults_of(reply: Reply) -> list[str]:
    """What is not right in a reply of the limited application."""
    told = reply.headers
    faults = [
        f"{name}: {told.get(name)}"
        for name, pattern in _FIELDS.items()
        if not re.fullmatch(pattern, told.get(name, "missing"))
    ]
    if faults:
        return faults
    limit, remaining, reset = (int(told[f"x-ratelimit-{name}"]) for name in ("limit", "remaining", "reset"))
    share, window = re.fullmatch(r'"load";r=([0-9]+)(?:;t=([0-9]+))?', told["ratelimit"]).groups("0")
    expected = {"remaining": 0 <= remaining <= limit <= LIMIT, "share": int(share) == remaining}
    if reply.status == 200:
        expected |= {"body": reply.body == b"hello", "no retry": "retry-after" not in told}
    else:
        wait = told.get("retry-after", "0")
        expected |= {
            "status": reply.status == 429,
            "retry": wait.isdigit() and max(1, int(window)) <= int(wait) <= reset,
            "type": told.get("content-type") == "application/problem+json",
            "cache": told.get("cache-control") == "no-store",
            "body": json.loads(reply.body).get("violated-policies") == ["load"],
        }
    return [f"{name}: {reply.status} {told}" for name, right in expected.items() if not right]


@dataclass(frozen=True)
class Serving:
    """A server in a process of its own."""

    port: int

    def snapshot(self) -> dict[str, Any]:
        """What the limiter there has counted."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/snapshot", timeout=_PATIENT) as answer:
            found: dict[str, Any] = json.load(answer)
            return found


@contextlib.contextmanager
def serving(*, limited: bool = True, redis: str = "", fail: str = "closed", instances: int = 1) -> Iterator[Serving]:
    """uvicorn in a child process, with the limiter before its application or without; counts in memory or Redis."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(512)
        options = {"limited": limited, "redis": redis, "fail": fail, "instances": instances}
        command = [sys.executable, "-m", "benchmarks.load", str(listener.fileno()), json.dumps(options)]
        root = Path(__file__).resolve().parents[1]
        child = subprocess.Popen(command, cwd=root, pass_fds=[listener.fileno()])
        try:
            found = Serving(listener.getsockname()[1])
            found.snapshot()  # the socket listens already, so this waits until the server answers
            yield found
        finally:
            child.terminate()
            child.wait(timeout=_PATIENT)


def _application(options: dict[str, Any]) -> Any:
    from workbench.resilience import MemoryStore, Quota
    from workbench.resilience.middleware import RateLimitASGI, Rule

    limits: list[Any] = []

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        told = scope["path"] == "/snapshot"
        body = json.dumps(limits[0].snapshot()[0] if limits else {}).encode() if told else b"hello"
        length = b"%d" % len(body)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
        await send({"type": "http.response.body", "body": body})

    if not options["limited"]:
        return app
    store: Any = MemoryStore()
    if options["redis"]:
        from workbench.resilience.stores.redis import AsyncRedisStore

        # Much time, as on a busy machine a slow answer is no dead server; one that is dead is known at once.
        store = AsyncRedisStore(options["redis"], fail=options["fail"], instances=options["instances"], timeout=5)
    quota = Quota("load", limit=LIMIT, per=86_400, algorithm="exact")
    limited = RateLimitASGI(app, [Rule("/snapshot", []), Rule("/{rest:path}", quota)], store=store)
    limits.append(limited.limits)
    return limited


def _serve(descriptor: int, options: dict[str, Any]) -> None:
    import uvicorn

    config = uvicorn.Config(
        _application(options), log_level="warning", access_log=False, lifespan="off", timeout_keep_alive=600
    )
    asyncio.run(uvicorn.Server(config).serve(sockets=[socket.socket(fileno=descriptor)]))


def _measured(clients: int, seconds: float, *, limited: bool) -> list[float]:
    """Latencies at the shares, in seconds, of one run. An answer that is not as it must be is an error."""
    with serving(limited=limited) as server:
        load = Load(server.port, clients, _RATE, seconds)
        asyncio.run(load.run())
    faults = [fault for reply in load.replies for fault in faults_of(reply)] if limited else []
    admitted = load.statuses()[200]
    if load.dropped or faults or admitted != (LIMIT if limited else len(load.replies)):
        raise AssertionError(f"{load.dropped} requests dropped, {admitted} admitted, {len(faults)} faults {faults[:3]}")
    return [load.latency(share) for share in _SHARES]


class _Runs:
    """Each run has all latencies, and each case asks for one of them: its nth question is about the nth run."""

    def __init__(self, measure: Callable[[], list[float]]) -> None:
        self._measure = measure
        self._runs: list[list[float]] = []

    def asked(self, at: int) -> Callable[[], float]:
        numbers = iter(range(10**9))

        def ask() -> float:
            number = next(numbers)
            while len(self._runs) <= number:
                self._runs.append(self._measure())
            return self._runs[number][at]

        return ask


def cases(folder: Path, scale: float) -> list[Case]:  # noqa: ARG001
    """All cases at ``scale`` (1 is full size)."""
    found = []
    for clients in _CLIENTS:
        seconds = max(1.0, _SECONDS * scale)
        ours = _Runs(lambda clients=clients, seconds=seconds: _measured(clients, seconds, limited=True))
        bare = _Runs(lambda clients=clients, seconds=seconds: _measured(clients, seconds, limited=False))
        found += [
            Case(
                name=f"latency p{share * 100:g} from when due",
                size=f"{clients} clients, {_RATE:,}/s, {seconds:g} s",
                unit="s",
                ours=ours.asked(at),
                peer=bare.asked(at),
                peer_name="uvicorn without limiter",
                rounds=1,
            )
            for at, share in enumerate(_SHARES)
        ]
    return found


if __name__ == "__main__":
    _serve(int(sys.argv[1]), json.loads(sys.argv[2]))
