"""Who listens to runs: listeners that the engine drives, the seed's hub of callables, and the guard around both."""

import functools
import inspect
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeVar, runtime_checkable

from otelflow import semconv
from otelflow._core.inside.events import (
    HOOKS,
    Flow_Run__Event,
    Flow_Run__Event_Data,
    Flow_Run__Event_Type,
    message_data,
    new_event,
)
from otelflow._core.process import forks, losses
from otelflow._core.process.process import State
from otelflow._core.runs import observers, spans
from otelflow._core.runs.endings import Ending
from otelflow._core.runs.run import Entry, Run
from otelflow.errors import InvalidListener

A = TypeVar("A")
B = TypeVar("B")


@runtime_checkable
class RunListener(Protocol):
    """Who can be given to ``add_listener``: it says which events it wants and hears them, on the thread of the run."""

    def wants(self, event_type: Flow_Run__Event_Type) -> bool:
        """Tell whether events of *event_type* are worth making for this listener."""

    def notify(self, event: Flow_Run__Event) -> None:
        """Take *event* in."""


EventListener = Callable[[Flow_Run__Event], Any]


class _ListenerList(list[EventListener]):
    """A list that says when it changes, so that no run asks it whether anybody listens."""


def _telling(name: str) -> Callable[..., Any]:
    change = getattr(list, name)

    @functools.wraps(change)
    def changed(self: _ListenerList, *args: Any, **kwargs: Any) -> Any:
        before = list(self)
        try:
            result = change(self, *args, **kwargs)
            for listener in self:
                _refuse_async(name_of(listener), listener)
        except InvalidListener:
            list.__init__(self, before)
            raise
        finally:
            observe_if_wanted()
        return result

    return changed


for _name in ("append", "extend", "insert", "remove", "pop", "clear", "__setitem__", "__delitem__", "__iadd__"):
    setattr(_ListenerList, _name, _telling(_name))


class Flow_Events:
    """A hub: each callable in ``event_listeners`` hears every event that is sent through it."""

    def __init__(self) -> None:
        self._event_listeners = _ListenerList()

    @property
    def event_listeners(self) -> list[EventListener]:
        """The callables that hear every event of this hub; append yours."""
        return self._event_listeners

    @event_listeners.setter
    def event_listeners(self, listeners: Iterable[EventListener]) -> None:
        event_listeners = _ListenerList()
        event_listeners.extend(listeners)
        self._event_listeners = event_listeners
        observe_if_wanted()

    def wants(self, event_type: Flow_Run__Event_Type) -> bool:
        """Tell whether anybody listens."""
        return bool(self.event_listeners)

    def notify(self, event: Flow_Run__Event) -> None:
        """Pass *event* to each listener; one that raises is counted and does not keep the others from hearing."""
        for listener in tuple(self.event_listeners):
            guarded(listener, listener, event)

    def raise_event(self, event_type: Flow_Run__Event_Type, event_data: Flow_Run__Event_Data) -> None:
        """Make an event and send it to the listeners of this hub."""
        if self.event_listeners:
            self.notify(new_event(event_type, event_data))

    def on__flow__start(self, event_data: Flow_Run__Event_Data) -> None:
        """A flow's run began."""
        self.raise_event(Flow_Run__Event_Type.FLOW_START, event_data)

    def on__flow__stop(self, event_data: Flow_Run__Event_Data) -> None:
        """A flow's run ended."""
        self.raise_event(Flow_Run__Event_Type.FLOW_STOP, event_data)

    def on__task__start(self, event_data: Flow_Run__Event_Data) -> None:
        """A task's run began."""
        self.raise_event(Flow_Run__Event_Type.TASK_START, event_data)

    def on__task__stop(self, event_data: Flow_Run__Event_Data) -> None:
        """A task's run ended."""
        self.raise_event(Flow_Run__Event_Type.TASK_STOP, event_data)

    def on__new_artifact(self, event_data: Flow_Run__Event_Data) -> None:
        """A run left an artifact."""
        self.raise_event(Flow_Run__Event_Type.NEW_ARTIFACT, event_data)

    def on__new_result(self, event_data: Flow_Run__Event_Data) -> None:
        """A run recorded a result."""
        self.raise_event(Flow_Run__Event_Type.NEW_RESULT, event_data)

    def on__flow_run__message(
        self, log_level: int, flow_run_id: str | None, task_run_id: str | None, message: str
    ) -> None:
        """A run has something to say."""
        data = {"message_data": message_data(log_level, message)}
        self.raise_event(
            Flow_Run__Event_Type.FLOW_MESSAGE,
            Flow_Run__Event_Data(data, log_level=log_level, flow_run_id=flow_run_id, task_run_id=task_run_id),
        )


# How alike a name is that can only be meant as a hook; `on_message_sent` may be the user's own.
_MISSPELT: Final = 0.85

#: The seed's hub: every run of this process is heard here.
flow_events: Final = Flow_Events()

_Audience = dict[Flow_Run__Event_Type, tuple[RunListener, ...]]


class _Listeners(State):
    """The listeners that the engine drives, and who of them wants which event, found out once when the list changes."""

    listeners: tuple[RunListener, ...]
    audience: _Audience
    is_captured: bool  # a flow keeps, or has kept, its events

    def __init__(self) -> None:
        super().__init__()
        self.lock = forks.new_lock()

    def reset(self) -> None:
        """Have no listener."""
        self.is_captured = False
        self.use(())
        if flow_events.event_listeners:
            flow_events.event_listeners.clear()

    def use(self, listeners: tuple[RunListener, ...]) -> None:
        """Drive *listeners*, and no others."""
        self.listeners = listeners
        self.audience = {
            event_type: tuple(listener for listener in listeners if listener.wants(event_type))
            for event_type in Flow_Run__Event_Type
        }


_driven: Final = _Listeners()


class _Calling(threading.local):
    """The listeners that are being called, each from end to end.

    By thread, so that a thread which a listener starts is a program like any other; within one, asyncio tasks are told
    apart by that, too.
    """

    listeners: tuple[object, ...] = ()


_calling: Final = _Calling()


def add_listener(listener: RunListener) -> None:
    """Let *listener* hear about every run from now on, at any sampling ratio; adding it twice changes nothing.

    Raises InvalidListener for an object that cannot hear or has no hook.
    """
    candidate: object = listener
    if isinstance(candidate, type) and callable(getattr(candidate, "notify", None)):
        raise InvalidListener(
            f"{candidate.__name__} is a class: add a listener that is made of it, {candidate.__name__}()"
        )
    if isinstance(candidate, type) or not isinstance(candidate, RunListener):
        raise InvalidListener(
            f"{listener!r:.80} is no listener: subclass otelflow.Listener and override a hook such as on_task_stop, "
            "or append a callable to flow_events.event_listeners"
        )
    _refuse_misspelt_hooks(type(listener))
    for name in (*HOOKS.values(), "on_event", "notify"):
        _refuse_async(f"{type(listener).__name__}.{name}", getattr(listener, name, None))
    if not any(listener.wants(event_type) for event_type in Flow_Run__Event_Type):
        raise InvalidListener(
            f"{type(listener).__name__} has no hook: override on_flow_start, on_task_stop, on_event, …"
        )
    with _driven.lock:
        if not is_listening(listener):
            _driven.use((*_driven.listeners, listener))
            observe_if_wanted()


def _refuse_async(name: str, hook: object) -> None:
    """Raise InvalidListener for a *hook* of which a call only makes a coroutine or a generator."""
    function = getattr(hook, "__func__", hook)
    if not inspect.isroutine(function):
        function = getattr(type(function), "__call__", None)  # noqa: B004 an object whose class has one
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        cure = "make it a plain def (for work on a loop: asyncio.run_coroutine_threadsafe)"
        raise InvalidListener(f"{name} is async, and a hook is called without being awaited: {cure}")
    if inspect.isgeneratorfunction(function):
        raise InvalidListener(f"{name} has a yield, so a call of it does nothing: make it a plain def without one")


def _refuse_misspelt_hooks(kind: type) -> None:
    """Raise InvalidListener for a method that is a hook but for a letter: nobody would ever call it."""
    import difflib  # noqa: PLC0415 as late as a listener is added

    hooks = {*HOOKS.values(), "on_event", "on_start", "on_end"}
    for name in dir(kind):
        if name.startswith("on_") and not name.startswith("on__") and name not in hooks:
            for close in difflib.get_close_matches(name, hooks, n=1, cutoff=_MISSPELT):
                raise InvalidListener(f"{kind.__name__} has no hook {name!r}; did you mean {close!r}?")


def remove_listener(listener: RunListener) -> None:
    """Let *listener* hear nothing more from the engine; it may be one that was never added."""
    with _driven.lock:
        _driven.use(tuple(driven for driven in _driven.listeners if driven is not listener))
        observe_if_wanted()


def listeners() -> tuple[RunListener, ...]:
    """Return the listeners that the engine drives, in the order of their adding."""
    return _driven.listeners


def is_listening(listener: object) -> bool:
    """Tell whether the engine drives *listener*."""
    return any(driven is listener for driven in _driven.listeners)


_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
_START: Final = {True: Flow_Run__Event_Type.FLOW_START, False: Flow_Run__Event_Type.TASK_START}
_STOP: Final = {True: Flow_Run__Event_Type.FLOW_STOP, False: Flow_Run__Event_Type.TASK_STOP}
_ENTRIES: Final = {
    semconv.MESSAGE_EVENT: Flow_Run__Event_Type.FLOW_MESSAGE,
    semconv.ARTIFACT_EVENT: Flow_Run__Event_Type.NEW_ARTIFACT,
    semconv.RESULT_EVENT: Flow_Run__Event_Type.NEW_RESULT,
}


class _EventObserver(observers.Observer):
    """Makes an event of what happens to a run, if anybody wants one of its type."""

    def run_started(self, run: Run) -> None:
        """Tell that *run* is open."""
        event_type = _START[run.task is None]
        if is_wanted(run, event_type):
            _announce(run, event_type, _NOTHING, run.started_ns)

    def run_ended(self, run: Run) -> None:
        """Tell how *run* has ended."""
        event_type = _STOP[run.task is None]
        if is_wanted(run, event_type):
            _announce(run, event_type, _NOTHING, time.time_ns(), ending=run.ending)

    def entry_added(self, run: Run, entry: Entry) -> None:
        """Tell what was added to *run*."""
        event_type = _ENTRIES[entry.event_name]
        if is_wanted(run, event_type):
            level = entry.level if event_type is Flow_Run__Event_Type.FLOW_MESSAGE else logging.INFO
            _announce(run, event_type, entry.payload(), entry.time_ns, level=level)

    lifecycle_logged = entry_added


_observer: Final = _EventObserver()


def observe_if_wanted() -> None:
    """Observe runs as long as there is a listener, so that a run that nobody listens to pays nothing."""
    if _driven.listeners or flow_events.event_listeners or _driven.is_captured:
        observers.add_observer(_observer)
    else:
        observers.remove_observer(_observer)


def capture_events() -> None:
    """Observe runs from now on: a flow wants to keep its events."""
    if not _driven.is_captured:
        _driven.is_captured = True
        observe_if_wanted()


def is_wanted(run: Run, event_type: Flow_Run__Event_Type) -> bool:
    """Tell whether an event of *run* is worth making: a listener wants it, or the flow keeps its events."""
    return bool(_driven.audience[event_type] or flow_events.event_listeners or run.settings.flow_data__capture_events)


def _announce(
    run: Run,
    event_type: Flow_Run__Event_Type,
    data: Mapping[str, Any],
    time_ns: int,
    *,
    level: int = logging.INFO,
    ending: Ending | None = None,
) -> None:
    """Keep an event on its flow, if that was asked for, and send it to each listener, in the order of their adding."""
    parent = run.parent
    has_error = ending is not None and ending.error is not None
    event_data = Flow_Run__Event_Data(
        data,
        semconv.SCOPE,
        run.flow_name,
        run.flow_run_id,
        level,
        run.task_name,
        run.task_run_id,
        parent.run_id if parent is not None else None,
        spans.context_of(run.span),
        ending.result if ending is not None else None,
        run.duration if ending is not None else None,
        ending.error if ending is not None else None,
        ending.error_type if ending is not None and has_error else None,
        ending.error_message if ending is not None and has_error else None,
    )
    event = new_event(event_type, event_data, time_ns)
    if run.settings.flow_data__capture_events and run.flow is not None:
        run.flow.flow_state.captured_events.append(event)
    for listener in _driven.audience[event.event_type]:
        guarded(listener, listener.notify, event)
    if flow_events.event_listeners:
        flow_events.notify(event)


def in_listener() -> bool:
    """Tell whether a listener is being called right now; what it prints is no message of the run."""
    return bool(_calling.listeners)


def guarded(listener: object, call: Callable[[A], B], about: A) -> B | None:
    """Call *listener* with *about*; an exception is counted and gives None, and what it does is not told to itself."""
    calling = _calling.listeners
    if calling and any(called is listener for called in calling):
        return None
    _calling.listeners = (*calling, listener)
    try:
        value = call(about)
    except Exception as error:  # noqa: BLE001 a listener is foreign code and must not break a run
        losses.listener_failed(name_of(listener), error)
        return None
    finally:
        _calling.listeners = calling
    if inspect.iscoroutine(value):  # a hook of a listener that only the SDK drives
        value.close()
        name = name_of(listener)
        losses.listener_failed(name, InvalidListener(f"{name} has an async hook, which nothing awaits"))
        return None
    return value


def name_of(listener: object) -> str:
    """Return the name under which *listener*'s errors are counted: its function's or class's."""
    return getattr(listener, "__qualname__", None) or type(listener).__name__
