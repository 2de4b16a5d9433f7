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


def reach(address: str, host: str, port: int) -> None:
    """Return when something listens at *host* and *port*, which *address* names; else raise ConnectionError."""
    import socket  # noqa: PLC0415 only for clusters

    until = clock.monotonic() + SECONDS
    is_first = True
    while True:
        try:
            socket.create_connection((host, port), _TRY_SECONDS).close()
        except OSError as error:
            if clock.monotonic() >= until:
                reason = f"nothing has answered at {redact_address(address)} for {SECONDS:.0f} s: {error}"
                raise ConnectionError(reason) from None
        else:
            return
        if is_first:
            text = "Nothing answers at %s, where tasks are to run; it is tried for %.0f s"
            log(losses.logger, logging.WARNING, text, redact_address(address), SECONDS)
        is_first = False
        clock.sleep(_PAUSE_SECONDS)
