import re
import sys
from pathlib import Path

import pytest

from otelflow import settings
from otelflow._cli import config


def row(done, name):
    return next(line for line in done.out.splitlines() if line.startswith(name + " "))


def test_each_setting_is_shown_with_its_value_and_where_that_came_from(otelflow, tmp_path):
    (tmp_path / "pyproject.toml").write_text("[tool.otelflow]\nvalue_limit = 100\n")

    done = otelflow("config", cwd=tmp_path, OTELFLOW_MESSAGE_LEVEL="debug")

    assert done.code == 0
    assert row(done, "message_level").split()[1:3] == ["DEBUG", "OTELFLOW_MESSAGE_LEVEL"]
    assert row(done, "value_limit").split()[1:3] == ["100", str(tmp_path / "pyproject.toml")]
    assert row(done, "events").split()[1:3] == ["span", "default"]
    assert "\n  OTELFLOW_MESSAGE_LEVEL  the lowest level that gets onto a span\n" in done.out


def test_a_mistake_is_named_with_its_cure_and_the_rest_is_shown(otelflow):
    done = otelflow("config", OTELFLOW_EVENTZ="span", OTELFLOW_MESAGE_LEVEL="INFO")

    assert done.code == 0
    assert "OTELFLOW_EVENTZ is not a variable of otelflow; did you mean 'OTELFLOW_EVENTS'?" in done.err
    assert "did you mean 'OTELFLOW_MESSAGE_LEVEL'?" in done.err
    assert row(done, "events").split()[1:3] == ["span", "default"]


def test_variables_of_opentelemetry_are_shown_without_their_secrets(otelflow):
    done = otelflow(
        "config", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:4318", OTEL_EXPORTER_OTLP_HEADERS="api-key=verysecret"
    )

    assert "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318" in done.out
    assert "OTEL_EXPORTER_OTLP_HEADERS=(hidden)" in done.out
    assert "verysecret" not in done.out


@pytest.mark.parametrize(("name", "difference"), config.DIFFERENCES.items())
def test_where_a_variable_means_something_else_here_the_documentation_says_it_in_the_same_table(name, difference):
    page = (Path(__file__).parents[2] / "docs" / "integrations.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `OTEL")]

    assert any(name in row.replace("`…", "`OTEL_EXPORTER_OTLP") for row in rows)
    assert ("not read" in difference) is any(name in row and "not read" in row for row in rows)


def test_where_a_variable_means_something_else_here_it_is_said(otelflow):
    done = otelflow("config", OTEL_EXPORTER_OTLP_TIMEOUT="10000", OTEL_BSP_SCHEDULE_DELAY="100")

    text = " ".join(done.out.split())
    assert "OTEL_EXPORTER_OTLP_TIMEOUT=10000 (seconds, as in all of OpenTelemetry's Python" in text
    assert "OTEL_BSP_SCHEDULE_DELAY=100 (" not in text


def test_the_version_is_printed(otelflow):
    import otelflow as package

    assert otelflow("--version").out == f"otelflow {package.__version__}\n"


def test_a_mistake_in_the_file_of_a_working_folder_is_a_warning(otelflow, tmp_path):
    (tmp_path / "pyproject.toml").write_text("[tool.otelflow")

    done = otelflow("config", cwd=tmp_path)

    assert done.code == 0
    assert done.err.startswith("otelflow: ")
    assert "pyproject.toml cannot be read: Expected" in done.err


@pytest.mark.parametrize("environment", [{"OTELFLOW_VALUE_LIMIT": "many"}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "nowhere"}])
def test_what_a_run_would_refuse_is_said_to_be_refused(otelflow, tmp_path, environment):
    (tmp_path / "flows.py").write_text("from otelflow import flow\n\n@flow\ndef ready(): ...\n")

    run = otelflow("run", "flows.py:ready", cwd=tmp_path, **environment)
    done = otelflow("config", cwd=tmp_path, **environment)

    assert (run.code, done.code) == (2, 2)
    assert f"'otelflow run' and configure() refuse this: {run.lines[0].removeprefix('otelflow: ')}." in done.err


def test_a_variable_that_opentelemetry_does_not_know_is_named_and_its_value_is_not_shown(otelflow):
    done = otelflow(
        *("config",),
        OTEL_EXPORTER_OTLP_ENDPIONT="http://127.0.0.1:4318",
        OTEL_SERVICE_NAME="shop",
        OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="redis",
    )

    assert done.code == 0
    assert "OTEL_SERVICE_NAME=shop" in done.out
    assert "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=redis" in done.out
    said = "OTEL_EXPORTER_OTLP_ENDPIONT is no variable of OpenTelemetry, nothing reads it; did you mean"
    assert f"{said} 'OTEL_EXPORTER_OTLP_ENDPOINT'?" in done.out
    assert "OTEL_EXPORTER_OTLP_ENDPIONT=" not in done.out


def test_each_file_is_listed_with_what_is_taken_from_it(otelflow, tmp_path):
    (tmp_path / "pyproject.toml").write_text('[tool.otelflow]\nvalue_limit = 100\nmetrics = "push:http://evil:9091"\n')

    done = otelflow("config", cwd=tmp_path)

    reason = "only what is harmless counts, since it is not in the folders of the program that runs"
    assert f"{tmp_path / 'pyproject.toml'}: {reason}" in " ".join(done.out.split())
    assert "may not set metrics" in done.err
    assert row(done, "metrics").split()[1:2] == ["default"]


@pytest.mark.skipif(sys.platform == "win32", reason="terminals of POSIX")
@pytest.mark.parametrize("columns", [40, 60, 80])
def test_it_fits_the_terminal_and_names_variable_and_key_of_each_setting_whole(flows, store, environment_of, columns):
    from support.terminals import run_in_terminal

    command = [sys.executable, "-m", "otelflow", "config"]
    shown = run_in_terminal(command, cwd=flows, env=environment_of(store="off"), columns=columns, lines=100)

    lines = shown.text.splitlines()
    for name, setting in settings.in_force().items():
        assert any(re.match(rf"{name}( |$)", line) for line in lines), name
        assert any(re.match(rf"  {setting.variable}( |$)", line) for line in lines), name
    assert "[tool.otelflow]" in shown.text
    written = [re.sub(r"\x1b\[[\d;]*m", "", line) for line in shown.raw.splitlines()]
    assert max(map(len, written)) <= columns


def test_a_setting_controls_no_terminal_also_that_of_a_folder_which_a_stranger_has_prepared(otelflow, tmp_path):
    hostile = "a\\u001b]0;title\\u0007b\\u202e\\u001b[2J"
    (tmp_path / "pyproject.toml").write_text(f'[tool.otelflow]\ncapture_loggers = ["{hostile}"]\n')

    done = otelflow(
        "config", cwd=tmp_path, OTEL_SERVICE_NAME="s\x1b]0;title\x07t", OTELFLOW_METRICS="textfile:/x\x1b[2Jy"
    )

    assert not set("\x1b\x07\u202e") & set(done.out + done.err)
    assert row(done, "capture_loggers").split()[1] == "ab"
    assert "\nOTEL_SERVICE_NAME=st\n" in done.out + "\n"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTELFLOW_METRICS", "puhs"),
        ("OTELFLOW_METRICS", "pull:99999999"),
        ("OTELFLOW_STORE_MAX_BYTES", "lots"),
        ("OTEL_TRACES_SAMPLER", "always"),
        ("OTEL_TRACES_EXPORTER", "jaeger"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http"),
    ],
)
def test_a_value_that_a_run_refuses_is_not_listed_as_if_it_were_one(otelflow, flows, variable, value):
    environment = {variable: value, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}

    run = otelflow("run", "flows.py:ratio", "-p", "a=6", **environment)
    done = otelflow("config", **environment)

    assert (run.code, done.code) == (2, 2)
    assert f"refuse this: {run.lines[0].removeprefix('otelflow: ')}" in done.err
    assert "?." not in done.err
    assert re.search(rf"{variable}(={value})? \(refused\)", done.out)


def test_the_limits_of_the_store_are_listed_where_they_are_set(otelflow):
    done = otelflow("config", OTELFLOW_STORE_MAX_AGE_DAYS="3")

    assert done.code == 0
    assert "\nOTELFLOW_STORE_MAX_AGE_DAYS=3\n" in done.out
