"""What telemetry lost or got wrong: counted here, said once in the log, never raised."""

import logging
from collections import Counter
from typing import Final

from otelflow._core.process import forks
from otelflow._core.process.process import State
from otelflow._core.text.own_logger import log, own_logger
from otelflow._core.text.safe_str import comes_from_outside

logger: Final = own_logger("otelflow")

# How often one sentence is logged with other names in it, and how many sentences are logged
_MOST_OF_A_KIND: Final = 100
_MOST_KINDS: Final = 1_000
_LAST_OF_A_KIND: Final = " (no more warnings of this kind are logged)"


class _Losses(State):
    """The counts of this process, and the keys of the warnings that are in the log."""

    def __init__(self) -> None:
        # Emptied and never replaced: the module shows them under names of its own.
        self.dropped: Final[Counter[tuple[str, str]]] = Counter()
        self.listener_errors: Final[Counter[str]] = Counter()
        self.warned: Final[dict[str, set[str]]] = {}  # by the sentence
        super().__init__()

    def reset(self) -> None:
        """Count from 0, and log each warning again."""
        self.dropped.clear()
        self.listener_errors.clear()
        self.warned.clear()

    def begin_anew(self) -> None:
        """Count in a forked child its own losses only; warnings of its parent stand in the log that both share."""
        self.dropped.clear()
        self.listener_errors.clear()


_lock: Final = forks.new_lock()
_losses: Final = _Losses()

#: (signal, reason) → how many were lost
dropped: Final = _losses.dropped
#: listener name → how often it raised
listener_errors: Final = _losses.listener_errors


def _let_through(error: BaseException | None) -> None:
    """Raise *error* if it only came by: the time limit of a job may end in telemetry, as anywhere in the program."""
    if error is not None and comes_from_outside(error):
        raise error


def lost(signal: str, reason: str, count: int = 1) -> None:
    """Count *count* pieces of *signal* (traces, messages, …) that *reason* kept from arriving."""
    with _lock:
        dropped[signal, reason] += count


def record(
    signal: str,
    reason: str,
    message: str,
    *args: object,
    count: int = 1,
    key: str | None = None,
    error: BaseException | None = None,
) -> None:
    """Count a loss as ``lost()`` does, and log *message* once for each *key* (without one: each message).

    Raises *error* if it was meant for the program, as ``warn_once()`` and ``listener_failed()`` do.
    """
    _let_through(error)
    lost(signal, reason, count)
    warn_once(f"{signal} {reason} {key or message}", message, *args, error=error)


def listener_failed(name: str, error: BaseException) -> None:
    """Count an exception of a listener; the first of each kind is logged with its traceback."""
    _let_through(error)
    with _lock:
        listener_errors[name] += 1
    warn_once(f"listener {name} {type(error).__name__}", "Listener %s raised; the run goes on", name, error=error)


def listener_failed_elsewhere(name: str, count: int) -> None:
    """Count *count* exceptions of a listener in another process, which has logged them."""
    with _lock:
        listener_errors[name] += count


def warn_once(
    key: str, message: str, *args: object, error: BaseException | None = None, kind: str | None = None
) -> None:
    """Log one warning per *key* and process; a program that fails in a loop is not drowned in it.

    Nor do many of one *kind* silence the first of another: without it, those with the same *message* are of one.
    """
    _let_through(error)
    with _lock:
        kind = kind or message
        kind = kind if kind in _losses.warned or len(_losses.warned) < _MOST_KINDS else ""
        keys = _losses.warned.setdefault(kind, set())
        if key in keys or len(keys) >= _MOST_OF_A_KIND:
            return
        keys.add(key)
        is_last = len(keys) == _MOST_OF_A_KIND
    log(logger, logging.WARNING, message + _LAST_OF_A_KIND if is_last else message, *args, error=error)
