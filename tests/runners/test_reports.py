"""What a worker hears of the runs of an order, each with what happened in it, is the report of that order."""

import pytest

from otelflow import flow, get_run_logger, task
from otelflow._core.runs import observers
from otelflow.runners._reports import Record, Recorder


@task
def work(number):
    get_run_logger().info("work %s", number)
    return number


@task(retries=1)
def shaky():
    get_run_logger().info("try it")
    raise LookupError("no")


@flow
def carrier():
    """The stand-in of a flow, in whose block an order is carried out."""


@pytest.fixture
def recorder():
    recorder = Recorder()
    observers.add_observer(recorder)
    return recorder


def record_of(recorder, body):
    stand_in = carrier()
    record = recorder.records[id(stand_in)] = Record()
    with stand_in:
        body()
    del recorder.records[id(stand_in)]
    return record


def texts(entries):
    return [entry.body for entry in entries]


def test_each_run_is_there_with_what_happened_in_it_the_inner_one_first(recorder, spans):
    @task
    def outer():
        work(1)
        get_run_logger().info("outer")

    record = record_of(recorder, outer)

    (inner, said_inside), (around, said_around) = record.runs
    assert [(run.kind, run.task_name, run.result, run.error) for run in (inner, around)] == [
        ("task", "work", "success", None),
        ("task", "outer", "success", None),
    ]
    assert (texts(said_inside), texts(said_around)) == (["work 1"], ["outer"])
    context = spans.one("task work").context
    assert (inner.trace_id, inner.span_id) == (context.trace_id, context.span_id)
    assert (record.entries, record.attempts, record.late_entries) == ({}, {}, [])


def test_attempts_belong_to_the_run_that_was_tried(recorder, spans):
    def fails():
        with pytest.raises(LookupError):
            shaky()

    record = record_of(recorder, fails)

    ((run, entries),) = record.runs
    assert [(attempt.result, type(attempt.error)) for attempt in run.attempts] == [("failure", LookupError)] * 2
    assert texts(entries) == ["try it", "try it"]


def test_without_spans_a_run_has_no_ids(recorder):
    record = record_of(recorder, lambda: work(1))

    ((run, _),) = record.runs
    assert (run.trace_id, run.span_id, run.flags) == (0, 0, 0)


def test_what_belongs_to_no_order_is_not_kept(recorder):
    stand_in = carrier()
    record = recorder.records[id(stand_in)] = Record()
    with stand_in:
        pass
    work(1)
    carrier().execute()

    assert record.runs == []


def test_what_a_run_says_after_its_end_is_late(recorder):
    loggers = []

    @task
    def leaves():
        loggers.append(get_run_logger())

    def says_later():
        leaves()
        loggers[0].info("late")

    record = record_of(recorder, says_later)

    assert texts(record.late_entries) == ["late"]
