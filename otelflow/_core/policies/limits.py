"""How many at once, and how many in a second: limits by name, around a block or the body of a flow or task."""

import contextlib
import functools
import weakref
from collections.abc import Callable, Generator, Mapping
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from otelflow import semconv
from otelflow._core.policies import holding
from otelflow._core.policies.delays import seconds_of
from otelflow._core.policies.loops import in_asyncio, pause_before_look, running_trio, sleep
from otelflow._core.policies.places import Place, Places, Waiter, thread_waiter
from otelflow._core.policies.policy import Body, name_of
from otelflow._core.policies.rates import Rate
from otelflow._core.process import clock, losses, tallies
from otelflow._core.process.process import State
from otelflow._core.runs import spans
from otelflow._core.runs.current import current_run
from otelflow._core.text import durations
from otelflow._core.text.safe_str import brief_repr
from otelflow.errors import ConfigurationError

if TYPE_CHECKING:
    from datetime import timedelta

    from otelflow._core.runs.run import Run

_LONGEST_NAME: Final = 200
_MOST_PLACES: Final = 1_000
_MOST_STARTS: Final = 10_000


class _Block:
    """A block of *limit* that was entered, and its place; none if a block around it holds one already."""

    def __init__(self, limit: "concurrency", place: Place | None) -> None:
        self.limit, self.place = limit, place
        self.is_open = True


# The blocks that were entered around here, the innermost last
_entered: Final[ContextVar[tuple[_Block, ...]]] = ContextVar("otelflow_entered_limits", default=())


class _Waited(State):
    """How many seconds each open run has waited, by limit."""

    def reset(self) -> None:
        """Have no run."""
        self.by_run: weakref.WeakKeyDictionary[Run, dict[str, float]] = weakref.WeakKeyDictionary()


_waited: Final = _Waited()


def _tell(name: str, began: float) -> None:
    """Count the wait since *began*, and write it on the span of the run that has waited."""
    seconds = clock.monotonic() - began
    tallies.limit_passed(name, seconds)
    run = current_run()
    if run is not None and run.is_recording:
        sums = _waited.by_run.setdefault(run, {})
        sums[name] = sums.get(name, 0.0) + seconds
        spans.note(run, semconv.LIMIT_WAITED.format(name=name), round(sums[name], 6))


class _Limit:
    """What both limits have in common: they wait at the beginning of a block, on a thread or in an event loop."""

    def __init__(self, name: str, timeout: float | None) -> None:
        self.name, self._timeout = name, timeout

    def _steps(self, waiter: Waiter) -> Generator[float]:
        raise NotImplementedError

    def _enter(self, waiter: Waiter) -> None:
        """Take what *waiter* has got."""

    def __enter__(self) -> Self:
        began = clock.monotonic()
        waiter, wait = thread_waiter()
        with contextlib.closing(self._steps(waiter)) as steps:
            for seconds in steps:
                if in_asyncio():
                    losses.warn_once("limit in loop", _BLOCKED, self.name)
                wait(pause_before_look(seconds))
        self._enter(waiter)
        _tell(self.name, began)
        return self

    async def __aenter__(self) -> Self:
        began = clock.monotonic()
        waiter, wait = _loop_waiter()
        with contextlib.closing(self._steps(waiter)) as steps:
            for seconds in steps:
                await wait(pause_before_look(seconds))
        self._enter(waiter)
        _tell(self.name, began)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        """End the block."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, frames)


_BLOCKED: Final = "The limit %r is waited for in an event loop, which stands still meanwhile: use 'async with' there"


def _loop_waiter() -> tuple[Waiter, Callable[[float], Any]]:
    """Return a waiter of the running event loop, and how it waits so many seconds, or until it is woken."""
    if running_trio() is not None:

        async def wait_of_trio(seconds: float) -> None:
            await sleep(min(seconds, 0.05))

        return Waiter(lambda: None), wait_of_trio
    import asyncio  # noqa: PLC0415 its loop runs, so it is there

    loop, event = asyncio.get_running_loop(), asyncio.Event()

    async def wait(seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()
        event.clear()

    def wake() -> None:
        loop.call_soon_threadsafe(event.set)

    return Waiter(wake), wait


class concurrency(_Limit):
    """Inside ``with concurrency("db", 5):`` are at most 5 at once, in all processes of this user on this machine.

    *name* (str): those that have the same one share the places. *limit* (int from 1 to 1,000): how many there are; give
    a name the same one everywhere. *timeout* (seconds, or a timedelta): how long to wait at most; else for ever.

    Who came first goes first. A process that ends, or is killed, gives its places back. Who has a place needs no second
    one of that name inside. In async code, ``async with`` waits without blocking the loop. How long a run has waited
    stands on its span as ``otelflow.limit.waited.{name}``, in seconds. ``@task(concurrency={"db": 5})`` does it around
    each call. Raises LimitTimeout, a TimeoutError, when the time is over, and ConfigurationError.

    >>> import otelflow
    >>> with otelflow.concurrency("db", 5, timeout=30):
    ...     print("one of five")
    one of five
    """

    def __init__(self, name: str, limit: int, *, timeout: "float | timedelta | None" = None) -> None:
        super().__init__(checked_name(name, "concurrency"), checked_timeout(timeout, "concurrency"))
        number: object = limit
        if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= _MOST_PLACES:
            raise ConfigurationError(
                f"concurrency {name!r}: limit={brief_repr(limit, 60)} must be a whole number from 1 to {_MOST_PLACES}"
            )
        self._places = Places(name, limit)
        self._open: list[_Block] = []

    def _steps(self, waiter: Waiter) -> Generator[float]:
        place = holding.held_places.get().get(self.name)
        if place is None or not place.is_held:
            yield from self._places.steps(waiter, self._timeout)

    def _enter(self, waiter: Waiter) -> None:
        block = _Block(self, waiter.place)
        self._open.append(block)
        _entered.set((*(earlier for earlier in _entered.get() if earlier.is_open), block))
        if waiter.place is not None:
            holding.held_places.set({**holding.held_places.get(), self.name: waiter.place})

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        """Give the place back."""
        blocks = [block for block in reversed(_entered.get()) if block.limit is self and block.is_open]
        # A generator, or what a framework makes of one, may be left where it was not entered: in another context.
        block = (blocks or self._open[-1:])[0]
        block.is_open = False
        self._open.remove(block)
        place = block.place
        if place is not None:
            places = holding.held_places.get()
            if places.get(self.name) is place:
                holding.held_places.set({name: places[name] for name in places if name != self.name})
            place.release()


class rate_limit(_Limit):
    """Before ``with rate_limit("api", "10/s"):`` goes on, it waits until there are at most 10 in each second.

    *name* (str): those that have the same one share the rate, in all processes of this user on this machine. *rate*
    (str): up to 10,000 in a length of time, such as ``"10/s"``, ``"100/m"``, ``"5000/h"`` or ``"1/90s"``. *timeout*
    (seconds): how long to wait at most; if it would take longer, it is refused at once.

    Who came first goes first. In async code, ``async with``. How long a run has waited stands on its span as
    ``otelflow.limit.waited.{name}``, in seconds. ``@task(rate_limit={"api": "10/s"})`` does it before each call. Raises
    LimitTimeout, a TimeoutError, and ConfigurationError.

    >>> import otelflow
    >>> with otelflow.rate_limit("api", "100/m"):
    ...     print("one of a hundred")
    one of a hundred
    """

    def __init__(self, name: str, rate: str, *, timeout: "float | timedelta | None" = None) -> None:
        super().__init__(checked_name(name, "rate_limit"), checked_timeout(timeout, "rate_limit"))
        text: object = rate
        count, _, period = text.partition("/") if isinstance(text, str) else ("", "", "")
        period = period.strip()
        try:
            number = int(count)
            seconds = durations.parse(period if period[:1].isdigit() else f"1{period}")
        except ValueError:
            number, seconds = 0, 0.0
        if not 1 <= number <= _MOST_STARTS or not 0 < seconds <= 31 * 86_400:
            raise ConfigurationError(
                f"rate_limit {name!r}: {brief_repr(rate, 60)} is no rate such as '10/s', '100/m' or '1/90s' "
                f"(up to {_MOST_STARTS:,}, in up to 31d)"
            )
        self._rate = Rate(name, number, seconds)

    def _steps(self, waiter: Waiter) -> Generator[float]:
        del waiter
        return self._rate.steps(self._timeout)


def checked_name(name: object, owner: str) -> str:
    """Return *name*, which a limit is known by. Raises ConfigurationError."""
    if not isinstance(name, str) or not name.strip() or len(name) > _LONGEST_NAME:
        raise ConfigurationError(
            f"{owner}: a limit is known by a text of up to {_LONGEST_NAME} characters, not {brief_repr(name, 60)}"
        )
    return name


def checked_timeout(timeout: object, owner: str) -> float | None:
    """Return the seconds of *timeout*. Raises ConfigurationError."""
    if timeout is None:
        return None
    try:
        return seconds_of(timeout)
    except ValueError as error:
        raise ConfigurationError(
            f"{owner}: a limit is waited for a number of seconds or a timedelta, or for ever (None), not {error}"
        ) from None


class Limits:
    """Waits until each limit of a flow or task lets it begin; then its attempts run, if there are several."""

    def is_wanted(self, options: Mapping[str, Any]) -> bool:
        """Tell whether it has a limit, or what looks like it."""
        return any(options.get(name) is not None for name in ("concurrency", "rate_limit", "limit_timeout"))

    def around(self, body: Body, options: Mapping[str, Any]) -> Body:
        """Return *body*, which waits on its thread."""
        make = limits_of(body, options)

        @functools.wraps(body)
        def limited(*args: Any, **kwargs: Any) -> Any:
            with contextlib.ExitStack() as stack:
                for limit in make():
                    stack.enter_context(limit)
                return body(*args, **kwargs)

        return limited

    def around_async(self, body: Body, options: Mapping[str, Any]) -> Body:
        """Return *body*, a coroutine function, which waits in its event loop."""
        make = limits_of(body, options)

        @functools.wraps(body)
        async def limited(*args: Any, **kwargs: Any) -> Any:
            async with contextlib.AsyncExitStack() as stack:
                for limit in make():
                    await stack.enter_async_context(limit)
                return await body(*args, **kwargs)

        return limited


POLICY: Final = Limits()


def limits_of(body: Body, options: Mapping[str, Any]) -> Callable[[], list[_Limit]]:
    """Return what makes the limits of one call. Raises ConfigurationError that names the function."""
    places, rates = options.get("concurrency") or {}, options.get("rate_limit") or {}
    timeout = options.get("limit_timeout")
    try:

        def make() -> list[_Limit]:
            # In the same order everywhere: two that take the same two limits cannot wait for each other. A place is
            # taken first, so that nobody has begun and waits for one.
            return [
                *(concurrency(name, limit, timeout=timeout) for name, limit in sorted(places.items())),
                *(rate_limit(name, rate, timeout=timeout) for name, rate in sorted(rates.items())),
            ]

        checked_timeout(timeout, "limit_timeout")
        for name in (*places, *rates):
            checked_name(name, "concurrency" if name in places else "rate_limit")
        make()
    except ConfigurationError as error:
        raise ConfigurationError(f"{name_of(body)!r}: {error}") from None
    if not places and not rates:
        cure = 'give concurrency={"db": 5} or rate_limit={"api": "10/s"}'
        empty = [name for name in ("concurrency", "rate_limit") if options.get(name) is not None]
        reason = f"{empty[0]} names no limit" if empty else "limit_timeout has no limit to wait for"
        raise ConfigurationError(f"{name_of(body)!r}: {reason}; {cure}")
    return make
