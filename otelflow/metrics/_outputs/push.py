"""Push to a Pushgateway, for jobs that have ended before Prometheus could ask them.

The gateway replaces what it has of a group, and never forgets. So there is one group for each flow, and one for each of
its last-run timestamps: a run that fails must not wipe out when one last succeeded. No group is named by a run.

A forked child begins to count at zero, under the name of its parent: it pushes timestamps and no counters.
"""

import base64
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import ClassVar, Final, Self
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit
from urllib.request import Request

from opentelemetry.sdk.resources import Resource
from prometheus_client import push_to_gateway

from otelflow._core.process import clock
from otelflow._core.text.redaction import redact_address
from otelflow.errors import ConfigurationError
from otelflow.metrics._collector import FixedCollector, to_prometheus
from otelflow.metrics._counts import Aggregator
from otelflow.metrics._families import Family, families_of, read
from otelflow.metrics._outputs.metrics_worker import Refusal
from otelflow.metrics._outputs.output import WorkerOutput, service_of, warn_of_unnamed
from otelflow_exporters._otlp.answer_times import bounded_opener
from otelflow_exporters._otlp.proxies import proxy_variable

URL: Final = "http://127.0.0.1:9091"
_TIMEOUT_SECONDS: Final = 2.0
_DOTS: Final = {".": "Lg", "..": "Li4"}  # in base64, without padding

Group = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Push:
    """A gateway at *url*, perhaps with a password, and the name of the job."""

    url: str
    job: str
    username: str | None = None
    password: str = field(default="", repr=False)
    takes_place: ClassVar[bool] = True

    @classmethod
    def from_place(cls, place: str, resource: Resource) -> Self:
        """Read the address of a gateway, the usual one on this machine if *place* is empty."""
        url = place if "://" in place else f"http://{place}" if place else URL
        try:
            parts = urlsplit(url)
            is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_address = False
        if not is_address or any(character.isspace() for character in url):
            text = redact_address(place)
            raise ConfigurationError(f"metrics=push:{text} is no address of a Pushgateway: give push:{URL}")
        job = service_of(resource)
        if parts.username is None:
            return cls(url, job)
        bare_url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        return cls(bare_url, job, unquote(parts.username), unquote(parts.password or ""))

    def check(self) -> None:
        """Find nothing wrong: whether anybody is there, only a push tells."""

    def open(self, aggregator: Aggregator) -> "PushOutput":
        """Return the output that pushes there."""
        return PushOutput(aggregator, self)


class PushOutput(WorkerOutput):
    """Pushes new numbers when an outermost flow has ended, failed or not, and at exit."""

    def __init__(self, aggregator: Aggregator, choice: Push) -> None:
        super().__init__(aggregator, f"for the Pushgateway {redact_address(choice.url)}")
        self._url = choice.url
        self._job = choice.job
        self._headers = {}
        if choice.username is not None:
            key = base64.b64encode(f"{choice.username}:{choice.password}".encode()).decode()
            self._headers = {"Authorization": f"Basic {key}"}
        self._pushed: dict[tuple[str, Group], object] = {}
        warn_of_unnamed(choice.job)

    def deliver(self, deadline: float) -> None:
        """Push each group with new numbers."""
        refusal = ""
        snapshot = self.aggregator.snapshot()
        own = _groups(read(snapshot), snapshot.active_flows, only_last_runs=self.aggregator.is_child)
        for job, group, families in [
            *((self._job, group, families) for group, families in own),
            *(
                (service, group, families)
                for (_, service), runs in self.aggregator.others.last_runs().items()
                for group, families in _groups(families_of(runs), set(), only_last_runs=True)
            ),
        ]:
            numbers = [
                (metric.name, sample.labels, sample.value, sample.distribution.count if sample.distribution else 0)
                for metric, samples in families
                for sample in samples
            ]
            if self._pushed.get((job, group)) == numbers:
                continue
            seconds = deadline - clock.monotonic()
            if seconds <= 0:
                raise TimeoutError("the gateway is too slow")
            collector = FixedCollector(map(to_prometheus, families))
            # As a part of a path, a dot or two would be taken for a folder.
            dots = {f"{name}@base64": _DOTS[value] for name, value in group if value in _DOTS}
            key = {**{name: value for name, value in group if value not in _DOTS}, **dots}
            timeout = min(_TIMEOUT_SECONDS, seconds)
            try:
                push_to_gateway(self._url, job, collector, key, timeout, handler=self.sending)
            except HTTPError as error:  # of this group, perhaps not of the others
                refusal = refusal or f"{error} for {dict(group)}"
            else:
                self._pushed[job, group] = numbers
        if refusal:
            raise Refusal(refusal)

    def sending(
        self, url: str, method: str, timeout: float | None, headers: Iterable[tuple[str, str]], data: bytes
    ) -> Callable[[], None]:
        """Return what sends *data*, as a handler of prometheus_client, which listens to no answer for ever."""
        request = Request(url, data, {**dict(headers), **self._headers}, method=method)  # noqa: S310 it is checked

        def send() -> None:
            try:
                bounded_opener().open(request, timeout=timeout).close()
            except (OSError, HTTPException) as error:
                name = "" if isinstance(error, HTTPError) else proxy_variable(url)
                if not name:
                    raise
                raise ConnectionError(f"by the proxy that {name} names: {error}") from error

        return send


def _groups(
    families: list[Family], active_flows: set[str], *, only_last_runs: bool
) -> Iterator[tuple[Group, list[Family]]]:
    """Yield each group with its families: first of last runs, then of flows that have run, then of the process."""
    last_runs = [family for family in families if family.metric.is_of_last_run]
    for sample in last_runs[0].samples:
        group = tuple(zip(last_runs[0].metric.labels, sample.labels, strict=True))
        yield group, [_with_labels(family, sample.labels) for family in last_runs]
    if only_last_runs:
        return
    others = [family for family in families if not (family.metric.is_of_last_run or family.metric.is_live)]
    for flow in sorted(active_flows):
        yield (("flow", flow),), [_with_labels(family, (flow,)) for family in others if family.metric.is_of_flows]
    yield (), [family for family in others if not family.metric.is_of_flows]


def _with_labels(family: Family, first: tuple[str, ...]) -> Family:
    return family._replace(samples=[sample for sample in family.samples if sample.labels[: len(first)] == first])
