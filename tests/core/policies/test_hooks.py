"""Hooks: what is called when, with what, and that none of it breaks a run."""

import asyncio
import threading

import pytest

from otelflow import Flow, Task, flow, semconv, task
from otelflow._core.flows.definition import Definition
from otelflow._core.flows.task import new_task_run
from otelflow._core.process import losses
from otelflow.errors import ConfigurationError, UnfillableParameter
from otelflow.runners import ThreadPoolTaskRunner


def hooks_into(calls):
    """Return hooks that write into *calls* what they were called for, and how it stood with the run."""

    def hook(name):
        return lambda owner: calls.append((name, type(owner), owner.status))

    return {name: hook(name) for name in ("on_running", "on_completion", "on_failure", "on_cancellation")}


def body_of(error):
    def body():
        if error is not None:
            raise error

    return body


ENDINGS = pytest.mark.parametrize(
    ("error", "hook", "status"),
    [
        (None, "on_completion", "success"),
        (ValueError(), "on_failure", "failure"),
        (TimeoutError(), "on_failure", "timeout"),
        (asyncio.CancelledError(), "on_cancellation", "cancellation"),
        (KeyboardInterrupt(), "on_cancellation", "cancellation"),
        (SystemExit(0), "on_completion", "success"),
    ],
)


def run(function):
    """Call *function*, and be done with what it raises."""
    try:
        function()
    except BaseException as error:  # noqa: BLE001 each kind of ending
        return error
    return None


@ENDINGS
def test_a_task_calls_the_hook_of_how_it_ended(error, hook, status):
    calls = []

    raised = run(task(**hooks_into(calls))(body_of(error)))

    assert raised is error
    assert calls == [("on_running", Task, "running"), (hook, Task, status)]


@ENDINGS
def test_so_does_a_flow(error, hook, status):
    calls = []

    raised = run(flow(**hooks_into(calls))(body_of(error))().execute)

    assert raised is error
    assert calls == [("on_running", Flow, "running"), (hook, Flow, status)]


def test_async_functions_and_generators_have_them_as_well():
    calls = []
    hooks = hooks_into(calls)

    @task(**hooks)
    async def step():
        return 1

    @task(**hooks)
    def numbers():
        yield 1

    @flow(**hooks)
    async def whole():
        return await step()

    @flow(execute_on_call=True, **hooks)
    def called():
        return 1

    asyncio.run(whole())
    assert list(numbers()) == [1]
    assert called() == 1
    Flow(**hooks).setup(pow, 2, 3).execute()

    owners = [Flow, Task, Task, Flow, Task, Task, Flow, Flow, Flow, Flow]
    assert [kind for _, kind, _ in calls] == owners
    assert [name for name, _, _ in calls].count("on_completion") == 5


def test_a_call_that_does_not_fit_is_a_failure():
    calls = []

    with pytest.raises(UnfillableParameter):
        task(**hooks_into(calls))(lambda number: number)()

    assert [(name, status) for name, _, status in calls] == [("on_running", "running"), ("on_failure", "error")]


def test_a_hook_sees_value_error_and_duration():
    seen = []

    @task(on_failure=lambda call: seen.append((call.task_error, call.duration > 0)))
    def broken():
        raise error

    @flow(on_completion=[lambda run: seen.append(run.flow_return_value), lambda run: seen.append(run.flow_name)])
    def fine():
        return 7

    error = ValueError()
    run(broken)
    fine().execute()

    assert seen == [(error, True), 7, "fine"]


def test_with_retries_a_hook_is_called_once():
    calls = []
    errors = [ValueError(), ValueError()]

    @task(retries=2, **hooks_into(calls))
    def shaky():
        if errors:
            raise errors.pop()

    shaky()

    assert [name for name, _, _ in calls] == ["on_running", "on_completion"]


@pytest.mark.parametrize("trouble", [ValueError("hook"), SystemExit(3)])
def test_a_hook_that_raises_is_counted_and_logged_and_changes_nothing(spans, caplog, trouble):
    def notify(_):
        raise trouble

    after = []
    step = task(on_running=notify, on_completion=[notify, after.append])(lambda: 7)

    assert step() == 7
    assert len(after) == 1
    assert sum(losses.listener_errors.values()) == 2
    assert "notify raised; the run goes on" in caplog.text
    assert spans.spans[0].attributes[semconv.RUN_RESULT] == "success"


def test_ctrl_c_in_a_hook_reaches_the_program():
    def interrupted(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        task(on_completion=interrupted)(lambda: 7)()


def test_a_task_without_hooks_does_nothing_for_them():
    def conduct(**options):
        return new_task_run(Task(len), Definition("@task", len, options)).conduct

    plain, other, hooked = conduct(), conduct(), conduct(on_failure=print)

    assert plain is other
    assert type(hooked) is not type(plain)


async def async_hook(_):
    """Would have to be awaited."""


@pytest.mark.parametrize(
    "hook", [3, "notify", [print, None], async_hook, ValueError, lambda flow, run, state: None, flow(print)]
)
def test_what_cannot_be_called_with_the_object_alone_is_refused_at_decoration(hook):
    with pytest.raises(ConfigurationError, match=r"on_failure must be .*function"):
        task(on_failure=hook)(len)


def test_the_error_says_of_what_the_hook_must_be_a_function():
    with pytest.raises(ConfigurationError, match="@flow 'load': on_failure must be a plain function of the Flow alone"):

        @flow(on_failure=async_hook)
        def load():
            """Do nothing."""


def test_tags_stand_on_the_span_sorted_and_once(spans):
    task(task_name="step", tags={"b", "a"})(lambda: 1)()
    flow(flow_name="whole", tags=["x" * 300, "b", "b"], flow_run_name="run")(lambda: 1)().execute()
    Flow(flow_name="other", tags=("c",)).setup(pow, 2, 3).execute()

    assert spans.one("task step").attributes[semconv.RUN_TAGS] == ("a", "b")
    assert spans.one("flow whole").attributes[semconv.RUN_TAGS] == ("b", "x" * 200)
    assert spans.one("flow whole").attributes[semconv.FLOW_RUN_NAME] == "run"
    assert spans.one("flow other").attributes[semconv.RUN_TAGS] == ("c",)


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ("nightly", "not 'nightly'"),
        ({1}, "not 1"),
        ([None], "not None"),
        ({"a": 1}, "not {'a': 1}"),
        ({str(n) for n in range(51)}, "not 51 of them"),
    ],
)
def test_tags_that_are_none_are_refused_at_decoration(tags, words):
    with pytest.raises(ConfigurationError, match=f"'len': tags must be a set of up to 50 texts, {words}"):
        task(tags=tags)(len)


def test_a_task_that_is_skipped_calls_no_hook_and_one_that_is_cancelled_before_it_runs_only_that_for_it(caplog):
    calls = []

    @task
    def fails():
        raise ValueError

    @task(**hooks_into(calls))
    def follows(value=None):
        calls.append("body")

    @flow(task_runner="inline")
    def skips():
        follows.submit(fails.submit()).exception()

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def cancels():
        gate = threading.Event()
        task(gate.wait).submit(30)
        assert follows.submit().cancel()
        gate.set()

    skips().execute()
    assert calls == []
    cancels().execute()
    assert calls == [("on_cancellation", Task, "cancellation")]
    assert "could not be reported" not in caplog.text
