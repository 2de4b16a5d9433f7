"""What only the import of a module can tell of a pattern is one sentence, and the exit code 2, or a single warning."""

import sys
from pathlib import Path

import pytest

from support.instrumented import otelflow, traces
from support.programs import run, run_python

ODD = """
import wrapt

class Rate:
    def __call__(self, amount):
        return amount

rate = Rate()

def work():
    return rate(1)
"""


@pytest.fixture
def odd(program):
    """The program of the shop, which imports a module in which a name is no function, as only its import can tell."""
    (program / "shop" / "odd.py").write_text(ODD)
    with (program / "main.py").open("a") as file:
        file.write("\n")
    (program / "main.py").write_text("import shop.odd\nprint(shop.odd.work())\n")
    (program / "otelflow.toml").write_text('flows = ["shop.odd:work", "shop.odd:rate"]\n')
    return program


SENTENCE = "otelflow.toml: shop.odd:rate: it is no function but Rate: name a function or method"


def test_a_program_that_imports_it_ends_with_one_sentence(odd):
    done = otelflow(odd, "run", "--instrument", "otelflow.toml", "--", sys.executable, "main.py")

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("otelflow: ")
    assert done.stderr.endswith(f"{SENTENCE} (strict = false starts without)\n")


@pytest.mark.parametrize("handler", ["except Exception", "finally"])
def test_no_program_goes_on_without_the_module_whatever_it_does_about_errors(odd, handler):
    (odd / "main.py").write_text(f"try:\n    import shop.odd\n{handler}:\n    print('left')\nprint('more')\n")

    done = otelflow(odd, "run", "--instrument", "otelflow.toml", "--", sys.executable, "main.py")

    assert (done.returncode, done.stdout) == (2, "left\n" if handler == "finally" else "")
    assert done.stderr.endswith(f"{SENTENCE} (strict = false starts without)\n")
    assert done.stderr.count("\n") == 1


def test_a_program_whose_flows_run_is_only_warned(odd):
    (odd / "main.py").write_text(
        "import shop.jobs\nprint(shop.jobs.weekly())\nimport shop.odd\nprint(shop.odd.work())\n"
    )
    (odd / "otelflow.toml").write_text('flows = ["shop.jobs:weekly", "shop.odd:work", "shop.odd:rate"]\n')

    done = otelflow(odd, "run", "--instrument", "otelflow.toml", "--", sys.executable, "main.py")

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (0, "0\n1\n", 1)
    assert done.stderr.endswith(f"{SENTENCE}\n")
    assert traces(odd) == ["success 1 0 flow weekly", "success 1 0 flow work"]


def test_an_error_of_the_program_s_own_is_told_as_ever(odd):
    (odd / "main.py").write_text("1 / 0\n")

    done = otelflow(odd, "run", "--instrument", "otelflow.toml", "--", sys.executable, "main.py")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")


#: What starts the program, and the code with which that ends where the module cannot be imported
COMMANDS = {
    "pytest": (["-m", "pytest", "-q", "-p", "no:cacheprovider"], 2),
    "pytest-xdist": (["-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2"], 1),
    "unittest": (["-m", "unittest", "discover"], 2),
    "celery": (["-m", "celery", "-A", "worker", "worker", "-l", "error"], 2),
    "gunicorn": (["-m", "gunicorn", "-b", "127.0.0.1:0", "web:app"], 4),
    "gunicorn, workers": (["-m", "gunicorn", "-b", "127.0.0.1:0", "-w", "3", "web:app"], 4),
    "gunicorn, preload": (["-m", "gunicorn", "-b", "127.0.0.1:0", "--preload", "web:app"], 2),
    "uvicorn": (["-m", "uvicorn", "--port", "0", "web:app"], 2),
    "flask": (["-m", "flask", "--app", "web", "run", "--port", "0"], 2),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_whatever_starts_the_program_tells_it_once_and_shows_no_traceback(odd, name):
    command, code = COMMANDS[name]
    pytest.importorskip({"pytest-xdist": "xdist"}.get(name, name.partition(",")[0]))
    (odd / "test_odd.py").write_text("import shop.odd\n\ndef test_work():\n    assert shop.odd.work() == 1\n")
    (odd / "worker.py").write_text("from celery import Celery\nimport shop.odd\napp = Celery(broker='memory://')\n")
    (odd / "web.py").write_text("import shop.odd\ndef app(*arguments): ...\n")

    done = otelflow(odd, "run", "--instrument", "otelflow.toml", "--", sys.executable, *command, COLUMNS=500)

    said = done.stdout + done.stderr
    assert done.returncode == code, said
    assert "Traceback" not in said
    said = "\n".join(line for line in said.splitlines() if not line.startswith("ERROR test_odd.py"))  # a summary
    assert said.count(f"{SENTENCE} (strict = false starts without)") == 1


def test_workers_of_uvicorn_are_not_started_for_ever(odd):
    pytest.importorskip("uvicorn")
    (odd / "web.py").write_text("import shop.odd\ndef app(*arguments): ...\n")
    command = [sys.executable, "-m", "uvicorn", "--port", "0", "--workers", "2", "web:app"]

    done = otelflow(odd, "run", "--instrument", "otelflow.toml", "--", *command)

    assert done.returncode == 0  # uvicorn's, whatever its workers end with
    assert done.stderr.count(SENTENCE) in {1, 2}
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["pytest", "pytest-xdist"])
def test_one_of_a_folder_that_imports_it_is_the_same(odd, name):
    pytest.importorskip({"pytest-xdist": "xdist"}.get(name, name))
    folder = odd / "tests" / "more"
    folder.mkdir(parents=True)
    (folder / "conftest.py").write_text("import shop.odd\n")
    (folder / "test_none.py").write_text("def test_none(): ...\n")
    command, code = COMMANDS[name]

    done = otelflow(odd, "run", "--instrument", "otelflow.toml", "--", sys.executable, *command, COLUMNS=500)

    said = done.stdout + done.stderr
    assert done.returncode == code, said
    said = "\n".join(line for line in said.splitlines() if not line.startswith("ERROR tests/more"))  # a summary
    assert said.count(f"{SENTENCE} (strict = false starts without)") == 1
    assert "_wrapping.py" not in said


@pytest.mark.parametrize("name", ["pytest", "pytest-xdist"])
def test_a_conftest_that_imports_it_ends_the_tests_with_it(odd, name):
    pytest.importorskip({"pytest-xdist": "xdist"}.get(name, name))
    (odd / "conftest.py").write_text("import shop.odd\n")
    (odd / "test_none.py").write_text("def test_none(): ...\n")
    command = COMMANDS[name][0]

    done = otelflow(odd, "run", "--instrument", "otelflow.toml", "--", sys.executable, *command)

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.endswith(f"{SENTENCE} (strict = false starts without)\n")


def test_a_lenient_program_is_warned_once_its_children_included(odd):
    (odd / "main.py").write_text(
        "import subprocess, sys\nimport shop.odd\nprint(shop.odd.work(), flush=True)\n"
        "if sys.argv[1:]:\n    subprocess.run([sys.executable, 'main.py'], check=True)\n"
    )
    patterns = '"shop.odd:work", "shop.odd:rate", "shop.odd:wrk"'
    (odd / "otelflow.toml").write_text(f"strict = false\nflows = [{patterns}]\n")

    done = otelflow(odd, "run", "--instrument", "otelflow.toml", "--", sys.executable, "main.py", "more")

    assert (done.returncode, done.stdout) == (0, "1\n1\n")
    first, second = done.stderr.splitlines()
    assert first.endswith("shop.odd:wrk: no function of shop.odd is called 'wrk'; did you mean 'work'?")
    assert second.endswith(SENTENCE)
    assert traces(odd) == ["success 1 0 flow work"] * 2


@pytest.mark.parametrize("command", ["run", "opentelemetry-instrument"])
@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"OTELFLOW_METRICS": "pul"}, "OTELFLOW_METRICS=pul is no output for metrics; did you mean 'pull'?"),
        ({"OTELFLOW_METRICS": "multiprocess"}, "OTELFLOW_METRICS=multiprocess needs PROMETHEUS_MULTIPROC_DIR"),
        ({"OTELFLOW_METRICS": "textfile:/nowhere/x"}, "OTELFLOW_METRICS=textfile:/nowhere/x names no file"),
        ({"OTELFLOW_VALUE_LIMIT": "x"}, "OTELFLOW_VALUE_LIMIT: value_limit must be a whole number, not 'x'"),
    ],
)
def test_a_setting_that_the_first_flow_would_stumble_over_ends_the_program_before_it_starts(
    program, command, variables, sentence
):
    if command == "run":
        arguments = ("run", "--instrument", "otelflow.toml", "--", sys.executable, "main.py")
        done = otelflow(program, *arguments, **variables)
    else:
        done = _by_opentelemetry(program, **variables)

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"otelflow: {sentence}")


def _by_opentelemetry(folder, **variables):
    return run(
        Path(sys.executable).with_name("opentelemetry-instrument"),
        sys.executable,
        "main.py",
        cwd=folder,
        OTEL_TRACES_EXPORTER="none",
        OTEL_METRICS_EXPORTER="none",
        OTEL_LOGS_EXPORTER="none",
        **{"OTELFLOW_INSTRUMENT": folder / "otelflow.toml"} | variables,
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_TRACES_EXPORTER", "foo"),
        ("OTEL_TRACES_SAMPLER", "foo"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "foo"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "-1"),
    ],
)
def test_a_variable_of_opentelemetry_does_so_too(program, name, value):
    arguments = ("run", "--instrument", "otelflow.toml", "--", sys.executable, "main.py")

    done = otelflow(program, *arguments, **{name: value})

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"otelflow: {name}")


@pytest.mark.parametrize("command", ["run", "opentelemetry-instrument"])
def test_a_program_without_a_mistake_has_the_hook_of_its_interpreter(program, command):
    (program / "main.py").write_text("import sys, shop.jobs\nprint(sys.excepthook is sys.__excepthook__)\n")
    arguments = ("run", "--instrument", "otelflow.toml", "--", sys.executable, "main.py")

    done = otelflow(program, *arguments) if command == "run" else _by_opentelemetry(program)

    assert (done.returncode, done.stdout) == (0, "True\n")


def test_a_variable_says_nothing_of_a_python_that_may_have_other_exporters(program):
    arguments = ("run", "--instrument", "otelflow.toml", "--", "sh", "-c", "echo started")

    done = otelflow(program, *arguments, OTEL_TRACES_EXPORTER="foo")

    assert (done.returncode, done.stdout, done.stderr) == (0, "started\n", "")


def test_a_lenient_file_starts_without_an_exporter_that_is_not_there_and_says_that_once(program):
    with (program / "otelflow.toml").open("a") as file:
        file.write("strict = false\n")
    arguments = ("run", "--instrument", "otelflow.toml", "--", sys.executable, "main.py")

    done = otelflow(program, *arguments, OTEL_TRACES_EXPORTER="foo")

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (3, "bill 6\n", 1)
    assert done.stderr.startswith("OTEL_TRACES_EXPORTER: nothing is registered as 'foo'")
    assert done.stderr.endswith(" (the program starts, and none of its flows and tasks is recorded)\n")


@pytest.mark.parametrize("command", ["run", "opentelemetry-instrument"])
def test_a_lenient_file_ignores_a_wrong_setting_says_so_once_and_records_with_the_rest(program, command):
    with (program / "otelflow.toml").open("a") as file:
        file.write("strict = false\n")
    arguments = ("run", "--instrument", "otelflow.toml", "--", sys.executable, "main.py", "children")
    variables = {"OTELFLOW_VALUE_LIMIT": "x"}

    done = otelflow(program, *arguments, **variables) if command == "run" else _by_opentelemetry(program, **variables)

    assert done.returncode == 3
    sentence = "OTELFLOW_VALUE_LIMIT: value_limit must be a whole number, not 'x' (ignored)"
    assert set(done.stderr.splitlines()) == {sentence}
    assert done.stderr.count(sentence) == (3 if command == "run" else 1)  # two of its children say it, too
    if command == "run":
        assert traces(program) == [f"success {n} 0 flow nightly_bill" for n in (2, 3, 4)]


@pytest.mark.parametrize("command", ["run", "opentelemetry-instrument"])
def test_a_lenient_file_starts_with_such_a_setting_and_one_warning(program, command):
    with (program / "otelflow.toml").open("a") as file:
        file.write("strict = false\n")
    arguments = ("run", "--instrument", "otelflow.toml", "--", sys.executable, "main.py")
    variables = {"OTELFLOW_METRICS": "pul"}

    done = otelflow(program, *arguments, **variables) if command == "run" else _by_opentelemetry(program, **variables)

    assert (done.returncode, done.stdout) == (3, "bill 6\n")
    assert done.stderr == "OTELFLOW_METRICS=pul is no output for metrics; did you mean 'pull'?\n"


def test_a_pattern_that_means_nothing_ends_what_opentelemetry_instrument_starts(program):
    (program / "otelflow.toml").write_text('flows = ["shop.jobs:wekly"]\n')

    done = _by_opentelemetry(program)

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "shop.jobs:wekly: no function of shop.jobs is called 'wekly'; did you mean 'weekly'?" in done.stderr


def test_without_a_file_a_wrong_setting_is_one_warning_and_the_program_starts(program):
    done = _by_opentelemetry(program, OTELFLOW_INSTRUMENT="", OTELFLOW_METRICS="pul")

    assert (done.returncode, done.stdout) == (3, "bill 6\n")
    assert done.stderr == "OTELFLOW_METRICS=pul is no output for metrics; did you mean 'pull'?\n"


def test_an_unknown_variable_is_told_once(program):
    arguments = ("run", "--instrument", "otelflow.toml", "--", sys.executable, "main.py")

    done = otelflow(program, *arguments, OTELFLOW_XX="1")

    assert (done.returncode, done.stderr) == (3, "OTELFLOW_XX is not a variable of otelflow (ignored)\n")


def test_a_command_that_is_left_out_is_said(program):
    done = otelflow(program, "run", "--instrument", "otelflow.toml", "--")
    usual = run_python("-m", "otelflow", "run", cwd=program)

    assert done.returncode == usual.returncode == 2
    assert done.stderr == (
        "otelflow: There is no command: write it after --, such as --instrument otelflow.toml -- python main.py\n"
    )
    assert "Missing argument 'TARGET'" in usual.stderr
