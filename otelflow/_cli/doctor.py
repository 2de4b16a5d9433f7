"""Look at everything between a flow and its dashboards, and say what to do about what is not right."""

import errno
import os
import socket
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Final, Literal, NamedTuple

from opentelemetry import trace
from opentelemetry.sdk.environment_variables import OTEL_SDK_DISABLED, OTEL_TRACES_SAMPLER
from opentelemetry.sdk.resources import Resource
from opentelemetry.util.re import parse_env_headers

import otelflow
from otelflow import metrics, semconv, settings
from otelflow._cli._http import Answer, Certificates, Unreachable, get, post, without_path
from otelflow._cli.config import unread_variables
from otelflow._core.process import clock
from otelflow._core.text.redaction import redact_address
from otelflow.errors import ConfigurationError, StoreUnreadable
from otelflow.metrics._outputs import parse
from otelflow.metrics._outputs.pull import Pull
from otelflow.metrics._outputs.push import Push
from otelflow.metrics._outputs.textfile import Textfile
from otelflow_exporters._otlp.endpoint import exporter_names, is_grpc, is_otlp, otlp_settings, variable
from otelflow_exporters._otlp.sender import new_sender
from otelflow_exporters._spool.destination import destination_of, spool_directory
from otelflow_exporters._spool.stranded import stranded_beside
from otelflow_exporters._spool.waiting import Waiting, waiting_in
from otelflow_exporters._store.limits import absolute, store_directory
from otelflow_exporters._store.ownership import DESTINATION, open_store
from otelflow_exporters._tree.wording import counted, local_time, size

State = Literal["ok", "wrong", "absent"]

_CLOCK_SECONDS: Final = 2.0
_ARRIVAL_SECONDS: Final = 15.0
_SPOOL_DIR: Final = "OTELFLOW_SPOOL_DIR"
_SERVICE: Final = "otelflow-doctor"
_DELIVERY: Final = "a trace on its way"
_HEADERS: Final = "look at OTEL_EXPORTER_OTLP_HEADERS"
_PIPE: Final = "start the stack: docker compose -f deploy/compose.yaml up -d"
_HTTP: Final = "is this an OTLP/HTTP endpoint (port 4318)?"
_TRACES_ONLY: Final = "Jaeger takes traces alone: name a Collector, in OTEL_EXPORTER_OTLP_{}_ENDPOINT for these alone"
_OTHER_PLACE: Final = "set OTELFLOW_METRICS to another place"
_GRPC: Final = "is this an OTLP/gRPC endpoint (port 4317)?"
_NO_ANSWER: Final = f"{_HTTP} over gRPC (port 4317): OTEL_EXPORTER_OTLP_PROTOCOL=grpc"
# What stands in the error of an endpoint that does not answer, in small letters, and the cure for the variable {name}
_CURES: Final = (
    ("_proxy names", "look at that variable and its proxy; a host that needs none may stand in NO_PROXY"),
    ("refused", _PIPE),
    ("a header has a character", _HEADERS),
    ("begins with http", "write http:// or https:// before the host in {name}"),
    ("certificate_verify_failed", "is OTEL_EXPORTER_OTLP_CERTIFICATE the file of those that vouch for this server?"),
    ("wrong version number", "nothing there speaks TLS: write http:// in {name}"),
    (
        "handshake failed",
        "if nothing there speaks TLS, write http:// in {name}; else look at OTEL_EXPORTER_OTLP_CERTIFICATE",
    ),
    ("no grpc is spoken", f"{_GRPC} over HTTP: OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"),
    *(
        (words, "is the host in {name} spelt right?")
        for words in ("name or service", "name resolution", "dns resolution", "lookup", "nodename", "getaddrinfo")
    ),
    *(
        (words, "is the address in {name} right, and can this machine reach it?")
        for words in ("timed out", "deadline", "unreachable", "no route")
    ),
)
_LOSSES: Final = (
    ("spans lost by programs", f"sum({semconv.TELEMETRY_DROPPED})"),
    ("listeners that raised", f"sum({semconv.LISTENER_ERRORS})"),
    ("spans the Collector could not send", 'sum({__name__=~"otelcol_exporter_send_failed_spans(_total)?"})'),
)


class Finding(NamedTuple):
    """One thing that was looked at: is it right, what was seen, and what to do."""

    state: State
    subject: str
    observation: str
    cure: str = ""


class Addresses(NamedTuple):
    """Where to look; the absence of a *required* server, whose address the user gave, is a fault."""

    jaeger: str
    prometheus: str
    required: frozenset[str]


def examine(addresses: Addresses) -> Iterator[Finding]:
    """Yield one finding after the other, in the order in which telemetry travels."""
    spool = list(_examine_spool())
    events = settings.in_force()["events"].value
    # Under a name of its own, and neither stored nor counted: it is no run of the user's. What waits in a spool is left
    # as it is, since a look should change nothing.
    telemetry = otelflow.configure(service_name=_SERVICE, store=False, metrics="off", events="span", spool="memory")
    yield from _examine_environment()
    yield from spool
    endpoint = _examine_endpoint()
    yield endpoint
    try:
        jaeger = yield from _server("jaeger", addresses.jaeger, "/api/v3/services", addresses)
        if jaeger is not None:
            yield _examine_clock("Jaeger's clock", jaeger)
            if endpoint.state == "wrong":
                yield Finding("absent", _DELIVERY, "not looked for: the endpoint takes nothing")
            elif any(map(is_otlp, exporter_names("traces"))):
                yield _examine_delivery(telemetry, addresses.jaeger)
            else:
                yield Finding("absent", _DELIVERY, "not looked for: nothing is sent from here")
        elif endpoint.state == "ok":
            yield Finding("absent", _DELIVERY, "not looked for: no Jaeger answers")
        yield from _examine_output()
        yield from _examine_signals(events)
        prometheus = yield from _server("prometheus", addresses.prometheus, "/api/v1/targets", addresses)
        if prometheus is not None:
            yield _examine_clock("Prometheus' clock", prometheus)
            try:
                yield from _examine_metrics(prometheus, addresses.prometheus)
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):  # any JSON may be there
                seen = f"{addresses.prometheus} answered with JSON that is not Prometheus'"
                yield Finding("wrong", "prometheus", seen, "is this prometheus? give --prometheus URL")
    except Unreachable as error:
        yield Finding("wrong", "a server that answered before", str(error), _PIPE)


def _examine_environment() -> Iterator[Finding]:
    """Tell of variables that nothing reads, and whether runs can be kept here."""
    for name, nearest in unread_variables():
        if nearest:
            yield Finding("absent", "variables", f"nothing reads {name}", f"write {nearest} if that is meant")
    cure = "set OTELFLOW_STORE to another folder"
    try:
        directory = store_directory(settings.in_force()["store"].value or "on")
        if directory is None:
            yield Finding("absent", "local store", "off", "unset OTELFLOW_STORE to keep runs for 'otelflow show'")
            return
        open_store(directory, is_made=True).close()
        can_be_written = os.access(directory, os.W_OK)
    except ConfigurationError as error:  # there is no home, and no folder was named
        yield Finding("absent", "local store", str(error))
    except OSError as error:
        yield Finding("wrong", "local store", f"{directory} cannot be made or read: {error.strerror or error}", cure)
    else:
        observation = str(directory) if can_be_written else f"{directory} cannot be written"
        yield Finding("ok" if can_be_written else "wrong", "local store", observation, "" if can_be_written else cure)


def _examine_spool() -> Iterator[Finding]:
    """Tell where spans wait, how many, since when, and who sends them; nothing where there is no spool."""
    mode, setting = (settings.in_force()[name].value for name in ("spool", "spool_dir"))
    senders = [sender for sender in exporter_names("traces") if is_otlp(sender)]
    try:
        directory = spool_directory(mode, setting, senders[0]) if senders else setting and absolute(setting, _SPOOL_DIR)
    except ConfigurationError as error:  # there is no home, and no folder was named
        yield Finding("absent", "spool", f"spans wait in memory: {error}")
        return
    if not directory or mode == "off":
        return
    try:
        with open_store(directory, kind="spool") as folder:
            if senders and folder.file(DESTINATION) is not None:  # it is somebody's, and does not become ours
                destination_of("traces", senders[0]).check(folder)
            waiting = waiting_in(folder)
    except FileNotFoundError:
        waiting = None
    except (StoreUnreadable, OSError) as error:
        yield Finding("wrong", "spool", str(error))
        return
    if not _can_be_made(directory):
        yield Finding("wrong", "spool", f"{directory} cannot be written", f"set {_SPOOL_DIR} to another folder")
    elif not senders:
        observation = f"{directory} is not used: nothing is sent from here"
        yield Finding("absent", "spool", observation, "set OTEL_EXPORTER_OTLP_ENDPOINT: spans wait there for it")
    else:
        writers = waiting.writers if waiting is not None else 0
        words = f"; {counted(writers, 'program')} write{'s' if writers == 1 else ''} there" if writers else ""
        yield Finding("ok", "spool", f"{directory} can be written{words}")
    yield from _examine_waiting(directory, waiting)
    for sender in senders[:1]:
        for path in stranded_beside(directory, destination_of("traces", sender).fingerprint):
            observation = f"{path} is for the same endpoint; nobody is sending"
            cure = f"if the key has changed, 'otelflow ship {path} --once' sends it with the one that is set"
            yield Finding("absent", "waits under another key", observation, cure)


def _can_be_made(path: Path) -> bool:
    """Tell whether *path* can be written, or made: by making something beside it, since root may do all, and cannot."""
    parent = next(folder for folder in (path, *path.parents) if folder.exists())
    try:
        if parent != path:  # in a spool nothing of others may lie, not even for a moment
            tempfile.TemporaryDirectory(dir=parent, prefix=".otelflow-").cleanup()
    except OSError:
        return False
    return os.access(parent, os.W_OK)


def _examine_waiting(directory: Path, waiting: Waiting | None) -> Iterator[Finding]:
    if waiting is not None and waiting.size:
        amount = size(waiting.size)
        words = amount if waiting.spans is None else f"{counted(waiting.spans, 'span')} ({amount})"
        since = f"since {local_time(round(waiting.since * 1e9)):%Y-%m-%d %H:%M:%S}"
        if waiting.has_sender:
            yield Finding("ok", "waits in the spool", f"{words} {since}; a process is sending")
        else:
            cure = f"'otelflow ship {directory} --once' sends them, and so does the next program that uses the spool"
            yield Finding("absent", "waits in the spool", f"{words} {since}; nobody is sending", cure)


def _examine_endpoint() -> Finding:
    """Send an export of nothing to the OTLP endpoint, as the exporter would."""
    subject = "OTLP endpoint"
    name, endpoint = variable("traces", "ENDPOINT")
    senders = [sender for sender in exporter_names("traces") if is_otlp(sender)]
    is_off = os.environ.get(OTEL_SDK_DISABLED, "").strip().lower() == "true"
    if is_off or not senders:
        if is_off:
            observation = f"{OTEL_SDK_DISABLED}=true turns OpenTelemetry off: no trace is made"
            return Finding("absent", subject, observation, f"unset {OTEL_SDK_DISABLED}")
        if endpoint:
            observation = f"{endpoint} is not used: OTEL_TRACES_EXPORTER asks for no OTLP"
            return Finding("absent", subject, observation, "unset OTEL_TRACES_EXPORTER to send runs there")
        cure = "export OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 to send runs to a Collector or Jaeger"
        return Finding("absent", subject, "not set: runs stay on this machine", cure)
    try:
        is_over_grpc = is_grpc("traces", senders[0])
        # Without a variable, OTEL_TRACES_EXPORTER alone has asked for it.
        endpoint, _ = otlp_settings("traces", "otlp_proto_grpc" if is_over_grpc else "otlp_proto_http")
        if is_over_grpc:
            return _examine_sender("traces", subject, endpoint, senders[0])
        url = endpoint if "TRACES" in name else f"{endpoint.rstrip('/')}/v1/traces"
        headers = parse_env_headers(variable("traces", "HEADERS")[1], liberal=True)
        files = [variable("traces", file)[1] for file in ("CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY")]
        headers = {"Content-Type": "application/x-protobuf", **headers}
        answer = post(url, b"", headers, base=endpoint, certificates=Certificates(*files))  # no spans are no bytes
    except ConfigurationError as error:
        return Finding("wrong", subject, str(error))
    except Unreachable as error:
        return Finding("wrong", subject, str(error), _cure_of(str(error), name, _NO_ANSWER))
    if 200 <= answer.status < 300 and not answer.is_web_page:
        return Finding("ok", subject, f"{endpoint} accepts traces")
    page = " with a web page" if answer.is_web_page else ""
    is_twice = url != endpoint and endpoint.rstrip("/").endswith("/v1/traces")
    cure = f"leave /v1/traces out of {name}: exporters put it there themselves" if is_twice else _HTTP
    if answer.status in (401, 403):
        cure = _HEADERS
    elif answer.location:
        cure = f"exporters follow no redirect: set {name} to the address that takes traces"
    return Finding("wrong", subject, f"{url} answered {answer.status}{page} to an empty export{answer.redirect}", cure)


def _cure_of(reason: str, name: str, default: str) -> str:
    """Return what to do about *reason*, for which the endpoint in the variable *name* does not answer, or *default*."""
    cure = next((cure for words, cure in _CURES if words in reason.lower()), default)
    return cure.format(name=name or "OTEL_EXPORTER_OTLP_ENDPOINT")


def _examine_sender(signal: str, subject: str, endpoint: str, exporter: str) -> Finding:
    """Send an export of nothing as the exporter would: addresses of gRPC are more than hosts and ports."""
    sender = new_sender(signal, exporter)
    sender.send(b"")
    sender.close()
    if not sender.status.is_refused:
        return Finding("ok", subject, f"{endpoint} accepts {signal}")
    reason = sender.status.reason
    cure = _cure_of(reason, variable(signal, "ENDPOINT")[0], _PIPE)
    if reason.startswith(("gRPC UNAUTHENTICATED", "gRPC PERMISSION_DENIED")):
        cure = _HEADERS
    elif reason.startswith(("gRPC UNIMPLEMENTED", "gRPC NOT_FOUND", "HTTP 404")):
        cure = _GRPC if signal == "traces" else _TRACES_ONLY.format(signal.upper())
    return Finding("wrong", subject, f"{endpoint} takes no empty export: {reason}", cure)


def _examine_signals(events: object) -> Iterator[Finding]:
    """Tell whether the OTLP endpoint takes metrics and log records, where they are sent there."""
    choices = {"metrics": settings.in_force()["metrics"].value == "otlp", "logs": events != "span"}
    for signal in filter(choices.get, choices):
        exporter = next(filter(is_otlp, exporter_names(signal)), "")
        try:
            if exporter:
                kind = "otlp_proto_grpc" if is_grpc(signal, exporter) else "otlp_proto_http"
                yield _examine_sender(signal, signal, otlp_settings(signal, kind)[0], exporter)
        except ConfigurationError as error:
            yield Finding("wrong", signal, str(error))


def _server(name: str, address: str, path: str, addresses: Addresses) -> Generator[Finding, None, Answer | None]:
    try:
        answer = get(address, path)
    except Unreachable as error:
        is_fault = name in addresses.required
        # Where something answers in another way than over HTTP, there is nothing to be started.
        cure = f"{_PIPE}, or give --{name} URL" if "refused" in str(error) else f"give --{name} URL, that of its page"
        if is_fault and "://" not in address:
            cure = f"give --{name} http://{address}"
        yield Finding("wrong" if is_fault else "absent", name, str(error), cure)
        return None
    if answer.status != 200 or not isinstance(answer.body, dict):
        observation = f"{address}{path} answered {answer.status}{answer.redirect}"
        yield Finding("wrong", name, observation, f"is this {name}? give --{name} URL{without_path(address)}")
        return None
    yield Finding("ok", name, address)
    return answer


def _examine_clock(subject: str, answer: Answer) -> Finding:
    if answer.clock is None:
        return Finding("absent", subject, "not told")
    off = answer.clock - clock.time()
    if abs(off) <= _CLOCK_SECONDS:
        return Finding("ok", subject, "agrees with this machine's")
    cure = "synchronise the clocks (NTP): spans would be misplaced"
    return Finding("wrong", subject, f"{off:+.0f} s from this machine's", cure)


def _examine_delivery(telemetry: otelflow.Telemetry, jaeger: str) -> Finding:
    """Send one flow the way that every flow goes, and look for it at the end."""

    @otelflow.flow(flow_name="otelflow doctor")
    def examined() -> str:
        context = trace.get_current_span().get_span_context()
        return f"{context.trace_id:032x}" if context.trace_flags.sampled else ""

    trace_id = examined().execute().flow_return_value
    if not trace_id:
        sampler = os.environ.get(OTEL_TRACES_SAMPLER, "")
        cure = f"{OTEL_TRACES_SAMPLER}={sampler} decides which runs are recorded" if sampler else ""
        return Finding("absent", _DELIVERY, "not looked for: its trace was not sampled, so nothing was sent", cure)
    telemetry.force_flush(5_000)
    began = clock.monotonic()
    while clock.monotonic() < began + _ARRIVAL_SECONDS:
        if get(jaeger, f"/api/v3/traces/{trace_id}").status == 200:
            observation = f"in Jaeger after {clock.monotonic() - began:.1f} s: {jaeger}/trace/{trace_id}"
            return Finding("ok", _DELIVERY, observation)
        clock.sleep(0.3)
    cure = "look at the Collector's log; does its exporter name this Jaeger?"
    return Finding("wrong", _DELIVERY, f"not in Jaeger after {_ARRIVAL_SECONDS:.0f} s", cure)


def _examine_output() -> Iterator[Finding]:
    """Tell whether metrics get out as the setting says; nothing while nobody has asked for any."""
    setting = str(settings.in_force()["metrics"].value or "off")
    try:
        metrics.check()
        choice = parse(setting, Resource.create())
    except ConfigurationError as error:
        yield Finding("wrong", "metrics", str(error))
        return
    place = redact_address(setting)
    try:
        if isinstance(choice, Push):
            get(choice.url, "/-/ready")
        if isinstance(choice, Pull) and choice.port:
            family = socket.AF_INET6 if ":" in choice.host else socket.AF_INET
            socket.create_server((choice.host, choice.port), family=family).close()
    except Unreachable as error:
        yield Finding("wrong", "metrics", f"{place}: {error}", "is the Pushgateway running, and its address right?")
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            observation = f"{place}: that port is taken, by a program that shows its metrics there or by another"
            cure = "each program needs a port of its own: OTELFLOW_METRICS=pull:HOST:PORT"
            yield Finding("absent", "metrics", observation, cure)
        else:
            yield Finding("wrong", "metrics", f"{place}: {error.strerror or error}", _OTHER_PLACE)
    else:
        if isinstance(choice, Textfile) and not _can_be_made(choice.file().with_suffix(".new")):
            observation = f"{place}: the folder of that file cannot be written"
            yield Finding("wrong", "metrics", observation, _OTHER_PLACE)
        elif choice is not None and setting != "otlp":
            yield Finding("ok", "metrics", place)


def _examine_metrics(answer: Answer, prometheus: str) -> Iterator[Finding]:
    """Look at the targets in *answer*, and at the losses that *prometheus* has counted."""
    targets = answer.body.get("data", {}).get("activeTargets", [])
    if not targets:
        yield Finding("wrong", "Prometheus targets", "none", "add scrape_configs, see deploy/prometheus/prometheus.yml")
    for target in targets:
        subject = f"target {target.get('labels', {}).get('job', '?')}"
        if target.get("health") == "up":
            yield Finding("ok", subject, str(target.get("scrapeUrl")))
        elif target.get("health") == "unknown":
            yield Finding("absent", subject, f"{target.get('scrapeUrl')} has not been scraped yet")
        else:
            observation = f"{target.get('scrapeUrl')}: {target.get('lastError') or target.get('health')}"
            yield Finding("wrong", subject, observation, "is it running, and is the address in prometheus.yml right?")
    for subject, query in _LOSSES:
        result = (get(prometheus, "/api/v1/query", {"query": query}).body or {}).get("data", {}).get("result", [])
        count = float(result[0]["value"][1]) if result else 0.0
        if count:
            cure = "see the logs of the programs and the Collector"
            yield Finding("wrong", subject, f"{count:,.0f} since their start", cure)
        else:
            yield Finding("ok", subject, "none")
