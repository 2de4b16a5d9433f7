"""The files of deploy/spool are right by the programs that read them, and their commands send what waits."""

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider

from otelflow_exporters import SpoolSpanProcessor
from support.programs import run_python
from support.receivers import OtlpReceiver

yaml = pytest.importorskip("yaml", reason="not installed: pip install 'otelflow[stack]'")
kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="not installed: pip install 'otelflow[stack]'")

SPOOL = Path(__file__).parents[2] / "deploy" / "spool"
UNIT = SPOOL / "otelflow-ship.service"
SIDECAR = SPOOL / "sidecar.yaml"
DAEMON_SET = SPOOL / "daemonset.yaml"


def command_of_unit():
    (line,) = [line for line in UNIT.read_text().splitlines() if line.startswith("ExecStart=")]
    return shlex.split(line.removeprefix("ExecStart="))


def pod(file=SIDECAR):
    return yaml.safe_load(file.read_text())["spec"]["template"]["spec"]


def command_of(kind):
    if kind == "unit":
        return command_of_unit()
    container = pod()["initContainers"][0] if kind == "sidecar" else pod(DAEMON_SET)["containers"][0]
    return container["command"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_understands_every_line_of_the_unit(tmp_path):
    program = tmp_path / "otelflow"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace(command_of_unit()[0], str(program)).replace("User=shop", "User=root"))

    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, [line for line in done.stderr.splitlines() if UNIT.name in line]) == (0, [])


@pytest.mark.parametrize("file", [SIDECAR, DAEMON_SET], ids=lambda file: file.stem)
def test_kubernetes_takes_the_manifest(file):
    kubernetes_validate.validate(yaml.safe_load(file.read_text()), "1.31", strict=True)


def test_the_daemon_set_is_no_root_but_where_it_makes_its_folder():
    spec = pod(DAEMON_SET)

    (folder,), (ship,) = spec["initContainers"], spec["containers"]
    assert (folder["securityContext"]["runAsUser"], folder["command"][0]) == (0, "install")
    assert f"--owner={ship['securityContext']['runAsUser']}" in folder["command"]
    assert folder["command"][-1] == ship["command"][-1]
    assert (ship["securityContext"]["runAsNonRoot"], ship["securityContext"]["capabilities"]) == (
        True,
        {"drop": ["ALL"]},
    )
    for container in (folder, ship):
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["volumeMounts"] == [{"name": "spool", "mountPath": "/spool"}]
    assert "hostPath" in spec["volumes"][0]


def test_the_folder_of_the_daemon_set_is_one_that_a_spool_accepts(tmp_path):
    *command, place = pod(DAEMON_SET)["initContainers"][0]["command"]
    words = [word for word in command if not word.startswith(("--owner", "--group"))]
    subprocess.run([*words, tmp_path / place.lstrip("/")], check=True, timeout=60)
    processor = SpoolSpanProcessor(tmp_path / place.lstrip("/"), is_shipped=False)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)

    provider.get_tracer("program").start_span("waits").end()

    assert len(list(processor.directory.glob("*.otlp"))) == 1
    processor.shutdown()


def test_the_sidecar_may_do_no_more_than_it_must_and_sees_who_is_alive():
    spec = pod()

    assert spec["shareProcessNamespace"] is True
    assert (spec["securityContext"]["runAsNonRoot"], spec["securityContext"]["runAsUser"] > 0) == (True, True)
    for container in (*spec["initContainers"], *spec["containers"]):
        assert "runAsUser" not in container["securityContext"], "a spool belongs to one user"
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["volumeMounts"] == [{"name": "spool", "mountPath": "/spool"}]
    assert spec["initContainers"][0]["restartPolicy"] == "Always"


@pytest.mark.parametrize("kind", ["unit", "sidecar", "daemon set"])
def test_the_command_sends_what_waits(kind, tmp_path):
    name, *words = command_of(kind)
    processor = SpoolSpanProcessor(tmp_path / "spool", is_shipped=False)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    provider.get_tracer("program").start_span("waits").end()
    processor.shutdown()
    words = [str(tmp_path / "spool") if word.startswith("/") else word for word in words]

    with OtlpReceiver() as receiver:
        done = run_python("-m", "otelflow", *words, "--once", OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url)

        assert Path(name).name == "otelflow"
        assert (done.returncode, [span.name for span in receiver.spans]) == (0, ["waits"]), done.stderr


@pytest.mark.parametrize("file", [UNIT, SIDECAR, DAEMON_SET], ids=lambda file: file.name)
def test_each_file_opens_with_the_command_that_uses_it(file):
    first = file.read_text().splitlines()[0]

    assert f"deploy/spool/{file.name}" in first
    assert first.removeprefix("# ") in (SPOOL.parent / "README.md").read_text()
