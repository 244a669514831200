"""A Redis of the tests' own: on loopback, in a folder of its own, ended by its process id."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

PATIENT = 10.0  # seconds: the machine that runs the tests may be busy, and no test waits for this long


class Server:
    """A redis-server that can be killed, paused and started again under the same address."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.options = options
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self, **options: object) -> "redis.Redis":
        return redis.Redis(port=self.port, socket_timeout=PATIENT, **options)

    def start(self) -> None:
        assert self.process is None
        for _ in range(20):  # a port may be taken between the look and the start
            port = self.port or free_port()
            words = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
            words += ["--dir", str(self.folder), "--daemonize", "no", "--loglevel", "warning", *self.options]
            self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            if self._answers(port):
                self.port = port
                return
            self._end(signal.SIGKILL)
        pytest.fail("redis-server did not start")

    def _answers(self, port: int) -> bool:
        with contextlib.closing(redis.Redis(port=port, socket_timeout=PATIENT)) as client:
            for _ in range(500):
                if self.process.poll() is not None:
                    return False
                with contextlib.suppress(redis.RedisError):
                    return client.info("server")["process_id"] == self.process.pid
                time.sleep(0.01)
        return False

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        if self.process is not None:
            self.resume()
            self._end(signal.SIGTERM)

    def pause(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        process, self.process = self.process, None
        process.send_signal(how)
        process.wait(timeout=PATIENT)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests that do it no harm."""
    need_redis()
    server = Server(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def fresh(redis_server: Server) -> Server:
    """The shared server, empty."""
    with contextlib.closing(redis_server.client()) as client:
        client.flushall()
    return redis_server


@pytest.fixture
def frail_with(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """``frail_with("--maxmemory", "1mb")``: a server with options, that the test may kill, pause or fill."""
    need_redis()
    servers: list[Server] = []

    def start(*options: str) -> Server:
        servers.append(Server(tmp_path, *options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def frail(frail_with: Callable[..., Server]) -> Server:
    """A server that the test may kill or pause."""
    return frail_with()


@pytest.fixture
def free_address() -> str:
    """An address at which nobody answers."""
    return f"redis://127.0.0.1:{free_port()}/0"


def need_redis() -> None:
    if shutil.which("redis-server") is None:
        message = "redis-server is not installed (Debian: apt install redis-server)"
        pytest.fail(message) if os.environ.get("WORKBENCH_CI") else pytest.skip(message)
