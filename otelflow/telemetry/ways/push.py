"""Push to a Pushgateway, for jobs that have ended before anybody could ask them.

The gateway replaces what it has of a group, and never forgets. So there is one group for each flow, and one for each of
its last-run timestamps: a run that fails must not wipe out when one last succeeded. No group is named by a run.
"""

import functools
import time
from collections.abc import Callable, Iterator
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from prometheus_client import push_to_gateway
from prometheus_client.exposition import basic_auth_handler, default_handler

from otelflow._core import attributes
from otelflow._core.errors import ConfigurationError
from otelflow.telemetry.board import Board
from otelflow.telemetry.prometheus import Showing
from otelflow.telemetry.readings import LIVE, Metric, readings
from otelflow.telemetry.ways.courier import Courier

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
        self._courier = Courier(self._deliver, f"for the Pushgateway {self._url}")
        board.ended = self._courier.wake

    def flush(self, timeout: float) -> bool:
        """Push now."""
        return self._courier.flush(timeout)

    def close(self) -> None:
        """Push the last numbers."""
        self._board.ended = None
        self._courier.close()

    def _deliver(self, deadline: float) -> None:
        for group, metrics in _groups(readings(self._board.snapshot())):
            if self._pushed.get(group) == (numbers := _numbers(metrics)):
                continue
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("the gateway is too slow")
            push_to_gateway(
                self._url,
                self._job,
                Showing(metrics),
                dict(group),
                min(_TIMEOUT_SECONDS, left),
                handler=self._handler,
            )
            self._pushed[group] = numbers


def _groups(metrics: list[Metric]) -> Iterator[tuple[Group, list[Metric]]]:
    """Yield each group with its part of *metrics*: those of flows that have run, and what is of the process."""
    kept = [metric for metric in metrics if metric.name not in LIVE]
    runs = next(metric for metric in kept if metric.name == attributes.FLOW_RUNS)
    flows = {point.labels[0] for point in runs.points if point.value}
    flows |= {point.labels[0] for metric in kept if metric.name == attributes.TASK_RUNS for point in metric.points}
    for flow in sorted(flows):
        yield (
            (("flow", flow),),
            [
                _of(metric, flow)
                for metric in kept
                if metric.label_names[:1] == ("flow",) and metric.name != attributes.FLOW_LAST_RUN
            ],
        )
    last_runs = next(metric for metric in kept if metric.name == attributes.FLOW_LAST_RUN)
    for last in last_runs.points:
        group = (("flow", last.labels[0]), ("result", last.labels[1]))
        yield group, [last_runs._replace(points=[last])]
    yield (), [metric for metric in kept if metric.label_names[:1] != ("flow",)]


def _of(metric: Metric, flow: str) -> Metric:
    return metric._replace(points=[point for point in metric.points if point.labels[0] == flow])


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
