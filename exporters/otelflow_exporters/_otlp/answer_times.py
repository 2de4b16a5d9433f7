"""One time limit for a whole answer over HTTP, however many pieces it comes in.

The time limit of a socket is one for each piece: who sends one byte after the other would be listened to for ever, and
Python's HTTP reads a status line and headers to their end before anybody can look at the clock.
"""

import functools
import http.client
import io
import socket
from typing import Any, Final, TypeVar

from otelflow._core.process import clock

T = TypeVar("T")

_NO_ANSWER: Final = "timed out"


class _Answer(io.RawIOBase):
    """What comes from *connection*, of which *raw* reads, until *deadline* on ``clock.monotonic()``."""

    def __init__(self, connection: socket.socket, raw: Any, deadline: float) -> None:
        super().__init__()
        self._connection = connection
        self._raw = raw
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - clock.monotonic()
        if left <= 0:
            raise TimeoutError(_NO_ANSWER)
        seconds = self._connection.gettimeout()
        self._connection.settimeout(left)
        try:
            count: int | None = self._raw.readinto(buffer)
        finally:
            self._connection.settimeout(seconds)  # the next request is sent with that
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Connection:
    """Hands an ``HTTPResponse`` a file that reads from *connection* for so many *seconds* in all."""

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self._connection = connection
        self._deadline = clock.monotonic() + seconds

    def makefile(self, *_: object) -> io.BufferedReader:
        raw = self._connection.makefile("rb", buffering=0)
        return io.BufferedReader(_Answer(self._connection, raw, self._deadline))


def _response(connection: socket.socket, *args: Any, **keywords: Any) -> http.client.HTTPResponse:
    seconds = connection.gettimeout()
    bounded: Any = connection if seconds is None else _Connection(connection, seconds)
    return http.client.HTTPResponse(bounded, *args, **keywords)


@functools.cache
def _bounded(pool: Any) -> Any:
    """Return the kind *pool* of a pool, whose connections read an answer within one time limit."""
    kind = pool.ConnectionCls
    if getattr(kind, "response_class", None) is not http.client.HTTPResponse:  # somebody's own, or bounded already
        return pool
    connection = type(kind.__name__, (kind,), {"response_class": staticmethod(_response)})
    return type(pool.__name__, (pool,), {"ConnectionCls": connection})


def _bound_pools(pools: Any) -> Any:
    kinds = getattr(pools, "pool_classes_by_scheme", None)
    if isinstance(kinds, dict):
        pools.pool_classes_by_scheme = {scheme: _bounded(kind) for scheme, kind in kinds.items()}
    return pools


def bound_answers(session: T) -> T:
    """Return *session* of ``requests``, in which the time limit of a request is one for the whole of its answer."""
    for adapter in getattr(session, "adapters", {}).values():
        _bound_pools(getattr(adapter, "poolmanager", None))
        make = getattr(adapter, "proxy_manager_for", None)
        if make is not None:
            adapter.proxy_manager_for = lambda *args, make=make, **keywords: _bound_pools(make(*args, **keywords))
    return session
