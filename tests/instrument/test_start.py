"""``otelflow run --instrument``: a program of several processes that is not touched."""

import json
import shutil
import sys
import zipfile
from pathlib import Path

import pytest

from support.instrumented import MAIN, otelflow, traces
from support.programs import run


@pytest.mark.parametrize(
    "option",
    [("--param", "number=3"), ("--tree",), ("--no-tree",), ("--failed-only",), ("--traceback",), ("--no-live",)],
)
def test_an_option_that_a_command_has_no_use_for_is_refused(program, option):
    done = otelflow(program, "run", "--instrument", "otelflow.toml", *option, "--", sys.executable, "main.py")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"otelflow: {option[0]} is for a flow: with --instrument the command runs on its own\n"


def test_a_command_is_run_as_it_is_and_its_flows_are_traces(program):
    done = otelflow(program, "run", "--instrument", "otelflow.toml", "--", sys.executable, "main.py")

    assert (done.returncode, done.stdout, done.stderr) == (3, "bill 6\n", "")
    assert traces(program) == ["success 4 0 flow nightly_bill"]


@pytest.mark.parametrize("patterns", ['flows = ["own:already"]', 'flows = ["shop.jobs:weekly"]'])
def test_flows_of_the_program_itself_are_recorded_and_heard_from_the_first_on(program, patterns):
    own = "from otelflow import flow\n\n@flow(execute_on_call=True)\ndef already():\n    return 3\n"
    (program / "own.py").write_text(own)
    (program / "main.py").write_text("import own\nprint(own.already(), own.already())\n")
    (program / "watch.py").write_text(
        "import otelflow\n\nclass Watcher(otelflow.Listener):\n"
        "    def on_flow_start(self, event):\n        print('heard', event.event_data.flow_name)\n"
    )
    (program / "otelflow.toml").write_text(f'{patterns}\nlisteners = ["watch:Watcher"]\n')

    done = otelflow(program, "run", "--instrument", "otelflow.toml", "--", sys.executable, "main.py")

    assert (done.returncode, done.stdout, done.stderr) == (0, "heard already\nheard already\n3 3\n", "")
    assert traces(program) == ["success 1 0 flow already"] * 2


def test_the_patterns_may_stand_in_the_project_of_the_program_itself(program):
    patterns = (program / "otelflow.toml").read_text()
    tables = "[project]\nname = 'shop'\n[tool.otelflow]\nvalue_limit = 77\n[tool.otelflow.instrument]\n"
    (program / "pyproject.toml").write_text(tables + patterns)

    done = otelflow(program, "run", "--instrument", "pyproject.toml", "--", sys.executable, "main.py")

    assert (done.returncode, done.stdout, done.stderr) == (3, "bill 6\n", "")
    assert traces(program) == ["success 4 0 flow nightly_bill"]


@pytest.mark.skipif(sys.platform == "win32", reason="no such shell there")
def test_a_command_whose_stdout_is_closed_runs_all_the_same(program):
    command = f"{sys.executable} -m otelflow run --instrument otelflow.toml -- {sys.executable} main.py >&-"

    done = run("sh", "-c", command, cwd=program, PYTHONPATH=program, OTELFLOW_STORE=program / "store")

    assert (done.returncode, done.stderr) == (3, "")
    assert traces(program) == ["success 4 0 flow nightly_bill"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["nothere"], "There is no command 'nothere': write it as in the shell, after --"),
        (["main.py"], "There is no command 'main.py': it is a file: write python main.py"),
    ],
)
def test_a_command_that_is_not_there_is_said(program, command, message):
    done = otelflow(program, "run", "--instrument", "otelflow.toml", "--", *command)

    assert (done.returncode, done.stderr) == (2, f"otelflow: {message}\n")


def test_a_pattern_that_means_nothing_stops_before_the_command_starts(program):
    (program / "otelflow.toml").write_text('flows = ["shop.jobs:nigtly_bill"]\n')

    done = otelflow(program, "run", "--instrument", "otelflow.toml", "--", sys.executable, "main.py")
    (program / "otelflow.toml").write_text('flows = ["shop.jobs:nigtly_bill"]\nstrict = false\n')
    lenient = otelflow(program, "run", "--instrument", "otelflow.toml", "--", sys.executable, "main.py")

    assert (done.returncode, done.stdout) == (2, "")
    assert "no function of shop.jobs is called 'nigtly_bill'; did you mean 'nightly_bill'?" in done.stderr
    assert (lenient.returncode, lenient.stdout) == (3, "bill 6\n")
    assert "did you mean 'nightly_bill'?" in lenient.stderr


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('flow = ["shop.jobs:weekly"]', "has no key 'flow'; did you mean 'flows'?"),
        ('flows = ["shop.jobs"]', "flows: 'shop.jobs' is no pattern"),
        ("flows = 3", "flows must be a list of patterns, not 3"),
        ('flows = [{pattern = "shop.jobs:weekly", nam = "x"}]', "@flow has no keyword 'nam'"),
    ],
)
def test_what_a_file_cannot_mean_stops_the_program_and_a_lenient_one_starts_with_the_rest(program, line, words):
    (program / "otelflow.toml").write_text(f'tasks = ["shop.billing:Client.charge"]\n{line}\n')
    command = ("run", "--instrument", "otelflow.toml", "--", sys.executable, "main.py")

    done = otelflow(program, *command)
    (program / "otelflow.toml").write_text(f'strict = false\ntasks = ["shop.billing:Client.charge"]\n{line}\n')
    lenient = otelflow(program, *command)
    report = otelflow(program, "instrument", "otelflow.toml", "--dry-run")

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert words in done.stderr
    assert (lenient.returncode, lenient.stdout, lenient.stderr.count("\n")) == (3, "bill 6\n", 1)
    assert words in lenient.stderr
    assert "task charge" in otelflow(program, "show").stdout
    assert report.returncode == 1
    assert words in report.stdout


@pytest.mark.parametrize(
    ("pattern", "command"),
    [
        ("main:work", ["main.py"]),
        ("main:work", ["-W", "ignore", "main.py"]),
        ("__main__:work", ["main.py"]),
        ("main:work", ["-u", "-m", "main"]),
        ("shop.__main__:work", ["-m", "shop"]),
    ],
)
def test_a_pattern_that_names_the_program_itself_is_said_before_it_starts(program, pattern, command):
    (program / "shop" / "__main__.py").write_text(MAIN)
    (program / "otelflow.toml").write_text(f'flows = ["{pattern}"]\n')

    done = otelflow(program, "run", "--instrument", "otelflow.toml", "--", sys.executable, *command)

    assert (done.returncode, done.stdout) == (2, "")
    assert f"{pattern}: {pattern.partition(':')[0]} is the program that is run, which is not imported" in done.stderr


def test_a_file_names_listeners(program):
    (program / "watch.py").write_text(
        "import otelflow\n\nclass Watcher(otelflow.Listener):\n"
        "    def on_flow_stop(self, event):\n        print('heard', event.event_data.flow_name)\n"
    )
    with (program / "otelflow.toml").open("a") as file:
        file.write('listeners = ["watch:Watcher"]\n')

    done = otelflow(program, "run", "--instrument", "otelflow.toml", "--", sys.executable, "main.py")

    assert (done.returncode, done.stdout, done.stderr) == (3, "heard nightly_bill\nbill 6\n", "")


def test_opentelemetry_instrument_finds_it_and_keeps_its_own_exporter(program):
    done = run(
        Path(sys.executable).with_name("opentelemetry-instrument"),
        sys.executable,
        "main.py",
        cwd=program,
        OTELFLOW_INSTRUMENT=program / "otelflow.toml",
        OTEL_TRACES_EXPORTER="console",
        OTEL_METRICS_EXPORTER="none",
        OTEL_LOGS_EXPORTER="none",
    )

    assert (done.returncode, done.stdout.splitlines()[0]) == (3, "bill 6")
    spans = json.loads("[" + done.stdout.partition("\n")[2].replace("\n}\n{", "\n},\n{") + "]")
    assert [span["name"] for span in spans] == ["task charge"] * 3 + ["flow nightly_bill"]
    assert len({span["context"]["trace_id"] for span in spans}) == 1


def test_modules_beside_a_program_elsewhere_are_instrumented_whoever_starts_it(program):
    (program / "elsewhere").mkdir()
    (program / "main.py").rename(program / "elsewhere" / "main.py")
    (program / "shop").rename(program / "elsewhere" / "shop")
    command = [sys.executable, "-X", "utf8", "elsewhere/main.py"]
    done = otelflow(program, "run", "--instrument", "otelflow.toml", "--", *command)
    instrumented = run(
        Path(sys.executable).with_name("opentelemetry-instrument"),
        *command,
        cwd=program,
        OTELFLOW_INSTRUMENT=program / "otelflow.toml",
        OTEL_TRACES_EXPORTER="console",
        OTEL_METRICS_EXPORTER="none",
        OTEL_LOGS_EXPORTER="none",
    )

    assert (done.returncode, done.stdout, done.stderr) == (3, "bill 6\n", "")
    assert traces(program) == ["success 4 0 flow nightly_bill"]
    assert (instrumented.returncode, instrumented.stdout.count('"name": "task charge"')) == (3, 3)


def test_a_program_in_an_archive_is_instrumented_and_its_patterns_are_looked_at(program):
    with zipfile.ZipFile(program / "shop.pyz", "w") as archive:
        archive.write(program / "main.py", "__main__.py")
        for file in (program / "shop").glob("*.py"):
            archive.write(file, f"shop/{file.name}")
    shutil.rmtree(program / "shop")
    command = ("run", "--instrument", "otelflow.toml", "--", sys.executable, "shop.pyz")

    done = otelflow(program, *command)
    (program / "otelflow.toml").write_text('flows = ["shop.jobs:wekly", "shop.jops:weekly"]\n')
    refused = otelflow(program, *command)

    assert (done.returncode, done.stdout, done.stderr) == (3, "bill 6\n", "")
    assert traces(program) == ["success 4 0 flow nightly_bill"]
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "shop.jobs:wekly: no function of shop.jobs is called 'wekly'; did you mean 'weekly'?" in refused.stderr
    assert "shop.jops:weekly: there is no module 'shop.jops'; did you mean 'shop.jobs'?" in refused.stderr
