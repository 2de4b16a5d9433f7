"""What ships for the tests of others."""

import asyncio
import threading

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from otelflow import INJECTED, Flow, OtelflowError, flow, task
from otelflow._core.process import provider as core_spans
from otelflow.errors import ConfigurationError
from otelflow.testing import MockedDependencies, Node, flow_trace


@task
def divide(a, b):
    print(f"dividing {a}")
    return a / b


@flow
def divide_flow(a, b):
    return divide(a, b)


class Service:
    def operation(self):
        raise ConnectionError("the real service")


class Fake:
    def __init__(self, answer="fake"):
        self.answer = answer

    def operation(self):
        return self.answer


@task()
def mockable_task(this_flow=None):
    service = this_flow.get_service()
    return service.operation()


@task
def named_task(service):
    return service.operation()


class TestFlow(Flow):
    __test__ = False

    def get_service(self):
        return Service()

    def task_dependencies(self):
        return {"service": Service()}

    def main(self):
        return mockable_task(), named_task()


def test_a_trace_shows_the_tree_of_every_run_inside():
    with flow_trace() as collected, pytest.raises(ZeroDivisionError):
        divide_flow(6, 0).execute()

    assert collected.tree() == [("flow divide_flow", "failure", [("task divide", "failure", [])])]
    assert collected.tree()[0] == Node("flow divide_flow", "failure", [Node("task divide", "failure", [])])
    assert collected.one("task divide").attributes["otelflow.run.result"] == "failure"
    assert [event.name for event in collected.events("task divide")] == ["otelflow.message", "exception"]
    assert collected.messages("task divide") == ["dividing 6"]
    assert [span.name for span in collected.spans] == ["flow divide_flow", "task divide"]
    assert collected.open_spans == 0


def test_a_trace_reads_like_a_tree():
    with flow_trace() as collected:
        assert repr(collected) == "(no spans)"

        @flow
        def outer():
            divide_flow(1, 1).execute()
            return divide(1, 1)

        outer().execute()

    assert repr(collected).splitlines() == [
        "flow outer · success",
        "├── flow divide_flow · success",
        "│   └── task divide · success",
        "└── task divide · success",
    ]


def test_one_says_what_there_is_when_there_is_not_exactly_one():
    with flow_trace() as collected:
        divide(1, 1)
        divide(1, 1)

    with pytest.raises(AssertionError, match=r"2 spans are called 'task divide' in\ntask divide · success"):
        collected.one("task divide")
    with pytest.raises(AssertionError, match="0 spans are called 'task add'"):
        collected.one("task add")
    assert len(collected.named("task divide")) == 2
    with pytest.raises(AssertionError, match=r"0 spans are called 'divide' \(there is 'task divide'\) in\n"):
        collected.one("divide")


def test_what_has_not_ended_is_counted():
    @task
    def counting():
        yield 1

    with flow_trace() as collected:
        open_one = counting()
        next(open_one)

        assert (collected.spans, collected.open_spans) == ([], 1)
        assert repr(collected) == "(1 not ended)"
        open_one.close()

    assert collected.open_spans == 0


def test_the_global_provider_is_not_touched_and_what_was_in_use_comes_back():
    provider = TracerProvider(shutdown_on_exit=False)
    before = trace.get_tracer_provider()
    previous = core_spans.use_provider(provider)
    try:
        with flow_trace():
            assert core_spans.span_maker() is not None
            assert trace.get_tracer_provider() is before
        assert core_spans.use_provider(provider) is provider
        with pytest.raises(KeyError), flow_trace():
            raise KeyError
        assert core_spans.use_provider(provider) is provider
    finally:
        core_spans.use_provider(previous)
    assert trace.get_tracer_provider() is before


def test_traces_nest_and_the_outer_one_sees_all():
    with flow_trace() as outer:
        divide(1, 1)
        with flow_trace() as inner:
            divide_flow(2, 1).execute()
        divide(3, 1)

    names = ["task divide", "flow divide_flow", "task divide", "task divide"]
    assert [span.name for span in outer.spans] == names
    assert [span.name for span in inner.spans] == names[1:3]


def test_runs_in_threads_and_loops_are_collected():
    @task
    async def later():
        return 1

    with flow_trace() as collected:
        thread = threading.Thread(target=divide, args=(1, 1))
        thread.start()
        thread.join(5)
        asyncio.run(later())

    assert [span.name for span in collected.spans] == ["task divide", "task later"]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "3"),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "1"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "many"),
    ],
)
def test_limits_of_the_environment_do_not_count(monkeypatch, variable, value):
    @flow(flow_name="talks")
    def talks(this_flow):
        for number in range(3):
            this_flow.log_info(f"message {number}")

    monkeypatch.setenv(variable, value)
    with flow_trace() as trace:
        talks().execute()

    trace.assert_tree("talks")
    assert trace.messages("flow talks") == ["message 0", "message 1", "message 2"]


@pytest.mark.parametrize(("variable", "value"), [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_SAMPLER", "always_off")])
def test_a_trace_is_whole_whatever_the_variables_of_the_test_run_say(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    with flow_trace() as collected:
        divide(1, 1)

    assert collected.tree() == [("task divide", "success", [])]


def test_mocked_dependencies_reach_parameters_and_getters():
    with MockedDependencies(service=Fake()):
        flow = TestFlow()
        result = flow.execute()
        assert result.status == "success"

    assert result.flow_return_value == ("fake", "fake")
    assert vars(result).get("get_service") is None
    assert isinstance(result.get_service(), Service)
    with pytest.raises(ConnectionError, match="the real service"):
        TestFlow().execute()


def test_dependencies_may_come_with_the_trace():
    with flow_trace(dependencies={"service": Fake("given")}) as collected:
        result = TestFlow().execute()

    assert (result.status, result.flow_return_value) == ("success", ("given", "given"))
    inside = [("task mockable_task", "success", []), ("task named_task", "success", [])]
    assert collected.tree() == [("flow TestFlow", "success", inside)]


def fails_with_an_inner_fake(run):
    with MockedDependencies(service=Fake("inner")):
        assert run.execute().flow_return_value == ("inner", "inner")
        assert run.execute().flow_return_value == ("inner", "inner")
        raise KeyError


def test_mocked_dependencies_nest_and_come_back_when_the_test_fails():
    run = TestFlow()
    with MockedDependencies(service=Fake("outer")):
        assert run.execute().flow_return_value == ("outer", "outer")
        with pytest.raises(KeyError):
            fails_with_an_inner_fake(run)
        assert run.execute().flow_return_value == ("outer", "outer")

    with pytest.raises(ConnectionError):
        run.execute()


def test_a_getter_of_the_instance_comes_back_too():
    run = TestFlow()
    own = run.get_service = lambda: Fake("its own")
    with MockedDependencies(service=Fake("mock")):
        run.execute()

    assert run.get_service is own


def test_an_async_getter_is_awaited_like_the_real_one():
    class Async(Flow):
        async def get_service(self):
            return Service()

        async def main(self):
            return (await self.get_service()).operation()

    with MockedDependencies(service=Fake("awaited")):
        assert Async().execute().flow_return_value == "awaited"


def test_a_task_outside_a_flow_and_a_block_get_fakes_too():
    with MockedDependencies(service=Fake()):
        assert named_task() == "fake"
        with TestFlow():
            assert mockable_task() == "fake"


def test_what_a_flow_does_not_have_is_not_made_up():
    with MockedDependencies(service=Fake()), pytest.raises(AttributeError, match="get_service"):
        Flow().setup(mockable_task).execute()


@pytest.mark.parametrize("name", ["this_flow", "this_task", "flow_data", "task_data"])
def test_what_every_run_has_of_its_own_cannot_be_mocked(name):
    with pytest.raises(OtelflowError, match=name):
        MockedDependencies(**{name: 1})


@flow
def asks_for_a_database(database=INJECTED, cache=None, mailer="its own"):
    return database, cache, mailer


class HasDependencies(Flow):
    def task_dependencies(self):
        return {"database": "the real one"}

    def main(self, database):
        return database


@pytest.mark.parametrize(
    ("fakes", "run", "meant"),
    [
        ({"databse": 1}, HasDependencies, "database"),
        ({"database": 1, "cahce": 2}, asks_for_a_database, "cache"),
        ({"sevice": 1}, lambda: TestFlow().setup(lambda: 3), "service"),
        ({"database": 1, "data_base": 2, "mailr": 3}, asks_for_a_database, None),
    ],
)
def test_a_fake_whose_name_is_misspelt_is_refused_at_the_end(fakes, run, meant):
    mocked = MockedDependencies(**fakes)
    if meant is None:
        with mocked:
            assert run().execute().status == "success"
    else:
        with pytest.raises(ConfigurationError, match=rf"for the dependency '\w+'; did you mean '{meant}'\?$"), mocked:
            assert run().execute().status == "success"
    with mocked:
        assert Flow().setup(lambda: 3).execute().flow_return_value == 3


def test_a_misspelt_fake_hides_no_error_of_the_test():
    def fail():
        HasDependencies().execute()
        raise KeyError

    with pytest.raises(KeyError), MockedDependencies(databse=1):
        fail()


def test_a_fake_that_is_given_by_its_type_may_be_called_as_it_likes():
    @task
    def ask(service: Service | None = None):
        return service.operation()

    class FakeService(Service):
        def operation(self):
            return "fake"

    with MockedDependencies(my_service=FakeService()):
        assert ask() == "fake"


def test_a_span_of_another_provider_between_two_runs_does_not_part_them(flow_trace):
    from opentelemetry.sdk.trace import TracerProvider

    from otelflow import flow, task

    @flow
    def outer():
        with TracerProvider().get_tracer("a framework").start_as_current_span("operation"):
            task(inner)()

    def inner():
        pass

    outer().execute()

    flow_trace.assert_tree("outer > inner")
