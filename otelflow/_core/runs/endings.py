"""How a run ends: the result of each ending, and what is said of the error."""

import traceback
from typing import Final, NamedTuple

from otelflow import semconv
from otelflow._core.text.redaction import recorded, redact
from otelflow._core.text.safe_str import printable

# Of a traceback longer than this (a message of megabytes), only the ends are read for secrets.
_READ: Final = 262_144

# By name: nobody has these classes without having imported their modules, which take long.
_CANCELLED_BY_NAME: Final = frozenset({"asyncio.exceptions.CancelledError", "greenlet.GreenletExit"})


class Outcome(NamedTuple):
    """How a run ended: one of ``semconv.RESULTS``, and the exception that left it."""

    result: str
    error: BaseException | None = None

    @property
    def is_failure(self) -> bool:
        """Tell whether somebody should look at it: not for success, skip and cancellation."""
        return self.result in FAILED


FAILED: Final = frozenset({semconv.FAILURE, semconv.TIMEOUT, semconv.ERROR})
SUCCESS: Final = Outcome(semconv.SUCCESS)


def outcome_of(error: BaseException, *, was_called: bool = True) -> Outcome:
    """Return how a run ends that *error* leaves; before the body was called it is a failed injection."""
    if isinstance(error, SystemExit):
        # As the interpreter sees it: None and 0 are a good end, "" and 0.0 are not.
        is_good = error.code is None or (isinstance(error.code, int) and error.code == 0)
        return SUCCESS if is_good else Outcome(semconv.FAILURE, error)
    if is_cancellation(error):
        return Outcome(semconv.CANCELLATION, error)
    if not was_called:
        return Outcome(semconv.ERROR, error)
    return Outcome(semconv.TIMEOUT if isinstance(error, TimeoutError) else semconv.FAILURE, error)


def is_cancellation(error: BaseException) -> bool:
    """Tell whether *error* means that somebody stopped the run, alone or as a group of nothing else.

    GeneratorExit leaves a coroutine that was closed before it was done.
    """
    if isinstance(error, BaseExceptionGroup):
        return not isinstance(error, ExceptionGroup) and all(is_cancellation(one) for one in error.exceptions)
    return isinstance(error, KeyboardInterrupt | GeneratorExit) or any(
        qualified_name(kind) in _CANCELLED_BY_NAME for kind in type(error).__mro__
    )


def qualified_name(kind: type) -> str:
    """Return the name of an exception class as OpenTelemetry writes it: with its module, unless it is built in."""
    return kind.__qualname__ if kind.__module__ in ("builtins", None) else f"{kind.__module__}.{kind.__qualname__}"


def error_type(error: BaseException) -> str:
    """Return the value of ``error.type``."""
    return qualified_name(type(error))


def error_message(error: BaseException, limit: int) -> str:
    """Return the text of *error*, redacted and bounded."""
    return recorded(error, limit)


def stack_trace(error: BaseException, limit: int) -> str:
    """Return the traceback of *error* from the user's first frame on, redacted; of a long one both ends."""
    frames = error.__traceback__
    while frames is not None and frames.tb_next is not None and _is_ours(frames.tb_frame.f_globals.get("__name__")):
        frames = frames.tb_next
    try:
        text = "".join(traceback.TracebackException(type(error), error, frames).format())
    except Exception as trouble:  # noqa: BLE001 foreign __str__, __repr__ and source loaders
        text = f"<the traceback could not be formatted: {type(trouble).__name__}>"
    return printable(_both_ends(text, limit))


def _both_ends(text: str, limit: int) -> str:
    """Return *text* redacted, of a long one both ends; cut afterwards, so that no half of a secret is left."""
    length = len(text)
    if length > _READ:
        text = text[: _READ // 2] + text[-_READ // 2 :]
    text = redact(text)
    if length <= 2 * limit:
        return text
    return f"{text[:limit]}\n… [cut, {length:,} characters] …\n{text[-limit:]}"


def _is_ours(module: object) -> bool:
    return isinstance(module, str) and module.startswith("otelflow._core.")
