"""Say it of the proxy when that is what keeps a request from its endpoint: the variable that names it, never its value.

A proxy is named by variables that are no part of OpenTelemetry, and are often set for a whole machine: who reads only
that an address is wrong, or that a connection was refused, looks at the endpoint.
"""

import os
import sys
from typing import Any, Final
from urllib.parse import urlsplit

_SCHEMES: Final = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")


def reason_of_proxy(endpoint: str, error: BaseException, reason: str) -> str:
    """Return why a request to *endpoint* failed with this *error* of ``requests``; *reason*, unless it is the proxy."""
    # Nobody has sent by it where it is not there.
    errors: Any = getattr(sys.modules.get("requests"), "exceptions", None)
    if errors is None or not isinstance(error, (errors.ProxyError, errors.InvalidURL, errors.InvalidSchema)):
        return reason
    name = proxy_variable(endpoint)
    if not name:
        return reason
    value = os.environ[name].strip()
    scheme, host = _parts_of(value)
    if scheme not in _SCHEMES or not host:
        return f"{name} names no proxy: give an address such as http://proxy:3128, or unset it"
    if isinstance(error, errors.InvalidSchema):
        return f"{name} names a SOCKS proxy: pip install 'requests[socks]', or unset it"
    if isinstance(error, errors.ProxyError):
        return f"the proxy that {name} names: {_refusal_in(error) or reason}"
    return reason


def proxy_variable(endpoint: str) -> str:
    """Return the variable that names the proxy for *endpoint*; empty if there is none, or that is no address."""
    from requests.utils import get_environ_proxies  # noqa: PLC0415

    try:
        scheme = urlsplit(endpoint).scheme
        proxies = get_environ_proxies(endpoint)
    except ValueError:
        return ""
    for key in (scheme, "all"):
        if proxies.get(key):
            # Of two spellings the one in small letters counts.
            names = sorted((name for name in os.environ if name.lower() == f"{key}_proxy"), key=str.isupper)
            return names[0] if names else ""  # else the system's settings name it
    return ""


def _parts_of(value: str) -> tuple[str, str]:
    """Return scheme and host of a proxy's address; nothing if it cannot be one."""
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        has_port = parts.port != 0  # raises for one that is no number
    except ValueError:
        return "", ""
    host = parts.hostname or ""
    is_name = has_port and host.isprintable() and not set(host) & set(" \"'")
    return parts.scheme.lower(), host if is_name else ""


def _refusal_in(error: BaseException) -> str:
    """Return what a proxy answered that makes no tunnel, such as that it wants a password."""
    _, begins, rest = str(error).partition("Tunnel connection failed: ")
    return rest.rstrip("')\"") if begins else ""
