"""What all outputs for metrics have in common: a choice opens an output, and the output delivers from its start on."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Protocol, Self

from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from prometheus_client import CollectorRegistry

from otelflow._core.process import losses
from otelflow._core.process.ledger import Account
from otelflow._core.text.safe_str import bounded_name
from otelflow.metrics._collector import AggregatorCollector
from otelflow.metrics._counts import Aggregator, Hooks
from otelflow.metrics._outputs.metrics_worker import MetricsWorker

if TYPE_CHECKING:
    from prometheus_client.registry import Collector


class Output:
    """Brings the numbers of *aggregator* to where they are read. Trouble with that is counted and logged, not raised.

    ``registry`` shows them by ``collector``, in this process; ``address`` and ``port`` are where /metrics is served.
    """

    address: str | None = None
    port: int | None = None

    def __init__(self, aggregator: Aggregator) -> None:
        self.aggregator = aggregator
        self.registry = CollectorRegistry()
        self.collector: Collector = AggregatorCollector(aggregator)

    @property
    def account(self) -> Account | None:
        """What has become of its deliveries; None for one that others come to read."""
        return None

    def start(self) -> bool:
        """Begin; return False, after a warning, when that is not possible."""
        return True

    def flush(self, timeout: float) -> bool:
        """Deliver the numbers of now within *timeout* seconds; return whether they arrived."""
        return True

    def close(self, *, deliver: bool = True) -> None:
        """Deliver the last numbers in bounded time, unless *deliver* is False, and end; twice does no harm."""


class Choice(Protocol):
    """An output that was chosen: the value of everything that it is made of. Equal choices are the same output."""

    takes_place: ClassVar[bool]

    @classmethod
    def from_place(cls, place: str, resource: Resource) -> Self | None:
        """Read *place*, the text after the colon; None is no output. Raises ConfigurationError."""

    def check(self) -> None:
        """Raise ConfigurationError for what makes it impossible to open it, and open nothing."""

    def open(self, aggregator: Aggregator) -> Output:
        """Return the output. Raises ConfigurationError for what makes it impossible."""


class WorkerOutput(Output, ABC):
    """Delivers on a thread of its own: when an outermost flow has ended, every *interval* seconds if given, at exit."""

    def __init__(self, aggregator: Aggregator, description: str, *, interval: float | None = None) -> None:
        super().__init__(aggregator)
        self.worker = MetricsWorker(self.deliver, description, interval=interval, count=lambda: aggregator.run_count)
        self.hooks = Hooks(flow_ended=self.worker.wake)

    @abstractmethod
    def deliver(self, deadline: float) -> None:
        """Deliver all numbers by *deadline* (``clock.monotonic()``), on the worker's thread; raise if none arrive."""

    def start(self) -> bool:
        """Deliver from now on."""
        self.aggregator.hooks = self.hooks
        return True

    @property
    def account(self) -> Account:
        """What has become of its deliveries."""
        return self.worker.account_of(self)

    def flush(self, timeout: float) -> bool:
        """Deliver now."""
        return self.worker.flush(timeout)

    def close(self, *, deliver: bool = True) -> None:
        """Deliver the last numbers."""
        if self.aggregator.hooks is self.hooks:  # and not those of an output that has taken the place of this one
            self.aggregator.hooks = Hooks()
        self.worker.is_discarding = not deliver
        self.worker.close()


def service_of(resource: Resource) -> str:
    """Return the name of the service, under which jobs deliver."""
    return bounded_name(resource.attributes.get(SERVICE_NAME, "unknown_service"))


def warn_of_unnamed(service: str) -> None:
    """Warn if *service* is OpenTelemetry's name for all services without one."""
    if service.startswith("unknown_service"):
        losses.warn_once(
            "metrics service",
            "The metrics of this job go by the name %r, and so do those of every other job without a name, which "
            "replaces them: set OTEL_SERVICE_NAME",
            service,
        )
