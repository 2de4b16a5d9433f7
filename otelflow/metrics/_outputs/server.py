"""What keeps /metrics answering: bounds in time and in number for connections, and no answer to a page of a stranger.

prometheus-client opens the server, with TLS or without; it is bounded here, before its loop looks at a connection.
"""

import contextlib
import io
import ipaddress
import select
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from otelflow._core.process import clock, forks, losses
from otelflow._core.text.safe_str import error_text

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

_READ_SECONDS: Final = 5.0
#: How long one connection may take in all, from its first byte to the last one of its answer
CONNECTION_SECONDS: Final = 10.0
_MOST_CONNECTIONS: Final = 64
# When one waits for a place, and none has become free for so long, connections that are older than this are ended.
_STUCK_SECONDS: Final = 1.0
# Of those that wait to be accepted; the system may allow less.
_BACKLOG: Final = 1_024
_LOOPBACK_NAMES: Final = frozenset(("localhost", "127.0.0.1", "::1"))


class Connections:
    """The connections of a server that are open, each with the moment by which it has to end."""

    def __init__(self) -> None:
        self._changed = threading.Condition(forks.new_lock())
        self._deadlines: dict[socket.socket, float] = {}
        self._answered: set[socket.socket] = set()
        self._released = 0.0
        self.is_closing = False

    def accept(self, connection: socket.socket) -> None:
        """Take *connection* in as soon as there is room for it; later ones stay in the backlog until then."""
        with self._changed:
            while len(self._deadlines) >= _MOST_CONNECTIONS and not self.is_closing:
                self._changed.wait(0.1)
                is_stuck = clock.monotonic() > self._released + _STUCK_SECONDS
                self.end_overdue(CONNECTION_SECONDS - _STUCK_SECONDS if is_stuck else 0.0)
            self._deadlines[connection] = clock.monotonic() + CONNECTION_SECONDS

    def answer(self, connection: socket.socket) -> None:
        """Let *connection*, whose request has been read, have all of its time: who takes long now is this process."""
        with self._changed:
            self._answered.add(connection)

    def release(self, connection: socket.socket) -> None:
        """Free the place of *connection*."""
        with self._changed:
            self._deadlines.pop(connection, None)
            self._answered.discard(connection)
            self._released = clock.monotonic()
            self._changed.notify_all()

    def end_overdue(self, early: float = 0.0) -> None:
        """End what takes too long, *early* seconds before its time: the thread that reads there gets an error.

        Whose request is here, read or not, is not at fault where nobody gets on, and has its whole time.
        """
        now = clock.monotonic()
        with self._changed:
            waits = [(sock, deadline - now, sock in self._answered) for sock, deadline in self._deadlines.items()]
        overdue = [
            connection
            for connection, left, is_answered in waits
            if left < 0 or (left < early and not is_answered and not has_something_to_read(connection))
        ]
        for connection in overdue:
            with contextlib.suppress(OSError):  # it has ended by itself
                # Not the one of an SSLSocket, which takes the TLS away from a thread that is still reading.
                socket.socket.shutdown(connection, socket.SHUT_RDWR)


def has_something_to_read(connection: socket.socket) -> bool:
    """Tell whether *connection* has sent something that is not read yet."""
    try:
        return bool(select.select([connection], (), (), 0)[0])
    except (OSError, ValueError):  # it is closed, or there are too many files for this
        return False


def bound(server: "WSGIServer") -> Connections:
    """Have each connection of *server* on a thread of its own from its first byte on, and bound them all."""
    if isinstance(server.socket, ssl.SSLSocket):
        listening: Any = server.socket
        listening.do_handshake_on_connect = False  # accept() hands it on; the first read makes the handshake
    server.socket.listen(_BACKLOG)  # again: prometheus-client's server refuses the sixth that comes at once
    connections = Connections()
    changed: Any = server
    handler, process, shut_down = changed.RequestHandlerClass, changed.process_request, changed.shutdown_request
    print_error = changed.handle_error

    def process_request(request: socket.socket, client_address: object) -> None:
        connections.accept(request)
        process(request, client_address)

    def shutdown_request(request: socket.socket) -> None:
        connections.release(request)
        shut_down(request)

    def handle_error(request: object, client_address: object) -> None:
        # A client that speaks no TLS, or is gone, is no error of ours; nor is one that was ended, and what comes of it.
        error = sys.exception()
        while error is not None:
            if isinstance(error, OSError):
                return
            error = error.__context__
        print_error(request, client_address)

    def parse_request(handling: Any) -> bool:
        is_request: bool = handler.parse_request(handling)
        if is_request:
            connections.answer(handling.connection)
        return is_request

    # Its stderr would be that of the program, with a traceback for each reader that is too slow.
    methods = {"timeout": _READ_SECONDS, "get_stderr": lambda _: io.StringIO(), "parse_request": parse_request}
    changed.RequestHandlerClass = type("Handler", (handler,), methods)
    changed.process_request = process_request
    changed.shutdown_request = shutdown_request
    changed.service_actions = connections.end_overdue  # the loop calls it every half a second
    changed.handle_error = handle_error
    return connections


def reported(application: Callable[..., Any]) -> Callable[..., Any]:
    """Return *application*; what it raises is one warning, and 500 for who asks."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        try:
            result: Iterable[bytes] = application(environ, start_response)
        except Exception as error:  # foreign code reads headers here, which anybody may send
            text = error_text(type(error).__name__, str(error))
            losses.warn_once("metrics request", "A request for /metrics could not be answered (%s)", text)
            raise
        return result

    return answer


def refuse_strange_hosts(application: Callable[..., Any], address: str, host: str) -> Callable[..., Any]:
    """Return *application*, which answers on a loopback *address* to the names of this machine and to *host* only.

    A page in a browser here can give its own name the address 127.0.0.1, and read what is answered (DNS rebinding).
    """
    if not ipaddress.ip_address(address.partition("%")[0]).is_loopback:
        return application
    names = {*_LOOPBACK_NAMES, address, host.lower()}

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        header = environ.get("HTTP_HOST")
        if header is None or _name_in(header) in names:  # every browser sends it
            result: Iterable[bytes] = application(environ, start_response)
            return result
        start_response("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
        return [b"This address is for localhost only. Choose another with OTELFLOW_METRICS=pull:HOST:PORT.\n"]

    return answer


def _name_in(header: str) -> str:
    """Return the name or address in a Host header, without its port."""
    name = header.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0].removesuffix(".")
