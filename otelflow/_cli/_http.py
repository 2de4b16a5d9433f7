"""Ask Jaeger and Prometheus over HTTP."""

import base64
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final, NamedTuple

_TIMEOUT_SECONDS: Final = 5
_LARGEST: Final = 256 * 1024 * 1024


class Answer(NamedTuple):
    """What a server said: status, JSON (None when it is none), and its clock (seconds since the epoch) if it told."""

    status: int
    body: Any
    clock: float | None


class Unreachable(Exception):
    """Nobody answers at an address."""

    def __init__(self, url: str, reason: object) -> None:
        super().__init__(f"{url} does not answer: {reason}")


def get(base: str, path: str, query: Mapping[str, str] | None = None) -> Answer:
    """GET *path* from the server at *base*. Raises Unreachable, also for an address that is none."""
    url = base.rstrip("/") + path + (f"?{urllib.parse.urlencode(query)}" if query else "")
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise Unreachable(base, "an address begins with http:// or https://")
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310 the scheme is checked
            return Answer(response.status, _json(response.read(_LARGEST)), _clock(response.headers.get("Date")))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, _json(error.read(_LARGEST)), _clock(error.headers.get("Date")))
    except (OSError, ValueError) as error:
        raise Unreachable(base, getattr(error, "reason", None) or error) from None


def post(url: str, body: bytes, headers: Mapping[str, str]) -> int:
    """POST *body* to *url* and return the status. Raises Unreachable."""
    parts = urllib.parse.urlsplit(url)
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    request = urllib.request.Request(bare, body, dict(headers), method="POST")  # noqa: S310 the caller gives http(s)
    if parts.username is not None:
        word = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        request.add_header("Authorization", f"Basic {base64.b64encode(word.encode()).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except (OSError, ValueError) as error:
        raise Unreachable(url, getattr(error, "reason", None) or error) from None


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _clock(date: str | None) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp() if date else None
    except ValueError:
        return None
