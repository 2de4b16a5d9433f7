"""Serve /metrics, on loopback unless another address is chosen."""

import os
import re
import socket
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple, Self

from opentelemetry.sdk.resources import Resource
from prometheus_client import start_http_server

from otelflow._core.process import forks, losses
from otelflow._core.process.settings import settings
from otelflow._core.text.redaction import redact_address
from otelflow.errors import ConfigurationError
from otelflow.metrics._counts import Aggregator
from otelflow.metrics._outputs.output import Output
from otelflow.metrics._outputs.server import Connections, bound, refuse_strange_hosts, reported

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

HOST: Final = "127.0.0.1"
PORT: Final = 9464  # OpenTelemetry's for Prometheus exporters
_HIGHEST_PORT: Final = 65_535
_TIMEOUT_SECONDS: Final = 5.0


class Certificate(NamedTuple):
    """The files with which the endpoint speaks TLS, and whose clients it lets in; empty: none."""

    file: str = ""
    key: str = ""
    client_ca: str = ""

    def check(self) -> None:
        """Raise ConfigurationError for half a certificate or a file that is not there, or is no PEM."""
        if bool(self.file) != bool(self.key) or (self.client_ca and not self.file):
            raise ConfigurationError("metrics over TLS needs metrics_certificate and metrics_key, two PEM files")
        for path in self:
            if path and not os.access(path, os.R_OK):
                raise ConfigurationError(f"metrics over TLS: {path} cannot be read")
        if not self.file:
            return
        names = f"{self.file} and {self.key}"
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.file, self.key, password=lambda: "")  # "": no question at the terminal
            if self.client_ca:
                names = self.client_ca
                context.load_verify_locations(self.client_ca)
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"metrics over TLS: {names} cannot be used ({error}): give PEM files, the key without a password and "
                "of this certificate"
            ) from None


_NO_CERTIFICATE: Final = Certificate()


@dataclass(frozen=True)
class Pull:
    """An address, and the certificate with the contents of its files: new contents are another choice."""

    host: str = HOST
    port: int = PORT
    certificate: Certificate = _NO_CERTIFICATE
    contents: tuple[bytes, ...] = ()
    takes_place: ClassVar[bool] = True

    @classmethod
    def from_place(cls, place: str, resource: Resource) -> Self:
        """Read ``HOST:PORT``, ``PORT``, ``HOST`` or nothing."""
        host, _, port = place.rpartition(":") if not place.endswith("]") else (place, "", "")
        if not host and not re.fullmatch(r"[-+]?\d*", port, re.ASCII):
            host, port = port, ""
        number = int(port) if port.isascii() and port.isdigit() else PORT if not port else -1
        text = redact_address(place)
        if ":" in host and not (host.startswith("[") and host.endswith("]")):
            raise ConfigurationError(
                f"metrics=pull:{text} is no address: an IPv6 address stands in brackets, such as pull:[::1]:{PORT}"
            )
        if not 0 <= number <= _HIGHEST_PORT or host.isdigit() or not re.fullmatch(r"[^/\s]*", host):
            raise ConfigurationError(
                f"metrics=pull:{text} is no address: give pull:HOST:PORT, such as pull:{HOST}:{PORT}"
            )
        in_force = settings()
        certificate = Certificate(in_force.metrics_certificate, in_force.metrics_key, in_force.metrics_client_ca)
        files = [Path(path) for path in certificate if path]
        return cls(host.strip("[]") or HOST, number, certificate, tuple(map(_content_of, files)))

    def check(self) -> None:
        """Raise ConfigurationError for a certificate that cannot be used."""
        self.certificate.check()

    def open(self, aggregator: Aggregator) -> "PullOutput":
        """Return the output that serves there."""
        self.check()
        return PullOutput(aggregator, self)


def _content_of(path: Path) -> bytes:
    """Return what is in the file, or nothing: why it cannot be read is said when the output opens."""
    try:
        return path.read_bytes() if path.is_file() else b""
    except OSError:
        return b""


class PullOutput(Output):
    """An HTTP server on a thread of its own. ``address`` is where it answers, or None when the port is taken."""

    def __init__(self, aggregator: Aggregator, choice: Pull) -> None:
        super().__init__(aggregator)
        self.host = choice.host
        self.port = choice.port
        self._certificate = choice.certificate
        self._server: WSGIServer | None = None
        self._connections: Connections | None = None
        forks.begin_anew(self, PullOutput.begin_anew)

    def start(self) -> bool:
        """Serve; return False, after a warning, when the port is taken."""
        certificate, port = self._certificate, self.port or 0
        try:
            self._server, _ = start_http_server(
                port,
                self.host,
                self.registry,
                certificate.file or None,
                certificate.key or None,
                client_cafile=certificate.client_ca or None,
                client_auth_required=bool(certificate.client_ca),
            )
        except (OSError, RuntimeError) as error:  # RuntimeError: there is no thread to be had
            cure = "choose another port with OTELFLOW_METRICS=pull:HOST:PORT, where port 0 is any free one"
            if isinstance(error, socket.gaierror):
                cure = (
                    "choose a name or address of this machine, such as 127.0.0.1 or 0.0.0.0, "
                    "with OTELFLOW_METRICS=pull:HOST:PORT"
                )
            losses.record(
                "metrics",
                "not_served",
                "No /metrics at %s:%d (%s): %s; the flow goes on",
                self.host,
                port,
                error,
                cure,
                key=f"{self.host}:{port}",
            )
            return False
        self._connections = bound(self._server)
        application: Any = self._server.get_app()
        address = str(self._server.server_address[0])
        self._server.set_app(refuse_strange_hosts(reported(application), address, self.host))
        scheme = "https" if certificate.file else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        self.port = self._server.server_port
        self.address = f"{scheme}://{host}:{self.port}/metrics"
        return True

    def flush(self, timeout: float) -> bool:
        """Nothing is kept back: a scrape gets the numbers of now."""
        return self._server is not None

    def close(self, *, deliver: bool = True) -> None:
        """Answer no more."""
        if self._server is None:
            return
        if self._connections is not None:
            self._connections.is_closing = True
        # In a thread: the server waits for its loop, which a request or the end of the interpreter may hold up.
        closing = threading.Thread(target=self._server.shutdown, name="otelflow-metrics", daemon=True)
        try:
            closing.start()
            closing.join(_TIMEOUT_SECONDS)
        except RuntimeError:  # the interpreter is shutting down, and the server with it
            pass
        self.begin_anew()

    def begin_anew(self) -> None:
        """Close the socket: a forked child must not hold the port of its parent."""
        if self._server is not None:
            self._server.socket.close()
        self._server = self.address = None
