"""Ask Jaeger, Prometheus and an OTLP endpoint over HTTP; no redirect is followed, so that no header goes elsewhere."""

import json
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import requests

from otelflow._core.process import clock
from otelflow_exporters._otlp.answer_times import bound_answers
from otelflow_exporters._otlp.endpoint import is_web_page
from otelflow_exporters._otlp.proxies import reason_of_proxy

_TIMEOUT_SECONDS: Final = 5
_LONGEST_SECONDS: Final = 30
_LARGEST: Final = 256 * 1024 * 1024
_PIECE: Final = 1024 * 1024
_LOOPBACK: Final = ("localhost", "::1")
# The last part of an address in a browser that shows a page of Jaeger or Prometheus
_PAGES: Final = ("search", "monitor", "dependencies", "compare", "graph", "query", "targets", "alerts", "rules")


class Answer(NamedTuple):
    """The answer of a server: status, JSON (None when it is none), its clock (seconds since the epoch), a redirect."""

    status: int
    body: Any
    clock: float | None
    location: str
    is_web_page: bool = False

    @property
    def redirect(self) -> str:
        """The words about a redirect, to be said after the status; nothing if it is none."""
        return f", a redirect to {self.location}" if self.location else ""


class Certificates(NamedTuple):
    """The files of those that may vouch for a server, of our own certificate, and of its key; empty for none."""

    authority: str = ""
    own: str = ""
    key: str = ""


NO_CERTIFICATES: Final = Certificates()


class Unreachable(Exception):
    """No server answers at an address, or another one than is asked for."""

    def __init__(self, url: str, reason: object, fault: str = "does not answer") -> None:
        super().__init__(f"{url} {fault}: {reason}")


def server_address(address: str) -> str:
    """Return the address of the server alone, if *address* was taken from a browser that shows a page of it."""
    scheme, separator, rest = address.partition("://")
    if not separator:
        scheme, rest = "", address
    rest = rest.partition("#")[0].partition("?")[0].rstrip("/")
    before, _, last = rest.rpartition("/")
    if before.endswith("/trace"):
        rest = before.removesuffix("/trace")
    elif before and last in _PAGES:
        rest = before
    return f"{scheme}{separator}{rest.rstrip('/')}"


def without_path(base: str) -> str:
    """Return the end of a sentence with the address of the server alone, if *base* is that of a page of it."""
    parts = urlsplit(base)
    return f", such as {parts.scheme}://{parts.netloc}" if parts.netloc and parts.path.strip("/") else ""


def get(base: str, path: str, query: Mapping[str, str] | None = None) -> Answer:
    """GET *path* from the server at *base*. Raises Unreachable, also for an address that is none."""
    try:
        host = urlsplit(base).hostname or ""
    except ValueError as error:
        raise Unreachable(base, error) from None
    # A proxy for the network does not reach the servers of this machine.
    proxies = {"no_proxy": host} if host in _LOOPBACK or host.startswith("127.") else None
    return _ask("GET", base, base.rstrip("/") + path, params=query, proxies=proxies)


def post(
    url: str, body: bytes, headers: Mapping[str, str], *, base: str = "", certificates: Certificates = NO_CERTIFICATES
) -> Answer:
    """POST *body* to *url*, by the proxy that an exporter would use. Raises Unreachable, which names *base*."""
    own = (certificates.own, certificates.key) if certificates.own and certificates.key else certificates.own or None
    keywords = {"data": body, "headers": headers, "verify": certificates.authority or True, "cert": own}
    return _ask("POST", base or url, url, **keywords)


def _ask(method: str, address: str, url: str, **keywords: Any) -> Answer:
    if not url.startswith(("http://", "https://")):
        raise Unreachable(address, "an address begins with http:// or https://")
    deadline = clock.monotonic() + _LONGEST_SECONDS
    try:
        with (
            bound_answers(requests.Session(), _LONGEST_SECONDS) as session,
            session.request(
                method, url, timeout=_TIMEOUT_SECONDS, allow_redirects=False, stream=True, **keywords
            ) as response,
        ):
            body = bytearray()
            for piece in response.iter_content(_PIECE):
                body += piece
                if len(body) > _LARGEST or clock.monotonic() > deadline:
                    raise Unreachable(address, "its answer has no end")
    except requests.exceptions.InvalidHeader:  # whose text is the header
        raise Unreachable(address, "a header has a character that no header can have") from None
    except (OSError, ValueError) as error:  # requests' own errors are OSErrors
        root: BaseException = error
        while root.__cause__ or root.__context__:  # what the system said, which libraries wrap in errors of their own
            root = root.__cause__ or root.__context__ or root
        raise Unreachable(address, reason_of_proxy(url, error, str(root))) from None
    location = response.headers.get("Location", "").partition("?")[0] if response.is_redirect else ""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        content = None
    try:
        date = parsedate_to_datetime(response.headers["Date"]).timestamp()
    except (KeyError, ValueError, OverflowError):
        date = None
    return Answer(response.status_code, content, date, location, is_web_page(bytes(body[:_PIECE])))
