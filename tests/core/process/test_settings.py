"""Settings: where the value of each may come from, and what becomes of a mistake."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import otelflow
import otelflow_exporters
from otelflow import Flow_Run__Config, flow, redact
from otelflow._core.process import environment, process, project_files, settings
from otelflow._core.process.settings_table import RUN_SETTINGS, SETTINGS
from otelflow.errors import ConfigurationError


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


@flow
def plain():
    return 2


@pytest.mark.parametrize("name", RUN_SETTINGS)
def test_each_field_has_a_variable(monkeypatch, name):
    default = RUN_SETTINGS[name].default
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
        ("OTELFLOW_REDACT", r"[0-9]{8,16}, ACME", "redact", ("[0-9]{8,16}", "ACME")),
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


def test_a_pattern_that_cannot_be_used_leaves_the_others_in_force(spans, monkeypatch):
    monkeypatch.setenv("OTELFLOW_REDACT", r"ticket-\d+,[0-9]{8,")

    @flow
    def body():
        print("ticket-1234")

    body().execute()

    assert spans.messages("flow body") == ["[redacted]"]


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


def test_what_is_replaced_is_in_force_no_more_and_everything_else_stays(monkeypatch, tmp_path):
    monkeypatch.setenv("OTELFLOW_RESULTS", str(tmp_path / "here"))
    settings.configure(message_level="ERROR")
    settings.replace((), {"results": str(tmp_path / "there"), "value_limit": 5})
    settings.replace(("results", "value_limit"), {"value_limit": 6})

    in_force = settings.settings()
    assert (in_force.message_level, in_force.value_limit) == ("ERROR", 6)
    assert in_force.results == str(tmp_path / "here")


def test_the_nearest_file_is_read_from_a_folder_below(monkeypatch, tmp_path):
    (tmp_path / "pyproject.toml").write_text("[tool.otelflow]\nvalue_limit = 7\n")
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")

    assert settings.settings().value_limit == 7


@pytest.mark.parametrize(
    ("variable", "text", "says"),
    [
        (
            "OTELFLOW_LOG_TO_CONSOLE",
            "maybe",
            "OTELFLOW_LOG_TO_CONSOLE: log_to_console must be True or False, not 'maybe'",
        ),
        ("OTELFLOW_VALUE_LIMIT", "many", "value_limit must be a whole number, not 'many'"),
        ("OTELFLOW_VALUE_LIMIT", "0", "value_limit must be at least 1, not 0"),
        ("OTELFLOW_VALUE_LIMIT", "²", "value_limit must be a whole number"),
        ("OTELFLOW_VALUE_LIMIT", "--5", "value_limit must be a whole number"),
        ("OTELFLOW_VALUE_LIMIT", "-", "value_limit must be a whole number"),
        ("OTELFLOW_EVENTS", "spam", "events must be one of span, log, both, not 'spam'; did you mean 'span'"),
        ("OTELFLOW_REDACT", "(", "redact: .* is not a regular expression"),
        ("OTELFLOW_REDACT", "(" * 5_000, "redact: .* is not a regular expression"),
        ("OTELFLOW_REDACT", "a{99999999999999999999}", "redact: .* is not a regular expression"),
        ("OTELFLOW_REDACT", "[a-z]*", "redact: .* matches an empty text"),
        ("OTELFLOW_REDACT", "[0-9]{8,", "redact: '.0-9.{8' is no whole regular expression: it ends inside of {"),
        ("OTELFLOW_REDACT", "16}", "redact: '16}' is no whole regular expression: } closes nothing"),
    ],
)
def test_a_wrong_variable_is_one_warning_at_the_first_run_and_an_error_in_configure(
    monkeypatch, caplog, variable, text, says
):
    monkeypatch.setenv(variable, text)

    runs = [plain().execute(), plain().execute()]
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
        ("[tool.otelflow]\nvalue_limit = '1'\n", "value_limit must be a whole number, not '1'"),
        ("[tool.otelflow]\nlog_to_console = 1\n", "log_to_console must be True or False, not 1"),
        ("[tool]\notelflow = 1\n", "must be a table"),
        ("[tool.otelflow\n", "cannot be read"),
    ],
)
def test_a_wrong_file_is_one_warning_at_the_first_run_and_an_error_in_configure(
    monkeypatch, tmp_path, caplog, text, says
):
    (tmp_path / "pyproject.toml").write_text(text)
    project_files.use_program(str(tmp_path / "job.py"))

    run = plain().execute()
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
    for pattern in ("[0-9]{8", "16}"):
        with pytest.raises(ConfigurationError, match="is no whole regular expression"):
            settings.configure(value_limit=5, redact=["x", pattern])

    assert settings.configure().value_limit == 8192


def test_importing_reads_no_variable_and_no_file(tmp_path):
    (tmp_path / "pyproject.toml").write_text("[tool.otelflow\n")
    done = subprocess.run(
        [sys.executable, "-c", "import otelflow; print(otelflow._core.process.settings._settings.in_force)"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=tmp_path,
        env={"OTELFLOW_NONSENSE": "1", "PATH": ""},
    )

    assert (done.stdout, done.stderr) == ("None\n", "")


@pytest.mark.parametrize("variable", ["OTELFLOW_LOG_TO_CONSOL", "OTELFLOW_SERVICE_HOST", "OTELFLOW_PORT"])
def test_a_variable_of_somebody_else_is_one_warning_at_the_first_run_and_in_configure(monkeypatch, caplog, variable):
    monkeypatch.setenv(variable, "1")

    runs = [plain().execute(), plain().execute()]
    settings.configure()

    assert [run.status for run in runs] == ["success"] * 2
    (warning,) = [record.getMessage() for record in caplog.records if record.name == "otelflow"]
    assert warning.startswith(f"{variable} is not a variable of otelflow")
    assert warning.endswith("(ignored)")


def test_many_mistakes_in_one_setting_do_not_silence_that_of_another(monkeypatch, caplog):
    for number in range(110):
        monkeypatch.setenv("OTELFLOW_VALUE_LIMIT", f"many {number}")
        settings._read(is_strict=False)
    monkeypatch.delenv("OTELFLOW_VALUE_LIMIT")
    monkeypatch.setenv("OTELFLOW_EVENTS", "none at all")
    settings._read(is_strict=False)

    assert "OTELFLOW_EVENTS" in caplog.messages[-1]


def test_a_variable_with_a_typing_mistake_is_told_the_nearest(monkeypatch, caplog):
    monkeypatch.setenv("OTELFLOW_LOG_TO_CONSOL", "1")

    settings.configure()

    assert "; did you mean 'OTELFLOW_LOG_TO_CONSOLE'? (ignored)" in caplog.text


def test_every_variable_in_the_sources_is_a_setting_or_is_known_to_be_read_elsewhere():
    folders = [Path(package.__file__).parent for package in (otelflow, otelflow_exporters)]
    sources = "".join(path.read_text() for folder in folders for path in folder.rglob("*.py"))
    settings_variables = {environment.PREFIX + name.upper() for name in SETTINGS}

    variables = set(re.findall(r"\"(OTELFLOW_[A-Z_]*[A-Z])\"", sources))

    assert variables - settings_variables == environment.OTHER_VARIABLES


def test_a_field_of_a_flow_wins_in_a_copy_of_the_settings():
    process_wide = settings.settings()

    own = process_wide.with_fields({"print_logs": True})

    assert (own.print_logs, process_wide.print_logs) == (True, False)
    assert (own.value_limit, own.origin("value_limit")) == (8192, "default")


def test_settings_are_read_once_until_the_process_is_a_fresh_one(monkeypatch):
    settings.configure(redact=["hush"])
    first, hidden = settings.settings(), redact("hush")
    monkeypatch.setenv("OTELFLOW_VALUE_LIMIT", "100")
    again = settings.settings()
    process.reset()

    assert hidden == "[redacted]"
    assert again is first is not settings.settings()
    assert (again.value_limit, settings.settings().value_limit) == (8192, 100)
    assert redact("hush") == "hush"


def test_variables_that_are_empty_or_of_other_parts_are_no_mistake(monkeypatch, warnings_said):
    monkeypatch.setenv("OTELFLOW_VALUE_LIMIT", "")
    for variable in settings.OTHER_VARIABLES:
        monkeypatch.setenv(variable, "1")

    assert settings.settings().value_limit == 8192
    assert warnings_said.records == []
