"""Serving: each run is a trace, a failure stops nothing, and the end is in order."""

import logging
import signal
import sys
import threading

import pytest

from otelflow import flow, semconv, task
from otelflow.errors import ConfigurationError
from otelflow.metrics._counts import Aggregator
from otelflow.metrics._families import read
from otelflow.serve import Schedule, serve
from otelflow.serve._server import Server, _Service

_WAIT = 30


def served(*schedules, until, stop_seconds=5.0):
    """Serve *schedules* on a thread until the event *until* is set; return the server."""
    server = Server(schedules, stop_seconds)
    thread = threading.Thread(target=server.serve)
    thread.start()
    assert until.wait(_WAIT)
    server.stop()
    thread.join(_WAIT)
    assert not thread.is_alive()
    return server


def missed():
    (family,) = (one for one in read(Aggregator().snapshot()) if one.metric.name == semconv.SCHEDULE_MISSED_RUNS)
    return {sample.labels: sample.value for sample in family.samples if sample.value}


def test_each_run_is_a_trace_that_says_when_it_was_due(spans):
    thrice, runs = threading.Event(), []

    @flow
    def tick():
        runs.append(1)
        if len(runs) == 3:
            thrice.set()

    served(Schedule(tick, every="100ms", name="pulse"), until=thrice)

    roots = [span for span in spans.spans if span.name == "flow tick"]
    assert len(roots) >= 3
    assert len({span.context.trace_id for span in roots}) == len(roots)
    assert {span.attributes[semconv.SCHEDULE_NAME] for span in roots} == {"pulse"}
    times = [span.attributes[semconv.SCHEDULE_TIME] for span in roots]
    assert times == sorted(set(times))
    assert all(time.endswith("+00:00") for time in times)


def test_a_flow_that_fails_is_said_and_served_again(spans, caplog):
    again, runs = threading.Event(), []

    @flow
    def shaky():
        runs.append(1)
        if len(runs) == 1:
            raise ValueError("the first time")
        if len(runs) == 2:
            raise SystemExit(3)
        again.set()

    served(Schedule(shaky, every="100ms"), until=again)

    assert [span.attributes["otelflow.run.result"] for span in spans.spans][:3] == ["failure", "failure", "success"]
    (first, second, *_) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert first.startswith("shaky: failure in ")
    assert "ValueError: the first time (" in first
    assert "; next run at " in first
    assert "SystemExit: 3" in second


def test_a_run_that_takes_too_long_makes_others_missed_which_metrics_and_the_next_run_tell(spans):
    done, free, runs = threading.Event(), threading.Event(), []

    @flow
    def long():
        runs.append(1)
        if len(runs) == 1:
            free.wait(_WAIT)
        else:
            done.set()

    timer = threading.Timer(0.45, free.set)
    timer.start()
    served(Schedule(long, every="100ms"), until=done)

    second = spans.spans[1]
    count = second.attributes[semconv.SCHEDULE_MISSED]
    assert count >= 3
    assert missed().get(("long", "overlap"), 0) + missed().get(("long", "late"), 0) >= count


def test_where_no_thread_is_to_be_had_the_run_is_missed_and_the_serving_goes_on(monkeypatch, spans):
    run, refused = threading.Event(), []
    start = threading.Thread.start

    def start_second(thread):
        if thread.name.startswith("otelflow-serve") and not refused:
            refused.append(thread)
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_second)
    served(Schedule(flow(lambda: run.set()), every="100ms", name="tick"), until=run)

    assert missed()["tick", "not_started"] == 1
    assert spans.spans[0].attributes[semconv.SCHEDULE_MISSED] == 1


def test_every_reason_has_a_series_before_anything_is_missed():
    Server([Schedule(flow(lambda: None), every="1h", name="quiet")], 1.0)
    (family,) = (one for one in read(Aggregator().snapshot()) if one.metric.name == semconv.SCHEDULE_MISSED_RUNS)

    assert {sample.labels for sample in family.samples} == {
        ("quiet", reason) for reason in ("overlap", "late", "queue_full", "not_started", "stopped")
    }


def test_an_interval_goes_by_a_clock_that_nobody_sets_and_cron_by_the_one_on_the_wall(monkeypatch):
    nothing = flow(lambda: None)
    interval, cron = (
        _Service(Schedule(nothing, every="1h", name="interval")),
        _Service(Schedule(nothing, cron="0 3 * * *", timezone="UTC", name="cron")),
    )
    before = interval.now()
    monkeypatch.setattr("time.time", lambda: 1_000_000_000.0)

    assert before <= interval.now() < before + _WAIT
    assert cron.now() == 1_000_000_000.0


def test_queued_runs_follow_each_other_and_allowed_ones_run_side_by_side(spans):
    both, order = threading.Barrier(2), []
    met, thrice = threading.Event(), threading.Event()

    @flow
    def beside():
        if not met.is_set():
            both.wait(_WAIT)
            met.set()

    @flow
    def after():
        order.append("begin")
        threading.Event().wait(0.25)
        order.append("end")
        if len(order) >= 6:
            thrice.set()

    served(Schedule(beside, every="100ms", overlap="allow"), until=met)
    served(Schedule(after, every="100ms", overlap="queue"), until=thrice)

    assert order[:6] == ["begin", "end"] * 3
    assert missed()["after", "stopped"] >= 1


def test_async_generator_and_immediate_flows_are_served(spans):
    seen, all_seen = set(), threading.Event()

    def note(word):
        seen.add(word)
        if len(seen) == 6:
            all_seen.set()

    @flow
    async def waits():
        note("async")

    @flow
    def steps():
        yield 1
        note("generator")

    @flow
    async def steps_async():
        yield 1
        note("async generator")

    @flow(execute_on_call=True)
    def at_once():
        note("at once")

    @flow(execute_on_call=True)
    def steps_at_once():
        yield 1
        note("generator at once")

    @flow(execute_on_call=True)
    async def steps_async_at_once():
        yield 1
        note("async generator at once")

    flows = (waits, steps, steps_async, at_once, steps_at_once, steps_async_at_once)
    served(*(Schedule(one, every="1h") for one in flows), until=all_seen)

    assert {span.attributes["otelflow.run.result"] for span in spans.spans} == {"success"}
    assert {span.attributes[semconv.SCHEDULE_NAME] for span in spans.spans} == {
        "waits",
        "steps",
        "steps_async",
        "at_once",
        "steps_at_once",
        "steps_async_at_once",
    }


def test_what_goes_on_after_the_time_to_stop_is_cancelled(spans):
    begun, cleaned = threading.Barrier(3), []
    all_begun = threading.Event()

    @flow
    async def waits():
        import asyncio

        try:
            await asyncio.to_thread(begun.wait, _WAIT)
            await asyncio.sleep(_WAIT)
        finally:
            cleaned.append("async")

    @flow
    def loops():
        import time

        try:
            begun.wait(_WAIT)
            while True:
                time.sleep(0.01)
        finally:
            cleaned.append("sync")

    threading.Thread(target=lambda: (begun.wait(_WAIT), all_begun.set())).start()
    server = served(Schedule(waits, every="1h"), Schedule(loops, every="1h"), until=all_begun, stop_seconds=0.1)

    assert server.cancelled == 2
    assert sorted(cleaned) == ["async", "sync"]
    assert {span.attributes["otelflow.run.result"] for span in spans.spans} == {"cancellation"}


def test_two_schedules_of_one_name_and_none_at_all_are_refused():
    one = flow(lambda: None)

    with pytest.raises(ConfigurationError, match="two schedules of one name: give each a name="):
        serve(Schedule(one, every="1h"), Schedule(one, every="2h"))
    with pytest.raises(ConfigurationError, match="serve\\(\\) needs a Schedule"):
        serve()
    for wrong in (-1, "5", True, float("nan"), None):
        with pytest.raises(ConfigurationError, match="stop_seconds must be a number of seconds"):
            serve(Schedule(one, every="1h"), stop_seconds=wrong)


SERVING = """
import logging, signal, sys, threading, time
from otelflow import flow
logging.basicConfig(level=logging.INFO, format="%(message)s")
from otelflow.serve import Schedule, serve
provider = provide()

@flow
def stubborn():
    print("begun", flush=True)
    threading.Event().wait(60)  # in C: nothing can be raised there

@flow
def short():
    print("begun", flush=True)
    time.sleep(0.5)

if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored, and stays so
chosen = Schedule({"stubborn": stubborn, "short": short}[sys.argv[1]], every="1h")
before = signal.getsignal(signal.SIGTERM)
cancelled = serve(chosen, stop_seconds=float(sys.argv[2]))
print(cancelled, signal.getsignal(signal.SIGTERM) is before)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_after_a_signal_the_run_that_goes_on_may_end(program, number):
    program.start(SERVING, arguments=["short", "30"])
    assert program.line() == "begun"
    program.send(number)

    program.done()
    assert (program.code, program.out) == (0, "0 True\n"), program.err
    assert "short: the serving ends with it, in 30 s at most; a second signal cancels it" in program.err
    assert program.results() == [("flow short", "success")]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_second_signal_ends_at_once_and_what_waits_in_c_is_ended_with_the_process(program):
    program.start(SERVING, arguments=["stubborn", "1000"])
    assert program.line() == "begun"
    program.send(signal.SIGTERM)
    program.send(signal.SIGINT)

    program.done(timeout=30)
    assert (program.code, program.out) == (0, "1 True\n"), program.err
    assert program.results() == [("flow stubborn", "cancellation")]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_process_that_was_stopped_runs_once_and_counts_the_rest_as_missed(program):
    program.start(
        """
import time
from otelflow import flow
from otelflow.serve import Schedule, serve
provider = provide(at_once=True)

@flow
def tick():
    print("tick", flush=True)

serve(Schedule(tick, every="200ms"))
"""
    )
    assert program.line() == "tick"
    program.send(signal.SIGSTOP)
    threading.Event().wait(1.5)
    program.send(signal.SIGCONT)
    for _ in range(3):
        assert program.line() == "tick"
    program.send(signal.SIGTERM)

    program.done()
    counts = [span.attributes.get(semconv.SCHEDULE_MISSED, 0) for span in program.spans]
    assert max(counts) >= 4
    assert "tick: " in program.err
    assert "runs missed, since their time had passed" in program.err


def test_a_flow_that_waits_for_its_futures_is_cancelled_without_them(spans):
    began, gate, has_ended = threading.Event(), threading.Event(), threading.Event()

    @task
    def slow(number):
        began.set()
        gate.wait(15)
        has_ended.set()
        return number

    @flow
    def waits():
        return slow.map([1, 2]).result()

    server = served(Schedule(waits, every="1h"), until=began, stop_seconds=0.1)

    assert server.cancelled == 1
    assert not has_ended.is_set()
    assert spans.one("flow waits").attributes["otelflow.run.result"] == "cancellation"
    gate.set()
    assert has_ended.wait(_WAIT)


def test_a_handler_that_raises_stops_no_serving(monkeypatch):
    class Raising(logging.Handler):
        def handle(self, record):
            raise RuntimeError("no disk")

    monkeypatch.setattr(logging.getLogger("otelflow.serve"), "handlers", [Raising(logging.DEBUG)])
    monkeypatch.setattr(logging.getLogger("otelflow.serve"), "level", logging.DEBUG)
    thrice, runs = threading.Event(), []

    @flow
    def shaky():
        runs.append(1)
        if len(runs) == 3:
            thrice.set()
        if len(runs) == 2:
            raise ValueError("the second time")

    served(Schedule(shaky, every="100ms"), until=thrice)

    assert len(runs) >= 3
