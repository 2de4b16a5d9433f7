"""How the start of a cluster's runner tells what it waits for, and that nothing answers."""

import concurrent.futures
import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

from otelflow._core.process import clock, losses
from otelflow._core.text.own_logger import log
from otelflow._core.text.redaction import redact_address

#: For so long an address that refuses is tried: a cluster may be about to begin
SECONDS: Final = 30.0
#: A cluster that answers no sooner is told of
SILENT_SECONDS: Final = 5.0
#: Of what takes connections and then says nothing: the library's own limit is to come first
MOST_SECONDS: Final = 2 * SECONDS
_TRY_SECONDS: Final = 2.0
_PAUSE_SECONDS: Final = 0.25
# How a client of HTTP/2, as gRPC is, begins; the server's own beginning is SETTINGS, too, whose type is the fourth byte
_GREETING: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
_SETTINGS: Final = 4


@contextlib.contextmanager
def told_when_silent(address: str) -> Iterator[None]:
    """Log what is waited for, if the block takes long: the libraries try for up to some minutes, and say nothing."""
    text = "Tasks wait for the cluster at %s, which has not answered yet; its own library says when it gives up"
    timer = threading.Timer(SILENT_SECONDS, log, (losses.logger, logging.WARNING, text, redact_address(address)))
    timer.daemon = True
    with contextlib.suppress(RuntimeError):  # there is no thread to be had
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def connected(address: str, connect: Callable[[], Any]) -> Any:
    """Return what *connect* returns, in a thread beside this one: it may wait for ever. Raises ConnectionError then."""
    answer: concurrent.futures.Future[Any] = concurrent.futures.Future()

    def work() -> None:
        try:
            answer.set_result(connect())
        except BaseException as error:  # noqa: BLE001 whoever waits gets it
            answer.set_exception(error)

    threading.Thread(target=work, name="otelflow-connects", daemon=True).start()
    with told_when_silent(address):
        concurrent.futures.wait([answer], MOST_SECONDS)
    if not answer.done():
        place = redact_address(address)
        raise ConnectionError(f"what listens at {place} has not answered for {MOST_SECONDS:.0f} s: is it a scheduler?")
    return answer.result()


def reach(address: str, host: str, port: int, *, has_tls: bool) -> None:
    """Return when a server of gRPC answers at *host* and *port*, which *address* names; else raise ConnectionError.

    What takes connections and says nothing is given up, too: Ray would wait for it, and end the program.
    """
    began = clock.monotonic()
    is_first = True
    while True:
        try:
            if _greets(host, port, began + MOST_SECONDS, has_tls=has_tls):
                return
        except TimeoutError:
            error, seconds, reason = None, MOST_SECONDS, "what listens at %s has not answered for %.0f s: is it Ray?"
        except OSError as trouble:
            error, seconds, reason = trouble, SECONDS, "nothing has answered at %s for %.0f s"
        else:
            raise ConnectionError(f"what listens at {redact_address(address)} is no Ray cluster")
        if clock.monotonic() >= began + seconds:
            text = reason % (redact_address(address), seconds)
            raise ConnectionError(text if error is None else f"{text}: {error}") from None
        if is_first and error is not None:
            text = "Nothing answers at %s, where tasks are to run; it is tried for %.0f s"
            log(losses.logger, logging.WARNING, text, redact_address(address), SECONDS)
            is_first = False
        clock.sleep(_PAUSE_SECONDS)


def _greets(host: str, port: int, until: float, *, has_tls: bool) -> bool:
    """Tell whether what listens there begins as HTTP/2 does; raises OSError, or TimeoutError once it is *until*."""
    import socket  # noqa: PLC0415 only for clusters

    try:
        connection = socket.create_connection((host, port), _TRY_SECONDS)
    except TimeoutError as error:  # it is silence only of what has taken the connection
        raise ConnectionError(error) from None
    with connection:
        connection.settimeout(max(_PAUSE_SECONDS, until - clock.monotonic()))
        if has_tls:  # which says enough: who it is, is for Ray to look at
            import ssl  # noqa: PLC0415 as above

            context = ssl._create_unverified_context()  # noqa: S323, SLF001
            context.set_alpn_protocols(["h2"])
            context.wrap_socket(connection, server_hostname=host).close()
            return True
        connection.sendall(_GREETING)
        answer = connection.recv(len(_GREETING))
        if not answer:
            raise ConnectionResetError("the connection was closed")
        return answer[3:4] == bytes((_SETTINGS,))
