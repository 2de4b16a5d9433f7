"""Every run is counted once, in one place, whatever becomes of it."""

import asyncio
import gc
import logging
import multiprocessing
import os
import threading
import time
from contextlib import nullcontext

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, TraceIdRatioBased

from otelflow import Flow, Objective, add_listener, flow, remove_listener, semconv, task
from otelflow._core.flows import declared
from otelflow._core.process import forks, losses, tallies
from otelflow._core.process import provider as core_spans
from otelflow._core.process.settings import settings
from otelflow._core.runs import engine, observers
from otelflow._core.runs.endings import SUCCESS, Ending
from otelflow._core.runs.run import Run
from otelflow._listeners.listener import Listener
from otelflow.cache_policies import INPUTS
from otelflow.errors import ConfigurationError
from otelflow.metrics._counts import BUCKETS, Aggregator, Distribution, Exemplar, Hooks
from support.metrics import Counted


@pytest.fixture
def provider():
    """Let a provider of one's own make the spans."""
    previous = []

    def use(sampler=None):
        previous.append(core_spans.use_provider(TracerProvider(sampler=sampler, shutdown_on_exit=False)))

    yield use
    for one in previous:
        core_spans.use_provider(one)


def ends(error):
    """Return what a body does that ends with *error*."""
    if error is not None:
        raise error


ENDINGS = [
    (None, "success"),
    (SystemExit(0), "success"),
    (SystemExit(), "success"),
    (ValueError("bad"), "failure"),
    (ExceptionGroup("several", [ValueError("bad")]), "failure"),
    (SystemExit(3), "failure"),
    (SystemExit("no"), "failure"),
    (TimeoutError("late"), "timeout"),
    (asyncio.CancelledError(), "cancellation"),
    (KeyboardInterrupt(), "cancellation"),
    (GeneratorExit(), "cancellation"),
    (RecursionError(), "failure"),
    (MemoryError(), "failure"),
]


@pytest.mark.parametrize(("error", "result"), ENDINGS, ids=lambda it: it if isinstance(it, str) else repr(it))
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_flow_and_its_task_count_once_under_the_result_of_their_ending(counted, error, result, kind):
    if kind == "sync":

        @task
        def inner():
            ends(error)

        @flow
        def outer():
            inner()

        run = outer().execute
    else:

        @task
        async def inner():
            ends(error)

        @flow
        async def outer():
            await inner()

        run = outer().execute

    with nullcontext() if error is None else pytest.raises(type(error)):
        run()

    assert counted.runs("outer") == {result: 1}
    assert counted.runs("outer", "inner") == {result: 1}
    assert counted.value(semconv.FLOW_RUNS_IN_PROGRESS, flow="outer") == 0


def test_a_call_that_cannot_be_made_counts_as_error(counted):
    @task
    def add(a, b):
        return a + b

    @flow
    def sums():
        add(1)

    with pytest.raises(TypeError):
        sums().execute()

    assert counted.runs("sums", "add") == {"error": 1}
    assert counted.runs("sums") == {"failure": 1}


@pytest.mark.parametrize("how", ["exhausted", "closed", "dropped", "raises"])
def test_a_generator_counts_once_when_it_has_ended(counted, how):
    @flow
    def numbers():
        yield 1
        if how == "raises":
            raise ValueError("bad")
        yield 2

    values = numbers().execute().flow_return_value
    next(values)
    assert counted.value(semconv.FLOW_RUNS_IN_PROGRESS, flow="numbers") == 1
    if how == "exhausted":
        list(values)
    elif how == "closed":
        values.close()
    elif how == "raises":
        with pytest.raises(ValueError, match="bad"):
            next(values)
    del values
    gc.collect()

    assert counted.runs("numbers") == {"failure" if how == "raises" else "success": 1}
    assert counted.value(semconv.FLOW_RUNS_IN_PROGRESS, flow="numbers") == 0


def test_a_cancelled_async_flow_counts_as_cancellation(counted):
    @flow
    async def waits():
        await asyncio.sleep(60)

    async def stop():
        running = asyncio.ensure_future(waits().execute_async())
        await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(stop())

    assert counted.runs("waits") == {"cancellation": 1}


def test_a_failure_that_stays_inside_counts_all_the_same(counted):
    @task(raise_on_error=False)
    def shaky():
        raise LookupError

    @flow
    def patient():
        shaky()

    patient().execute()

    assert counted.runs("patient") == {"success": 1}
    assert counted.runs("patient", "shaky") == {"failure": 1}
    assert counted.value(semconv.TASK_FAILURES, flow="patient", task="shaky", error_type="LookupError") == 1


def test_subflows_recursion_and_tasks_outside_any_flow_count_by_themselves(counted):
    @task
    def lonely():
        return 1

    @flow
    def down(n):
        lonely()
        if n:
            down(n - 1).execute()

    lonely()
    down(3).execute()

    assert counted.runs("down") == {"success": 4}
    assert counted.runs("down", "lonely") == {"success": 4}
    assert counted.runs("", "lonely") == {"success": 1}


def test_tasks_in_a_block_count_for_its_flow_and_the_block_is_no_run(counted):
    @task
    def inside():
        return 1

    with Flow(flow_name="around"):
        inside()

    assert counted.runs("around", "inside") == {"success": 1}
    assert counted.runs("around") == {}


def test_every_run_counts_whatever_the_sampler_says(counted, provider):
    provider(TraceIdRatioBased(0.1))

    @flow
    def often():
        return 1

    for _ in range(50):
        often().execute()

    assert counted.runs("often") == {"success": 50}


def test_threads_lose_no_count(counted):
    @task
    def one():
        return 1

    @flow
    def many():
        for _ in range(100):
            one()

    threads = [threading.Thread(target=lambda: many().execute()) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert counted.runs("many", "one") == {"success": 800}
    assert counted.value(semconv.TASK_RUN_DURATION + "_count", flow="many", task="one", result="success") == 800


# Zeros, timestamps, durations


def test_a_declared_flow_stands_at_zero_for_every_result_before_it_runs(counted):
    @flow
    def not_yet():
        return 1

    zeros = {result: counted.value(semconv.FLOW_RUNS, flow="not_yet", result=result) for result in semconv.RESULTS}
    assert zeros == dict.fromkeys(semconv.RESULTS, 0)
    assert counted.value(semconv.FLOW_RUNS, flow="not_yet", result=semconv.SKIP) is None, "no run ends so"
    assert counted.value(semconv.FLOW_RUNS_IN_PROGRESS, flow="not_yet") == 0
    assert counted.value(semconv.FLOW_LAST_RUN, flow="not_yet", result="success") is None


def test_a_subclass_of_flow_stands_at_zero_before_it_runs(counted):
    class Weekly(Flow):
        def main(self):
            return 1

    assert Weekly.__name__ in {known.name for known in declared.declared_flows()}
    assert counted.value(semconv.FLOW_RUNS, flow="Weekly", result="failure") == 0


def test_a_task_stands_at_zero_from_its_start(counted):
    seen = []

    @task
    def looks():
        seen.append(counted.value(semconv.TASK_RUNS, flow="", task="looks", result="failure"))

    looks()

    assert seen == [0]


def test_the_last_run_of_each_result_has_its_time(counted):
    @flow
    def turns(error=None):
        ends(error)

    before = time.time()
    turns().execute()
    with pytest.raises(ValueError, match="bad"):
        turns(ValueError("bad")).execute()

    success = counted.value(semconv.FLOW_LAST_RUN, flow="turns", result="success")
    failure = counted.value(semconv.FLOW_LAST_RUN, flow="turns", result="failure")
    assert before <= success <= failure <= time.time()


def test_open_runs_and_the_oldest_of_them_are_shown(counted):
    seen = []

    @flow
    def inner():
        seen.append(
            (
                counted.value(semconv.FLOW_RUNS_IN_PROGRESS, flow="inner"),
                counted.value(semconv.FLOW_OLDEST_RUN, flow="inner"),
            )
        )

    before = time.time()
    inner().execute()

    assert seen[0][0] == 1
    assert before <= seen[0][1] <= time.time()
    assert counted.value(semconv.FLOW_OLDEST_RUN, flow="inner") == 0


def test_an_aggregator_that_comes_in_the_middle_counts_the_end_and_shows_no_negative_number():
    aggregator = Aggregator()

    @flow
    def under_way():
        observers.add_observer(aggregator)

    under_way().execute()
    observers.remove_observer(aggregator)

    counted = Counted(aggregator)
    assert counted.runs("under_way") == {"success": 1}
    assert counted.value(semconv.FLOW_RUNS_IN_PROGRESS, flow="under_way") == 0


@pytest.mark.parametrize(
    ("exemplar_filter", "sampled", "unsampled"),
    [
        (None, True, False),
        ("", True, False),
        ("trace_based", True, False),
        ("always_on", True, True),
        ("ALWAYS_OFF", False, False),
    ],
)
def test_exemplars_are_those_that_the_filter_lets_through(monkeypatch, provider, exemplar_filter, sampled, unsampled):
    if exemplar_filter is not None:
        monkeypatch.setenv("OTEL_METRICS_EXEMPLAR_FILTER", exemplar_filter)
    aggregator = Aggregator()
    observers.add_observer(aggregator)

    for name, sampler in (("sampled", None), ("unsampled", ALWAYS_OFF)):
        provider(sampler)
        flow(flow_name=name)(lambda: None)().execute()
    observers.remove_observer(aggregator)

    exemplars = {
        series.flow: series.durations["success"].exemplar for series in aggregator.snapshot().flows if series.durations
    }
    assert {name: exemplar is not None for name, exemplar in exemplars.items()} == {
        "sampled": sampled,
        "unsampled": unsampled,
    }


def test_an_exemplar_filter_that_does_not_exist_is_named(monkeypatch):
    monkeypatch.setenv("OTEL_METRICS_EXEMPLAR_FILTER", "sometimes")

    with pytest.raises(
        ConfigurationError, match=r"OTEL_METRICS_EXEMPLAR_FILTER must be one of always_on, .*'sometimes'"
    ):
        Aggregator()


def test_buckets_reach_from_5_ms_to_a_day_and_a_flow_may_have_its_own(counted):
    @flow(buckets=(1, 2.5), objective=Objective(duration="90s"))
    def own():
        return 1

    @flow
    def default():
        return 1

    own().execute()
    default().execute()

    def bounds(name):
        return [
            line.split('le="')[1].split('"')[0]
            for line in counted.text().splitlines()
            if f'_bucket{{flow="{name}"' in line
        ]

    assert bounds("own") == ["1.0", "2.5", "90.0", "+Inf"]
    assert bounds("default")[0] == "0.005"
    assert bounds("default")[-2] == "86400.0"
    assert len(BUCKETS) + 1 == len(bounds("default"))


@pytest.mark.parametrize(
    "buckets", [(), (2, 1), (0, 1), (-1,), "abc", (1, "2"), (1, 1), (1, float("nan")), range(1, 99)]
)
def test_buckets_that_do_not_rise_are_refused_at_decoration(buckets):
    with pytest.raises(ConfigurationError, match="buckets"):

        @flow(buckets=buckets)
        def never():
            """Not decorated."""


# Exemplars


def exemplars(counted, name):
    return [line for line in counted.text().splitlines() if line.startswith(name) and " # {" in line]


def test_a_sampled_run_leaves_its_trace_id_and_others_within_a_second_do_not(counted, spans):
    @flow
    def traced():
        return trace.get_current_span().get_span_context().trace_id

    ids = [f"{traced().execute().flow_return_value:032x}" for _ in range(5)]

    lines = exemplars(counted, semconv.FLOW_RUN_DURATION)
    assert len(lines) == 1
    assert f'trace_id="{ids[0]}"' in lines[0]


def test_a_run_that_is_not_sampled_leaves_no_exemplar(counted, provider):
    provider(ALWAYS_OFF)

    @flow
    def untraced():
        return 1

    untraced().execute()

    assert exemplars(counted, "otelflow_flow") == []
    assert counted.runs("untraced") == {"success": 1}


# Too many, and ids


def test_more_series_than_the_cap_are_counted_together_and_the_overflow_is_counted():
    aggregator = Aggregator(limit=len(declared.declared_flows()) + 5)
    aggregator.snapshot()  # declared flows have their places first
    counted = Counted(aggregator)
    observers.add_observer(aggregator)
    lost = losses.dropped["metrics", "series_limit"]
    try:
        for number in range(20):
            Flow(flow_name=f"one of too many {chr(97 + number)}").set_flow_target(lambda: 1).execute()
    finally:
        observers.remove_observer(aggregator)

    assert counted.runs(semconv.OVERFLOW) == {"success": 15}
    assert losses.dropped["metrics", "series_limit"] - lost == 15
    assert counted.value(semconv.FLOW_RUNS_IN_PROGRESS, flow=semconv.OVERFLOW) == 0


def test_types_of_error_have_the_cap_too():
    aggregator = Aggregator(limit=len(declared.declared_flows()) + 10)
    aggregator.snapshot()
    observers.add_observer(aggregator)

    @task(raise_on_error=False)
    def strange(number):
        raise type(f"Strange{chr(97 + number)}", (Exception,), {})

    try:
        for number in range(20):
            strange(number)
    finally:
        observers.remove_observer(aggregator)

    (series,) = [series for series in aggregator.snapshot().tasks if series.task == "strange"]
    assert sum(series.failures.values()) == 20
    assert series.failures[semconv.OVERFLOW] >= 10


def test_a_run_whose_end_is_cut_off_by_ctrl_c_is_not_open_for_ever(counted, monkeypatch):
    @flow
    def almost():
        return 1

    tell = engine.tell

    def interrupted(methods, run):
        if methods is observers.observed.ended:
            raise KeyboardInterrupt
        tell(methods, run)

    monkeypatch.setattr(engine, "tell", interrupted)
    with pytest.raises(KeyboardInterrupt):
        almost().execute()

    assert counted.value(semconv.FLOW_RUNS_IN_PROGRESS, flow="almost") == 0
    assert counted.value(semconv.FLOW_OLDEST_RUN, flow="almost") == 0


def test_the_last_run_of_each_result_has_its_duration(counted):
    @flow
    def naps():
        time.sleep(0.01)

    naps().execute()

    last = counted.value(semconv.FLOW_LAST_RUN_DURATION, flow="naps", result="success")
    assert last == counted.value(semconv.FLOW_RUN_DURATION + "_sum", flow="naps", result="success")
    assert counted.value(semconv.FLOW_LAST_RUN_DURATION, flow="naps", result="failure") is None


# Telemetry about telemetry


def test_losses_and_listener_errors_are_shown_and_begin_at_zero(counted):
    class Broken(Listener):
        def on_flow_stop(self, event):
            raise OSError

    @flow
    def heard():
        return 1

    broken = Broken()
    add_listener(broken)
    before = counted.value(semconv.LISTENER_ERRORS, listener="Broken")
    heard().execute()
    remove_listener(broken)
    losses.lost("traces", "queue_full", 3)

    assert before == 0
    assert counted.value(semconv.LISTENER_ERRORS, listener="Broken") == 1
    assert counted.value(semconv.TELEMETRY_DROPPED, signal="traces", reason="queue_full") >= 3
    assert counted.value(semconv.TELEMETRY_DROPPED, signal="metrics", reason="export_failed") is not None
    assert "otelflow_build_info{" in counted.text()


def test_a_watcher_that_raises_is_counted_and_breaks_no_run():
    class BrokenWatcher(observers.Observer):
        def run_started(self, run):
            raise OSError

        def run_ended(self, run):
            raise OSError

    @flow
    def unharmed():
        return 7

    broken = BrokenWatcher()
    observers.add_observer(broken)
    try:
        value = unharmed().execute().flow_return_value
    finally:
        observers.remove_observer(broken)

    assert value == 7
    assert losses.listener_errors["BrokenWatcher"] == 2


def test_a_generator_that_the_collector_ends_inside_the_lock_does_not_deadlock(counted):
    @flow
    def endless():
        while True:
            yield 1

    values = endless().execute().flow_return_value
    next(values)

    with counted.aggregator._lock:  # as when an allocation under the lock sets off the garbage collector
        values.close()

    assert counted.runs("endless") == {"success": 1}


def test_nothing_of_a_finished_run_stays(counted):
    @flow
    def leaves():
        return object()

    leaves().execute()
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(200):
        leaves().execute()
    gc.collect()

    assert len(gc.get_objects()) - before < 50


# Forks


def child_counts(aggregator, sender):
    @task
    def in_child():
        return 1

    in_child()
    counted = Counted(aggregator)
    sender.send((counted.runs("parent_flow"), counted.runs("", "in_child"), counted.runs("", "in_parent")))
    sender.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_begins_at_zero_even_when_the_lock_was_held(counted):
    @task
    def in_parent():
        return 1

    receiver, sender = multiprocessing.Pipe(duplex=False)
    held, done = threading.Event(), threading.Event()

    def hold():
        with counted.aggregator._lock:
            held.set()
            done.wait(20)

    in_parent()
    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(20)
    child = multiprocessing.get_context("fork").Process(target=child_counts, args=(counted.aggregator, sender))
    child.start()
    done.set()
    holder.join(20)
    sender.close()

    assert receiver.poll(20)
    assert receiver.recv() == ({}, {"success": 1}, {})
    child.join(20)
    assert counted.runs("", "in_parent") == {"success": 1}
    assert counted.runs("", "in_child") == {}


def test_reading_while_everything_counts_is_whole(counted):
    @task(raise_on_error=False)
    def varied(number):
        raise type(f"Kind{number % 7}", (Exception,), {})

    def work(letter):
        for number in range(200):
            Flow(flow_name=f"reads {letter} {number % 20}").set_flow_target(
                lambda number=number: varied(number)
            ).execute()

    threads = [threading.Thread(target=work, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        counted.text()
    for thread in threads:
        thread.join(30)

    series_list = [series for series in counted.aggregator.snapshot().tasks if series.task == "varied"]
    assert sum(series.durations["failure"].count for series in series_list) == 800
    assert sum(sum(series.failures.values()) for series in series_list) == 800


def test_the_version_is_another_one_whenever_a_snapshot_says_something_else(counted):
    aggregator, versions = counted.aggregator, []

    def look():
        versions.append(aggregator.version())
        assert aggregator.version() == versions[-1]
        assert versions.count(versions[-1]) == 1

    @task(raise_on_error=False)
    def fails():
        look()
        raise ValueError

    @flow
    def changes():
        look()
        fails()
        look()
        losses.lost("traces", "queue_full")
        look()

    look()
    changes().execute()
    look()
    changes().execute()  # nothing is new this time
    look()


def test_a_task_that_was_cancelled_has_no_failure_by_type_of_error(counted):
    @task
    def stops():
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        flow(stops)().execute()

    (series,) = counted.aggregator.snapshot().tasks
    assert (list(series.durations), series.failures) == (["cancellation"], {})


def test_the_buckets_of_a_flow_without_its_own_are_those_that_are_documented(counted):
    @flow
    def usual():
        return 1

    usual().execute()

    bounds = [line.split('le="')[1].split('"')[0] for line in counted.text().splitlines() if 'flow="usual",le=' in line]
    seconds = "0.005 0.01 0.025 0.05 0.1 0.25 0.5 1.0 2.5 5.0 10.0 30.0"
    assert bounds == [*seconds.split(), *["60.0", "300.0", "900.0", "3600.0", "10800.0", "43200.0", "86400.0", "+Inf"]]


def test_every_loss_that_alerts_look_at_stands_at_zero_from_the_start(counted):
    zeros = [line for line in counted.text().splitlines() if line.startswith(semconv.TELEMETRY_DROPPED + "{")]

    pairs = {"traces": "queue_full export_failed rejected shutdown start_failed end_failed trace_broken"}
    pairs |= {"logs": "queue_full export_failed rejected shutdown"}
    pairs |= {"metrics": "series_limit export_failed rejected not_served"}
    assert sorted(zeros) == sorted(
        f'{semconv.TELEMETRY_DROPPED}{{reason="{reason}",signal="{signal}"}} 0.0'
        for signal, reasons in pairs.items()
        for reason in reasons.split()
    )


# Runs as they are told of, at moments that stand still


class FlowRun(Run):
    kind = "flow"


class TaskRun(Run):
    kind = "task"


def told(flow="order", task="charge", result="success", error=None, clock=0.0, duration=0.0, trace_id=1, sampled=True):
    """Return a run that has ended, as the engine tells of it; a flow's if it has no *task*."""
    context = trace.SpanContext(trace_id, 7, False, trace.TraceFlags(int(sampled)))
    run = (FlowRun if task is None else TaskRun)(None, settings(), None, task)
    run.flow_name = flow
    run.clock, run.duration = clock, duration
    run.ending = SUCCESS if result == "success" and error is None else Ending(result, error)
    run.was_called, run.is_recording = True, sampled
    run.span = trace.NonRecordingSpan(context)
    return run


def ended(*runs, limit=2_000):
    aggregator = Aggregator(limit)
    for run in runs:
        aggregator.run_started(run)
        aggregator.run_ended(run)
    return aggregator


def test_a_duration_counts_in_the_bucket_that_ends_with_it():
    lengths = (0.0, 0.005, 0.0051, 0.01, 86_400.0, 86_401.0)

    (series,) = ended(*(told(duration=seconds) for seconds in lengths)).snapshot().tasks

    durations = series.durations["success"]
    assert durations.counts == [2, 2, *[0] * 16, 1, 1]
    assert (durations.count, durations.total) == (6, pytest.approx(172_801.0201))


def test_one_run_a_second_is_an_exemplar_of_its_bucket():
    runs = [
        told(clock=10.0, duration=0.0, trace_id=1),
        told(clock=10.5, duration=0.25, trace_id=2),
        told(clock=10.875, duration=0.125, trace_id=3),
        told(clock=11.75, duration=0.125, trace_id=7),
        told(clock=11.0, duration=1.5, trace_id=4),
        told(clock=13.5, duration=0.0, trace_id=5),
        told(clock=15.0, duration=0.0, trace_id=6, sampled=False),
    ]

    (series,) = ended(*runs).snapshot().tasks

    durations = series.durations["success"]
    assert {bucket: exemplar.trace_id for bucket, exemplar in durations.exemplars.items()} == {0: 5, 5: 3, 8: 4}
    assert (durations.exemplars[5].span_id, durations.exemplars[5].value) == (7, 0.125)
    assert time.time() - 60 < durations.exemplars[5].time <= time.time()


def test_the_exemplar_of_a_counter_is_the_last_one():
    durations = Distribution((1.0,))
    assert durations.exemplar is None

    durations.exemplars = {0: Exemplar(1, 1, 0.5, 20.0), 1: Exemplar(2, 2, 9.0, 10.0)}

    assert durations.exemplar.trace_id == 1


def test_a_snapshot_stays_as_it_is_while_more_is_counted():
    failure = told(result="failure", error=ValueError())
    aggregator = ended(told(task=None), failure)
    before = aggregator.snapshot()

    for run in (told(task=None, duration=9.0, clock=5.0), told(result="failure", error=KeyError(), clock=5.0), failure):
        aggregator.run_ended(run)

    (of_flow,) = [series for series in before.flows if series.flow == "order"]
    (of_task,) = before.tasks
    success = of_flow.durations["success"]
    assert (success.count, success.total, len(success.exemplars), success.last_duration) == (1, 0.0, 1, 0.0)
    assert (of_task.failures, of_task.durations["failure"].count) == ({"ValueError": 1}, 1)
    assert (of_flow.bounds, of_flow.labels, of_task.labels) == (BUCKETS, ("order",), ("order", "charge"))


def test_the_last_run_of_a_flow_has_its_time_and_length_and_that_of_a_task_has_none():
    snapshot = ended(told(task=None, duration=3.0), told(task=None, duration=2.0), told(duration=5.0)).snapshot()

    (of_flow,) = [series for series in snapshot.flows if series.flow == "order"]
    durations = of_flow.durations["success"]
    assert durations.last_duration == 2.0
    assert time.time() - 60 < durations.last_time <= time.time()
    (of_task,) = snapshot.tasks
    assert (of_task.durations["success"].last_time, of_task.durations["success"].last_duration) == (0.0, 0.0)


def test_flows_are_active_that_have_ended_or_have_tasks():
    aggregator = ended(told("ended", None), told("with a task"))
    aggregator.run_started(told("only started", None))

    assert aggregator.snapshot().active_flows == {"ended", "with a task"}


@pytest.fixture
def no_declared_flows(monkeypatch):
    """No module has declared a flow: none takes a place."""
    monkeypatch.setattr(declared._declarations, "flows", {})


def test_as_many_flows_and_tasks_as_the_limit_says_are_told_apart(no_declared_flows, caplog):
    names = [("a", None), ("a", "x"), ("b", None), ("c", None), ("a", "y"), ("d", "z"), ("e", None)]
    runs = [told(*name) for name in names]

    aggregator = ended(*runs, told("a", None, clock=9.0), limit=3)
    counted = Counted(aggregator)

    snapshot = aggregator.snapshot()
    assert [(series.flow, series.durations["success"].count) for series in snapshot.flows] == [
        ("a", 2),
        ("b", 1),
        (semconv.OVERFLOW, 2),
    ]
    assert [(series.labels, series.durations["success"].count) for series in snapshot.tasks] == [
        (("a", "x"), 1),
        (("a", semconv.OVERFLOW), 1),
        ((semconv.OVERFLOW, semconv.OVERFLOW), 1),
    ]
    assert aggregator.run_count == 8
    assert losses.dropped["metrics", "series_limit"] == 4
    assert counted.value(semconv.TELEMETRY_DROPPED, signal="metrics", reason="series_limit") == 4
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(
        "More than 3 flows and tasks are told apart in metrics: the rest is counted as __overflow__. Names must not"
    )


def test_types_of_error_take_places_too_and_the_rest_is_counted_together(no_declared_flows):
    kinds = [type(name, (Exception,), {}) for name in ("A", "B", "C", "D")]
    failures = [told(result="failure", error=kind()) for kind in (*kinds, kinds[0], kinds[3], kinds[0])]

    aggregator = ended(*failures, limit=3)

    (series,) = aggregator.snapshot().tasks
    assert list(series.failures.values()) == [3, 1, 3]
    assert [name.rpartition(".")[2] for name in series.failures] == ["A", "B", semconv.OVERFLOW]
    assert losses.dropped["metrics", "series_limit"] == 3
    aggregator.run_started(told("new", None))
    assert semconv.OVERFLOW in {flow_series.flow for flow_series in aggregator.snapshot().flows}


def test_only_failures_of_tasks_are_counted_by_their_type():
    runs = [
        told(result="failure", error=ValueError()),
        told(result="failure"),
        told(result="cancellation", error=KeyboardInterrupt()),
        told("order", None, result="failure", error=ValueError()),
    ]

    snapshot = ended(*runs).snapshot()

    assert [series.failures for series in snapshot.tasks] == [{"ValueError": 1}]
    assert [series.failures for series in snapshot.flows if series.flow == "order"] == [{}]


def test_a_name_with_an_id_is_looked_up_anew_and_a_name_without_one_is_known():
    aggregator = ended(told("import 2026-11-25", None), told("import 2026-11-26", None), told("import", None))

    assert {flow_name for flow_name, _ in aggregator._series} >= {"import {id}", "import"}
    assert not any("2026" in (flow_name or "") for flow_name, _ in aggregator._series)
    assert [series.durations["success"].count for series in aggregator.snapshot().flows if "{id}" in series.flow] == [2]


def test_hooks_are_told_of_outermost_flows_and_of_each_new_series_once(counted):
    heard = []
    counted.aggregator.hooks = Hooks(
        lambda: heard.append("started"), lambda: heard.append("ended"), lambda: heard.append("series")
    )

    @task
    def step():
        with Flow(flow_name="a block"):
            pass

    @flow
    def inner():
        step()

    @flow
    def outer():
        inner().execute()

    outer().execute()
    outer().execute()

    assert heard == ["series", "started", "series", "series", "ended", "started", "ended"]


def test_a_task_outside_of_any_flow_is_a_new_series_once(counted):
    heard = []
    counted.aggregator.hooks = Hooks(series_added=lambda: heard.append("series"))

    @task
    def lonely():
        return 1

    lonely()
    lonely()

    assert heard == ["series"]


def test_a_flow_inside_one_that_is_a_parent_process_s_is_outermost(counted, monkeypatch):
    heard = []
    counted.aggregator.hooks = Hooks(flow_started=lambda: heard.append("started"))

    @flow
    def inner():
        return 1

    @flow
    def outer():
        inner().execute()
        monkeypatch.setattr(forks.fork, "clock", time.perf_counter())  # from here on it is a child
        inner().execute()

    outer().execute()

    assert heard == ["started", "started"]


def test_losses_of_a_parent_are_not_those_of_its_child(counted):
    losses.lost("traces", "queue_full", 5)
    losses.listener_failed("Audit", OSError())
    started = time.time()

    counted.aggregator.begin_anew()
    losses.lost("traces", "queue_full", 2)
    losses.listener_failed("Audit", OSError())

    snapshot = counted.aggregator.snapshot()
    assert counted.aggregator.is_child
    assert snapshot.dropped["traces", "queue_full"] == 2
    assert snapshot.listener_errors["Audit"] == 1
    assert started <= snapshot.since <= time.time()
    assert not Aggregator().is_child


def test_open_runs_begin_with_the_oldest_and_are_those_of_the_counting(counted):
    seen = {}

    @flow
    def down(n):
        if n:
            down(n - 1).execute()
        else:
            seen["since"] = counted.aggregator.snapshot().open_since["down"]
            seen["late"] = Aggregator().snapshot().open_since

    before = time.time()
    down(2).execute()

    assert seen["since"] == sorted(seen["since"])
    assert len(seen["since"]) == 3
    assert before <= seen["since"][0] <= time.time()
    assert seen["late"] == {}


def test_a_bucket_ends_where_a_promise_does_whether_declared_or_the_run_s_own(counted):
    class Promising(Flow):
        objective = Objective(duration="77s")

        def main(self):
            return 1

    Promising().setup().execute()
    unknown = Flow(flow_name="not declared").set_flow_target(lambda: 1)
    unknown.execute()

    bounds = {series.flow: series.bounds for series in counted.aggregator.snapshot().flows}
    assert bounds["Promising"] == (*BUCKETS[:13], 77.0, *BUCKETS[13:])
    assert bounds["not declared"] == BUCKETS


def test_a_run_that_was_lost_with_its_process_is_an_error_of_its_flow_and_of_its_task():
    aggregator = Aggregator()
    version = aggregator.version()

    aggregator.run_lost(observers.LostRun("nightly", None, 7, 9, 1_000.0, 3.0))
    aggregator.run_lost(observers.LostRun("nightly", "work", 7, 8, 1_001.0, 0.5))

    snapshot = aggregator.snapshot()
    (flow,) = (series for series in snapshot.flows if series.flow == "nightly")
    (task,) = (series for series in snapshot.tasks if series.flow == "nightly")
    assert (flow.durations["error"].count, flow.durations["error"].total) == (1, 3.0)
    assert (flow.durations["error"].last_time, flow.durations["error"].last_duration) == (1_003.0, 3.0)
    assert (task.durations["error"].count, task.failures) == (1, {"process_lost": 1})
    assert task.durations["error"].exemplar.span_id == 8
    assert (aggregator.run_count, aggregator.version() != version) == (2, True)


def test_the_last_lost_run_is_the_one_that_ended_last_whichever_is_told_first():
    aggregator = Aggregator()
    for started, duration in ((1_000.0, 3.0), (2_000.0, 5.0), (500.0, 1_400.0)):
        aggregator.run_lost(observers.LostRun("nightly", None, 7, 9, started, duration))

    (flow,) = (series for series in aggregator.snapshot().flows if series.flow == "nightly")
    assert (flow.durations["error"].last_time, flow.durations["error"].last_duration) == (2_005.0, 5.0)


def test_who_hears_of_an_attribute_that_is_no_promise_may_count_meanwhile(counted):
    stuck = []

    class Handler(logging.Handler):
        def emit(self, record):
            counting = threading.Thread(target=counted.aggregator.snapshot, daemon=True)
            counting.start()
            counting.join(5)
            stuck.append(counting.is_alive())

    handler = Handler()
    own = Flow(flow_name="with an attribute of its own").set_flow_target(lambda: 1)
    own.objective = 3
    losses.logger.addHandler(handler)
    try:
        own.execute()
    finally:
        losses.logger.removeHandler(handler)

    assert stuck == [False]


def test_no_id_in_the_name_of_a_limit_or_a_schedule_is_a_label(counted, caplog):
    try:
        for number in range(3):
            tallies.limit_passed(f"tenant {number}0cb62a4e8f00b204", 0.5)
            tallies.runs_missed(f"report of 2026-11-0{1 + number}", "overlap", 2)
        snapshot = counted.aggregator.snapshot()
    finally:
        tallies._tallies.reset()

    assert snapshot.limit_waits == {"tenant {id}": 3}
    assert snapshot.limit_seconds == {"tenant {id}": 1.5}
    assert snapshot.missed_runs == {("report of {id}", "overlap"): 6}
    assert len(caplog.records) == 2


# What is no run of its own, and what another owns


def test_attempts_are_no_runs_and_all_but_the_first_of_them_are_retries(counted):
    calls, heard = [], []
    counted.aggregator.hooks = Hooks(series_added=lambda: heard.append("series"))

    @task(retries=3)
    def fetch():
        calls.append(1)
        if len(calls) < 3:
            raise ConnectionError

    @task(retries=1)
    def steady():
        return 1

    @flow
    def load():
        fetch()
        steady()

    load().execute()

    snapshot = counted.aggregator.snapshot()
    counts = {
        series.task: (series.retries, {result: durations.count for result, durations in series.durations.items()})
        for series in snapshot.tasks
    }
    assert counts == {"fetch": (2, {"success": 1}), "steady": (0, {"success": 1})}
    assert [(series.retries, series.durations["success"].count) for series in snapshot.flows if series.durations] == [
        (0, 1)
    ]
    assert (counted.aggregator.run_count, len(heard)) == (3, 3)


def test_a_value_that_was_there_before_is_no_run_of_its_task_and_is_counted_apart(counted):
    heard = []
    counted.aggregator.hooks = Hooks(series_added=lambda: heard.append("series"))

    @task(cache_policy=INPUTS)
    def fetch(page):
        return page

    for page in (1, 1, 1, 2):
        fetch(page)
    version = counted.aggregator.version()
    fetch(2)

    (series,) = counted.aggregator.snapshot().tasks
    assert (series.reused, series.durations["success"].count, series.retries) == (3, 2, 0)
    assert counted.aggregator.version() != version
    assert heard == ["series"]


def test_a_flow_that_was_not_called_is_a_run_and_so_is_a_call_that_could_not_be_made():
    runs = [told("order", None), told(result="error", error=TypeError())]
    for run in runs:
        run.was_called = False

    snapshot = ended(*runs).snapshot()

    assert [series.durations["success"].count for series in snapshot.flows if series.durations] == [1]
    assert [(series.reused, list(series.durations)) for series in snapshot.tasks] == [(0, ["error"])]


def test_a_flow_inside_a_task_that_is_in_no_flow_is_outermost(counted):
    heard = []
    counted.aggregator.hooks = Hooks(lambda: heard.append("started"), lambda: heard.append("ended"))

    @flow
    def inner():
        return 1

    @task
    def lonely():
        inner().execute()

    lonely()

    assert heard == ["started", "ended"]


def test_the_buckets_of_a_flow_are_not_those_of_its_tasks(counted):
    @task
    def step():
        return 1

    @flow(buckets=(1, 10))
    def slow():
        step()

    slow().execute()

    snapshot = counted.aggregator.snapshot()
    assert [series.bounds for series in snapshot.flows if series.flow == "slow"] == [(1.0, 10.0)]
    assert [series.bounds for series in snapshot.tasks] == [BUCKETS]


def test_a_flow_has_the_buckets_of_its_own_attribute(counted):
    own = Flow(flow_name="with buckets of its own").set_flow_target(lambda: 1)
    own.buckets = (2, 20)
    own.execute()

    bounds = {series.flow: series.bounds for series in counted.aggregator.snapshot().flows}
    assert bounds["with buckets of its own"] == (2.0, 20.0)


def test_runs_that_were_lost_are_limited_as_others_are(no_declared_flows):
    aggregator, heard = Aggregator(1), []
    aggregator.hooks = Hooks(series_added=lambda: heard.append("series"))

    for name in ("nightly", "hourly", "daily"):
        aggregator.run_lost(observers.LostRun(name, None, 7, 9, 1_000.0, 3.0))

    snapshot = aggregator.snapshot()
    assert {series.flow: series.durations["error"].count for series in snapshot.flows} == {
        "nightly": 1,
        semconv.OVERFLOW: 2,
    }
    assert losses.dropped["metrics", "series_limit"] == 2
    assert heard == ["series"] * 3


def test_a_lost_task_of_which_is_told_before_its_flow_has_not_the_buckets_of_that():
    @flow(buckets=(1, 10))
    def slow():
        """Have buckets of its own."""

    aggregator = Aggregator()
    aggregator.run_lost(observers.LostRun("slow", "work", 7, 8, 1_001.0, 0.5))

    assert [series.bounds for series in aggregator.snapshot().tasks] == [BUCKETS]
