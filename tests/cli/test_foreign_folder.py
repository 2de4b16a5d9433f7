"""What commands do in a folder that somebody else has prepared, and in the user's own project."""

import pytest

HOSTILE = """
[tool.otelflow]
store = "stolen"
metrics = "textfile:stolen.prom"
redact = ["(a|a)*$"]
"""
FLOWS = """
from otelflow import flow

@flow
def ready():
    print("ticket ACME-12")
"""


@pytest.fixture
def folder(tmp_path):
    working = tmp_path / "prepared"
    working.mkdir()
    (working / "pyproject.toml").write_text(HOSTILE)
    (working / "stolen.prom").write_text("precious 1\n")
    return working


@pytest.mark.parametrize("command", ["doctor", "config", "show"])
def test_a_command_takes_no_address_folder_or_pattern_from_the_folder_it_is_started_in(
    otelflow, folder, tmp_path, command
):
    # An empty variable is none.
    done = otelflow(command, cwd=folder, OTELFLOW_STORE="", XDG_STATE_HOME=str(tmp_path / "state"), HOME=str(tmp_path))

    assert (folder / "stolen.prom").read_text() == "precious 1\n"
    assert sorted(path.name for path in folder.iterdir()) == ["pyproject.toml", "stolen.prom"]
    assert done.err.count("may not set store and metrics and redact, since it is not in the folders of the") == 1


def test_a_flow_of_another_folder_is_run_without_them(otelflow, folder, flows, tmp_path):
    done = otelflow("run", f"{flows}/flows.py:ratio", "--param", "a=4", cwd=folder, HOME=str(tmp_path))

    assert done.code == 0
    assert sorted(path.name for path in folder.iterdir()) == ["pyproject.toml", "stolen.prom"]
    assert "may not set metrics and redact" in done.err


@pytest.mark.parametrize("target", ["mine/flows.py:ready", "mine.flows:ready", "mine.flows"])
def test_a_flow_of_the_users_own_project_has_all_of_its_settings(otelflow, tmp_path, target):
    project = tmp_path / "project"
    (project / "mine").mkdir(parents=True)
    (project / "mine" / "flows.py").write_text(FLOWS)
    (project / "pyproject.toml").write_text('[tool.otelflow]\nredact = ["ACME-.."]\nmetrics = "textfile:jobs.prom"\n')

    done = otelflow("run", target, cwd=project)

    assert done.code == 0, done.err
    assert "may not set" not in done.err
    assert "ticket [redacted]" in otelflow("show", cwd=project).out
    assert (project / "jobs.prom").is_file()
