"""Which run is current: in this thread, in this asyncio task, in this step of a generator."""

import contextvars
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final

from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, set_span_in_context

from otelflow._core.runs.run import Run

_current: Final[ContextVar[Run | None]] = ContextVar("otelflow_current_run", default=None)

current_run = _current.get
_make_current: Final = _current.set

# OpenTelemetry keeps its context in such a variable, too, unless OTEL_PYTHON_CONTEXT names something else. Five times a
# run its own functions would take two calls to reach it.
_variable: Final[Any] = getattr(getattr(otel_context, "_RUNTIME_CONTEXT", None), "_current_context", None)
_is_plain: Final = type(_variable) is ContextVar
#: The context of OpenTelemetry that is current here
current_context: Final[Callable[[], Context]] = _variable.get if _is_plain else otel_context.get_current
_attach: Final[Callable[[Context], Any]] = _variable.set if _is_plain else otel_context.attach
# A Context refuses to be written into, and to make a dict for it first takes a third longer.
_write: Final = dict.__setitem__
#: The key under which OpenTelemetry keeps the current span
(SPAN_KEY,) = set_span_in_context(INVALID_SPAN, Context())


def open_run_here() -> Run | None:
    """Return the innermost run of this context that is still open; work may outlive the run that started it."""
    run = current_run()
    while run is not None and run.is_closed:
        run = run.parent
    return run


def is_inside(context: contextvars.Context, run: Run) -> bool:
    """Tell whether *run* is the current one of *context*, or around that."""
    inner = context.get(_current)
    while inner is not None and inner is not run:
        inner = inner.parent
    return inner is run


def parent_here() -> Run | None:
    """Return the run that is the parent of one that starts here: the current one, also when it has just ended."""
    parent = current_run()
    if parent is not None and parent.is_closed:
        # Runs that start each other, each after the other's end, must not keep each other in memory.
        parent.parent = open_run_here()
    return parent


def enter(run: Run) -> None:
    """Make *run* and its span current."""
    # Each step leaves a state that ``leave`` can undo: Ctrl-C may come after any of them.
    run.outer = current_run()
    if run.span is INVALID_SPAN:
        run.is_current = True
        _make_current(run)
        return
    run.outer_context = outer_context = current_context()
    run.context = context = Context(outer_context)
    _write(context, SPAN_KEY, run.span)  # nobody has it yet
    run.is_current = True
    _make_current(run)
    _attach(context)


def unclosed_inside(run: Run) -> list[Run]:
    """Return the runs inside *run* that could not be closed because the stack was full, the innermost first."""
    return [inner for inner in _inside(run) if inner.has_ended]


def _inside(run: Run) -> list[Run]:
    inner, inside = current_run(), []
    while inner is not None and inner is not run:
        inside.append(inner)
        inner = getattr(inner, "outer", None)
    return inside if inner is run else []


def leave(run: Run) -> None:
    """Make current what was current before *run* was entered.

    Without tokens: a coroutine or generator may be closed from another context, where a token is refused and where
    there is nothing to undo.
    """
    if not run.is_current:
        return
    if current_run() is not run:
        _unlink(run)
        return
    if run.span is not INVALID_SPAN:
        _attach(run.outer_context)
    outer = run.outer
    while outer is not None and outer.is_closed:
        outer = outer.parent
    _make_current(outer)
    run.is_current = False
    run.outer = None  # a context that outlives the run must not keep what was around it


def _unlink(run: Run) -> None:
    """Take *run* out of the middle of the stack; the run inside it goes on."""
    inside = _inside(run)
    if not inside:
        return
    inside[-1].outer = run.outer
    run.is_current = False
    run.outer = None
    if run.span is not INVALID_SPAN:
        with_span = [inner for inner in inside if inner.span is not INVALID_SPAN]
        if with_span:
            with_span[-1].outer_context = run.outer_context
        else:
            _attach(run.outer_context)


def suspend(run: Run) -> None:
    """Save the context of a generator's body, and make that of its consumer current."""
    if not run.is_current:
        return
    run.inner = current_run()
    if run.span is not INVALID_SPAN:
        run.context = current_context()
        _attach(run.outer_context)
    _make_current(run.outer)
    run.is_current = False
    run.outer = None


def resume(run: Run) -> None:
    """Save the context of a generator's consumer, and make that of its body current."""
    if not run.is_open:
        return
    run.outer = current_run()
    if run.span is not INVALID_SPAN:
        run.outer_context = current_context()
    run.is_current = True
    _make_current(run.inner)
    run.inner = None
    if run.span is not INVALID_SPAN:
        _attach(run.context)
