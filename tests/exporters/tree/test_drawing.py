"""Whole drawings, as they stand in a terminal: columns, bars, guides, colours, and what is left out."""
# ruff: noqa: RUF001 the signs of a tree resemble letters

import io
import time

import pytest

from otelflow import semconv
from otelflow_exporters._otlp.model import Event, Span
from otelflow_exporters._tree import drawing
from otelflow_exporters._tree.drawing import Page, draw, page_of
from otelflow_exporters._tree.forest import grow
from otelflow_exporters._tree.view import USUAL

BEGIN = 1_700_000_000 * 10**9
MILLI = 10**6


@pytest.fixture(autouse=True)
def _in_utc(monkeypatch):
    set_zone = getattr(time, "tzset", lambda: None)
    monkeypatch.setenv("TZ", "UTC")
    set_zone()
    yield
    monkeypatch.undo()
    set_zone()


def span(number, parent=0, name="task", start=0, end=100, result="success", attributes=(), **more):
    """Return a span that began and ended so many milliseconds after the trace."""
    attributes_of_run = {semconv.RUN_RESULT: result, **dict(attributes)}
    parent_id = format(parent, "016x") if parent else ""
    plain = Span(
        "ab" * 16, format(number, "016x"), parent_id, False, name, "internal", BEGIN + start * MILLI,
        BEGIN + end * MILLI, attributes_of_run, (), (), False, "", 0, "shop",
    )  # fmt: skip
    return plain._replace(**more)


EVERY_RESULT = [
    span(1, 0, "flow nightly", 0, 1000),
    span(2, 1, "task load", 0, 250),
    span(3, 1, "task parse", 250, 750, "failure", is_error=True, status_message="bad row"),
    span(4, 3, "task row", 260, 300, "timeout"),
    span(5, 1, "GET /", 750, 751, kind="client"),
    span(6, 99, "task lost", 900, 1000, "skip"),
    span(7, 1, "", 990, 1000, "odd"),
    span(8, 1, "x" * 90, 995, 1000, "cancellation", {semconv.TASK_RUN_NAME: "run 7"}),
    span(9, 1, "flow inner", 996, 1000, "error", {semconv.FLOW_RUN_NAME: "of today"}, kind="unspecified"),
]
HEAD = "trace abababababababababababababababab · shop · 2023-11-14 22:13:20"


def drawn(spans, width=80, note="", *, colors=None, is_unicode=True):
    return draw(grow(spans), Page(width, colors, is_unicode), USUAL, note)


def test_every_result_has_its_mark_and_all_bars_share_one_time_line():
    assert drawn(EVERY_RESULT, note="a note") == (
        HEAD + " · 9 spans\n"
        "3 failed · a note\n"
        "✓ flow nightly                                    ━━━━━━━━━━━━━━━━━━━━       1 s\n"
        "├─ ✓ task load                                    ━━━━━                   250 ms\n"
        "├─ ✗ task parse                                        ━━━━━━━━━━         500 ms\n"
        "│  ├─ ✗ task row timeout                               ━                   40 ms\n"
        "│  └╴ bad row\n"
        "├─ ✓ GET / client                                                ╸          1 ms\n"
        "├─ ? (no name) odd                                                   ╸     10 ms\n"
        "├─ ⊘ xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…                    ╸      5 ms\n"
        "└─ ✗ flow inner of today error                                       ╸      4 ms\n"
        "– task lost skip (its parent is missing)                            ━━    100 ms\n"
    )


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (30, "✓ flow nightly             1 s"),
        (55, "✓ flow nightly                                      1 s"),
        (56, "✓ flow nightly                  ━━━━━━━━━━━━━━       1 s"),
        (159, "✓ flow nightly" + " " * 96 + "━" * 39 + "       1 s"),
        (164, "✓ flow nightly" + " " * 100 + "━" * 40 + "       1 s"),
        (200, "✓ flow nightly" + " " * 136 + "━" * 40 + "       1 s"),
    ],
)
def test_a_bar_takes_a_quarter_of_the_width_up_to_forty_and_none_where_it_is_narrow(width, line):
    assert line in drawn(EVERY_RESULT, width).splitlines()


def test_without_unicode_every_sign_has_its_stand_in():
    assert drawn(EVERY_RESULT[:6], 60, is_unicode=False) == (
        "trace abababababababababababababababab - shop\n"
        "2023-11-14 22:13:20 - 6 spans - 2 failed\n"
        "+ flow nightly                     ===============       1 s\n"
        "|- + task load                     ====               250 ms\n"
        "|- X task parse                       =========       500 ms\n"
        "|  |- X task row timeout              ==               40 ms\n"
        "|  `  bad row\n"
        "`- + GET / client                             -         1 ms\n"
        "- task lost skip (its parent is m…              ==    100 ms\n"
    )


@pytest.mark.parametrize(
    ("result", "style", "name"),
    [
        ("success", "32", "1;32"),
        ("failure", "31", "1;31"),
        ("timeout", "31", "1;31"),
        ("error", "31", "1;31"),
        ("cancellation", "33", "1;33"),
        ("skip", "2", "1;2"),
        ("odd", "33", "1;33"),
    ],
)
def test_each_result_has_its_colour(result, style, name):
    text = drawn([span(1, 0, "flow", result=result)], 60, colors="standard")

    assert f"\x1b[{style}m{drawing.glyphs.UNICODE.get(result, '?')} \x1b[0m" in text
    assert f"\x1b[{name}mflow\x1b[0m" in text
    bar = "34" if result == "odd" else style
    assert f"\x1b[{bar}m━━━━━━━━━━━━━━━\x1b[0m" in text


def test_one_span_is_one_and_a_thousand_have_a_comma():
    assert drawn([span(1)], 100).splitlines()[0] == HEAD + " · 1 span"
    assert drawn([span(number) for number in range(1, 1_002)], 100).splitlines()[0] == HEAD + " · 1,001 spans"


def test_siblings_of_one_name_are_one_line_with_their_times_and_the_first_failures():
    failed = {10, 20, 30, 40, 50, 60, 70}
    steps = [span(n, 1, "task step", n, n + n % 7, "failure" if n in failed else "success") for n in range(2, 80)]

    assert drawn([span(1, 0, "flow"), *steps], 70) == (
        HEAD + "\n"
        "79 spans · 7 failed\n"
        "✓ flow                                     ━━━━━━━━━━━━━━━━━    100 ms\n"
        "└─ task step × 78  ✓ 71  ✗ 7               ━━━━━━━━━━━━━━        80 ms\n"
        "   │  median 3 ms, slowest 6 ms\n"
        "   ├─ ✗ task step                           ━━                    3 ms\n"
        "   ├─ ✗ task step                             ━━                  6 ms\n"
        "   ├─ ✗ task step                               ╸                 2 ms\n"
        "   ├─ ✗ task step                                ━━               5 ms\n"
        "   ├─ ✗ task step                                  ╸              1 ms\n"
        "   └─ … 2 more spans, 2 of them failed\n"
    )


def test_a_fold_without_a_failure_has_nothing_below_it():
    steps = [span(n, 1, "task step", 0, 7, "odd" if n == 3 else "success") for n in range(2, 9)]

    assert drawn([span(1, 0, "flow", 0, 7), *steps], 50).splitlines()[3:] == [
        "└─ task step × 7  ✓ 6  ? 1                    7 ms",
        "      median 7 ms, slowest 7 ms",
    ]


def test_details_stand_below_their_span_and_are_wrapped_with_their_mark():
    message = Event(semconv.MESSAGE_EVENT, BEGIN + MILLI, {semconv.MESSAGE_TEXT: "words " * 9 + "\nnext"})
    artifact = Event(
        semconv.ARTIFACT_EVENT,
        BEGIN + 2 * MILLI,
        {semconv.ARTIFACT_KEY: "k", semconv.ARTIFACT_TYPE: "progress", semconv.ARTIFACT_DATA: "40"},
    )
    spans = [span(1, 0, "flow"), span(2, 1, "task", events=(message, artifact)), span(3, 2, "task inner", 3)]

    assert drawn(spans, 40).splitlines()[3:] == [
        "└─ ✓ task                         100 ms",
        "   ├╴ 22:13:20 · words words words words",
        "   │             words words words words",
        "   │             words",
        "   │             next",
        "   ├╴ ◆ artifact k (progress)",
        "   │    ████████░░░░░░░░░░░░ 40 %",
        "   └─ ✓ task inner                 97 ms",
    ]


@pytest.mark.parametrize(("width", "clock"), [(35, ""), (36, "22:13:20 "), (55, "22:13:20 "), (56, "22:13:20.001 ")])
def test_the_time_of_a_message_is_as_exact_as_there_is_room_for_it(width, clock):
    message = Event(semconv.MESSAGE_EVENT, BEGIN + MILLI, {semconv.MESSAGE_TEXT: "said"})

    assert drawn([span(1, events=(message,))], width).splitlines()[-1] == f"   {clock}· said"


def test_an_error_from_below_is_told_by_its_type_alone_where_the_line_has_room_for_it():
    failed = {"result": "failure", "is_error": True, "status_message": "bad row"}
    flow = span(1, 0, "flow", attributes={semconv.ERROR_TYPE: "ValueError"}, **failed)
    spans = [flow, span(2, 1, "task", attributes={semconv.ERROR_TYPE: "ValueError"}, **failed)]

    for width, label in ((27, "✗ flow ValueError"), (26, "✗ flow          ")):
        assert drawn(spans, width).splitlines()[-3:] == [
            f"{label}    100 ms",
            f"└─ ✗ task{' ' * (width - 18)}   100 ms",
            "      ValueError: bad row",
        ]


def test_a_trace_that_is_deeper_than_sixty_ends_with_a_word(monkeypatch):
    spans = [span(n, n - 1, f"task {n}") for n in range(1, 64)]
    lines = drawn(spans, 60).splitlines()
    assert len(lines) == 2 + 61 + 1
    assert lines[-2].lstrip(" .└─").startswith("✓ task 61 ")
    assert lines[-1] == "..               … deeper spans are not shown"

    monkeypatch.setattr(drawing, "DEEPEST", 1)
    assert drawn(spans[:3], 60).splitlines()[2:] == [
        "✓ task 1                           ━━━━━━━━━━━━━━━    100 ms",
        "└─ ✓ task 2                        ━━━━━━━━━━━━━━━    100 ms",
        "      … deeper spans are not shown",
    ]
    assert "deeper" not in drawn(spans[:2], 60)


def test_the_guides_of_a_deep_row_are_cut_from_the_left():
    line = drawn([span(n, n - 1, "task") for n in range(1, 13)], 40).splitlines()[-1]

    assert line == "..          └─ ✓ task             100 ms"


def test_what_is_said_of_many_siblings_is_seen_however_deep_they_are():
    deep = [span(n, n - 1) for n in range(1, 40)]
    steps = [span(n, 39, "task step", result="failure") for n in range(40, 47)]

    lines = drawn([*deep, *steps], 60).splitlines()

    assert lines[41:] == [
        "..            └─ task step         ━━━━━━━━━━━━━━━    100 ms",
        "..            │  × 7  ✗ 7; median 100 ms, slowest 100 ms",
        *["..            ├─ ✗ task step       ━━━━━━━━━━━━━━━    100 ms"] * 5,
        "..            └─ … 2 more spans, 2 of them failed",
    ]


def test_lines_are_enough_at_some_point(monkeypatch):
    monkeypatch.setattr(drawing, "MOST_LINES", 5)
    message = Event(semconv.MESSAGE_EVENT, 0, {semconv.MESSAGE_TEXT: "said"})

    lines = drawn([span(1, 0, "flow"), *(span(n, 1, f"task {n}", events=(message,) * 2) for n in range(2, 5))], 60)

    assert lines.splitlines()[3:] == [
        "├─ ✓ task 2                        ━━━━━━━━━━━━━━━    100 ms",
        "│     · said",
        "… and more: 5 lines are enough",
    ]


def test_bars_of_moments_before_and_after_one_another_are_never_empty():
    spans = [
        span(1, 0, "flow", 0, 1000),
        span(2, 1, "first", 0, 0),
        span(3, 1, "last", 1000, 1000),
        span(4, 1, "half", 0, 500),
    ]

    lines = drawn(spans, 60).splitlines()[3:]

    assert [line[35:50] for line in lines] == ["╸              ", "━━━━━━━━       ", "              ╸"]


def test_two_dots_of_a_fold_in_one_place_are_a_line():
    steps = [span(n, 1, "task step", 0 if n < 4 else 500, 1 if n < 4 else 501) for n in range(2, 5)]
    steps += [span(n, 1, "task step", n * 100, n * 100 + 1) for n in (6, 7, 8)]

    line = drawn([span(1, 0, "flow", 0, 1000), *steps], 80).splitlines()[2]

    assert line[50:70] == "━         ╸ ╸ ╸ ╸   "


@pytest.mark.parametrize(
    ("width", "columns", "expected", "is_wrapped"),
    [(None, None, 100, False), (None, "72", 72, True), (90, None, 90, True), (5, None, 20, True)],
)
def test_an_output_that_is_no_terminal_is_a_hundred_wide_and_not_wrapped_unless_it_is_told(
    monkeypatch, width, columns, expected, is_wrapped
):
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)

    page = page_of(io.StringIO(), width)

    assert page == Page(expected, None, is_unicode=True, is_wrapped=is_wrapped)


def test_colours_and_signs_are_those_of_the_output(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert page_of(io.TextIOWrapper(io.BytesIO(), encoding="ascii"), 80) == Page(80, "256", is_unicode=False)

    monkeypatch.setenv("NO_COLOR", "1")
    assert page_of(io.StringIO(), 80).colors is None


def folded(spans, width=80, cure="use --full", *, is_wrapped=True):
    """Return the last lines of a drawing whose view knows how to see what is folded."""
    return draw(grow(spans), Page(width, None, True, is_wrapped), USUAL._replace(cure=cure)).splitlines()


ROOT = span(1, 0, "flow nightly", 0, 1000)
ALIKE = [ROOT, *(span(number, 1, "task same", number, number + 1) for number in range(2, 60))]
BELOW = [span(100 + number, number, "task below", number, number + 1) for number in range(2, 60)]
DIFFERENT = [
    ROOT,
    *(span(number, 1, f"task {number:x}" + "x" * number, number, number + 1) for number in range(2, 300)),
]
DEEP = [span(number, number - 1, "task deep", number, 999) for number in range(1, 80)]


@pytest.mark.parametrize(
    ("spans", "is_said"),
    [([ROOT, span(2, 1)], False), (ALIKE + BELOW, True), (DIFFERENT, True), (DEEP, True)],
    ids=["nothing", "below", "siblings", "deep"],
)
def test_whatever_is_left_out_is_said_to_be_seen_in_another_way(spans, is_said):
    last = folded(spans)[-1]

    assert ("what is folded: use --full" in last) is is_said


def test_the_way_to_see_more_stands_on_a_line_of_its_own_only_if_it_must():
    words = "… what is folded:"
    (line,) = (line for line in folded(DIFFERENT, cure="u" * 20) if "folded" in line)
    start = line.partition(" u")[0]
    cure = "u" * (80 - len(start) - 1)

    assert folded(DIFFERENT, cure=cure)[-1] == f"{start} {cure}"
    assert folded(DIFFERENT, cure=cure + "u")[-2:] == [start, cure + "u"]
    assert folded(DIFFERENT, cure=cure + "u", is_wrapped=False)[-1] == f"{start} {cure}u"
    assert start.endswith(words[2:])


def test_a_traceback_stands_behind_the_guides_of_its_span():
    trace = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    x\nValueError: y'
    event = Event(semconv.EXCEPTION_EVENT, BEGIN, {"exception.stacktrace": trace, "exception.type": "ValueError"})
    spans = [
        span(1, 0, "flow nightly", 0, 1000, "failure", is_error=True),
        span(2, 1, "task bad", 0, 100, "failure", is_error=True, status_message="y", events=(event,)),
        span(3, 1, "task good", 100, 200),
    ]

    text = draw(grow(spans), Page(80, None, True), USUAL._replace(tracebacks="all"))

    lines = [line for line in text.splitlines() if "a.py" in line and "File" in line]
    assert lines
    assert all(line.startswith("│") for line in lines)


@pytest.mark.parametrize("width", [24, 40, 50])
def test_however_narrow_a_page_is_a_fold_says_how_many_failed(width):
    name = "task read one customer's invoice"
    steps = [span(n, 1, name, 0, 7, "failure" if n == 3 else "success") for n in range(2, 40)]

    text = " ".join(drawn([span(1, 0, "flow", 0, 7), *steps], width).split())

    assert "× 38 ✓ 37 ✗ 1; median" in text.replace("│ ", "")
