"""Who hears of runs: the hub of callables, the listeners that the engine drives, and the guard around both."""

import asyncio
import logging
import operator
import threading

import pytest

from otelflow import (
    Flow,
    Flow_Events,
    Flow_Run__Config,
    Flow_Run__Event,
    Flow_Run__Event_Data,
    Flow_Run__Event_Type,
    Listener,
    add_listener,
    errors,
    flow,
    flow_events,
    remove_listener,
    task,
)
from otelflow._core.inside import listeners
from otelflow._core.process import losses, process
from otelflow._core.runs import observers
from otelflow._core.runs.endings import SUCCESS
from otelflow._core.runs.engine import close_run
from support.flows import leaf, opened, run_of


class Hears(Listener):
    """Writes down what it hears."""

    def __init__(self):
        self.events = []

    def on_event(self, event):
        self.events.append(event)

    @property
    def types(self):
        return [str(event.event_type) for event in self.events]


@pytest.fixture
def listener():
    listener = Hears()
    add_listener(listener)
    return listener


def are_observed():
    """Tell whether starts, ends, and what happens inside runs are observed for listeners."""
    return [observer in observers.observed.observers for observer, _ in listeners._OBSERVERS]


FIRST, SECOND = (lambda event: None), (lambda event: 1)


@pytest.mark.parametrize(
    "change",
    [
        lambda items: items.append(SECOND),
        lambda items: items.extend([SECOND, SECOND]),
        lambda items: items.insert(0, SECOND),
        lambda items: items.remove(FIRST),
        lambda items: items.pop(),
        lambda items: items.clear(),
        lambda items: operator.setitem(items, 0, SECOND),
        lambda items: operator.delitem(items, 0),
        lambda items: operator.iadd(items, [SECOND]) == [FIRST, SECOND],
    ],
)
def test_the_callables_of_the_hub_are_a_list_like_any_other(change):
    flow_events.event_listeners.append(FIRST)
    plain = [FIRST]

    assert change(flow_events.event_listeners) == change(plain)
    assert flow_events.event_listeners == plain
    assert are_observed() == [bool(plain)] * 3


def test_a_hub_is_heard_by_whom_it_was_last_given():
    first, second = [], []
    flow_events.event_listeners = [first.append]
    leaf()
    flow_events.event_listeners = (second.append,)
    leaf()
    flow_events.event_listeners = []
    leaf()

    assert [str(event.event_type) for event in first] == [str(event.event_type) for event in second]
    assert len({event.event_data.task_run_id for event in (*first, *second)}) == 2
    assert are_observed() == [False, False, False]


def test_a_hub_wants_events_as_long_as_somebody_listens():
    hub = Flow_Events()
    before = hub.wants(Flow_Run__Event_Type.FLOW_START)
    hub.event_listeners.append(print)

    assert (before, hub.wants(Flow_Run__Event_Type.FLOW_START)) == (False, True)


@pytest.mark.parametrize(
    ("method", "event_type"),
    [
        ("on__flow__start", "flow_start"),
        ("on__flow__stop", "flow_stop"),
        ("on__task__start", "task_start"),
        ("on__task__stop", "task_stop"),
        ("on__new_artifact", "new_artifact"),
        ("on__new_result", "new_result"),
    ],
)
def test_each_method_of_a_hub_sends_its_event(method, event_type):
    hub, heard, data = Flow_Events(), [], Flow_Run__Event_Data(flow_name="order")
    getattr(hub, method)(data)
    hub.event_listeners.append(heard.append)
    getattr(hub, method)(data)

    (event,) = heard
    assert (event.event_type, event.event_data) == (event_type, data)


def test_a_hub_sends_the_event_that_it_is_given_to_the_listeners_that_it_was_made_with():
    heard, event = [], Flow_Run__Event(Flow_Run__Event_Type.TASK_STOP, timestamp=5)
    hub = Flow_Events([heard.append])

    hub.raise_event(event)
    hub.raise_event(Flow_Run__Event_Type.FLOW_START)
    hub.raise_event("flow_stop")

    assert heard[0] is event
    assert (heard[1].event_type, heard[1].event_data.flow_name) == ("flow_start", None)
    assert heard[2].event_type is Flow_Run__Event_Type.FLOW_STOP
    with pytest.raises(errors.InvalidListener):
        Flow_Events([None])


def test_a_message_of_a_hub_says_whose_it_is_and_how_important():
    hub, heard = Flow_Events(), []
    hub.event_listeners.append(heard.append)
    hub.on__flow_run__message(40, "flow-1", "task-1", "\x1b[31mred\x1b[0m")

    data = heard[0].event_data
    assert (heard[0].event_type, data.log_level, data.flow_run_id, data.task_run_id) == (
        "flow_message",
        40,
        "flow-1",
        "task-1",
    )
    assert data.data == {
        "message_data": {"log_level": 40, "message": "\x1b[31mred\x1b[0m", "message_text": "red"},
    }


def test_an_event_says_of_which_run_it_is_inside_which_and_how_that_ended(spans, listener):
    @task
    def breaks(this_task=None):
        this_task.log_error("trouble")
        this_task.add_task_result("rows", 1)
        raise ValueError("password=hunter2hunter2")

    @flow
    def order():
        breaks()

    run = order()
    with pytest.raises(ValueError, match="password") as raised:
        run.execute()

    of_the_task = [event for event in listener.events if event.event_data.task_name]
    lifecycle = ["task_start", "flow_message", "flow_message", "new_result", "flow_message", "task_stop"]
    assert [str(event.event_type) for event in of_the_task] == lifecycle
    started, _, message, result, _, stopped = of_the_task
    span = spans.one("task breaks")
    for event in of_the_task:
        data = event.event_data
        assert (data.event_source, data.flow_name, data.flow_run_id) == ("otelflow", "order", run.flow_id)
        assert (data.task_name, data.task_run_id) == ("breaks", run.executed_tasks[0].task_id)
        assert (data.parent_run_id, data.span_context) == (run.flow_id, span.context)
    assert (started.time_unix_nano, stopped.time_unix_nano) == (span.start_time, span.end_time)
    assert (message.event_data.log_level, result.event_data.log_level) == (40, logging.INFO)
    assert (started.event_data.result, started.event_data.duration, started.event_data.error) == (None, None, None)
    data = stopped.event_data
    assert (data.result, data.error, data.error_type, data.error_message) == (
        "failure",
        raised.value,
        "ValueError",
        "password=[redacted]",
    )
    assert round(data.duration * 10**9) == span.end_time - span.start_time
    assert listener.events[0].event_data.parent_run_id is None


def test_a_success_has_no_error(listener):
    leaf()

    stop = listener.events[-1].event_data
    assert (stop.result, stop.error, stop.error_type, stop.error_message) == ("success", None, None, None)
    assert stop.duration > 0


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_that_is_heard_is_earlier_than_what_was_heard_before(listener, fails):
    @task(raise_on_error=False)
    def speaks(this_task):
        print("a line that is not ended", end="")
        this_task.add_task_result("rows", 1)
        if fails:
            raise ValueError("no")
        return "value"

    def body(this_flow):
        speaks()
        print("one more", end="")
        if fails:
            raise ValueError("neither")
        return this_flow.flow_name

    config = Flow_Run__Config(print_finished_message=True, raise_flow_error=False)
    run = Flow(flow_config=config).setup(body).execute()

    assert listener.types[-1] == "flow_stop"
    assert {"task_stop", "new_result", "flow_message"} <= set(listener.types)
    times = [event.time_unix_nano for event in listener.events]
    assert times == sorted(times)
    assert all(line.time_ns <= run.ended_ns for line in run.log)
    assert all(result.time_ns <= run.ended_ns for result in run.results)


@pytest.mark.parametrize(
    ("hook", "observed"),
    [
        ("on_flow_start", [True, False, False]),
        ("on_task_stop", [False, True, False]),
        ("on_message", [False, False, True]),
        ("on_event", [True, True, True]),
    ],
)
def test_runs_are_observed_for_that_only_which_a_listener_wants(hook, observed):
    add_listener(type("Hears", (Listener,), {hook: lambda self, event: None})())

    assert are_observed() == observed


def test_a_listener_hears_from_when_it_is_added_once_until_it_is_removed(listener):
    add_listener(listener)
    leaf()
    heard = listener.types
    remove_listener(listener)
    remove_listener(listener)
    leaf()

    assert heard.count("task_start") == heard.count("task_stop") == 1
    assert listener.types == heard
    assert listeners.listeners() == ()
    assert not listeners.is_listening(listener)
    assert are_observed() == [False, False, False]


def test_removing_one_listener_leaves_the_others(listener):
    other = Hears()
    add_listener(other)
    remove_listener(other)
    leaf()

    assert listeners.listeners() == (listener,)
    assert "task_stop" in listener.types
    assert other.types == []


def test_only_what_somebody_wants_is_made_an_event(listener, monkeypatch):
    class Stops(Listener):
        def on_task_stop(self, event):
            """Hear."""

    remove_listener(listener)
    add_listener(Stops())
    made = []
    new_event = listeners.new_event
    monkeypatch.setattr(listeners, "new_event", lambda *about: made.append(about[0]) or new_event(*about))
    leaf()

    assert made == [Flow_Run__Event_Type.TASK_STOP]


@pytest.mark.parametrize("captures", [True, False])
def test_a_flow_keeps_its_events_where_that_was_asked_for(captures):
    run = run_of(leaf, flow_config=Flow_Run__Config(flow_data__capture_events=captures))

    kept = [str(event.event_type) for event in run.captured_events]
    assert (kept[:1] == ["flow_start"]) is captures
    assert kept.count("task_stop") == (1 if captures else 0)


def test_a_fresh_process_keeps_and_drives_nobody(listener):
    flow_events.event_listeners.append(print)
    run_of(leaf, flow_config=Flow_Run__Config(flow_data__capture_events=True))
    process.reset()
    listeners.observe_if_wanted()

    assert (listeners.listeners(), list(flow_events.event_listeners)) == ((), [])
    assert are_observed() == [False, False, False]


def test_what_a_listener_does_is_told_to_the_others_and_not_to_itself(listener):
    class Runs(Hears):
        def on_event(self, event):
            super().on_event(event)
            leaf()

    runs = Runs()
    add_listener(runs)
    leaf()

    assert runs.types.count("task_stop") == 1
    assert listener.types.count("task_stop") == 1 + len(runs.events)


def test_a_listener_hears_what_a_thread_does_that_it_has_started():
    class Starts(Hears):
        def on_task_start(self, event):
            if event.event_data.task_name != "leaf":
                thread = threading.Thread(target=leaf)
                thread.start()
                thread.join(10)

    starts = Starts()
    add_listener(starts)
    task(lambda: None, task_name="outer")()

    names = [event.event_data.task_name for event in starts.events if event.event_type == "task_stop"]
    assert names == ["leaf", "outer"]


def test_what_a_listener_prints_is_no_message(spans, capsys):
    class Prints(Listener):
        def on_task_start(self, event):
            print("heard", observers.in_listener())

    add_listener(Prints())
    leaf()

    assert capsys.readouterr().out == "heard True\n"
    assert spans.messages("task leaf") == []
    assert not observers.in_listener()


def test_a_listener_that_raises_is_counted_under_its_name_and_the_next_hears(caplog):
    class Broken(Listener):
        def on_task_stop(self, event):
            raise RuntimeError("odd")

    def breaks(event):
        raise KeyError("odd")

    after = Hears()
    add_listener(Broken())
    add_listener(after)
    flow_events.event_listeners.append(breaks)
    leaf()

    assert losses.listener_errors["Broken"] == 1
    assert [name for name in losses.listener_errors if name.endswith("breaks")] == [breaks.__qualname__]
    assert "task_stop" in after.types
    assert not observers.in_listener()


class Panic(BaseException):
    """As a library in another language raises it."""


@pytest.mark.parametrize("error", [SystemExit(3), Panic(), GeneratorExit()], ids=repr)
def test_whatever_a_listener_raises_the_task_gives_its_value(error):
    class Leaves(Listener):
        def on_task_start(self, event):
            raise error

        on_task_stop = on_task_start

    add_listener(Leaves())

    @task
    def answer():
        return 42

    assert answer() == 42
    assert losses.listener_errors["Leaves"] == 2
    assert not observers.in_listener()


def test_a_listener_may_be_interrupted():
    class Waits(Listener):
        def on_task_stop(self, event):
            raise KeyboardInterrupt

    add_listener(Waits())

    with pytest.raises(KeyboardInterrupt):
        leaf()


def test_a_coroutine_that_a_listener_returns_is_closed_and_counted():
    async def hear():
        await asyncio.sleep(0)

    coroutines = []

    def listen(event):
        coroutines.append(hear())
        return coroutines[-1]

    value = listeners.guarded(listen, listen, None)

    assert value is None
    assert coroutines[0].cr_frame is None, "it is closed"
    assert dict(losses.listener_errors) == {listen.__qualname__: 1}


def test_a_guarded_call_gives_its_value():
    assert listeners.guarded(FIRST, lambda about: about + 1, 2) == 3


@pytest.mark.parametrize("listener", [object(), type("Silent", (Listener,), {})()])
def test_who_cannot_hear_is_refused(listener):
    with pytest.raises(errors.InvalidListener):
        add_listener(listener)

    assert listeners.listeners() == ()


def test_a_span_inside_a_run_is_no_event(listener):
    close_run(opened("an attempt"), SUCCESS)

    assert listener.events == []
    assert losses.listener_errors == {}


def test_a_task_outside_of_flows_has_no_flow_that_keeps_its_events(listener, monkeypatch):
    monkeypatch.setenv("OTELFLOW_FLOW_DATA__CAPTURE_EVENTS", "true")
    leaf()

    assert "task_stop" in listener.types
    assert losses.listener_errors == {}


def test_of_two_listeners_that_run_tasks_neither_hears_of_anything_while_it_is_called():
    class Busy(Hears):
        depth = deepest = 0

        def on_event(self, event):
            super().on_event(event)
            self.depth += 1
            self.deepest = max(self.deepest, self.depth)
            if self.depth < 5:
                leaf()
            self.depth -= 1

    both = Busy(), Busy()
    for busy in both:
        add_listener(busy)
    leaf()

    assert [busy.deepest for busy in both] == [1, 1]
    assert all("task_stop" in busy.types for busy in both)
