import contextlib
import sys

import pytest

from otelflow._cli.instrument import service_name
from otelflow.instrument._command import program_of, seen_from


@pytest.mark.parametrize(
    ("command", "program"),
    [
        ("python main.py -m x", ("", "main.py")),
        ("/usr/bin/python3.12 -u -W ignore -X dev main.py", ("", "main.py")),
        ("python -Wignore -Xdev main.py", ("", "main.py")),
        ("python -um shop.jobs now", ("shop.jobs", "")),
        ("python -mshop", ("shop", "")),
        ("python --check-hash-based-pycs never main.py", ("", "main.py")),
        ("python -c pass main.py", ("", "")),
        ("python - main.py", ("", "")),
        ("python", ("", "")),
        ("pypy3 main.py", ("", "main.py")),
        ("gunicorn -m 7 shop:app", None),
        ("", None),
    ],
)
def test_what_python_runs_is_read_as_it_does(command, program):
    assert program_of(command.split()) == program


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("python -W ignore shop/main.py", "main"),
        ("python -X dev -m shop.jobs", "shop"),
        ("python -c pass", "python"),
        ("/venv/bin/uvicorn main:app", "uvicorn"),
        ("opentelemetry-instrument --traces_exporter console --x=y uvicorn main:app", "uvicorn"),
        ("opentelemetry-instrument python main.py", "main"),
        ("uv run main.py", "main"),
        ("uv run uvicorn main:app", "uvicorn"),
        ("coverage run -m shop.jobs", "shop"),
        ("opentelemetry-instrument", "opentelemetry-instrument"),
    ],
)
def test_a_service_is_called_by_what_runs(command, name):
    assert service_name(command.split()) == name


@pytest.mark.parametrize(
    "command",
    [
        "python -u src/main.py",
        "python -W ignore src/main.py",
        "coverage run src/main.py",
        "uvicorn --app-dir src main:app",
        "gunicorn --chdir=src main:app",
        "env PYTHONPATH=src python other.py",
        "src/main.py",
    ],
)
def test_modules_are_looked_for_where_a_command_says(tmp_path, monkeypatch, command):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "main.py").write_text("")
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)

    with seen_from([*command.split(), "x" * 5_000]):
        folders = sys.path[: -len(before)]

    assert set(folders) == {str(tmp_path), str(tmp_path / "src")}
    assert sys.path == before


def test_modules_are_looked_for_beside_the_script_and_here_only_meanwhile(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    before = list(sys.path)

    with seen_from(["python", str(tmp_path / "main.py"), "other.py"]):
        meanwhile = list(sys.path)
    with contextlib.suppress(ZeroDivisionError), seen_from(["gunicorn", "shop:app"]):
        outside = sys.path[: -len(before)]
        raise ZeroDivisionError

    assert meanwhile == [str(tmp_path), str(tmp_path / "here"), *before]
    assert outside == [str(tmp_path / "here")]
    assert sys.path == before
