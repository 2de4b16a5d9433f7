"""Look at everything between a flow and its dashboards, and say what to do about what is not right."""

import os
import socket
import time
from collections.abc import Callable, Generator, Iterator
from typing import Final, Literal, NamedTuple
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry.util.re import parse_env_headers

import otelflow
from otelflow._cli._http import Answer, Unreachable, get, post
from otelflow_exporters._store.ownership import open_store

State = Literal["ok", "wrong", "absent"]

_CLOCK_SECONDS: Final = 2.0
_ARRIVAL_SECONDS: Final = 15.0
_PIPE: Final = "start the stack: docker compose -f deploy/compose.yaml up -d"


class Finding(NamedTuple):
    """One thing that was looked at: is it right, what was seen, and what to do."""

    state: State
    what: str
    seen: str
    cure: str = ""


class Addresses(NamedTuple):
    """Where to look; ``is_given`` names those that the user gave, whose absence is a fault."""

    jaeger: str
    prometheus: str
    is_given: frozenset[str]


def examine(addresses: Addresses) -> Iterator[Finding]:
    """Yield one finding after the other, in the order in which telemetry travels."""
    telemetry = otelflow.configure(store=True)
    yield _store(telemetry)
    yield from _endpoint()
    jaeger = yield from _server("jaeger", addresses.jaeger, "/api/v3/services", addresses)
    if jaeger is not None:
        yield _clock("Jaeger's clock", jaeger)
        yield _arrival(telemetry, addresses.jaeger)
    prometheus = yield from _server("prometheus", addresses.prometheus, "/api/v1/targets", addresses)
    if prometheus is not None:
        yield _clock("Prometheus' clock", prometheus)
        yield from _targets(prometheus)
        yield from _losses(addresses.prometheus)


def _store(telemetry: otelflow.Telemetry) -> Finding:
    if telemetry.store_directory is None:
        return Finding("absent", "local store", "off", "unset OTELFLOW_STORE to keep runs for 'otelflow show'")
    directory = telemetry.store_directory
    try:
        open_store(directory, is_made=True).close()
    except OSError as error:
        return Finding("wrong", "local store", str(error), "set OTELFLOW_STORE to another folder")
    if os.access(directory, os.W_OK):
        return Finding("ok", "local store", str(directory))
    return Finding("wrong", "local store", f"{directory} cannot be written", "set OTELFLOW_STORE to another folder")


def _endpoint() -> Iterator[Finding]:
    endpoint = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    if not endpoint:
        cure = "export OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 to send runs to a Collector or Jaeger"
        yield Finding("absent", "OTLP endpoint", "not set: runs stay on this machine", cure)
        return
    try:
        parts = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        with socket.create_connection((parts.hostname or "", port), timeout=3):
            pass
    except (OSError, ValueError) as error:
        yield Finding("wrong", "OTLP endpoint", f"{endpoint} does not answer: {error}", _PIPE)
        return
    yield (
        _accepts(endpoint)
        if parts.scheme in ("http", "https") and not _is_grpc()
        else Finding("ok", "OTLP endpoint", f"{endpoint} accepts connections")
    )


def _is_grpc() -> bool:
    names = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    return next((os.environ[name] for name in names if os.environ.get(name)), "") == "grpc"


def _accepts(endpoint: str) -> Finding:
    """Send an export of nothing, which is no bytes at all, as the exporter would."""
    is_whole = bool(os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"))
    url = endpoint if is_whole else f"{endpoint.rstrip('/')}/v1/traces"
    given = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_HEADERS") or os.environ.get("OTEL_EXPORTER_OTLP_HEADERS") or ""
    headers = {"Content-Type": "application/x-protobuf", **parse_env_headers(given, liberal=True)}
    try:
        status = post(url, b"", headers)
    except Unreachable as error:
        return Finding("wrong", "OTLP endpoint", str(error), _PIPE)
    if 200 <= status < 300:
        return Finding("ok", "OTLP endpoint", f"{endpoint} accepts traces")
    cure = (
        "look at OTEL_EXPORTER_OTLP_HEADERS" if status in (401, 403) else "is this an OTLP/HTTP endpoint (port 4318)?"
    )
    return Finding("wrong", "OTLP endpoint", f"{url} answered {status} to an empty export", cure)


def _server(name: str, address: str, path: str, addresses: Addresses) -> Generator[Finding, None, Answer | None]:
    try:
        answer = get(address, path)
    except Unreachable as error:
        is_fault = name in addresses.is_given
        yield Finding("wrong" if is_fault else "absent", name, str(error), f"{_PIPE}, or give --{name} URL")
        return None
    if answer.status != 200 or answer.body is None:
        yield Finding("wrong", name, f"{address}{path} answered {answer.status}", f"is this {name}? give --{name} URL")
        return None
    yield Finding("ok", name, address)
    return answer


def _clock(what: str, answer: Answer) -> Finding:
    if answer.clock is None:
        return Finding("absent", what, "not told")
    off = answer.clock - time.time()
    if abs(off) <= _CLOCK_SECONDS:
        return Finding("ok", what, "agrees with this machine's")
    return Finding(
        "wrong", what, f"{off:+.0f} s from this machine's", "synchronise the clocks (NTP): spans would be misplaced"
    )


def _arrival(telemetry: otelflow.Telemetry, jaeger: str) -> Finding:
    """Send one flow the way that every flow goes, and look for it at the end."""
    run: Callable[[], otelflow.Flow[str]] = otelflow.flow(flow_name="otelflow doctor")(_examined)
    trace_id = run().execute().flow_return_value
    if not trace_id or set(trace_id) == {"0"}:
        return Finding("absent", "a trace on its way", "no provider or not sampled, nothing was sent")
    telemetry.force_flush(5_000)
    deadline = time.monotonic() + _ARRIVAL_SECONDS
    began = time.monotonic()
    while time.monotonic() < deadline:
        if get(jaeger, f"/api/v3/traces/{trace_id}").status == 200:
            return Finding(
                "ok",
                "a trace on its way",
                f"in Jaeger after {time.monotonic() - began:.1f} s: {jaeger}/trace/{trace_id}",
            )
        time.sleep(0.3)
    seen = f"not in Jaeger after {_ARRIVAL_SECONDS:.0f} s"
    return Finding(
        "wrong", "a trace on its way", seen, "look at the Collector's log; does its exporter name this Jaeger?"
    )


def _examined() -> str:
    """Return the id of the trace that this flow is."""
    return f"{trace.get_current_span().get_span_context().trace_id:032x}"


def _targets(answer: Answer) -> Iterator[Finding]:
    targets = answer.body.get("data", {}).get("activeTargets", [])
    if not targets:
        yield Finding("wrong", "Prometheus targets", "none", "add scrape_configs, see deploy/prometheus/prometheus.yml")
    for target in targets:
        name = f"target {target.get('labels', {}).get('job', '?')}"
        if target.get("health") == "up":
            yield Finding("ok", name, str(target.get("scrapeUrl")))
        elif target.get("health") == "unknown":
            yield Finding("absent", name, f"{target.get('scrapeUrl')} has not been scraped yet")
        else:
            seen = f"{target.get('scrapeUrl')}: {target.get('lastError') or target.get('health')}"
            yield Finding("wrong", name, seen, "is it running, and is the address in prometheus.yml right?")


_LOSSES: Final = (
    ("spans lost by programs", "sum(otelflow_telemetry_dropped_total)"),
    ("listeners that raised", "sum(otelflow_listener_errors_total)"),
    ("spans the Collector could not send", 'sum({__name__=~"otelcol_exporter_send_failed_spans(_total)?"})'),
)


def _losses(prometheus: str) -> Iterator[Finding]:
    for what, query in _LOSSES:
        result = get(prometheus, "/api/v1/query", {"query": query}).body
        found = (result or {}).get("data", {}).get("result", [])
        count = float(found[0]["value"][1]) if found else 0.0
        if count:
            yield Finding(
                "wrong", what, f"{count:,.0f} since their start", "see the logs of the programs and the Collector"
            )
        else:
            yield Finding("ok", what, "none")
