"""Push to a Pushgateway, for jobs that have ended before anybody could ask them.

The gateway replaces what it has of a group, and never forgets. So there is one group for each flow, and one for each of
its last-run timestamps: a run that fails must not wipe out when one last succeeded. No group is named by a run.

A forked child begins to count at zero, under the name of its parent: it pushes timestamps and no counters.
"""

import base64
import functools
import time
from collections.abc import Callable, Iterator
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit

from prometheus_client import push_to_gateway
from prometheus_client.exposition import basic_auth_handler, default_handler

from otelflow import semconv
from otelflow.errors import ConfigurationError
from otelflow.metrics._collector import Showing
from otelflow.metrics._counts import Board
from otelflow.metrics._families import LAST, LIVE, Metric, readings
from otelflow.metrics._outputs.metrics_worker import MetricsWorker

URL: Final = "http://127.0.0.1:9091"
_TIMEOUT_SECONDS: Final = 2.0

Group = tuple[tuple[str, str], ...]


class Push:
    """Pushes what is new when an outermost flow has ended, failed or not, and at exit."""

    def __init__(self, board: Board, where: str, job: str) -> None:
        self._url, self._handler = _gateway(where)
        self._board = board
        self._job = job
        self._pushed: dict[Group, object] = {}
        self._worker = MetricsWorker(self._deliver, f"for the Pushgateway {self._url}", count=lambda: board.runs)

    def start(self) -> bool:
        """Push from now on."""
        self._board.ended = self._worker.wake
        return True

    def flush(self, timeout: float) -> bool:
        """Push now."""
        return self._worker.flush(timeout)

    def close(self) -> None:
        """Push the last numbers."""
        self._board.ended = None
        self._worker.close()

    def _deliver(self, deadline: float) -> None:
        refused = ""
        for group, metrics in _groups(readings(self._board.snapshot()), only_last=self._board.is_child):
            numbers = _numbers(metrics)
            if self._pushed.get(group) == numbers:
                continue
            try:
                self._push(group, metrics, deadline)
            except HTTPError as error:  # of this group, perhaps not of the others
                refused = refused or f"{error} for {dict(group)}"
            else:
                self._pushed[group] = numbers
        if refused:
            raise ConnectionError(refused)

    def _push(self, group: Group, metrics: list[Metric], deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the gateway is too slow")
        push_to_gateway(
            self._url,
            self._job,
            Showing(metrics),
            dict(_in_a_path(*label) for label in group),
            min(_TIMEOUT_SECONDS, left),
            handler=self._handler,
        )


def _in_a_path(name: str, value: str) -> tuple[str, str]:
    """Return a label of a group so that it can be a part of a path: a dot or two would be taken for a folder."""
    if value not in (".", ".."):
        return name, value
    return name + "@base64", base64.urlsafe_b64encode(value.encode()).decode().rstrip("=")


def _groups(metrics: list[Metric], *, only_last: bool) -> Iterator[tuple[Group, list[Metric]]]:
    """Yield each group with its part of *metrics*: last runs, those of flows that have run, what is of the process."""
    last_runs = [metric for metric in metrics if metric.name in LAST]
    for point in last_runs[0].points:
        group = (("flow", point.labels[0]), ("result", point.labels[1]))
        yield group, [_with_labels(metric, point.labels) for metric in last_runs]
    if only_last:
        return
    kept = [metric for metric in metrics if metric.name not in (*LIVE, *LAST)]
    runs = next(metric for metric in kept if metric.name == semconv.FLOW_RUNS)
    flows = {point.labels[0] for point in runs.points if point.value}
    flows |= {point.labels[0] for metric in kept if metric.name == semconv.TASK_RUNS for point in metric.points}
    for flow in sorted(flows):
        of_flows = [metric for metric in kept if metric.label_names[:1] == ("flow",)]
        yield (("flow", flow),), [_with_labels(metric, (flow,)) for metric in of_flows]
    yield (), [metric for metric in kept if metric.label_names[:1] != ("flow",)]


def _with_labels(metric: Metric, first: tuple[str, ...]) -> Metric:
    return metric._replace(points=[point for point in metric.points if point.labels[: len(first)] == first])


def _numbers(metrics: list[Metric]) -> object:
    """Return what tells whether anything is new."""
    return [
        (metric.name, point.labels, point.value, point.ended.count if point.ended is not None else 0)
        for metric in metrics
        for point in metric.points
    ]


def _gateway(where: str) -> tuple[str, Callable[..., Any]]:
    """Return the address of the gateway and how to speak to it. Raises ConfigurationError for one that is none."""
    url = where if "://" in where else f"http://{where}" if where else URL
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good or any(character.isspace() for character in url):
        raise ConfigurationError(f"metrics=push:{where} is no address of a Pushgateway: give push:{URL}")
    if parts.username is None:
        return url, default_handler

    handler = functools.partial(
        basic_auth_handler, username=unquote(parts.username), password=unquote(parts.password or "")
    )
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl(), handler
