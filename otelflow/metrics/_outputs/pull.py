"""Serve /metrics, on loopback unless asked otherwise."""

import os
import re
import socket
import ssl
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from prometheus_client import CollectorRegistry, start_http_server

from otelflow._core.process import forks, losses
from otelflow.errors import ConfigurationError

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

HOST: Final = "127.0.0.1"
PORT: Final = 9464  # OpenTelemetry's for Prometheus exporters
_HIGHEST_PORT: Final = 65_535
_PATIENCE_SECONDS: Final = 5.0


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
        if self.file:
            self._load()

    def _load(self) -> None:
        tried = f"{self.file} and {self.key}"
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.file, self.key, password=lambda: "")  # "": ask nobody
            if self.client_ca:
                tried = self.client_ca
                context.load_verify_locations(self.client_ca)
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"metrics over TLS: {tried} cannot be used ({error}): give PEM files, the key without a password and "
                "of this certificate"
            ) from None

    def state(self) -> object:
        """Return what is another value when a file is another one, or has other contents."""
        return self, [(path and Path(path).is_file() and Path(path).read_bytes()) for path in self]


class Pull:
    """An HTTP server on a thread of its own. ``address`` is where it answers, or None when the port is taken."""

    def __init__(self, registry: CollectorRegistry, where: str, certificate: Certificate) -> None:
        self.host, self.port = place(where)
        certificate.check()
        self.address: str | None = None
        self._registry = registry
        self._certificate = certificate
        self._server: WSGIServer | None = None
        forks.begin_anew(self, Pull.leave)

    def start(self) -> bool:
        """Serve; return False, after a warning, when the port is taken."""
        host, port, certificate = self.host, self.port, self._certificate
        try:
            self._server, _ = start_http_server(
                port,
                host,
                self._registry,
                certificate.file or None,
                certificate.key or None,
                client_cafile=certificate.client_ca or None,
                client_auth_required=bool(certificate.client_ca),
            )
        except socket.gaierror as error:
            losses.warn_once(
                f"metrics pull {host}:{port}",
                "No /metrics at %s:%d (%s): choose a name or address of this machine, such as 127.0.0.1 or 0.0.0.0, "
                "with OTELFLOW_METRICS=pull:HOST:PORT; the flow goes on",
                host,
                port,
                error,
            )
            return False
        except OSError as error:
            losses.record(
                "metrics",
                "not_served",
                "No /metrics at %s:%d (%s): choose another port with OTELFLOW_METRICS=pull:HOST:PORT, where port 0 is "
                "any free one; the flow goes on",
                host,
                port,
                error,
                key=f"{host}:{port}",
            )
            return False
        _keep_nobody_waiting(self._server)
        scheme = "https" if certificate.file else "http"
        shown = f"[{host}]" if ":" in host else host
        self.port = self._server.server_port
        self.address = f"{scheme}://{shown}:{self.port}/metrics"
        return True

    def flush(self, timeout: float) -> bool:
        """Nothing is kept back: who asks gets the numbers of now."""
        return self._server is not None

    def close(self) -> None:
        """Answer no more."""
        if self._server is None:
            return
        ending = threading.Thread(target=self._server.shutdown, name="otelflow-metrics", daemon=True)
        try:
            ending.start()
            ending.join(_PATIENCE_SECONDS)
        except RuntimeError:  # the interpreter is shutting down, and the server with it
            pass
        self.leave()

    def leave(self) -> None:
        """Close the socket: a forked child must not hold the port of its parent."""
        if self._server is not None:
            self._server.socket.close()
        self._server = self.address = None


def _keep_nobody_waiting(server: "WSGIServer") -> None:
    """Have each connection on a thread of its own from its first byte on: the handshake, too, and not for ever."""
    if isinstance(server.socket, ssl.SSLSocket):
        listening: Any = server.socket
        listening.do_handshake_on_connect = False  # accept() hands it on; the first read makes the handshake
    handler: Any = server.RequestHandlerClass
    server.RequestHandlerClass = type("Handler", (handler,), {"timeout": _PATIENCE_SECONDS})
    speak: Any = server.handle_error

    def handle_error(request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # a client that speaks no TLS, or is gone: not worth a word
            speak(request, client_address)

    server.handle_error = handle_error  # type: ignore[method-assign]


def place(where: str) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT``, ``PORT``, ``HOST`` or nothing. Raises ConfigurationError."""
    host, _, port = where.rpartition(":") if not where.endswith("]") else (where, "", "")
    if not host and not re.fullmatch(r"[-+]?\d*", port, re.ASCII):
        host, port = port, ""
    number = int(port) if port.isascii() and port.isdigit() else PORT if not port else -1
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ConfigurationError(
            f"metrics=pull:{where} is no address: an IPv6 address stands in brackets, such as pull:[::1]:{PORT}"
        )
    if not 0 <= number <= _HIGHEST_PORT or host.isdigit() or not re.fullmatch(r"[^/\s]*", host):
        raise ConfigurationError(f"metrics=pull:{where} is no address: give pull:HOST:PORT, such as pull:{HOST}:{PORT}")
    return host.strip("[]") or HOST, number
