"""What travels to a worker and back: it arrives whole, or as an error that names what could not."""

import sys
import threading
import types

import pytest

from otelflow import flow, task
from otelflow.errors import (
    NotPortable,
    UnfillableParameter,
)
from otelflow.runners import ProcessPoolTaskRunner
from support.remote_tasks import (
    KeywordOnly,
    Leaving,
    OnlyThere,
    Refused,
    Unportable,
    double,
    double_later,
    fail_deeply,
    fail_unportably,
    leave_leaving,
    leave_lock,
    leave_unreadable,
)
from support.spans import exceptions, result


def test_futures_are_links_across_processes(spans, runner):
    @flow(task_runner=runner)
    def chain():
        return double.submit(double.submit(1)).result()

    assert chain().execute().flow_return_value == 4
    first, second = spans.named("task double")
    assert [link.context.span_id for link in second.links] == [first.context.span_id]


def test_an_exception_that_cannot_travel_whole_comes_back_with_a_text_for_what_cannot(spans, runner):
    @flow(task_runner=runner)
    def fails():
        return fail_unportably.submit(1).result()

    with pytest.raises(Unportable, match="no 1") as raised:
        fails().execute()

    assert "lock" in raised.value.lock
    assert isinstance(raised.value.__cause__, LookupError)
    assert exceptions(spans) == [("task fail_unportably", "support.remote_tasks.Unportable")]


def test_a_report_that_cannot_be_read_here_is_an_error_and_nobody_waits_for_ever(spans, runner):
    @flow(task_runner=runner)
    def reads():
        return leave_unreadable.submit(1).exception(timeout=60)

    error = reads().execute().flow_return_value
    assert isinstance(error, NotPortable)
    assert "its report cannot be read here (LookupError: only there" in str(error)
    assert result(spans.one("task leave_unreadable")) == "error"


def test_what_leaves_by_sys_exit_when_it_is_written_or_read_is_an_error_of_its_task(spans, runner):
    @flow(task_runner=runner)
    def sends():
        futures = [leave_leaving.submit(where) for where in ("with Ctrl-C", "there", "here")]
        futures += [double.submit(Leaving("there")), double.submit(Leaving("here"))]
        return [str(future.exception(timeout=60)) for future in futures]

    interrupted, unread, unwritten, argument, unsent = sends().execute().flow_return_value
    assert "its report cannot be read here (KeyboardInterrupt" in interrupted
    assert "its report cannot be read here (SystemExit: 3)" in unread
    assert "it returned a Leaving, which cannot be sent back (SystemExit: 3)" in unwritten
    assert "cannot be read there (SystemExit: 3)" in argument
    assert "argument 1 is a Leaving, which cannot be sent" in unsent
    assert [result(span) for span in spans.named("task double")] == ["error", "error"]


def test_what_cannot_be_read_there_is_an_error_of_its_task_on_a_span_of_its_own(spans, monkeypatch):
    module = types.ModuleType("only_here")
    module.only_here = task(lambda: 1, task_name="only_here")
    module.only_here.__module__, module.only_here.__qualname__ = "only_here", "only_here"
    monkeypatch.setitem(sys.modules, "only_here", module)

    @flow(task_runner=ProcessPoolTaskRunner(1, "spawn"))
    def sends():
        return double.submit(OnlyThere()).exception(), module.only_here.submit().exception()

    argument, function = sends().execute().flow_return_value
    assert isinstance(argument, NotPortable)
    assert "cannot be read there (LookupError: only there); send what that process can import" in str(argument)
    assert isinstance(function, ModuleNotFoundError)
    assert result(spans.one("task double")) == "error"
    assert result(spans.one("task only_here")) == "error"


def test_lambdas_travel_where_cloudpickle_is(spans):
    pytest.importorskip("cloudpickle")
    offset = 10

    @task(task_name="local")
    def local(number):
        return number + offset

    @flow(task_runner="processes")
    def maps():
        return local.submit(1).result(), task(lambda number: -number, task_name="minus").submit(3).result()

    assert maps().execute().flow_return_value == (11, -3)
    assert len(spans.named("task local")) == len(spans.named("task minus")) == 1


def test_what_cannot_travel_is_one_error_that_names_task_argument_and_cure(spans):
    lock_maker = task(lambda: threading.Lock(), task_name="lock")

    @flow(task_runner="processes")
    def sends():
        return double.submit(threading.Lock()).exception(), lock_maker.submit().exception()

    argument, value = sends().execute().flow_return_value
    assert isinstance(argument, NotPortable)
    assert str(argument).startswith("task 'double' cannot run in another process: argument 1 is a lock")
    assert isinstance(value, NotPortable)
    assert "task 'lock' cannot run in another process: it returned a lock" in str(value)
    assert result(spans.one("task double")) == "error"
    assert result(spans.one("task lock")) == "failure"


def test_without_cloudpickle_a_lambda_is_an_error_that_names_the_cure(spans, monkeypatch):
    from otelflow.runners import _pickling

    monkeypatch.setattr(_pickling, "has_cloudpickle", lambda: False)

    @flow(task_runner=ProcessPoolTaskRunner(1, "spawn"))
    def sends():
        return task(lambda: 1, task_name="local").submit().exception()

    error = sends().execute().flow_return_value
    assert isinstance(error, NotPortable)
    assert "pip install 'otelflow[processes]'" in str(error)


@pytest.mark.parametrize("function", [double, double_later])
def test_a_call_that_does_not_fit_is_the_same_error_as_in_threads(spans, runner, function):
    @flow(task_runner=runner)
    def misses():
        return function.submit().exception()

    error = misses().execute().flow_return_value
    assert isinstance(error, UnfillableParameter)
    assert "missing a required argument: 'number'" in str(error)
    assert result(spans.one(f"task {function.__name__}")) == "error"


def test_the_rest_of_a_report_arrives_when_a_piece_of_it_cannot_travel(spans, runner):
    @flow(task_runner=runner)
    def leaves():
        return leave_lock.submit(3).result()

    run = leaves()
    with pytest.raises((KeywordOnly, RuntimeError), match="no"):
        run.execute()

    assert [call.status for call in run.executed_tasks] == ["failure"]
    assert "said" in run.captured_logs()
    assert exceptions(spans) == [("task leave_lock", "support.remote_tasks.KeywordOnly")]


def test_an_exception_with_more_causes_than_pickle_can_follow_arrives_without_them(spans, runner):
    @flow(task_runner=runner)
    def fails():
        return fail_deeply.submit(1).exception(timeout=60)

    run = fails().execute()
    assert (type(run.flow_return_value), str(run.flow_return_value)) == (Refused, "no 1")
    assert [call.status for call in run.executed_tasks] == ["failure"]
    assert result(spans.one("task fail_deeply")) == "failure"
