"""Loggers: the run's own, and captured ones; what the application's logging shows stays as it is."""

import contextvars
import logging
import re
import sys
import time

import pytest

from otelflow import Flow_Run__Config, flow, get_run_logger
from otelflow._core.inside import log_capture
from otelflow._core.process import losses, process
from otelflow._core.runs import observers
from otelflow._core.runs.endings import SUCCESS
from otelflow._core.runs.engine import close_run
from support.flows import opened, run_of
from support.programs import python


@pytest.fixture
def no_handlers(monkeypatch):
    """Call it to have logging as a program has it that does not configure it: pytest's handlers are aside."""

    def clear():
        monkeypatch.setattr(logging.getLogger(), "handlers", [])

    return clear


@pytest.fixture
def app_handler():
    records = []

    class Handler(logging.Handler):
        def emit(self, record):
            records.append(record.getMessage())

    handler = Handler()
    logging.getLogger().addHandler(handler)
    yield records
    logging.getLogger().removeHandler(handler)


def said(run):
    return [(line.level, line.plain_text) for line in run.log if line.level != 10 or "run '" not in line.plain_text]


def test_the_run_logger_writes_messages_of_every_level_with_the_records_time():
    def body():
        logger = get_run_logger()
        for level in (10, 20, 30, 40, 50, 25):
            logger.log(level, "level %d", level)

    run = run_of(body)

    assert said(run) == [(level, f"level {level}") for level in (10, 20, 30, 40, 50, 25)]


def test_the_run_logger_is_an_ordinary_logger_outside_a_run(app_handler, capsys):
    get_run_logger().warning("outside")
    get_run_logger().info("below the root's level")

    assert app_handler == ["outside"]
    assert capsys.readouterr().err == ""


def test_without_any_handler_the_run_logger_shows_what_logging_would(capsys, no_handlers):
    no_handlers()
    run = run_of(lambda: (get_run_logger().warning("seen"), get_run_logger().info("not seen")))

    assert capsys.readouterr().err == "seen\n"
    assert said(run)[:2] == [(30, "seen"), (20, "not seen")]


def test_the_run_logger_survives_a_configuration_that_disables_other_loggers():
    get_run_logger().disabled = True  # as logging.config.dictConfig() does

    run = run_of(lambda: get_run_logger().info("still here"))

    assert (20, "still here") in said(run)


def test_arguments_that_do_not_fit_their_format_are_shown_as_they_are(app_handler, monkeypatch):
    monkeypatch.setattr(logging, "raiseExceptions", False)
    monkeypatch.setattr(logging.getLogger().handlers[0], "emit", lambda record: None)

    run = run_of(lambda: get_run_logger().info("%d apples", "two"))

    assert (20, "%d apples") in said(run)


@pytest.mark.parametrize("captured", ["app", "root", "app,root", "app,app.db,root"])
def test_a_captured_logger_becomes_messages_once_and_is_shown_as_before(monkeypatch, app_handler, captured):
    monkeypatch.setenv("OTELFLOW_CAPTURE_LOGGERS", captured)

    def body():
        logging.getLogger("app.db").warning("slow query")
        get_run_logger().warning("mine")

    run = run_of(body)

    assert [message for message in said(run) if message[0] == 30] == [(30, "slow query"), (30, "mine")]
    assert app_handler == ["slow query", "mine"]


@pytest.fixture
def handled():
    """Call it with the name of a logger that shows its records on stderr."""
    loggers = []

    def handle(name):
        logger = logging.getLogger(None if name == "root" else name)
        handler = logging.StreamHandler(sys.stderr)
        logger.addHandler(handler)
        loggers.append((logger, handler))

    yield handle
    for logger, handler in loggers:
        logger.removeHandler(handler)


@pytest.mark.parametrize("level", [logging.INFO, logging.WARNING])
@pytest.mark.parametrize("propagates", [True, False])
@pytest.mark.parametrize("place", ["app.db", "app", "root", None])
def test_a_captured_record_is_on_the_console_once_whoever_shows_it(
    monkeypatch, capsys, no_handlers, handled, place, propagates, level
):
    no_handlers()
    monkeypatch.setenv("OTELFLOW_CAPTURE_LOGGERS", "app.db")
    logger = logging.getLogger("app.db")
    monkeypatch.setattr(logger, "propagate", propagates)
    monkeypatch.setattr(logger, "level", logging.INFO)
    if place is not None:
        handled(place)

    run = run_of(lambda: logger.log(level, "a record"), flow_config=Flow_Run__Config(log_to_console=True))

    assert capsys.readouterr().err.splitlines().count("a record") == 1
    assert said(run).count((level, "a record")) == 1


def test_a_program_that_wants_no_last_resort_has_none(monkeypatch, capsys, no_handlers):
    no_handlers()
    monkeypatch.setattr(logging, "lastResort", None)

    run = run_of(lambda: get_run_logger().warning("kept"))

    assert capsys.readouterr().err == ""
    assert said(run)[0] == (30, "kept")


def test_the_run_logger_passes_a_record_to_the_application_once_from_its_first_use_on(monkeypatch, app_handler):
    logger = logging.getLogger("otelflow.run")
    monkeypatch.delitem(vars(logger), "callHandlers", raising=False)
    logger.setLevel(logging.ERROR)

    run = run_of(lambda: (get_run_logger().warning("first"), get_run_logger().debug("second")))

    assert app_handler == ["first"]
    assert said(run)[:2] == [(30, "first"), (10, "second")]


def test_the_run_logger_says_that_it_propagates_for_what_hangs_its_handlers_on_all_others():
    get_run_logger()

    assert logging.getLogger("otelflow.run").propagate


def test_a_library_that_has_wrapped_what_lets_handlers_have_records_is_told_once_also_without_a_handler(
    monkeypatch, capsys, no_handlers
):
    no_handlers()
    records = []
    original = logging.Logger.callHandlers

    def wrapped(logger, record):
        records.append(record.getMessage())
        original(logger, record)

    monkeypatch.setattr(logging.Logger, "callHandlers", wrapped)
    run = run_of(lambda: get_run_logger().warning("told"))

    assert records == ["told"]
    assert capsys.readouterr().err == "told\n"
    assert said(run)[0] == (30, "told")


def test_a_handler_of_the_run_logger_itself_gets_what_its_level_lets_through():
    shown = []

    class Handler(logging.Handler):
        def emit(self, record):
            shown.append(record.getMessage())

    handler = Handler(logging.INFO)
    logging.getLogger("otelflow.run").addHandler(handler)
    try:
        run_of(lambda: (get_run_logger().debug("low"), get_run_logger().info("high")))
    finally:
        logging.getLogger("otelflow.run").removeHandler(handler)

    assert shown == ["high"]


def test_ctrl_c_while_a_record_is_made_text_comes_out(monkeypatch, no_handlers):
    class Slow:
        def __str__(self):
            raise KeyboardInterrupt

    no_handlers()
    monkeypatch.setenv("OTELFLOW_CAPTURE_LOGGERS", "app")

    with pytest.raises(KeyboardInterrupt):
        run_of(lambda: logging.getLogger("app").warning("%s", Slow()))
    with pytest.raises(KeyboardInterrupt):
        run_of(lambda: get_run_logger().info("%s", Slow()))


def test_a_logger_that_nobody_asked_for_is_no_message(app_handler):
    run = run_of(lambda: logging.getLogger("app").warning("x"))

    assert "x" not in [text for _, text in said(run)]


def test_capturing_does_not_silence_a_program_without_handlers(monkeypatch, capsys, no_handlers):
    no_handlers()
    monkeypatch.setenv("OTELFLOW_CAPTURE_LOGGERS", "root")

    run = run_of(lambda: (logging.getLogger("app").warning("seen"), logging.getLogger("app").info("not seen")))

    assert capsys.readouterr().err == "seen\n"
    assert said(run)[0] == (30, "seen")


def test_a_captured_logger_outside_a_run_is_nobodys_message(monkeypatch, app_handler):
    monkeypatch.setenv("OTELFLOW_CAPTURE_LOGGERS", "root")
    run_of(lambda: None)

    logging.getLogger("app").warning("outside")

    assert app_handler == ["outside"]


def test_a_new_configuration_of_logging_does_not_end_the_capture(monkeypatch, no_handlers):
    no_handlers()
    monkeypatch.setenv("OTELFLOW_CAPTURE_LOGGERS", "root")
    run_of(lambda: None)
    logging.getLogger().handlers.clear()

    run = run_of(lambda: logging.getLogger("app").warning("heard"))

    assert said(run)[0] == (30, "heard")


def test_what_otelflow_itself_complains_about_is_no_message_of_a_run(monkeypatch):
    monkeypatch.setenv("OTELFLOW_CAPTURE_LOGGERS", "root,otelflow")

    run = run_of(lambda: logging.getLogger("otelflow").warning("about telemetry"))

    assert "about telemetry" not in [text for _, text in said(run)]


def test_log_to_console_shows_what_nobody_else_shows(capsys, app_handler):
    def body(this_flow):
        print("printed")
        this_flow.log_info("told")
        get_run_logger().warning("shown by the application")
        get_run_logger().info("shown by nobody")

    run_of(body, flow_config=Flow_Run__Config(log_to_console=True))

    captured = capsys.readouterr()
    assert captured.out == "printed\n"
    lines = captured.err.splitlines()
    assert "told" in lines
    assert "shown by nobody" in lines
    assert "printed" not in lines
    assert "shown by the application" not in lines


def test_basic_config_in_the_main_program_works_although_a_logger_is_captured(tmp_path):
    program = """
        import logging
        from otelflow import flow
        logging.basicConfig(format="%(levelname)s:%(message)s", level="INFO")
        @flow
        def body():
            logging.getLogger("app").info("shown")
            return 1
        body().execute()
    """
    done = python(program, options=(), check=True, OTELFLOW_CAPTURE_LOGGERS="root")

    assert done.stderr == "INFO:shown\n"


def test_an_exception_that_is_logged_stands_in_the_message_with_where_it_came_from(spans):
    @flow
    def careful():
        try:
            int("x")
        except ValueError:
            get_run_logger().exception("could not load")

    careful().execute()

    (message,) = spans.one("flow careful").events
    text = message.attributes["otelflow.message.text"]
    assert text.startswith("could not load\nTraceback (most recent call last):")
    assert text.endswith(("'x'\n", "'x'"))
    assert "in careful" in text


def test_only_the_loggers_that_are_named_now_are_captured_until_the_process_is_a_fresh_one():
    app, other = logging.getLogger("app"), logging.getLogger("other")
    log_capture.capture(["app"])
    log_capture.capture(["other"])
    captured = [log_capture._capture.names, log_capture._capture in observers.observed.observers]
    process.reset()
    after = [log_capture._capture.names, log_capture._capture in observers.observed.observers]
    log_capture.capture(["app"])
    log_capture.capture([])

    assert captured == [{"other"}, True]
    assert after == [set(), False]
    assert app.handlers == other.handlers == []
    assert log_capture._capture not in observers.observed.observers
    assert logging.Logger.callHandlers.__module__ == "logging"


def test_a_run_captures_what_a_configuration_has_let_go_of_while_another_run_is_open(monkeypatch, no_handlers):
    no_handlers()
    monkeypatch.setenv("OTELFLOW_CAPTURE_LOGGERS", "root")
    elsewhere = contextvars.copy_context().run(opened)
    logging.getLogger().handlers.clear()

    run = run_of(lambda: logging.getLogger("app").warning("heard"))
    close_run(elsewhere, SUCCESS)

    assert said(run)[0] == (30, "heard")


QUIET_PROGRAM = """
import logging, sys
import otelflow
from otelflow import flow
otelflow.configure(store=True)
@flow
def body():
    logging.getLogger("shop").info("for the record")
    logging.getLogger("shop.db").debug("too fine")
    {body}
    logging.getLogger("shop").info("after it")
    logging.getLogger("shop").warning("seen")
run = body().execute()
print([line.plain_text for line in run.flow_state.lines if line.level != 10])
"""


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ("pass", "seen\n"),
        ("logging.basicConfig()", "WARNING:shop:seen\n"),
        ("logging.basicConfig(level='INFO')", "INFO:shop:after it\nWARNING:shop:seen\n"),
        ("logging.warning('to the root')", "WARNING:root:to the root\nWARNING:shop:seen\n"),
        ("logging.getLogger('shop').addHandler(logging.StreamHandler())", "seen\n"),
    ],
)
def test_from_info_on_everything_is_recorded_and_the_program_shows_what_it_would_show_without(body, shown, tmp_path):
    traced, plain = (
        python(
            QUIET_PROGRAM.format(body=body),
            cwd=tmp_path,
            OTELFLOW_STORE=tmp_path / "store",
            OTELFLOW_CAPTURE_LOGGERS=name,
        )
        for name in ("root", "off")
    )

    account = re.compile(r"^INFO:otelflow.*\n", re.MULTILINE)  # what became of the telemetry, said at the end
    assert account.sub("", traced.stderr) == account.sub("", plain.stderr) == shown
    recorded = ["for the record", "after it", "seen"]
    assert [text for text in recorded if text in traced.stdout] == recorded
    assert "too fine" not in traced.stdout
    assert "for the record" not in plain.stdout


def test_with_message_level_debug_everything_is_recorded(monkeypatch, no_handlers):
    no_handlers()
    monkeypatch.setenv("OTELFLOW_CAPTURE_LOGGERS", "app")
    monkeypatch.setenv("OTELFLOW_MESSAGE_LEVEL", "DEBUG")

    run = run_of(lambda: logging.getLogger("app.db").debug("fine"))

    assert (10, "fine") in said(run)


def test_a_level_that_the_program_sets_meanwhile_counts(monkeypatch, app_handler):
    monkeypatch.setenv("OTELFLOW_CAPTURE_LOGGERS", "app")

    def body():
        logging.getLogger("app").setLevel(logging.ERROR)
        logging.getLogger("app").warning("held back")
        logging.getLogger("app").setLevel(logging.INFO)
        logging.getLogger("app").info("let through")

    run = run_of(body)
    logging.getLogger("app").setLevel(logging.NOTSET)

    assert "held back" not in [text for _, text in said(run)]
    assert app_handler == ["let through"]


def test_when_nothing_is_captured_any_more_logging_is_as_it_was(monkeypatch):
    original, level = logging.Logger.callHandlers, logging.getLogger().level
    log_capture.capture(["root"])
    while_captured = logging.Logger.callHandlers, logging.getLogger().level
    log_capture.capture([])

    assert while_captured[0] is not original
    assert while_captured[1] == logging.INFO
    assert (logging.Logger.callHandlers, logging.getLogger().level) == (original, level)


def test_another_library_that_wraps_logging_as_well_is_left_in_place_and_everything_is_taken_once(
    monkeypatch, app_handler
):
    monkeypatch.setenv("OTELFLOW_CAPTURE_LOGGERS", "root")
    original = logging.Logger.callHandlers
    log_capture.capture(["root"])
    ours = logging.Logger.callHandlers
    theirs = lambda logger, record: ours(logger, record)  # noqa: E731
    monkeypatch.setattr(logging.Logger, "callHandlers", theirs)
    log_capture.capture([])
    kept = logging.Logger.callHandlers

    run = run_of(lambda: logging.getLogger("app").warning("once"))

    log_capture.capture([])
    monkeypatch.setattr(logging.Logger, "callHandlers", original)
    assert kept is theirs
    assert [text for _, text in said(run)].count("once") == 1
    assert app_handler == ["once"]


def test_what_opentelemetry_complains_about_is_no_message(monkeypatch):
    monkeypatch.setenv("OTELFLOW_CAPTURE_LOGGERS", "root")

    run = run_of(lambda: logging.getLogger("opentelemetry.sdk.trace").warning("about a span"))

    assert "about a span" not in [text for _, text in said(run)]


RECORD = {"name": "app", "levelno": logging.WARNING, "levelname": "WARNING", "msg": "from elsewhere"}


@pytest.mark.parametrize("logger", ["app", "otelflow.run"])
@pytest.mark.parametrize("odd", [{"name": None}, {"created": None}, {"created": float("nan")}], ids=str)
def test_a_record_that_was_made_of_a_dict_is_a_message_whatever_it_lacks(monkeypatch, no_handlers, logger, odd):
    monkeypatch.setenv("OTELFLOW_CAPTURE_LOGGERS", "root")
    get_run_logger()
    no_handlers()
    logging.getLogger().addHandler(logging.NullHandler())

    run = run_of(lambda: logging.getLogger(logger).handle(logging.makeLogRecord(RECORD | odd)))

    assert (run.status, run.flow_error) == ("success", None)
    assert [line.plain_text for line in run.log if line.level == logging.WARNING] == ["from elsewhere"]


@pytest.mark.parametrize(("shift", "is_kept"), [(-3_600, False), (3_600, False), (0, True)])
def test_the_time_of_a_record_is_that_of_its_message_when_it_lies_within_the_run(
    monkeypatch, no_handlers, shift, is_kept
):
    monkeypatch.setenv("OTELFLOW_CAPTURE_LOGGERS", "root")
    no_handlers()
    logging.getLogger().addHandler(logging.NullHandler())
    times = []

    def body():
        times.append(time.time() + shift)
        time.sleep(0.01)
        logging.getLogger("app").handle(logging.makeLogRecord(RECORD | {"created": times[0]}))

    run = run_of(body)

    (line,) = [line for line in run.log if line.plain_text == "from elsewhere"]
    assert run.started_ns <= line.time_ns <= run.ended_ns
    assert (abs(line.time_ns / 1e9 - times[0]) < 0.001) is is_kept


def test_a_record_that_does_not_know_its_exception_is_a_message(monkeypatch, no_handlers):
    monkeypatch.setenv("OTELFLOW_CAPTURE_LOGGERS", "root")
    no_handlers()
    logging.getLogger().addHandler(logging.NullHandler())

    run = run_of(lambda: logging.getLogger("app").handle(logging.makeLogRecord(RECORD | {"exc_info": True})))

    assert run.status == "success"
    assert (logging.WARNING, "from elsewhere") in said(run)


def test_a_record_without_a_level_is_counted_and_raises_nothing(monkeypatch, no_handlers):
    monkeypatch.setenv("OTELFLOW_CAPTURE_LOGGERS", "root")
    no_handlers()
    monkeypatch.setattr(logging, "lastResort", None)
    before = losses.dropped["messages", "failed"]

    run = run_of(lambda: logging.getLogger("app").handle(logging.makeLogRecord({"msg": "from elsewhere"})))

    assert run.status == "success"
    assert losses.dropped["messages", "failed"] == before + 1


def test_a_record_of_a_class_that_takes_no_weak_reference_is_a_message(monkeypatch, no_handlers):
    class Record:
        __slots__ = ("args", "created", "exc_info", "levelno", "msg", "name")

        def getMessage(self):  # noqa: N802
            return self.msg

    record = Record()
    record.name, record.levelno, record.msg, record.args, record.created = "app", logging.WARNING, "small", (), 0.0
    record.exc_info = None
    monkeypatch.setenv("OTELFLOW_CAPTURE_LOGGERS", "root")

    no_handlers()
    logging.getLogger().addHandler(logging.NullHandler())

    run = run_of(lambda: logging.getLogger("app").callHandlers(record))

    assert [text for _, text in said(run)].count("small") == 1
