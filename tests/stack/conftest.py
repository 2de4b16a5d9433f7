"""The real programs on loopback, with the configuration of deploy/ changed only in addresses and storage paths."""

import http.client
import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from support.ports import free_ports

DEPLOY = Path(__file__).parents[2] / "deploy"
READY_SECONDS = 60
STOP_SECONDS = 30
WAITS = {"group_wait": "10s", "group_interval": "30s"}
EXPIRES = {"metric_expiration": "5m"}

LOOPBACK = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.stack)


def stack_dir():
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("OTELFLOW_STACK_DIR") or Path(cache) / "otelflow-stack")


def needed(path, name):
    """Return *path*; without it skip the test, or fail it where the stack is required."""
    if path.exists():
        return path
    reason = f"{name} is not there: run .ci/stack"
    if os.environ.get("OTELFLOW_REQUIRE_STACK") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def program(name):
    return needed(stack_dir() / "bin" / name, name)


def run(*command, stdin_text="", **options):
    """Run a program to its end, in bounded time, with *stdin_text* as its input, and return what it did."""
    return subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        input=stdin_text,
        **options,
    )


def get(url, **query):
    """GET *url* as (status, text)."""
    whole = f"{url}?{urllib.parse.urlencode(query, doseq=True)}" if query else url
    try:
        with LOOPBACK.open(whole, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read().decode()


def post(url, document):
    """POST *document* as JSON; anything but 200 is an error."""
    request = urllib.request.Request(
        url, json.dumps(document).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    with LOOPBACK.open(request, timeout=10) as answer:
        assert answer.status == 200


def get_json(url, **query):
    status, text = get(url, **query)
    assert status == 200, f"{url}: {status} {text}"
    return json.loads(text)


def wait_for(look: Callable, *, seconds: float = READY_SECONDS, event: str = "it"):
    """Look until there is something to see, at most *seconds*."""
    deadline = time.monotonic() + seconds
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            pytest.fail(f"{event} did not happen within {seconds} s; last seen: {seen!r}")
        time.sleep(0.2)


def adapt(source, target, replacements):
    """Copy *source* with each of *replacements* made; one that finds nothing is a mistake."""
    text = source.read_text()
    for deployed, local in replacements.items():
        assert deployed in text, f"{source.name} no longer says {deployed!r}"
        text = text.replace(deployed, local)
    assert "0.0.0.0" not in text, f"{source.name} would listen beyond loopback"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
    return target


@contextmanager
def running(name, command, *, ready, log, **environment):
    """Run one program until the block ends; *ready* is an address that answers 200, or a function that says so."""
    with log.open("w") as sink:
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            cwd=log.parent,
        )
        try:
            wait_until_ready(name, process, ready, log)
            yield process
        finally:
            stop(process)


def wait_until_ready(name, process, ready, log):
    def answers():
        if process.poll() is not None:
            pytest.fail(f"{name} ended with {process.returncode}:\n{log.read_text()[-3000:]}", pytrace=False)
        try:
            return ready() if callable(ready) else get(ready)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    wait_for(answers, event=f"{name} to be ready")


def stop(process):
    """End the process that we started, and no other."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_SECONDS)


@dataclass
class Addresses:
    """Where each port of deploy/ is on this machine; every name is the one that deploy/ uses."""

    ports: dict[str, int] = field(default_factory=dict)

    NAMES = (
        "collector:4317", "collector:4318", "collector:8888", "collector:8889", "collector:8890", "collector:13133",
        "jaeger:4317", "jaeger:4318", "jaeger:8888", "jaeger:13133", "jaeger:16685", "jaeger:16686",
        "prometheus:9090", "alertmanager:9093", "pushgateway:9091", "service:8000", "webhook:80",
        "loki:3100", "kafka:9092", "kafka:9093", "opensearch:9200", "opensearch:9300", "dispatcher:8888",
        "dispatcher:13133", "sampler-1:4317", "sampler-1:8888", "sampler-1:13133", "sampler-2:4317", "sampler-2:8888",
        "sampler-2:13133",
    )  # fmt: skip

    def __post_init__(self):
        self.ports.update(zip(self.NAMES, free_ports(len(self.NAMES)), strict=True))

    def local(self, name):
        return f"127.0.0.1:{self.ports[name]}"

    def url(self, name):
        return f"http://{self.local(name)}"

    def besides(self, *names):
        """The same addresses, but others for *names*: one more program beside those that run."""
        addresses = Addresses()
        addresses.ports.update({name: port for name, port in self.ports.items() if name not in names})
        return addresses

    def of(self, *names):
        """The replacements that turn these addresses of deploy/ into ours."""
        return {name: self.local(name) for name in names}

    def own(self, program_name, *ports):
        """The replacements for what a program listens on itself."""
        return {f"0.0.0.0:{port}": self.local(f"{program_name}:{port}") for port in ports}

    def own_metrics(self, program_name):
        return {"host: 0.0.0.0": "host: 127.0.0.1", "port: 8888": f"port: {self.ports[f'{program_name}:8888']}"}


@pytest.fixture(scope="session")
def tools():
    """The functions above, for tests: they cannot import a conftest."""
    return SimpleNamespace(
        Addresses=Addresses,
        adapt=adapt,
        get=get,
        get_json=get_json,
        post=post,
        program=program,
        run=run,
        running=running,
        running_alertmanager=running_alertmanager,
        running_collector=running_collector,
        running_jaeger=running_jaeger,
        running_log_server=running_log_server,
        running_quick_prometheus=running_quick_prometheus,
        running_service=running_service,
        wait_for=wait_for,
    )


@pytest.fixture(scope="session")
def addresses():
    return Addresses()


@pytest.fixture(scope="session")
def workshop(tmp_path_factory):
    return tmp_path_factory.mktemp("stack")


def _places_of_logs(addresses):
    """For each file that says where logs go: what to replace in it."""
    return {
        "logs-to-console.yaml": {},
        "logs-to-loki.yaml": {"loki:3100/otlp": addresses.local("loki:3100") + "/insert/opentelemetry"},
    }


@contextmanager
def running_log_server(addresses, folder):
    """Run VictoriaLogs in the place of Loki, and give its address."""
    command = [
        program("victoria-logs"),
        f"-storageDataPath={folder / 'logs'}",
        f"-httpListenAddr={addresses.local('loki:3100')}",
    ]
    folder.mkdir(parents=True, exist_ok=True)
    with running("VictoriaLogs", command, ready=addresses.url("loki:3100") + "/health", log=folder / "server.log"):
        yield addresses.url("loki:3100")


@contextmanager
def running_collector(
    addresses, folder, traces="traces-to-jaeger.yaml", next_stop="jaeger:4317", logs="logs-to-console.yaml", **waits
):
    """Run a Collector with the three files of a layer, and give its OTLP/HTTP address; *waits* replace its own."""
    listen = addresses.own("collector", 4317, 4318, 8889, 8890, 13133) | addresses.own_metrics("collector")
    storage = {"/var/lib/otelcol": str(folder / "queue")}
    changes = {f"{name}: {EXPIRES[name]}": f"{name}: {wait}" for name, wait in waits.items()}
    configs = [
        adapt(DEPLOY / "collector/collector.yaml", folder / "collector.yaml", listen | storage | changes),
        adapt(DEPLOY / "collector" / traces, folder / "traces.yaml", addresses.of(next_stop)),
        adapt(DEPLOY / "collector" / logs, folder / "logs.yaml", _places_of_logs(addresses)[logs]),
    ]
    command = [program("otelcol"), *(f"--config={config}" for config in configs)]
    ready = addresses.url("collector:13133")
    with running("The Collector", command, ready=ready, log=folder / "collector.log"):
        yield addresses.url("collector:4318")


@contextmanager
def running_jaeger(addresses, folder, file="jaeger.yaml"):
    """Run Jaeger as the base layer does, or as *file* of deploy/jaeger says, and give its address."""
    listen = addresses.own("jaeger", 4317, 4318, 13133, 16685, 16686) | addresses.own_metrics("jaeger")
    storage = {
        "jaeger.yaml": {"/var/lib/jaeger": str(folder / "traces")},
        "jaeger-on-opensearch.yaml": addresses.of("opensearch:9200"),
    }
    page = {"/etc/jaeger/ui.json": str(DEPLOY / "jaeger/ui.json")}
    config = adapt(
        DEPLOY / "jaeger" / file, folder / file, listen | page | storage[file] | addresses.of("prometheus:9090")
    )
    command = [program("jaeger"), f"--config={config}"]
    ready = addresses.url("jaeger:13133") + "/status"
    with running("Jaeger", command, ready=ready, log=folder / "jaeger.log"):
        yield addresses.url("jaeger:16686")


@pytest.fixture(scope="session")
def jaeger(addresses, workshop) -> Iterator[str]:
    """Jaeger's address."""
    with running_jaeger(addresses, workshop / "jaeger") as address:
        yield address


@pytest.fixture(scope="session")
def collector(addresses, workshop, jaeger) -> Iterator[str]:
    """The Collector's OTLP/HTTP address: the one address that an application knows."""
    with running_collector(addresses, workshop / "collector") as address:
        yield address


@contextmanager
def running_alertmanager(addresses, folder, **waits):
    """Run Alertmanager as the layer for notifications does, and give its address; *waits* take the place of its own."""
    folder.mkdir()
    secret = folder / "notify-url"
    secret.write_text(addresses.url("webhook:80") + "/alerts")
    changes = {f"{name}: {was}": f"{name}: {waits.get(name, was)}" for name, was in WAITS.items()}
    config = adapt(
        DEPLOY / "alertmanager/webhook.yml", folder / "webhook.yml", {"/run/secrets/notify-url": str(secret)} | changes
    )
    command = [
        program("alertmanager"),
        f"--config.file={config}",
        f"--storage.path={folder / 'storage'}",
        "--cluster.listen-address=",
        f"--web.listen-address={addresses.local('alertmanager:9093')}",
    ]
    ready = addresses.url("alertmanager:9093") + "/-/ready"
    with running("Alertmanager", command, ready=ready, log=folder / "alertmanager.log"):
        yield addresses.url("alertmanager:9093")


@pytest.fixture(scope="session")
def alertmanager(addresses, workshop) -> Iterator[str]:
    """Alertmanager's address; it tells the address `webhook:80` of *addresses*."""
    with running_alertmanager(addresses, workshop / "alertmanager") as address:
        yield address


@pytest.fixture(scope="session")
def pushgateway(addresses, workshop) -> Iterator[str]:
    """The Pushgateway's address."""
    folder = workshop / "pushgateway"
    folder.mkdir()
    command = [program("pushgateway"), f"--web.listen-address={addresses.local('pushgateway:9091')}"]
    ready = addresses.url("pushgateway:9091") + "/-/ready"
    with running("The Pushgateway", command, ready=ready, log=folder / "pushgateway.log"):
        yield addresses.url("pushgateway:9091")


def prometheus_files(addresses, folder, rules=DEPLOY / "prometheus/rules", interval="10s"):
    """Write what the base layer and the example service's layer give to Prometheus, and return its configuration."""
    paths = {"/etc/prometheus/rules": str(rules), "/etc/prometheus": str(folder)}
    asked = addresses.of(
        "collector:8888", "collector:8889", "collector:8890", "jaeger:8888", "alertmanager:9093", "pushgateway:9091"
    )
    itself = {"localhost:9090": addresses.local("prometheus:9090")}
    adapt(DEPLOY / "service/prometheus-targets.yaml", folder / "layer-service.yaml", addresses.of("service:8000"))
    (folder / "targets").mkdir()
    return adapt(
        DEPLOY / "prometheus/prometheus.yml", folder / "prometheus.yml", paths | asked | itself | {"10s": interval}
    )


@contextmanager
def running_prometheus(addresses, config):
    """Run Prometheus and give its address."""
    command = [
        program("prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={config.parent / 'data'}",
        "--enable-feature=exemplar-storage",
        f"--web.listen-address={addresses.local('prometheus:9090')}",
    ]
    ready = addresses.url("prometheus:9090") + "/-/ready"
    with running("Prometheus", command, ready=ready, log=config.parent / "prometheus.log"):
        yield addresses.url("prometheus:9090")


@contextmanager
def running_quick_prometheus(addresses, folder, rules):
    """Run one more Prometheus beside the others, which looks every second and has *rules*; give its address."""
    own = addresses.besides("prometheus:9090")
    quick = folder / "rules"
    quick.mkdir(parents=True)
    for file in rules.glob("*.rules.yml"):
        (quick / file.name).write_text(re.sub(r"(?m)^    interval: '\w+'$", "    interval: '1s'", file.read_text()))
    with running_prometheus(own, prometheus_files(own, folder, quick, interval="1s")) as address:
        yield address


@contextmanager
def running_service(addresses, folder, collector, **environment):
    """Run the example service as its layer does, and give its process."""
    settings = {
        "OTEL_SERVICE_NAME": "example-service",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector,
        "SERVICE_HOST": "127.0.0.1",
        "SERVICE_PORT": str(addresses.ports["service:8000"]),
    }
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, DEPLOY.parent / "examples/service.py"]
    ready = addresses.url("service:8000") + "/health"
    log = folder / "service.log"
    with running("The example service", command, ready=ready, log=log, **settings | environment) as process:
        yield process


@pytest.fixture(scope="session")
def prometheus_config(addresses, workshop):
    """The configuration of Prometheus."""
    return prometheus_files(addresses, workshop / "prometheus")


@pytest.fixture(scope="session")
def prometheus(addresses, prometheus_config, collector, alertmanager, pushgateway) -> Iterator[str]:
    """Prometheus' address."""
    with running_prometheus(addresses, prometheus_config) as address:
        yield address


@pytest.fixture
def query(prometheus):
    """Ask Prometheus for an instant vector."""

    def ask(expression):
        answer = get_json(prometheus + "/api/v1/query", query=expression)
        assert answer["status"] == "success", answer
        return answer["data"]["result"]

    return ask
