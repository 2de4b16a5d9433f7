"""What a summary says of a trace whose spans are met in any order."""

import itertools

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status, TracesData

from otelflow import semconv
from otelflow_exporters._store.summaries import INCOMPLETE, Summaries

REMOTE = 0x300  # the flags of OTLP: it is known whether the parent is in another process, and it is


def span(name, start, end=0, parent=b"", flags=0, trace_id=b"1" * 16, error=False, result=""):
    stored = Span(
        trace_id=trace_id, span_id=name[-1].encode() * 8, parent_span_id=parent, name=name, flags=flags,
        start_time_unix_nano=start, end_time_unix_nano=end,
    )  # fmt: skip
    if error:
        stored.status.code = Status.STATUS_CODE_ERROR
    if result:
        stored.attributes.add(key="other").value.string_value = "not this"
        stored.attributes.add(key=semconv.RUN_RESULT).value.string_value = result
    return stored


def record(*spans, service="shop"):
    traces = TracesData()
    resource_spans = traces.resource_spans.add()
    resource_spans.resource.attributes.add(key="service.name").value.string_value = service
    resource_spans.scope_spans.add().spans.extend(spans)
    return traces


def nothing_older(trace_id):
    return ()


def summaries_of(*records, horizon=-1):
    summaries = Summaries()
    for traces in records:
        summaries.add(traces, lambda: False)
    return list(summaries.started_after(horizon, nothing_older))


ROOT = span("flow root", 20, 70)
REMOTE_ROOT = span("GET remote", 10, 60, parent=b"x" * 8, flags=REMOTE)
CHILD = span("task child", 5, 90, parent=b"t" * 8, error=True)
LATE_ROOT = span("flow late", 30, 40, error=True)


@pytest.mark.parametrize("spans", list(itertools.permutations([ROOT, REMOTE_ROOT, CHILD, LATE_ROOT])))
def test_the_first_root_is_the_trace_in_whatever_order_its_spans_are_met(spans):
    (summary,) = summaries_of(*(record(met, service=f"of {met.name}") for met in spans))

    assert (summary.name, summary.service, summary.result) == ("flow root", "of flow root", "success")
    assert (summary.start, summary.end, summary.last_end) == (20, 70, 90)
    assert (summary.span_count, summary.failed_count) == (4, 2)


@pytest.mark.parametrize("spans", list(itertools.permutations([REMOTE_ROOT, CHILD])))
def test_a_root_in_another_process_is_one_where_no_other_is_stored(spans):
    (summary,) = summaries_of(*map(record, spans))

    assert (summary.name, summary.start, summary.end, summary.last_end) == ("GET remote", 10, 60, 90)


def test_without_a_root_it_is_incomplete_and_lasts_from_the_first_start_to_the_last_end():
    spans = [CHILD, span("task second", 3, 8, parent=b"t" * 8), span("task third", 95, 95, parent=b"t" * 8)]
    for order in itertools.permutations(spans):
        (summary,) = summaries_of(record(*order))

        assert (summary.name, summary.result) == ("task second", INCOMPLETE)
        assert (summary.start, summary.end, summary.last_end) == (3, 95, 95)
        assert summary.duration == 92 / 1e9


@pytest.mark.parametrize(
    ("root", "result"),
    [
        (span("flow root", 1, 2, result=semconv.TIMEOUT, error=True), semconv.TIMEOUT),
        (span("flow root", 1, 2, error=True), semconv.FAILURE),
        (span("flow root", 1, 2), semconv.SUCCESS),
    ],
)
def test_the_result_is_what_the_root_says_or_else_follows_from_its_status(root, result):
    (summary,) = summaries_of(record(CHILD, root))

    assert summary.result == result


def test_a_map_and_an_attempt_are_no_runs_that_failed():
    def of(stored, **attributes):
        for key, value in attributes.items():
            stored.attributes.add(key=getattr(semconv, key)).value.string_value = value
        return stored

    (summary,) = summaries_of(
        record(
            of(span("flow root", 1, 9, result=semconv.SUCCESS), FLOW_NAME="root"),
            of(span("attempt root", 1, 2, parent=b"r" * 8, error=True, result=semconv.FAILURE), FLOW_NAME="root"),
            of(span("map fetch", 3, 8, parent=b"r" * 8, error=True, result=semconv.FAILURE), FLOW_NAME="root"),
            of(
                span("task fetch", 3, 8, parent=b"m" * 8, error=True, result=semconv.FAILURE),
                FLOW_NAME="root",
                TASK_NAME="fetch",
            ),
            span("attempt of another program", 3, 8, parent=b"m" * 8, error=True),
        )
    )

    assert (summary.span_count, summary.failed_count, summary.failed_flows) == (5, 2, 0)


def test_a_clock_that_was_set_back_makes_no_negative_duration():
    (summary,) = summaries_of(record(span("flow root", 5_000_000_000, 3_000_000_000)))

    assert (summary.duration, summary.started.timestamp()) == (0, 5)
    (summary,) = summaries_of(record(span("flow root", 5_000_000_000, 7_500_000_000)))
    assert summary.duration == 2.5
    (summary,) = summaries_of(record(span("flow root", 1_700_000_000_000_000_000)))
    assert summary.started.timestamp() == 1_700_000_000


def test_traces_are_given_out_once_from_the_newest_to_the_horizon():
    traces = [record(span("flow root", number, 50, trace_id=bytes([number]) * 16)) for number in (3, 1, 4, 2)]
    summaries = Summaries()
    for trace in traces:
        summaries.add(trace, lambda: False)

    first = [summary.start for summary in summaries.started_after(2, nothing_older)]
    summaries.add(record(span("task late", 9, 9, trace_id=bytes([4]) * 16)), lambda: False)
    second = [(summary.start, summary.span_count) for summary in summaries.started_after(-1, nothing_older)]

    assert (first, second) == ([4, 3], [(2, 1), (1, 1)])


def test_a_trace_without_its_root_is_completed_once_and_waits_for_its_turn():
    long_ago, lately = record(ROOT), record(span("flow other", 45, 50, trace_id=b"2" * 16), CHILD)
    summaries = Summaries()
    summaries.add(record(span("GET late", 50, 60, parent=b"x" * 8, flags=REMOTE)), lambda: False)
    summaries.add(lately, lambda: False)
    questions = []

    def older_records(trace_id):
        questions.append(trace_id)
        return [(long_ago, lambda: False), (record(span("flow mixed", 1, 2, trace_id=b"3" * 16)), lambda: False)]

    newer = [summary.name for summary in summaries.started_after(4, older_records)]
    summaries.add(long_ago, lambda: False)
    older = [(summary.name, summary.span_count) for summary in summaries.started_after(-1, older_records)]

    assert (newer, older) == (["flow other", "flow root"], [])
    assert questions == [b"1" * 16]


def test_a_trace_that_began_before_the_horizon_is_given_out_after_those_that_began_since():
    summaries = Summaries()
    summaries.add(record(span("GET late", 50, 60, parent=b"x" * 8, flags=REMOTE)), lambda: False)

    newer = list(summaries.started_after(30, lambda trace_id: [(record(ROOT), lambda: False)]))
    summaries.add(record(ROOT, span("flow older", 25, 30, trace_id=b"2" * 16)), lambda: False)
    older = [(summary.name, summary.span_count) for summary in summaries.started_after(-1, nothing_older)]

    assert (newer, older) == ([], [("flow older", 1), ("flow root", 2)])


def test_what_has_no_true_id_is_no_trace_and_hides_none():
    odd = span("flow odd", 1, 2, trace_id=b"short")

    assert [summary.name for summary in summaries_of(record(odd, ROOT))] == ["flow root"]


def test_a_trace_that_was_completed_comes_before_those_that_began_earlier():
    summaries = Summaries()
    summaries.add(record(span("GET late", 50, 60, parent=b"x" * 8, flags=REMOTE)), lambda: False)
    summaries.add(record(span("flow earlier", 30, 50, trace_id=b"2" * 16)), lambda: False)

    names = [
        summary.name
        for summary in summaries.started_after(5, lambda _: [(record(span("flow root", 40, 70)), lambda: False)])
    ]

    assert names == ["flow root", "flow earlier"]
