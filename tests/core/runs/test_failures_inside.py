"""A failure that stays inside is heard of: one line in the log, also of a program that has configured nothing."""

import logging

import pytest

from otelflow import Flow_Run__Config, flow, task
from support.programs import python


@task(raise_on_error=False)
def fails():
    raise ValueError("password=hunter2secret1")


@pytest.mark.parametrize("level", [logging.INFO, logging.DEBUG])
def test_each_failure_is_one_error_with_name_and_reason(spans, caplog, level):
    caplog.set_level(level, "otelflow")

    @flow(flow_config=Flow_Run__Config(raise_flow_error=False))
    def lenient():
        fails()
        fails()
        raise KeyError("rows")

    lenient().execute()

    records = [record for record in caplog.records if record.name == "otelflow" and record.levelno > logging.DEBUG]
    assert [record.levelname for record in records] == ["ERROR"] * 3
    assert "task 'fails': ValueError" in records[0].getMessage()
    assert "hunter2secret1" not in records[0].getMessage()
    assert "flow 'lenient': KeyError: 'rows'" in records[2].getMessage()
    assert [bool(record.exc_info) for record in records] == [level == logging.DEBUG] * 3


def test_an_exception_without_a_text_is_said_by_its_type(spans, caplog):
    @task(raise_on_error=False)
    def mute():
        raise NotImplementedError

    @flow(flow_config=Flow_Run__Config(raise_flow_error=False))
    def lenient(this_flow):
        mute()
        this_flow.add_flow_artifact(key="reason", data=NotImplementedError())
        raise NotImplementedError

    run = lenient().execute()

    said = [record.getMessage() for record in caplog.records if record.name == "otelflow"]
    assert said == [
        "Error executing task 'mute': NotImplementedError (it stays inside: raise_on_error=False)",
        "Error executing flow 'lenient': NotImplementedError (it stays inside: raise_flow_error=False)",
    ]
    assert run.artifacts[0].data == "NotImplementedError"
    assert {"Error executing 'mute' task: NotImplementedError", "Error executing flow: NotImplementedError"} <= {
        line.plain_text for line in run.log
    }


def test_what_comes_out_is_not_logged(spans, caplog):
    @flow
    def strict():
        raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        strict().execute()

    assert [record for record in caplog.records if record.name == "otelflow"] == []


def test_a_program_that_configured_nothing_hears_of_it_on_stderr(tmp_path):
    program = """
    from otelflow import task
    @task(raise_on_error=False)
    def load(): raise OSError("disk full")
    print(load())
    """

    done = python(program, cwd=tmp_path)

    assert done.stdout == "None\n"
    assert done.stderr == "Error executing task 'load': OSError: disk full (it stays inside: raise_on_error=False)\n"


def test_a_handler_that_raises_does_not_break_the_program(spans):
    class Broken(logging.Handler):
        def emit(self, record):
            raise RuntimeError("handler")

    handler = Broken()
    logging.getLogger("otelflow").addHandler(handler)
    try:
        assert fails() is None
    finally:
        logging.getLogger("otelflow").removeHandler(handler)
