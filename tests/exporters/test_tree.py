import io
import json
import os
import re
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from otelflow import flow, semconv, task
from otelflow.errors import MissingExtra
from otelflow_exporters._store.reader import StoredTraces
from otelflow_exporters.store import StoreSpanExporter
from otelflow_exporters.tree import TreeSpanExporter, print_trace, render_trace

EVIL = "\x1b[31mred\x1b[0m \x1b]0;title\x07\x08\r\u202e[bold]markup[/bold] :bomb:\U000e0041\u2066"


def artifact(span, form, recorded, key="report", **more):
    values = {semconv.ARTIFACT_KEY: key, semconv.ARTIFACT_TYPE: form, semconv.ARTIFACT_DATA: recorded}
    span.add_event(semconv.ARTIFACT_EVENT, values | more)


def message(span, text, severity="INFO"):
    span.add_event(semconv.MESSAGE_EVENT, {semconv.MESSAGE_TEXT: text, semconv.MESSAGE_SEVERITY: severity})


def fail(span, error):
    span.add_event("exception", {"exception.type": type(error).__name__, "exception.message": str(error)})
    span.set_attribute(semconv.RUN_RESULT, semconv.FAILURE)
    span.set_status(Status(StatusCode.ERROR, str(error)))


def test_a_tree_shows_names_marks_bars_errors_and_messages(program):
    with program.span("flow nightly"):
        with program.span("task good") as span:
            message(span, "all is well")
            message(span, "but not quite", "WARNING")
        with program.span("task bad") as span:
            fail(span, ZeroDivisionError("division by zero"))

    text = render_trace(program.done(), width=80)

    first, more, root, good, *_ = text.splitlines()
    assert re.match(r"trace [0-9a-f]{32} · demo · [-\d]+ [:\d]+ · 3 spans$", first)
    assert more == "1 failed"
    assert re.match(r"✓ flow nightly +━{20} +[\d.]+ (µs|ms)$", root)
    assert re.match(r"├─ ✓ task good +[━╸]+ +[\d.]+ (µs|ms)$", good)
    assert re.search(r"│     [:\d]{8}\.\d{3} · all is well\n", text)
    assert "· WARNING but not quite\n" in text
    assert "└─ ✗ task bad" in text
    assert "      ZeroDivisionError: division by zero\n" in text


def test_an_error_that_came_up_from_below_is_told_once(program):
    with program.span("flow") as flow, program.span("task") as task:
        fail(task, ValueError("the cause"))
        flow.set_status(Status(StatusCode.ERROR, "the cause"))
        flow.set_attribute(semconv.ERROR_TYPE, "ValueError")

    text = render_trace(program.done())

    assert text.count("the cause") == 1
    assert text.count("ValueError") == 2


def test_the_name_of_a_run_stands_after_the_name_of_its_span(program):
    with program.span("task fetch") as span:
        span.set_attribute(semconv.TASK_RUN_NAME, "page 7")

    assert "✓ task fetch page 7 " in render_trace(program.done(), width=80)


def test_bars_share_one_time_line(make_span):
    spans = [make_span(1, length=100), make_span(2, 1, length=49), make_span(51, 1, length=49)]

    bars = [re.search("━+", line) for line in render_trace(spans, width=80).splitlines()[1:]]

    (whole, first, second) = (bar.span() for bar in bars)
    assert first[0] == whole[0]
    assert second[1] in (whole[1], whole[1] - 1)
    assert first[1] <= second[0] + 1


def test_long_runs_of_equal_tasks_are_folded_and_the_failed_ones_stay(program):
    with program.span("flow"):
        for number in range(1_204):
            with program.span("task parse") as span:
                if number % 301 == 0:
                    fail(span, SyntaxError(f"file {number}"))

    text = render_trace(program.done())

    assert "task parse × 1,204" in text  # noqa: RUF001 - the sign itself
    assert "✗ 4" in text
    assert "✓ 1,200" in text
    assert re.search(r"median [\d.]+ µs, slowest ", text)
    assert "SyntaxError: file 903" in text
    assert len(text.splitlines()) < 15


def test_spans_of_any_program_are_shown_with_kinds_events_links_and_status(program):
    elsewhere = Link(SpanContext(5, 6, is_remote=True, trace_flags=TraceFlags(1)))
    with program.span("GET /", kind=SpanKind.SERVER, links=[elsewhere]) as span:
        span.add_event("cache miss", {"key": "user"})
        span.set_status(Status(StatusCode.ERROR, "503"))

    text = render_trace(program.done())

    assert "✗ GET / server" in text
    assert "• cache miss key=user" in text
    assert "503" in text
    assert f"→ linked to trace {5:032x}, span {6:016x}" in text


def test_other_endings_are_named(program):
    for result in (semconv.TIMEOUT, semconv.CANCELLATION, semconv.SKIP, "unheard of"):
        with program.span("task x", attributes={semconv.RUN_RESULT: result}):
            pass

    text = render_trace(program.done())

    for words in ("✗ task x timeout", "⊘ task x cancellation", "\N{EN DASH} task x skip", "? task x unheard of"):
        assert words in text


def test_orphans_and_several_roots_and_nothing_at_all_are_no_trouble(make_span):
    assert "span 2 (its parent is missing)" in render_trace([make_span(1), make_span(2, 99)])
    assert render_trace([]) == ""


def test_markdown_and_tables_are_rendered(program):
    with program.span() as span:
        artifact(span, "markdown", "# Title\n\n* **bold** point\n\n[docs](https://example.org)")
        artifact(span, "table", json.dumps([{"file": "a.py", "lines": 10}, {"file": "b.py", "lines": 7}]))

    text = render_trace(program.done())

    assert "**" not in text
    assert "• bold point" in text
    assert "docs (https://example.org)" in text
    assert re.search(r"file +lines\n.*─+\n.*a\.py +10\n.*b\.py +7\n", text)


@pytest.mark.parametrize("form", ["table", "json", "markdown", "progress", "image", "error", "link", "whatever", ""])
@pytest.mark.parametrize("recorded", ["", "[{cut off", "[1, 2]", "null", "[" * 5_000, "nan", EVIL, "[[1], [2, 3]]"])
def test_an_artifact_that_is_not_what_it_says_is_shown_as_it_is(program, form, recorded):
    with program.span() as span:
        artifact(span, form, recorded)

    text = render_trace(program.done())

    assert "artifact report" in text
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2066\U000e0041]", text)


def test_of_one_progress_only_the_last_value_is_shown(program):
    with program.span() as span:
        for percent in range(0, 101, 5):
            artifact(span, "progress", str(percent))

    text = render_trace(program.done())

    assert text.count("artifact report") == 1
    assert "█" * 20 + " 100 %" in text


def test_a_payload_that_is_whole_elsewhere_says_where(program):
    with program.span() as span:
        more = {semconv.ARTIFACT_REFERENCE: "sha256:abc", semconv.ARTIFACT_SIZE: 5_000_000}
        artifact(span, "image", "", **more)

    assert "[whole: 5 MB, sha256:abc]" in render_trace(program.done())


def test_a_payload_that_was_cut_says_that_only_its_beginning_is_elsewhere(program):
    with program.span() as span:
        more = {semconv.ARTIFACT_REFERENCE: "sha256:abc", semconv.ARTIFACT_SIZE: 5_000_000, semconv.ARTIFACT_CUT: True}
        artifact(span, "table", "[]", **more)

    assert "[beginning: 5 MB, sha256:abc]" in render_trace(program.done())


def test_many_messages_keep_head_and_tail_and_push_out_no_artifact_or_result(program):
    with program.span(attributes={semconv.MESSAGES_OMITTED: 9_900}) as span:
        artifact(span, "", "precious")
        span.add_event(semconv.RESULT_EVENT, {semconv.RESULT_KEY: "sum", semconv.RESULT_DESCRIPTION: "42"})
        for number in range(100):
            message(span, f"line {number}.")

    text = render_trace(program.done())

    for words in (
        "precious",
        "= result sum: 42",
        "line 0.",
        "line 99.",
        "… 88 more messages",
        "… 9,900 more messages were not",
    ):
        assert words in text
    assert "line 50." not in text


def test_no_text_of_a_program_controls_the_terminal(program):
    with program.span(EVIL) as span:
        message(span, EVIL, EVIL)
        artifact(span, EVIL, EVIL, EVIL)
        span.add_event(EVIL, {EVIL: EVIL})
        span.set_status(Status(StatusCode.ERROR, EVIL))

    text = render_trace(program.done())

    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2066\U000e0041]", text)
    assert "[bold]markup[/bold] :bomb:" in text


@pytest.mark.parametrize("width", [1, 20, 33, 56, 80, 200])
def test_no_line_is_wider_than_the_terminal(program, width):
    from rich.cells import cell_len

    with ExitStack() as stack:
        stack.enter_context(program.span("flow 漢字漢字漢字漢字漢字漢字漢字漢字漢字"))
        for depth in range(30):
            message(stack.enter_context(program.span(f"task number {depth} with a long name")), "words " * 40)
    text = render_trace(program.done(), width=width)

    assert max(cell_len(line) for line in text.splitlines()[1:]) <= max(20, width)


def test_an_output_without_unicode_gets_ascii(program):
    with program.span("flow é 漢"), program.span("task"):
        pass
    raw = io.BytesIO()

    file = io.TextIOWrapper(raw, encoding="ascii")
    print_trace(program.done(), file=file)

    text = raw.getvalue().decode("ascii")
    assert "`- + task" in text
    assert r"flow \xe9 \u6f22" in text


def test_piped_output_is_plain_and_a_hundred_wide(program, capsys):
    print_trace(program.trace())

    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert max(len(line) for line in text.splitlines()) == 100


def test_a_stored_trace_looks_exactly_like_the_live_one(program, tmp_path):
    with program.span("flow", kind=SpanKind.CLIENT), program.span("task") as span:
        message(span, "hello")
        artifact(span, "table", '[{"a": 1}]')
        fail(span, ValueError("bad"))
    spans = program.done()
    StoreSpanExporter(tmp_path).export(spans)

    stored = StoredTraces(tmp_path).load(format(spans[0].context.trace_id, "032x"))

    assert render_trace(stored.spans) == render_trace(spans)


@pytest.mark.parametrize("parent", [lambda n: 1, lambda n: n - 1, lambda n: n // 2], ids=["wide", "deep", "bushy"])
def test_fifty_thousand_spans_are_drawn_in_seconds_and_bounded(make_span, parent):
    spans = [make_span(1), *(make_span(n, parent(n), f"span {n}") for n in range(2, 50_001))]

    begun = time.perf_counter()
    text = render_trace(spans)

    assert time.perf_counter() - begun < 10
    assert len(text.splitlines()) <= 2_100


def test_the_exporter_prints_each_trace_once_when_its_root_has_ended(program):
    out = io.StringIO()
    exporter = TreeSpanExporter(out, width=80)
    spans = program.trace("flow one")

    exporter.export(spans[:-1])
    assert out.getvalue() == ""

    exporter.export(spans[-1:])
    exporter.shutdown()
    assert out.getvalue().count("flow one") == 1
    assert out.getvalue().count("task step") == 2


def test_the_exporter_prints_incomplete_traces_at_shutdown_and_says_so(program):
    out = io.StringIO()
    exporter = TreeSpanExporter(out)
    exporter.export(program.trace()[:-1])

    exporter.shutdown()

    assert "incomplete" in out.getvalue().splitlines()[0]
    assert "task step (its parent is missing)" in out.getvalue()


def test_a_program_without_stderr_prints_no_tree_anywhere(program, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    result = TreeSpanExporter().export(program.trace("flow nightly"))
    monkeypatch.undo()

    assert result is SpanExportResult.SUCCESS
    assert capsys.readouterr().out == ""


def test_the_exporter_writes_to_stderr_because_stdout_belongs_to_the_program(program, capsys):
    TreeSpanExporter().export(program.trace())

    output, errors = capsys.readouterr()
    assert output == ""
    assert "flow demo" in errors


def test_a_closed_output_fails_and_does_not_raise(program, caplog):
    out = io.StringIO()
    out.close()

    assert TreeSpanExporter(out).export(program.trace()) is SpanExportResult.FAILURE
    assert "could not be printed" in caplog.text


def test_without_rich_the_message_names_the_cure(monkeypatch, program):
    monkeypatch.setitem(sys.modules, "rich", None)

    with pytest.raises(MissingExtra, match=re.escape("pip install 'otelflow[cli]'")):
        TreeSpanExporter()
    with pytest.raises(MissingExtra):
        render_trace(program.trace())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
def test_a_forked_child_does_not_print_what_its_parent_has_buffered():
    # In a process of its own, because Python warns of forks in programs with threads, such as pytest's workers.
    program = """
import os, sys
from conftest import Program
from otelflow_exporters.tree import TreeSpanExporter
exporter = TreeSpanExporter(sys.stdout)
exporter.export(Program().trace()[:-1])
if os.fork() == 0:
    exporter.shutdown()
    os._exit(0)
os.wait()
"""
    here = Path(__file__).parent
    path = os.pathsep.join(map(str, (here, here.parents[1], here.parents[1] / "exporters")))
    environment = {**os.environ, "PYTHONPATH": path}

    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60, check=False
    )

    assert (result.stdout, result.stderr, result.returncode) == ("", "", 0)


def test_any_opentelemetry_program_can_use_it_by_name(tmp_path):
    app = tmp_path / "app.py"
    app.write_text(
        "from opentelemetry import trace\n"
        "with trace.get_tracer('app').start_as_current_span('GET /', kind=trace.SpanKind.SERVER):\n"
        "    print('the answer')\n"
    )
    result = subprocess.run(
        [Path(sys.executable).with_name("opentelemetry-instrument"), sys.executable, app],
        env={
            **os.environ,
            "OTEL_TRACES_EXPORTER": "otelflow_tree",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
            "PYTHONIOENCODING": "utf-8",
        },
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=True,
    )

    assert result.stdout == "the answer\n"
    assert re.search(r"✓ GET / server +━+ ", result.stderr)


def test_a_generator_that_was_closed_early_is_shown_as_such(spans):
    @flow
    def steps():
        yield from range(3)

    numbers = steps().execute().flow_return_value
    next(numbers)
    numbers.close()

    assert "its consumer closed it before its end" in render_trace(spans.spans)


@pytest.mark.parametrize("retries", [0, 2])
def test_what_was_allowed_to_fail_tells_its_error_once_where_it_was_raised(spans, retries):
    @task
    def inner():
        raise ValueError("no")

    @task(raise_on_error=False, retries=retries)
    def outer():
        if retries:
            raise ValueError("no")
        inner()

    @flow
    def whole():
        outer()

    whole().execute()

    text = render_trace(spans.spans, width=100)
    assert text.count("ValueError: no") == max(1, retries + 1)
    assert re.search(r"✗ task outer( 3 attempts)? ValueError +[━╸]", text)
    assert not re.search(r"╴ ValueError|^[│ ]+ValueError$", text, re.MULTILINE)
