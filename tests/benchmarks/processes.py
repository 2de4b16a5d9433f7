"""What takes a process of its own: the time of an import, and the memory that finished flows leave behind."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

IMPORTS = ("opentelemetry.trace", "otelflow", "opentelemetry.sdk.trace", "osbot_utils.helpers.flows.Flow", "logfire")
KEPT = ("hand-written", "otelflow", "logfire", "OSBot-Utils")
TASKS_PER_FLOW = 10

_IMPORT = """
import time
began = time.process_time()
import {module}
print(time.process_time() - began)
"""


def import_times(rounds: int) -> dict[str, float]:
    """Return the median milliseconds of importing each module, from bytecode, as an installed package is imported."""
    seconds: dict[str, list[float]] = {module: [] for module in IMPORTS}
    with tempfile.TemporaryDirectory() as bytecode:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = bytecode
        for number in range(rounds + 1):
            for module in list(seconds):
                done = _python("-c", _IMPORT.format(module=module), environment=environment)
                if done.returncode != 0:
                    del seconds[module]  # not installed
                elif number > 0:  # the first round writes the bytecode
                    seconds[module].append(float(done.stdout))
    return {module: 1e3 * statistics.median(samples) for module, samples in seconds.items()}


def retained(flows: int) -> dict[str, float]:
    """Return the bytes per flow of 10 tasks that are still there when the flow is over and dropped."""
    sizes = {}
    for name in KEPT:
        done = _python(str(Path(__file__).with_name("memory.py")), name, str(flows), environment=dict(os.environ))
        if done.returncode == 0:
            sizes[name] = json.loads(done.stdout.splitlines()[-1])
    return sizes


def _python(*arguments: str, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        stdin=subprocess.DEVNULL,
    )
