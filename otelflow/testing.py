"""See what runs did and give them fakes, in a test: no server, no global provider, nothing left behind."""

import inspect
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, Span, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from otelflow import semconv
from otelflow._core.flows import injection
from otelflow._core.flows.flow import Flow
from otelflow._core.process import forks, losses, provider
from otelflow._core.process.process import State
from otelflow._core.runs.current import current_run
from otelflow._core.text.hints import question
from otelflow._testing.clock import FakeClock
from otelflow._testing.counted_runs import FlowMetrics
from otelflow._testing.snapshots import snapshot_lines
from otelflow._testing.tree_patterns import Forest, difference, parse
from otelflow.errors import ConfigurationError

__all__ = ["FakeClock", "FlowMetrics", "MockedDependencies", "Node", "Trace", "flow_trace"]


class Node(NamedTuple):
    """One span of a tree: *name*, *result* (how its run ended), *children* (what ran inside); equal to a plain tuple.

    >>> from otelflow.testing import Node
    >>> Node("task divide", "success", []) == ("task divide", "success", [])
    True
    """

    name: str
    result: str | None = None
    children: "list[Node]" = []  # noqa: RUF012 nobody changes it


class Trace(SpanProcessor):
    """The spans that ended while ``flow_trace()`` was collecting, in the order in which they started.

    ``spans`` is a list of the SDK's ``ReadableSpan``, ``open_spans`` the number of those that have not ended. Its
    ``repr()`` draws the tree.

    >>> from otelflow import flow
    >>> from otelflow.testing import flow_trace
    >>> @flow
    ... def greet(this_flow):
    ...     this_flow.log_info("hello")
    >>> with flow_trace() as trace:
    ...     run = greet().execute()
    >>> trace
    flow greet · success
    >>> trace.one("flow greet").attributes["otelflow.run.result"], trace.named("task load")
    ('success', [])
    >>> [event.name for event in trace.events("flow greet")]
    ['otelflow.message']
    >>> trace.messages("flow greet")
    ['hello']
    """

    def __init__(self, enclosing: "Trace | None" = None) -> None:
        self._enclosing = enclosing
        self._lock = forks.new_lock()  # a signal or the garbage collector may end runs in the middle of this
        self._started: dict[tuple[int, int], ReadableSpan | None] = {}
        self._open_names: dict[tuple[int, int], str] = {}
        self._parents: dict[tuple[int, int], tuple[int, int] | None] = {}
        self._dropped = dict(losses.dropped)
        #: Whether the fixture of pytest asserts at the end of the test that the trace is whole
        self.must_be_whole = True

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Give *span* its place; called by the provider."""
        run = current_run()
        parents = (span.parent, None if run is None else run.span.get_span_context())
        with self._lock:
            # Of spans between that others made, for a provider of theirs, nothing is known: then the run is the parent.
            keys = [(parent.trace_id, parent.span_id) for parent in parents if parent is not None]
            self._parents[_key(span)] = next((key for key in keys if key in self._started), None)
            self._started[_key(span)] = None
            self._open_names[_key(span)] = span.name
        if self._enclosing is not None:
            self._enclosing.on_start(span, parent_context)

    def on_end(self, span: ReadableSpan) -> None:
        """Take *span* in; called by the provider."""
        with self._lock:
            self._started[_key(span)] = span
            self._open_names.pop(_key(span), None)
        if self._enclosing is not None:
            self._enclosing.on_end(span)

    @property
    def spans(self) -> list[ReadableSpan]:
        """The spans that have ended."""
        with self._lock:
            return [span for span in self._started.values() if span is not None]

    @property
    def open_spans(self) -> int:
        """How many spans have started and not ended: a run that still goes on, or a generator that was not finished."""
        with self._lock:
            return sum(span is None for span in self._started.values())

    def named(self, name: str) -> list[ReadableSpan]:
        """Return the spans called *name*, such as ``task divide``."""
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        """Return the span called *name*. Raises AssertionError that shows the tree, when there is not exactly one."""
        __tracebackhide__ = True
        spans = self.named(name)
        if len(spans) != 1:
            whole = next((span.name for span in self.spans if span.name.endswith(f" {name}")), "")
            hint = f" (there is {whole!r})" if whole and not spans else ""
            raise AssertionError(f"{len(spans)} spans are called {name!r}{hint} in\n{self!r}")
        return spans[0]

    def events(self, name: str) -> list[Event]:
        """Return what happened in the one span called *name*: messages, artifacts, results, its exception."""
        __tracebackhide__ = True
        return list(self.one(name).events)

    def messages(self, name: str) -> list[str]:
        """Return the texts of the messages of the one span called *name*."""
        __tracebackhide__ = True
        messages = [event for event in self.events(name) if event.name == semconv.MESSAGE_EVENT]
        return [str((event.attributes or {})[semconv.MESSAGE_TEXT]) for event in messages]

    def tree(self) -> list[Node]:
        """Return the roots, a list of ``Node``, each with what ran inside.

        >>> with otelflow.testing.flow_trace() as trace:
        ...     run = otelflow.Flow().setup(pow, 2, 10).execute()
        >>> trace.tree() == [("flow pow", "success", [])]
        True
        """
        ended = self.spans
        results = [(span.attributes or {}).get(semconv.RUN_RESULT) for span in ended]
        nodes = {
            _key(span): Node(span.name, None if result is None else str(result), [])
            for span, result in zip(ended, results, strict=True)
        }
        roots: list[Node] = []
        for span in ended:
            parent = self._parents.get(_key(span))
            siblings = nodes[parent].children if parent is not None and parent in nodes else roots
            siblings.append(nodes[_key(span)])
        return roots

    def assert_tree(self, pattern: str) -> None:
        """Assert that what ran is *pattern* (str): ``shop > (charge[x3], email)`` is a run with four runs inside.

        A name may leave out ``flow`` or ``task``; ``a > b`` is b inside a, ``[x3]`` is three times, ``[failure]`` how
        it ended, if that is not success. The order of siblings does not count. Names with ``>``, ``(``, ``)`` or ``,``
        stand in quotes. Raises AssertionError that shows what was expected and what was, ConfigurationError for what
        is no pattern.

        >>> with otelflow.testing.flow_trace() as trace:
        ...     run = otelflow.Flow(flow_name="shop").setup(otelflow.task(pow), 2, 10).execute()
        >>> trace.assert_tree("shop > pow")
        """
        __tracebackhide__ = True
        forest = Forest()
        expected = parse(pattern, forest)
        actual = forest.branches(self.tree())
        if expected != actual:
            raise AssertionError(f"the runs are not {pattern} (- expected, + there)\n{difference(expected, actual)}")

    def assert_whole(self) -> None:
        """Assert that every span has ended, and that no telemetry was lost meanwhile; the fixture of pytest does.

        Raises AssertionError that names what is missing.

        >>> with otelflow.testing.flow_trace() as trace:
        ...     trace.assert_whole()
        """
        __tracebackhide__ = True
        if self.open_spans:
            names = ", ".join(list(self._open_names.values())[:_MOST_NAMES])
            raise AssertionError(f"{self.open_spans} spans have not ended ({names}); those that have are\n{self!r}")
        lost = Counter(losses.dropped) - Counter(self._dropped)
        if lost:
            words = ", ".join(f"{count} {signal} ({reason})" for (signal, reason), count in sorted(lost.items()))
            raise AssertionError(f"telemetry was lost: {words}")

    def snapshot(self) -> str:
        """Return the tree as a text that is the same each time: with what runs said, without times and ids.

        >>> with otelflow.testing.flow_trace() as trace:
        ...     run = otelflow.flow(flow_name="greet")(lambda: print("hello"))().execute()
        hello
        >>> print(trace.snapshot())
        flow greet · success
          "hello"
        """
        spans = self.spans
        places = {_key(span): place for place, span in enumerate(spans)}
        outer = {place: self._parents.get(key) for key, place in places.items()}
        parents = {place: places[key] for place, key in outer.items() if key in places}
        return "\n".join(snapshot_lines(spans, parents))

    def __repr__(self) -> str:
        lines = []
        waiting = deque((root, "", "") for root in self.tree())  # no recursion: a flow may call itself a thousand times
        while waiting:
            node, head, rest = waiting.popleft()
            lines.append(f"{head}{node.name} · {node.result or '?'}")
            last = len(node.children) - 1
            inside = [
                (child, rest + ("└── " if place == last else "├── "), rest + ("    " if place == last else "│   "))
                for place, child in enumerate(node.children)
            ]
            waiting.extendleft(reversed(inside))
        if self.open_spans:
            lines.append(f"({self.open_spans} not ended)")
        return "\n".join(lines) or "(no spans)"


def _key(span: ReadableSpan) -> tuple[int, int]:
    context = span.get_span_context()
    return (context.trace_id, context.span_id) if context is not None else (0, 0)


_MOST_NAMES: Final = 10  # of open spans that are named
_MOST: Final = 128  # of each kind, as the SDK has it where no variable says another number
_LIMITS: Final = SpanLimits(
    max_attributes=_MOST,
    max_events=_MOST,
    max_links=_MOST,
    max_span_attributes=_MOST,
    max_event_attributes=_MOST,
    max_link_attributes=_MOST,
    max_attribute_length=SpanLimits.UNSET,
    max_span_attribute_length=SpanLimits.UNSET,
)


class _MemoryProvider(TracerProvider):
    """Records everything, whatever the ``OTEL_*`` variables of the test run say."""

    def __init__(self, trace: Trace) -> None:
        super().__init__(sampler=ALWAYS_ON, resource=Resource.get_empty(), shutdown_on_exit=False, span_limits=_LIMITS)
        self._disabled = False
        self.add_span_processor(trace)


class _Collecting(State):
    """The innermost trace that collects now."""

    trace: Trace | None

    def reset(self) -> None:
        """Collect nothing."""
        self.trace = None


_collecting: Final = _Collecting()


@contextmanager
def flow_trace(*, dependencies: Mapping[str, object] | None = None) -> Iterator[Trace]:
    """Collect the spans of every run inside, in this process.

    The global provider is not touched. It nests: the outer one collects what the inner one does. Runs of all threads
    are collected, so two tests at a time in one process would see each other's. The fixture ``flow_trace`` of pytest
    does the same for a whole test.

    *dependencies* (a mapping by name): what flows and tasks get in the place of their own, as ``MockedDependencies``
    gives it.

    Returns a context manager that gives the ``Trace``. Raises ConfigurationError for a name that is no dependency.

    >>> from otelflow import INJECTED, flow
    >>> from otelflow.testing import flow_trace
    >>> @flow
    ... def count(database=INJECTED):
    ...     return len(database)
    >>> with flow_trace(dependencies={"database": ["a row"]}) as trace:
    ...     run = count().execute()
    >>> run.flow_return_value, trace.one("flow count").attributes["otelflow.run.result"]
    (1, 'success')
    """
    enclosing = _collecting.trace
    trace = Trace(enclosing)
    previous = provider.use_provider(_MemoryProvider(trace))
    _collecting.trace = trace
    try:
        with MockedDependencies(**dependencies) if dependencies else nullcontext():
            yield trace
    finally:
        provider.use_provider(previous)
        _collecting.trace = enclosing


class MockedDependencies:
    """Inside ``with MockedDependencies(service=fake):`` flows and tasks get *fake* wherever they ask for ``service``.

    That is: as the parameter ``service``, from ``task_dependencies()``, by the annotation of its class, and from the
    flow's method ``get_service()`` if it has one. It nests; what was there comes back.

    *fakes*: any objects, by the names of the dependencies. Raises ConfigurationError for a name that every flow or task
    has of its own, such as ``flow_data``, and at the end for one that is misspelt: a run asked for a similar name,
    and none for it.

    >>> from otelflow import INJECTED, task
    >>> from otelflow.testing import MockedDependencies
    >>> @task
    ... def count(database=INJECTED):
    ...     return len(database)
    >>> with MockedDependencies(database=["a row"]):
    ...     count()
    1
    """

    def __init__(self, **fakes: object) -> None:
        for name in fakes:
            if name in injection.NAMES:
                raise ConfigurationError(f"{name!r} is no dependency, every flow and task has its own; set its data")
        self.fakes = fakes
        self._outer: injection.StandIns | None = None
        self._shadowed: dict[int, _Shadowed] = {}
        self._names: dict[str, bool] = {}

    def __enter__(self) -> Self:
        self._outer = injection.use_stand_ins(self._stand_in)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        """Put back what was there. Raises ConfigurationError for a name that is misspelt."""
        injection.use_stand_ins(self._outer)
        for shadowed in self._shadowed.values():
            shadowed.put_back()
        self._shadowed.clear()
        names, self._names = self._names, {}
        likely = [name for name, is_likely in names.items() if is_likely and name not in self.fakes]
        for name in self.fakes if error is None else ():
            cure = question(name, likely)
            if name not in names and cure:
                raise ConfigurationError(f"No flow or task has asked for the dependency {name!r}{cure}")

    def _stand_in(
        self, flow: Flow[Any] | None, dependencies: Mapping[str, object], asking: injection.Injection
    ) -> Mapping[str, object]:
        if self.fakes:
            self._names |= asking.names() | dict.fromkeys(dependencies, True)
        outer = self._outer(flow, dependencies, asking) if self._outer is not None else {}
        if flow is not None and id(flow) not in self._shadowed:
            getters = (name for name in dir(type(flow)) if name.startswith("get_")) if self.fakes else ()
            self._names |= {name.removeprefix("get_"): True for name in getters}
            self._shadowed[id(flow)] = _Shadowed(flow, self.fakes)
        return {**outer, **self.fakes}


class _Shadowed:
    """The ``get_…`` methods of one flow, hidden behind attributes of the instance that return fakes."""

    def __init__(self, flow: Flow[Any], fakes: Mapping[str, object]) -> None:
        self._flow = flow.flow_state.reference
        self._before: dict[str, object] = {}
        for name, fake in fakes.items():
            getter = f"get_{name}"
            real = getattr(flow, getter, None)
            if callable(real):
                self._before[getter] = vars(flow).get(getter, _ABSENT)
                setattr(flow, getter, _returning(fake, real))

    def put_back(self) -> None:
        flow = self._flow()
        for getter, before in self._before.items() if flow is not None else ():
            if before is _ABSENT:
                vars(flow).pop(getter, None)
            else:
                setattr(flow, getter, before)


_ABSENT: Final = object()


def _returning(fake: object, real: Callable[..., object]) -> Callable[..., object]:
    async def get_async(*_: object, **__: object) -> object:
        return fake

    def get(*_: object, **__: object) -> object:
        return fake

    return get_async if inspect.iscoroutinefunction(real) else get
