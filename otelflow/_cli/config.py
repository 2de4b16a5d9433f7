"""Print the effective settings."""

import os
from collections.abc import Iterator
from typing import Final

from opentelemetry import environment_variables
from opentelemetry.sdk import environment_variables as sdk_environment_variables
from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from otelflow import configure, metrics, settings
from otelflow._cli._console import for_page, page, say
from otelflow._cli._exit_codes import BAD_INPUT, SUCCESS
from otelflow._core.process import project_files
from otelflow._core.text.hints import nearest
from otelflow.errors import ConfigurationError
from otelflow_exporters._store.limits import MAX_AGE_VARIABLE, MAX_BYTES_VARIABLE, store_directory, store_limits

_SECRET: Final = ("HEADERS", "KEY", "TOKEN", "PASSWORD", "CERTIFICATE")

# What instrumentations and other exporters read is defined by them.
_ELSEWHERE: Final = (
    "OTEL_PYTHON_",
    "OTEL_INSTRUMENTATION_",
    "OTEL_SEMCONV_",
    "OTEL_RESOURCE_",
    "OTEL_EXPORTER_JAEGER_",
)

_MISSPELT: Final = 0.9

_REFUSED: Final = " (refused)"
_NAME_WIDTH: Final = 26
_VALUE_WIDTH: Final = 20

_TIMEOUT: Final = "seconds, as in all of OpenTelemetry's Python, not milliseconds; 2 unless it is set, not 10"
_EXPORT_TIMEOUT: Final = (
    "how long the end of the process may wait for them, 4500 unless it is set; no limit of one export"
)
# Where a variable means something else here than OpenTelemetry's specification says; docs/integrations.md has the same.
DIFFERENCES: Final = {
    "OTEL_EXPORTER_OTLP_TIMEOUT": _TIMEOUT,
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": _TIMEOUT,
    "OTEL_EXPORTER_OTLP_LOGS_TIMEOUT": _TIMEOUT,
    "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT": _TIMEOUT,
    "OTEL_BSP_EXPORT_TIMEOUT": _EXPORT_TIMEOUT,
    "OTEL_BLRP_EXPORT_TIMEOUT": _EXPORT_TIMEOUT,
    "OTEL_METRIC_EXPORT_TIMEOUT": "not read: an export of metrics may take 4.5 seconds",
    "OTEL_METRICS_EXPORTER": "one name; used with OTELFLOW_METRICS=otlp alone",
    "OTEL_LOGS_EXPORTER": "used with OTELFLOW_EVENTS=log or both alone",
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "not read: metrics are cumulative; the Collector converts",
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": "not read: buckets are those of @flow(buckets=…)",
    "OTEL_EXPORTER_PROMETHEUS_HOST": "not read: OTELFLOW_METRICS=pull:HOST:PORT",
    "OTEL_EXPORTER_PROMETHEUS_PORT": "not read: OTELFLOW_METRICS=pull:HOST:PORT",
}


def print_configuration() -> int:
    """Print every setting and the ``OTEL_*`` variables that are set; return 2 when ``otelflow run`` refuses them.

    What is wrong comes out as warnings, each with its cure.
    """
    refusal = ""
    try:
        settings.check()
    except ConfigurationError as error:
        refusal = str(error)
    listed = settings.in_force()  # before anything is set up here
    refusal = refusal or _refusal()
    if refusal:
        say(
            f"'otelflow run' and configure() refuse this: {refusal}{'' if refusal.endswith('?') else '.'} "
            "Listed is what a program has that runs flows without configure(), and so ignores it"
        )
    console = page()
    console.print(Text("Each setting by its key in [tool.otelflow], its value and where that came from;", "dim"))
    console.print(Text("below it its variable, and what it means.\n", "dim"))
    for setting in listed.values():
        print_setting(console, setting, is_refused=_speaks_of(refusal, setting.origin))
    for file in project_files.project_files():
        reason = (
            f"only what is harmless counts, since {file.distrust}" if file.distrust else "all of its settings count"
        )
        console.print(Text(f"\n{for_page(str(file.path))}: {reason}", "dim"))
    console.print(_variables(refusal))
    return BAD_INPUT if refusal else SUCCESS


def _refusal() -> str:
    """Return why ``configure()`` would refuse the variables and files; nothing is stored, served or sent for that."""
    try:
        metrics.check()
        if store_directory(settings.in_force()["store"].value or "on") is not None:
            store_limits()
        configure(store=False, metrics="off", spool="memory")
    except ConfigurationError as error:
        return str(error)
    return ""


def _speaks_of(refusal: str, variable: str) -> bool:
    rest = refusal.removeprefix(variable)
    return rest != refusal and not (rest[:1].isalnum() or rest.startswith("_"))


def print_setting(console: Console, setting: settings.Setting, *, is_refused: bool = False) -> None:
    """Print one setting; names, values and variables are never broken."""
    style = "" if setting.origin == "default" else "bold"
    value = setting.value
    if setting.name == "store":
        value = str(store_directory(value or "on") or "off")
    elif isinstance(value, bool):
        value = "on" if value else "off"
    elif isinstance(value, tuple):
        value = ", ".join(value)
    value, origin = for_page(str(value)), for_page(setting.origin) + (_REFUSED if is_refused else "")
    line = f"{setting.name:<{_NAME_WIDTH}} {value:<{_VALUE_WIDTH}} {origin}"
    lines = [line] if cell_len(line) <= console.width else [setting.name, f"  {value}", f"  {origin}"]
    for text in lines:
        console.print(Text(text, style), soft_wrap=True)
    variable = f"  {setting.variable}"
    meaning = Text(f"{variable}  {setting.meaning}", "dim")
    if cell_len(meaning.plain) > console.width:
        console.print(Text(variable, "dim"), soft_wrap=True)
        meaning = Text(setting.meaning, "dim")
        console.print(Padding(meaning, (0, 0, 0, 4)))
    else:
        console.print(meaning, soft_wrap=True)


def unread_variables() -> Iterator[tuple[str, str]]:
    """Yield each ``OTEL_*`` variable that is set and that nothing reads, with the one that may have been meant."""
    modules = (environment_variables, sdk_environment_variables)
    defined = {name for module in modules for name in vars(module) if name.startswith("OTEL_")}
    for name in sorted(os.environ):
        if name.startswith("OTEL_") and os.environ[name] and name not in defined and not name.startswith(_ELSEWHERE):
            yield name, nearest(name, defined) or ""


def say_misspelt_variables() -> None:
    """Say of each ``OTEL_*`` variable that is nearly one of OpenTelemetry's, and so is not in force, which is meant."""
    for name, variable in unread_variables():
        if nearest(name, [variable], alike=_MISSPELT):
            say(f"nothing reads {for_page(name)}; did you mean {variable!r}?")


def _variables(refusal: str) -> Text:
    """Return the variables that are set and are no settings: OpenTelemetry's, of which no secret is shown, and others.

    The one of which *refusal* speaks is marked.
    """
    names = sorted(name for name in os.environ if name.startswith("OTEL_") and os.environ[name])
    text = Text("" if names else "\nNo OTEL_* variable is set: runs are stored here and sent nowhere.", "dim")
    names += [name for name in (MAX_BYTES_VARIABLE, MAX_AGE_VARIABLE) if os.environ.get(name)]
    unread = dict(unread_variables())
    for name in names:
        if name not in unread:
            text.append(f"\n{name}={'(hidden)' if name.endswith(_SECRET) else for_page(os.environ[name])}")
            if _speaks_of(refusal, name):
                text.append(_REFUSED, "red")
            if name in DIFFERENCES:
                text.append(f"  ({DIFFERENCES[name]})", "dim")
        else:
            cure = f"; did you mean {unread[name]!r}?" if unread[name] else ""
            text.append(f"\n{for_page(name)} is no variable of OpenTelemetry, nothing reads it{cure}", "red")
    return text
