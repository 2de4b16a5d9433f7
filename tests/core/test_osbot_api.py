"""The names, defaults and shapes that existing code calls, and the faults that otelflow does not have."""

import asyncio
import contextvars
import gc
import re
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

import otelflow
from otelflow import Flow, Flow_Run__Config, Flow_Run__Event_Data, Flow_Run__Event_Type, Task, flow, flow_events, task
from otelflow._core.inside import events


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    yield
    flow_events.event_listeners.clear()


@task()
def add(a, b=1, this_task=None):
    print(f"{a} + {b}")
    return a + b


@flow()
def total(a):
    return add(a)


# Flow


def test_a_decorated_function_returns_a_flow_that_is_set_up_and_not_executed():
    made = total(1)

    assert isinstance(made, Flow)
    assert (made.flow_name, made.flow_args, made.flow_kwargs) == ("total", (1,), {})
    assert made.flow_target.__name__ == "total"
    assert made.flow_id.startswith("flow_id__")
    assert (made.flow_return_value, made.flow_error, list(made.executed_tasks)) == (None, None, [])


@pytest.mark.parametrize(
    "keyword", [{"flow_name": "x"}, {"flow_id": "flow_id__x"}, {"flow_config": Flow_Run__Config()}]
)
def test_the_decorator_takes_attributes_of_a_flow(keyword):
    made = flow(**keyword)(lambda: 1)()

    ((name, value),) = keyword.items()
    assert getattr(made, name) is value


def test_setup_and_both_ways_to_execute_return_the_flow():
    made = Flow()

    assert made.setup(lambda a, b=0: a + b, 1, b=2) is made
    assert made.execute() is made
    assert made.flow_return_value == 3
    assert made.execute_flow({"x": 1}) is made
    assert made.flow_run_params == {"x": 1}


def test_setup_without_a_target_runs_main_and_a_subclass_sets_itself_up():
    class Mine(Flow):
        def main(self):
            return "main"

    assert Mine().setup().execute().flow_return_value == "main"
    assert Mine().execute().flow_return_value == "main"


def test_execute_before_setup_says_so():
    with pytest.raises(ValueError, match=r"call setup\(target, \*args, \*\*kwargs\) before execute\(\)"):
        Flow().execute()


def test_names_and_ids_can_be_set():
    made = Flow().set_flow_target(add, 1)
    assert made.flow_name == "add"
    assert made.set_flow_name("mine").flow_name == "mine"
    assert made.set_flow_name().flow_name == "add"

    made.set_flow_id__time_now().execute()

    assert re.fullmatch(r"flow_id__\d{4}-\d\d-\d\d__\d\d-\d\d-\d\d__\d{9}", made.flow_id)


def test_tasks_in_the_block_belong_to_the_flow():
    with Flow() as made:
        add(1)

    assert [one.task_name for one in made.executed_tasks] == ["add"]
    assert next(iter(made.executed_tasks)).task_flow is made


def test_the_messages_of_a_run_can_be_read_in_each_form(capsys):
    run = total(1).execute()
    run.log_debug("d")
    run.log_info("i", task_run_id="task")
    run.log_error("e")
    capsys.readouterr()

    assert run.log_messages() == run.captured_logs()
    assert run.log_messages_with_colors() == run.captured_exec_logs
    assert run.captured_logs() == [
        f"Created flow run '{run.flow_id}' for flow 'total'",
        f"Executing flow run '{run.flow_id}'",
        "Executing task 'add'",
        "1 + 1",
        "Task return value: 2",
        "Flow return value: 2",
        "d",
        "i",
        "e",
    ]
    assert "\x1b[" in run.log_messages_with_colors()[0]
    run.print_log_messages(use_colors=False)
    assert capsys.readouterr().out.splitlines() == run.captured_logs()
    run.print_log_messages()
    assert capsys.readouterr().out.splitlines() == run.captured_exec_logs


def test_durations_have_their_shapes():
    run = total(1).execute()

    short, long, output = run.durations(), run.durations__with_tasks_status(), run.flow_output()
    assert list(short) == ["flow_name", "flow_duration", "flow_status", "flow_tasks"]
    assert (short["flow_name"], short["flow_status"], list(short["flow_tasks"])) == ("total", "completed", ["add"])
    assert short["flow_duration"] >= short["flow_tasks"]["add"] > 0
    assert long["flow_tasks"] == {
        1: {"task_name": "add", "task_duration": short["flow_tasks"]["add"], "task_status": "completed"}
    }
    assert output == {"output": 2, "durations": short}


@pytest.mark.parametrize(
    ("error", "words"),
    [(ValueError, ("failed", "failed")), (KeyboardInterrupt, ("stopped", "stopped")), (None, ("completed",) * 2)],
)
def test_the_status_words_are_the_known_ones(error, words):
    @task()
    def may_fail():
        if error is not None:
            raise error("x")

    made = flow()(lambda: may_fail())()
    if error is None:
        made.execute()
    else:
        with pytest.raises(error):
            made.execute()

    found = made.durations__with_tasks_status()
    assert (found["flow_status"], found["flow_tasks"][1]["task_status"]) == words


def test_a_flow_with_a_failed_task_counts_as_failed_in_its_report():
    @task(raise_on_error=False)
    def fails():
        raise ValueError("x")

    run = flow()(lambda: fails())().execute()

    assert (run.status, run.durations()["flow_status"], run.flow_stats.error) == (
        "success",
        "failed",
        "At least one task failed",
    )
    assert run.flow_stats.json()["failed_tasks"] == 1


def test_a_running_flow_says_so():
    run = flow()(lambda this_flow: this_flow.durations()["flow_status"])().execute()

    assert run.flow_return_value == "running"


# Task


def test_a_task_can_be_used_directly():
    with Task() as one:
        one.task_target = add.__wrapped__
        one.task_args = (1,)
        one.task_kwargs = {"b": 5}
        value = one.execute__sync()

    assert value == one.task_return_value == 6
    assert one.task_name == "add"
    assert one.task_id.startswith("task_id__")
    assert (one.task_error, one.raise_on_error, one.data) == (None, True, {})


def test_a_task_can_be_awaited_directly():
    async def target():
        return 7

    one = Task()
    one.task_target = target

    assert asyncio.run(one.execute__async()) == one.task_return_value == 7


@pytest.mark.parametrize("level", ["debug", "info", "error"])
def test_a_task_has_its_log(level):
    @task()
    def talks(this_task=None):
        getattr(this_task, f"log_{level}")("said")

    run = flow()(lambda: talks())().execute()

    (line,) = [line for line in run.log if line.text == "said"]
    assert line.level == {"debug": 10, "info": 20, "error": 40}[level]
    assert line.task_run_id == next(iter(run.executed_tasks)).task_id


def test_a_class_with_main_gets_its_name_and_no_function_gets_one_too():
    class Named(Flow):
        def main(self):
            pass

    assert Named().execute().flow_name == "Named"
    assert flow()(lambda: 1)().execute().flow_name


# Events


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


def test_everything_public_is_there():
    names = {"Flow", "Task", "flow", "task", "Flow_Run__Config", "Flow_Run__Event", "Flow_Run__Event_Data"}
    names |= {"Flow_Run__Event_Type", "Flow_Events", "flow_events", "Listener", "INJECTED", "add_listener"}

    assert names <= set(otelflow.__all__)


# Faults that are not repeated, one test for each


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


def test_the_users_exception_comes_out_as_it_was():
    error = ValueError("mine")

    @task()
    def fails():
        raise error

    @flow()
    def catches():
        try:
            fails()
        except ValueError as caught:
            return caught

    assert catches().execute().flow_return_value is error


def test_nothing_of_a_finished_flow_is_kept():
    before = (len(flow_events.event_listeners), len(events.listeners()))
    finished = [weakref.ref(total(number).execute()) for number in range(50)]
    gc.collect()

    assert [one for one in finished if one() is not None] == []
    assert (len(flow_events.event_listeners), len(events.listeners())) == before


def test_a_task_does_the_same_work_under_a_deep_stack():
    def calls():
        """How many functions, also of C, are called for one task."""
        seen = []
        sys.setprofile(lambda _frame, what, _argument: seen.append(what))
        try:
            find()
        finally:
            sys.setprofile(None)
        return len(seen)

    @task()
    def find():
        return None

    def deep(frames):
        return calls() if frames == 0 else deep(frames - 1)

    find()

    assert deep(300) == calls()


def test_printing_does_not_redirect_the_programs_stdout(capsys):
    before = sys.stdout

    run = flow()(lambda: sys.stdout is before)().execute()

    assert run.flow_return_value is True
    assert sys.stdout is before


def test_four_threads_that_print_keep_their_lines_apart():
    def chatter(name):
        for number in range(20):
            print(f"{name} {number}")

    def run(name):
        return flow(flow_name=name)(chatter)(name).execute()

    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(run, "abcd"))

    for name, one in zip("abcd", runs, strict=True):
        assert [line.text for line in one.log if line.level == 20] == [f"{name} {number}" for number in range(20)]


def test_an_async_flow_runs_in_the_callers_context():
    request = contextvars.ContextVar("request", default="none")
    request.set("mine")

    @flow()
    async def reads():
        return request.get()

    async def awaited():
        return threading.get_ident(), await flow()(here)().execute_async()

    async def here():
        return threading.get_ident()

    assert reads().execute().flow_return_value == "mine"
    caller, run = asyncio.run(awaited())
    assert run.flow_return_value == caller


def test_a_task_in_a_pool_is_no_part_of_an_empty_new_flow(spans):
    @flow()
    def pooled():
        with ThreadPoolExecutor(2) as pool:
            with_context = pool.submit(contextvars.copy_context().run, add, 1)
            without = pool.submit(add, 2)
            return with_context.result() + without.result()

    run = pooled().execute()

    inside, outside = sorted(spans.named("task add"), key=lambda span: "otelflow.flow.name" not in span.attributes)
    assert inside.attributes["otelflow.flow.run.id"] == run.flow_id
    assert inside.context.trace_id == spans.one("flow pooled").context.trace_id
    assert "otelflow.flow.run.id" not in outside.attributes
    assert outside.parent is None


def test_tasks_of_gather_belong_to_their_flow():
    @task()
    async def one(number):
        await asyncio.sleep(0)
        return number

    @flow()
    async def gathers():
        return await asyncio.gather(*(one(number) for number in range(6)))

    run = gathers().execute()

    assert run.flow_return_value == list(range(6))
    assert len(run.executed_tasks) == 6


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

    assert [one.task_args for one in run.executed_tasks] == [(2,), (3,)]
    assert [one.task_args for one in run.flow_return_value.executed_tasks] == [(1,)]
    starts = [event.event_data for event in heard if event.event_type == "flow_start"]
    assert [start.parent_run_id for start in starts] == [None, run.flow_id]


def test_an_exception_in_a_listener_is_counted_and_not_lost(caplog):
    from otelflow._core.process import losses

    def raises_in_listener(event):
        raise RuntimeError("in a listener")

    before = losses.listener_errors.copy()
    flow_events.event_listeners.append(raises_in_listener)

    total(1).execute()

    counted = losses.listener_errors - before
    assert sum(counted.values()) > 4
    assert "in a listener" in caplog.text


@pytest.mark.parametrize("value", [0, False, [], ""])
def test_a_falsy_return_value_is_a_result(value):
    run = flow()(lambda: value)().execute()

    assert [item.as_dict() for item in run.results] == [{"key": "flow-return-value", "description": str(value)}]


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


def test_each_execute_is_a_run_of_its_own():
    made = total(1)

    ids = [made.execute().flow_id for _ in range(3)]

    assert len(set(ids)) == 3
    assert len(made.executed_tasks) == 1
