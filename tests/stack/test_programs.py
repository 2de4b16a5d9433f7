"""`.ci/stack` says what is there."""

import os
import sys
from pathlib import Path

import pytest

STACK = Path(__file__).parents[2] / ".ci/stack"
PROGRAMS = {
    "prometheus", "promtool", "pushgateway", "docker-compose", "otelcol", "jaeger", "alertmanager", "amtool", "kafka",
    "opensearch", "operator-schemas", "kustomize", "victoria-logs", "redis-server", "postgres", "chromium",
}  # fmt: skip


@pytest.fixture
def check(tools):
    def check(folder=None):
        elsewhere = {"OTELFLOW_STACK_DIR": str(folder)} if folder else {}
        done = tools.run(sys.executable, STACK, "--check", env={**os.environ, **elsewhere})
        return done.returncode, dict(line.split(maxsplit=1) for line in done.stdout.splitlines())

    return check


def test_check_names_every_program_its_version_and_its_path(check, tools):
    for program in PROGRAMS:
        tools.program(program)

    code, programs = check()

    assert code == 0
    assert programs.keys() == PROGRAMS
    for name, words in programs.items():
        version, path = words.split()
        assert version[0].isdigit()
        assert Path(path).name == name


def test_check_of_an_empty_folder_says_that_all_is_missing_and_makes_nothing(check, tmp_path):
    code, programs = check(tmp_path)

    assert code == 1
    assert programs == dict.fromkeys(PROGRAMS, "missing")
    assert list(tmp_path.iterdir()) == []
