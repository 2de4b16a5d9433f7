"""What a run leaves behind: artifacts and results, checked when they are made, bounded in events."""

import logging
import time
import weakref
from collections.abc import Callable, Mapping
from typing import Any, Final

from otelflow import semconv
from otelflow._core.process import losses
from otelflow._core.process.process import State
from otelflow._core.process.settings import settings
from otelflow._core.runs import observers
from otelflow._core.runs.endings import qualified_name
from otelflow._core.runs.run import Run
from otelflow._core.text.redaction import recorded, redact_value
from otelflow._core.text.regex import lazy_compile
from otelflow._core.text.safe_str import cut, printable, safe_str
from otelflow.errors import InvalidArtifact

_KEY: Final = r"[A-Za-z0-9][A-Za-z0-9._\-]{0,127}"
_URL: Final = r"(?i)https?://[^\s]+"
# A payload past this is not kept whole either: it would stop the run for seconds to redact it.
_WHOLE: Final = 32 * 1024 * 1024

PayloadKeeper = Callable[[bytes], str | None]


class _Payloads(State):
    """Who keeps whole payloads; a store registers itself here."""

    keep: PayloadKeeper | None

    def reset(self) -> None:
        """Have nobody who keeps them."""
        self.keep = None


_payloads: Final = _Payloads()


def keep_payloads(keep: PayloadKeeper | None) -> None:
    """Let *keep* store each payload that is too big for an event; it returns a reference, or None if it could not."""
    _payloads.keep = keep


def checked_key(key: object, owner: str) -> str | None:
    """Return *key*, or raise InvalidArtifact for one that no backend could look up."""
    if key is None:
        return None
    if not isinstance(key, str) or lazy_compile(_KEY).fullmatch(key) is None:
        raise InvalidArtifact(
            f"{owner} key {key!r:.80} is not valid: use up to 128 letters, digits, '.', '_' or '-', beginning with a "
            "letter or digit"
        )
    return key


def _no_run() -> None:
    """Stand for the run of an artifact that is a copy from another process."""


class Artifact:
    """Something a run made: a table, a page, a link, a picture, a progress; ``update`` gives it a new state.

    Known types are markdown, table, link, progress, image, json and error; any other word is free form.
    Raises InvalidArtifact for data that does not fit its type.
    """

    __slots__ = ("_run", "data", "description", "excerpt", "key", "reference", "size", "time_ns", "type")

    def __init__(self, run: Run, key: str | None, artifact_type: str | None, description: str | None) -> None:
        # A flow keeps its artifacts: through them it must not keep its run, which refers to it.
        self._run: Callable[[], Run | None] = weakref.ref(run) if run.is_open else lambda: run
        self.key = checked_key(key, "artifact")
        self.type = artifact_type
        self.description = None if description is None else recorded(description, settings().value_limit)
        self.data: Any = None
        self.excerpt = ""
        self.size = 0
        self.reference: str | None = None
        self.time_ns = 0

    def __getstate__(self) -> tuple[None, dict[str, Any]]:
        """Return what a copy has: everything but the run, which stays in its process."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return None, {**values, "_run": _no_run}

    def take(self, data: object) -> None:
        """Check *data* and make it the artifact's state."""
        self.type = self.type or _type_of(data)
        self.data = redact_value(_CHECKS.get(self.type, _free_form)(data))
        whole = self.data if isinstance(self.data, bytes) else _text(self.data).encode()
        self.size = len(whole)
        self.time_ns = time.time_ns()
        text = _text(self.data)
        self.excerpt = cut(text, settings().value_limit)
        self.reference = _keep(whole) if self.excerpt is not text else None

    def update(self, data: object) -> None:
        """Give the artifact a new state (a progress, say); listeners hear each, the span shows the last.

        Raises InvalidArtifact for data that does not fit its type.
        """
        self.take(data)
        run = self._run()
        if run is None or run.is_closed:
            message = "Artifact %s was updated after its run had ended"
            losses.record("artifacts", "run_ended", message, self.key, key=self.key)
        if run is not None:
            observers.tell_entry(run, self)

    @property
    def plain_data(self) -> Any:
        """The state as JSON has it: bytes as base64."""
        return _text(self.data) if isinstance(self.data, bytes) else self.data

    def as_dict(self) -> dict[str, Any]:
        """Return description, key, data and type."""
        return {"description": self.description, "key": self.key, "data": self.data, "type": self.type}

    # As an entry of a run:

    @property
    def event_name(self) -> str:
        """The name of its span event."""
        return semconv.ARTIFACT_EVENT

    @property
    def level(self) -> int:
        """How important it is, as ``logging`` counts."""
        return logging.INFO

    @property
    def is_important(self) -> bool:
        """Whether it is kept when others are left out."""
        return self.type == "error"

    @property
    def body(self) -> str:
        """The text of its log record."""
        return self.description or ""

    def attributes(self) -> dict[str, str | int]:
        """Return the attributes of its span event."""
        values: dict[str, str | int | None] = {
            semconv.ARTIFACT_KEY: self.key,
            semconv.ARTIFACT_TYPE: self.type,
            semconv.ARTIFACT_DESCRIPTION: self.description,
            semconv.ARTIFACT_DATA: self.excerpt,
            semconv.ARTIFACT_SIZE: self.size,
            semconv.ARTIFACT_REFERENCE: self.reference,
        }
        return {name: value for name, value in values.items() if value is not None}

    def payload(self) -> dict[str, Any]:
        """Return what a listener's event has as ``data``."""
        return {"artifact_data": self.as_dict()}


class Result:
    """A named result of a run."""

    __slots__ = ("_text", "_value", "key", "time_ns")

    def __init__(self, key: str | None, description: object) -> None:
        self.key = checked_key(key, "result")
        self._value = description
        self._text: str | None = None
        self.time_ns = time.time_ns()

    @property
    def description(self) -> str:
        """The value as text, redacted and bounded; made when somebody first reads it."""
        if self._text is None:
            self._text = recorded(self._value, settings().value_limit)
            self._value = None
        return self._text

    def as_dict(self) -> dict[str, Any]:
        """Return key and description."""
        return {"key": self.key, "description": self.description}

    # As an entry of a run:

    @property
    def event_name(self) -> str:
        """The name of its span event."""
        return semconv.RESULT_EVENT

    @property
    def level(self) -> int:
        """How important it is, as ``logging`` counts."""
        return logging.INFO

    @property
    def is_important(self) -> bool:
        """Whether it is kept when others are left out."""
        return False

    @property
    def body(self) -> str:
        """The text of its log record."""
        return self.description

    def attributes(self) -> dict[str, str | int]:
        """Return the attributes of its span event."""
        values: dict[str, str | int] = {semconv.RESULT_DESCRIPTION: self.description}
        return values if self.key is None else {semconv.RESULT_KEY: self.key, **values}

    def payload(self) -> dict[str, Any]:
        """Return what a listener's event has as ``data``."""
        return {"result_data": self.as_dict()}


def add_artifact(
    run: Run, key: str | None, data: object, description: str | None, artifact_type: str | None
) -> Artifact:
    """Record an artifact of *run*; the caller gets it back to update it."""
    artifact = Artifact(run, key, artifact_type, description)
    artifact.take(data)
    if run.flow is not None:
        run.flow.flow_state.artifacts.append(artifact)
    observers.tell_entry(run, artifact)
    return artifact


def add_result(run: Run, key: str | None, description: object, *, changes: bool = True) -> Result:
    """Record a result of *run*; what the program may change afterwards is made text now."""
    result = Result(key, description)
    if changes:
        _ = result.description
    if run.flow is not None:
        run.flow.flow_state.results.append(result)
    observers.tell_entry(run, result)
    return result


def _type_of(data: object) -> str:
    if isinstance(data, BaseException):
        return "error"
    if isinstance(data, dict | list | tuple):
        return "json"
    return "text"


def _markdown(data: object) -> object:
    if not isinstance(data, str):
        raise InvalidArtifact(f"a markdown artifact needs a text, not {type(data).__name__}")
    return printable(data)


def _table(data: object) -> object:
    """A list of rows (dicts or lists), or a dict of columns."""
    if isinstance(data, Mapping) and all(isinstance(column, list | tuple) for column in data.values()):
        lengths = {str(name): len(column) for name, column in data.items()}
        if len(set(lengths.values())) > 1:
            raise InvalidArtifact(f"a table artifact's columns must be equally long, not {lengths!r:.200}")
        data = [dict(zip(data, row, strict=True)) for row in zip(*data.values(), strict=True)]
    if not isinstance(data, list | tuple) or not all(isinstance(row, Mapping | list | tuple) for row in data):
        raise InvalidArtifact("a table artifact needs a list of rows (dicts or lists) or a dict of columns")
    return _json(data)


def _link(data: object) -> object:
    if not isinstance(data, str) or lazy_compile(_URL).fullmatch(data) is None:
        raise InvalidArtifact(f"a link artifact needs an http or https address, not {data!r:.80}")
    return data


def _progress(data: object) -> object:
    if isinstance(data, bool) or not isinstance(data, int | float) or not 0 <= data <= 100:
        raise InvalidArtifact(f"a progress artifact needs a number from 0 to 100, not {data!r:.80}")
    return data


def _image(data: object) -> object:
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    if isinstance(data, str) and lazy_compile(_URL).fullmatch(data):
        return data
    raise InvalidArtifact(f"an image artifact needs bytes or an http or https address, not {data!r:.80}")


def _json(data: object) -> object:
    import json  # noqa: PLC0415 only for artifacts

    try:
        return json.loads(printable(json.dumps(data, ensure_ascii=False)))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArtifact(
            f"the data is not JSON ({error}); convert it, or give artifact_type='text' to keep its str()"
        ) from None


def _error(data: object) -> object:
    if isinstance(data, BaseException):
        return f"{qualified_name(type(data))}: {recorded(data, settings().value_limit)}"
    return _free_form(data)


def _free_form(data: object) -> object:
    """Take anything: what is no text, bytes or JSON becomes its ``str()``."""
    if data is None or isinstance(data, str | bytes | int | float | bool):
        return printable(data) if isinstance(data, str) else data
    if isinstance(data, bytearray | memoryview):
        return bytes(data)
    try:
        return _json(data)
    except InvalidArtifact:
        return safe_str(data, _WHOLE)


_CHECKS: Final[Mapping[str, Callable[[object], object]]] = {
    "markdown": _markdown,
    "table": _table,
    "link": _link,
    "progress": _progress,
    "image": _image,
    "json": _json,
    "error": _error,
}


def _text(data: object) -> str:
    if data is None:
        return ""
    if isinstance(data, str):
        return data
    if isinstance(data, bytes):
        import binascii  # noqa: PLC0415 only for artifacts

        return binascii.b2a_base64(data, newline=False).decode()
    import json  # noqa: PLC0415 only for artifacts

    return json.dumps(data, ensure_ascii=False)


def _keep(whole: bytes) -> str | None:
    if _payloads.keep is None or len(whole) > _WHOLE:
        return None
    try:
        return _payloads.keep(whole)
    except Exception as error:  # noqa: BLE001 a store that fails must not break the run
        losses.record("artifacts", "store_failed", "An artifact could not be stored whole", error=error)
        return None
