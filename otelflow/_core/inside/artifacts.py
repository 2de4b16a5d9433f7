"""What a run leaves behind: artifacts and results, checked when they are made, bounded in events."""

import binascii
import logging
import weakref
from collections.abc import Callable
from typing import Any, Final

from otelflow import semconv
from otelflow._core.inside.artifact_types import LONGEST_TEXT, checked_data
from otelflow._core.process import clock, losses, shutdown
from otelflow._core.process.process import State
from otelflow._core.process.settings import settings
from otelflow._core.runs import observers
from otelflow._core.runs.run import Run
from otelflow._core.text.excerpt import Excerpt
from otelflow._core.text.plain import frame_rows, is_structured
from otelflow._core.text.redaction import recorded
from otelflow._core.text.regex import lazy_compile
from otelflow._core.text.safe_str import brief_repr, comes_from_outside, cut, safe_str
from otelflow.errors import InvalidArtifact

_KEY: Final = r"[A-Za-z0-9][A-Za-z0-9._\-]{0,127}"
# The bytes that an artifact keeps, so that it holds the run up for a tenth of a second at most.
_LARGEST_BYTES: Final = 8 * 1024 * 1024
_TYPE_LENGTH: Final = 128
_REASON_LENGTH: Final = 200

PayloadKeeper = Callable[[bytes], str | None]


class _Payloads(State):
    """The function that keeps whole payloads; a store registers its own here."""

    keep: PayloadKeeper | None

    def reset(self) -> None:
        """Keep no payloads."""
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
            f"{owner} key {brief_repr(key)} is not valid: use up to 128 letters, digits, '.', '_' or '-', beginning "
            "with a letter or digit"
        )
    return key


def _no_run() -> None:
    """Stand for the run of an artifact that is a copy from another process."""


class _RunEntry:
    """What an artifact and a result have in common as entries of a run."""

    __slots__ = ()

    @property
    def level(self) -> int:
        """How important it is, as ``logging`` counts."""
        return logging.INFO

    @property
    def is_important(self) -> bool:
        """Whether it is kept when others are left out."""
        return False


class Artifact(_RunEntry):
    """Something a run made: a table, a page, a link, a picture, a progress; ``update`` gives it a new state.

    ``Flow.add_flow_artifact`` and ``Task.add_task_artifact`` make and return it; what fits which type stands there.
    ``key``, ``type`` and ``description`` are texts or None, ``data`` is the state, redacted, ``size`` its length in
    bytes, ``time_ns`` when it was made (nanoseconds since the epoch). ``reference`` (str) is where a store keeps the
    data that was too long for the span, or None. Of data that is too large, ``data`` is the beginning, and ``is_cut``
    says so.

    Raises InvalidArtifact for a key that is not valid.

    >>> from otelflow import Flow
    >>> fetched = Flow().add_flow_artifact("how far it is", key="fetched", data=0, artifact_type="progress")
    >>> fetched.update(50)
    >>> fetched.as_dict()
    {'description': 'how far it is', 'key': 'fetched', 'data': 50, 'type': 'progress'}
    """

    __slots__ = ("_run", "data", "description", "is_cut", "key", "reference", "size", "text", "time_ns", "type")

    # The state, set by ``take``:
    data: Any
    text: str
    size: int  # bytes
    is_cut: bool
    reference: str | None
    time_ns: int

    def __init__(self, run: Run, key: str | None, artifact_type: str | None, description: str | None) -> None:
        # A flow keeps its artifacts: through them it must not keep its run, which refers to it.
        self._run: Callable[[], Run | None] = weakref.ref(run) if run.is_open else lambda: run
        self.key = checked_key(key, "artifact")
        self.type = None if artifact_type is None else recorded(artifact_type, _TYPE_LENGTH)
        self.description = None if description is None else recorded(description, settings().value_limit)

    def __getstate__(self) -> tuple[None, dict[str, Any]]:
        """Return what a copy has: everything but the run, which stays in its process."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return None, {**values, "_run": _no_run}

    def take(self, data: object) -> None:
        """Check *data* and make it the artifact's state."""
        data = _with_class(data)
        if not self.type:
            is_json = isinstance(data, dict | list | tuple) or is_structured(data)
            self.type = "error" if isinstance(data, BaseException) else "json" if is_json else "text"
            if frame_rows(data) is not None:
                self.type = "table"
        excerpt = Excerpt(LONGEST_TEXT)
        try:
            self.data = checked_data(self.type, data, excerpt)
        except InvalidArtifact:
            raise
        except BaseException as error:  # what is no JSON, or the trouble of a foreign container
            if comes_from_outside(error):
                raise
            raise InvalidArtifact(
                f"the data is not JSON ({safe_str(error, _REASON_LENGTH)}); convert it, or give artifact_type='text' "
                "to keep its str()"
            ) from None
        self.is_cut = excerpt.is_cut
        self.time_ns = clock.time_ns()
        limit = settings().value_limit
        if isinstance(self.data, bytes):
            whole = self.data
            self.text = cut(_base64(whole[: limit // 4 * 3 + 3]), limit, -(-len(whole) // 3) * 4)
            is_whole = len(self.text) <= limit
        else:
            text = _text(self.data)
            whole = text.encode()
            self.text = cut(text, limit)
            is_whole = self.text is text
        self.size = len(whole)
        self.reference = None if is_whole else self._keep(whole)
        if self.is_cut:
            losses.warn_once(
                f"artifact cut {self.key}",
                "Artifact %s is too large to be recorded whole; its beginning is. Write it to a file, and add a link",
                self.key,
            )

    def _keep(self, whole: bytes) -> str | None:
        if _payloads.keep is None:
            return None
        if len(whole) > _LARGEST_BYTES:
            self.is_cut = True
            return None
        try:
            reference = _payloads.keep(whole)
        except Exception as error:  # noqa: BLE001 a store that fails must not break the run
            losses.record("artifacts", "store_failed", "An artifact could not be stored whole", error=error)
            return None
        if reference is None:  # the store has said why
            losses.lost("artifacts", "store_failed")
        return reference

    def update(self, data: object) -> None:
        """Give the artifact a new state (a progress, say); listeners hear each, the span shows the last.

        *data*: what fits the artifact's type. Raises InvalidArtifact for data that does not.
        """
        self.take(data)
        run = self._run()
        if run is None:  # long ended, and not kept
            message = "Artifact %s was updated after its run had ended"
            losses.record("artifacts", "run_ended", message, self.key, key=self.key)
        else:
            observers.tell_entry(run, self)

    @property
    def plain_data(self) -> Any:
        """The state as JSON has it: bytes as base64."""
        return _base64(self.data) if isinstance(self.data, bytes) else self.data

    def as_dict(self) -> dict[str, Any]:
        """Return description, key, data and type, in a dict."""
        return {"description": self.description, "key": self.key, "data": self.data, "type": self.type}

    # As an entry of a run:

    @property
    def event_name(self) -> str:
        """The name of its span event."""
        return semconv.ARTIFACT_EVENT

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
            semconv.ARTIFACT_DATA: self.text,
            semconv.ARTIFACT_SIZE: self.size,
            semconv.ARTIFACT_REFERENCE: self.reference,
            semconv.ARTIFACT_CUT: self.is_cut or None,
        }
        return {name: value for name, value in values.items() if value is not None}

    def payload(self) -> dict[str, Any]:
        """Return what a listener's event has as ``data``."""
        return {"artifact_data": self.as_dict()}


class Result(_RunEntry):
    """A named result of a run: ``key`` (str), ``description`` (str), ``time_ns`` (nanoseconds since the epoch).

    ``Flow.add_flow_result`` and ``Task.add_task_result`` make and return it. Raises InvalidArtifact for a key that is
    not valid.

    >>> from otelflow import Flow
    >>> Flow().add_flow_result("rows", 3).as_dict()
    {'key': 'rows', 'description': '3'}
    """

    __slots__ = ("_text", "_value", "key", "time_ns")

    def __init__(self, key: str | None, description: object) -> None:
        self.key = checked_key(key, "result")
        self._value = description
        self._text: str | None = None
        self.time_ns = clock.time_ns()

    def __getstate__(self) -> tuple[None, dict[str, Any]]:
        """Return what a copy has: the value as text."""
        return None, {"key": self.key, "time_ns": self.time_ns, "_text": self.description, "_value": None}

    @property
    def description(self) -> str:
        """The value as text, redacted and bounded; made when it is first read."""
        if self._text is None:
            self._text = recorded(self._value, settings().value_limit)
            self._value = None
        return self._text

    def as_dict(self) -> dict[str, Any]:
        """Return key and description, in a dict."""
        return {"key": self.key, "description": self.description}

    # As an entry of a run:

    @property
    def event_name(self) -> str:
        """The name of its span event."""
        return semconv.RESULT_EVENT

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
        run.flow_state.artifacts.append(artifact)
    observers.tell_entry(run, artifact)
    return artifact


def add_result(run: Run, key: str | None, description: object, *, ended_ns: int = 0) -> Result:
    """Record a result of *run*, one with which it has ended at *ended_ns*, or one that the program may change yet."""
    result = Result(key, description)
    if ended_ns:
        result.time_ns = ended_ns
    else:
        _ = result.description  # as it is now
    if run.flow is not None:
        run.flow_state.results.append(result)
    observers.tell_entry(run, result)
    return result


def _with_class(data: object) -> object:
    """Return *data*, or its text if it does not even let others ask for its class."""
    try:
        _ = data.__class__
    except BaseException as error:  # foreign __class__ and __getattribute__, which may raise anything
        if comes_from_outside(error):
            raise
        return safe_str(data, LONGEST_TEXT)
    return data


def _text(data: object) -> str:
    if data is None:
        return ""
    if isinstance(data, str):
        return data
    try:
        import json  # noqa: PLC0415 only for artifacts
    except ImportError as error:
        if not shutdown.is_too_late(error):
            raise
        return safe_str(data, LONGEST_TEXT)
    return json.dumps(data, ensure_ascii=False)


def _base64(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode()
