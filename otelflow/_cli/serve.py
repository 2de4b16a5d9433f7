"""Run flows again and again, and say when the next run is and what came of the last."""

import functools
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

from otelflow._cli import _parameters as parameters
from otelflow._cli import _targets as targets
from otelflow._cli._console import say
from otelflow._cli._exit_codes import FAILURE, SUCCESS
from otelflow._cli.run import prepare, read_settings, service_name_of, set_up_telemetry
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
    read_settings(names[0])
    schedules = [schedule_of(target, values, times, name) for target in names]
    set_up_telemetry(service_name_of(names[0]))
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
