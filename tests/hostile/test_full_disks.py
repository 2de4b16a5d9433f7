"""A disk that is full, in a namespace where anybody may mount a small one: nothing of the program is lost with it."""

import shutil
import subprocess
import sys

import pytest

from support import programs

PROGRAM = """
import os
import otelflow
from otelflow import Flow, flow

telemetry = otelflow.configure({options})

@flow
def first():
    print("x" * 300)

first().execute()
telemetry.force_flush()
with open(FOLDER + "/filler", "wb", buffering=0) as filler:
    for piece in (b"x" * 65_536, b"x"):
        try:
            while True:
                filler.write(piece)
        except OSError:
            pass
values = []
for number in range(200):
    name = "flow " + "abcdefghij"[number % 10] * (1 + number // 10)
    values.append(Flow(flow_name=name).set_flow_target(lambda: 42).execute().flow_return_value)
telemetry.force_flush()
print(set(values), sum(telemetry.dropped.values()) > 0)
"""
MOUNT = 'mount -t tmpfs -o size=4m none "$1" && exec "$2" -W error -c "$3"'


def can_mount(folder):
    """Tell whether a process of this user may mount a disk of its own."""
    if shutil.which("unshare") is None:
        return False
    command = ["unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=4m none "$1"', "sh", str(folder)]
    return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0


@pytest.mark.parametrize(
    ("options", "variables", "sentence"),
    [
        ("store=FOLDER + '/traces'", {}, "does not take spans: [Errno 28]"),
        ("metrics=f'textfile:{FOLDER}/jobs.prom'", {}, "did not arrive (OSError: [Errno 28]"),
        ("metrics='multiprocess'", {"PROMETHEUS_MULTIPROC_DIR": "."}, "did not arrive (OSError: [Errno 28]"),
    ],
    ids=["store", "textfile", "multiprocess"],
)
def test_a_full_disk_costs_telemetry_which_is_counted_and_said_once(tmp_path, options, variables, sentence):
    if not can_mount(tmp_path):
        pytest.skip("a disk of its own needs Linux, and a user who may make namespaces")
    source = f"import os\nFOLDER = {str(tmp_path)!r}\nos.chdir(FOLDER)\n" + PROGRAM.replace("{options}", options)

    done = programs.run(
        "unshare",
        "-rm",
        "sh",
        "-c",
        MOUNT,
        "sh",
        tmp_path,
        sys.executable,
        source,
        OTEL_SERVICE_NAME="disk",
        **variables,
    )

    assert (done.returncode, done.stdout) == (0, f"{'x' * 300}\n{{42}} True\n"), done.stderr
    warning, account = done.stderr.splitlines()
    assert sentence in warning
    assert account.startswith("Telemetry: ")
    assert " lost (" in account
