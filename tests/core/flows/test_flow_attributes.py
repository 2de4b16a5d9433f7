"""What a flow has for its user: it is awaited as a coroutine is, and its attributes leave a user's names alone."""

import asyncio
import dataclasses
import functools

import pytest

from otelflow import Flow, Flow_Run__Config, Objective, Task, flow, task
from otelflow._core.flows.objective import buckets_of, objective_of
from otelflow.errors import ConfigurationError, NoSuchAttribute


@task
def double(number):
    print("doubling", number)
    return 2 * number


@task(raise_on_error=False)
def fails():
    raise ValueError("boom")


@flow
def nightly(number=1):
    return double(number)


@flow
async def hourly(number=1):
    await asyncio.sleep(0)
    return double(number)


# Awaited


def test_asyncio_takes_a_flow_as_it_takes_a_coroutine(spans):
    async def several():
        first = await hourly(1)
        second, third = await asyncio.gather(hourly(2), nightly(3))
        fourth = await asyncio.wait_for(hourly(4), 10)
        fifth = await asyncio.create_task(hourly(5))
        return [run.flow_return_value for run in (first, second, third, fourth, fifth)]

    assert asyncio.run(several()) == [2, 4, 6, 8, 10]
    assert asyncio.run(hourly(6)).flow_return_value == 12
    assert len(spans.named("flow hourly")) == 5


def test_a_flow_that_has_run_is_not_run_again_when_it_is_awaited(spans):
    async def twice():
        run = await hourly()
        return await run is run

    assert asyncio.run(twice())
    assert len(spans.named("flow hourly")) == 1


def test_a_flow_that_is_awaited_is_cancelled_as_its_coroutine_is(spans):
    @flow
    async def sleeps():
        await asyncio.sleep(60)

    async def cancel():
        waiting = asyncio.create_task(sleeps())
        await asyncio.sleep(0.01)
        waiting.cancel()
        await waiting

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancel())
    assert spans.tree() == [("flow sleeps", "cancellation", [])]


# A user's names

NAMES = [
    "log",
    "artifacts",
    "results",
    "data",
    "status",
    "duration",
    "objective",
    "buckets",
    "reference",
    "executed_tasks",
    "captured_events",
    "started_ns",
    "ended_ns",
    "logger",
    "run",
    "json",
    "durations",
    "send",
    "close",
    "throw",
    "_log",
    "_start",
    "_block",
    "_capture",
    "_write_message",
    "flow_run",
    "flow_definition",
    "begin_flow_run",
    "use_definition",
    "captured_logs",
    "log_messages",
    "flow_stats",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["method", "attribute", "instance", "property"])
def test_a_users_class_may_have_any_name_of_its_own(spans, kind, name):
    def refuse(self):
        raise AssertionError("nobody calls it")

    def main(self):
        fails()
        self.log_info("in main")
        self.add_flow_artifact(key="rows", data=[1], artifact_type="json")
        return double(21)

    value = {"method": refuse, "attribute": "mine", "property": property(refuse)}.get(kind)
    own = type("Own", (Flow,), {"main": main} if kind == "instance" else {"main": main, name: value})
    run = own()
    if kind == "instance":
        setattr(run, name, "mine")

    run.execute()

    assert run.flow_return_value == 42
    assert repr(run).endswith("success>")
    if kind in ("attribute", "instance"):
        assert getattr(run, name) == "mine"
    (root,) = spans.tree()
    assert root.result == "success"
    assert run.flow_state.log[0].message.startswith("Created")
    assert run.flow_output()["durations"]["flow_status"] == "failed"


@pytest.mark.parametrize("setup", ["mine", None, {"rows": 3}, property(lambda self: 5), functools.cached_property(len)])
def test_a_class_may_have_a_value_called_setup(spans, setup):
    own = type("Own", (Flow,), {"main": lambda self: double(21), "setup": setup})

    assert own().execute().flow_return_value == 42


def on_the_class(setup):
    return type("Own", (Flow,), {"setup": setup})()


def on_the_flow(setup):
    own = Flow()
    own.setup = functools.partial(setup.func, own, *setup.args)
    return own


@pytest.mark.parametrize("make", [on_the_class, on_the_flow])
def test_a_setup_of_any_kind_says_what_is_run(spans, make):
    own = make(functools.partialmethod(Flow.setup, double, 21))

    assert own.execute().flow_return_value == 42


def test_a_dataclass_may_have_a_field_called_setup(spans):
    @dataclasses.dataclass
    class Report(Flow):
        setup: str

        def main(self):
            return double(21)

    assert Report("mine").execute().flow_return_value == 42


def test_what_tasks_get_stays_a_mapping_where_a_class_has_data_of_its_own(spans):
    @task
    def rows(flow_data):
        return flow_data

    class Report(Flow):
        def main(self):
            self.data = [1, 2]
            return rows()

    run = Report(data={"day": 1}).execute()

    assert (run.data, run.flow_return_value) == ([1, 2], {"day": 1})
    run.data = {"day": 2}
    assert run.data == run.flow_state.data == {"day": 2}
    with pytest.raises(ConfigurationError, match="Flow: data must be a"):
        Flow().data = [1, 2]


def test_a_class_may_say_what_it_is_in_a_property(spans):
    own = type("Own", (Flow,), {"main": lambda self: 1, "__doc__": property(lambda self: "mine")})

    assert (own().execute().flow_return_value, own().__doc__) == (1, "mine")


@pytest.mark.parametrize("kind", ["method", "attribute", "property", "instance"])
@pytest.mark.parametrize(
    "name", ["status", "duration", "started_ns", "run", "log", "flow", "name", "_write_message", "_innermost"]
)
def test_a_users_class_of_tasks_may_have_names_of_its_own(spans, kind, name):
    def refuse(self):
        raise AssertionError("nobody calls it")

    value = {"method": refuse, "attribute": "mine", "property": property(refuse)}.get(kind)
    own = type("Own", (Task,), {} if kind == "instance" else {name: value})

    with Flow() as run:
        call = own(task_target=lambda this_task: this_task.log_info("hello") or 42)
        if kind == "instance":
            setattr(call, name, "mine")
        assert call.execute__sync() == 42

    (entry,) = run.json()["flow_data"]["tasks"].values()
    assert (entry["status"], entry["start_time"] <= entry["end_time"]) == ("completed", True)
    assert "hello" in run.log_messages()
    assert [each["task_status"] for each in run.durations__with_tasks_status()["flow_tasks"].values()] == ["completed"]
    assert [each.status.value for each in run.flow_stats.stats.tasks_stats.values()] == ["completed"]


def test_a_dataclass_may_have_a_field_with_any_name(spans):
    @dataclasses.dataclass
    class Report(Flow):
        status: str
        log: list = dataclasses.field(default_factory=list)

        def main(self):
            self.log.append(self.status)
            return double(2)

    run = Report("fresh").execute()

    assert (run.flow_return_value, run.status, run.log) == (4, "fresh", ["fresh"])


def test_objective_and_buckets_of_ours_still_count(spans, caplog):
    class Promised(Flow):
        objective = Objective(success=0.9)
        buckets = (1, 2)

        def main(self):
            return 1

    assert Promised().execute().objective.success == 0.9
    assert objective_of(Promised) is Promised.objective
    assert buckets_of(Promised) == (1, 2)
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("name", "value"), [("objective", 0.9), ("objective", 5), ("buckets", (2, 1)), ("buckets", [0])]
)
def test_what_looks_like_an_objective_or_buckets_and_is_none_is_the_class_s_own_and_told(spans, caplog, name, value):
    kind = type("Own", (Flow,), {"main": lambda self: getattr(self, name), name: value})

    assert kind().execute().flow_return_value == value
    assert caplog.text.count(f"{name} of the class Own is taken for an attribute of its own") == 1


@pytest.mark.parametrize("value", [5, "minimise", [1, "a"], {"a": 1}, range(3), property(lambda self: 5), len])
@pytest.mark.parametrize(
    "name",
    ["buckets", "flow_args", "flow_config", "flow_error", "flow_id", "flow_kwargs", "flow_name", "flow_run_params"],
)
def test_a_class_may_have_anything_under_the_names_of_our_settable_attributes(spans, name, value):
    kind = type("Own", (Flow,), {"main": lambda self, number: double(number), name: value})

    run = kind().setup(number=2)
    for _ in range(2):
        run.execute()

    assert (run.flow_return_value, run.status) == (4, "success")
    assert run.json()["flow_data"]["return_value"] == 4
    assert repr(run).startswith("<Own ")


def test_a_class_says_its_name_and_configuration_also_as_attributes(spans):
    class Report(Flow):
        flow_name = "nightly report"
        flow_config = Flow_Run__Config(raise_flow_error=False)

        def main(self):
            raise ValueError("no rows")

    class Regional(Flow):
        region = "eu"

        @property
        def flow_name(self):
            return f"report of {self.region}"

        def main(self):
            return 1

    report = Report().execute()
    Regional().execute()

    assert (report.flow_name, report.status, str(report.flow_error)) == ("nightly report", "failure", "no rows")
    assert [span.name for span in spans.spans] == ["flow nightly report", "flow report of eu"]
    assert Report(flow_name="another").flow_name == "another"
    assert Report().set_flow_name("set").flow_name == "set"


@pytest.mark.parametrize("dependencies", [{"database": 1}, None, 5, property(lambda self: {}), task(lambda self: {})])
def test_dependencies_that_would_never_be_asked_for_are_refused_with_their_class(dependencies):
    with pytest.raises(
        ConfigurationError, match=r"Own\.task_dependencies must be a plain method that returns a mapping"
    ):
        type("Own", (Flow,), {"main": lambda self: 1, "task_dependencies": dependencies})


def test_dependencies_that_would_have_to_be_awaited_are_refused():
    with pytest.raises(ConfigurationError, match="not an async method"):

        class Own(Flow):
            async def task_dependencies(self):
                return {}


def test_setup_of_ones_own_does_not_keep_main_from_running(spans):
    class Own(Flow):
        def setup(self):
            self.ready = True

        def main(self):
            return self.ready

    assert Own().execute().flow_return_value is True


def test_main_may_have_a_parameter_called_target(spans):
    class Deploy(Flow):
        def main(self, target, *, number=1):
            return target, number

    assert Deploy().setup(target="staging", number=2).execute().flow_return_value == ("staging", 2)
    assert Deploy().setup(None, "staging").execute().flow_return_value == ("staging", 1)
    assert Flow().setup(target=double).set_flow_target(double, 4).execute().flow_return_value == 8
    assert Flow().setup(dict, target=3).execute().flow_return_value == {"target": 3}


# Asked for by other names

SAID_OF_RUN = (
    "run() returns the flow's data, which is empty; "
    "what its function returned is execute().flow_return_value (said once)"
)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("result", "'Flow' object has no attribute 'result'; what its function returned is flow_return_value, after"),
        ("return_value", "'return_value'; what its function returned is flow_return_value, after execute()"),
        ("exception", "what ended it is flow_error"),
        ("start", "execute() runs it, in async code await does"),
        ("arun", "await it, or execute_async()"),
        ("name", "its name is flow_name"),
        ("flow_run_id", "its id is flow_id"),
        ("trace_id", "get_current_span().get_span_context(); afterwards 'otelflow show --list'"),
        ("failed", "how it ended is status, after execute()"),
    ],
)
def test_what_a_flow_has_under_another_name_is_told(name, words):
    run = nightly().execute()

    with pytest.raises(NoSuchAttribute) as error:
        getattr(run, name)

    assert words in str(error.value)
    assert not hasattr(run, name)
    assert getattr(run, name, 3) == 3
    setattr(run, name, 4)
    assert getattr(run, name) == 4


def test_a_name_that_nothing_is_known_of_is_python_s_own_error():
    run = nightly().execute()

    with pytest.raises(AttributeError, match=r"^'Flow' object has no attribute 'exectue'$") as error:
        _ = run.exectue

    assert (error.value.name, error.value.obj, type(error.value)) == ("exectue", run, AttributeError)


class Fallback:
    def __getattr__(self, name):
        return f"{name} of another class"


def test_what_a_class_of_the_user_s_does_for_names_that_it_lacks_stays():
    class Report(Flow):
        result = "its own"

        @property
        def total(self):
            return self.rows.count

    class Mixed(Flow, Fallback):
        """Has a base class that knows every name."""

    assert Report().result == "its own"
    with pytest.raises(AttributeError, match=r"^'Report' object has no attribute 'rows'$"):
        _ = Report().total
    assert Mixed().result == "result of another class"


def test_a_function_that_was_not_called_tells_how_it_is_run():
    executing = flow(execute_on_call=True)(len)

    with pytest.raises(NoSuchAttribute, match=r"called first: nightly\(…\) sets .* and nightly\(…\)\.execute\(\) runs"):
        nightly.execute()
    with pytest.raises(NoSuchAttribute, match=r"called first: len\(…\) runs the flow$"):
        executing.execute(3)


def test_run_tells_once_where_the_value_is_if_it_returns_no_data(caplog):
    assert [nightly().run(), nightly().run()] == [{}, {}]
    assert Flow().setup(lambda flow_data: flow_data.setdefault("rows", 3)).run() == {"rows": 3}

    assert [message for message in caplog.messages if "run() returns" in message] == [f"flow 'nightly': {SAID_OF_RUN}"]
    with pytest.raises(NoSuchAttribute, match=r"no attribute 'run'; it is called first: nightly\(…\) sets"):
        nightly.run()
    with pytest.raises(NoSuchAttribute, match=r"to run it beside others, call it in a @task, and submit that$"):
        nightly.submit(3)
    with pytest.raises(ConfigurationError, match="task_runner must be one of threads"):
        flow(task_runner=nightly)(len)
