"""Public programs that nobody here has written: a file alone names their functions, and their own tests pass as before.

These ship their tests: a web application (Isso, which keeps the comments of web sites), the web pages of a process
supervisor, a command-line tool, and a queue with its workers.
"""

import importlib.util
import re
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from otelflow_exporters import StoredTraces
from support.programs import run_python


class Program(NamedTuple):
    file: str
    tests: tuple[str, ...]
    names: set[str]


PROGRAMS = {
    "supervisor": Program(
        'flows = ["supervisor.web:supervisor_ui_handler.continue_request"]\n'
        'tasks = ["supervisor.web:*View.render", "supervisor.web:StatusView.make_callback"]\n',
        ("supervisor.tests.test_web", "supervisor.tests.test_http", "supervisor.tests.test_xmlrpc"),
        {"flow continue_request", "task render", "task make_callback"},
    ),
    "isso": Program(
        'flows = ["isso.views.comments:API.*"]\ntasks = ["isso.db.*:*.*"]\n',
        ("tests",),  # a folder, and no package
        {"flow new", "flow fetch", "flow edit", "flow like", "task add", "task get", "task vote"},
    ),
    "pyflakes": Program(
        'flows = ["pyflakes.api:check*"]\n'
        'tasks = ["pyflakes.checker:Checker.__init__", "pyflakes.api:iterSourceCode"]\n',
        ("pyflakes.test",),
        {"flow check", "flow checkPath", "flow checkRecursive", "task __init__", "task iterSourceCode"},
    ),
    "huey": Program(
        'flows = ["huey.api:Huey.execute"]\ntasks = ["huey.api:Huey._execute", "huey.consumer:*.loop"]\n',
        ("huey.tests.test_api", "huey.tests.test_consumer", "huey.tests.test_signals"),
        {"flow execute", "task _execute"},
    ),
}


def _places(name, tests):
    folder = Path(importlib.util.find_spec(name).origin).parent
    return [str(folder / test) if (folder / test).is_dir() else test for test in tests]


def counts(done):
    """How many tests passed, failed, were skipped."""
    return sorted(re.findall(r"(\d+) (passed|failed|skipped|errors?|xfailed)", done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_tests_of_a_public_program_pass_as_before_and_its_traces_are_whole(name, tmp_path, installed):
    installed(name, "wrapt", extra="programs")
    program = PROGRAMS[name]
    (tmp_path / "otelflow.toml").write_text(program.file)
    suite = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore", "--pyargs", *_places(name, program.tests))
    command = ("-m", "otelflow", "run", "--instrument", "otelflow.toml", "--", sys.executable, *suite)

    bare = run_python(*suite, cwd=tmp_path)
    traced = run_python(*command, cwd=tmp_path, OTELFLOW_STORE=tmp_path / "store")

    assert (bare.returncode, traced.returncode) == (0, 0), bare.stdout + traced.stdout + traced.stderr
    assert counts(traced) == counts(bare)
    stored = StoredTraces(tmp_path / "store")
    spans = [stored.load(summary.trace_id).spans for summary in stored.summaries()]
    assert {span.name for trace in spans for span in trace} >= program.names
    assert {span.attributes["otelflow.run.result"] for trace in spans for span in trace} <= {
        "success",
        "failure",
        "error",
    }
    for trace in spans:
        ids = {span.span_id for span in trace}
        assert [span.name for span in trace if span.parent_id and span.parent_id not in ids] == []
