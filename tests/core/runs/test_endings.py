"""The whole truth of each ending: flow and task; function, coroutine, generator and async generator."""

import asyncio
import bdb
import builtins
import concurrent.futures
import contextlib
import copy
import importlib
import pickle
import re
import sys
import time
import traceback
import urllib.error
from typing import Any, NamedTuple

import grpc
import pytest
import urllib3
from opentelemetry import trace
from opentelemetry.trace import StatusCode

import otelflow
from otelflow import Flow_Run__Config, flow, task
from otelflow._core.runs.current import current_run
from otelflow._core.runs.endings import CANCELLED, SUCCESS, UNCLOSED, ending_of, stack_trace
from support.spans import assert_attributes, exceptions

THE_PRINT = builtins.print


class Unprintable(Exception):
    def __str__(self):
        raise ZeroDivisionError("no text")


class Ending(NamedTuple):
    name: str
    error: Any = None  # makes the exception
    result: str = "failure"
    error_type: str | None = None
    message: str = ""
    kinds: tuple[str, ...] = ("function", "coroutine", "generator", "async_generator")

    @property
    def is_failure(self):
        return self.result in ("failure", "timeout", "error")


UNPRINTABLE = "<Unprintable: str() raised ZeroDivisionError>"


PLAIN = ("function", "coroutine")


ENDINGS = [
    Ending("returns", result="success"),
    Ending("SystemExit(0)", lambda: SystemExit(0), "success"),
    Ending("SystemExit(None)", lambda: SystemExit(None), "success"),
    Ending("SystemExit()", SystemExit, "success"),
    Ending("SystemExit(False)", lambda: SystemExit(False), "success"),
    Ending("SystemExit(1)", lambda: SystemExit(1), "failure", "SystemExit", "1"),
    Ending("SystemExit(text)", lambda: SystemExit("out of paper"), "failure", "SystemExit", "out of paper"),
    Ending("SystemExit('')", lambda: SystemExit(""), "failure", "SystemExit"),
    Ending("Exception", lambda: ValueError("wrong", 7), "failure", "ValueError", "('wrong', 7)"),
    Ending("exception of a library", lambda: Unprintable(1), "failure", f"{__name__}.Unprintable", UNPRINTABLE),
    Ending("no text", lambda: KeyError(), "failure", "KeyError"),
    Ending(
        "ExceptionGroup",
        lambda: ExceptionGroup("two", [ValueError(1), TypeError(2)]),
        "failure",
        "ExceptionGroup",
        "two (2 sub-exceptions)",
    ),
    Ending(
        "BaseExceptionGroup",
        lambda: BaseExceptionGroup("mixed", [ValueError(1), KeyboardInterrupt()]),
        "failure",
        "BaseExceptionGroup",
        "mixed (2 sub-exceptions)",
    ),
    Ending(
        "group of stops",
        lambda: BaseExceptionGroup("stop", [KeyboardInterrupt(), asyncio.CancelledError()]),
        "cancellation",
        "BaseExceptionGroup",
        "stop (2 sub-exceptions)",
    ),
    Ending("TimeoutError", lambda: TimeoutError("too slow"), "timeout", "TimeoutError", "too slow"),
    Ending(
        "CancelledError",
        lambda: asyncio.CancelledError("enough"),
        "cancellation",
        "asyncio.exceptions.CancelledError",
        "enough",
    ),
    Ending("KeyboardInterrupt", KeyboardInterrupt, "cancellation", "KeyboardInterrupt"),
    Ending("GeneratorExit", lambda: GeneratorExit("stop"), "cancellation", "GeneratorExit", "stop", PLAIN),
    Ending("StopIteration", lambda: StopIteration(3), "failure", "StopIteration", "3", ("function",)),
]


CASES = [pytest.param(ending, kind, id=f"{ending.name}-{kind}") for ending in ENDINGS for kind in ending.kinds]


# What stands on some runs only
ON_SOME = {"error.type", "otelflow.flow.tasks.failed", "otelflow.generator.closed_early", "otelflow.run.return_value"}
ON_SOME |= {"otelflow.flow.name", "otelflow.flow.run.id", "otelflow.task.name", "otelflow.task.run.id"}
ON_SOME |= {"otelflow.flow.failed_in"}

VALUE = ["the very object"]


def make_body(kind, error):
    def function():
        if error is not None:
            raise error
        return VALUE

    async def coroutine():
        return function()

    def generator():
        yield 1
        yield 2
        return function()

    async def async_generator():
        yield 1
        yield 2
        function()

    return {body.__name__: body for body in (function, coroutine, generator, async_generator)}[kind]


def drive(awaitable):
    """Run a coroutine that waits for nothing, without a loop that would touch its exception."""
    try:
        awaitable.__await__().send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits for something")


async def all_of(items):
    return [item async for item in items]


def consume(kind, call):
    """Take what a call gave to its end and return the value, for a generator what it returned."""
    if kind == "coroutine":
        return drive(call)
    if kind == "async_generator":
        assert drive(all_of(call)) == [1, 2]
        return None
    if kind == "generator":
        assert [next(call), next(call)] == [1, 2]
        with pytest.raises(StopIteration) as end:
            next(call)
        return end.value.value
    return call


def run_flow(kind, run):
    if kind == "function":
        return run.execute().flow_return_value
    if kind == "coroutine":
        return drive(run.execute_async()).flow_return_value
    return consume(kind, run.execute().flow_return_value)


class Hears:
    """A listener that remembers."""

    def __init__(self):
        self.events = []

    def wants(self, event_type):
        return event_type.endswith(("_start", "_stop"))

    def notify(self, event):
        self.events.append(event)


@pytest.fixture
def heard():
    listener = Hears()
    otelflow.add_listener(listener)
    yield listener.events
    otelflow.remove_listener(listener)


def with_history(make_error):
    """Give the exception everything that an instrument must not change."""
    error = make_error()
    error.__cause__ = OSError("the cause")
    error.__context__ = RuntimeError("the context")
    error.add_note("a note")
    return error


def history(error):
    return (
        type(error),
        error.args,
        error.__cause__,
        error.__context__,
        error.__suppress_context__,
        list(error.__notes__),
        set(vars(error)),
    )


def run_it(run, kind, call, error):
    """Return the value, or see that *error* came out as it went in."""
    if error is None:
        return run(kind, call())
    before = history(error)
    with pytest.raises(type(error)) as raised:
        run(kind, call())
    assert raised.value is error
    assert history(error) == before
    return None


def assert_nothing_left_behind():
    assert current_run() is None
    assert trace.get_current_span() is trace.INVALID_SPAN
    assert builtins.print is THE_PRINT


def assert_ended(span, ending, *, own, raised_in=""):
    """Look at everything that the ending says on *span*; *own* are its other attributes and events.

    *raised_in* is the name of the span that the exception of a flow comes from, unless it was raised here.
    """
    attributes, events = own
    attributes = {**attributes, "otelflow.run.result": ending.result}
    if raised_in and ending.is_failure:
        attributes["otelflow.flow.failed_in"] = raised_in
    if ending.error_type is not None:
        attributes["error.type"] = ending.error_type
    assert_attributes(span, has=attributes, lacks=ON_SOME - attributes.keys())
    if ending.is_failure:
        assert span.status.status_code is StatusCode.ERROR
        source = f"{raised_in}: " if raised_in else ""
        assert span.status.description == source + (ending.message or ending.error_type)
    else:
        assert span.status.status_code is StatusCode.UNSET
        assert span.status.description is None
    assert span.kind is trace.SpanKind.INTERNAL
    assert span.links == ()
    assert span.start_time <= span.end_time
    exceptions = [event for event in span.events if event.name == "exception"]
    assert [event.name for event in span.events if event.name != "exception"] == events
    assert len(exceptions) == (1 if ending.error_type is not None and not raised_in else 0)
    for event in exceptions:
        assert_told(event.attributes, ending)


def assert_told(attributes, ending):
    assert set(attributes) == {"exception.type", "exception.message", "exception.stacktrace"}
    assert attributes["exception.type"] == ending.error_type
    assert attributes["exception.message"] == ending.message
    stack = attributes["exception.stacktrace"]
    assert "raise error" in stack
    assert "a note" in stack
    assert "OSError: the cause" in stack
    assert "otelflow/_core" not in stack


def task_attributes(span, kind):
    return {
        "otelflow.task.name": kind,
        "otelflow.task.run.id": span.attributes["otelflow.task.run.id"],
        "code.function.name": f"{__name__}.make_body.<locals>.{kind}",
    }


def flow_attributes(flow_run, kind):
    return {
        "otelflow.flow.name": kind,
        "otelflow.flow.run.id": flow_run.flow_id,
        "code.function.name": f"{__name__}.make_body.<locals>.{kind}",
    }


@pytest.mark.parametrize(("ending", "kind"), CASES)
def test_a_task_alone_ends_with_the_whole_truth(spans, heard, ending, kind):
    error = with_history(ending.error) if ending.error else None
    tried = task(make_body(kind, error))

    value = run_it(consume, kind, tried, error)

    assert value is (VALUE if error is None and kind != "async_generator" else None)
    assert spans.tree() == [(f"task {kind}", ending.result, [])]
    span = spans.one(f"task {kind}")
    assert span.attributes["otelflow.task.run.id"].startswith("task_id__")
    assert_ended(span, ending, own=(task_attributes(span, kind), []))
    assert [event.event_type for event in heard] == ["task_start", "task_stop"]
    assert_heard(heard[-1].event_data, ending, error)
    assert_nothing_left_behind()


@pytest.mark.parametrize(("ending", "kind"), CASES)
def test_a_flow_ends_with_the_whole_truth(spans, heard, ending, kind):
    error = with_history(ending.error) if ending.error else None
    tried = flow(make_body(kind, error))()

    value = run_it(run_flow, kind, lambda: tried, error)

    returned = error is None and kind != "async_generator"
    assert value is (VALUE if returned else None)
    assert spans.tree() == [(f"flow {kind}", ending.result, [])]
    own = (flow_attributes(tried, kind), ["otelflow.result"] if returned else [])
    assert_ended(spans.one(f"flow {kind}"), ending, own=own)
    assert (tried.status, tried.flow_error) == (ending.result, error if ending.error_type else None)
    assert tried.duration > 0
    assert [event.event_type for event in heard] == ["flow_start", "flow_stop"]
    assert_heard(heard[-1].event_data, ending, error)
    assert_nothing_left_behind()


def assert_heard(data, ending, error):
    assert data.result == ending.result
    assert data.error is (error if ending.error_type else None)
    assert data.error_type == ending.error_type
    assert data.error_message == (ending.message if ending.error_type else None)
    assert data.duration > 0


@pytest.mark.parametrize(("ending", "kind"), CASES)
def test_what_leaves_a_task_is_recorded_there_and_nowhere_else_up_the_trace(spans, heard, ending, kind):
    error = with_history(ending.error) if ending.error else None
    tried = task(make_body(kind, error))

    def inner():
        consume(kind, tried())

    def outer():
        flow(inner)().execute()

    run_it(lambda *_: flow(outer)().execute().flow_return_value, kind, lambda: None, error)

    assert spans.tree() == [
        ("flow outer", ending.result, [("flow inner", ending.result, [(f"task {kind}", ending.result, [])])])
    ]
    run, inner_run, outer_run = spans.one(f"task {kind}"), spans.one("flow inner"), spans.one("flow outer")
    inner_ids = {name: inner_run.attributes[name] for name in ("otelflow.flow.name", "otelflow.flow.run.id")}
    assert_ended(run, ending, own=({**task_attributes(run, kind), **inner_ids}, []))
    failed = {"otelflow.flow.tasks.failed": 1} if ending.is_failure else {}
    code = f"{test_what_leaves_a_task_is_recorded_there_and_nowhere_else_up_the_trace.__qualname__}.<locals>"
    own = ({**inner_ids, **failed, "code.function.name": f"{__name__}.{code}.inner"}, [])
    assert_ended(inner_run, ending, own=own, raised_in=f"task {kind}")
    outer_ids = {name: outer_run.attributes[name] for name in ("otelflow.flow.name", "otelflow.flow.run.id")}
    own = ({**outer_ids, "code.function.name": f"{__name__}.{code}.outer"}, [])
    assert_ended(outer_run, ending, own=own, raised_in=f"task {kind}")
    assert inner_run.context.trace_id == outer_run.context.trace_id == run.context.trace_id
    assert [event.event_type for event in heard] == [
        "flow_start", "flow_start", "task_start", "task_stop", "flow_stop", "flow_stop",
    ]  # fmt: skip
    assert_nothing_left_behind()


@pytest.mark.parametrize(("ending", "kind"), CASES)
def test_an_exception_that_stays_in_its_task_leaves_the_flow_a_success(spans, ending, kind):
    error = with_history(ending.error) if ending.error else None
    tried = task(raise_on_error=False)(make_body(kind, error))
    stays = isinstance(error, Exception)

    def recovers():
        return consume_or_stop(kind, tried())

    run_it(lambda *_: flow(recovers)().execute(), kind, lambda: None, None if stays else error)

    flow_run = spans.one("flow recovers")
    run = spans.one(f"task {kind}")
    assert run.attributes["otelflow.run.result"] == ending.result
    assert flow_run.attributes["otelflow.run.result"] == ("success" if stays else ending.result)
    assert flow_run.status.status_code is (StatusCode.ERROR if ending.is_failure and not stays else StatusCode.UNSET)
    assert run.status.status_code is (StatusCode.ERROR if ending.is_failure and not stays else StatusCode.UNSET)
    assert flow_run.attributes.get("otelflow.flow.tasks.failed", 0) == (1 if ending.is_failure else 0)
    assert sum(event.name == "exception" for span in spans.spans for event in span.events) == bool(ending.error_type)
    assert_nothing_left_behind()


def consume_or_stop(kind, call):
    value = consume(kind, call)
    assert value is VALUE or value is None
    return 1


@pytest.mark.parametrize(("ending", "kind"), CASES)
def test_an_exception_that_stays_in_its_flow_is_kept_there(spans, ending, kind):
    error = with_history(ending.error) if ending.error else None
    tried = flow(flow_config=otelflow.Flow_Run__Config(raise_flow_error=False))(make_body(kind, error))()
    stays = isinstance(error, Exception)

    run_it(run_flow, kind, lambda: tried, None if stays else error)

    assert (tried.status, tried.flow_error) == (ending.result, error if ending.error_type else None)
    span = spans.one(f"flow {kind}")
    assert span.attributes["otelflow.run.result"] == ending.result
    assert span.status.status_code is (StatusCode.ERROR if ending.is_failure else StatusCode.UNSET)
    assert sum(event.name == "exception" for event in span.events) == bool(ending.error_type)
    assert_nothing_left_behind()


def test_no_span_of_a_successful_run_says_error_whatever_was_allowed_to_fail(spans):
    @task
    def innermost():
        raise ValueError("no money")

    @flow
    def inner():
        innermost()

    @task(raise_on_error=False)
    def may_fail():
        inner().execute()

    @flow(flow_config=otelflow.Flow_Run__Config(raise_flow_error=False))
    def lenient():
        innermost()

    @flow
    def outer():
        may_fail()
        lenient().execute()
        return "done"

    assert outer().execute().flow_return_value == "done"

    assert [span.name for span in spans.spans if span.status.status_code is StatusCode.ERROR] == []
    results = {span.name: span.attributes["otelflow.run.result"] for span in spans.spans}
    assert results.pop("flow outer") == "success"
    assert set(results.values()) == {"failure"}


def test_what_fails_alone_says_error_though_it_keeps_its_exception(spans):
    @task(raise_on_error=False)
    def alone():
        raise ValueError("no money")

    @flow(flow_config=otelflow.Flow_Run__Config(raise_flow_error=False))
    def lenient():
        raise ValueError("no money")

    alone()
    lenient().execute()

    assert [span.status.status_code for span in spans.spans] == [StatusCode.ERROR] * 2


@pytest.mark.parametrize("how", ["as it is", "as the cause", "as the context", "in a group", "deep in groups"])
def test_a_flow_names_the_span_that_raised_what_ended_it(spans, how):
    @task(task_name="charge")
    def charge():
        raise ValueError("no money")

    @task
    def order():
        charge()

    @flow
    def shop():
        try:
            order()
        except ValueError as error:
            if how == "as it is":
                raise
            if how == "as the cause":
                raise RuntimeError("no order") from error
            if how == "as the context":
                raise RuntimeError("no order")  # noqa: B904 the user's
            group = ExceptionGroup("several", [KeyError("other"), error])
            raise group if how == "in a group" else ExceptionGroup("more", [group])  # noqa: B904 the user's

    run = shop()
    with pytest.raises(Exception, match=r"no money|no order|several|more"):
        run.execute()

    span = spans.one("flow shop")
    assert span.attributes["otelflow.flow.failed_in"] == "task charge"
    assert span.status.description.startswith("task charge: ")
    assert run.flow_state.error is run.flow_error


def test_a_flow_that_fails_by_itself_names_nobody(spans):
    @task(raise_on_error=False)
    def charge():
        raise ValueError("no money")

    @flow
    def shop():
        charge()
        raise RuntimeError("closed")

    with pytest.raises(RuntimeError):
        shop().execute()

    span = spans.one("flow shop")
    assert "otelflow.flow.failed_in" not in span.attributes
    assert span.status.description == "closed"


@task
async def waits():
    await asyncio.Event().wait()


def test_a_timeout_around_a_task_cancels_it_and_times_out_the_flow(spans):
    async def impatient():
        async with asyncio.timeout(0.01):
            await waits()

    with pytest.raises(TimeoutError):
        flow(impatient)().execute()

    assert spans.tree() == [("flow impatient", "timeout", [("task waits", "cancellation", [])])]
    assert spans.one("flow impatient").status.status_code is StatusCode.ERROR
    assert exceptions(spans) == [
        ("flow impatient", "TimeoutError"),
        ("task waits", "asyncio.exceptions.CancelledError"),
    ]


def test_a_timeout_inside_a_task_is_the_timeout_of_task_and_flow(spans):
    @task
    async def limited():
        async with asyncio.timeout(0.01):
            await asyncio.Event().wait()

    async def outer():
        await limited()

    with pytest.raises(TimeoutError):
        flow(outer)().execute()

    assert spans.tree() == [("flow outer", "timeout", [("task limited", "timeout", [])])]
    assert exceptions(spans) == [("task limited", "TimeoutError")]


def test_of_two_timeouts_the_one_that_ran_out_ends_the_runs_inside_of_it_and_no_other(spans):
    @task
    async def goes_on():
        async with asyncio.timeout(60):
            try:
                async with asyncio.timeout(0.01):
                    await waits()
            except TimeoutError:
                return "went on"

    @task
    async def is_late():
        async with asyncio.timeout(0.01):
            try:
                async with asyncio.timeout(60):
                    await waits()
            finally:
                await asyncio.sleep(0)

    async def outer():
        with contextlib.suppress(TimeoutError):
            await goes_on()
            await is_late()

    flow(outer)().execute()

    assert spans.tree() == [
        (
            "flow outer",
            "success",
            [
                ("task goes_on", "success", [("task waits", "cancellation", [])]),
                ("task is_late", "timeout", [("task waits", "cancellation", [])]),
            ],
        )
    ]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_what_a_cancel_scope_of_anyio_stops_is_a_cancellation_and_what_is_around_it_goes_on(spans, backend):
    anyio = pytest.importorskip("anyio")
    pytest.importorskip(backend)

    @task
    async def sleeps():
        await anyio.sleep(60)

    @task
    async def fails():
        await anyio.sleep(0)
        raise ValueError("boom")

    async def outer():
        with anyio.move_on_after(0.01):
            await sleeps()
        with contextlib.suppress(ExceptionGroup):
            async with anyio.create_task_group() as group:
                group.start_soon(sleeps)
                group.start_soon(fails)

    anyio.run(flow(outer)().execute_async, backend=backend)

    assert sorted(node.result for node in spans.tree()[0].children) == ["cancellation", "cancellation", "failure"]
    assert spans.tree()[0].result == "success"


def test_a_cancelled_flow_is_a_cancellation_all_the_way_down(spans):
    @flow
    async def stopped():
        await waits()

    async def main():
        running = asyncio.create_task(stopped().execute_async())
        await asyncio.sleep(0.01)
        running.cancel("go home")
        with pytest.raises(asyncio.CancelledError) as raised:
            await running
        return raised.value

    assert asyncio.run(main()).args == ("go home",)

    assert spans.tree() == [("flow stopped", "cancellation", [("task waits", "cancellation", [])])]
    assert exceptions(spans) == [("task waits", "asyncio.exceptions.CancelledError")]
    assert {span.status.status_code for span in spans.spans} == {StatusCode.UNSET}


def test_a_task_that_catches_its_cancellation_is_a_success(spans):
    @task
    async def stubborn():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "saved"

    async def main():
        running = asyncio.create_task(stubborn())
        await asyncio.sleep(0)
        running.cancel()
        return await running

    assert asyncio.run(main()) == "saved"

    assert spans.tree() == [("task stubborn", "success", [])]


def raised(name):
    """Return an exception of the class that *name* is of, or skip where its library is not there."""
    module, _, attribute = name.rpartition(".")
    kind = getattr(pytest.importorskip(module), attribute)
    if attribute == "Cancelled":
        return kind._create(source="explicit")
    if attribute in ("EOF", "TIMEOUT"):
        return kind("x")
    return kind("x", 1) if attribute == "TimeoutExpired" else kind()


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("trio.Cancelled", "cancellation"),
        ("concurrent.futures.CancelledError", "cancellation"),
        ("asyncio.CancelledError", "cancellation"),
        ("gevent.GreenletExit", "cancellation"),
        ("multiprocessing.TimeoutError", "timeout"),
        ("concurrent.futures.TimeoutError", "timeout"),
        ("trio.TooSlowError", "timeout"),
        ("gevent.Timeout", "timeout"),
        ("subprocess.TimeoutExpired", "timeout"),
        ("requests.Timeout", "timeout"),
        ("requests.ReadTimeout", "timeout"),
        ("billiard.exceptions.SoftTimeLimitExceeded", "timeout"),
        ("socket.timeout", "timeout"),
        ("rq.timeouts.JobTimeoutException", "timeout"),
        ("psutil.TimeoutExpired", "timeout"),
        ("requests.ConnectionError", "failure"),
        ("grpc.FutureCancelledError", "cancellation"),
        ("grpc.FutureTimeoutError", "timeout"),
        ("twisted.internet.defer.TimeoutError", "timeout"),
        ("celery.exceptions.TaskRevokedError", "cancellation"),
        ("pexpect.exceptions.EOF", "failure"),
        ("pexpect.exceptions.TIMEOUT", "timeout"),
        ("starlette.requests.ClientDisconnect", "cancellation"),
        ("starlette.websockets.WebSocketDisconnect", "cancellation"),
        ("click.Abort", "cancellation"),
        ("typer.Abort", "cancellation"),
        ("typer.Exit", "success"),
        ("pyarrow.lib.ArrowCancelled", "cancellation"),
        ("google.api_core.exceptions.RetryError", "timeout"),
    ],
)
def test_other_libraries_words_for_stopping_are_understood(spans, name, result):
    @task
    def stop():
        raise error

    try:
        error = raised(name)
    except TypeError:
        pytest.skip(f"this version makes {name} in another way")
    with pytest.raises(type(error)):
        stop()

    assert spans.one("task stop").attributes["otelflow.run.result"] == result


@pytest.mark.parametrize(("code", "result"), [(0, "success"), (3, "failure")])
@pytest.mark.parametrize("name", ["click.exceptions.Exit", "typer.Exit", "invoke.exceptions.Exit"])
def test_what_ends_a_program_of_a_command_line_library_ends_a_run_as_sys_exit_does(spans, name, code, result):
    module, _, attribute = name.rpartition(".")
    kind = getattr(pytest.importorskip(module), attribute)
    error = kind(code=code) if module.startswith("invoke") else kind(code)

    @task
    def stop():
        raise error

    with pytest.raises(kind) as raised_here:
        stop()

    assert raised_here.value is error
    assert spans.one("task stop").attributes["otelflow.run.result"] == result


@pytest.mark.parametrize(("code", "result"), [(0, "success"), (3, "failure")])
def test_what_except_exception_would_catch_stays_inside_also_if_it_ends_a_program(spans, code, result):
    kind = pytest.importorskip("click").exceptions.Exit

    @task(raise_on_error=False)
    def stop():
        raise kind(code)

    @task(raise_on_error=False)
    def leave():
        sys.exit(code)

    @flow(flow_config=Flow_Run__Config(raise_flow_error=False))
    def nightly():
        assert stop() is None
        raise kind(code)

    run = nightly().execute()
    with pytest.raises(SystemExit):
        leave()

    assert (run.status, run.flow_return_value) == (result, None)
    assert {span.attributes["otelflow.run.result"] for span in spans.spans} == {result}


@pytest.mark.parametrize(
    ("reason", "result"), [(TimeoutError("timed out"), "timeout"), (OSError("refused"), "failure"), ("text", "failure")]
)
def test_an_address_that_did_not_answer_in_time_is_a_timeout_also_where_its_error_wraps_the_reason(reason, result):
    assert ending_of(urllib.error.URLError(reason), was_called=True).result == result
    wrapper = urllib3.exceptions.MaxRetryError(None, "/", reason)
    assert ending_of(wrapper, was_called=True).result == result
    wrapper.reason = wrapper
    assert ending_of(wrapper, was_called=True).result == "failure"


@pytest.mark.parametrize(
    ("code", "result"),
    [("DEADLINE_EXCEEDED", "timeout"), ("CANCELLED", "cancellation"), ("UNAVAILABLE", "failure"), (None, "failure")],
)
def test_a_call_of_grpc_ends_as_its_code_says(code, result):
    class CallError(grpc.RpcError):
        def code(self):
            return None if code is None else grpc.StatusCode[code]

    assert ending_of(CallError(), was_called=True).result == result
    assert ending_of(grpc.RpcError(), was_called=True).result == "failure"


class OwnGroup(BaseExceptionGroup):
    """A group that tells of other members than it has."""

    @property
    def exceptions(self):
        return (self,)


def deep(leaf, depth=5_000, kind=BaseExceptionGroup):
    for _ in range(depth):
        leaf = kind("deep", [leaf])
    return leaf


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (lambda: ExceptionGroup("x", [TimeoutError(), TimeoutError()]), "timeout"),
        (lambda: BaseExceptionGroup("x", [TimeoutError(), asyncio.CancelledError()]), "timeout"),
        (lambda: ExceptionGroup("x", [TimeoutError(), ValueError()]), "failure"),
        (lambda: ExceptionGroup("x", [concurrent.futures.CancelledError()]), "cancellation"),
        (lambda: BaseExceptionGroup("x", [KeyboardInterrupt(), asyncio.CancelledError()]), "cancellation"),
        (lambda: BaseExceptionGroup("x", [KeyboardInterrupt(), ValueError()]), "failure"),
        (lambda: BaseExceptionGroup("x", [SystemExit(0)]), "failure"),
        (lambda: deep(asyncio.CancelledError()), "cancellation"),
        (lambda: deep(TimeoutError()), "timeout"),
        (lambda: deep(ValueError(), kind=ExceptionGroup), "failure"),
        (lambda: OwnGroup("x", [asyncio.CancelledError()]), "cancellation"),
        (lambda: bdb.BdbQuit(), "cancellation"),
    ],
)
def test_a_group_ends_a_run_as_what_is_in_it_would(spans, error, result):
    kept = error()

    @task
    def stop():
        raise kept

    with pytest.raises(type(kept)) as raised:
        stop()

    assert raised.value is kept
    assert spans.one("task stop").attributes["otelflow.run.result"] == result


def test_a_reason_that_is_its_own_reason_ends():
    error = urllib.error.URLError("x")
    error.reason = error

    assert ending_of(error, was_called=True).result == "failure"


def test_groups_that_share_their_members_or_contain_themselves_cost_little():
    shared = ValueError("leaf")
    for _ in range(60):  # Python would tell the leaf 2 ** 60 times
        shared = ExceptionGroup("twice", [shared, shared])

    texts = [stack_trace(error, 1_000) for error in (shared, OwnGroup("round", [ValueError()]))]

    assert "twice" in texts[0]
    assert "round" in texts[1]


@pytest.mark.parametrize("name", ["ReadTimeout", "SMTPTimeoutError", "QueryTimedOut", "TIMEOUT", "JobDeadlineExceeded"])
@pytest.mark.parametrize(("folder", "result"), [("site-packages", "timeout"), ("own", "failure")])
def test_what_a_class_of_an_installed_package_is_called_is_believed(tmp_path, monkeypatch, folder, result, name):
    (tmp_path / folder).mkdir()
    lines = [f"class {each}(Exception): pass" for each in (name, "InvalidTimeout", "NoTimeout", "TimeoutConfig")]
    (tmp_path / folder / "nobodys_client.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path / folder)
    monkeypatch.delitem(sys.modules, "nobodys_client", raising=False)
    client = importlib.import_module("nobodys_client")
    monkeypatch.delitem(sys.modules, "nobodys_client")
    monkeypatch.setitem(sys.modules, "nobodys_client", client)

    assert ending_of(getattr(client, name)(), was_called=True).result == result
    assert ending_of(client.InvalidTimeout(), was_called=True).result == "failure"
    assert ending_of(client.NoTimeout(), was_called=True).result == "failure"
    assert ending_of(client.TimeoutConfig(), was_called=True).result == "failure"


def given_up(error):
    """Return what tenacity raises when each attempt has failed with *error*."""
    tenacity = pytest.importorskip("tenacity")
    try:
        tenacity.Retrying(stop=tenacity.stop_after_attempt(2)).wraps(raising(error))()
    except tenacity.RetryError as retry_error:
        return retry_error


def raising(error):
    def fail():
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (lambda: given_up(TimeoutError("late")), "timeout"),
        (lambda: given_up(ValueError("wrong")), "failure"),
        (lambda: raised_by("tenacity.RetryError", concurrent.futures.Future()), "failure"),  # one that is not done
        (
            lambda: raised_by("requests.ConnectionError", urllib3.exceptions.ReadTimeoutError(None, "/", "late")),
            "timeout",
        ),
        (lambda: raised_by("requests.ConnectionError", "refused"), "failure"),
        (lambda: raised_by("requests.ConnectionError"), "failure"),
        (lambda: raised_by("sqlalchemy.exc.OperationalError", "select", {}, TimeoutError("late")), "timeout"),
        (lambda: raised_by("sqlalchemy.exc.OperationalError", "select", {}, OSError("gone")), "failure"),
        (lambda: raised_by("psycopg.errors.QueryCanceled", "statement timeout"), "timeout"),
        (lambda: raised_by("huey.exceptions.ResultTimeout"), "timeout"),
        (lambda: raised_by("billiard.exceptions.Terminated", 15), "cancellation"),
    ],
)
def test_what_an_exception_stands_for_is_how_a_run_ends(error, result):
    assert ending_of(error(), was_called=True).result == result


def raised_by(name, *arguments):
    module, _, attribute = name.rpartition(".")
    return getattr(pytest.importorskip(module), attribute)(*arguments)


def test_a_class_of_the_user_s_own_with_such_a_name_is_a_failure(spans):
    class Cancelled(Exception):
        pass

    @task
    def stop():
        raise Cancelled

    with pytest.raises(Cancelled):
        stop()

    assert spans.one("task stop").attributes["otelflow.run.result"] == "failure"


def chain(count):
    error = None
    for number in range(count):
        cause, error = error, ValueError(f"number {number}")
        error.__cause__ = cause
    return error


def contexts(count):
    error = None
    for number in range(count):
        context, error = error, ValueError(f"number {number}")
        error.__context__ = context
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (chain(20_000), ["number 0", "[cut, 19,980 exceptions]", "direct cause", "number 19999"]),
        (contexts(20_000), ["number 0", "[cut, 19,980 exceptions]", "another exception occurred", "number 19999"]),
        (ExceptionGroup("many", [ValueError(number) for number in range(100_000)]), ["many", "[cut, 99,990"]),
    ],
    ids=["causes", "contexts", "group"],
)
def test_an_exception_with_thousands_of_others_costs_little(error, words):
    began = time.perf_counter()

    text = stack_trace(error, 100_000)

    assert time.perf_counter() - began < 20  # it was minutes
    assert [word for word in words if word not in text] == []


@pytest.mark.parametrize("turns_back_to", [0, 150])
def test_a_chain_that_runs_in_a_circle_ends(turns_back_to):
    error = chain(200)
    errors = [error]
    while errors[-1].__cause__ is not None:
        errors.append(errors[-1].__cause__)
    errors[-1].__cause__ = errors[turns_back_to]

    assert "number 0" in stack_trace(error, 10_000)


def numbers(text):
    return [int(number) for number in re.findall(r"ValueError: number (\d+)", text)]


@pytest.mark.parametrize("make", [chain, contexts])
def test_of_a_long_chain_ten_exceptions_at_each_end_are_told_and_the_rest_is_counted(make):
    whole, cut = stack_trace(make(100), 100_000), stack_trace(make(101), 100_000)

    assert numbers(whole) == list(range(100))
    assert "[cut, " not in whole
    assert numbers(cut) == [*range(10), *range(91, 101)]
    assert re.findall(r"\[cut, .*\]", cut) == ["[cut, 81 exceptions]"]


@pytest.mark.parametrize(("count", "omitted"), [(20, []), (21, ["[cut, 1 exceptions]"])])
def test_a_chain_is_cut_only_if_it_is_longer_than_its_ends(count, omitted):
    error = group_of(100)
    for number in range(1, count):
        cause, error = error, TypeError(number)
        error.__cause__ = cause

    text = stack_trace(error, 100_000)

    assert re.findall(r"\[cut, .*\]", text) == ["[cut, 90 exceptions]", *omitted]
    assert text.count("TypeError: ") == 19


def group_of(count, cause=None):
    group = ExceptionGroup("several", [ValueError(f"number {number}") for number in range(count)])
    group.__cause__ = cause
    return group


@pytest.mark.parametrize(("count", "last"), [(10, 9), (11, "[cut, 1 exceptions]")])
def test_of_a_group_in_a_long_chain_ten_exceptions_are_told(count, last):
    text = stack_trace(group_of(count, chain(101)), 100_000)

    told = [f"  | ValueError: number {number}" for number in range(10)]
    told += [] if last == 9 else [f"  | … {last}"]
    assert text.splitlines()[-len(told) :] == told


def test_a_cause_that_is_the_context_as_well_counts_once():
    error = ValueError("number 0")
    for number in range(1, 50):
        error, error.__cause__, error.__context__ = ValueError(f"number {number}"), error, error
    error.add_note("a note, which Python shows")

    text = stack_trace(error, 100_000)

    assert "a note, which Python shows" in text


def fail_deep_down(cause=None):
    raise KeyError("the last") from cause


@pytest.mark.parametrize("cause", [None, chain(101)], ids=["alone", "with a long chain"])
def test_a_traceback_begins_with_the_users_first_frame_and_goes_on_to_the_last(spans, cause):
    @task
    def shallow():
        fail_deep_down(cause)

    with pytest.raises(KeyError):
        shallow()

    (event,) = spans.one("task shallow").events
    stack = event.attributes["exception.stacktrace"]
    assert re.findall(r'^  File ".*", line \d+, in (\w+)', stack, re.MULTILINE) == ["shallow", "fail_deep_down"]


def test_each_exception_of_a_long_chain_keeps_its_own_traceback():
    try:
        fail_deep_down()
    except KeyError as oldest:
        error = chain(101)
        error.__cause__.__cause__, oldest.__cause__ = oldest, error.__cause__.__cause__

    assert "in fail_deep_down" in stack_trace(error, 100_000)


@pytest.mark.parametrize(
    ("length", "limit", "kept"),
    [
        (200, 100, None),  # two ends are the whole
        (201, 100, 100),
        (262_144, 200_000, None),
        (262_145, 100_000, 100_000),
        (1_000_000, 1_000_000, 131_072),  # of more, nothing is read
    ],
)
def test_of_a_long_traceback_both_ends_are_kept_and_its_length_is_said(monkeypatch, length, limit, kept):
    text = "".join(f"{number:07},\n" for number in range(length // 9 + 1))[:length]
    monkeypatch.setattr(traceback.TracebackException, "format", lambda _: iter([text]))

    stack = stack_trace(ValueError(), limit)

    cut = f"{text[:kept]}\n… [cut, {length:,} characters] …\n{text[-kept:]}" if kept else text
    assert stack == cut


class Panic(BaseException):
    """As a library in another language raises it."""


def loaded_by(trouble):
    """Return a function whose source nobody can show."""

    class Loader:
        def get_source(self, _):
            raise trouble

    code = compile("def fail():\n    raise OSError('gone')", f"{type(trouble).__name__}.py", "exec")
    names = {"__name__": "gone", "__loader__": Loader()}
    exec(code, names)
    return names["fail"]


def test_a_source_that_cannot_be_shown_costs_the_traceback_only(spans):
    fail = task(loaded_by(Panic("no source")))

    with pytest.raises(OSError, match="gone"):
        fail()

    (event,) = spans.one("task fail").events
    assert event.attributes["exception.stacktrace"] == "<the traceback could not be formatted: Panic>"


def test_ctrl_c_while_a_traceback_is_formatted_comes_out():
    try:
        loaded_by(KeyboardInterrupt())()
    except OSError as error:
        failure = error

    with pytest.raises(KeyboardInterrupt):
        stack_trace(failure, 1_000)


def test_the_text_of_an_exception_is_made_once_for_all_who_ask():
    class Counted(Exception):
        times = 0

        def __str__(self):
            Counted.times += 1
            return "text"

    ending = ending_of(Counted(), was_called=True)
    first, times = ending.exception_attributes(), Counted.times

    assert ending.exception_attributes() == first
    assert Counted.times == times


@pytest.mark.parametrize("kind", [Panic, SystemExit, ZeroDivisionError])
def test_a_value_that_cannot_be_shown_is_a_success_all_the_same(spans, kind):
    class Value:
        def __repr__(self):
            raise kind

    value = Value()

    @task(capture_parameters=True, capture_return_value=True)
    def make(_):
        print("made")
        return value

    @flow(capture_return_value=True)
    def body():
        return make(value)

    run = body().execute()
    run.json()

    assert run.flow_return_value is value
    assert {span.attributes["otelflow.run.result"] for span in spans.spans} == {"success"}


@pytest.mark.parametrize("kind", [Panic, SystemExit, ZeroDivisionError])
def test_an_exception_that_tells_nothing_of_itself_comes_out_as_it_is(spans, kind):
    class Silent(Exception):
        def __getattribute__(self, name):
            raise kind

    @task
    def fail():
        raise Silent

    @task(raise_on_error=False)
    def fail_inside():
        raise Silent

    with pytest.raises(Silent):
        fail()
    assert fail_inside() is None

    assert [span.attributes["otelflow.run.result"] for span in spans.spans] == ["failure", "failure"]


@pytest.mark.parametrize("kind", [Exception, BaseException])
@pytest.mark.parametrize("policies", [{}, {"raise_on_error": False, "retries": 1}], ids=["plain", "lenient"])
def test_an_exception_that_cannot_be_shown_comes_out_as_it_is(spans, kind, policies):
    class Panic(BaseException):
        """As a library in another language raises it."""

    def panic(_):
        raise Panic

    class Odd(kind):
        def __str__(self):
            raise SystemExit(3)

        __class__ = property(panic)

    @task(**policies)
    def fail():
        raise Odd

    caught = None
    try:
        fail()
    except BaseException as error:  # noqa: BLE001 pytest.raises() asks it for its class
        caught = error

    assert caught is None or type(caught) is Odd
    assert (caught is None) == (kind is Exception and bool(policies))
    assert spans.one("task fail").attributes["otelflow.run.result"] == "failure"


def test_a_long_traceback_is_redacted_before_it_is_cut():
    secret = "ghp_" + "Zq7w" * 9
    try:
        raise ValueError(f"{'a ' * 200}{secret} {'b ' * 300}{secret}{' c' * 200}")
    except ValueError as error:
        texts = [stack_trace(error, limit) for limit in range(400, 800)]

    assert all("cut, " in text for text in texts)
    assert [text for text in texts if "Zq7wZq" in text] == []


@pytest.mark.parametrize("ending", [SUCCESS, CANCELLED, UNCLOSED])
def test_an_ending_that_is_told_by_its_identity_is_itself_wherever_it_travels(ending):
    assert pickle.loads(pickle.dumps(ending)) is ending
    assert copy.deepcopy(ending) is ending


def test_any_other_ending_travels_as_it_is():
    ending = ending_of(LookupError("no plums"), was_called=True)

    arrived = pickle.loads(pickle.dumps(ending))
    assert (arrived.result, arrived.error_type, arrived.error_message) == ("failure", "LookupError", "no plums")


@pytest.mark.parametrize(
    ("group", "words"),
    [
        (
            ExceptionGroup("two", [ValueError("a"), KeyError("b")]),
            "two (2 sub-exceptions): ValueError: a; KeyError: 'b'",
        ),
        (
            ExceptionGroup(
                "deep", [ExceptionGroup("in", [ValueError(n) for n in range(4)]), OSError("password=hunter2x")]
            ),
            "deep (2 sub-exceptions): ValueError: 0; ValueError: 1; ValueError: 2; and 2 more",
        ),
    ],
)
def test_what_is_logged_of_a_group_names_what_stands_in_it(caplog, group, words):
    @task(raise_on_error=False)
    def fail():
        raise group

    fail()

    assert f"ExceptionGroup: {words} (it stays inside" in caplog.text
    assert "hunter2x" not in caplog.text
