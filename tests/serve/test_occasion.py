"""The first flow of an occasion says when it was due, and what was missed before."""

from otelflow import add_listener, flow, semconv
from otelflow.serve._occasion import Occasion, OccasionListener, current


@flow
def inner():
    pass


@flow
def nightly():
    inner().execute()


def test_its_first_flow_says_when_it_was_due_and_no_other_does(spans):
    add_listener(OccasionListener())
    occasion = Occasion("pulse", 60.0, 2)
    current.set(occasion)
    nightly().execute()
    nightly().execute()
    current.set(None)
    nightly().execute()

    first, *others = spans.named("flow nightly")
    told = {key: value for key, value in first.attributes.items() if key.startswith("otelflow.schedule.")}
    assert told == {
        semconv.SCHEDULE_NAME: "pulse",
        semconv.SCHEDULE_TIME: "1970-01-01T00:01:00+00:00",
        semconv.SCHEDULE_MISSED: 2,
    }
    assert occasion.trace_id == f"{first.context.trace_id:032x}"
    silent = [*others, *spans.named("flow inner")]
    assert [key for span in silent for key in span.attributes if key.startswith("otelflow.schedule.")] == []


def test_where_nothing_was_missed_and_nobody_records_there_is_less_to_say(spans):
    add_listener(OccasionListener())
    current.set(Occasion("pulse", 60.0, 0))
    inner().execute()
    current.set(None)

    assert semconv.SCHEDULE_MISSED not in spans.one("flow inner").attributes


def test_without_a_trace_it_is_told_all_the_same():
    add_listener(OccasionListener())
    occasion = Occasion("pulse", 60.0, 0)
    current.set(occasion)
    inner().execute()
    current.set(None)

    assert (occasion.is_told, occasion.trace_id) == (True, "")
