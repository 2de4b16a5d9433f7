"""One limit for a whole answer over HTTP, of its time and of its size; its status counts, whatever comes after that.

The time limit of a socket is one for each piece: who sends one byte after the other would be listened to for ever, and
Python's HTTP reads a status line and headers to their end before anybody can look at the clock. Whoever of ours asks
over HTTP does it by what is here: OTLP and the command line with ``requests``, the push of metrics with ``urllib``.
"""

import functools
import http.client
import io
import socket
import zlib
from typing import TYPE_CHECKING, Any, Final, TypeVar

from otelflow._core.process import clock

if TYPE_CHECKING:
    from urllib.request import OpenerDirector

T = TypeVar("T")

_NO_ANSWER: Final = "timed out"
# An answer is a few bytes; one that never ends is not read to its end.
_LARGEST_ANSWER: Final = 1024 * 1024
_PIECE: Final = 64
# The methods of requests that bring something: who asks for something needs the headers of the answer.
_SENDING: Final = frozenset({"POST", "PUT"})
# Of zlib, for how an answer is compressed; 0 where it is not
_WINDOW_BITS: Final = {"": 0, "identity": 0, "gzip": 31, "x-gzip": 31, "deflate": 15}


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
        self._connection.settimeout(left if seconds is None else min(left, seconds))
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


class _Response(http.client.HTTPResponse):
    """An answer to what was sent: if its headers cannot be read, it has none, and no content.

    Its status has told already what became of the request, which would be sent again else.
    """

    _method: str | None

    def begin(self) -> None:
        try:
            super().begin()
        except (http.client.HTTPException, OSError):
            head: tuple[object, object] = (self.status, self.version)  # words, as long as they have not come
            if self._method not in _SENDING or not all(isinstance(number, int) for number in head):
                raise
            self.headers = self.msg = http.client.HTTPMessage()
            self.chunked, self.will_close, self.length = False, True, 0
        lengths: Any = self.headers.get_all("Content-Length", [])
        if self.length is None or len(set(lengths)) > 1:  # urllib3 would refuse the answer for it
            del self.headers["Content-Length"]


@functools.cache
def _bounded_kind(kind: Any, seconds: float | None) -> Any:
    """Return the *kind* of a connection, bounded: *seconds* for an answer, or else what each piece may take."""

    def response(connection: socket.socket, *args: Any, **keywords: Any) -> http.client.HTTPResponse:
        limit = seconds or connection.gettimeout()
        bounded: Any = connection if limit is None else _Connection(connection, limit)
        return _Response(bounded, *args, **keywords)

    return type(kind.__name__, (kind,), {"response_class": staticmethod(response)})


@functools.cache
def _bounded(pool: Any, seconds: float | None) -> Any:
    """Return the kind *pool* of a pool, whose connections read an answer within one time limit."""
    kind = pool.ConnectionCls
    if getattr(kind, "response_class", None) is not http.client.HTTPResponse:  # somebody's own, or bounded already
        return pool
    return type(pool.__name__, (pool,), {"ConnectionCls": _bounded_kind(kind, seconds)})


def bound_answers(session: T, seconds: float | None = None) -> T:
    """Return *session* of ``requests``, in which a whole answer takes *seconds* at most.

    Without them, it takes no longer than the time limit of its request, which else is one for each piece.
    """

    def bound_pools(pools: Any) -> Any:
        kinds = getattr(pools, "pool_classes_by_scheme", None)
        if isinstance(kinds, dict):
            pools.pool_classes_by_scheme = {scheme: _bounded(kind, seconds) for scheme, kind in kinds.items()}
        return pools

    for adapter in getattr(session, "adapters", {}).values():
        bound_pools(getattr(adapter, "poolmanager", None))
        make = getattr(adapter, "proxy_manager_for", None)
        if make is not None:
            adapter.proxy_manager_for = lambda *args, make=make, **keywords: bound_pools(make(*args, **keywords))
    return session


def read_answer(response: Any, seconds: float) -> None:
    """Let the content of *response*, which ``requests`` has not read yet, be what comes of it in so many *seconds*.

    It is read until then only: the time limit of a socket is for each piece, and one byte after the other may come.
    """
    response._content = _content_of(response, clock.monotonic() + seconds)  # noqa: SLF001 else all of it is read, however much it is


def _content_of(response: Any, latest: float) -> bytes:
    """Return what an answer says besides its status, which has told already whether the request arrived."""
    content = b""
    read = getattr(response.raw, "read1", None)  # not before urllib3 2.1
    try:
        while len(content) < _LARGEST_ANSWER and clock.monotonic() < latest:
            piece = response.raw.read(_PIECE, decode_content=False) if read is None else read(decode_content=False)
            if not piece:
                break
            content += piece
        bits = _WINDOW_BITS[response.headers.get("Content-Encoding", "").strip().lower()]
        # Some hundred bytes may say that they are gigabytes: its beginning is all that counts.
        return zlib.decompressobj(bits).decompress(content, _LARGEST_ANSWER) if bits else content
    # The network, a body that is not compressed as it says, or in a way that was not asked for, such as several times
    except Exception:  # noqa: BLE001
        return b""


def bounded_opener() -> "OpenerDirector":
    """Return an opener of ``urllib`` in which the time limit of a request is one for the whole of its answer."""
    from urllib.request import HTTPHandler, HTTPSHandler, build_opener  # noqa: PLC0415 only where metrics are pushed

    class Bounded:
        def do_open(self, kind: Any, *args: Any, **keywords: Any) -> Any:
            return super().do_open(_bounded_kind(kind, None), *args, **keywords)  # type: ignore[misc]  # of a handler

    return build_opener(*(type(kind.__name__, (Bounded, kind), {}) for kind in (HTTPHandler, HTTPSHandler)))
