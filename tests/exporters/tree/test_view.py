"""How much of a trace a tree shows, and how to see the rest."""

import json
import re

import pytest
from opentelemetry.trace import Status, StatusCode

from otelflow import semconv
from otelflow_exporters import TreeView, render_trace

TRACEBACK = """Traceback (most recent call last):
  File "/home/ann/shop/etl.py", line 17, in load
    return parse(row)
  File "/venv/lib/python3.12/site-packages/otelflow/_core/runs/drivers.py", line 39, in run_function
    value = run.definition.call(run)
            ^^^^^^^^^^^^^^^^^^^^^^^^
  File "/home/ann/shop/etl.py", line 23, in parse
    return int(row)
  File "/usr/lib/python3.12/json/decoder.py", line 3, in decode
    raise ValueError
ValueError: bad row
"""


def message(span, text, severity="INFO"):
    span.add_event(semconv.MESSAGE_EVENT, {semconv.MESSAGE_TEXT: text, semconv.MESSAGE_SEVERITY: severity})


def fail(span, text="bad row"):
    attributes = {"exception.type": "ValueError", "exception.message": text, "exception.stacktrace": TRACEBACK}
    span.add_event("exception", attributes)
    span.set_attribute(semconv.RUN_RESULT, semconv.FAILURE)
    span.set_status(Status(StatusCode.ERROR, text))


@pytest.fixture
def nightly(program):
    """Ten calls that are folded, with messages, a result and children; the fourth fails, and the flow goes on."""
    with program.span("flow nightly") as flow:
        for number in range(10):
            with program.span("task load", attributes={"otelflow.run.parameter.path": f"/in/{number}.csv"}) as span:
                message(span, f"loading {number}")
                with program.span("task parse"):
                    pass
                if number == 3:
                    fail(span)
                else:
                    span.add_event(semconv.RESULT_EVENT, {semconv.RESULT_KEY: "rows"})
        for number in range(30):
            message(flow, f"line {number}.", "WARNING" if number == 15 else "INFO")
    return program.done()


def drawn(spans, **options):
    return render_trace(spans, width=100, view=TreeView(**options))


def test_what_is_folded_is_counted_and_the_way_to_it_said_whole(nightly):
    text = drawn(nightly, cure="otelflow show 4bf92f3577b34da6a3ce929d0e0e4736 --full")

    assert re.search(r"median .*; folded with 9 spans below, 9 messages, 9 results\n", text)
    assert "… 7 more messages\n" in text
    assert "… 10 more messages\n" in text
    assert "WARNING line 15." in text
    assert text.endswith("… what is folded: otelflow show 4bf92f3577b34da6a3ce929d0e0e4736 --full\n")


def test_where_nothing_is_folded_no_way_to_it_is_said(program):
    with program.span("flow small"):
        pass

    assert "folded" not in drawn(program.done(), cure="otelflow show --full")


def test_full_shows_every_span_and_every_message(nightly):
    text = drawn(nightly, full=True, cure="otelflow show --full")

    assert text.count("task load") == text.count("task parse") == 10
    assert all(f"loading {number}\n" in text for number in range(10))
    assert all(f"line {number}.\n" in text for number in range(30))
    assert "more" not in text
    assert "folded" not in text


def test_logs_unfolds_what_has_messages(nightly):
    text = drawn(nightly, logs=True)

    assert all(f"loading {number}\n" in text for number in range(10))
    assert all(f"line {number}.\n" in text for number in range(30))


def test_failed_only_shows_what_failed_and_what_it_is_in(nightly):
    text = drawn(nightly, failed_only=True)

    assert "✓ flow nightly" in text
    assert "✗ task load (path='/in/3.csv')" in text
    assert "ValueError: bad row" in text
    assert text.count("task load") == 1
    assert "… 18 more spans\n" in text
    assert "line 0." not in text


def test_failed_only_says_that_nothing_failed(program):
    with program.span("flow fine"):
        pass

    assert drawn(program.done(), failed_only=True).endswith("\nnothing failed\n")


def test_a_failure_has_file_and_line_and_with_traceback_its_lines_without_those_of_otelflow(nightly):
    usual, with_all = drawn(nightly), drawn(nightly, tracebacks="all")

    assert "at /home/ann/shop/etl.py:23, in parse\n" in usual
    assert "Traceback" not in usual
    assert 'File "/home/ann/shop/etl.py", line 17, in load\n' in with_all
    assert "return int(row)" in with_all
    assert "drivers.py" not in with_all
    assert "^^^^" not in with_all


def test_of_causes_only_what_made_the_trace_fail_has_its_traceback(program, nightly):
    with program.span("flow other") as flow:
        inside = {semconv.RUN_RESULT: semconv.SUCCESS}
        with program.span("task stays inside", attributes=inside), program.span("task deep") as deep:
            fail(deep, "harmless")
        with program.span("task culprit") as culprit:
            fail(culprit, "the cause")
        flow.set_status(Status(StatusCode.ERROR, "the cause"))
    spans = [span for span in program.done() if span not in nightly]

    text = drawn(spans, tracebacks="causes")
    assert text.count("Traceback") == 1
    assert text.index("the cause") < text.index("Traceback")


def test_parameters_and_return_value_stand_on_the_line_and_are_cut_from_the_left(program):
    path = "/data/incoming/2026/orders.csv"
    values = {"otelflow.run.parameter.path": path, "otelflow.run.parameter.count": "3"}
    with program.span("task load", attributes={**values, semconv.RUN_RETURN_VALUE: "[1, 2]"}):
        pass
    spans = program.done()

    wide, narrow, tiny = (render_trace(spans, width=width) for width in (120, 80, 40))
    assert f"✓ task load (path='{path}', count=3) = [1, 2]" in wide
    assert "✓ task load (path='…ng/2026/orders.csv', count=3) ━" in narrow
    assert "\n   = [1, 2]\n" in narrow
    assert f"(path='{path}'," in tiny


def test_messages_have_times_and_all_stands_in_the_order_in_which_it_happened(program):
    with program.span("flow nightly") as flow:
        message(flow, "before")
        with program.span("task first"):
            pass
        message(flow, "between")
        with program.span("task second"):
            pass
        message(flow, "after")
        fail(flow, "at the end")

    text = drawn(program.done())

    words = ["before", "task first", "between", "task second", "after", "at the end"]
    assert re.findall("|".join(words), text) == words
    assert len(re.findall(r"\d\d:\d\d:\d\d\.\d{3} · (?:before|between|after)\n", text)) == 3
    lines = [r"├─ ✓ task first.*", "├╴ .* between", "├─ ✓ task second.*", "├╴ .* after", "└╴ .*at the end", "   at .*"]
    assert re.search("\n".join(lines), text)


def test_what_a_flow_says_after_its_tasks_does_not_hang_below_the_last_of_them(program):
    with program.span("flow nightly") as flow:
        with program.span("task last") as task:
            message(task, "of the task")
        message(flow, "of the flow\nin two lines")

    *_, of_task, of_flow, second = drawn(program.done()).splitlines()

    assert re.fullmatch(r"│     \S+ · of the task", of_task)
    assert re.fullmatch(r"└╴ \S+ · of the flow", of_flow)
    assert re.fullmatch(r" +in two lines", second)


def test_full_shows_long_parameters_values_and_names_whole(program):
    path = "/data/" + "x" * 3_000
    attributes = {"otelflow.run.parameter.path": path, "otelflow.run.parameter.rest": 1, semconv.RUN_RETURN_VALUE: path}
    with program.span("task load " + "y" * 300, attributes=attributes):
        pass
    spans = program.done()

    usual, full = drawn(spans, cure="unfold"), drawn(spans, full=True, cure="unfold")

    assert path not in usual
    assert "y" * 300 not in usual
    assert "… what is folded: unfold" in usual
    assert "".join(full.split()).count(f"'{path}'") == 2
    assert "y" * 300 in full
    assert "what is folded" not in full


@pytest.mark.parametrize(
    "attributes",
    [
        {semconv.ARTIFACT_TYPE: "table", semconv.ARTIFACT_DATA: json.dumps([{"a": number} for number in range(21)])},
        {semconv.ARTIFACT_TYPE: "text", semconv.ARTIFACT_DATA: "line\n" * 50},
        {semconv.ARTIFACT_TYPE: "markdown", semconv.ARTIFACT_DATA: "- point\n" * 50},
    ],
)
def test_a_part_of_an_artifact_that_is_not_shown_counts_as_folded(program, attributes):
    with program.span("flow nightly") as span:
        span.add_event(semconv.ARTIFACT_EVENT, {semconv.ARTIFACT_KEY: "rows", **attributes})
    spans = program.done()

    assert "what is folded: unfold" in drawn(spans, cure="unfold")
    assert "what is folded" not in drawn(spans, full=True, cure="unfold")


def test_a_trace_that_is_shown_whole_says_nothing_of_folding(program):
    with program.span("flow nightly") as span:
        message(span, "one line")
        span.add_event(semconv.ARTIFACT_EVENT, {semconv.ARTIFACT_TYPE: "table", semconv.ARTIFACT_DATA: '[{"a": 1}]'})

    assert "what is folded" not in drawn(program.done(), cure="unfold")


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120])
def test_ids_paths_and_cures_are_never_broken(program, width):
    cure = "otelflow show 4bf92f3577b34da6a3ce929d0e0e4736 --full"
    with program.span("flow nightly") as flow:
        message(flow, "look at 4bf92f3577b34da6a3ce929d0e0e4736 in /var/log/shop/of-the-day.log please")
        for _ in range(30):
            message(flow, "x")
        fail(flow)
    spans = program.done()

    lines = render_trace(spans, width=width, view=TreeView(cure=cure)).splitlines()
    assert lines[0].startswith(f"trace {spans[0].context.trace_id:032x}")
    for whole in ("4bf92f3577b34da6a3ce929d0e0e4736", "/var/log/shop/of-the-day.log", "/home/ann/shop/etl.py:23", cure):
        assert any(whole in line for line in lines), whole


def test_what_is_piped_is_not_wrapped(program, capsys):
    from otelflow_exporters import print_trace

    with program.span("flow nightly") as flow:
        message(flow, "many words " * 40)
    print_trace(program.done())

    assert ("many words " * 40).rstrip() in capsys.readouterr().out


def test_a_traceback_without_a_frame_does_not_say_the_error_again(program):
    attributes = {"exception.type": "CancelledError", "exception.message": "", "exception.stacktrace": "CancelledError"}
    with program.span("task stopped", attributes={semconv.RUN_RESULT: semconv.CANCELLATION}) as span:
        span.add_event("exception", attributes)

    assert drawn(program.done(), full=True, tracebacks="all").count("CancelledError") == 1


def test_a_flow_that_failed_in_a_request_that_was_answered_well_has_its_traceback(program):
    with program.span("GET /orders"), program.span("flow orders") as flow, program.span("task load") as task:
        fail(task, "no line")
        fail(flow, "no line")

    text = drawn(program.done(), tracebacks="causes")
    assert text.count("Traceback") == 2
    assert 'File "/home/ann/shop/etl.py", line 23, in parse\n' in text


def test_a_page_is_never_so_narrow_that_nothing_is_on_it(program):
    with program.span("flow nightly"):
        pass
    spans = program.done()

    pages = {width: render_trace(spans, width=width) for width in (-1, 0, 1, 20)}
    assert set(pages.values()) == {pages[20]}
    assert spans[0].context is None or f"{spans[0].context.trace_id:032x}" in pages[0]
