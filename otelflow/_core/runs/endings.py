"""How a run ends: the result of each ending, and what is said of the error."""

import traceback
from typing import Final

from otelflow import semconv
from otelflow._core.process.settings import settings
from otelflow._core.text.redaction import recorded, redact
from otelflow._core.text.safe_str import printable

# Of a traceback longer than this (a message of megabytes), only the ends are read for secrets.
_READ: Final = 262_144

# By name: nobody has these classes without having imported their modules, which take long.
_CANCELLATIONS: Final = {"CancelledError": "asyncio.exceptions", "GreenletExit": "greenlet"}


FAILED: Final = frozenset({semconv.FAILURE, semconv.TIMEOUT, semconv.ERROR})


class Ending:
    """How a run ended: one of ``semconv.RESULTS``, and the exception that left it.

    Type and text of the exception are made once, for whoever writes about it first.
    """

    __slots__ = ("_message", "_stack_trace", "_type", "error", "result")

    def __init__(self, result: str, error: BaseException | None = None) -> None:
        self.result = result
        self.error = error
        self._type: str | None = None
        self._message: str | None = None
        self._stack_trace: str | None = None

    @property
    def is_failure(self) -> bool:
        """Tell whether somebody should look at it: not for success, skip and cancellation."""
        return self.result in FAILED

    @property
    def error_type(self) -> str:
        """The value of ``error.type``; only for an ending with an error."""
        if self._type is None:
            self._type = printable(qualified_name(type(self.error)))
        return self._type

    @property
    def error_message(self) -> str:
        """The text of the error, redacted and bounded; only for an ending with an error."""
        if self._message is None:
            self._message = recorded(self.error, settings().value_limit)
        return self._message

    def exception_attributes(self) -> dict[str, str]:
        """Return what a span event or a log record says of the error; only for an ending with an error."""
        if self._stack_trace is None and self.error is not None:
            self._stack_trace = stack_trace(self.error, settings().value_limit)
        return {
            semconv.EXCEPTION_TYPE: self.error_type,
            semconv.EXCEPTION_MESSAGE: self.error_message,
            semconv.EXCEPTION_STACKTRACE: self._stack_trace or "",
        }


SUCCESS: Final = Ending(semconv.SUCCESS)
CANCELLED: Final = Ending(semconv.CANCELLATION)
#: How a run ends that a full stack has kept from being ended
UNCLOSED: Final = Ending(semconv.FAILURE)


def ending_of(error: BaseException, *, was_called: bool = True) -> Ending:
    """Return how a run ends that *error* leaves; before the body was called it is a failed injection."""
    if isinstance(error, SystemExit):
        # As the interpreter sees it: None and 0 are a good end, "" and 0.0 are not.
        is_good = error.code is None or (isinstance(error.code, int) and error.code == 0)
        return SUCCESS if is_good else Ending(semconv.FAILURE, error)
    if is_cancellation(error):
        return Ending(semconv.CANCELLATION, error)
    if not was_called:
        return Ending(semconv.ERROR, error)
    return Ending(semconv.TIMEOUT if isinstance(error, TimeoutError) else semconv.FAILURE, error)


def is_cancellation(error: BaseException) -> bool:
    """Tell whether *error* means that somebody stopped the run, alone or as a group of nothing else.

    GeneratorExit leaves a coroutine that was closed before it was done.
    """
    if isinstance(error, BaseExceptionGroup):
        return not isinstance(error, ExceptionGroup) and all(map(is_cancellation, error.exceptions))
    if isinstance(error, KeyboardInterrupt | GeneratorExit):
        return True
    return any(
        base.__name__ in _CANCELLATIONS and base.__module__ == _CANCELLATIONS[base.__name__]
        for base in type(error).__mro__
    )


def qualified_name(kind: type) -> str:
    """Return the name of an exception class as OpenTelemetry writes it: with its module, unless it is built in."""
    return kind.__qualname__ if kind.__module__ in ("builtins", None) else f"{kind.__module__}.{kind.__qualname__}"


def stack_trace(error: BaseException, limit: int) -> str:
    """Return the traceback of *error* from the user's first frame on, redacted; of a long one both ends."""
    frames = error.__traceback__
    while frames is not None and frames.tb_next is not None:
        if not str(frames.tb_frame.f_globals.get("__name__")).startswith("otelflow._core."):
            break
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
