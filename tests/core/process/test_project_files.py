"""Which file may set what: the folder that a program is started in decides nothing that matters."""

import os
import subprocess
import sys
import time
import types

import pytest

from otelflow._core.process import program, project_files, settings
from otelflow._core.process.settings_table import SETTINGS

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="Windows has its own ways")
root_only = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs files of other users")

HOSTILE = """
[tool.otelflow]
store = "s"
metrics = "textfile:precious.prom"
metrics_certificate = "c.pem"
metrics_key = "k.pem"
metrics_client_ca = "ca.pem"
redact = ["(a|a)+$"]
raise_flow_error = false
value_limit = 77
capture_loggers = ["app"]
"""
REFUSED = {
    "store",
    "spool",
    "spool_dir",
    "results",
    "results_max_bytes",
    "results_max_age_days",
    "trace_url",
    "note_trace",
    "instrument",
    "metrics",
    "metrics_certificate",
    "metrics_key",
    "metrics_client_ca",
    "redact",
    "raise_flow_error",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder that somebody else has prepared."""
    working = tmp_path / "working"
    working.mkdir()
    monkeypatch.chdir(working)
    (working / "pyproject.toml").write_text(HOSTILE)
    return working


def warnings_in(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "otelflow"]


@pytest.mark.parametrize("file", ["a\0b", b"main.py", 5, "", "loop", "gone.py"])
def test_a_program_whose_file_is_no_path_has_no_project_of_its_own(folder, monkeypatch, file):
    main = types.ModuleType("__main__")
    main.__file__ = file
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.setattr(project_files._program, "path", "")
    if file == "loop":
        (folder / "loop").symlink_to(folder / "loop")
    if file == "gone.py":
        (folder / "pyproject.toml").unlink()
        folder.rmdir()

    assert all(read.distrust for read in project_files.project_files() if read.path.parent == folder)
    assert program.program_name()


def test_every_setting_that_is_not_harmless_is_known():
    assert {name for name, setting in SETTINGS.items() if not setting.is_harmless} == REFUSED


def test_the_working_folder_sets_what_is_harmless_and_one_warning_names_the_rest(folder, caplog):
    in_force = settings.configure()
    settings.configure()

    assert (in_force.value_limit, in_force.capture_loggers) == (77, ("app",))
    assert {name for name in REFUSED if in_force.origin(name) != "default"} == set()
    (warning,) = warnings_in(caplog)
    assert warning.startswith(f"{folder / 'pyproject.toml'} [tool.otelflow] may not set store and metrics and ")
    assert "since it is not in the folders of the program that runs (ignored)" in warning
    assert "set OTELFLOW_STORE and OTELFLOW_METRICS and " in warning


def test_each_mistake_in_a_foreign_file_is_named(folder, caplog):
    lines = ['value_limit = "many"', 'print_log = "perhaps"', "zzz = 1"]
    (folder / "pyproject.toml").write_text("\n".join(["[tool.otelflow]", *lines]))

    settings.configure()

    (warning,) = warnings_in(caplog)
    assert all(word in warning for word in ("'many'", "'print_log'", "'zzz'"))
    assert warning.count("(ignored)") == 3


@pytest.mark.parametrize(
    "text",
    [
        '[tool.otelflow]\nvalue_limit = "many"\n',
        "[tool.otelflow]\n" + "".join(f"unknown_{number} = 1\n" for number in range(5_000)),
        '[tool.otelflow]\nstore = "s"\nprint_log = true\nevents = "\\u001b[2J"\n',
        f"[tool.otelflow]\nprint_logs = 0x{'f' * 20_000}\n",
        f"[tool.otelflow]\n{'a' * 90_000} = 1\n",
        "[tool.otelflow\n",
        "[tool]\notelflow = 1\n",
        f"[tool.otelflow]\nx = {'[' * 20_000}\n",
    ],
    ids=["type", "many", "several", "digits", "long", "broken", "no table", "deep"],
)
def test_a_mistake_in_a_foreign_file_is_one_short_warning_and_breaks_nothing(folder, caplog, text):
    (folder / "pyproject.toml").write_text(text)

    in_force = settings.configure(value_limit=5)
    settings.settings()

    assert in_force.value_limit == 5
    (warning,) = warnings_in(caplog)
    assert warning.startswith(str(folder / "pyproject.toml"))
    assert warning.endswith("(ignored)")
    assert len(warning) < 1_000
    assert "\x1b" not in warning


def test_no_warning_speaks_of_what_a_variable_or_an_argument_sets_in_its_place(folder, caplog, monkeypatch):
    (folder / "pyproject.toml").write_text('[tool.otelflow]\nstore = "s"\nredact = ["x"]\n')
    monkeypatch.setenv("OTELFLOW_STORE", "off")

    in_force = settings.configure(redact=["y"])

    assert (in_force.store, in_force.redact) == ("off", ("y",))
    assert warnings_in(caplog) == []


def test_the_project_of_the_program_sets_everything_and_wins_over_the_working_folder(folder, tmp_path, caplog):
    project = tmp_path / "project"
    (project / "shop").mkdir(parents=True)
    (project / "pyproject.toml").write_text('[tool.otelflow]\nstore = "mine"\nvalue_limit = 5\n')
    (folder / "pyproject.toml").write_text("[tool.otelflow]\nvalue_limit = 77\nprint_logs = true\n")
    program = project / "shop" / "job.py"
    program.touch()
    project_files.use_program(str(program))

    in_force = settings.configure()

    assert (in_force.store, in_force.origin("store")) == ("mine", str(project / "pyproject.toml"))
    assert (in_force.value_limit, in_force.print_logs) == (5, True)
    assert warnings_in(caplog) == []


def test_the_program_is_the_script_that_python_runs(folder, tmp_path):
    project = tmp_path / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text('[tool.otelflow]\nredact = ["mine"]\n')
    body = "from otelflow import settings\nsettings.check()\nprint(settings.in_force()['redact'].value)\n"
    (project / "job.py").write_text(body)

    def run(*arguments, cwd):
        command = [sys.executable, *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=60, check=True)

    script = run(project / "job.py", cwd=folder)
    without_file = run("-c", body, cwd=project)

    assert script.stdout == "('mine',)\n", script.stderr
    assert without_file.stdout == "()\n", without_file.stderr
    assert "may not set redact" in without_file.stderr


@root_only
@pytest.mark.parametrize("culprit", ["file", "folder", "link"])
def test_a_project_file_of_another_user_sets_what_is_harmless_only(tmp_path, monkeypatch, caplog, culprit):
    monkeypatch.chdir(tmp_path.parent)
    project = tmp_path / "project"
    project.mkdir()
    file = project / "pyproject.toml"
    file.write_text(HOSTILE)
    (project / "job.py").touch()
    if culprit == "link":
        file.rename(tmp_path / "elsewhere.toml")
        file.symlink_to(tmp_path / "elsewhere.toml")
    os.chown(project if culprit == "folder" else file, 12345, 12345, follow_symlinks=False)
    project_files.use_program(str(project / "job.py"))

    in_force = settings.configure()

    assert (in_force.value_limit, in_force.metrics) == (77, "")
    assert "since it belongs to another user, or its folder does (ignored)" in caplog.text


@posix_only
@pytest.mark.parametrize(("mode", "folder_mode"), [(0o666, 0o755), (0o644, 0o777)])
def test_a_project_file_that_others_can_write_sets_what_is_harmless_only(tmp_path, caplog, mode, folder_mode):
    project = tmp_path / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text(HOSTILE)
    (project / "pyproject.toml").chmod(mode)
    (project / "job.py").touch()
    project.chmod(folder_mode)
    project_files.use_program(str(project / "job.py"))

    assert settings.configure().store == ""
    assert "since it can be written by other users, or its folder can (ignored)" in caplog.text


@posix_only
def test_a_project_in_a_sticky_folder_and_with_a_private_group_is_its_owners(tmp_path):
    project = tmp_path / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text(HOSTILE)
    os.chown(project / "pyproject.toml", -1, os.geteuid())
    (project / "pyproject.toml").chmod(0o664)
    (project / "job.py").touch()
    project.chmod(0o1777)
    project_files.use_program(str(project / "job.py"))

    assert settings.configure().store == "s"


@pytest.mark.parametrize(
    "text",
    [
        "a" + ".a" * 400_000 + " = 1 # otelflow\n",
        "x = " + "[" * 90_000 + "# otelflow\n",
        "# otelflow\n" * 2_000_000,
        "tool = 7 # otelflow\n",
    ],
    ids=["many dots", "many brackets", "many bytes", "no table"],
)
def test_a_file_of_the_working_folder_hangs_and_breaks_no_program(folder, text):
    (folder / "pyproject.toml").write_text(text)
    start = time.monotonic()

    assert settings.settings().value_limit == 8192
    assert time.monotonic() - start < 10


def text_of(length=0, dots=0):
    text = "[tool.otelflow] # " + "." * dots
    return text + "\n" + "#" * max(0, length - len(text) - 1)


@pytest.mark.parametrize(
    ("text", "is_read"),
    [
        (text_of(100_000), True),
        (text_of(100_001), False),
        (text_of(dots=49), True),
        (text_of(dots=50), False),
    ],
)
def test_a_file_that_anybody_may_have_written_is_read_up_to_a_bound(tmp_path, caplog, text, is_read):
    path = tmp_path / "pyproject.toml"
    path.write_text(text)
    stranger = project_files.ProjectFile(path, "it is not in the folders of the program that runs")
    read = [project_files.read(stranger) for _ in range(2)]

    assert read == [text if is_read else ""] * 2
    said = f"{path} is too large or too complex to be read, since {stranger.distrust} (ignored)"
    assert caplog.messages == ([] if is_read else [said])
    assert project_files.read(project_files.ProjectFile(path, "")) == text


@posix_only
def test_a_file_whose_owner_cannot_be_seen_is_not_trusted(tmp_path):
    assert project_files._distrust(tmp_path / "gone", "") == "its owner cannot be seen (No such file or directory)"
