import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otelflow_exporters._otlp.model import Span


@pytest.fixture(scope="session")
def make_span():
    """Make spans by number: their parents, and little else."""
    return new_span


def new_span(number, parent=0, name="", *, error=False, remote=False, length=1):
    parent_id = format(parent, "016x") if parent else ""
    return Span(
        "ab" * 16, format(number, "016x"), parent_id, remote, name or f"span {number}", "internal", number,
        number + length, {}, (), (), error, "", 0, "",
    )  # fmt: skip


class Program:
    """A program under observation: what it does are spans, and `done()` hands them over."""

    def __init__(self):
        self._memory = InMemorySpanExporter()
        provider = TracerProvider(resource=Resource({"service.name": "demo"}), shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._memory))
        self.tracer = provider.get_tracer("program", "1.0")

    def span(self, name="flow demo", **options):
        return self.tracer.start_as_current_span(name, **options)

    def trace(self, name="flow demo", children=2, **options):
        """Run one small trace and return its spans."""
        with self.span(name, **options):
            for _ in range(children):
                with self.span("task step"):
                    pass
        return self.done()

    def done(self):
        spans = self._memory.get_finished_spans()
        self._memory.clear()
        return spans


@pytest.fixture
def program():
    return Program()


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch, tmp_path):
    for variable in ("OTELFLOW_STORE", "OTELFLOW_STORE_MAX_BYTES", "OTELFLOW_STORE_MAX_AGE_DAYS", "COLUMNS"):
        monkeypatch.delenv(variable, raising=False)
    for variable in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def folder(tmp_path):
    """Where a spool is to be."""
    return tmp_path / "spool"


@pytest.fixture
def receiver(monkeypatch):
    """An OTLP endpoint, to which the variables send."""
    from support.receivers import OtlpReceiver  # late, as below

    with OtlpReceiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        yield receiver


@pytest.fixture(autouse=True)
def accounts_that_add_up():
    """Whatever a test does to a spool, each span is delivered, waiting or lost when it is over."""
    from support.ledger import added_up  # not above: programs that tests start import this file for its spans

    with added_up():
        yield
