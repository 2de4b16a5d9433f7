"""A flow that begins is told at once by a span of zero length, which is no run."""

import itertools
import json
import logging
import sys

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import otelflow
from otelflow import semconv
from otelflow._telemetry.start_markers import StartMarkers
from support.programs import end, python, run_python, source_of, start
from support.receivers import OtlpReceiver
from support.servers import wait_until

PROGRAM = """
    import json, sys, threading
    import otelflow

    telemetry = otelflow.configure(service_name="shop", metrics="registry", store=sys.argv[1])

    @otelflow.task
    def work():
        pass

    @otelflow.flow
    def inner():
        work()

    @otelflow.flow(tags=["nightly"])
    def outer():
        if sys.argv[2:]:
            inner().execute()
            print("open", flush=True)
            threading.Event().wait(60)
        inner().execute()
    """


def texts_of(span):
    return {attribute.key: attribute.value.string_value for attribute in span.attributes}


@pytest.fixture
def recorded():
    """What is handed over by a provider with markers: of a flow and of whatever else has started."""
    exporter = InMemorySpanExporter()
    delivery = SimpleSpanProcessor(exporter)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(delivery)
    provider.add_span_processor(StartMarkers(delivery, itertools.count(1).__next__))
    return provider, exporter


@otelflow.task
def work():
    """Do nothing."""


@otelflow.flow
def inner():
    work()


@otelflow.flow
def outer():
    inner().execute()


@pytest.mark.parametrize("maker", ["otelflow", "sdk"])
def test_each_flow_has_one_marker_with_its_identity_that_is_told_from_it(recorded, maker):
    provider, exporter = recorded
    otelflow.configure(tracer_provider=provider, span=maker)

    outer().execute()

    spans = {span.name: span for span in exporter.get_finished_spans()}
    assert list(spans) == ["flow started outer", "flow started inner", "task work", "flow inner", "flow outer"]
    for name in ("outer", "inner"):
        marker, flow = spans[f"flow started {name}"], spans[f"flow {name}"]
        assert marker.parent == flow.context
        assert marker.context.trace_id == flow.context.trace_id
        assert marker.start_time == marker.end_time == flow.start_time
        assert (marker.resource, marker.instrumentation_scope) == (flow.resource, flow.instrumentation_scope)
        attributes = dict(marker.attributes)
        assert attributes.pop(semconv.RUN_MARKER) == semconv.STARTED
        assert attributes.items() < flow.attributes.items()
        assert attributes[semconv.FLOW_RUN_ID] == flow.attributes[semconv.FLOW_RUN_ID]
        assert semconv.RUN_RESULT not in attributes
        assert semconv.RUN_MARKER not in flow.attributes
    assert len({span.context.span_id for span in spans.values()}) == len(spans)
    assert spans["flow outer"].attributes[semconv.TELEMETRY_SPANS] == 3


def test_what_others_call_a_flow_and_what_is_not_sampled_has_no_marker(recorded):
    provider, exporter = recorded
    with provider.get_tracer("other").start_as_current_span("flow of water"):
        pass
    unsampled = TracerProvider(shutdown_on_exit=False, sampler=ALWAYS_OFF)
    unsampled.add_span_processor(StartMarkers(SimpleSpanProcessor(exporter), itertools.count(1).__next__))
    otelflow.configure(tracer_provider=unsampled)
    outer().execute()

    assert [span.name for span in exporter.get_finished_spans()] == ["flow of water"]


@pytest.mark.parametrize("spool", ["on", "memory", "off"])
def test_a_marker_arrives_and_is_accounted_for_and_counts_as_no_run(tmp_path, spool):
    source = """
        outer().execute()
        otelflow.force_flush(60_000)
        accounts = {account.destination: account for account in telemetry.ledger}
        print(json.dumps({name: [a.total, a.delivered, a.waiting, a.lost] for name, a in accounts.items()}))
        from prometheus_client import REGISTRY, generate_latest
        print(json.dumps([line for line in generate_latest(REGISTRY).decode().splitlines() if "runs_total{" in line]))
        """
    with OtlpReceiver() as receiver:
        done = python(
            PROGRAM,
            source,
            arguments=[tmp_path / "store"],
            OTELFLOW_MARK_START="on",
            OTELFLOW_SPOOL=spool,
            OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
            XDG_STATE_HOME=tmp_path,
        )
    shown = run_python("-m", "otelflow", "show", "--list", OTELFLOW_STORE=tmp_path / "store")
    accounts, samples = map(json.loads, done.stdout.splitlines())
    of_store = accounts.pop("StoreSpanExporter")

    names = [span.name for span in receiver.spans]
    assert sorted(names) == ["flow inner", "flow outer", "flow started inner", "flow started outer", "task work"]
    assert list(accounts.values()) == [[5, 5, 0, 0]]
    assert of_store == [3, 3, 0, 0]
    counted = {line.split()[0]: float(line.split()[1]) for line in samples if not line.endswith(" 0.0")}
    assert sorted(counted.values()) == [1, 1, 1], counted
    assert "flow started" not in str(counted) + shown.stdout
    assert done.stderr == ""


def test_without_being_asked_for_there_is_none(tmp_path):
    with OtlpReceiver() as receiver:
        python(PROGRAM, "outer().execute()", arguments=[tmp_path], OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url)

    assert sorted(span.name for span in receiver.spans) == ["flow inner", "flow outer", "task work"]


def test_a_marker_is_there_while_its_flow_is_open_and_no_second_time_when_that_was_lost(tmp_path):
    with OtlpReceiver() as receiver:
        ways = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTELFLOW_SPOOL_DIR": tmp_path / "spool"}
        source = source_of(PROGRAM, "outer().execute()")
        process = start(sys.executable, "-c", source, tmp_path / "store", "wait", OTELFLOW_MARK_START="on", **ways)
        try:
            assert process.stdout.readline() == "open\n"
            wait_until(lambda: len(receiver.spans) == 4)
            listed = run_python("-m", "otelflow", "ps", **ways)
        finally:
            end(process)
        open_names = sorted(span.name for span in receiver.spans)
        done = run_python("-m", "otelflow", "ship", "--once", **ways)

    assert open_names == ["flow inner", "flow started inner", "flow started outer", "task work"]
    assert (listed.stdout.count("outer"), "started outer" in listed.stdout) == (1, False)
    assert (done.returncode, done.stderr) == (0, "otelflow: 1 span sent\n")
    last = receiver.spans[-1]
    assert (last.name, texts_of(last)[semconv.ERROR_TYPE]) == ("flow outer", semconv.PROCESS_LOST)
    (marker,) = [span for span in receiver.spans if span.name == "flow started outer"]
    assert (marker.trace_id, marker.parent_span_id) == (last.trace_id, last.span_id)
    assert marker.start_time_unix_nano == marker.end_time_unix_nano == last.start_time_unix_nano


def test_that_the_application_s_own_provider_makes_none_is_said_once(recorded, caplog):
    provider, _ = recorded
    with caplog.at_level(logging.WARNING):
        otelflow.configure(tracer_provider=provider, mark_start=True)
        otelflow.configure(tracer_provider=provider, mark_start=True)

    assert [record.getMessage() for record in caplog.records if "mark_start" in record.getMessage()] == [
        "mark_start does nothing where the application sends its spans itself"
    ]
