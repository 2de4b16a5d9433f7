"""What a run leaves behind: artifacts and results, checked when they are made, bounded in events."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from otelflow import semconv
from otelflow._core.inside import events, journal
from otelflow._core.process import losses
from otelflow._core.process.settings import settings
from otelflow._core.runs.endings import error_message, error_type
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


class _Keeper:
    """Who keeps whole payloads; a store registers itself here."""

    keep: PayloadKeeper | None = None


def keep_payloads(keep: PayloadKeeper | None) -> None:
    """Let *keep* store each payload that is too big for an event; it returns a reference, or None if it could not."""
    _Keeper.keep = keep


def checked_key(key: object, what: str) -> str | None:
    """Return *key*, or raise InvalidArtifact for one that no backend could look up."""
    if key is None:
        return None
    if not isinstance(key, str) or lazy_compile(_KEY).fullmatch(key) is None:
        raise InvalidArtifact(
            f"{what} key {key!r:.80} is not valid: use up to 128 letters, digits, '.', '_' or '-', beginning with a "
            "letter or digit"
        )
    return key


class Artifact:
    """Something a run made: a table, a page, a link, a picture, a progress; ``update`` gives it a new state.

    Known types are markdown, table, link, progress, image, json and error; any other word is free form.
    Raises InvalidArtifact for data that does not fit its type.
    """

    __slots__ = ("_is_over", "_run", "data", "description", "key", "payload", "reference", "size", "time_ns", "type")

    def __init__(self, run: Run | None, key: str | None, artifact_type: str | None, description: str | None) -> None:
        self._run = run
        self._is_over = False
        self.key = checked_key(key, "artifact")
        self.type = artifact_type
        self.description = None if description is None else recorded(description, settings().value_limit)
        self.data: Any = None
        self.payload = ""
        self.size = 0
        self.reference: str | None = None
        self.time_ns = 0

    def take(self, data: object) -> None:
        """Check *data* and make it the artifact's state."""
        self.type = self.type or _type_of(data)
        self.data = redact_value(_CHECKS.get(self.type, _free_form)(data))
        whole = self.data if isinstance(self.data, bytes) else _text(self.data).encode()
        self.size = len(whole)
        self.time_ns = time.time_ns()
        text = _text(self.data)
        self.payload = cut(text, settings().value_limit)
        self.reference = _keep(whole) if self.payload is not text else None

    def update(self, data: object) -> None:
        """Give the artifact a new state (a progress, say); listeners hear each, the span shows the last.

        Raises InvalidArtifact for data that does not fit its type.
        """
        self.take(data)
        if self._is_over or (self._run is not None and self._run.is_closed):
            message = "Artifact %s was updated after its run had ended"
            losses.record("artifacts", "run_ended", message, self.key, key=self.key)
        if self._run is not None:
            _tell(self._run, self)

    def leave_run(self) -> None:
        """Keep no run that has ended: the flow keeps its artifacts, and would be kept by them in a ring."""
        if self._run is not None and self._run.is_closed:
            self._run, self._is_over = None, True

    def event_attributes(self) -> dict[str, str | int]:
        """Return what an event says of it."""
        found: dict[str, str | int | None] = {
            semconv.ARTIFACT_KEY: self.key,
            semconv.ARTIFACT_TYPE: self.type,
            semconv.ARTIFACT_DESCRIPTION: self.description,
            semconv.ARTIFACT_DATA: self.payload,
            semconv.ARTIFACT_SIZE: self.size,
            semconv.ARTIFACT_REFERENCE: self.reference,
        }
        return {name: value for name, value in found.items() if value is not None}

    @property
    def plain_data(self) -> Any:
        """The state as JSON has it: bytes as base64."""
        return _text(self.data) if isinstance(self.data, bytes) else self.data

    def as_dict(self) -> dict[str, Any]:
        """Return the payload of its event."""
        return {"description": self.description, "key": self.key, "data": self.data, "type": self.type}


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

    def event_attributes(self) -> dict[str, str]:
        """Return what an event says of it."""
        values = {semconv.RESULT_DESCRIPTION: self.description}
        return values if self.key is None else {semconv.RESULT_KEY: self.key, **values}

    def as_dict(self) -> dict[str, Any]:
        """Return the payload of its event."""
        return {"key": self.key, "description": self.description}


def add_artifact(
    run: Run, key: str | None, data: object, description: str | None, artifact_type: str | None
) -> Artifact:
    """Record an artifact of *run*; the caller gets it back to update it."""
    item = Artifact(run, key, artifact_type, description)
    item.take(data)
    if run.flow is not None:
        run.flow.artifacts.append(item)
    _tell(run, item)
    return item


def add_result(run: Run, key: str | None, description: object, *, changes: bool = True) -> Result:
    """Record a result of *run*; what the program may change afterwards is made text now."""
    item = Result(key, description)
    if changes:
        _ = item.description
    if run.flow is not None:
        run.flow.results.append(item)
    journal.result(run, item)
    if journal.is_wanted(run, events.Flow_Run__Event_Type.NEW_RESULT):
        data = {"result_data": item.as_dict()}
        journal.announce(run, events.Flow_Run__Event_Type.NEW_RESULT, data, time_ns=item.time_ns)
    return item


def _tell(run: Run, item: Artifact) -> None:
    journal.artifact(run, item)
    if journal.is_wanted(run, events.Flow_Run__Event_Type.NEW_ARTIFACT):
        data = {"artifact_data": item.as_dict()}
        journal.announce(run, events.Flow_Run__Event_Type.NEW_ARTIFACT, data, time_ns=item.time_ns)


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
        return f"{error_type(data)}: {error_message(data, settings().value_limit)}"
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
    if _Keeper.keep is None or len(whole) > _WHOLE:
        return None
    try:
        return _Keeper.keep(whole)
    except Exception as error:  # noqa: BLE001 a store that fails must not break the run
        losses.record("artifacts", "store_failed", "An artifact could not be stored whole", error=error)
        return None
