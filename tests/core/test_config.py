"""Settings: what each does, seen from outside, and where its value may come from."""

import re
import subprocess
import sys

import pytest

from otelflow import Flow_Run__Config, flow, flow_events, task
from otelflow import settings as public_settings
from otelflow._core.process import losses, settings
from otelflow.errors import ConfigurationError


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    settings.forget()
    yield
    settings.forget()


@task
def quiet():
    return None


@task
def speak(this_task=None):
    print("hello")
    this_task.log_info("told")
    return 1


@flow
def plain():
    speak()
    quiet()
    return 2


def run_with(**fields):
    plain_flow = plain()
    plain_flow.flow_config = Flow_Run__Config(**fields)
    return plain_flow.execute()


def failing(**fields):
    @flow(flow_config=Flow_Run__Config(**fields))
    def fails():
        raise ValueError("boom")

    return fails()


def test_add_task_to_self_keeps_the_tasks():
    on, off = run_with(add_task_to_self=True), run_with(add_task_to_self=False)

    assert [one.task_name for one in on.executed_tasks] == ["speak", "quiet"]
    assert len(off.executed_tasks) == 0


def test_log_to_console_writes_each_message_to_stderr_as_it_comes(capsys):
    run_with(log_to_console=False)
    off = capsys.readouterr()
    run_with(log_to_console=True)
    on = capsys.readouterr()

    assert (off.out, off.err) == ("hello\n", "")
    assert on.out == "hello\n"
    assert "told\n" in on.err
    assert "hello" not in on.err


def test_log_to_memory_keeps_the_messages(spans):
    on, off = run_with(log_to_memory=True), run_with(log_to_memory=False)

    assert "told" in on.captured_logs()
    assert off.captured_logs() == []
    assert [span.events[1].attributes["otelflow.message.text"] for span in spans.named("task speak")] == ["told"] * 2


def test_logging_enabled_switches_all_messages_off(spans):
    heard = []
    flow_events.event_listeners.append(heard.append)
    try:
        off = run_with(logging_enabled=False)
    finally:
        flow_events.event_listeners.remove(heard.append)

    assert off.captured_logs() == []
    assert spans.messages("task speak") == []
    assert "flow_message" not in {event.event_type.value for event in heard}


def test_print_logs_prints_the_messages_at_the_end(capsys):
    run_with(print_logs=True)

    printed = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)
    assert printed.startswith("hello\nCreated flow run")
    assert printed.count("hello\n") == 2
    assert printed.rstrip().endswith("Flow return value: 2")


def test_print_none_return_value_has_a_message_for_none():
    on, off = run_with(print_none_return_value=True), run_with(print_none_return_value=False)

    assert "Task return value: None" in on.captured_logs()
    assert "Task return value: None" not in off.captured_logs()


def test_print_finished_message_has_a_message_for_each_end():
    on, off = run_with(print_finished_message=True), run_with(print_finished_message=False)

    assert "Finished task 'speak'" in on.captured_logs()
    assert f"Finished flow run '{on.flow_id}'" in on.captured_logs()
    assert not [text for text in off.captured_logs() if text.startswith("Finished")]


def test_print_error_stack_trace_writes_the_traceback_to_stderr(capsys):
    for wanted in (True, False):
        with pytest.raises(ValueError, match="boom"):
            failing(print_error_stack_trace=wanted).execute()

    assert capsys.readouterr().err.count("ValueError: boom") == 1


def test_raise_flow_error_decides_whether_execute_raises():
    with pytest.raises(ValueError, match="boom"):
        failing(raise_flow_error=True).execute()
    kept = failing(raise_flow_error=False).execute()

    assert (kept.status, str(kept.flow_error), kept.flow_return_value) == ("failure", "boom", None)


def test_flow_data_capture_events_keeps_the_events_for_json():
    on, off = run_with(flow_data__capture_events=True), run_with(flow_data__capture_events=False)

    kinds = [event["event_type"] for event in on.json()["flow_data"]["events"]]
    assert (kinds[0], kinds[-1]) == ("flow_start", "flow_stop")
    assert {"task_start", "task_stop", "flow_message", "new_result"} < set(kinds)
    assert off.json()["flow_data"]["events"] == []


def test_the_defaults_are_those_that_people_know():
    assert {name: getattr(Flow_Run__Config(), name) for name in settings.RUN_SETTINGS} == {
        "add_task_to_self": True,
        "log_to_console": False,
        "log_to_memory": True,
        "logging_enabled": True,
        "print_logs": False,
        "print_none_return_value": False,
        "print_finished_message": False,
        "print_error_stack_trace": False,
        "raise_flow_error": True,
        "flow_data__capture_events": False,
    }


@pytest.mark.parametrize("name", settings.RUN_SETTINGS)
def test_each_field_has_a_variable(monkeypatch, name):
    default = settings.RUN_SETTINGS[name].default
    monkeypatch.setenv(f"OTELFLOW_{name.upper()}", str(not default).lower())

    assert getattr(Flow_Run__Config(), name) is not default
    assert settings.settings().origin(name) == f"OTELFLOW_{name.upper()}"


@pytest.mark.parametrize("text", ["true", "1", "on", "YES", " true "])
def test_a_switch_understands_the_usual_words(monkeypatch, text):
    monkeypatch.setenv("OTELFLOW_LOG_TO_CONSOLE", text)

    assert settings.configure().log_to_console is True


@pytest.mark.parametrize(
    ("variable", "text", "name", "value"),
    [
        ("OTELFLOW_EVENTS", "BOTH", "events", "both"),
        ("OTELFLOW_MESSAGE_LEVEL", "debug", "message_level", "DEBUG"),
        ("OTELFLOW_VALUE_LIMIT", "100", "value_limit", 100),
        ("OTELFLOW_CAPTURE_LOGGERS", "app, sqlalchemy ,", "capture_loggers", ("app", "sqlalchemy")),
        ("OTELFLOW_REDACT", r"ACME-\d+", "redact", (r"ACME-\d+",)),
        ("OTELFLOW_STORE", "off", "store", "off"),
    ],
)
def test_each_process_setting_has_a_variable(monkeypatch, variable, text, name, value):
    monkeypatch.setenv(variable, text)

    assert getattr(settings.configure(), name) == value


def test_value_limit_bounds_messages(spans, monkeypatch):
    monkeypatch.setenv("OTELFLOW_VALUE_LIMIT", "10")

    @flow
    def body(this_flow=None):
        this_flow.log_info("x" * 50)

    body().execute()

    assert spans.messages("flow body") == ["x" * 10 + "… [cut, 50 characters]"]


def test_redact_hides_more(spans, monkeypatch):
    monkeypatch.setenv("OTELFLOW_REDACT", r"ACME-\d+")

    @flow
    def body():
        print("ticket ACME-12")

    body().execute()

    assert spans.messages("flow body") == ["ticket [redacted]"]


def test_an_argument_wins_over_a_variable_that_over_the_file_that_over_the_default(monkeypatch, tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        '[tool.otelflow]\nmessage_level = "ERROR"\nvalue_limit = 7\nlog_to_console = true\nredact = ["x"]\n'
    )
    monkeypatch.setenv("OTELFLOW_MESSAGE_LEVEL", "DEBUG")
    monkeypatch.setenv("OTELFLOW_VALUE_LIMIT", "8")

    found = settings.configure(message_level="CRITICAL")

    assert (found.message_level, found.origin("message_level")) == ("CRITICAL", "configure()")
    assert (found.value_limit, found.origin("value_limit")) == (8, "OTELFLOW_VALUE_LIMIT")
    assert (found.log_to_console, found.origin("log_to_console")) == (True, str(tmp_path / "pyproject.toml"))
    assert (found.events, found.origin("events")) == ("span", "default")


def test_a_flow_wins_over_the_process(monkeypatch):
    monkeypatch.setenv("OTELFLOW_PRINT_FINISHED_MESSAGE", "true")

    given, left = run_with(print_finished_message=False), run_with()

    assert not [text for text in given.captured_logs() if text.startswith("Finished")]
    assert [text for text in left.captured_logs() if text.startswith("Finished")]


def test_the_nearest_file_is_read_from_a_folder_below(monkeypatch, tmp_path):
    (tmp_path / "pyproject.toml").write_text("[tool.otelflow]\nvalue_limit = 7\n")
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")

    assert settings.settings().value_limit == 7


def test_all_settings_are_listed_with_value_origin_variable_and_meaning(monkeypatch):
    monkeypatch.setenv("OTELFLOW_VALUE_LIMIT", "99")

    found = public_settings.in_force()

    assert set(found) == set(settings.SETTINGS)
    assert (found["value_limit"].value, found["value_limit"].origin) == (99, "OTELFLOW_VALUE_LIMIT")
    assert found["flow_data__capture_events"].variable == "OTELFLOW_FLOW_DATA__CAPTURE_EVENTS"
    assert all(one.meaning for one in found.values())


@pytest.mark.parametrize(
    ("variable", "text", "says"),
    [
        (
            "OTELFLOW_LOG_TO_CONSOL",
            "1",
            "OTELFLOW_LOG_TO_CONSOL is not a variable.*did you mean 'OTELFLOW_LOG_TO_CONSOLE'",
        ),
        ("OTELFLOW_LOG_TO_CONSOLE", "maybe", "OTELFLOW_LOG_TO_CONSOLE: log_to_console must be bool, not 'maybe'"),
        ("OTELFLOW_VALUE_LIMIT", "many", "value_limit must be int, not 'many'"),
        ("OTELFLOW_VALUE_LIMIT", "0", "value_limit must be at least 1, not 0"),
        ("OTELFLOW_VALUE_LIMIT", "²", "value_limit must be int"),
        ("OTELFLOW_VALUE_LIMIT", "--5", "value_limit must be int"),
        ("OTELFLOW_VALUE_LIMIT", "-", "value_limit must be int"),
        ("OTELFLOW_EVENTS", "spam", "events must be one of span, log, both, not 'spam'; did you mean 'span'"),
        ("OTELFLOW_REDACT", "(", "redact: .* is not a regular expression"),
    ],
)
def test_a_wrong_variable_is_one_warning_at_the_first_run_and_an_error_in_configure(
    monkeypatch, caplog, variable, text, says
):
    monkeypatch.setattr(losses, "_said", set())
    monkeypatch.setenv(variable, text)

    runs = [run_with(), run_with()]
    with pytest.raises(ConfigurationError, match=says):
        settings.configure()

    assert [run.status for run in runs] == ["success"] * 2
    warnings = [record.getMessage() for record in caplog.records if record.name == "otelflow"]
    assert len(warnings) == 1
    assert re.search(says, warnings[0])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[tool.otelflow]\nvalue_limits = 1\n", "has no field 'value_limits'; did you mean 'value_limit'"),
        ("[tool.otelflow]\nvalue_limit = '1'\n", "value_limit must be int, not '1'"),
        ("[tool.otelflow]\nlog_to_console = 1\n", "log_to_console must be bool, not 1"),
        ("[tool]\notelflow = 1\n", "must be a table"),
        ("[tool.otelflow\n", "cannot be read"),
    ],
)
def test_a_wrong_file_is_one_warning_at_the_first_run_and_an_error_in_configure(
    monkeypatch, tmp_path, caplog, text, says
):
    monkeypatch.setattr(losses, "_said", set())
    (tmp_path / "pyproject.toml").write_text(text)

    run = run_with()
    with pytest.raises(ConfigurationError, match=says):
        settings.configure()

    assert run.status == "success"
    assert len([record for record in caplog.records if record.name == "otelflow"]) == 1


def test_one_wrong_field_in_a_file_leaves_the_others_in_force(tmp_path):
    (tmp_path / "pyproject.toml").write_text("[tool.otelflow]\nwrong = 1\nvalue_limit = 7\n")

    assert settings.settings().value_limit == 7


def test_a_wrong_argument_changes_nothing():
    with pytest.raises(ConfigurationError, match="has no field 'message_leve'; did you mean 'message_level'"):
        settings.configure(value_limit=5, message_leve="INFO")
    with pytest.raises(ConfigurationError, match="is not a regular expression"):
        settings.configure(value_limit=5, redact=["("])

    assert settings.configure().value_limit == 8192


def test_a_field_that_does_not_exist_names_the_nearest():
    with pytest.raises(ConfigurationError, match="has no field 'log_to_consol'; did you mean 'log_to_console'"):
        Flow_Run__Config(log_to_consol=True)
    with pytest.raises(ConfigurationError, match="did you mean 'print_logs'"):
        Flow_Run__Config().print_log = True
    with pytest.raises(ConfigurationError, match="log_to_console must be bool, not 'yes'"):
        Flow_Run__Config(log_to_console="yes")
    with pytest.raises(AttributeError, match="did you mean 'print_logs'"):
        _ = Flow_Run__Config().print_log


def test_importing_reads_no_variable_and_no_file(tmp_path):
    (tmp_path / "pyproject.toml").write_text("[tool.otelflow\n")
    done = subprocess.run(
        [sys.executable, "-c", "import otelflow; print(otelflow._core.process.settings._in_force)"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=tmp_path,
        env={"OTELFLOW_NONSENSE": "1", "PATH": ""},
    )

    assert (done.stdout, done.stderr) == ("None\n", "")
