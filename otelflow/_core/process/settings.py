"""Every setting, its default, and where the value in force came from.

An argument wins over an ``OTELFLOW_*`` variable, that over ``[tool.otelflow]`` in the nearest ``pyproject.toml``, that
over the default. Variables and files are read at the first run, or when ``configure()`` or the command line asks.
"""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from otelflow._core.process import losses
from otelflow._core.text import redaction
from otelflow._core.text.hints import nearest, suggestion
from otelflow.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

PREFIX: Final = "OTELFLOW_"

#: Variables that otelflow reads elsewhere: exporters (store), the command line, the test suite.
OTHER_VARIABLES: Final = frozenset(
    {
        "OTELFLOW_STORE_MAX_BYTES",
        "OTELFLOW_STORE_MAX_AGE_DAYS",
        "OTELFLOW_REQUIRE_STACK",
        "OTELFLOW_STACK_DIR",
    }
)


class Setting:
    """One setting: its type is its default's, *choices* limits a text."""

    __slots__ = ("choices", "default", "meaning")

    def __init__(
        self, default: bool | int | str | tuple[str, ...], meaning: str, choices: tuple[str, ...] = ()
    ) -> None:
        self.default = default
        self.meaning = meaning
        self.choices = choices


#: The fields of Flow_Run__Config
RUN_SETTINGS: Final[Mapping[str, Setting]] = {
    "add_task_to_self": Setting(True, "keep a flow's tasks in its executed_tasks"),
    "log_to_console": Setting(False, "write each message to stderr as it comes"),
    "log_to_memory": Setting(True, "keep a flow's messages for captured_logs() and json()"),
    "logging_enabled": Setting(True, "have messages at all, on spans and for listeners too"),
    "print_logs": Setting(False, "print a flow's messages when it ends"),
    "print_none_return_value": Setting(False, "have a message for a return value that is None"),
    "print_finished_message": Setting(False, "have a message for the end of each flow and task"),
    "print_error_stack_trace": Setting(False, "write the traceback of a failed flow to stderr"),
    "raise_flow_error": Setting(True, "raise a flow's exception out of execute()"),
    "flow_data__capture_events": Setting(False, "keep a flow's events for json()"),
}

#: Settings of the whole process
PROCESS_SETTINGS: Final[Mapping[str, Setting]] = {
    "events": Setting(
        "span", "write messages, artifacts and results as span events, log records, or both", ("span", "log", "both")
    ),
    "message_level": Setting(
        "INFO", "the lowest level that gets onto a span", ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
    ),
    "value_limit": Setting(8192, "characters kept of one message, value or traceback"),
    "capture_loggers": Setting(
        (), "stdlib loggers whose records become messages; 'root' for all that reaches the root"
    ),
    "redact": Setting((), "more regular expressions of what must not be recorded"),
    "store": Setting(
        "", "the folder of the local store, or 'off'; empty: off in libraries, a default folder in the CLI"
    ),
    "metrics": Setting(
        "", "the way out for metrics: off, pull[:HOST:PORT], registry, multiprocess, push[:URL], textfile:PATH, otlp"
    ),
    "metrics_series": Setting(2_000, "flows and tasks that metrics tell apart; more of them share one series"),
    "metrics_certificate": Setting("", "the certificate file (PEM) with which /metrics is served over TLS"),
    "metrics_key": Setting("", "the key file (PEM) of metrics_certificate"),
    "metrics_client_ca": Setting("", "the CA file (PEM) whose clients alone may read /metrics"),
}

SETTINGS: Final[Mapping[str, Setting]] = {**RUN_SETTINGS, **PROCESS_SETTINGS}


class InForce:
    """The value of one setting and where it came from (``default``, a variable's name, a file)."""

    __slots__ = ("origin", "value")

    def __init__(self, value: Any, origin: str) -> None:
        self.value = value
        self.origin = origin


class Settings:
    """The settings of this process, each as an attribute, with ``origin(name)``."""

    def __init__(self, values: Mapping[str, InForce]) -> None:
        self._origins = {name: found.origin for name, found in values.items()}
        for name, found in values.items():
            setattr(self, name, found.value)

    add_task_to_self: bool
    log_to_console: bool
    log_to_memory: bool
    logging_enabled: bool
    print_logs: bool
    print_none_return_value: bool
    print_finished_message: bool
    print_error_stack_trace: bool
    raise_flow_error: bool
    flow_data__capture_events: bool
    events: str
    message_level: str
    value_limit: int
    capture_loggers: tuple[str, ...]
    redact: tuple[str, ...]
    store: str
    metrics: str
    metrics_series: int
    metrics_certificate: str
    metrics_key: str
    metrics_client_ca: str

    def origin(self, name: str) -> str:
        """Return where the value of *name* came from."""
        return self._origins[name]


_in_force: Settings | None = None
_given: dict[str, InForce] = {}


def settings() -> Settings:
    """Return the settings in force; the first call reads the environment, where a mistake becomes one warning."""
    return _in_force if _in_force is not None else _use(tolerant=True)


def configure(**given: Any) -> Settings:
    """Put *given* settings in force over variables and files, strictly.

    Raises ConfigurationError for an unknown name, variable or value.
    """
    checked = {
        name: InForce(_checked(name, value, "configure()", SETTINGS), "configure()") for name, value in given.items()
    }
    redaction.compiled(given.get("redact", ()))
    _given.update(checked)
    return _use(tolerant=False)


def forget() -> None:
    """Read everything anew at the next run (for tests and forked servers)."""
    global _in_force
    _in_force = None
    _given.clear()


def _use(*, tolerant: bool) -> Settings:
    global _in_force
    values = {name: InForce(setting.default, "default") for name, setting in SETTINGS.items()}
    for source in (_from_pyproject, _from_environment):
        values.update(source(tolerant=tolerant))
    values.update(_given)
    try:
        redaction.extend(values["redact"].value)
    except ConfigurationError as error:
        _object(error, tolerant=tolerant)
    _in_force = Settings(values)
    return _in_force


def _from_environment(*, tolerant: bool) -> dict[str, InForce]:
    found: dict[str, InForce] = {}
    for variable, text in os.environ.items():
        if not variable.startswith(PREFIX) or variable in OTHER_VARIABLES or text == "":
            continue
        name = variable.removeprefix(PREFIX).lower()
        try:
            found[name] = InForce(_converted(name, text, variable), variable)
        except ConfigurationError as error:
            _object(error, tolerant=tolerant)
    return found


def _from_pyproject(*, tolerant: bool) -> dict[str, InForce]:
    # Path.is_file() raises where a folder must not be looked into, as services often may not above their own.
    candidates = (folder / "pyproject.toml" for folder in _folders())
    path = next((path for path in candidates if os.path.isfile(path)), None)  # noqa: PTH113
    if path is None:
        return {}
    found: dict[str, InForce] = {}
    try:
        table = _table(path)
    except ConfigurationError as error:
        _object(error, tolerant=tolerant)
        return {}
    for name, value in table.items():
        try:
            found[name] = InForce(_checked(name, value, f"{path} [tool.otelflow]", SETTINGS), str(path))
        except ConfigurationError as error:
            _object(error, tolerant=tolerant)
    return found


def _folders() -> "list[Path]":
    from pathlib import Path  # noqa: PLC0415 some milliseconds, which an import need not take

    try:
        here = Path.cwd()
    except OSError:  # the working folder was removed
        return []
    return [here, *here.parents]


def _table(path: "Path") -> Mapping[str, Any]:
    import tomllib  # noqa: PLC0415 a few milliseconds that most processes never need

    try:
        text = path.read_text(encoding="utf-8")
        table = tomllib.loads(text).get("tool", {}).get("otelflow", {}) if "otelflow" in text else {}
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from None
    if not isinstance(table, dict):
        raise ConfigurationError(f"{path}: [tool.otelflow] must be a table")
    return table


def _object(error: ConfigurationError, *, tolerant: bool) -> None:
    if not tolerant:
        raise error
    losses.warn_once(f"configuration {error}", "%s (ignored)", error)


def _converted(name: str, text: str, variable: str) -> Any:
    setting = SETTINGS.get(name)
    if setting is None:
        variables = [PREFIX + known.upper() for known in SETTINGS] + sorted(OTHER_VARIABLES)
        raise ConfigurationError(f"{variable} is not a variable of otelflow{suggestion(variable, variables)}")
    value: Any = text.strip()
    if isinstance(setting.default, bool):
        value = {
            "true": True,
            "1": True,
            "on": True,
            "yes": True,
            "false": False,
            "0": False,
            "off": False,
            "no": False,
        }.get(value.lower(), value)
    elif isinstance(setting.default, int):
        value = int(value) if value.isascii() and value.lstrip("-").isdigit() and value.count("-") < 2 else value
    elif isinstance(setting.default, tuple):
        value = [part.strip() for part in value.split(",") if part.strip()]
    return _checked(name, value, variable, SETTINGS)


def _checked(name: str, value: Any, where: str, known: Mapping[str, Setting]) -> Any:
    """Return *value* as the setting *name* wants it, or raise ConfigurationError that says what it wants."""
    setting = known.get(name)
    if setting is None:
        raise ConfigurationError(f"{where} has no field {name!r}{suggestion(name, known)}")
    if isinstance(setting.default, tuple) and isinstance(value, list | tuple):
        value = tuple(value)
    if not isinstance(value, type(setting.default)) or isinstance(value, bool) is not isinstance(setting.default, bool):
        wanted = "a list of texts" if isinstance(setting.default, tuple) else type(setting.default).__name__
        raise ConfigurationError(f"{where}: {name} must be {wanted}, not {value!r:.60}")
    if setting.choices:
        value = _chosen(name, str(value), where, setting.choices)
    if isinstance(setting.default, int) and not isinstance(value, bool) and isinstance(value, int) and value < 1:
        raise ConfigurationError(f"{where}: {name} must be at least 1, not {value}")
    return value


def _chosen(name: str, value: str, where: str, choices: tuple[str, ...]) -> str:
    for choice in choices:
        if choice.lower() == value.lower():
            return choice
    meant = nearest(value, choices)
    cure = f"; did you mean {meant!r}?" if meant else ""
    raise ConfigurationError(f"{where}: {name} must be one of {', '.join(choices)}, not {value!r}{cure}")
