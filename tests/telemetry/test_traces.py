"""The provider that the ``OTEL_*`` variables ask for."""

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, sampling
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

from otelflow._core.process import settings as otelflow_settings
from otelflow._core.process.instance import instance_id
from otelflow._telemetry import traces
from otelflow._telemetry.batches import BoundedBatchSpanProcessor
from otelflow._telemetry.id_generator import SystemIdGenerator
from otelflow._telemetry.spool_news import SpoolNews
from otelflow._telemetry.start_markers import StartMarkers
from otelflow._telemetry.traces import new_provider
from otelflow.errors import ConfigurationError
from otelflow_exporters.spool import SpoolSpanProcessor


@pytest.fixture
def provider(monkeypatch):
    """Make a provider in an environment that has these variables only."""
    for name in (
        "OTEL_SERVICE_NAME",
        "OTEL_RESOURCE_ATTRIBUTES",
        "OTEL_TRACES_EXPORTER",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
    ):
        monkeypatch.delenv(f"OTEL_{name}", raising=False)
    providers = []

    def make(service_name=None, **variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        providers.append(new_provider(service_name))
        return providers[-1]

    yield make
    for sdk_provider in providers:
        sdk_provider.shutdown()


def processors(provider):
    return provider._active_span_processor._span_processors


@pytest.mark.parametrize(
    ("name", "description"),
    [
        ("", sampling.DEFAULT_ON.get_description()),
        ("always_off", sampling.ALWAYS_OFF.get_description()),
        (" ALWAYS_ON ", sampling.ALWAYS_ON.get_description()),
        ("parentbased_always_off", sampling.DEFAULT_OFF.get_description()),
        ("traceidratio", sampling.TraceIdRatioBased(0.25).get_description()),
        ("ParentBased_TraceIdRatio", sampling.ParentBasedTraceIdRatio(0.25).get_description()),
        (" TraceIdRatio ", sampling.TraceIdRatioBased(0.25).get_description()),
        ("parentbased_traceidratio\n", sampling.ParentBasedTraceIdRatio(0.25).get_description()),
        (" ", sampling.DEFAULT_ON.get_description()),
    ],
)
def test_a_sampler_that_opentelemetry_knows_is_had_by_its_name(provider, caplog, name, description):
    sdk_provider = provider(OTEL_TRACES_SAMPLER=name, OTEL_TRACES_SAMPLER_ARG="0.25")

    assert sdk_provider.sampler.get_description() == description
    assert not caplog.records


def test_a_share_that_is_none_is_a_warning_and_everything_is_sampled(provider, caplog):
    sdk_provider = provider(OTEL_TRACES_SAMPLER="traceidratio", OTEL_TRACES_SAMPLER_ARG="0,5")

    assert sdk_provider.sampler.get_description() == sampling.TraceIdRatioBased(1.0).get_description()
    assert "SAMPLER_ARG" in caplog.text


def test_a_sampler_of_a_package_is_made_with_the_argument(provider, monkeypatch):
    asked = []

    def load(group, name, variable):
        asked.append((group, name, variable))
        return lambda argument: sampling.TraceIdRatioBased(float(argument))

    monkeypatch.setattr(traces.entry_points, "load", load)

    sdk_provider = provider(OTEL_TRACES_SAMPLER="Theirs", OTEL_TRACES_SAMPLER_ARG="0.5")

    assert asked == [("opentelemetry_traces_sampler", "Theirs", "OTEL_TRACES_SAMPLER")]
    assert sdk_provider.sampler.get_description() == sampling.TraceIdRatioBased(0.5).get_description()


def test_ids_are_the_system_s_unless_the_variable_names_another_generator(provider):
    assert type(provider().id_generator) is SystemIdGenerator
    assert type(provider(OTEL_PYTHON_ID_GENERATOR=" random ").id_generator) is RandomIdGenerator


def test_the_resource_has_the_name_that_is_given_or_that_of_the_variable_and_the_id_of_the_process(provider):
    of_argument = provider("half \ud800").resource.attributes
    of_variable = provider(OTEL_SERVICE_NAME="billing").resource.attributes

    assert of_argument["service.name"] == "half \\ud800"
    assert of_variable["service.name"] == "billing"
    assert of_variable["service.instance.id"] == instance_id("billing")


def test_each_exporter_that_is_named_has_a_queue_of_its_own(provider):
    assert processors(provider()) == ()

    queues = processors(provider(OTEL_TRACES_EXPORTER="otlp,console", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9"))

    assert [type(queue) for queue in queues] == [SpoolSpanProcessor, BoundedBatchSpanProcessor]
    assert queues[0]._spool._sender.status.endpoint == "http://127.0.0.1:9/v1/traces"
    assert type(queues[1].exporter).__name__ == "ConsoleSpanExporter"


def test_without_a_spool_spans_for_an_endpoint_wait_in_a_queue(provider):
    otelflow_settings.configure(spool="off")

    (queue,) = processors(provider(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9"))

    assert type(queue) is BoundedBatchSpanProcessor
    assert queue._answer.endpoint == "http://127.0.0.1:9"


def test_a_limit_that_is_none_is_named(provider):
    with pytest.raises(ConfigurationError, match="OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"):
        provider(OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT="many")


def test_where_no_thread_is_to_be_had_the_resource_is_what_the_variables_say(provider, monkeypatch):
    def refuse(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Resource, "create", refuse)
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "team=blue")

    providers = [provider(), provider("shop"), provider(OTEL_SERVICE_NAME="billing")]

    attributes = [sdk_provider.resource.attributes for sdk_provider in providers]
    assert [values["service.name"] for values in attributes] == ["unknown_service", "shop", "billing"]
    assert [values["team"] for values in attributes] == ["blue"] * 3


def test_a_provider_with_two_spools_observes_no_run_any_more_when_it_is_shut_down(provider, monkeypatch):
    observing = set()
    monkeypatch.setattr(traces, "add_observer", observing.add)
    monkeypatch.setattr(traces, "remove_observer", observing.discard)
    sdk_provider = provider(
        OTEL_TRACES_EXPORTER="otlp_proto_http,otlp_proto_grpc", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9"
    )
    assert [type(observer) for observer in observing] == [SpoolNews] * 2

    sdk_provider.shutdown()

    assert observing == set()


def test_a_start_marker_follows_each_way_to_an_endpoint_where_it_is_asked_for(provider):
    otelflow_settings.configure(mark_start=True)

    found = processors(provider(OTEL_TRACES_EXPORTER="otlp,console", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9"))

    assert [type(processor) for processor in found] == [SpoolSpanProcessor, StartMarkers, BoundedBatchSpanProcessor]


@pytest.fixture
def homeless(monkeypatch):
    def refuse(*_):
        raise ConfigurationError("there is no home")

    monkeypatch.setattr("otelflow_exporters._spool.destination.spool_directory", refuse)


def test_without_a_home_spans_wait_in_memory_and_that_is_said(homeless, caplog, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")

    assert traces.spool_of("otlp") is None
    assert caplog.messages == ["Spans wait in memory, 16 MB at most, and are lost with the process: there is no home"]


def test_a_folder_that_was_named_and_cannot_be_used_is_an_error(homeless, tmp_path):
    otelflow_settings.configure(spool_dir=str(tmp_path))

    with pytest.raises(ConfigurationError, match="there is no home"):
        traces.spool_of("otlp")


def test_an_endpoint_that_is_none_is_an_error_also_without_a_home(homeless, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "no address at all")

    with pytest.raises(ConfigurationError, match="OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        traces.spool_of("otlp")


def test_a_processor_that_raises_at_its_end_keeps_no_other_from_ending(provider, caplog):
    ended = []

    class Ending(SpanProcessor):
        def shutdown(self):
            ended.append(self)
            raise ZeroDivisionError("of the host")

    sdk_provider = provider()
    for _ in range(2):
        sdk_provider.add_span_processor(Ending())
    sdk_provider.shutdown()

    assert len(ended) == 2
    assert caplog.messages == ["A span processor of the application cannot end: of the host"]
