"""What tests look at on a span."""


def assert_attributes(span, *, has, lacks=()):
    """See that *span* has the attributes *has* and none that *lacks* names; it may have others.

    What a span has exactly is stated once: tests/core/runs/test_spans.py.
    """
    attributes = dict(span.attributes)
    assert {key: attributes[key] for key in has if key in attributes} == has
    assert [key for key in lacks if key in attributes] == []


def result(span):
    """Return how the run of *span* ended."""
    return span.attributes["otelflow.run.result"]


def texts(span):
    """Return the messages of *span*."""
    return [event.attributes["otelflow.message.text"] for event in span.events if event.name == "otelflow.message"]


def exceptions(trace):
    """Return which span has which exception recorded."""
    return sorted(
        (span.name, event.attributes["exception.type"])
        for span in trace.spans
        for event in span.events
        if event.name == "exception"
    )
