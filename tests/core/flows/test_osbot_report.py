"""A flow's run as plain data, in the shapes and words that existing code reads."""

import copy
import datetime as dt
import decimal
import gc
import json
import logging
import math
import pickle
import weakref

import pytest

from otelflow import Flow, Flow_Run__Config, flow, task
from support.flows import total


def test_durations_have_their_shapes():
    run = total(1).execute()

    short, long, output = run.durations(), run.durations__with_tasks_status(), run.flow_output()
    assert list(short) == ["flow_name", "flow_duration", "flow_status", "flow_tasks"]
    assert (short["flow_name"], short["flow_status"], list(short["flow_tasks"])) == ("total", "completed", ["add"])
    assert short["flow_duration"] >= short["flow_tasks"]["add"] > 0
    assert long["flow_tasks"] == {
        1: {"task_name": "add", "task_duration": short["flow_tasks"]["add"], "task_status": "completed"}
    }
    assert output == {"output": 2, "durations": short}


@pytest.mark.parametrize(
    ("error", "words"),
    [(ValueError, ("failed", "failed")), (KeyboardInterrupt, ("stopped", "stopped")), (None, ("completed",) * 2)],
)
def test_the_status_words_are_the_known_ones(error, words):
    @task()
    def may_fail():
        if error is not None:
            raise error("x")

    run = flow()(lambda: may_fail())()
    if error is None:
        run.execute()
    else:
        with pytest.raises(error):
            run.execute()

    durations = run.durations__with_tasks_status()
    assert (durations["flow_status"], durations["flow_tasks"][1]["task_status"]) == words


def test_a_flow_with_a_failed_task_counts_as_failed_in_its_report():
    @task(raise_on_error=False)
    def fails():
        raise ValueError("x")

    run = flow()(lambda: fails())().execute()

    stats = run.flow_stats.stats
    assert (run.status, run.durations()["flow_status"], stats.status) == ("success", "failed", "failed")
    assert (stats.error_message, stats.failed_tasks, stats.total_tasks) == ("At least one task failed", 1, 1)


def test_the_statistics_of_a_flow_are_those_of_the_moment_at_which_they_are_read():
    run = total(1)
    stats = run.flow_stats

    before, _, after = stats.json(), run.execute(), stats.json()
    assert (before["status"], before["total_tasks"], before["duration"]["duration_seconds"]) == (None, 0, 0)
    assert (after["status"], after["total_tasks"], after["failed_tasks"]) == ("completed", 1, 0)
    assert (after["flow_id"], after["flow_name"], after["error_message"]) == (run.flow_id, "total", None)
    assert after["duration"]["duration_seconds"] == run.duration
    (only,) = run.executed_tasks
    assert after["tasks_stats"] == {only.task_id: only.task_stats.json()}


def test_the_logger_of_a_flow_is_one_of_the_standard_library(spans):
    @flow
    def body(this_flow):
        logger = this_flow.logger
        logger.info("%d of %d", 1, 2)
        logger.ok("done")
        logger.critical("on fire")
        try:
            raise ValueError("boom")
        except ValueError:
            logger.exception("no more")

    run = body().execute()

    assert isinstance(run.logger, logging.Logger)
    assert run.log_messages()[1:4] == ["1 of 2", "done", "on fire"]
    assert run.log_messages()[4].startswith("no more\nTraceback")
    assert run.log_messages()[4].endswith("ValueError: boom\n")
    levels = [event.attributes["otelflow.message.severity"] for event in spans.events("flow body")[:4]]
    assert levels == ["INFO", "INFO", "CRITICAL", "ERROR"]


def test_the_logger_decides_where_the_messages_of_its_own_flow_go(capsys):
    config = Flow_Run__Config(log_to_memory=False)
    plain, own = Flow(flow_config=config).setup(pow, 2, 3), Flow(flow_config=config).setup(pow, 2, 3)

    own.logger.add_memory_logger()
    own.logger.add_console_logger()

    assert own.execute().logger.memory_handler_messages() == own.log_messages_with_colors() != []
    assert "Flow return value: 8\n" in capsys.readouterr().err
    assert plain.execute().log_messages() == []
    own.logger.remove_memory_logger()
    assert own.execute().log_messages() == []


def test_a_flow_has_one_logger_and_what_is_set_on_it_stays():
    class Heard(logging.Handler):
        def emit(self, record):
            texts.append(record.getMessage())

    texts = []
    run = Flow().setup(lambda this_flow: [this_flow.logger.info("low"), this_flow.logger.error("high")])
    run.logger.setLevel(logging.ERROR)
    run.logger.addHandler(Heard())
    logger = run.logger
    run.execute()
    other = copy.copy(run)

    assert run.logger is logger
    assert (texts, "high" in run.log_messages(), "low" in run.log_messages()) == (["high"], True, False)
    assert other.logger is not logger
    assert pickle.loads(pickle.dumps(run)).logger is not logger


def test_a_logger_does_not_keep_its_flow():
    run = Flow().setup(pow, 2, 3).execute()
    logger, reference = run.logger, weakref.ref(run)
    gc.disable()
    try:
        del run
        assert reference() is None
    finally:
        gc.enable()
    logger.error("nobody hears this")
    with pytest.raises(ReferenceError, match=r"otelflow\.flow\.pow"):
        logger.memory_handler_messages()


def test_a_running_flow_says_so():
    run = flow()(lambda this_flow: this_flow.durations()["flow_status"])().execute()

    assert run.flow_return_value == "running"


def test_the_report_is_json_whatever_arguments_and_values_are():
    class Odd:
        def __repr__(self):
            raise SystemExit(1)

    @task
    def step(*_, **__):
        return {1, Odd()}

    @flow
    def body(*values, this_flow=None):
        step(*values, at=dt.date(2024, 1, 2))
        this_flow.add_flow_result("odd", Odd())
        return math.nan

    run = body(decimal.Decimal("1.10"), Odd(), 10**5_000, {(1, 2): b"x"}).execute()

    report = json.loads(json.dumps(run.json(), allow_nan=False))
    (only,) = report["flow_data"]["tasks"].values()
    assert only["input_args"][0] == "1.10"
    assert only["input_kwargs"] == {"at": "2024-01-02"}
    assert report["flow_data"]["return_value"] == "NaN"
