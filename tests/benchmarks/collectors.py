"""The collectors that ``faults.py`` lets programs send to, each in a process of its own."""

import contextlib
import json
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any, Self

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_START_SECONDS = 60
# It takes spans, counts them in its own metrics, and throws them away.
_CONFIGURATION = """
receivers: {otlp: {protocols: {http: {endpoint: "127.0.0.1:%d"}}}}
exporters: {nop: {}}
service:
  telemetry:
    logs: {level: error}
    metrics: {readers: [{pull: {exporter: {prometheus: {host: 127.0.0.1, port: %d}}}}]}
  pipelines: {traces: {receivers: [otlp], exporters: [nop]}}
"""


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


class Collector:
    """``counting_collector.py`` in a process of its own."""

    def __init__(self, port: int = 0, delay: float = 0.0) -> None:
        command = [sys.executable, str(Path(__file__).with_name("counting_collector.py")), str(port), str(delay)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=30)

    def arrivals(self, word: str = "") -> dict[str, Any]:
        """Return what has arrived; with the word ``ids``, all of their ids, too."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        arrivals: dict[str, Any] = json.loads(self._process.stdout.readline())
        return arrivals


class RealCollector:
    """An OpenTelemetry Collector, whose *program* is on this machine."""

    def __init__(self, program: str) -> None:
        port, self._metrics_port = free_port(), free_port()
        self._folder = tempfile.TemporaryDirectory()
        configuration = Path(self._folder.name) / "collector.yaml"
        configuration.write_text(_CONFIGURATION % (port, self._metrics_port))
        self._process = subprocess.Popen([program, f"--config={configuration}"], stderr=subprocess.DEVNULL)
        self.url = f"http://127.0.0.1:{port}"

    def __enter__(self) -> Self:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", int(self.url.rsplit(":")[-1])), 1),
            ):
                return self
            time.sleep(0.1)
        raise TimeoutError("the Collector does not start")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)
        self._folder.cleanup()

    def arrivals(self) -> dict[str, Any]:
        """Return how many spans it has accepted."""
        with _DIRECT.open(f"http://127.0.0.1:{self._metrics_port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        accepted = [line for line in lines if line.startswith("otelcol_receiver_accepted_spans{")]
        return {"spans": sum(int(float(line.rsplit(" ", 1)[1])) for line in accepted)}
