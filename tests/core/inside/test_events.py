"""Events: their types and payloads, and the hub that people know."""

import copy
import gc
import json
import pickle
import threading
import time
import uuid
import weakref

import pytest

from otelflow import (
    Flow,
    Flow_Events,
    Flow_Run__Event,
    Flow_Run__Event_Data,
    Flow_Run__Event_Type,
    Task,
    flow,
    flow_events,
    task,
)
from otelflow._core.inside import events
from otelflow._core.process import losses
from support.flows import add, job, total


class Argument:
    """Whatever a task is called with."""


@task
def measured(argument):
    return None


def test_event_types_and_data_are_the_known_ones():
    assert sorted(kind.value for kind in Flow_Run__Event_Type) == [
        "flow_message",
        "flow_start",
        "flow_stop",
        "new_artifact",
        "new_result",
        "task_start",
        "task_stop",
    ]
    assert Flow_Run__Event_Data()[:7] == ({}, "", None, None, 20, None, None)


def test_payloads_are_the_known_ones():
    heard = []
    flow_events.event_listeners.append(heard.append)

    @flow()
    def speaks(this_flow=None):
        print("hello")
        this_flow.add_flow_artifact("d", "k", {"a": 1}, "json")
        return 0

    speaks().execute()

    payloads = {event.event_type.value: event.event_data.data for event in heard if event.event_data.log_level == 20}
    assert payloads["flow_message"] == {"message_data": {"log_level": 20, "message": "hello", "message_text": "hello"}}
    assert payloads["new_artifact"] == {
        "artifact_data": {"description": "d", "key": "k", "data": {"a": 1}, "type": "json"}
    }
    assert payloads["new_result"] == {"result_data": {"key": "flow-return-value", "description": "0"}}


def test_a_failed_task_has_its_stop_and_every_stop_tells_status_error_and_duration():
    heard = []
    flow_events.event_listeners.append(heard.append)

    @task()
    def fails():
        raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        flow(flow_name="f")(lambda: fails())().execute()

    stops = [event for event in heard if event.event_type.value.endswith("_stop")]
    assert [event.event_type.value for event in stops] == ["task_stop", "flow_stop"]
    assert [(event.event_data.result, event.event_data.error_type) for event in stops] == [
        ("failure", "ValueError")
    ] * 2
    assert all(event.event_data.duration > 0 for event in stops)


def test_tasks_of_nested_flows_belong_to_their_own_flow_and_events_know_the_parent():
    heard = []
    flow_events.event_listeners.append(heard.append)

    @flow()
    def inner():
        add(1)

    @flow()
    def outer():
        add(2)
        run = inner().execute()
        add(3)
        return run

    run = outer().execute()

    assert [task.task_args for task in run.executed_tasks] == [(2,), (3,)]
    assert [task.task_args for task in run.flow_return_value.executed_tasks] == [(1,)]
    starts = [event.event_data for event in heard if event.event_type == "flow_start"]
    assert [start.parent_run_id for start in starts] == [None, run.flow_id]


def test_an_exception_in_a_listener_is_counted_and_not_lost(caplog):

    def raises_in_listener(event):
        raise RuntimeError("in a listener")

    before = losses.listener_errors.copy()
    flow_events.event_listeners.append(raises_in_listener)

    total(1).execute()

    counted = losses.listener_errors - before
    assert sum(counted.values()) > 4
    assert "in a listener" in caplog.text


def test_an_interrupted_flow_stops():
    heard = []
    flow_events.event_listeners.append(heard.append)

    @flow()
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted().execute()

    assert heard[-1].event_type == "flow_stop"
    assert heard[-1].event_data.result == "cancellation"


def test_a_separate_hub_tells_its_own_listeners_only():
    hub, heard, elsewhere = Flow_Events(), [], []
    hub.event_listeners.append(heard.append)
    flow_events.event_listeners.append(elsewhere.append)
    data = Flow_Run__Event_Data(flow_name="f", task_name="t")

    hub.on__flow__start(data)
    hub.on__task__start(data)
    hub.on__new_artifact(data)
    hub.on__new_result(data)
    hub.on__flow_run__message(30, "run", "task", "\x1b[31mred\x1b[0m")
    hub.on__task__stop(data)
    hub.on__flow__stop(data)

    kinds = ["flow_start", "task_start", "new_artifact", "new_result", "flow_message", "task_stop", "flow_stop"]
    assert [event.event_type.value for event in heard] == kinds
    assert elsewhere == []
    message = heard[4].event_data
    assert message.data["message_data"] == {"log_level": 30, "message": "\x1b[31mred\x1b[0m", "message_text": "red"}
    assert (message.log_level, message.flow_run_id, message.task_run_id) == (30, "run", "task")


def test_an_event_has_an_id_of_its_own_and_milliseconds():
    heard = []
    flow_events.event_listeners.append(heard.append)

    job().execute()

    assert len({event.event_id for event in heard}) == len(heard) > 5
    assert [event.timestamp for event in heard] == [event.time_unix_nano // 1_000_000 for event in heard]
    assert [event.time_unix_nano for event in heard] == sorted(event.time_unix_nano for event in heard)
    assert isinstance(heard[0], Flow_Run__Event)


def test_an_event_of_a_subflow_knows_its_parent_run():
    heard = []
    flow_events.event_listeners.append(heard.append)

    @flow
    def inner():
        pass

    @task
    def between(this_task=None):
        inner().execute()
        return this_task.task_id

    outer = flow(flow_name="outer")(lambda: between())().execute()

    starts = {
        (event.event_data.task_name or event.event_data.flow_name): event.event_data
        for event in heard
        if event.event_type in (Flow_Run__Event_Type.FLOW_START, Flow_Run__Event_Type.TASK_START)
    }
    assert starts["outer"].parent_run_id is None
    assert starts["between"].parent_run_id == outer.flow_id
    assert starts["inner"].parent_run_id == outer.flow_return_value


def test_a_stop_tells_result_duration_and_error():
    heard = []
    flow_events.event_listeners.append(heard.append)
    error = ValueError("password=hunter2")

    @flow
    def fails():
        raise error

    with pytest.raises(ValueError, match="hunter2"):
        fails().execute()

    data = heard[-1].event_data
    assert (data.result, data.error, data.error_type) == ("failure", error, "ValueError")
    assert data.error_message == "password=[redacted]"
    assert data.duration > 0


def test_without_listeners_no_event_is_made(monkeypatch):

    events_made = []
    monkeypatch.setattr(events, "new_event", lambda *args: events_made.append(args))

    job().execute()

    assert events_made == []


def test_an_event_that_is_kept_keeps_nothing_of_its_run_and_tells_of_it_when_it_is_read_late():
    heard = []
    flow_events.event_listeners.append(heard.append)
    argument = Argument()
    reference = weakref.ref(argument)

    measured(argument)
    del argument
    gc.collect()

    assert reference() is None
    start, stop = (event.event_data for event in heard if event.event_type in ("task_start", "task_stop"))
    assert (start.result, stop.result, stop.task_run_id) == (None, "success", start.task_run_id)


def test_events_are_made_without_arguments_and_can_be_assigned_to():
    event, event_data = Flow_Run__Event(), Flow_Run__Event_Data()
    event.event_data = event_data
    event_data.flow_name, event_data.error = "nightly", ValueError("x")
    event.timestamp = 1_000

    assert event.time_unix_nano == 1_000_000_000
    assert event.event_id != Flow_Run__Event().event_id
    assert event_data.json()["flow_name"] == "nightly"
    assert "error" not in event_data.json()
    assert event.json() == {
        "event_id": event.event_id,
        "event_type": "flow_message",
        "timestamp": 1_000,
        "event_data": event_data.json(),
    }
    assert Flow_Run__Event_Data() is not Flow_Run__Event_Data().data
    assert Flow_Run__Event_Data() == Flow_Run__Event_Data()


def test_each_event_of_a_run_is_plain_data_that_travels():
    events = []
    flow_events.event_listeners.append(events.append)

    @task(raise_on_error=False)
    def fail(this_task):
        print("a message")
        this_task.add_task_artifact("rows", key="rows", data=[{"n": 1}], artifact_type="table")
        raise ValueError("no")

    flow(lambda: fail())().execute()

    assert {event.event_type for event in events} == set(Flow_Run__Event_Type) - {Flow_Run__Event_Type.NEW_RESULT}
    for event in events:
        assert json.loads(json.dumps(event.json())) == event.json()
        assert pickle.loads(pickle.dumps(event)).json() == copy.deepcopy(event).json() == event.json()
        event.event_data.data["noted"] = len(event)
    assert len({id(event.event_data.data) for event in events}) == len(events)


def test_existing_code_finds_its_small_names():
    run = Flow().setup(lambda: None)
    run.execute()
    run.logger.error("late")

    assert run.captured_exec_logs[0].startswith("Executing flow run")
    assert run.logger.memory_handler_messages()[-1] == "late"
    assert Task().random_task_id().startswith("task_id__")


def test_an_event_has_a_uuid_and_takes_its_time_in_milliseconds():
    first, second = Flow_Run__Event(timestamp=5), Flow_Run__Event()

    assert (first.timestamp, first.time_unix_nano) == (5, 5_000_000)
    assert str(uuid.UUID(first.event_id)) == first.event_id != second.event_id
    assert uuid.UUID(first.event_id).version == 4
    assert copy.copy(second).event_id == pickle.loads(pickle.dumps(second)).event_id == second.event_id


def test_events_are_compared_copied_and_shown_by_their_fields():
    event = Flow_Run__Event_Data(flow_name="order", duration=1.5)
    same, other = Flow_Run__Event_Data(flow_name="order", duration=1.5), event._replace(flow_name="other")

    assert event == same
    assert event not in (other, tuple(event), "order")
    assert (other.flow_name, other.duration, event.flow_name) == ("other", 1.5, "order")
    assert list(event) == [event[index] for index in range(len(event._fields))]
    assert repr(event).startswith("Flow_Run__Event_Data(data={}, event_source='', flow_name='order', ")
    assert repr(event).endswith(")")


def test_an_event_is_of_now_or_of_the_time_that_it_is_given():
    before = time.time_ns()
    now = [Flow_Run__Event(), events.new_event(Flow_Run__Event_Type.FLOW_STOP, Flow_Run__Event_Data())]
    then = events.new_event(Flow_Run__Event_Type.FLOW_STOP, Flow_Run__Event_Data(), 5_000_000)

    assert before <= now[0].time_unix_nano <= now[1].time_unix_nano <= time.time_ns()
    assert (then.time_unix_nano, then.timestamp) == (5_000_000, 5)


def test_an_event_whose_type_is_a_text_is_json_too():
    event = Flow_Run__Event()
    event.event_type = "task_stop"

    assert event.json()["event_type"] == "task_stop"


def test_every_event_goes_to_other_processes_and_is_json():
    lock = threading.Lock()
    heard = []

    class Odd(Exception):
        def __reduce__(self):
            raise TypeError("stays here")

    @task(raise_on_error=False)
    def leave(this_task):
        this_task.add_task_artifact(key="picture", data=b"\xff", artifact_type="image")
        this_task.add_task_result("held", lock)
        print("left")
        raise Odd("no room")

    @flow
    def body():
        leave()

    flow_events.event_listeners.append(heard.append)
    try:
        body().execute()
    finally:
        flow_events.event_listeners.remove(heard.append)

    assert {event.event_type for event in heard} == set(Flow_Run__Event_Type)
    for event in heard:
        json.dumps([event.json(), event.event_data.json()], allow_nan=False)
        for again in (pickle.loads(pickle.dumps(event)), copy.deepcopy(event)):
            assert (again.event_id, again.event_data.flow_name) == (event.event_id, "body")
    (stop,) = [event for event in heard if event.event_type == "task_stop"]
    assert str(pickle.loads(pickle.dumps(stop)).event_data.error) == "Odd: no room"


@pytest.mark.parametrize("travel", [copy.copy, copy.deepcopy, lambda event: pickle.loads(pickle.dumps(event))])
def test_a_copy_of_an_event_has_its_id_also_when_nobody_had_read_it(travel):
    event = events.new_event(Flow_Run__Event_Type.TASK_STOP, Flow_Run__Event_Data())
    twin = travel(event)

    assert (twin, twin.event_id) == (event, event.event_id)
    assert uuid.UUID(event.event_id).version == 4


def test_threads_that_read_the_id_of_an_event_at_the_same_time_get_the_same():
    together = threading.Barrier(8)
    ids = []
    event = Flow_Run__Event()

    def read():
        together.wait(10)
        ids.append(event.event_id)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert ids == [event.event_id] * 8
