"""What telemetry lost or got wrong: counted here, said once in the log, never raised."""

import logging
from collections import Counter
from typing import Final

from otelflow._core.process import forks

logger: Final = logging.getLogger("otelflow")

#: (signal, reason) → how many were lost
dropped: Final[Counter[tuple[str, str]]] = Counter()
#: listener name → how often it raised
listener_errors: Final[Counter[str]] = Counter()

# Re-entrant: the garbage collector may end a generator's run while this thread holds it.
_lock: Final = forks.new_lock()
_said: Final[set[str]] = set()
_REMEMBERED: Final = 1_000


def lost(signal: str, reason: str, count: int = 1) -> None:
    """Count *count* pieces of *signal* (traces, messages, …) that *reason* kept from arriving."""
    with _lock:
        dropped[signal, reason] += count


def listener_failed(name: str, error: Exception) -> None:
    """Count an exception of a listener; the first of each kind is logged with its traceback."""
    with _lock:
        listener_errors[name] += 1
    warn_once(f"listener {name} {type(error).__name__}", "Listener %s raised; the run goes on", name, error=error)


def warn_once(key: str, message: str, *args: object, error: BaseException | None = None) -> None:
    """Log one warning per *key* and process; a program that fails in a loop is not drowned in it."""
    with _lock:
        if key in _said or len(_said) >= _REMEMBERED:
            return
        _said.add(key)
    try:
        logger.warning(message, *args, exc_info=error)
    except Exception:  # noqa: BLE001 a handler is foreign code, and there is nobody left to tell
        return
