"""What a user says: which flow runs when."""

import inspect
import os
from collections.abc import Callable, Mapping
from datetime import timedelta, tzinfo
from functools import partial
from typing import Any, Final
from zoneinfo import ZoneInfo, available_timezones

from otelflow import Flow
from otelflow._core.text import durations
from otelflow._core.text.hints import question, suggestion
from otelflow._core.text.safe_str import bounded_name, brief_repr
from otelflow.errors import ConfigurationError, MissingExtra, NotCallable
from otelflow.serve._plan import OVERLAPS, Overlap
from otelflow.serve._times import CronTimes, Interval, Times

_SHORTEST: Final = 0.1
_LONGEST: Final = 366 * 86_400.0


class Schedule:
    """One flow, and when it runs.

    *flow* (decorated function, subclass of ``Flow``, or ``Flow``; or any function that returns a flow): it is made anew
    for each run, unless it is a ``Flow``.
    *every* (str such as ``"10m"`` or ``"1h 30m"``, or timedelta; from 100 ms on): from the start of the serving on.
    *cron* (str): minute, hour, day of the month, month and day of the week, in the *timezone* (str such as
    ``"Europe/Berlin"``; that of the machine unless given). This needs ``pip install 'otelflow[schedule]'``.
    *overlap* (``"refuse"``, ``"queue"`` or ``"allow"``): what becomes of a run whose predecessor goes on: it is missed
    and counted, it waits for it, or it runs beside it.
    *parameters* (mapping): keyword arguments of the flow.
    *name* (str): what metrics, spans and lines call it; the name of the function or flow unless given.

    Raises ConfigurationError for a value that says nothing usable, NotCallable, MissingExtra.

    >>> from otelflow import flow
    >>> from otelflow.serve import Schedule
    >>> @flow
    ... def nightly(day: str = "today"):
    ...     print(day)
    >>> Schedule(nightly, every="1d", parameters={"day": "yesterday"})
    Schedule('nightly', every='1d', overlap='refuse')
    """

    def __init__(
        self,
        flow: "Callable[..., Any] | Flow[Any]",
        *,
        every: str | timedelta | None = None,
        cron: str | None = None,
        timezone: str | None = None,
        overlap: Overlap = "refuse",
        parameters: Mapping[str, Any] | None = None,
        name: str | None = None,
    ) -> None:
        if not isinstance(flow, Flow) and not callable(flow):
            raise NotCallable("Schedule", flow, "; name a function that is decorated with @flow")
        if (every is None) is (cron is None):
            raise ConfigurationError("Schedule: say when, with every='10m' or with cron='0 3 * * *', not both")
        if every is not None and timezone is not None:
            raise ConfigurationError("Schedule: timezone= is for cron=; an interval is the same everywhere")
        if overlap not in OVERLAPS:
            raise ConfigurationError(f"Schedule: overlap must be one of {', '.join(OVERLAPS)}, not {overlap!r:.60}")
        if isinstance(flow, Flow) and (parameters or overlap == "allow"):
            raise ConfigurationError(
                "Schedule: a Flow that is set up has its parameters, and cannot run beside itself: "
                "name the function or class that makes it"
            )
        self.flow = flow
        self.overlap: Final = overlap
        self.parameters: Final = dict(parameters or {})
        own_name = flow.flow_name if isinstance(flow, Flow) else getattr(flow, "__name__", None)
        self.name: Final = bounded_name(name or own_name or type(flow).__name__)
        self._when: Final = f"every={every!r}" if every is not None else f"cron={cron!r}"
        self._make: Final = _maker(flow, self.parameters)
        self.times: Final[Times] = (
            Interval(_seconds(every)) if every is not None else CronTimes(cron or "", _zone(timezone))
        )

    def make(self) -> Any:
        """Return what the next run executes: a flow, or what a flow that runs when it is called returns.

        >>> from otelflow import flow
        >>> from otelflow.serve import Schedule
        >>> Schedule(flow(lambda: 42), every="1h", name="answer").make().execute().flow_return_value
        42
        """
        return self._make()

    def __repr__(self) -> str:
        return f"Schedule({self.name!r}, {self._when}, overlap={self.overlap!r})"


def _maker(flow: "Callable[..., Any] | Flow[Any]", parameters: Mapping[str, Any]) -> Callable[[], Any]:
    """Return what makes the next flow. Raises ConfigurationError for a parameter that it does not have."""
    if isinstance(flow, Flow):
        return lambda: flow
    if isinstance(flow, type) and issubclass(flow, Flow):
        return lambda: flow().setup(**parameters)
    fields = inspect.signature(flow).parameters if parameters else {}
    if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in fields.values()):
        unknown = next((name for name in parameters if name not in fields), None)
        if unknown is not None:
            cure = suggestion(str(unknown), fields)
            raise ConfigurationError(f"Schedule: the flow has no parameter {brief_repr(unknown, 60)}{cure}")
    return partial(flow, **parameters)


def _seconds(every: object) -> float:
    try:
        seconds = every.total_seconds() if isinstance(every, timedelta) else durations.parse(str(every))
    except ValueError:
        seconds = 0.0
    if not _SHORTEST <= seconds <= _LONGEST:
        raise ConfigurationError(
            f"Schedule: every={brief_repr(every, 60)} is no length of time from 100ms to 366d: "
            "give a number with a unit (s, m, h, d, w), such as '90s', '10m', '1h30m' or '1d'"
        )
    return seconds


def _zone(name: str | None) -> tzinfo:
    if name is None:
        try:
            from tzlocal import get_localzone  # noqa: PLC0415 an extra
        except ImportError:
            raise MissingExtra("schedule") from None
        try:
            return get_localzone()
        except (ValueError, LookupError, OSError) as error:
            raise ConfigurationError(
                f"Schedule: the time zone of this machine cannot be told ({error}; "
                f"TZ={os.environ.get('TZ', '')!r:.60}): give timezone='Europe/Berlin' or the like"
            ) from None
    try:
        return ZoneInfo(name)
    except (ValueError, LookupError, OSError, TypeError):
        cure = question(str(name), available_timezones()) or "; such as 'Europe/Berlin' or 'UTC'"
        raise ConfigurationError(f"Schedule: there is no timezone {brief_repr(name, 60)}{cure}") from None
