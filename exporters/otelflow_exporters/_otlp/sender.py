"""Send bytes that are OTLP already, and hear whether they arrived: over HTTP or gRPC, as the ``OTEL_*`` variables say.

Source: the OTLP specification, https://opentelemetry.io/docs/specs/otlp: which answers are worth another try, and
``Retry-After``.
"""

import email.utils
import functools
import gzip
import math
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from opentelemetry.util.re import parse_env_headers

from otelflow._core.process import clock, forks
from otelflow._core.process.worker import uninstrumented
from otelflow._core.text.hints import suggestion
from otelflow._version import __version__
from otelflow.errors import ConfigurationError
from otelflow_exporters._otlp.answer_times import bound_answers, read_answer
from otelflow_exporters._otlp.endpoint import (
    ExportStatus,
    TooLarge,
    credential_provider,
    is_grpc,
    otlp_settings,
    variable,
)

_EXPORT: Final = "/opentelemetry.proto.collector.{package}.v1.{service}/Export"
_SERVICES: Final = {
    "traces": ("trace", "TraceService"),
    "logs": ("logs", "LogsService"),
    "metrics": ("metrics", "MetricsService"),
}
_USER_AGENT: Final = f"otelflow/{__version__}"
# Of nine levels the first: higher ones take several times as long for a tenth less
_COMPRESSIONS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "gzip": functools.partial(gzip.compress, compresslevel=1),
    "deflate": functools.partial(zlib.compress, level=1),
    "none": bytes,
}
# What Collectors understand over gRPC
_COMPRESSIONS_OF_GRPC: Final = {"gzip": "Gzip", "none": "NoCompression"}
_LONGEST_RETRY_SECONDS: Final = 600.0


class Sender(Protocol):
    """Sends one request after the other to one endpoint; ``status`` says how the last one ended."""

    status: ExportStatus
    #: How many seconds the endpoint wants to be left alone, 0 if it did not say
    retry_after: float

    def send(self, body: bytes) -> None:
        """Send *body*, and wait for the answer no longer than the time limit of the endpoint; never raises."""

    def close(self) -> None:
        """Let go of the connection."""


def new_sender(signal: str, exporter: str = "otlp") -> Sender:
    """Return what sends *signal* as the exporter of that name would, to the endpoint that the variables name.

    Raises ConfigurationError.
    """
    is_over_grpc = is_grpc(signal, exporter)
    endpoint, timeout = otlp_settings(signal, "otlp_proto_grpc" if is_over_grpc else "otlp_proto_http")
    name, compression = variable(signal, "COMPRESSION")
    compression = compression.lower() or "none"  # as OpenTelemetry has it: most endpoints are on the same machine
    supported = _COMPRESSIONS_OF_GRPC if is_over_grpc else _COMPRESSIONS
    if compression not in supported:
        protocol = " over gRPC" if compression in _COMPRESSIONS else ""
        words = suggestion(compression, supported)
        raise ConfigurationError(f"{name}={compression} is not supported{protocol}{words}")
    headers = _headers(signal, "ascii" if is_over_grpc else "latin-1")
    if is_over_grpc:
        return _GrpcSender(signal, endpoint, headers, timeout, compression)
    if not variable(signal, "ENDPOINT")[0].startswith(f"OTEL_EXPORTER_OTLP_{signal.upper()}_"):
        endpoint = f"{endpoint.rstrip('/')}/v1/{signal}"
    return _HttpSender(signal, endpoint, headers, timeout, compression)


def _headers(signal: str, encoding: str) -> dict[str, str]:
    """Return the headers that a variable names. Raises ConfigurationError for one that can never be sent."""
    name, text = variable(signal, "HEADERS")
    headers = dict(parse_env_headers(text, liberal=True))
    for key, value in headers.items():  # which may be a secret, and is not shown
        if value != value.encode(encoding, "replace").decode(encoding) or not value.isprintable():
            raise ConfigurationError(
                f"{name}: the value of {key} has a character that no header takes: write it in ASCII"
            )
    return headers


def _file(signal: str, setting: str) -> str | None:
    """Return the path that a variable names. Raises ConfigurationError if it cannot be read."""
    name, path = variable(signal, setting)
    if not path:
        return None
    if not os.access(path, os.R_OK) or not Path(path).is_file():
        raise ConfigurationError(f"{name}={path} cannot be read")
    return path


class _HttpSender:
    def __init__(self, signal: str, endpoint: str, headers: dict[str, str], timeout: float, compression: str) -> None:
        self.status = ExportStatus(endpoint)
        self.retry_after = 0.0
        self._endpoint = endpoint
        self._timeout = timeout
        self._compress = _COMPRESSIONS[compression]
        self._headers = {
            "User-Agent": _USER_AGENT,
            "Accept-Encoding": "gzip, deflate",
            **headers,
            "Content-Type": "application/x-protobuf",
        }
        if compression != "none":
            self._headers["Content-Encoding"] = compression
        self._verify = _file(signal, "CERTIFICATE") or True
        certificate, key = _file(signal, "CLIENT_CERTIFICATE"), _file(signal, "CLIENT_KEY")
        self._certificate = (certificate, key) if certificate and key else certificate
        import requests  # noqa: PLC0415 only where something is sent; before the first span, since it takes long

        self._new_session = credential_provider(signal, "otlp_proto_http") or requests.Session
        self._session: Any = None
        forks.begin_anew(self, _HttpSender.begin_anew)

    def begin_anew(self) -> None:
        """Leave the connection to the parent process, which goes on using it."""
        self._session = None

    def send(self, body: bytes) -> None:
        self.status.reset()
        self.retry_after = 0.0
        body = self._compress(body)
        try:
            if self._session is None:
                self._session = bound_answers(self._new_session())
            with (
                uninstrumented(),
                self._session.post(
                    self._endpoint,
                    data=body,
                    headers=self._headers,
                    timeout=self._timeout,
                    verify=self._verify,
                    cert=self._certificate,
                    allow_redirects=False,  # it would take the headers to another host
                    stream=True,
                ) as response,
            ):
                read_answer(response, self._timeout)
                self.retry_after = _seconds(response.headers.get("Retry-After", ""))
                self.status.on_response(response)
        except Exception as error:  # noqa: BLE001 the network, and an answer that is no message
            self.status.on_error(error)

    def close(self) -> None:
        if self._session is not None:
            self._session.close()
        self._session = None


def _seconds(text: str) -> float:
    """Return how long ``Retry-After`` asks to wait: a number of seconds, or a date."""
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - clock.time()
        except (ValueError, TypeError, OverflowError, OSError):
            return 0.0
    return 0.0 if math.isnan(seconds) else min(max(seconds, 0.0), _LONGEST_RETRY_SECONDS)


class _GrpcSender:
    def __init__(self, signal: str, endpoint: str, headers: dict[str, str], timeout: float, compression: str) -> None:
        import grpc  # noqa: PLC0415 only for those who use it

        self._grpc: Any = grpc
        self.status = ExportStatus(endpoint)
        self.retry_after = 0.0
        parts = urlsplit(endpoint)
        text = variable(signal, "INSECURE")[1].lower()
        is_insecure = parts.scheme == "http" if not text or parts.scheme == "https" else text == "true"
        self._target = parts.netloc or endpoint
        self._credentials: Any = None
        provider = None if is_insecure else credential_provider(signal, "otlp_proto_grpc")
        if provider is not None:
            self._credentials = provider()
        elif not is_insecure:
            paths = (_file(signal, setting) for setting in ("CERTIFICATE", "CLIENT_KEY", "CLIENT_CERTIFICATE"))
            self._credentials = grpc.ssl_channel_credentials(*map(_content, paths))
        self._metadata = tuple(headers.items())
        self._timeout = timeout
        self._compression = getattr(grpc.Compression, _COMPRESSIONS_OF_GRPC[compression])
        package, service = _SERVICES[signal]
        self._method = _EXPORT.format(package=package, service=service)
        self._channel: Any = None
        forks.begin_anew(self, _GrpcSender.begin_anew)

    def begin_anew(self) -> None:
        """Leave the connection to the parent process, which goes on using it."""
        self._channel = None

    def send(self, body: bytes) -> None:
        self.status.reset()
        self.retry_after = 0.0
        try:
            with uninstrumented():
                if self._channel is None:
                    options = (("grpc.primary_user_agent", _USER_AGENT),)
                    keywords = {"options": options, "compression": self._compression}
                    if self._credentials is None:
                        self._channel = self._grpc.insecure_channel(self._target, **keywords)
                    else:
                        self._channel = self._grpc.secure_channel(self._target, self._credentials, **keywords)
                export = self._channel.unary_unary(self._method)  # bytes go in and come out
                answer = export(body, timeout=self._timeout, metadata=self._metadata)
            from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as service  # noqa: PLC0415

            # On the wire the answers for all signals are the same.
            self.status.on_message(service.ExportTraceServiceResponse.FromString(answer))
        except Exception as error:  # noqa: BLE001 the network, and an answer that is no message
            self.retry_after = _retry_info(error)
            try:
                self.status.on_error(error)
            except TooLarge:
                return
            self.close()  # a channel that could not connect waits for longer and longer before it tries again

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()
        self._channel = None


def _retry_info(error: Exception) -> float:
    """Return how many seconds the endpoint asks to be left alone, as this *error* of gRPC says."""
    from google.protobuf.duration_pb2 import Duration  # noqa: PLC0415 only for those who need it

    try:
        metadata: dict[str, Any] = dict(error.trailing_metadata() or ())  # type: ignore[attr-defined]
        infos = [metadata.get("google.rpc.retryinfo-bin", b"")]
        for detail in _fields_of(metadata.get("grpc-status-details-bin", b""), 3):  # of a google.rpc.Status
            kind, content = _fields_of(detail, 1)[0], _fields_of(detail, 2)
            infos += content if kind.endswith(b"/google.rpc.RetryInfo") else ()
        delays = [Duration.FromString(delay) for info in infos for delay in _fields_of(info, 1)]
        seconds = max((delay.ToTimedelta().total_seconds() for delay in delays), default=0.0)
        return min(max(seconds, 0.0), _LONGEST_RETRY_SECONDS)
    except Exception:  # noqa: BLE001 an answer that is no message, or another error
        return 0.0


def _fields_of(message: bytes, number: int) -> list[bytes]:
    """Return the fields *number* of a protobuf *message* for which there is no class here."""
    from google.protobuf.empty_pb2 import Empty  # noqa: PLC0415
    from google.protobuf.unknown_fields import UnknownFieldSet  # noqa: PLC0415

    fields: Any = UnknownFieldSet(Empty.FromString(message))
    return [field.data for field in fields if field.field_number == number]


def _content(path: str | None) -> bytes | None:
    if path is None:
        return None
    return Path(path).read_bytes()
