"""How runs start and end: where an exception is recorded, and that nothing else changes."""

import asyncio
import contextvars
import itertools
import sys
import time
import weakref
from _thread import get_ident
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar
from unittest.mock import Mock

import pytest
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Decision, Sampler, SamplingResult
from opentelemetry.trace import StatusCode

from otelflow import Flow, Flow_Run__Config, flow, task, testing
from otelflow._core.process import forks, losses, settings, shutdown
from otelflow._core.process.provider import use_provider
from otelflow._core.runs import current, engine, observers, open_runs
from otelflow._core.runs.current import current_run
from otelflow._core.runs.endings import CANCELLED, SUCCESS, Ending
from otelflow._core.runs.observers import Observer
from otelflow._core.runs.run import Conduct
from support.flows import Part, opened
from support.garbage import no_collector
from support.interrupts import PLACES
from support.spans import exceptions, result


@task
async def fails(error):
    await asyncio.sleep(0)
    raise error


@task
async def waits():
    await asyncio.Event().wait()


@task
async def works():
    await asyncio.sleep(0)
    return 1


def test_an_exception_out_of_gather_is_recorded_on_its_task_only(spans):
    error = ValueError("one of three")

    async def gathers():
        await asyncio.gather(works(), fails(error), works())

    with pytest.raises(ValueError, match="one of three") as raised:
        flow(gathers)().execute()

    assert raised.value is error
    assert exceptions(spans) == [("task fails", "ValueError")]
    run = spans.one("flow gathers")
    assert (result(run), run.attributes["error.type"], run.attributes["otelflow.flow.tasks.failed"]) == (
        "failure",
        "ValueError",
        1,
    )
    assert [child.name for child in spans.tree()[0].children] == ["task works", "task fails", "task works"]


def test_a_task_group_raises_a_group_of_its_own_and_each_exception_is_recorded_once(spans):
    first, second = ValueError("first"), TypeError("second")

    async def groups():
        async with asyncio.TaskGroup() as group:
            group.create_task(fails(first))
            group.create_task(fails(second))
            group.create_task(waits())

    with pytest.raises(ExceptionGroup) as raised:
        flow(groups)().execute()

    assert set(raised.value.exceptions) == {first, second}
    assert exceptions(spans) == [
        ("flow groups", "ExceptionGroup"),
        ("task fails", "TypeError"),
        ("task fails", "ValueError"),
        ("task waits", "asyncio.exceptions.CancelledError"),
    ]
    waiting = spans.one("task waits")
    assert (result(waiting), waiting.status.status_code) == ("cancellation", StatusCode.UNSET)
    assert spans.one("flow groups").attributes["otelflow.flow.tasks.failed"] == 2


def test_an_exception_out_of_a_thread_with_the_context_is_recorded_once(spans):
    error = ValueError("in a thread")

    @task
    def breaks():
        raise error

    @flow
    def threaded():
        with ThreadPoolExecutor(1) as pool:
            pool.submit(contextvars.copy_context().run, breaks).result(5)

    with pytest.raises(ValueError, match="in a thread"):
        threaded().execute()

    assert spans.tree() == [("flow threaded", "failure", [("task breaks", "failure", [])])]
    assert exceptions(spans) == [("task breaks", "ValueError")]


def test_an_exception_that_is_raised_anew_from_another_is_recorded_where_each_was_raised(spans):
    @task
    def low():
        raise KeyError("low")

    @flow
    def high():
        try:
            low()
        except KeyError as error:
            raise RuntimeError("high") from error

    with pytest.raises(RuntimeError, match="high"):
        high().execute()

    assert exceptions(spans) == [("flow high", "RuntimeError"), ("task low", "KeyError")]


def test_an_exception_that_was_caught_and_is_raised_later_is_not_recorded_again(spans):
    error = ValueError("kept")

    @task
    def breaks():
        raise error

    @flow
    def later():
        try:
            breaks()
        except ValueError as caught:
            later_error = caught
        raise later_error

    with pytest.raises(ValueError, match="kept"):
        later().execute()

    assert exceptions(spans) == [("task breaks", "ValueError")]


def test_the_same_exception_object_raised_by_two_tasks_is_recorded_on_each(spans):
    error = ValueError("shared")

    @task
    def first():
        raise error

    @task
    def second():
        raise error

    @flow
    def both():
        for tried in (first, second):
            try:
                tried()
            except ValueError:
                continue

    both().execute()

    assert len(exceptions(spans)) == 2, "raised twice, on two spans: each says where"
    assert result(spans.one("flow both")) == "success"


class NotThe(Sampler):
    """Records all but one span, as a sampler by name or rate may do."""

    def __init__(self, name):
        self.name = name

    def should_sample(self, parent_context, trace_id, name, *_, **__):
        return SamplingResult(Decision.DROP if name == self.name else Decision.RECORD_AND_SAMPLE)

    def get_description(self):
        return "all but one"


@pytest.mark.parametrize(
    ("unseen", "recorded"), [("task low", ["flow middle"]), ("flow middle", ["task low"]), ("flow high", ["task low"])]
)
def test_an_exception_is_recorded_once_on_the_first_run_that_has_a_span(unseen, recorded):
    @task
    def low():
        raise ValueError("raised")

    @flow
    def middle():
        low()

    @flow
    def high():
        middle().execute()

    collected = testing.Trace()
    provider = TracerProvider(sampler=NotThe(unseen), shutdown_on_exit=False)
    provider.add_span_processor(collected)
    use_provider(provider)
    with pytest.raises(ValueError, match="raised"):
        high().execute()

    assert exceptions(collected) == [(name, "ValueError") for name in recorded]


def test_what_goes_wrong_after_a_span_has_ended_is_said_and_costs_no_span(spans, monkeypatch, caplog):
    monkeypatch.setenv("OTELFLOW_EVENTS", "both")
    monkeypatch.setattr(engine.log_records, "emit_exception", Mock(side_effect=RuntimeError("odd")))

    engine.close_run(opened(), Ending("failure", ValueError("no")))

    assert result(spans.one("bare")) == "failure"
    assert caplog.messages == ["The end of a run could not be reported; the run goes on"]
    assert losses.dropped == {}


def test_too_deep_a_recursion_is_recorded_once_and_leaves_nothing_open(spans, monkeypatch):
    monkeypatch.setattr(losses.logger, "disabled", True)

    @task
    def deeper():
        return deeper()

    with pytest.raises(RecursionError):
        deeper()

    assert {result(span) for span in spans.spans} == {"failure"}
    assert [kind for _, kind in exceptions(spans)] == ["RecursionError"]
    # A processor may find no room for its own calls where the stack is full: that span is lost, and counted.
    assert spans.open_spans == losses.dropped.get(("traces", "end_failed"), 0) <= 1
    assert current_run() is None


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


def test_an_interrupt_at_the_end_of_a_span_leaves_no_run_uncounted():
    class Interrupts(SpanProcessor):
        def on_end(self, span):
            raise KeyboardInterrupt

    class Counts(observers.Observer):
        results: ClassVar[list[str]] = []

        def run_ended(self, run):
            self.results.append(run.ending.result)

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Interrupts())
    use_provider(provider)
    observers.add_observer(Counts())

    with pytest.raises(KeyboardInterrupt):
        flow(lambda: None)().execute()

    assert Counts.results == ["success"]
    assert current_run() is None
    assert not open_runs.is_any()


EACH_PLACE_OF_A_START = """
from otelflow import flow, task
from otelflow._core.process import losses
from otelflow._core.runs.observers import Observer, add_observer

class Ends(Observer):
    runs = []

    def run_ended(self, run):
        self.runs.append(run)

@task
def double(number):
    return 2 * number

@flow
def doubles():
    return double(1)

spans = []
class Kept(SpanExporter):
    def export(self, ended):
        spans.extend(ended)
        return SpanExportResult.SUCCESS

provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(Kept()))
trace.set_tracer_provider(provider)
add_observer(Ends())
doubles().execute()
place, limit, begun = 0, -1, 0

def look(frame, event, argument):
    global place, begun
    around = frame
    while around is not None and around.f_code.co_name != "open_run":
        around = around.f_back
    if around is None:
        return look
    begun += event == "call" and frame is around
    frame.f_trace_opcodes = True
    if event == "opcode" and frame.f_lasti in places(frame.f_code):
        place += 1
        if place == limit:
            raise KeyboardInterrupt
    return look

lost, at, wrong = [], 0, {}
while place >= at:
    at += 1
    place, limit, begun, before = 0, at, 0, losses.dropped["traces", "start_failed"]
    spans.clear(), Ends.runs.clear()
    sys._getframe().f_trace_opcodes = True  # Python 3.12 wants to know it before it traces
    sys.settrace(look)
    try:
        doubles().execute()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(None)
    lost.append(losses.dropped["traces", "start_failed"] - before)
    if len(spans) + lost[-1] != begun or len(Ends.runs) != begun or any(run.duration > 60 for run in Ends.runs):
        wrong[at] = (begun, [span.name for span in spans], lost[-1], [run.duration for run in Ends.runs])
print(at > 100, 10 < sum(lost) < at, wrong)
"""


def test_ctrl_c_while_a_span_is_made_leaves_no_run_uncounted_and_none_that_took_since_the_machine_began(program):
    program.run(PLACES, EACH_PLACE_OF_A_START)

    assert program.out.strip() == "True True {}", program.err[-3000:]
    assert program.err.count("A run was interrupted before it had its span, and is missing in the trace") == 1


def test_a_clock_that_is_set_back_makes_no_time_run_backwards(spans, monkeypatch):
    clock = itertools.count(10**18, -(10**9))
    monkeypatch.setattr("otelflow._core.process.clock.time_ns", lambda: next(clock))
    monkeypatch.setattr("otelflow._core.process.clock.time", lambda: next(clock) / 1e9)

    @task
    def step():
        print("done")

    @flow
    def body():
        step()

    run = body().execute()

    assert all(span.start_time <= span.end_time < span.start_time + 10**9 for span in spans.spans)
    assert 0 <= run.duration < 1
    assert run.started_ns <= run.ended_ns
    times = run.flow_stats.stats.duration
    assert times.timestamp_start <= times.timestamp_end


def test_names_are_bounded_wherever_they_come_from(spans):
    name = "é" * 5_000_000

    @task(task_name=name, task_id=name)
    def step():
        raise type(name, (ValueError,), {})("it broke")

    @flow(flow_name=name, flow_id=name)
    def body(this_flow=None):
        this_flow.add_flow_artifact("what", "key", "data", name)
        step()

    began = time.perf_counter()
    run = body()
    with pytest.raises(ValueError, match="it broke"):
        run.execute()

    assert time.perf_counter() - began < 20
    texts = [str(value) for span in spans.spans for value in (span.name, *span.attributes.values())]
    texts += [str(event.attributes["otelflow.artifact.type"]) for event in spans.events("flow " + name[:255] + "…")[:1]]
    assert max(map(len, texts)) <= 300


class Unreadable(SystemExit):
    """An exit whose code cannot be read, and so not what it means."""

    @property
    def code(self):
        raise RuntimeError("no code")


def test_an_exception_that_cannot_be_classified_is_a_failure(spans):
    @task
    def leaves():
        raise Unreadable

    with pytest.raises(Unreadable):
        flow(leaves)().execute()

    assert result(spans.one("flow leaves")) == "failure"
    assert spans.one("flow leaves").attributes["error.type"].endswith(".Unreadable")
    assert spans.one("flow leaves").status.status_code is StatusCode.ERROR


def test_how_long_a_run_took_is_read_from_a_clock_that_never_goes_back(monkeypatch):
    with monkeypatch.context() as clock:
        hour = 3_600 * 10**9
        run = flow(lambda: clock.setattr("otelflow._core.process.clock.time_ns", lambda: hour))().execute()

    assert 0 < run.duration < 60


def test_errors_that_stay_inside_are_those_of_the_body_and_not_those_of_its_call(spans):
    @flow(flow_config=Flow_Run__Config(raise_flow_error=False))
    def charges(amount):
        raise ValueError(amount)

    charges(1).execute()
    with pytest.raises(TypeError, match="amount"):
        charges().execute()

    assert [result(span) for span in spans.named("flow charges")] == ["failure", "error"]


class Listens(Observer):
    """Writes down what it is told."""

    def __init__(self):
        self.told = []

    def run_started(self, run):
        self.told.append(("started", run.span_name()))

    def run_ended(self, run):
        self.told.append(("ended", run.span_name(), run.ending.result))


@pytest.fixture
def listener():
    listener = Listens()
    observers.add_observer(listener)
    return listener


def test_a_run_whose_start_fails_goes_on_and_is_counted_and_said(listener, monkeypatch, caplog):
    monkeypatch.setattr(Conduct, "opened", Mock(side_effect=RuntimeError("odd")))

    run = opened()
    engine.close_run(run, SUCCESS)

    assert losses.dropped == {("traces", "start_failed"): 1}
    assert caplog.messages == ["The start of a run could not be reported; the run goes on"]
    assert listener.told == [("started", "bare"), ("ended", "bare", "success")]
    assert (current_run(), open_runs.open_runs()) == (None, [])


@pytest.mark.parametrize(
    ("place", "moment", "lost"),
    [((Conduct, "ended"), "result", {}), ((engine.spans, "end"), "end", {("traces", "end_failed"): 1})],
    ids=["the object of the user", "the span"],
)
def test_a_run_whose_end_fails_in_one_place_ends_in_all_others(
    spans, listener, monkeypatch, caplog, place, moment, lost
):
    monkeypatch.setattr(*place, Mock(side_effect=RuntimeError("odd")))

    run = opened()
    span = run.span
    engine.close_run(run, SUCCESS)

    assert span.is_recording() is (place[1] == "end")
    assert losses.dropped == lost
    assert caplog.messages == [f"The {moment} of a run could not be reported; the run goes on"]
    assert listener.told[-1] == ("ended", "bare", "success")
    assert (current_run(), open_runs.open_runs(), run.is_open) == (None, [], False)


def test_a_run_ends_once_and_as_it_ended_first(spans, listener):
    run = opened()
    engine.close_run(run, SUCCESS)
    engine.close_run(run, CANCELLED)

    assert run.ending is SUCCESS
    assert listener.told == [("started", "bare"), ("ended", "bare", "success")]
    assert result(spans.one("bare")) == "success"


@pytest.mark.parametrize(("ending", "inside"), [(SUCCESS, "failure"), (Ending("timeout"), "timeout")])
def test_runs_inside_that_a_full_stack_has_kept_from_ending_end_with_the_run_around(spans, listener, ending, inside):
    outer = opened("outer")
    inner = opened("inner", outer)
    inner.has_ended = True

    engine.close_run(outer, ending)

    assert listener.told[2:] == [("ended", "inner", inside), ("ended", "outer", ending.result)]
    assert current_run() is None


def test_a_thread_that_was_interrupted_while_it_ended_a_run_ends_it_and_another_does_not(spans, listener):
    run = opened()
    run.closing_thread = get_ident() + 1
    engine.close_run(run, CANCELLED)
    assert (run.is_closed, listener.told) == (False, [("started", "bare")])

    run.closing_thread = get_ident()
    run.is_closed = True
    run.span.end()
    engine.close_run(run, SUCCESS)

    assert listener.told[1:] == [("ended", "bare", "success")]
    assert not run.is_open
    assert not run.is_recording, "its span has ended"
    assert losses.dropped == {}


def test_a_run_that_refers_to_itself_is_freed_without_the_garbage_collector():
    run = opened()
    run.flow_run = run
    run.recorded = {1: ValueError()}
    engine.close_run(run, SUCCESS)
    reference, recorded = weakref.ref(run), run.recorded

    with no_collector():
        del run
        assert reference() is None
    assert recorded is None


def test_a_run_remembers_a_thousand_exceptions_of_those_inside_and_no_more(spans):
    outer = opened("outer")
    for _ in range(1_005):
        inner = opened("inner", outer)
        engine.close_with(inner, ValueError())

    assert len(outer.recorded) == 1_000
    engine.close_run(outer, SUCCESS)


def test_runs_that_are_open_at_the_end_are_ended_from_the_innermost_out(spans, listener):
    outer = opened("outer")
    opened("inner", outer)
    waiting = opened("generator")
    waiting.is_generator = True
    current.suspend(waiting)
    shutdown.end_open_runs()

    assert listener.told[3:] == [
        ("ended", "generator", "success"),
        ("ended", "inner", "cancellation"),
        ("ended", "outer", "cancellation"),
    ]
    assert spans.one("generator").attributes["otelflow.generator.closed_early"] is True


@pytest.fixture
def forked_in_c(monkeypatch):
    """What this process looks like after a fork that Python was not told of, as by uWSGI: call it to be the child."""

    def fork():
        forks.fork.page = b"\0"  # as the system leaves it in a child
        forks.fork.process_id = -1

    yield fork
    forks.fork.reset()


def test_a_run_that_a_child_has_inherited_is_reported_by_its_parent_only(spans, listener, forked_in_c):
    run = opened()
    forked_in_c()
    observers.add_observer(listener)
    engine.close_run(run, SUCCESS)

    assert listener.told == [("started", "bare")]
    assert run.span.is_recording()
    assert current_run() is None


def test_a_run_that_begins_in_a_child_is_reported_by_the_child(spans, forked_in_c):
    inherited = opened("inherited")
    forked_in_c()
    engine.close_run(opened("own"), SUCCESS)
    engine.close_run(inherited, SUCCESS)

    assert [span.name for span in spans.spans] == ["own"]


@pytest.mark.parametrize(("where", "on_span", "as_records"), [("span", 1, 0), ("log", 0, 1), ("both", 1, 1)])
def test_an_exception_is_recorded_once_where_the_setting_says(spans, records, monkeypatch, where, on_span, as_records):
    monkeypatch.setenv("OTELFLOW_EVENTS", where)

    @task
    def breaks():
        raise ValueError("once")

    with pytest.raises(ValueError, match="once"):
        flow(breaks)().execute()

    assert len(exceptions(spans)) == on_span
    assert [record.attributes["otelflow.task.name"] for record in records()] == ["breaks"] * as_records


@task
def passes_on():
    yield 1


@pytest.mark.parametrize("depth", [0, 1])
@pytest.mark.parametrize("was_raised_by_a_task", [True, False])
def test_an_exception_thrown_into_a_generator_is_recorded_where_it_was_raised(spans, depth, was_raised_by_a_task):
    error = ValueError("thrown in")

    @task
    def breaks():
        raise error

    @flow
    def throws():
        generator = passes_on()
        next(generator)
        generator.throw(error)

    @flow
    def outer():
        if was_raised_by_a_task:
            with pytest.raises(ValueError, match="thrown in"):
                breaks()
        throws().execute()

    with pytest.raises(ValueError, match="thrown in"):
        (outer if depth or was_raised_by_a_task else throws)().execute()

    assert exceptions(spans) == [("task breaks" if was_raised_by_a_task else "task passes_on", "ValueError")]


class Interrupted(SystemExit):
    """An exit that is classified while somebody presses Ctrl-C."""

    @property
    def code(self):
        raise KeyboardInterrupt


def test_ctrl_c_while_an_exception_is_classified_comes_out_and_leaves_no_run_open(spans):
    @task
    def leaves():
        raise Interrupted

    with pytest.raises(KeyboardInterrupt):
        leaves()

    assert result(spans.one("task leaves")) == "failure"
    assert (current_run(), open_runs.open_runs()) == (None, [])


def test_a_failure_that_stays_inside_is_logged_with_who_asked_for_that(caplog):
    @task(raise_on_error=False)
    def charges():
        raise ValueError("no money")

    @flow(flow_config=Flow_Run__Config(raise_flow_error=False))
    def order():
        raise TypeError("no order")

    charges()
    order().execute()

    assert caplog.messages == [
        "Error executing task 'charges': ValueError: no money (it stays inside: raise_on_error=False)",
        "Error executing flow 'order': TypeError: no order (it stays inside: raise_flow_error=False)",
    ]


def test_a_span_that_had_not_ended_when_its_run_was_interrupted_says_how_the_run_ended(spans):
    run = opened()
    run.closing_thread, run.is_closed = get_ident(), True
    engine.close_run(run, CANCELLED)

    assert result(spans.one("bare")) == "cancellation"


def test_a_generator_that_is_closed_after_its_run_has_ended_says_nothing_on_its_span(spans, caplog):
    run = opened()
    engine.close_run(run, CANCELLED)
    engine.close_early(run)

    assert "otelflow.generator.closed_early" not in spans.one("bare").attributes
    assert caplog.messages == []


def test_a_hosts_span_that_takes_no_attribute_is_counted_when_a_generator_is_closed(spans, listener, monkeypatch):
    run = opened()
    with monkeypatch.context() as fault:
        fault.setattr(type(run.span), "set_attribute", Mock(side_effect=[RuntimeError("full"), None]))
        engine.close_early(run)

    assert losses.dropped == {("traces", "end_failed"): 1}
    assert listener.told[-1] == ("ended", "bare", "success")


def test_at_the_end_only_a_generator_that_waits_for_its_consumer_is_a_success(spans, listener):
    begun = {name: opened(name) for name in ("generator", "awaitable", "waits")}
    begun["generator"].is_generator = begun["waits"].is_generator = True
    current.suspend(begun["waits"])
    current.suspend(begun["awaitable"])
    shutdown.end_open_runs()

    assert sorted(told[1:] for told in listener.told[3:]) == [
        ("awaitable", "cancellation"),
        ("generator", "cancellation"),
        ("waits", "success"),
    ]


def test_a_run_remembers_the_exceptions_of_those_inside_that_came_out_and_were_recorded(spans):
    outer = opened("outer")
    errors = {name: ValueError(name) for name in ("out", "inside", "unseen")}
    for name, error in errors.items():
        inner = opened(name, outer)
        inner.was_called, inner.keeps_errors = True, name == "inside"
        inner.is_recording = name != "unseen"
        engine.close_with(inner, error)
    recorded = outer.recorded
    engine.close_run(outer, SUCCESS)

    assert {key: error for key, (error, _) in recorded.items()} == {id(errors["out"]): errors["out"]}


class TakesNoNote(Exception):
    """As one that a library has written in C."""

    def add_note(self, note):
        raise AttributeError("no notes")


@flow
def breaks(error):
    raise error


@flow
def breaks_inside(error):
    breaks(error).execute()


def test_an_exception_that_leaves_a_flow_has_a_note_of_its_trace_once_if_that_is_asked_for(spans):
    quiet, noted = ValueError("quiet"), ValueError("noted")
    with pytest.raises(ValueError, match="quiet"):
        breaks(quiet).execute()

    settings.configure(note_trace=True, trace_url="http://jaeger/trace/{trace_id}")
    with pytest.raises(ValueError, match="noted"):
        breaks_inside(noted).execute()

    trace_id = spans.one("flow breaks_inside").context.trace_id
    assert getattr(quiet, "__notes__", []) == []
    assert noted.__notes__ == [f"trace http://jaeger/trace/{trace_id:032x}"]


def test_an_exception_has_no_note_that_stays_inside_or_whose_trace_nobody_keeps(spans):
    settings.configure(note_trace=True)
    inside = ValueError("inside")
    Flow(flow_config=Flow_Run__Config(raise_flow_error=False)).setup(breaks.__wrapped__, inside).execute()

    use_provider(TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False))
    unseen = ValueError("unseen")
    with pytest.raises(ValueError, match="unseen"):
        breaks(unseen).execute()

    assert (getattr(inside, "__notes__", []), getattr(unseen, "__notes__", [])) == ([], [])


def test_an_exception_of_a_task_that_its_flow_catches_has_no_note(spans):
    settings.configure(note_trace=True)
    caught = ValueError("caught")

    @task
    def fail():
        raise caught

    @flow
    def go_on():
        with pytest.raises(ValueError, match="caught"):
            fail()

    go_on().execute()

    assert spans.one("task fail").attributes["otelflow.run.result"] == "failure"
    assert getattr(caught, "__notes__", []) == []


def test_an_exception_that_takes_no_note_comes_out_all_the_same(spans, caplog):
    settings.configure(note_trace=True)

    for _ in range(2):
        with pytest.raises(TakesNoNote):
            breaks(TakesNoNote()).execute()

    assert caplog.messages == ["An exception takes no note of its trace; it comes out as it is"]


def test_a_run_that_began_before_it_was_opened_has_taken_so_long(monkeypatch):
    monkeypatch.setattr("otelflow._core.process.clock.time_ns", lambda: 100 * 10**9)
    monkeypatch.setattr("otelflow._core.process.clock.perf_counter", lambda: 50.0)
    durations = []
    for began in (97, 100, 103):
        run = opened_since(began * 10**9)
        engine.close_run(run, SUCCESS)
        durations.append((run.started_ns, run.duration))

    assert durations == [(97 * 10**9, 3.0), (100 * 10**9, 0.0), (103 * 10**9, 0.0)]


def opened_since(started_ns):
    run = Part(None, "bare", settings.settings())
    engine.open_run(run, started_ns)
    return run


def test_no_run_takes_less_than_no_time(monkeypatch):
    now = [50.0]
    monkeypatch.setattr("otelflow._core.process.clock.perf_counter", lambda: now[0])
    run = opened()
    now[0] = 40.0
    engine.close_run(run, SUCCESS)

    assert run.duration == 0.0


@pytest.mark.parametrize("where", ["log", "both"])
def test_an_exception_of_a_run_without_a_span_is_a_log_record_all_the_same(records, monkeypatch, where):
    monkeypatch.setenv("OTELFLOW_EVENTS", where)
    use_provider(None)

    @task
    def breaks():
        raise ValueError("once")

    with pytest.raises(ValueError, match="once"):
        flow(breaks)().execute()

    assert [record.attributes["exception.message"] for record in records()] == ["once"]


class WithSession(Part):
    """A run in which something was submitted."""

    __slots__ = ("session",)


class Session:
    """What was submitted in a run; to wait for it is interrupted."""

    def __init__(self):
        self.is_given_up = False

    def end(self, ending):
        if not self.is_given_up:
            raise KeyboardInterrupt

    def give_up(self):
        self.is_given_up = True


@pytest.mark.parametrize("ending", [SUCCESS, Ending("failure", ValueError("no"))], ids=["value", "error"])
def test_ctrl_c_while_a_run_waits_for_what_was_submitted_ends_it_if_nobody_ends_it_later(ending):
    run = WithSession(None, "bare", settings.settings())
    run.session = session = Session()
    engine.open_run(run)
    with pytest.raises(KeyboardInterrupt):
        engine.close_run(run, ending)
    state = run.is_closed, session.is_given_up
    run.session = None
    engine.close_run(run, ending)

    assert state == ((True, True) if ending.error is not None else (False, False))
