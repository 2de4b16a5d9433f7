"""The last runs of other services, which this process has reported as lost: told under the names of those services."""

from typing import Final

from otelflow import semconv
from otelflow._core.process import forks, losses
from otelflow._core.runs.observers import LostRun
from otelflow.metrics._labels import label_of

#: The namespace of a service, and its name
Service = tuple[str, str]


class OtherServices:
    """Keeps, for each flow of another service than *own*, the run that was lost last; without *own*, all are its own.

    No counters: they would begin at 1 here, in which no backend sees an increase. A forked child begins with nothing.
    """

    def __init__(self) -> None:
        self.own: Service | None = None
        self.begin_anew()
        self._lock: Final = forks.new_lock()

    def begin_anew(self) -> None:
        """Know of no run."""
        self.count = 0
        self._runs: dict[tuple[Service, str], LostRun] = {}

    def take(self, run: LostRun, limit: int) -> bool:
        """Keep *run* if it is of another service, *limit* flows at most; return whether it is."""
        if self.own in (None, run.service) or not run.service[1]:
            return False
        if run.task_name is not None:
            return True
        key = run.service, label_of(run.flow_name)
        with self._lock:
            is_full = key not in self._runs and len(self._runs) >= limit
            key = (run.service, semconv.OVERFLOW) if is_full else key
            before = self._runs.get(key, run)
            self._runs[key] = max(before, run, key=lambda lost: lost.started + lost.duration)
            self.count += 1
        if is_full:
            losses.lost("metrics", "series_limit")
        return True

    def last_runs(self) -> dict[Service, dict[str, LostRun]]:
        """Return the run that was lost last, by service and by the label of its flow."""
        services: dict[Service, dict[str, LostRun]] = {}
        for (service, flow), run in self._runs.copy().items():
            services.setdefault(service, {})[flow] = run
        return services
