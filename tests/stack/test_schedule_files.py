"""The files of deploy/schedule are right by the programs that read them, and their commands make one trace."""

import ast
import re
import shlex
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import cronsim
import pytest

from otelflow_exporters import StoredTraces
from support.programs import run

yaml = pytest.importorskip("yaml", reason="not installed: pip install 'otelflow[stack]'")
kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="not installed: pip install 'otelflow[stack]'")

SCHEDULE = Path(__file__).parents[2] / "deploy" / "schedule"
CRONTAB = SCHEDULE / "crontab"
SERVICE = SCHEDULE / "nightly.service"
TIMER = SCHEDULE / "nightly.timer"
CRONJOB = yaml.safe_load((SCHEDULE / "cronjob.yaml").read_text())
WORKFLOW = yaml.safe_load((SCHEDULE / "argo-workflow.yaml").read_text())["spec"]
DAG = SCHEDULE / "airflow_dag.py"

PROGRAM = """
import otelflow

@otelflow.flow
def nightly(): ...

load = report = nightly
"""


def lines_of_cron():
    """Return the time and the command of each line."""
    lines = [line for line in CRONTAB.read_text().splitlines() if re.match(r"[\d*]", line)]
    return [re.match(r"((?:\S+ ){4}\S+)\s+(.*)", line).groups() for line in lines]


def templates():
    return {template["name"]: template for template in WORKFLOW["workflowSpec"]["templates"]}


def words_of_dag():
    """Return the texts of ``bash_command``, with what the file calls OTELFLOW as the command here."""
    tree = ast.parse(DAG.read_text())
    commands = [node.value for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "bash_command"]
    return [eval(ast.unparse(command), {"OTELFLOW": "otelflow"}) for command in commands]


@pytest.fixture
def shop(tmp_path):
    """A folder with the flows and scripts that the files name, and the command of this otelflow first in PATH."""
    for name in ("nightly.py", "shop.py"):
        (tmp_path / name).write_text(PROGRAM)
    for name in ("stock.sh", "report.sh"):
        (tmp_path / name).write_text("otelflow run nightly.py:nightly\n")
    return tmp_path


def typed(command, shop, **environment):
    import os
    import sys

    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = run("bash", "-c", command, cwd=shop, PATH=path, OTELFLOW_STORE=shop / "store", **environment)
    assert done.returncode == 0, done.stderr
    return done


def spans_of(shop):
    (summary,) = StoredTraces(shop / "store").summaries()
    return StoredTraces(shop / "store").load(summary.trace_id).spans


def test_each_line_for_cron_is_a_time_and_a_command_that_works(shop):
    lines = lines_of_cron()

    assert len(lines) == 2
    for number, (time, command) in enumerate(lines):
        assert next(cronsim.CronSim(time, datetime.now(UTC)))
        folder = shop / f"run-{number}"
        shutil.copytree(shop, folder, ignore=shutil.ignore_patterns("run-*", "store"))
        typed(command.replace("/srv/shop", str(folder)).replace(".venv/bin/", ""), folder, OTELFLOW_METRICS="off")
        assert spans_of(folder)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_understands_every_line_of_service_and_timer(tmp_path):
    program = tmp_path / "otelflow"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    text = SERVICE.read_text().replace("/srv/shop/.venv/bin/otelflow", str(program)).replace("User=shop", "User=root")
    (tmp_path / SERVICE.name).write_text(text.replace("/srv/shop", str(tmp_path)))
    shutil.copy(TIMER, tmp_path)
    files = [str(tmp_path / SERVICE.name), str(tmp_path / TIMER.name)]

    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *files], capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, [line for line in done.stderr.splitlines() if "nightly." in line]) == (0, [])


def test_kubernetes_takes_the_cron_job_and_would_take_the_pods_of_argo():
    kubernetes_validate.validate(CRONJOB, "1.31", strict=True)
    for name in ("trace", "flow"):
        spec = {"containers": [{"name": name, **templates()[name]["container"]}]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        kubernetes_validate.validate(pod, "1.31", strict=True)


def test_argo_knows_every_field_of_the_workflow():
    models = pytest.importorskip("hera.workflows.models", reason="not installed: pip install 'otelflow[stack]'")
    manifest = yaml.safe_load((SCHEDULE / "argo-workflow.yaml").read_text())

    read = models.CronWorkflow.model_validate(manifest)  # a field that it does not know is left out

    assert read.model_dump(by_alias=True, exclude_none=True, mode="json") == manifest


def test_each_parameter_of_argo_comes_from_somewhere():
    tasks = templates()["nightly"]["dag"]["tasks"]

    assert WORKFLOW["workflowSpec"]["entrypoint"] in templates()
    for task in tasks:
        template = templates()[task["template"]]
        wanted = {parameter["name"] for parameter in template.get("inputs", {}).get("parameters", [])}
        assert {parameter["name"] for parameter in task.get("arguments", {}).get("parameters", [])} == wanted
        used = set(re.findall(r"\{\{inputs\.parameters\.(\w+)\}\}", str(template["container"])))
        assert used == wanted
        assert set(task.get("depends", "").split()) <= {other["name"] for other in tasks}
    outputs = {parameter["name"] for parameter in templates()["trace"]["outputs"]["parameters"]}
    assert set(re.findall(r"tasks\.trace\.outputs\.parameters\.(\w+)", str(tasks))) == outputs


def test_the_commands_of_argo_make_one_trace(shop):
    words = [
        word.replace("/tmp/traceparent", str(shop / "traceparent"))
        for word in templates()["trace"]["container"]["command"]
    ]
    typed(shlex.join(words), shop)
    for task in templates()["nightly"]["dag"]["tasks"][1:]:
        values = {parameter["name"]: parameter["value"] for parameter in task["arguments"]["parameters"]}
        words = [values["target"] if "{{" in word else word for word in templates()["flow"]["container"]["command"]]
        typed(shlex.join(words), shop, TRACEPARENT=(shop / "traceparent").read_text())

    assert [span.name for span in spans_of(shop)].count("flow nightly") == 3


def test_the_commands_of_airflow_make_one_trace(shop):
    commands = words_of_dag()
    first, *others = [command.replace("/srv/shop/", "") for command in commands]
    down = "http://127.0.0.1:9"  # what is said of it must not be taken for the trace
    output = typed(f"({first}) 2>&1", shop, OTEL_EXPORTER_OTLP_ENDPOINT=down).stdout.splitlines()  # as Airflow reads it
    assert len(output) > 1
    for command in others:
        typed(command, shop, TRACEPARENT=output[-1])

    spans = spans_of(shop)
    assert len(others) == 2
    assert not any(command.endswith((".sh", ".bash")) for command in commands), "it is taken for a template's name"
    assert sorted(span.name for span in spans) == ["flow nightly"] * 3 + ["flow report"]


def test_airflow_takes_the_dag():
    airflow = pytest.importorskip("airflow.sdk", reason="Airflow is not installed")
    names = {}
    exec(compile(DAG.read_text(), DAG, "exec"), names)

    assert isinstance(names["dag"], airflow.DAG)
    assert [task.task_id for task in names["dag"].topological_sort()] == ["trace", "load", "report"]
