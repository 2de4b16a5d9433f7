"""How a body is driven from its first step to its last: a function, a coroutine, a generator, an async generator.

The four drivers are written out one by one, each with its own ``try``: a context manager in their place loses Ctrl-C,
which then comes between its ``__enter__`` and the block, where no code of ours can end the run. (It was tried: the test
that interrupts a program at any moment fails.) What differs between them is where a run is suspended.
"""

import functools
import inspect
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from types import CoroutineType, GeneratorType
from typing import Any, Final

from otelflow._core.runs.current import resume, suspend
from otelflow._core.runs.endings import SUCCESS
from otelflow._core.runs.engine import close_early, close_run, close_with, open_run
from otelflow._core.runs.run import Run
from otelflow._core.text import classes
from otelflow._core.text.safe_str import comes_from_outside

NewRun = Callable[[tuple[Any, ...], dict[str, Any]], Run]

# The message of Python's own error for such a generator
_IGNORED: Final = "generator ignored GeneratorExit"


def function(new_run: NewRun) -> Callable[..., Any]:
    """Return a function that runs what *new_run* makes of its arguments: the value, or the body's own exception."""

    def run_function(*args: Any, **kwargs: Any) -> Any:
        run = new_run(args, kwargs)
        try:
            open_run(run)
            # The body is called here, and not by call(), so that a traceback has one frame of ours for each run.
            definition = run.definition
            args, kwargs = definition.arguments(run)
            value = definition.body(*args, **kwargs)
            if id(type(value)) not in PLAIN and can_be_awaited(value) and waits_for_await(value):
                return end_when_awaited(run, value)
            close_run(run, SUCCESS, value)
        except BaseException as error:
            run.has_ended = True
            unfillable = run.definition.call_error(run, error, args, kwargs) if type(error) is TypeError else None
            stays_inside = close_with(run, unfillable or error)
            del run  # it knows the error, which holds this frame: all that is in it would wait for the collector
            if stays_inside:
                return None
            if unfillable is not None:
                raise unfillable from None
            raise
        del run  # a frame inside may be held by an error that was caught there, and hold this one
        return value

    return run_function


#: The most usual of the types of which it need not be asked whether they can be awaited; by identity, since a metaclass
#: may do anything when it is asked for the hash of a class
PLAIN: Final = frozenset(map(id, (type(None), bool, int, float, str, bytes, list, tuple, dict, set)))


def can_be_awaited(value: object) -> bool:
    """Tell whether ``await`` takes *value*: as the interpreter sees it, which asks no metaclass."""
    kind = type(value)
    if kind is GeneratorType:
        return bool(value.gi_code.co_flags & inspect.CO_ITERABLE_COROUTINE)  # type: ignore[attr-defined]  # type() says it
    # Of most classes the metaclass is type, which can be asked, and is quicker.
    return hasattr(kind, "__await__") if type(kind) is type else classes.has(kind, "__await__")


def is_future(value: object) -> bool:
    """Tell whether *value* is a Future of asyncio's, or a Task: it goes on by itself."""
    return classes.has(type(value), _OF_FUTURES) and getattr(value, _OF_FUTURES) is not None


_OF_FUTURES: Final = "_asyncio_future_blocking"


def waits_for_await(value: Any) -> bool:
    """Tell whether the run of a plain function that returned the awaitable *value* goes on until it was awaited.

    Not with one that has begun already, and not with an object with other uses (a query, a context manager), which may
    never be awaited.
    """
    kind = type(value)
    if kind is CoroutineType:
        return inspect.getcoroutinestate(value) == inspect.CORO_CREATED
    if kind is GeneratorType:
        return inspect.getgeneratorstate(value) == inspect.GEN_CREATED
    try:
        if is_future(value):
            return not value.done()
    except BaseException as error:  # what looks like a Future is foreign code, which may raise anything
        if comes_from_outside(error):
            raise
        return False
    names = classes.names_in(kind)
    return not names & _OTHER_USES and all(name.startswith("_") for name in names - _OF_COROUTINES)


def end_when_awaited(run: Run, value: Any) -> Any:
    """Return *value*, or what stands for it: *run* ends with it."""
    suspend(run)
    if issubclass(type(value), CoroutineType | GeneratorType):  # nobody can subclass these
        return _awaited(run, value, _CloseWhenDropped(run))
    if is_future(value) and not run.keeps_errors:  # its own error would come out of it
        value.add_done_callback(functools.partial(_close_with_future, run, _CloseWhenDropped(run)))
        return value
    return _Awaited(run, value)


# What a coroutine has besides, in Python, in Cython and as a generator
_OF_COROUTINES: Final = frozenset({"send", "throw", "close"}) | {
    f"{prefix}_{name}"
    for prefix in ("cr", "gi", "ag")
    for name in ("await", "code", "frame", "origin", "running", "suspended", "yieldfrom")
}
# What else an awaitable may be for; a flow is made to be run by its own ``execute()``
_OTHER_USES: Final = frozenset({"__aenter__", "__aiter__", "__enter__", "__call__", "__getattr__", "__otelflow__"})


def _close_with_future(run: Run, _: "_CloseWhenDropped", future: Any) -> None:
    if future.cancelled():
        from asyncio import CancelledError  # noqa: PLC0415 there is a Future, so it is there

        close_with(run, CancelledError())
    elif (error := future.exception()) is not None:
        close_with(run, error)
    else:
        close_run(run, SUCCESS, future.result())


class _Awaited:
    """Stands for an awaitable of the user's: the first ``await`` ends the run with it."""

    def __init__(self, run: Run, value: Any) -> None:
        self._run = run
        self._value = value
        self._closing = _CloseWhenDropped(run)

    def __await__(self) -> Generator[Any, Any, Any]:
        run = self._run
        if run.is_closed or run.is_current:  # it is awaited once more
            return self._value.__await__()  # type: ignore[no-any-return]  # foreign
        return _awaited(run, self._value, self._closing).__await__()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._value, name)


async def _awaited(run: Run, body: Awaitable[Any], _: "_CloseWhenDropped") -> Any:
    try:
        resume(run)
        value = await body
        close_run(run, SUCCESS, value)
    except BaseException as error:
        run.has_ended = True
        stays_inside = close_with(run, error)
        del run, _  # as in function()
        if stays_inside:
            return None
        raise
    return value


class _CloseWhenDropped:
    """Ends a run whose coroutine is never awaited, when that is certain: when it is dropped."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def __del__(self) -> None:
        run = getattr(self, "_run", None)  # none, where a Ctrl-C left this half made: whoever made it ends the run
        if run is not None and not run.is_closed:
            close_early(run)


def coroutine(new_run: NewRun) -> Callable[..., Any]:
    """Return a coroutine function that does as ``function``."""

    async def run_coroutine(*args: Any, **kwargs: Any) -> Any:
        run = new_run(args, kwargs)
        try:
            open_run(run)
            value = await run.definition.call(run)
            if run.session is not None:
                await run.session.end_async()
            close_run(run, SUCCESS, value)
        except BaseException as error:
            run.has_ended = True
            if run.session is not None:
                try:
                    await run.session.cancel_async(error)
                except BaseException:  # Ctrl-C
                    close_with(run, error)
                    raise
            stays_inside = close_with(run, error)
            del run  # as in function()
            if stays_inside:
                return None
            raise
        return value

    return run_coroutine


def _is_exit(argument: object) -> bool:
    return issubclass(type(argument), GeneratorExit)  # isinstance() would ask what was sent for its __class__


def _pause(run: Run, argument: object) -> None:
    """Leave a generator's *run* until its next step; after a GeneratorExit that the body ignored, there is none."""
    if _is_exit(argument):
        close_with(run, RuntimeError(_IGNORED))
    suspend(run)


def generator(new_run: NewRun) -> Callable[..., Any]:
    """Return a generator function; the run is current only during its steps. Closing it early is a success."""

    def run_generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        run = new_run(args, kwargs)
        argument: Any = None
        try:
            open_run(run)
            body = run.definition.call(run)
            step = body.send
            while True:
                items = [step(argument)]  # pop() gives our reference up: the consumer alone has the item
                _pause(run, argument)
                argument = None
                try:
                    argument = yield items.pop()
                    step = body.send
                except BaseException as thrown:  # noqa: BLE001 whatever the consumer throws is for the body
                    step, argument = body.throw, thrown
                resume(run)
        except StopIteration as end:
            if _is_exit(argument):
                close_early(run, end.value)
            close_run(run, SUCCESS, end.value)
            return end.value
        except GeneratorExit:
            close_early(run)
            raise
        except BaseException as error:
            if close_with(run, error, argument):
                return None
            raise
        finally:
            run.has_ended = True
            del run, argument  # an exception thrown in would hold this frame, and this frame it; as in function()

    return run_generator


def async_generator(new_run: NewRun) -> Callable[..., Any]:
    """Return an async generator function that does as ``generator``."""

    async def run_async_generator(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        run = new_run(args, kwargs)
        argument: Any = None
        try:
            open_run(run)
            body = run.definition.call(run)
            step = _unhooked(body)
            while True:
                items = [await step(argument)]
                _pause(run, argument)
                argument = None
                try:
                    argument = yield items.pop()
                    step = body.asend
                except BaseException as thrown:  # noqa: BLE001 whatever the consumer throws is for the body
                    step, argument = body.athrow, thrown
                resume(run)
        except StopAsyncIteration:
            if _is_exit(argument):
                close_early(run)
            close_run(run, SUCCESS)
        except GeneratorExit:
            close_early(run)
            raise
        except BaseException as error:
            if not close_with(run, error, argument):
                raise
        finally:
            run.has_ended = True
            del run, argument  # an exception thrown in would hold this frame, and this frame it; as in function()

    return run_async_generator


def _unhooked(body: Any) -> Callable[[Any], Any]:
    """Return the first step of *body*, taken so that the event loop learns of the wrapper only.

    At its shutdown a loop closes every async generator it knows at once: the body, too, while the wrapper closes it.
    """

    def first_step(argument: Any) -> Any:
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(None, None)
        try:
            return body.asend(argument)
        finally:
            sys.set_asyncgen_hooks(*hooks)

    return first_step
