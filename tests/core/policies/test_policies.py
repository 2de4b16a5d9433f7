"""The seam that retries, time-outs and caches will be hung on, tried with a policy of the test's own."""

import asyncio

import pytest

from otelflow import flow, flow_events, semconv, task
from otelflow._core.flows.definition import Definition
from otelflow._core.flows.keywords import PolicyOptions
from otelflow._core.flows.task import Task, new_task_run
from otelflow._core.policies import HOOKS, KEYWORDS, compose
from otelflow._core.runs.current import current_run
from otelflow._core.runs.endings import SUCCESS
from otelflow._core.runs.engine import close_run, close_with, open_run
from otelflow._core.runs.observers import add_observer
from otelflow.errors import ConfigurationError
from otelflow.metrics._counts import Aggregator, Hooks
from support.flows import Part


class Attempt(Part):
    """One attempt of a task: a run of its own inside the task's."""

    __slots__ = ()

    def __init__(self, name):
        parent = current_run()
        super().__init__(parent, f"attempt {name}")


class Again:
    """Tries a body as often as the keyword ``attempts`` says; each attempt is a span."""

    def is_wanted(self, options):
        return "attempts" in options

    def around(self, body, options):
        def tried(*args, **kwargs):
            for attempt in range(options["attempts"]):
                run = Attempt(body.__name__)
                try:
                    open_run(run)
                    run.was_called = True
                    value = body(*args, **kwargs)
                    close_run(run, SUCCESS, value)
                except Exception as error:
                    close_with(run, error)
                    if attempt == options["attempts"] - 1:
                        raise
                else:
                    return value
            raise AssertionError("no attempt was made")

        return tried

    def around_async(self, body, options):
        async def tried(*args, **kwargs):
            for _ in range(options["attempts"]):
                value = await body(*args, **kwargs)
            return value

        return tried


def with_policies(target, *policies, **options):
    definition = Definition("@task", target)
    definition.body = compose(target, options, is_async=False, is_generator=False, policies=policies)

    def tried(*args):
        call = Task(target, args, task_name="flaky")
        return definition.drive(lambda _args, _kwargs: new_task_run(call, definition))()

    return tried


def test_a_task_without_a_policy_calls_its_function_itself():
    def plain():
        return 1

    assert Definition("@task", plain).body is plain
    assert compose(plain, {"retries": 3}, is_async=False, is_generator=False, policies=(Again(),)) is plain


def test_each_attempt_is_a_span_under_the_task_and_the_failure_of_one_is_recorded_there(spans):
    failures = [ValueError("first"), ValueError("second")]

    def flaky(value):
        if failures:
            raise failures.pop(0)
        return value

    result = with_policies(flaky, Again(), attempts=3)(7)

    assert result == 7
    attempts = [("attempt flaky", "failure", []), ("attempt flaky", "failure", []), ("attempt flaky", "success", [])]
    assert spans.tree() == [("task flaky", "success", attempts)]
    assert [[event.name for event in span.events] for span in spans.named("attempt flaky")] == [
        ["exception"],
        ["exception"],
        [],
    ]


def test_an_attempt_is_no_run_of_a_flow_for_listeners_and_metrics(spans):
    told = []
    flow_events.event_listeners.append(lambda event: told.append(event.event_type.value))
    aggregator = Aggregator()
    add_observer(aggregator)

    with_policies(lambda: None, Again(), attempts=1)()

    assert [kind for kind in told if kind != "flow_message"] == ["task_start", "task_stop"]
    assert aggregator.run_count == 1


def test_what_is_inside_an_attempt_belongs_to_the_flow_and_the_task_around_it(spans):
    @task
    def inner(this_flow):
        return this_flow

    @flow
    def outer():
        return with_policies(lambda: (print("tried"), inner())[1], Again(), attempts=1)()

    run = outer().execute()

    assert run.flow_return_value is run
    assert [executed.task_name for executed in run.executed_tasks] == ["flaky", "inner"]
    assert "tried" in run.captured_exec_logs
    attempt, flaky = spans.one("attempt <lambda>").attributes, spans.one("task flaky").attributes
    identity = [semconv.FLOW_NAME, semconv.FLOW_RUN_ID, semconv.TASK_NAME, semconv.TASK_RUN_ID]
    assert [attempt[key] for key in identity] == [flaky[key] for key in identity]


def test_a_flow_inside_an_attempt_of_a_task_without_a_flow_is_the_outermost(spans):
    ended = []
    aggregator = Aggregator()
    aggregator.hooks = Hooks(flow_ended=lambda: ended.append(aggregator.run_count))
    add_observer(aggregator)

    with_policies(lambda: flow(lambda: None)().execute(), Again(), attempts=1)()

    assert ended == [1]


def test_the_last_failure_comes_out_as_it_is_and_stands_in_the_trace_once(spans):
    error = OSError("gone")

    def broken():
        raise error

    with pytest.raises(OSError, match="gone") as caught:
        with_policies(broken, Again(), attempts=2)()

    assert caught.value is error
    assert [event.name for event in spans.one("task flaky").events] == []


def test_a_policy_around_a_generator_is_refused():
    def numbers():
        yield 1

    with pytest.raises(ConfigurationError, match="numbers is a generator: Again is for functions only; put what"):
        compose(numbers, {"attempts": 2}, is_async=False, is_generator=True, policies=(Again(),))

    assert compose(numbers, {}, is_async=False, is_generator=True, policies=(Again(),)) is numbers


def test_the_first_policy_is_the_outermost():
    order = []

    class Noting:
        def __init__(self, name):
            self.name = name

        def is_wanted(self, options):
            return True

        def around(self, body, options):
            def noted():
                order.append(self.name)
                return body()

            return noted

    compose(lambda: None, {}, is_async=False, is_generator=False, policies=(Noting("cache"), Noting("retry")))()

    assert order == ["cache", "retry"]


def test_a_coroutine_function_gets_the_policy_that_awaits():
    calls = []

    async def step():
        calls.append(1)

    asyncio.run(compose(step, {"attempts": 2}, is_async=True, is_generator=False, policies=(Again(),))())

    assert calls == [1, 1]


def test_a_task_with_arguments_that_do_not_fit_is_told_so_as_ever():
    @task
    def pair(a, b):
        return a, b

    with pytest.raises(TypeError, match="missing a required argument"):
        pair(1)


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        ({}, False),
        ({"task_name": "x", "tags": ["a"]}, False),
        ({"retries": 0}, False),
        ({"retries": 1}, True),
        ({"timeout": 5}, True),
        ({"persist_result": True}, True),
        ({"persist_result": False}, False),
        ({"validate_parameters": True}, True),
        ({"concurrency": {"shop": 2}}, True),
        ({"measure_resources": True}, True),
    ],
    ids=str,
)
@pytest.mark.parametrize("is_async", [False, True])
def test_a_body_has_the_policies_around_it_that_its_keywords_ask_for(options, changes, is_async):
    def body():
        return 1

    async def async_body():
        return 1

    target = async_body if is_async else body
    composed = compose(target, options, is_async=is_async, is_generator=False)

    assert (composed is not target) is changes
    assert (asyncio.run(composed()) if is_async else composed()) == 1


def test_every_keyword_of_a_policy_is_known_to_one_policy_alone():
    keywords = [keyword for each in (*KEYWORDS.values(), HOOKS) for keyword in each]

    assert len(keywords) == len(set(keywords))
    assert set(PolicyOptions.__annotations__) - set(keywords) == {"tags"}  # which is no policy
    assert {"cache_policy", "persist_result", "result_storage", "result_serializer"} <= KEYWORDS["cache"]
