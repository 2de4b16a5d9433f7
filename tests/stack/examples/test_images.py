"""The images of deploy/, built as Compose builds them by an engine that is here, and an order in the shop's.

Without an engine they skip, also where the stack is required, which provides none. What Compose adds (networks, health
checks, PostgreSQL) is not seen here.
"""

import json
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.ports import ports_in_a_row
from support.receivers import OtlpReceiver

ROOT = Path(__file__).parents[3]
LOOPBACK = urllib.request.build_opener(urllib.request.ProxyHandler({}))
VERSIONS = dict(line.split("=", 1) for line in (ROOT / "deploy/.env").read_text().splitlines() if line[:1].isupper())
PYTHON = f"docker.io/library/python:{VERSIONS['PYTHON_VERSION']}-slim"
READY_SECONDS = 120
#: start.py keeps the whole shop running; Redis is this machine's
SHOP = """
import signal, sys
from pathlib import Path
import start

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
start.PARTS = tuple(part for part in start.PARTS if part != "redis")
start.run_shop(int(sys.argv[1]), 3600, Path("/tmp/shop"))
"""


class Engine:
    """Docker, Podman or Buildah, which take the same words for what is done here, or almost."""

    def __init__(self, name):
        self.name = name

    def call(self, *words, seconds=1200):
        command = [self.name, *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, timeout=seconds, cwd=ROOT, check=False)

    def is_usable(self):
        return shutil.which(self.name) is not None and self.call("info", seconds=60).returncode == 0

    def why_without(self, image):
        """Why there is no *image*, in the engine's words; nothing if it is here, or could be had."""
        inspect = ["inspect", "--type=image", image]
        if self.call(*inspect).returncode == 0:
            return ""
        done = self.call("pull", image)
        return "" if done.returncode == 0 else done.stderr.strip().splitlines()[-1]

    def build(self, name):
        """Build the image of deploy/*name* as Compose does, and return its tag."""
        tag = f"localhost/otelflow-test-{name}"
        version = f"PYTHON_VERSION={VERSIONS['PYTHON_VERSION']}"
        done = self.call("build", "--build-arg", version, "--file", f"deploy/{name}/Dockerfile", "--tag", tag, ".")
        assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-2_000:]
        return tag

    @contextmanager
    def running(self, tag, *command, log, **environment):
        """Run *command* in a container of its own, on the network of this machine, as the image's user."""
        options = [word for name, value in environment.items() for word in ("--env", f"{name}={value}")]
        if self.name == "buildah":
            (container,) = self.call("from", tag).stdout.split()
            words = ["run", *options, container, "--", *command]
            remove = ["rm", container]
        else:
            container = f"otelflow-test-{os.getpid()}"
            # As in the compose file
            rights = ["--read-only", "--tmpfs", "/tmp", "--volume", "/spool", "--security-opt", "no-new-privileges"]
            words = ["run", "--init", "--network=host", "--name", container, *rights, *options, tag, *command]
            remove = ["rm", "--force", "--volumes", container]
        try:
            with log.open("wb") as file:
                process = subprocess.Popen([self.name, *map(str, words)], stdout=file, stderr=file)
            try:
                yield process
            finally:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(60)
                finally:
                    process.kill()
        finally:
            self.call(*remove)


@pytest.fixture(scope="module")
def engine():
    """The first engine that can be used; the test skips without one, or without the image that ours begin with."""
    names = ("docker", "podman", "buildah")
    engine = next((engine for engine in map(Engine, names) if engine.is_usable()), None)
    if engine is None:
        pytest.skip(f"no engine for containers can be used here: none of {', '.join(names)}")
    reason = engine.why_without(PYTHON)
    if reason:
        pytest.skip(f"{engine.name} cannot have {PYTHON}: {reason}")
    return engine


@pytest.mark.timeout(1500)
def test_the_image_of_the_service_is_built_and_has_its_program(engine, tmp_path):
    tag = engine.build("service")

    with engine.running(
        tag, "python", "-c", "import service, otelflow; print('here')", log=tmp_path / "log"
    ) as process:
        assert process.wait(READY_SECONDS) == 0, (tmp_path / "log").read_text()
    assert "here" in (tmp_path / "log").read_text()


@pytest.mark.timeout(1500)
def test_the_image_of_the_shop_is_built_and_an_order_in_its_container_is_one_whole_trace(
    engine, tmp_path, tools, starting
):
    tag, port, log = engine.build("shop"), ports_in_a_row(4), tmp_path / "log"
    is_ready = lambda: "Ready to accept" in (tmp_path / "program.log").read_text()  # noqa: E731
    redis = [tools.program("redis-server"), "--bind", "127.0.0.1", "--port", port, "--save", ""]

    with (
        OtlpReceiver() as receiver,
        starting("Redis", redis, ready=is_ready, folder=tmp_path),
        engine.running(
            tag, "python", "-c", SHOP, port, log=log, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, OTELFLOW_STORE="off"
        ) as shop,
    ):
        wait_until(lambda: "The shop is open" in log.read_text() or shop.poll() is not None)
        assert shop.poll() is None, log.read_text()
        answer = place_order(f"http://127.0.0.1:{port + 1}/orders")
        wait_until(lambda: "flow email" in {span.name for span in of_trace(receiver, answer["trace"])})
        wait_until(lambda: parentless(of_trace(receiver, answer["trace"])) == ["POST /orders"])

    names = {span.name for span in of_trace(receiver, answer["trace"])}
    assert names >= {"flow place_order", "flow move_stock", "flow pay", "flow email", "task deliver"}


def place_order(url):
    order = json.dumps({"customer": "ann", "fruit": "melon", "count": 2}).encode()
    request = urllib.request.Request(url, order, {"Content-Type": "application/json"})
    with LOOPBACK.open(request, timeout=60) as answer:
        return json.load(answer)


def of_trace(receiver, trace_id):
    return [span for span in list(receiver.spans) if span.trace_id.hex() == trace_id]


def parentless(spans):
    """The spans whose parent has not arrived, or that have none."""
    ids = {span.span_id for span in spans}
    return [span.name for span in spans if span.parent_span_id not in ids]


def wait_until(look):
    deadline = time.monotonic() + READY_SECONDS
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.1)
