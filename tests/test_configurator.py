"""``opentelemetry-instrument`` with otelflow's configurator before another one, behind it, and alone."""

import os
import re
import sys
from pathlib import Path

import pytest

import otelflow
from otelflow_exporters import StoredTraces
from support.distributions import of_this_checkout, write_distribution
from support.programs import run, run_python

OWN = """
from otelflow import flow, task

@task
def one():
    return 1

@flow
def nightly():
    return one()

nightly().execute()
nightly().execute()
"""
WATCH = """
import otelflow

class Watcher(otelflow.Listener):
    def on_flow_start(self, event):
        print("heard start", event.event_data.flow_name)

    def on_flow_stop(self, event):
        print("heard stop", event.event_data.flow_name)
"""
HEARD = ["heard start nightly", "heard stop nightly"] * 2
VENDORS = """
from opentelemetry.sdk._configuration import _OTelSDKConfigurator

class First(_OTelSDKConfigurator):
    def _configure(self, **keywords):
        print("first", *keywords)
        super()._configure(**keywords)

class Second(_OTelSDKConfigurator):
    def _configure(self, **keywords):
        print("second")

class Passing:
    def configure(self, **keywords):
        print("passing")
        from importlib.metadata import entry_points
        entry_points(group="opentelemetry_configurator")["otelflow"].load()().configure(**keywords)

class Broken:
    def configure(self, **keywords):
        raise LookupError("no licence")
"""
SECOND = "Configuration of otelflow not loaded, configurator already loaded"
CHOSEN = "Configuration of otelflow not loaded because configurator is set by OTEL_PYTHON_CONFIGURATOR"


@pytest.fixture
def program(tmp_path):
    """A folder with a program that has flows, a listener, and a file that names it and functions of another program."""
    texts = {"own.py": OWN, "watch.py": WATCH, "vendors.py": VENDORS, "billing.py": "def bill():\n    pass\n"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "otelflow.toml").write_text('flows = ["billing:bill"]\nlisteners = ["watch:Watcher"]\n')
    # Registered here alone: OpenTelemetry would warn in each program for which a distribution has one, too.
    ours = {"opentelemetry_configurator": {"otelflow": "otelflow._configurator:OtelflowConfigurator"}}
    write_distribution(tmp_path / "ours", "otelflow", otelflow.__version__, **{**of_this_checkout(), **ours})
    distro = {"opentelemetry_distro": {"distro": "opentelemetry.distro:OpenTelemetryDistro"}}
    configurator = {"configurator": "opentelemetry.distro:OpenTelemetryConfigurator"}
    write_distribution(tmp_path / "distro", "opentelemetry-distro", opentelemetry_configurator=configurator, **distro)
    write_distribution(tmp_path / "nobody", "opentelemetry-distro")
    return tmp_path


def instrumented(folder, *installed, command=(), **variables):
    """Run the program of *folder*, for which the folders *installed* are what is installed, in that order."""
    return run(
        *(command or (Path(sys.executable).with_name("opentelemetry-instrument"), sys.executable, "own.py")),
        cwd=folder,
        is_whole=True,
        **{
            "PYTHONPATH": os.pathsep.join(str(folder / name) for name in installed),
            "OTEL_SERVICE_NAME": "shop",
            "OTEL_TRACES_EXPORTER": "console",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
            "OTELFLOW_METRICS": f"textfile:{folder / 'metrics.prom'}",
        }
        | variables,
    )


def names(done):
    """The spans that have arrived."""
    return sorted(re.findall(r'"name": "((?:flow|task) \w+)"', done.stdout))


def counted(folder, flow="nightly"):
    """How often the flow has succeeded, as the metrics say; None if there are none."""
    file = folder / "metrics.prom"
    series = rf'otelflow_flow_runs_total\{{flow="{flow}",result="success",service="shop"\}} (\S+)'
    return float(re.search(series, file.read_text())[1]) if file.exists() else None


SPANS = ["flow nightly"] * 2 + ["task one"] * 2


@pytest.mark.parametrize(
    ("installed", "chosen", "disabled", "said"),
    [
        (("ours", "distro"), "", "", ""),
        (("ours", "distro"), "", "otelflow", ""),
        (("distro", "ours"), "", "", SECOND),
        (("distro", "ours"), "", "otelflow", SECOND),
        (("ours", "distro"), "otelflow", "", ""),
        (
            ("distro", "ours"),
            "otelflow",
            "otelflow",
            "Configuration of configurator not loaded because otelflow is set by",
        ),
        (("ours", "distro"), "configurator", "", CHOSEN),
        (("ours", "distro"), "configurator", "otelflow", CHOSEN),
        (("nobody", "ours"), "", "", ""),
        (("nobody", "ours"), "", "otelflow", ""),
    ],
)
def test_spans_arrive_and_metrics_and_listeners_are_there_once_whoever_is_first(
    program, installed, chosen, disabled, said
):
    variables = {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": disabled} if disabled else {}
    if chosen:
        variables["OTEL_PYTHON_CONFIGURATOR"] = chosen
    is_ours_run = not said or chosen == "otelflow"

    done = instrumented(program, *installed, OTELFLOW_INSTRUMENT=program / "otelflow.toml", **variables)

    assert (done.returncode, names(done)) == (0, SPANS)
    assert [line for line in done.stderr.splitlines() if not (said and line.startswith(said))] == []
    assert bool(said) == (said in done.stderr and done.stderr != "")
    # Where neither of ours runs, the program was told so
    is_anything_run = is_ours_run or not disabled
    assert re.findall(r"heard.*", done.stdout) == (HEARD if is_anything_run else [])
    assert counted(program) == (2 if is_anything_run else None)


@pytest.mark.parametrize("installed", [("ours", "distro"), ("distro", "ours")])
def test_functions_that_a_file_names_are_wrapped_once_whoever_is_first(program, installed):
    (program / "own.py").write_text("import billing\nbilling.bill()\n")

    done = instrumented(program, *installed, OTELFLOW_INSTRUMENT=program / "otelflow.toml")

    assert (done.returncode, names(done)) == (0, ["flow bill"])
    assert re.findall(r"heard.*", done.stdout) == ["heard start bill", "heard stop bill"]
    assert counted(program, "bill") == 1


@pytest.mark.parametrize("installed", [("ours", "distro"), ("distro", "ours")])
def test_a_listener_beside_the_program_hears_of_a_function_that_is_imported_before_that_is_found(program, installed):
    (program / "otelflow.toml").write_text('flows = ["colorsys:rgb_to_hsv"]\nlisteners = ["watch:Watcher"]\n')
    (program / "library").mkdir()
    (program / "library" / "early.py").write_text("import colorsys\n\ndef begin():\n    pass\n")
    early = {"opentelemetry_post_instrument": {"early": "early:begin"}}
    write_distribution(program / "library", "early", **early)
    (program / "src").mkdir()
    (program / "watch.py").rename(program / "src" / "watch.py")
    (program / "src" / "own.py").write_text("import colorsys\ncolorsys.rgb_to_hsv(0, 0, 0)\n")
    command = (Path(sys.executable).with_name("opentelemetry-instrument"), sys.executable, "src/own.py")

    done = instrumented(program, *installed, "library", command=command, OTELFLOW_INSTRUMENT=program / "otelflow.toml")

    assert (done.returncode, names(done), counted(program, "rgb_to_hsv")) == (0, ["flow rgb_to_hsv"], 1)
    assert re.findall(r"heard.*", done.stdout) == ["heard start rgb_to_hsv", "heard stop rgb_to_hsv"]


@pytest.mark.slow
@pytest.mark.parametrize("order", ["within", "around"])
@pytest.mark.parametrize("installed", [("ours", "distro"), ("distro", "ours")])
def test_run_and_opentelemetry_instrument_together_wrap_hear_and_count_once(program, installed, order):
    (program / "own.py").write_text("import billing\nbilling.bill()\n")
    ours = [sys.executable, "-m", "otelflow", "run", "--instrument", "otelflow.toml", "--"]
    theirs = [Path(sys.executable).with_name("opentelemetry-instrument")]
    command = [*ours, *theirs] if order == "within" else [*theirs, *ours]

    done = instrumented(program, *installed, command=[*command, sys.executable, "own.py"])

    assert (done.returncode, names(done)) == (0, ["flow bill"])
    assert re.findall(r"heard.*", done.stdout) == ["heard start bill", "heard stop bill"]
    assert counted(program, "bill") == 1
    # The interpreter of the command line, and that of the program
    assert {line for line in done.stderr.splitlines() if line != SECOND} == set()


def test_all_instrumentations_may_be_disabled(program):
    done = instrumented(
        program,
        "ours",
        "distro",
        OTELFLOW_INSTRUMENT=program / "otelflow.toml",
        OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="*",
    )

    assert (done.returncode, names(done), counted(program), done.stderr) == (0, SPANS, 2, "")
    assert re.findall(r"heard.*", done.stdout) == HEARD


def test_of_several_others_the_first_is_run_as_without_ours_and_the_rest_is_told_of(program):
    vendor = {"first": "vendors:First", "second": "vendors:Second"}
    write_distribution(program / "vendor", "vendor", opentelemetry_configurator=vendor)

    done = instrumented(program, "ours", "vendor", "distro")

    assert done.stdout.splitlines()[0] == "first auto_instrumentation_version"
    assert "second" not in done.stdout
    assert names(done) == SPANS
    assert done.stderr.splitlines() == [
        "Configuration of second not loaded, otelflow already loaded",
        "Configuration of configurator not loaded, otelflow already loaded",
    ]


def test_a_configurator_that_calls_ours_is_run_once_and_then_the_next(program):
    write_distribution(program / "vendor", "vendor", opentelemetry_configurator={"passing": "vendors:Passing"})

    done = instrumented(program, "ours", "vendor", "distro")

    assert done.stdout.splitlines().count("passing") == 1
    assert names(done) == SPANS
    assert counted(program) == 2
    assert done.stderr.splitlines() == ["Configuration of configurator not loaded, otelflow already loaded"]


@pytest.mark.slow
@pytest.mark.parametrize("entry", ["vendors:Broken", "vendors:Missing", "no_such_module:Broken"])
def test_a_configurator_that_fails_fails_as_without_ours_and_is_named(program, entry):
    write_distribution(program / "vendor", "vendor", opentelemetry_configurator={"vendor": entry})

    with_ours = instrumented(program, "ours", "vendor", "distro")
    without = instrumented(program, "vendor", "distro", "ours")

    assert (with_ours.returncode, names(with_ours)) == (without.returncode, names(without)) == (0, [])
    raised = re.findall(r"^\w*Error: .*", without.stderr, re.MULTILINE)
    assert re.findall(r"^\w*Error: .*", with_ours.stderr, re.MULTILINE) == raised
    assert f"(raised by the configurator 'vendor', {entry}, which otelflow has run)" in with_ours.stderr


@pytest.mark.parametrize("file", ["", "otelflow.toml"])
def test_without_any_other_and_without_an_exporter_the_program_has_the_provider_of_otelflow(program, file):
    store = program / "store"

    done = instrumented(
        program, "nobody", "ours", OTEL_TRACES_EXPORTER="", OTELFLOW_STORE=store, OTELFLOW_INSTRUMENT=file
    )

    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (0, HEARD if file else [], "")
    assert [summary.name for summary in StoredTraces(store).summaries()] == ["flow nightly"] * 2
    assert counted(program) == 2


@pytest.mark.slow
@pytest.mark.parametrize("disabled", ["", "otelflow"])
@pytest.mark.parametrize("installed", [("ours", "distro"), ("distro", "ours")])
def test_a_file_that_cannot_be_read_is_one_sentence_unless_nothing_of_ours_is_run(program, installed, disabled):
    (program / "otelflow.toml").write_text("flows = [")

    done = instrumented(
        program,
        *installed,
        OTELFLOW_INSTRUMENT=program / "otelflow.toml",
        OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=disabled,
    )

    is_run = installed[0] == "ours" or not disabled
    assert (done.returncode, names(done)) == ((2, []) if is_run else (0, SPANS))
    sentences = [line for line in done.stderr.splitlines() if line != SECOND]
    assert len(sentences) == (1 if is_run else 0)
    assert not is_run or sentences[0].startswith("otelflow: The file ")


def test_a_listener_that_is_not_there_is_one_warning_of_a_program_that_has_started(program):
    (program / "otelflow.toml").write_text('flows = ["billing:bill"]\nlisteners = ["wtch:Watcher"]\n')

    done = instrumented(
        program,
        "ours",
        "distro",
        OTELFLOW_INSTRUMENT=program / "otelflow.toml",
        OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="otelflow",
    )

    assert (done.returncode, names(done), counted(program)) == (0, SPANS, 2)
    place = program / "otelflow.toml"
    assert done.stderr == f"{place}: the listener wtch:Watcher cannot be used: No module named 'wtch'\n"


def test_what_cannot_be_set_up_ends_no_telemetry_of_others(program):
    write_distribution(program / "vendor", "vendor", opentelemetry_configurator={"first": "vendors:First"})
    (program / "vendors.py").write_text(f"{VENDORS}\nimport sys\nsys.modules['otelflow.instrument'] = None\n")

    done = instrumented(program, "ours", "vendor", OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="otelflow")

    assert (done.returncode, names(done)) == (0, SPANS)
    assert "otelflow sets up neither metrics nor listeners: " in done.stderr


def test_uninstrument_ends_what_waits_for_the_first_run(program):
    (program / "own.py").write_text(
        f"from otelflow.instrument import OtelflowInstrumentor\nOtelflowInstrumentor().uninstrument()\n{OWN}"
    )

    done = instrumented(program, "ours", "distro", OTELFLOW_INSTRUMENT=program / "otelflow.toml")

    assert (done.returncode, names(done), done.stderr) == (0, SPANS, "")
    assert "heard" not in done.stdout
    assert counted(program) is None


def test_a_program_may_call_the_configurator_itself(program):
    begin = "from otelflow._configurator import OtelflowConfigurator\nOtelflowConfigurator().configure()\n"
    (program / "own.py").write_text(begin + OWN)

    done = run_python(
        "own.py",
        cwd=program,
        PYTHONPATH=os.pathsep.join((str(program / "ours"), str(program / "distro"))),
        OTEL_TRACES_EXPORTER="console",
        OTEL_SERVICE_NAME="shop",
        OTELFLOW_METRICS=f"textfile:{program / 'metrics.prom'}",
    )

    assert (done.returncode, names(done), counted(program), done.stderr) == (0, SPANS, 2, "")
