"""Who listens to runs: listeners that the engine drives, OSBot's hub of callables, and the guard around both."""

import functools
import inspect
import logging
import sys
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

from opentelemetry.trace import INVALID_SPAN

from otelflow import semconv
from otelflow._core.inside.events import (
    Flow_Run__Event,
    Flow_Run__Event_Data,
    Flow_Run__Event_Type,
    message_data,
    new_event,
)
from otelflow._core.inside.listener_checks import RunListener, check_hook, check_listener
from otelflow._core.process import forks, losses
from otelflow._core.process.process import State
from otelflow._core.runs import observers, spans
from otelflow._core.runs.endings import Ending
from otelflow._core.runs.run import Entry, Run
from otelflow._core.text.safe_str import bounded_name
from otelflow.errors import InvalidListener

A = TypeVar("A")
B = TypeVar("B")


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
                check_hook(name_of(listener), listener)
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
    """A hub: each callable in ``event_listeners`` hears every event that is sent through it, as a ``Flow_Run__Event``.

    ``otelflow.flow_events`` is the one through which every run of this process is heard. A callable that raises is
    counted, and does not keep the others from hearing.

    >>> from otelflow import Flow, flow_events
    >>> types = []
    >>> flow_events.event_listeners.append(lambda event: types.append(str(event.event_type)))
    >>> run = Flow().setup(pow, 2, 10).execute()
    >>> types[0], types[-1]
    ('flow_start', 'flow_stop')
    """

    def __init__(self, event_listeners: Iterable[EventListener] = ()) -> None:
        self._event_listeners = _ListenerList()
        if event_listeners:
            self.event_listeners = event_listeners

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
        """Tell whether anybody listens; *event_type* makes no difference."""
        return bool(self.event_listeners)

    def notify(self, event: Flow_Run__Event) -> None:
        """Pass *event* to each listener; one that raises is counted and does not keep the others from hearing."""
        for listener in tuple(self.event_listeners):
            guarded(listener, listener, event)

    def raise_event(
        self, flow_event: Flow_Run__Event | Flow_Run__Event_Type | str, event_data: Flow_Run__Event_Data | None = None
    ) -> None:
        """Send *flow_event* to the listeners of this hub, or, if it is a type, an event of now with *event_data*.

        >>> from otelflow import Flow_Events, Flow_Run__Event_Data, Flow_Run__Event_Type
        >>> hub, heard = Flow_Events(), []
        >>> hub.event_listeners.append(heard.append)
        >>> hub.raise_event(Flow_Run__Event_Type.NEW_RESULT, Flow_Run__Event_Data(flow_name="nightly"))
        >>> heard[0].event_data.flow_name
        'nightly'
        """
        if self.event_listeners:
            if isinstance(flow_event, str):
                flow_event = Flow_Run__Event(Flow_Run__Event_Type(flow_event), event_data)
            self.notify(flow_event)

    def on__flow__start(self, event_data: Flow_Run__Event_Data) -> None:
        """Send FLOW_START: a flow's run began."""
        self.raise_event(Flow_Run__Event_Type.FLOW_START, event_data)

    def on__flow__stop(self, event_data: Flow_Run__Event_Data) -> None:
        """Send FLOW_STOP: a flow's run ended."""
        self.raise_event(Flow_Run__Event_Type.FLOW_STOP, event_data)

    def on__task__start(self, event_data: Flow_Run__Event_Data) -> None:
        """Send TASK_START: a task's run began."""
        self.raise_event(Flow_Run__Event_Type.TASK_START, event_data)

    def on__task__stop(self, event_data: Flow_Run__Event_Data) -> None:
        """Send TASK_STOP: a task's run ended."""
        self.raise_event(Flow_Run__Event_Type.TASK_STOP, event_data)

    def on__new_artifact(self, event_data: Flow_Run__Event_Data) -> None:
        """Send NEW_ARTIFACT: a run left an artifact."""
        self.raise_event(Flow_Run__Event_Type.NEW_ARTIFACT, event_data)

    def on__new_result(self, event_data: Flow_Run__Event_Data) -> None:
        """Send NEW_RESULT: a run recorded a result."""
        self.raise_event(Flow_Run__Event_Type.NEW_RESULT, event_data)

    def on__flow_run__message(
        self, log_level: int, flow_run_id: str | None, task_run_id: str | None, message: str
    ) -> None:
        """Send FLOW_MESSAGE: a run has something to say.

        *log_level* is as ``logging`` counts; *flow_run_id* and *task_run_id* (str or None) say whose message it is.
        """
        data = {"message_data": message_data(log_level, message)}
        self.raise_event(
            Flow_Run__Event_Type.FLOW_MESSAGE,
            Flow_Run__Event_Data(data, log_level=log_level, flow_run_id=flow_run_id, task_run_id=task_run_id),
        )


#: OSBot's hub: every run of this process is heard here.
flow_events: Final = Flow_Events()

_Audience = dict[Flow_Run__Event_Type, tuple[tuple[RunListener, Callable[[Flow_Run__Event], Any]], ...]]


class _Listeners(State):
    """The listeners that the engine drives, and for each event those that want it, looked up when the list changes."""

    listeners: tuple[RunListener, ...]
    audience: _Audience
    is_captured: bool  # a flow keeps, or has kept, its events
    is_hub_heard: bool  # whether ``flow_events`` has listeners

    def __init__(self) -> None:
        super().__init__()
        self.lock = forks.new_lock()

    def reset(self) -> None:
        """Have no listener."""
        self.is_captured = self.is_hub_heard = False
        self.use(())
        if flow_events.event_listeners:
            flow_events.event_listeners.clear()

    def use(self, listeners: tuple[RunListener, ...]) -> None:
        """Drive *listeners*, and no others."""
        self.listeners = listeners
        self.audience = {
            event_type: tuple((listener, listener.notify) for listener in listeners if listener.wants(event_type))
            for event_type in Flow_Run__Event_Type
        }


_driven: Final = _Listeners()


def add_listener(listener: RunListener) -> None:
    """Let *listener* hear about every run from now on, at any sampling ratio; adding it twice changes nothing.

    *listener* is an object of a subclass of ``Listener``, or another one with its methods ``wants`` and ``notify``. It
    is called on the thread of the run.

    Raises InvalidListener for an object that cannot hear, has no hook, or has one that is misspelt.

    >>> from otelflow import Flow, Listener, add_listener
    >>> class Failures(Listener):
    ...     def on_flow_stop(self, event):
    ...         print(event.event_data.flow_name, event.event_data.result)
    >>> add_listener(Failures())
    >>> run = Flow().setup(pow, 2, 10).execute()
    pow success
    """
    check_listener(listener)
    with _driven.lock:
        if not is_listening(listener):
            _driven.use((*_driven.listeners, listener))
            observe_if_wanted()


def remove_listener(listener: RunListener) -> None:
    """Let *listener* hear nothing more from the engine; one that was never added is no error.

    >>> from otelflow import Listener, remove_listener
    >>> remove_listener(Listener())
    """
    with _driven.lock:
        _driven.use(tuple(driven for driven in _driven.listeners if driven is not listener))
        observe_if_wanted()


def listeners() -> tuple[RunListener, ...]:
    """Return the listeners that the engine drives, in the order of their adding."""
    return _driven.listeners


def is_listening(listener: object) -> bool:
    """Tell whether the engine drives *listener*."""
    return any(driven is listener for driven in _driven.listeners)


_START: Final = {"flow": Flow_Run__Event_Type.FLOW_START, "task": Flow_Run__Event_Type.TASK_START}
_STOP: Final = {"flow": Flow_Run__Event_Type.FLOW_STOP, "task": Flow_Run__Event_Type.TASK_STOP}
_ENTRIES: Final = {
    semconv.MESSAGE_EVENT: Flow_Run__Event_Type.FLOW_MESSAGE,
    semconv.ARTIFACT_EVENT: Flow_Run__Event_Type.NEW_ARTIFACT,
    semconv.RESULT_EVENT: Flow_Run__Event_Type.NEW_RESULT,
}


class _StartObserver(observers.Observer):
    """Makes an event of the start of a run, if anybody wants one."""

    def run_started(self, run: Run) -> None:
        """Tell that *run* is open."""
        event_type = _START.get(run.kind)
        if event_type is not None:
            _announce(run, event_type)


class _StopObserver(observers.Observer):
    """Makes an event of the end of a run, if anybody wants one."""

    def run_ended(self, run: Run) -> None:
        """Tell how *run* has ended."""
        event_type = _STOP.get(run.kind)
        if event_type is not None:
            _announce(run, event_type, None, run.ending)


class _EntryObserver(observers.Observer):
    """Makes an event of what happens inside a run, if anybody wants one of its type."""

    def entry_added(self, run: Run, entry: Entry) -> None:
        """Tell what was added to *run*."""
        _announce(run, _ENTRIES[entry.event_name], entry)

    lifecycle_logged = entry_added


# Several, since a listener that wants no messages must not be asked for each line of the log.
_OBSERVERS: Final = (
    (_StartObserver(), tuple(_START.values())),
    (_StopObserver(), tuple(_STOP.values())),
    (_EntryObserver(), tuple(_ENTRIES.values())),
)


def observe_if_wanted() -> None:
    """Observe only what has listeners, so that a run without listeners pays nothing."""
    _driven.is_hub_heard = bool(flow_events.event_listeners)
    is_all_wanted = _driven.is_hub_heard or _driven.is_captured
    for observer, event_types in _OBSERVERS:
        if is_all_wanted or any(_driven.audience[event_type] for event_type in event_types):
            observers.add_observer(observer)
        else:
            observers.remove_observer(observer)


def capture_events() -> None:
    """Observe runs from now on: a flow wants to keep its events."""
    if not _driven.is_captured:
        _driven.is_captured = True
        observe_if_wanted()


def _announce(
    run: Run, event_type: Flow_Run__Event_Type, entry: Entry | None = None, ending: Ending | None = None
) -> None:
    """Keep an event on its flow, if that was asked for, and send it to each listener, in the order of their adding.

    None is made if no listener wants it. It tells of *entry*, of the end of *run*, or of its start.
    """
    audience = _driven.audience[event_type]
    is_captured = run.settings.flow_data__capture_events
    if not (audience or _driven.is_hub_heard or is_captured):
        return
    moment = run.started_ns
    if entry is not None:  # which may have another state soon
        moment = entry.time_ns
        if run.is_closed and run.is_open:  # it ends: what it says at its end is told first, and is no later than that
            moment = min(moment, run.ended_ns)
        event = new_event(event_type, _event_data(run, entry, None), moment)
    else:
        if ending is not None:
            moment = run.ended_ns
        event = new_event(event_type, None, moment, functools.partial(_event_data, run, None, ending))
    references = sys.getrefcount(event)
    if is_captured and run.flow_state is not None:
        run.flow_state.captured_events.append(event)
    for listener, notify in audience:
        guarded(listener, notify, event)
    if _driven.is_hub_heard:
        flow_events.notify(event)
    # Most listeners read little or nothing of an event, and its data would take longer than all the rest. Who keeps the
    # event must not keep the run by it.
    if sys.getrefcount(event) > references:
        _ = event.event_data


def _event_data(run: Run, entry: Entry | None, ending: Ending | None) -> Flow_Run__Event_Data:
    """Return what an event tells of *entry*, of the end of *run*, or of its start."""
    parent, span = run.parent, run.span
    event_data = Flow_Run__Event_Data(
        {} if entry is None else entry.payload(),
        semconv.SCOPE,
        run.flow_name,
        run.flow_run_id,
        entry.level if entry is not None and entry.event_name == semconv.MESSAGE_EVENT else logging.INFO,
        run.task_name,
        run.task_run_id,
        None if parent is None else parent.task_run_id or parent.flow_run_id,
        None if span is INVALID_SPAN else spans.context_of(span),
    )
    if ending is not None:
        event_data.result, event_data.duration = ending.result, run.duration
        if ending.error is not None:
            event_data.error = ending.error
            event_data.error_type, event_data.error_message = ending.error_type, ending.error_message
    return event_data


def guarded(listener: object, call: Callable[[A], B], about: A) -> B | None:
    """Call *listener* with *about*; an exception is counted and gives None. It hears no event that it causes."""
    of_thread = observers.calling.__dict__  # Python looks for the thread once, and not at each attribute
    calling = of_thread.get("listeners", ())
    if calling and any(called is listener for called in calling):
        return None
    of_thread["listeners"] = (*calling, listener)
    try:
        value = call(about)
    except BaseException as error:  # noqa: BLE001 foreign code, which may raise anything, and must not break a run
        losses.listener_failed(name_of(listener), error)
        return None
    finally:
        of_thread["listeners"] = calling
    if value is not None and inspect.iscoroutine(value):  # a hook of a listener that only the SDK drives
        value.close()
        name = name_of(listener)
        losses.listener_failed(name, InvalidListener(f"{name} has an async hook, which nothing awaits"))
        return None
    return value


def name_of(listener: object) -> str:
    """Return the name under which *listener*'s errors are counted: its function's or class's."""
    return bounded_name(getattr(listener, "__qualname__", None) or type(listener).__name__)
