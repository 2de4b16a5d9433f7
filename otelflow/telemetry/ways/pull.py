"""Serve /metrics, on loopback unless asked otherwise."""

import os
from typing import TYPE_CHECKING, Final, NamedTuple

from prometheus_client import CollectorRegistry, start_http_server

from otelflow._core import ledger
from otelflow._core.errors import ConfigurationError
from otelflow.telemetry import forks

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

HOST: Final = "127.0.0.1"
PORT: Final = 9464  # OpenTelemetry's for Prometheus exporters
_HIGHEST_PORT: Final = 65_535


class Certificate(NamedTuple):
    """The files with which the endpoint speaks TLS, and whose clients it lets in; empty: none."""

    file: str = ""
    key: str = ""
    client_ca: str = ""

    def check(self) -> None:
        """Raise ConfigurationError for half a certificate or a file that is not there."""
        if bool(self.file) != bool(self.key) or (self.client_ca and not self.file):
            raise ConfigurationError("metrics over TLS needs metrics_certificate and metrics_key, two PEM files")
        for path in self:
            if path and not os.access(path, os.R_OK):
                raise ConfigurationError(f"metrics over TLS: {path} cannot be read")


class Pull:
    """An HTTP server on a thread of its own. ``address`` is where it answers, or None when the port is taken."""

    def __init__(self, registry: CollectorRegistry, where: str, certificate: Certificate) -> None:
        host, port = _place(where)
        certificate.check()
        self.address: str | None = None
        self._server: WSGIServer | None = None
        try:
            self._server, _ = start_http_server(
                port,
                host,
                registry,
                certificate.file or None,
                certificate.key or None,
                client_cafile=certificate.client_ca or None,
                client_auth_required=bool(certificate.client_ca),
            )
        except OSError as error:
            ledger.lost("metrics", "not_served")
            ledger.warn_once(
                f"metrics pull {host}:{port}",
                "No /metrics at %s:%d (%s): choose another port with OTELFLOW_METRICS=pull:HOST:PORT, where port 0 is "
                "any free one; the flow goes on",
                host,
                port,
                error,
            )
            return
        scheme = "https" if certificate.file else "http"
        shown = f"[{host}]" if ":" in host else host
        self.address = f"{scheme}://{shown}:{self._server.server_port}/metrics"
        forks.begin_anew(self, Pull.leave)

    def flush(self, timeout: float) -> bool:
        """Nothing is kept back: who asks gets the numbers of now."""
        return self._server is not None

    def close(self) -> None:
        """Answer no more."""
        if self._server is not None:
            self._server.shutdown()
            self.leave()

    def leave(self) -> None:
        """Close the socket: a forked child must not hold the port of its parent."""
        if self._server is not None:
            self._server.socket.close()
        self._server = self.address = None


def _place(where: str) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT``, ``PORT``, ``HOST`` or nothing. Raises ConfigurationError."""
    host, _, port = where.rpartition(":") if not where.endswith("]") else (where, "", "")
    if not host and not port.isdigit():
        host, port = port, ""
    number = int(port) if port.isdigit() else PORT if not port else -1
    if not 0 <= number <= _HIGHEST_PORT or "/" in host:
        raise ConfigurationError(f"metrics=pull:{where} is no address: give pull:HOST:PORT, such as pull:{HOST}:{PORT}")
    return host.strip("[]") or HOST, number
