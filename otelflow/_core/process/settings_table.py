"""Every setting, declared once: its name, type, default and meaning, and the few values that it may have.

Variables, keys of ``pyproject.toml``, checks, ``otelflow config`` and the fields of ``Flow_Run__Config`` are all read
from here. These are no dataclasses, since making those would lengthen every import by three milliseconds.
"""

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from otelflow._core.process.environment import SWITCH
from otelflow._core.text.regex import split_patterns
from otelflow._core.text.safe_str import NAME_LENGTH, brief_repr
from otelflow.errors import ConfigurationError

# In a longer value a password might not be recognized.
_LONGEST_VALUE: Final = 10_000


class Setting:
    """One setting: its type is its default's, *choices* limits a text, *split* makes a list of a variable's text.

    *part* must stand in a text that is not empty; *sample* is one in which it does. *is_path*: the text names a file or
    a folder.

    *is_harmless*: the ``pyproject.toml`` of any folder may set it, also of one that a stranger has prepared. What names
    an address, a folder, a file or a pattern, or changes what a program does, is not.

    *is_of_delivery*: it says what makes telemetry or where that goes, which the process of a flow does for its workers,
    too. Every other setting goes with a task to the process that runs it.
    """

    __slots__ = (
        "choices", "default", "is_harmless", "is_of_delivery", "is_path", "meaning", "name", "part", "sample", "split",
    )  # fmt: skip

    def __init__(
        self,
        default: bool | int | str | tuple[str, ...],
        meaning: str,
        choices: tuple[str, ...],
        split: Callable[[str], list[str]] | None,
        *,
        part: str,
        sample: str,
        is_harmless: bool,
        is_path: bool,
        is_of_delivery: bool,
    ) -> None:
        self.default: Final = default
        self.meaning: Final = meaning
        self.choices: Final = choices
        self.split: Final = split
        self.part: Final = part
        self.sample: Final = sample
        self.is_harmless: Final = is_harmless
        self.is_path: Final = is_path
        self.is_of_delivery: Final = is_of_delivery

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def parse(self, text: str) -> Any:
        """Return what *text* says, of the setting's type if it can be read so."""
        if isinstance(self.default, bool):
            return SWITCH.get(text.lower(), text)
        if isinstance(self.default, int):
            try:
                return int(text) if text.isascii() and text.removeprefix("-").isdigit() else text
            except ValueError:  # more digits than Python reads
                return text
        if isinstance(self.default, tuple):
            return self.split(text) if self.split else [word.strip() for word in text.split(",") if word.strip()]
        return text

    def check(self, value: Any, place: str) -> Any:
        """Return *value* as it is kept. Raises ConfigurationError that names *place* for one that cannot be used."""
        kind: type[Any] = type(self.default)
        value = self._of_kind(kind, value, place)
        if kind is int and int(value) < 1:
            raise ConfigurationError(f"{place}: {self.name} must be at least 1, not {_text_of(value)}")
        if self.part and value and self.part not in str(value):
            raise ConfigurationError(
                f"{place}: {self.name} must hold {self.part}, as {self.sample} does, not {_text_of(value)}"
            )
        if self.is_path and (reason := _why_no_path(value)):
            raise ConfigurationError(f"{place}: {self.name}={_text_of(value)} is no usable path{reason}")
        if not self.choices:
            return value
        for choice in self.choices:
            if choice.lower() == str(value).lower():
                return choice
        from otelflow._core.text.hints import question  # noqa: PLC0415 only for mistakes

        cure = question(str(value)[:NAME_LENGTH], self.choices)
        choices = ", ".join(self.choices)
        raise ConfigurationError(f"{place}: {self.name} must be one of {choices}, not {_text_of(value)}{cure}")

    def _of_kind(self, kind: type[Any], value: Any, place: str) -> Any:
        if kind is tuple and isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
            value = tuple(value)
        elif kind is tuple:
            raise ConfigurationError(f"{place}: {self.name} must be a list of texts, not {_text_of(value)}")
        if kind is str and isinstance(value, os.PathLike):
            value = os.fspath(value)
        if not isinstance(value, kind) or isinstance(value, bool) is not (kind is bool):
            from otelflow._core.text.hints import in_words  # noqa: PLC0415 only for mistakes

            raise ConfigurationError(f"{place}: {self.name} must be {in_words((kind,))}, not {_text_of(value)}")
        return value


def _why_no_path(path: str) -> str:
    """Return the end of a sentence that says why *path* can be none, or nothing."""
    from otelflow._core.text.hints import quotes_in  # noqa: PLC0415 only for settings that name a path

    if "\0" in path:
        return ": it holds a NUL character"
    if path.startswith("~") and os.path.expanduser(path).startswith("~"):  # noqa: PTH111 pathlib takes long
        return ": whose home that is, is not known; name an absolute one"
    return quotes_in(path)


def _text_of(value: object) -> str:
    """Return *value* for a message that refuses it: without a password, and bounded."""
    from otelflow._core.text.redaction import redact_address  # noqa: PLC0415 only for mistakes

    return redact_address(brief_repr(value, _LONGEST_VALUE))[:60]


def _declare(
    default: bool | int | str | tuple[str, ...],
    meaning: str,
    *,
    is_harmless: bool,
    choices: tuple[str, ...] = (),
    split: Callable[[str], list[str]] | None = None,
    part: str = "",
    sample: str = "",
    is_path: bool = False,
    is_of_delivery: bool = False,
) -> Any:
    # For type checkers a setting is what it holds, for the table it is how it was declared.
    return Setting(
        default,
        meaning,
        choices,
        split,
        part=part,
        sample=sample,
        is_harmless=is_harmless,
        is_path=is_path,
        is_of_delivery=is_of_delivery,
    )


class RunSettings:
    """How one flow logs, prints and raises: the fields of ``Flow_Run__Config``."""

    add_task_to_self: bool = _declare(True, "keep a flow's tasks in its executed_tasks", is_harmless=True)
    log_to_console: bool = _declare(False, "write each message to stderr as it comes", is_harmless=True)
    log_to_memory: bool = _declare(True, "keep a flow's messages for captured_logs() and json()", is_harmless=True)
    logging_enabled: bool = _declare(True, "have messages at all, on spans and for listeners too", is_harmless=True)
    print_logs: bool = _declare(False, "print a flow's messages when it ends", is_harmless=True)
    print_none_return_value: bool = _declare(False, "have a message for a return value that is None", is_harmless=True)
    print_finished_message: bool = _declare(False, "have a message for the end of each flow and task", is_harmless=True)
    print_error_stack_trace: bool = _declare(
        False, "write the traceback of a failed flow or task to stderr", is_harmless=True
    )
    raise_flow_error: bool = _declare(True, "raise a flow's exception out of execute()", is_harmless=False)
    flow_data__capture_events: bool = _declare(False, "keep a flow's events for json()", is_harmless=True)


class ProcessSettings(RunSettings):
    """The settings of a whole process."""

    events: str = _declare(
        "span",
        "write messages, artifacts, results and exceptions as span events, log records, or both",
        choices=("span", "log", "both"),
        is_harmless=True,
    )
    message_level: str = _declare(
        "INFO",
        "the lowest level that gets onto a span",
        choices=("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"),
        is_harmless=True,
    )
    value_limit: int = _declare(8192, "characters kept of one message, value or traceback", is_harmless=True)
    capture_loggers: tuple[str, ...] = _declare(
        (),
        "loggers of 'logging' whose records become messages: 'root' for all that reaches the root, 'off' for none; "
        "empty: 'root' in 'otelflow run', none elsewhere",
        is_harmless=True,
    )
    redact: tuple[str, ...] = _declare(
        (),
        r"more regular expressions of what must not be recorded; write a comma outside of brackets as '\,'",
        split=split_patterns,
        is_harmless=False,
    )
    store: str = _declare(
        "",
        "the folder of the local store; 'on' is a default one; empty: off in libraries, on in the CLI",
        is_path=True,
        is_harmless=False,
        is_of_delivery=True,
    )
    span: str = _declare(
        "otelflow",
        "what makes the spans where the tracer provider is the OpenTelemetry SDK's: otelflow itself, or the SDK",
        choices=("otelflow", "sdk"),
        is_harmless=True,
        is_of_delivery=True,
    )
    spool: str = _declare(
        "auto",
        "where spans wait until the OTLP endpoint has them: on (files), memory (16 MB), off (a short queue); "
        "auto: files, but memory on Windows and where files cannot be locked",
        choices=("auto", "on", "memory", "off"),
        is_harmless=False,
        is_of_delivery=True,
    )
    spool_dir: str = _declare(
        "",
        "the folder in which spans wait; empty: one for each endpoint and key, beside the local store",
        is_path=True,
        is_harmless=False,
        is_of_delivery=True,
    )
    mark_start: bool = _declare(
        False,
        "send a span of zero length over OTLP when a flow begins, so that its trace is in Jaeger while it runs",
        is_harmless=True,
        is_of_delivery=True,
    )
    results: str = _declare(
        "",
        "the folder in which values are kept for which no result_storage is given; empty: beside the local store",
        is_path=True,
        is_harmless=False,
    )
    results_max_bytes: int = _declare(
        1_073_741_824, "bytes that this folder keeps, before the oldest values go", is_harmless=False
    )
    results_max_age_days: int = _declare(30, "days for which this folder keeps a value", is_harmless=False)
    trace_url: str = _declare(
        "",
        "the address at which a person finds a trace, with {trace_id} in it; empty: its id is said",
        part="{trace_id}",
        sample="http://localhost:16686/trace/{trace_id}",
        is_harmless=False,
    )
    note_trace: bool = _declare(
        False, "add a note with the trace's address to each exception that leaves a flow", is_harmless=False
    )
    instrument: str = _declare(
        "",
        "for opentelemetry-instrument: the otelflow.toml or pyproject.toml that names what flows and tasks are",
        is_path=True,
        is_harmless=False,
        is_of_delivery=True,
    )
    metrics: str = _declare(
        "",
        "the output of metrics: off, pull[:HOST:PORT], registry, multiprocess, push[:URL], textfile:PATH, otlp",
        is_harmless=False,
        is_of_delivery=True,
    )
    metrics_series: int = _declare(
        2_000,
        "flows and tasks that metrics tell apart; more of them share one series",
        is_harmless=True,
        is_of_delivery=True,
    )
    metrics_certificate: str = _declare(
        "",
        "the certificate file (PEM) with which /metrics is served over TLS",
        is_path=True,
        is_harmless=False,
        is_of_delivery=True,
    )
    metrics_key: str = _declare(
        "", "the key file (PEM) of metrics_certificate", is_path=True, is_harmless=False, is_of_delivery=True
    )
    metrics_client_ca: str = _declare(
        "",
        "the CA file (PEM) whose clients alone may read /metrics",
        is_path=True,
        is_harmless=False,
        is_of_delivery=True,
    )


def _declared_in(*classes: type) -> dict[str, Setting]:
    return {name: value for table in classes for name, value in vars(table).items() if isinstance(value, Setting)}


#: The settings that a flow may have of its own, by their names
RUN_SETTINGS: Final[Mapping[str, Setting]] = _declared_in(RunSettings)
#: Every setting, by its name
SETTINGS: Final[Mapping[str, Setting]] = _declared_in(RunSettings, ProcessSettings)
#: The settings that a task takes along to another process
SETTINGS_OF_TASKS: Final = {name: setting for name, setting in SETTINGS.items() if not setting.is_of_delivery}
_DEFAULTS: Final = {name: setting.default for name, setting in SETTINGS.items()}


if TYPE_CHECKING:
    _Fields = ProcessSettings
else:  # CPython is quick with an attribute of an object only where its class has none of that name
    _Fields = object


class Settings(_Fields):
    """The settings in force, each an attribute: *values*, and for the others the defaults.

    *origins* says of *values* where each came from.
    """

    def __init__(self, values: Mapping[str, Any], origins: Mapping[str, str]) -> None:
        vars(self).update(_DEFAULTS, **values)
        self._origins = origins
        # Asked twice a run, and True for most programs: a line about the run itself goes into its flow's log alone.
        self.logs_for_flow_only = (
            self.logging_enabled and self.log_to_memory and not self.log_to_console and self.message_level != "DEBUG"
        )

    def origin(self, name: str) -> str:
        """Return where the value of *name* came from: ``default``, a variable, a file, ``configure()``."""
        return self._origins.get(name, "default")

    def with_fields(self, values: Mapping[str, Any]) -> "Settings":
        """Return a copy in which *values* win: the fields of a flow's own configuration."""
        return Settings({**vars(self), **values}, self._origins)
