"""``task.submit()`` and ``task.map()``: a call that waits for others, runs somewhere, and ends once."""

import concurrent.futures
import contextvars
import functools
from typing import Any, ClassVar, Final

from opentelemetry.trace import INVALID_SPAN

from otelflow import semconv
from otelflow._core.flows import future_runners
from otelflow._core.flows.future import (
    Future,
    FutureList,
    Submitted,
    assign,
    begin,
    failure_of,
    has_failed,
    is_open,
    settle,
    unmapped,
    withdraw,
)
from otelflow._core.flows.future_arguments import check_submittable, checked_wait_for, resolved, rows_of, upstream_of
from otelflow._core.flows.future_owners import session_here
from otelflow._core.flows.future_session import Session, works_for
from otelflow._core.process.asyncio_loop import running_loop
from otelflow._core.process.settings import settings
from otelflow._core.runs import spans
from otelflow._core.runs.current import current_run
from otelflow._core.runs.endings import CANCELLED, SUCCESS, Ending, is_cancellation
from otelflow._core.runs.engine import close_run, open_run
from otelflow._core.runs.run import Run
from otelflow.errors import UpstreamFailed

_COROUTINE: Final = "coroutine"


class Group:
    """The calls of one ``map()``: under one span, which ends with the last of them."""

    def __init__(self, run: "MapRun", size: int, lock: Any) -> None:
        self.context = contextvars.copy_context()
        self._run = run
        self._lock = lock
        self._left = size
        self._results: set[str] = set()
        self.context.run(open_run, run)
        if not size:
            self.context.run(close_run, run, SUCCESS)

    def ended(self, result: str) -> None:
        """Count one that has ended with *result*."""
        with self._lock:
            self._results.add(result)
            self._left -= 1
            if self._left:
                return
        if not self._results.isdisjoint(semconv.FAILED_RESULTS):
            ending = Ending(semconv.FAILURE)
        else:
            worst = next((word for word in (semconv.SKIP, semconv.CANCELLATION) if word in self._results), None)
            ending = SUCCESS if worst is None else Ending(worst)
        self.context.run(close_run, self._run, ending)


class MapRun(Run):
    """The span around the calls of one ``map()``; nobody counts it."""

    __slots__ = ("_name", "_size")

    kind: ClassVar[str] = ""

    def __init__(self, name: str, size: int) -> None:
        parent = current_run()
        super().__init__(parent, settings() if parent is None else parent.settings)
        self._name = name
        self._size = size
        if parent is not None:  # what is recorded in it, is recorded in its parent, which may see the error before
            if parent.recorded is None:
                parent.recorded = {}
            self.recorded = parent.recorded

    @property
    def span_name(self) -> str:
        """The name of its span."""
        return semconv.MAP_SPAN + self._name

    def attributes(self) -> dict[str, Any]:
        """Return the span attributes that are known when the run starts."""
        return {**super().attributes(), semconv.TASK_MAP_SIZE: self._size}


class Call:
    """One call of a task that was submitted."""

    __slots__ = (
        "args", "cancel_sent", "context", "definition", "future", "group", "index", "kwargs",
        "loop", "loop_task", "run_of_task", "session", "upstream", "waits_for",
    )  # fmt: skip

    def __init__(
        self,
        definition: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        upstream: list[Future[Any]],
        session: Session,
        group: Group | None = None,
        index: int = 0,
    ) -> None:
        self.definition = definition
        self.args = args
        self.kwargs = kwargs
        self.upstream = upstream
        self.session = session
        self.group = group
        self.index = index
        self.context = contextvars.copy_context() if group is None else group.context.copy()
        # Of a coroutine function, submitted where a loop runs that nobody blocks
        self.loop = running_loop() if definition.kind == _COROUTINE and session.runs_on_loop else None
        self.loop_task: Any = None
        #: Cancels it where it was sent to, if it has not begun there, and tells whether that is so already
        self.cancel_sent: Any = None
        self.run_of_task: Run | None = None
        self.waits_for = 0
        self.future: Future[Any] = Future(definition.name)
        assign(self.future, self)

    def begin(self) -> None:
        """Start it when everything that it waits for is there."""
        self.session.add(self)
        if self.upstream:
            self._start_after(self.upstream, len(self.upstream))
        else:
            self._start()

    def _start_after(self, upstream: list[Future[Any]], count: int) -> None:
        """Start it when the first *count* of *upstream* have ended: of thousands, it waits for one after the other."""
        while count and not is_open(upstream[count - 1]):
            count -= 1
        self.waits_for = count
        if count:
            upstream[count - 1].add_done_callback(lambda _: self._start_after(upstream, count))
        else:
            self._start()

    def _start(self) -> None:
        broken = self._broken_upstream()
        if broken is not None:
            self.session.skip_in_turn(functools.partial(self._skip, broken))
        elif self.loop is not None:
            future_runners.start_on_loop(self)
        else:
            self.session.start(self)

    def _broken_upstream(self) -> Future[Any] | None:
        """Return the first future that it waits for and that has failed."""
        return next((future for future in self.upstream if has_failed(future)), None) if self.upstream else None

    # The ways in which it ends

    def help(self, *, may_run: bool) -> None:
        """Do what this thread would wait for itself: skip it, or run it if *may_run* and the thread is a runner's."""
        if may_run and self.session.is_kept_waiting():
            self._help_upstream()
        elif self.waits_for:
            return
        self.help_here(may_run=may_run)

    def help_beside(self) -> None:
        """Do as ``help`` in a thread beside this one, which goes on: it is a runner's, and waits."""
        session = self.session
        if works_for.get() is session and id(self) in session.unstarted and (self.loop is None or self.waits_for):
            session.do_beside(functools.partial(self.help, may_run=True))

    def _help_upstream(self) -> None:
        """Run what it waits for, or wait for that: all threads of a runner may wait as this one does."""
        calls: list[Submitted] = [self]
        while calls:
            future = next((future for future in calls[-1].upstream if not future.done()), None)
            if future is not None and future.call is not None:
                calls.append(future.call)
            elif future is not None:
                concurrent.futures.wait([future])
            elif (call := calls.pop()) is not self:
                call.help_here(may_run=True)
                concurrent.futures.wait([call.future])

    def help_here(self, *, may_run: bool) -> None:
        """Do as ``help`` when what it waits for has ended."""
        broken = self._broken_upstream()
        if broken is not None:
            self._skip(broken)
        elif may_run and self.session.is_kept_waiting() and self.loop is None:
            self.run()

    def run(self) -> None:
        """Run it in this thread, unless it has begun already."""
        if self.claim():
            self.context.run(self._run)

    def claim(self) -> bool:
        """Tell whether the caller is to run or end it: it has not begun, and is not cancelled."""
        if not self.session.take(self):
            return False
        if begin(self.future):
            return True
        assign(self.future, None)  # who waits for it has just been told
        self._end_apart(CANCELLED)
        return False

    def _run(self) -> None:
        works_for.set(self.session)
        try:
            value = self._drive()
            if self.definition.kind == _COROUTINE:
                import asyncio  # noqa: PLC0415 only for coroutine functions

                value = asyncio.run(value)
        except BaseException as error:  # noqa: BLE001 it is the future's, whatever it is
            self.end(None, error)
        else:
            self.end(value, None)

    async def run_on_loop(self) -> None:
        """Run it on the loop of this task, unless it was cancelled before."""
        if not self.session.take(self):
            return
        try:
            value = await self._drive()
        except BaseException as error:
            self.end(None, error)
            if not isinstance(error, Exception):
                raise
        else:
            self.end(value, None)

    def _drive(self) -> Any:
        args, kwargs = self.args, self.kwargs
        if self.upstream:
            try:
                args, kwargs = resolved(args), resolved(kwargs)
            except Exception as error:  # a class of the user's that takes no copy of itself
                self._span_of(Ending(semconv.ERROR, error))
                raise
        return self.definition.drive(self._new_run)(*args, **kwargs)

    def _new_run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        run = self.run_of_task = self.definition.new_run(args, kwargs)
        run.flow_run = run.flow_run or self.session.flow_run
        if self.upstream:
            run.links = [context for future in self.upstream if (context := future.span_context) is not None]
        if self.group is not None:
            run.parameters = {**(run.parameters or {}), semconv.TASK_MAP_INDEX: self.index}
        return run

    def end(self, value: Any, error: BaseException | None, result: str | None = None) -> None:
        """Be done, with *value* or *error*: the span first, then the future, then what waits for it.

        *result* is that of a run in another process.
        """
        future, run = self.future, self.run_of_task
        try:
            if run is not None and run.is_closed:
                result = run.ending.result
                if run.span is not INVALID_SPAN:
                    future.span_context = spans.context_of(run.span)
            if self.group is not None:
                self.group.ended(result or semconv.ERROR)
            is_failure = error is not None and not isinstance(error, UpstreamFailed) and not is_cancellation(error)
            if is_failure and self.session.flow_run is not None:  # the end of the flow tells of it
                self.session.failures.append(future)
        finally:  # also after Ctrl-C: who waits for the future would wait for ever
            self.args, self.kwargs, self.upstream, self.run_of_task, self.loop_task = (), {}, [], None, None
            settle(future, value, error)
            self.session.forget(self)

    def cancelled(self) -> None:
        """Tell that it was cancelled before it ran, or stop it on its loop; the future is cancelled already."""
        if self.session.take(self):
            self._end_apart(CANCELLED)
        elif self.loop is not None:
            future_runners.cancel_on_loop(self)

    def take_back(self) -> bool:
        """Cancel it, if an executor has it and has not begun it; tell whether that is so."""
        cancel_sent, self.cancel_sent = self.cancel_sent, None
        is_taken = cancel_sent is not None and cancel_sent()
        if is_taken:
            self.taken_back()
        return is_taken

    def taken_back(self) -> None:
        """Tell that it was cancelled where it was sent to, before it began."""
        if withdraw(self.future):  # else the flow was given up meanwhile
            self._end_apart(CANCELLED)
        self.session.forget(self)

    def fail(self, error: Exception) -> None:
        """End it with *error*, which kept it from being run."""
        if self.claim():
            self._end_apart(Ending(semconv.ERROR, error))

    def _skip(self, upstream: Future[Any]) -> None:
        if self.claim():
            error = UpstreamFailed(self.definition.name, upstream.task_name, failure_of(upstream))
            self._end_apart(Ending(semconv.SKIP, error))

    def _end_apart(self, ending: Ending) -> None:
        try:
            # Another thread may be in its context, to hand it over.
            self.context.copy().run(self.end_unrun, ending)
        except BaseException:  # as in end(): Ctrl-C may come before that
            settle(self.future, None, ending.error)
            self.session.forget(self)
            raise

    def end_unrun(self, ending: Ending, started_ns: int = 0) -> None:
        """Make the span of a task that was never run, or that ran, since *started_ns*, in a process that is lost."""
        try:
            self._span_of(ending, started_ns)
        finally:  # as in end()
            self.end(None, ending.error)

    def _span_of(self, ending: Ending, started_ns: int = 0) -> None:
        run = self._new_run(self.args, self.kwargs)
        run.has_ended = not started_ns  # nobody is told that it runs
        open_run(run, started_ns)
        close_run(run, ending)


def submit(definition: Any, wait_for: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Future[Any]:
    """Return the future of one call. Raises NotSubmittable."""
    check_submittable(definition, args)
    if type(wait_for) is not tuple or wait_for:
        wait_for = checked_wait_for(definition.name, wait_for)
    call = Call(definition, args, kwargs, upstream_of(wait_for, args, kwargs), session_here())
    call.begin()
    return call.future


def submit_each(definition: Any, wait_for: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> FutureList[Any]:
    """Return the futures of one call for each row of arguments. Raises NotSubmittable."""
    check_submittable(definition, [value.value if isinstance(value, unmapped) else value for value in args])
    rows = rows_of(definition.name, args, kwargs)
    session = session_here()
    upstream = upstream_of(checked_wait_for(definition.name, wait_for), (), {})
    group = Group(MapRun(definition.name, len(rows)), len(rows), session.lock)
    calls = []
    for index, row in enumerate(rows):
        own_args, own_kwargs = row[: len(args)], dict(zip(kwargs, row[len(args) :], strict=True))
        own = upstream_of((), own_args, own_kwargs)
        own_upstream = [*upstream, *own] if own else upstream  # one list for all that have no own
        calls.append(Call(definition, own_args, own_kwargs, own_upstream, session, group, index))
    futures = FutureList(call.future for call in calls)
    for call in calls:
        call.begin()
    return futures
