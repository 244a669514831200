"""What is of WSGI alone."""

import threading

import pytest

from workbench.errors import CircuitOpenError
from workbench.resilience import MemoryStore
from workbench.resilience.middleware import RateLimitWSGI, Rule

ALL = "/{rest:path}"
REQUEST = {"REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": "/", "REMOTE_ADDR": "192.0.2.7"}


def test_what_the_application_gives_is_handed_on_as_it_is(store):
    class Stream:
        def __iter__(self):
            raise AssertionError("it was not to be read")

    stream = Stream()
    limited = RateLimitWSGI(lambda environ, start: stream, [Rule(ALL, "1/minute")], store=store)
    assert limited(dict(REQUEST), None) is stream


def test_what_start_response_gives_and_gets_is_handed_on(store):
    told = []

    def app(environ, start):
        write = start("500 Broken", [], ("kind", "error", None))
        write(b"x")
        return []

    def start_response(status, headers, error):
        told.append((status, error))
        return told.append

    RateLimitWSGI(app, [Rule(ALL, "1/minute")], store=store)(dict(REQUEST), start_response)
    assert told == [("500 Broken", ("kind", "error", None)), b"x"]


def test_threads_are_admitted_exactly(store):
    statuses = []
    barrier = threading.Barrier(8)

    def app(environ, start):
        start("200 OK", [])
        return []

    limited = RateLimitWSGI(app, [Rule(ALL, ["20/minute", "500/hour"])], store=store)

    def run():
        barrier.wait()
        for _ in range(10):
            limited(dict(REQUEST), lambda status, headers, error=None: statuses.append(status[:3]))

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (statuses.count("200"), statuses.count("429")) == (20, 60)


def test_an_open_breaker_becomes_a_503(wsgi):
    def app(environ, start):
        raise CircuitOpenError("open", name="db", retry_after=4)

    told = wsgi(RateLimitWSGI(app, [], store=MemoryStore()), REQUEST)
    assert (told.status, told.headers["retry-after"]) == (503, "4")


def test_once_an_answer_has_begun_its_error_is_the_server_s(wsgi):
    def app(environ, start):
        start("200 OK", [("Content-Type", "a/b")])
        raise CircuitOpenError("open", name="db", retry_after=4)

    with pytest.raises(CircuitOpenError):
        wsgi(RateLimitWSGI(app, [], store=MemoryStore()), REQUEST)


def test_a_refused_head_has_the_length_of_a_body_and_none(wsgi, store):
    limited = RateLimitWSGI(None, [Rule(ALL, "1/minute", cost=lambda request: 2)], store=store)
    head, get = (wsgi(limited, {**REQUEST, "REQUEST_METHOD": method}) for method in ("HEAD", "GET"))
    assert (head.status, head.headers, head.body) == (429, get.headers, b"")
    assert get.headers["content-length"] == str(len(get.body))
