"""Spans of a worker: each comes with what it says of itself, and one that cannot come is counted."""

from otelflow import flow
from otelflow._core.process import losses
from otelflow.runners import ProcessPoolTaskRunner
from support.remote_tasks import overfill, overfill_pieces, stray, want_nothing

RUNNER = ProcessPoolTaskRunner(max_workers=1, start_method="spawn")


def test_a_span_says_how_much_it_had_no_room_for(spans):
    @flow(task_runner=RUNNER)
    def overfills():
        overfill.submit(0).result()

    overfills().execute()
    crowd = spans.one("crowd")
    assert (crowd.dropped_links, crowd.dropped_attributes, crowd.dropped_events) == (2, 3, 5)
    assert (len(crowd.links), len(crowd.attributes), len(crowd.events)) == (128, 128, 128)


def test_a_span_that_no_report_takes_is_counted(spans):
    @flow(task_runner=RUNNER)
    def strays():
        for number in range(2):
            stray.submit(number).result()

    strays().execute()
    assert {span.name for span in spans.spans} == {"flow strays", "task stray"}
    assert losses.dropped == {("traces", "not_reported"): 3}, "two in threads, and one that ended too late"


def test_events_and_links_say_how_many_attributes_they_had_no_room_for(monkeypatch, spans):
    monkeypatch.setenv("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "4")
    monkeypatch.setenv("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "3")

    @flow(task_runner=RUNNER)
    def overfills():
        overfill_pieces.submit(0).result()

    overfills().execute()
    crowd = spans.one("crowded pieces")
    assert [event.dropped_attributes for event in crowd.events] == [6, 0]
    assert [link.dropped_attributes for link in crowd.links] == [0, 7]


def test_spans_that_a_flow_without_telemetry_does_not_want_are_not_counted_as_lost(spans):
    @flow(task_runner=RUNNER)
    def wants():
        want_nothing.submit(0).result()

    wants().execute()

    assert {span.name for span in spans.spans} == {"flow wants", "task want_nothing"}
    assert losses.dropped == {}
