"""Retries: which attempts there are, what their spans say, and what is never tried again."""

import asyncio
import gc
import logging
import signal
import sys
import threading
import time
import urllib.error
import weakref

import pytest
from opentelemetry.trace import StatusCode

from otelflow import Flow, flow, semconv, task
from otelflow._core.flows.definition import Definition
from otelflow._core.policies import KEYWORDS
from otelflow._core.process import losses
from otelflow._core.runs.observers import add_observer
from otelflow.errors import ConfigurationError, UnfillableParameter
from otelflow.metrics._counts import Aggregator


def failing(times, error=ConnectionError):
    """Return a function that fails so often, and then returns how often it was called."""
    calls = []

    def body():
        calls.append(1)
        if len(calls) <= times:
            raise error(f"call {len(calls)}")
        return len(calls)

    return body


def asynchronous(body):
    async def awaited():
        await asyncio.sleep(0)
        return body()

    return awaited


def called(decorated):
    """Call a task that may be async."""
    value = decorated()
    return asyncio.run(value) if asyncio.iscoroutine(value) else value


KINDS = pytest.mark.parametrize("kind", [lambda body: body, asynchronous], ids=["sync", "async"])


@KINDS
def test_a_task_is_tried_until_it_succeeds_and_each_attempt_is_a_span(spans, kind):
    fetch = task(task_name="fetch", retries=3)(kind(failing(2)))

    assert called(fetch) == 3

    attempts = [("attempt fetch", result, []) for result in ("failure", "failure", "success")]
    assert spans.tree() == [("task fetch", "success", attempts)]
    assert [span.attributes[semconv.ATTEMPT_NUMBER] for span in spans.named("attempt fetch")] == [1, 2, 3]
    assert spans.one("task fetch").attributes[semconv.RUN_ATTEMPTS] == 3


@KINDS
def test_no_span_of_a_task_that_succeeds_in_the_end_says_error(spans, kind):
    called(task(task_name="fetch", retries=1)(kind(failing(1))))

    assert [span.status.status_code for span in spans.spans] == [StatusCode.UNSET] * 3
    first, second = spans.named("attempt fetch")
    assert (first.attributes[semconv.ERROR_TYPE], [event.name for event in first.events]) == (
        "ConnectionError",
        [semconv.EXCEPTION_EVENT],
    )
    assert second.events == ()


@KINDS
def test_when_all_fail_the_last_exception_comes_out_and_stands_once_in_the_trace(spans, kind):
    with pytest.raises(ConnectionError, match="call 3") as caught:
        called(task(task_name="fetch", retries=2)(kind(failing(9))))

    whole = spans.one("task fetch")
    assert (whole.status.status_code, whole.status.description) == (StatusCode.ERROR, "call 3")
    assert whole.events == ()
    codes = [span.status.status_code for span in spans.named("attempt fetch")]
    assert codes == [StatusCode.UNSET, StatusCode.UNSET, StatusCode.ERROR]
    assert [len(span.events) for span in spans.named("attempt fetch")] == [1, 1, 1]
    assert not hasattr(caught.value, "__notes__")


def test_the_flow_says_which_task_failed_and_not_which_attempt(spans):
    @task(retries=1)
    def fetch():
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        flow(lambda: fetch(), flow_name="load")().execute()

    load = spans.one("flow load")
    assert load.attributes[semconv.FLOW_FAILED_IN] == "task fetch"
    assert load.status.description == "task fetch: gone"


@KINDS
def test_a_flow_is_tried_again_with_its_tasks_below_each_attempt(spans, kind):
    step = task(task_name="step")(failing(1))
    run = flow(flow_name="load", retries=1)(kind(lambda: step()))().execute()

    assert (run.status, run.flow_return_value) == ("success", 2)
    attempts = [("attempt load", result, [("task step", result, [])]) for result in ("failure", "success")]
    assert spans.tree() == [("flow load", "success", attempts)]
    assert [span.status.status_code for span in spans.spans] == [StatusCode.UNSET] * 5


def test_an_attribute_of_a_flow_class_is_its_own_also_when_it_has_the_name_of_a_keyword(spans):
    class Load(Flow):
        retries: int = 5

        def main(self):
            return self.retries

    assert Load(retries=7).execute().flow_return_value == 7
    assert spans.tree() == [("flow Load", "success", [])]


def test_a_flow_that_fails_in_itself_is_said_to_fail_without_a_culprit(spans):
    with pytest.raises(ConnectionError):
        Flow(flow_name="load", retries=1).setup(failing(2)).execute()

    load = spans.one("flow load")
    assert semconv.FLOW_FAILED_IN not in load.attributes
    assert load.status.description == "call 2"


@KINDS
def test_the_delay_stands_on_the_attempt_that_it_was_before_and_their_sum_on_the_task(spans, kind):
    called(task(task_name="fetch", retries=2, retry_delay=[0.01, 0.02])(kind(failing(2))))

    delays = [span.attributes[semconv.ATTEMPT_DELAY] for span in spans.named("attempt fetch")]
    assert delays == [0, 0.01, 0.02]
    assert spans.one("task fetch").attributes[semconv.RUN_RETRY_DELAY] == pytest.approx(0.03)
    first, second, third = spans.named("attempt fetch")
    assert second.start_time - first.end_time >= 0.01 * 1e9
    assert third.start_time - second.end_time >= 0.02 * 1e9


def test_what_is_printed_and_recorded_stands_on_the_attempt_and_belongs_to_the_task(spans):
    body = failing(1)

    @task(retries=1)
    def fetch(this_task):
        print("printed")
        this_task.log_info("logged")
        this_task.add_task_result("rows", 3)
        return body()

    @flow
    def load():
        return fetch()

    run = load().execute()

    assert [[event.name for event in span.events][:3] for span in spans.named("attempt fetch")] == [
        [semconv.MESSAGE_EVENT, semconv.MESSAGE_EVENT, semconv.RESULT_EVENT]
    ] * 2
    assert spans.events("task fetch") == []
    assert run.log_messages().count("logged") == 2
    assert [(executed.task_name, executed.status) for executed in run.executed_tasks] == [("fetch", "success")]
    assert run.executed_tasks[0].task_run is None


@KINDS
@pytest.mark.parametrize("error", [asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_no_failure_is_not_tried_again(spans, kind, error):
    body = failing(1, error)

    with pytest.raises(error):
        called(task(task_name="fetch", retries=3)(kind(body)))

    assert len(spans.named("attempt fetch")) == 1
    assert body() == 2


def test_a_call_that_does_not_fit_is_not_tried_again(spans):
    @task(retries=3)
    def pair(a, b):
        return a, b

    with pytest.raises(UnfillableParameter, match="task 'pair' cannot be called: missing a required argument: 'b'"):
        pair(1)

    assert spans.tree() == [("task pair", "error", [])]


def test_a_type_error_of_the_body_itself_is_tried_again():
    assert task(retries=1)(failing(1, TypeError))() == 2


def test_the_condition_decides_which_exception_is_tried_again(spans):
    retried = task(task_name="fetch", retries=3, retry_condition_fn=lambda error: "call 1" in str(error))

    with pytest.raises(ConnectionError, match="call 2"):
        retried(failing(9))()

    assert [span.status.status_code for span in spans.named("attempt fetch")] == [StatusCode.UNSET, StatusCode.ERROR]


def test_a_condition_that_raises_is_said_in_the_log_and_the_exception_of_the_body_comes_out(spans, caplog):
    with pytest.raises(ConnectionError, match="call 1"):
        task(task_name="fetch", retries=3, retry_condition_fn=lambda error: error.code == 503)(failing(9))()

    assert "cannot be used: it is not tried again" in caplog.text
    assert len(spans.named("attempt fetch")) == 1


class Odd(urllib.error.URLError):
    """Raises when it is asked what it stands for."""

    @property
    def reason(self):
        raise ValueError("no reason")

    @reason.setter
    def reason(self, value):
        """Keep nothing."""


def test_an_exception_whose_own_code_raises_is_a_failure_that_is_tried_again(spans):
    assert task(task_name="fetch", retries=1)(failing(1, Odd))() == 2
    assert [span.attributes[semconv.RUN_RESULT] for span in spans.named("attempt fetch")] == ["failure", "success"]


def test_ctrl_c_in_the_condition_ends_the_attempt_as_well(spans):
    def interrupted(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        task(task_name="fetch", retries=1, retry_condition_fn=interrupted)(failing(1))()

    assert spans.tree() == [("task fetch", "cancellation", [("attempt fetch", "failure", [])])]


class Interrupting(urllib.error.URLError):
    """Is interrupted by Ctrl-C when it is first asked what it stands for."""

    questions = 0

    @property
    def reason(self):
        self.questions += 1
        if self.questions == 1:
            raise KeyboardInterrupt
        return "later"

    @reason.setter
    def reason(self, value):
        """Keep nothing."""


def test_ctrl_c_while_the_failure_of_an_attempt_is_classified_comes_out(spans):
    with pytest.raises(KeyboardInterrupt):
        task(task_name="fetch", retries=1)(failing(1, Interrupting))()

    assert spans.tree() == [("task fetch", "cancellation", [("attempt fetch", "failure", [])])]


def test_a_log_handler_that_raises_costs_no_attempt(monkeypatch):
    class Broken(logging.Handler):
        def handle(self, record):
            raise OSError("disk full")

    monkeypatch.setattr(losses.logger, "handlers", [Broken()])

    assert task(retries=1)(failing(1))() == 2


def test_a_body_whose_run_could_not_be_opened_is_tried_all_the_same():
    assert Definition("@task", failing(1), {"retries": 1}).body() == 2


def test_each_failure_that_is_tried_again_is_one_line_in_the_log(caplog):
    with caplog.at_level(logging.WARNING):
        task(task_name="fetch", retries=2, retry_delay=0.001)(failing(1))()

    assert [record.getMessage() for record in caplog.records] == [
        "Attempt 1 of 3 of 'fetch' failed: ConnectionError: call 1; the next one follows in 1 ms"
    ]


def test_without_a_delay_the_next_attempt_follows_at_once(spans, caplog):
    task(task_name="fetch", retries=1)(failing(1))()

    assert [record.getMessage() for record in caplog.records] == [
        "Attempt 1 of 2 of 'fetch' failed: ConnectionError: call 1; the next one follows at once"
    ]
    assert [span.attributes[semconv.ATTEMPT_DELAY] for span in spans.named("attempt fetch")] == [0, 0]
    assert semconv.RUN_RETRY_DELAY not in spans.one("task fetch").attributes


def test_with_raise_on_error_false_only_the_last_failure_stays_inside(spans):
    result = task(task_name="fetch", retries=1, raise_on_error=False)(failing(9))()

    assert result is None
    assert spans.tree() == [("task fetch", "failure", [("attempt fetch", "failure", [])] * 2)]


def test_a_task_with_retries_counts_once_and_its_retries_apart():
    aggregator = Aggregator()
    add_observer(aggregator)

    flow(lambda: task(task_name="fetch", retries=3)(failing(2))(), flow_name="load", retries=1)().execute()

    snapshot = aggregator.snapshot()
    series = next(series for series in snapshot.tasks if series.task == "fetch")
    assert ({result: runs.count for result, runs in series.durations.items()}, series.retries) == ({"success": 1}, 2)
    assert [(series.flow, series.retries) for series in snapshot.flows if series.durations] == [("load", 0)]


def test_the_counters_of_retries_are_metrics():
    from otelflow.metrics._families import read

    aggregator = Aggregator()
    add_observer(aggregator)
    step = task(task_name="fetch", retries=1)(failing(1))
    flow(flow_name="load", retries=1)(failing(1))().execute()
    flow(lambda: step(), flow_name="outer")().execute()

    samples = {family.metric.name: family.samples for family in read(aggregator.snapshot())}
    assert ("load",) in [sample.labels for sample in samples[semconv.FLOW_RETRIES] if sample.value == 1]
    assert [(sample.labels, sample.value) for sample in samples[semconv.TASK_RETRIES]] == [(("outer", "fetch"), 1)]


def test_a_task_without_retries_calls_its_function_itself():
    def plain():
        return 1

    assert Definition("@task", plain, {"task_name": "x", "retries": 0}).body is plain


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"retries": -1}, "'fetch': retries must be a whole number from 0 on, not -1"),
        ({"retries": True}, "retries must be a whole number"),
        ({"retries": 1.5}, "retries must be a whole number"),
        ({"retry_delay": 3}, "'fetch': retry_delay is for retries; say how many: retries=3"),
        ({"retries": 1, "retry_delay": -1}, "'fetch': retry_delay must be a number of seconds from 0 on"),
        ({"retries": 1, "retry_delay": []}, "not an empty list"),
        ({"retries": 1, "retry_delay": [1, "2"]}, "not '2'"),
        ({"retries": 1, "retry_delay": float("nan")}, "not nan"),
        ({"retries": 1, "retry_jitter_factor": -0.5}, "retry_jitter_factor must be a number from 0 on, not -0.5"),
        ({"retries": 1, "retry_condition_fn": OSError}, "retry_condition_fn must be a function of the exception alone"),
        ({"retries": 1, "retry_condition_fn": lambda task, run, state: True}, "a function of the exception alone"),
    ],
)
@pytest.mark.parametrize("decorator", [task, flow])
def test_a_keyword_that_cannot_be_used_is_refused_at_decoration(decorator, keywords, words):
    def fetch():
        """Do nothing."""

    with pytest.raises(ConfigurationError, match=words):
        decorator(**keywords)(fetch)


@pytest.mark.parametrize("keyword", sorted(KEYWORDS["retry"] - {"retries"}))
def test_each_keyword_for_retries_is_refused_without_them(keyword):
    with pytest.raises(ConfigurationError, match=f"'divmod': {keyword} is for retries; say how many: retries=3"):
        Definition("@task", divmod, {keyword: None})


def test_a_generator_with_retries_is_refused():
    def numbers():
        yield 1

    with pytest.raises(ConfigurationError, match="numbers is a generator: retries is for functions only"):
        task(retries=3)(numbers)


def test_ctrl_c_ends_the_wait_for_the_next_attempt(spans):
    if threading.current_thread() is not threading.main_thread() or sys.platform == "win32":
        pytest.skip("signals are for the main thread")
    slow = task(task_name="fetch", retries=1, retry_delay=60, retry_condition_fn=lambda _: interrupt_soon() is None)
    before = time.monotonic()

    with pytest.raises(KeyboardInterrupt):
        slow(failing(1))()

    assert time.monotonic() - before < 30
    assert spans.tree() == [("task fetch", "cancellation", [("attempt fetch", "failure", [])])]


def interrupt_soon():
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    signal.signal(signal.SIGALRM, signal.default_int_handler)


def test_other_work_goes_on_while_an_async_task_waits_and_it_can_be_cancelled(spans):
    fetch = task(task_name="fetch", retries=1, retry_delay=60)(asynchronous(failing(1)))

    async def main():
        waiting = asyncio.create_task(fetch())
        while not spans.named("attempt fetch"):  # noqa: ASYNC110 the product has no event for it
            await asyncio.sleep(0.001)
        waiting.cancel()
        await asyncio.wait([waiting], timeout=10)
        return waiting.cancelled()

    assert asyncio.run(main())
    assert spans.tree() == [("task fetch", "cancellation", [("attempt fetch", "failure", [])])]


def test_trio_waits_on_its_own_loop(spans):
    trio = pytest.importorskip("trio")
    body = failing(1)

    async def fetch():
        await trio.sleep(0)
        return body()

    assert trio.run(task(retries=1, retry_delay=0.001)(fetch)) == 2
    assert spans.tree() == [("task fetch", "success", [("attempt fetch", r, []) for r in ("failure", "success")])]


def test_a_plain_function_that_returns_a_coroutine_is_told_that_its_failure_comes_too_late(caplog):
    @task(retries=1)
    def fetch():
        return asyncio.sleep(0, "slept")

    async def main():
        return await fetch()

    assert asyncio.run(main()) == "slept"
    assert "its retries does not count: make it an 'async def'" in caplog.text


def test_nothing_keeps_the_exception_of_an_attempt_when_the_call_is_over():
    tenacity = pytest.importorskip("tenacity")
    errors = weakref.WeakSet()

    class Noted(Exception):
        def __init__(self):
            errors.add(self)

    def body():
        if not len(made):
            made.append(1)
            raise Noted
        return len(errors)

    made = []
    gc.disable()
    try:
        task(retries=1, retry_delay=tenacity.wait_none())(body)()
        left = len(errors)
    finally:
        gc.enable()

    assert left == 0
