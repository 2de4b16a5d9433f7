"""Run flows again and again, and say when the next run is and what came of the last."""

import functools
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import otelflow
from otelflow import settings
from otelflow._cli import _parameters as parameters
from otelflow._cli import _targets as targets
from otelflow._cli._console import say
from otelflow._cli._exit_codes import FAILURE, SUCCESS
from otelflow._cli.config import say_misspelt_variables
from otelflow._cli.run import is_service_named, prepare
from otelflow._core.process import project_files
from otelflow.errors import ConfigurationError
from otelflow.serve import Schedule, serve

_OF_SCHEDULE: Final = "Schedule: "


class Times(NamedTuple):
    """The options that say when."""

    every: str | None
    cron: str | None
    timezone: str | None
    overlap: str


class _Lines(logging.Handler):
    """Says what the serving logs as lines of the command line."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            say(record.getMessage())
        except Exception:  # noqa: BLE001 a stderr that is closed
            self.handleError(record)


def serve_targets(
    names: Sequence[str], texts: Sequence[str], times: Times, *, name: str | None, stop_seconds: float
) -> int:
    """Serve the flows that *names* say with the ``name=value`` *texts*, and return the exit code.

    Raises OtelflowError for input that cannot be used.
    """
    if name is not None and len(names) > 1:
        raise ConfigurationError("--name is for one flow; several have the names that they bear")
    values = parameters.parse(texts)
    project_files.use_program(targets.file_of(names[0]))  # before its settings are read
    settings.check()
    schedules = [schedule_of(target, values, times, name) for target in names]
    defaults: dict[str, Any] = {}
    if settings.in_force()["capture_loggers"].origin == "default":
        defaults["capture_loggers"] = ["root"]
    say_misspelt_variables()
    service_name = None if is_service_named() else Path(targets.place_of(names[0])).stem
    otelflow.configure(service_name=service_name, store=True, **defaults)
    logger = logging.getLogger("otelflow.serve")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(_Lines())
    return FAILURE if serve(*schedules, stop_seconds=stop_seconds) else SUCCESS


def schedule_of(target: str, values: Mapping[str, str], times: Times, name: str | None) -> Schedule:
    """Return when the flow that *target* names runs. Raises OtelflowError."""
    if (times.every is None) is (times.cron is None):
        words = "say when" if times.every is None else "say when in one way"
        raise ConfigurationError(f"serve: {words}: --every 10m, or --cron '0 3 * * *'")
    flow = targets.find(target)
    first = prepare(flow, values)  # what is wrong with the parameters is said now, and not at night
    try:
        return Schedule(
            first if flow is first else functools.partial(prepare, flow, values),
            every=times.every,
            cron=times.cron,
            timezone=times.timezone,
            overlap=cast("Any", times.overlap),
            name=name or first.flow_name,
        )
    except ConfigurationError as error:
        raise ConfigurationError(f"serve: {str(error).removeprefix(_OF_SCHEDULE)}") from None
