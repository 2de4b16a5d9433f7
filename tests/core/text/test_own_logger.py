import ast
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import otelflow
import otelflow_exporters
from otelflow import Flow_Run__Config, flow, task
from otelflow._core.process import losses
from otelflow._core.text.own_logger import LINES_VARIABLE, log, own_logger

HOSTILE = "a\x1b]0;title\x07b\r\n2026-01-01 ERROR forged\u202e\u2028c\U000e0068d"
CLEANED = "ab 2026-01-01 ERROR forgedcd"


@pytest.fixture
def logger():
    logger = own_logger("otelflow.test")
    yield logger
    logger.filters.clear()


def test_an_argument_controls_no_terminal_and_begins_no_line(logger, caplog):
    logger.warning("%s and %s: %d of %.1f", HOSTILE, ValueError(HOSTILE), 3, 4.5)

    assert caplog.messages == [f"{CLEANED} and {CLEANED}: 3 of 4.5"]


def test_the_arguments_may_have_names(logger, caplog):
    logger.warning("%(who)s: %(count)03d", {"who": HOSTILE, "count": 3})

    assert caplog.messages == [f"{CLEANED}: 003"]


def test_a_number_stays_a_number(logger, caplog):
    logger.warning("%d of %r", 3, 4.5)

    assert caplog.records[0].args == (3, 4.5)


def test_an_argument_that_cannot_be_shown_is_no_reason_not_to_log(logger, caplog):
    class Unreadable(Exception):
        def __str__(self):
            raise RuntimeError

    logger.warning("%s is wrong", Unreadable())

    assert caplog.messages == ["<Unreadable: str() raised RuntimeError> is wrong"]


def test_a_part_of_a_sentence_keeps_its_blanks(logger, caplog):
    logger.warning("It is lost%s: %s", " (by  now)", "")

    assert caplog.messages == ["It is lost (by  now): "]


def test_a_long_argument_is_cut(logger, caplog):
    logger.warning("%s", "x" * 30_000)

    assert len(caplog.messages[0]) < 10_100


@pytest.mark.parametrize(("length", "end"), [(10_000, "x"), (10_001, "…")])
def test_of_an_argument_ten_thousand_characters_stay(logger, caplog, length, end):
    logger.warning("%s", "x" * length)

    assert caplog.messages == ["x" * 10_000 + end.replace("x", "")]


def test_of_a_traceback_a_hundred_thousand_characters_stay(logger, caplog):
    try:
        raise ValueError("x" * 200_000)
    except ValueError:
        logger.warning("it failed", exc_info=True)

    trace = "\n".join(line.removeprefix("    ") for line in caplog.records[0].exc_text.splitlines())
    assert (len(trace), trace[-2:]) == (100_001, "x…")


def test_a_traceback_is_cleaned_redacted_and_indented(logger, caplog):
    try:
        raise ValueError(f"{HOSTILE} password=hunter2")
    except ValueError:
        logger.warning("it failed", exc_info=True)

    lines = caplog.text.splitlines()[1:]
    assert lines[0] == "    Traceback (most recent call last):"
    assert all(line.startswith("    ") for line in lines)
    assert lines[-2:] == ["    ValueError: ab", "    2026-01-01 ERROR forgedcd password=[redacted]"]
    assert "\x1b" not in caplog.text


def test_exc_info_outside_of_any_exception_is_no_traceback(logger, caplog):
    logger.warning("it failed", exc_info=(None, None, None))

    assert caplog.records[0].getMessage() == "it failed"


def test_a_failure_that_stays_inside_is_logged_on_one_line(caplog):
    @task(raise_on_error=False)
    def fails():
        raise ValueError(HOSTILE)

    @flow(flow_config=Flow_Run__Config(raise_flow_error=False))
    def fails_too():
        fails()
        raise ValueError(HOSTILE)

    fails_too().execute()

    assert caplog.messages == [
        f"Error executing task 'fails': ValueError: {CLEANED} (it stays inside: raise_on_error=False)",
        f"Error executing flow 'fails_too': ValueError: {CLEANED} (it stays inside: raise_flow_error=False)",
    ]


def test_a_warning_of_a_loss_cannot_be_forged_either(caplog):
    losses.warn_once("key", "%s raised", HOSTILE, error=ValueError(HOSTILE))

    assert caplog.messages == [f"{CLEANED} raised"]
    assert "\x1b" not in caplog.text
    assert "\n2026" not in caplog.text


def test_whatever_of_ours_logs_does_it_by_such_a_logger():
    places = [Path(package.__file__).parent for package in (otelflow, otelflow_exporters)]
    sources = {path: path.read_text("utf-8") for place in places for path in place.rglob("*.py")}
    loggers = {
        f"{path.name}: {call}"
        for path, text in sources.items()
        for call in re.findall(r"logging\.(?:getLogger\([^)]*\)|(?:debug|info|warning|error|exception)\()", text)
    }

    assert loggers == {  # those of users, and of OpenTelemetry
        "own_logger.py: logging.getLogger(name)",
        "_configurator.py: logging.getLogger(_LOADER)",
        "_console.py: logging.getLogger(name)",
        "log_capture.py: logging.getLogger()",
        "log_capture.py: logging.getLogger(_RUN_LOGGER)",
        'log_capture.py: logging.getLogger(None if name == "root" else name)',
        'future.py: logging.getLogger("concurrent.futures")',  # the standard library's, which tells of callbacks
        'serve.py: logging.getLogger("otelflow.serve")',  # whose lines the terminal shows
        '_requests.py: logging.getLogger("otelflow")',  # this very logger, by public names
    }
    assert isinstance(losses.logger.filters[0], logging.Filter)


def test_what_a_handler_raises_stays_there_and_a_record_names_the_place_that_logs(logger, caplog):
    class Broken(logging.Handler):
        def emit(self, record):
            raise ZeroDivisionError(record.getMessage())

    handler = Broken()
    logger.addHandler(handler)
    try:
        log(logger, logging.WARNING, "said")
    finally:
        logger.removeHandler(handler)
    log(logger, logging.WARNING, "said %s", "twice", error=ValueError("why"))

    assert caplog.messages[-1] == "said twice"
    assert "ValueError: why" in caplog.text
    assert caplog.records[-1].filename == Path(__file__).name


LEVELS = ("debug", "info", "warning", "error", "exception", "critical", "log")


def test_whatever_of_ours_logs_does_it_where_no_handler_can_reach_the_program():
    places = [Path(package.__file__).parent for package in (otelflow, otelflow_exporters)]
    calls = {
        f"{path.name}: {ast.unparse(node.func)}"
        for place in places
        for path in place.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS
        if "logger" in ast.unparse(node.func.value)
    }

    assert calls == {
        "own_logger.py: logger.log",  # this is the one place
        "_requests.py: _logger.exception",  # which may import public names only, and sees to it itself
    }


class BrokenHandler(logging.Handler):
    def emit(self, record):
        raise ZeroDivisionError(record.getMessage())


class BrokenFilter(logging.Filter):
    def filter(self, record):
        raise ZeroDivisionError(record.getMessage())


@pytest.mark.parametrize("broken", ["handler", "filter"])
def test_a_broken_handler_or_filter_of_the_program_costs_no_run(broken, spans):
    logger, handler, broken_filter = losses.logger, BrokenHandler(), BrokenFilter()
    if broken == "handler":
        logger.addHandler(handler)
    else:
        logger.addFilter(broken_filter)
    level = logger.level
    logger.setLevel(logging.DEBUG)

    @task(retries=1, raise_on_error=False)
    def fails():
        raise ValueError("no")

    @flow(flow_config=Flow_Run__Config(raise_flow_error=False))
    def goes_on():
        fails()
        fails.submit().wait()
        return 42

    try:
        run = goes_on().execute()
    finally:
        logger.removeHandler(handler)
        logger.removeFilter(broken_filter)
        logger.setLevel(level)

    assert run.flow_return_value == 42
    assert len(spans.named("task fails")) == 2


PROGRAM = """
import multiprocessing, sys
from otelflow import task

@task(raise_on_error=False)
def fail():
    raise ValueError("no")

if __name__ == "__main__":
    for method in ("spawn", "fork"):
        process = multiprocessing.get_context(method).Process(target=fail)
        process.start()
        process.join()
"""
LINE = "Error executing task 'fail': ValueError: no (it stays inside: raise_on_error=False)"


@pytest.mark.skipif(sys.platform == "win32", reason="fork")
@pytest.mark.parametrize(("variables", "prefix"), [({}, ""), ({LINES_VARIABLE: "on"}, "otelflow: ")])
def test_a_worker_of_the_command_line_writes_lines_as_the_command_line_does(tmp_path, variables, prefix):
    (tmp_path / "program.py").write_text(PROGRAM)

    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != LINES_VARIABLE} | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert done.stderr.splitlines() == [prefix + LINE] * 2
