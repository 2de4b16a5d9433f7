"""Trees on a page of HTML: the text of a terminal, and the same with colours, in which nothing is markup."""

import time

import pytest

from otelflow import semconv
from otelflow_exporters._tree.html import Trees

BEGIN = 1_700_000_000 * 10**9
MILLI = 10**6


@pytest.fixture
def trees():
    return Trees()


def add(trees, number, parent=0, name="task", times=(0, 100), result="success", entries=(), failure=None):
    begin, end = times
    attributes = {semconv.RUN_RESULT: result} if result else {}
    moments = (BEGIN + begin * MILLI, end and BEGIN + end * MILLI)
    trees.add(("ab" * 16, number, parent, name), moments, attributes, entries, failure=failure)


def test_without_a_run_there_is_nothing_to_show(trees):
    assert trees.mime_bundle() == {}


def test_runs_are_a_tree_with_what_happened_in_them(trees):
    add(trees, 1, 0, "flow nightly", (0, 1000), "failure", failure="bad row")
    said = (semconv.MESSAGE_EVENT, BEGIN + 300 * MILLI, {semconv.MESSAGE_TEXT: "two rows"})
    add(trees, 2, 1, "task load", (250, 500), "success", [said])
    add(trees, 3, 1, "task parse", (500, 1000), "failure", failure="bad row")

    bundle = trees.mime_bundle()

    lines = [line.split("━")[0].rstrip() for line in bundle["text/plain"].splitlines()]
    assert lines[0].endswith("3 spans · 2 failed")
    assert [line.strip() for line in lines[1:]].index("✗ flow nightly") < lines[1:].index("├─ ✓ task load")
    assert "├─ ✗ task parse" in lines  # what the flow itself says follows
    assert any(line.endswith("· two rows") for line in lines)
    assert "bad row" in bundle["text/plain"]
    assert "dropped" not in bundle["text/plain"]
    assert bundle["text/plain"] == bundle["text/plain"].rstrip()
    assert "\x1b" not in bundle["text/plain"]


def test_a_long_line_stays_one_and_each_line_has_its_colours(trees):
    add(trees, 1, 0, "flow nightly", (0, 1000), "failure", failure="y" * 250)

    html = trees.mime_bundle()["text/html"]

    assert html.startswith('<pre style="font-family: monospace')
    assert "y" * 250 in html
    assert '<span style="color: #' in html


def test_what_a_run_is_called_or_says_is_no_markup(trees):
    said = (semconv.MESSAGE_EVENT, BEGIN, {semconv.MESSAGE_TEXT: "<img src=x onerror=y>\x1b[2J"})
    add(trees, 1, 0, "flow <script>x</script>", (0, 1000), "success", [said])

    html = trees.mime_bundle()["text/html"]

    assert "<script" not in html
    assert "<img" not in html
    assert "&lt;script&gt;x&lt;/script&gt;" in html


def test_a_run_that_goes_on_lasts_until_now_and_none_ends_before_it_began(trees, monkeypatch):
    add(trees, 1, 0, "flow open", (0, 0), "")
    add(trees, 2, 0, "flow odd", (2000, 1000))
    spans = trees._spans

    assert spans[0].is_open
    assert spans[0].end > BEGIN
    assert abs(spans[0].end - time.time_ns()) < 60 * 10**9
    assert (spans[1].is_open, spans[1].end) == (False, BEGIN + 2000 * MILLI)
    assert (spans[0].parent_id, spans[0].status_message, spans[0].is_error) == ("", "", False)


def test_both_pages_have_the_same_signs_and_the_same_room(trees):
    add(trees, 1, 0, "flow nightly", (0, 1000))
    said = (semconv.MESSAGE_EVENT, BEGIN, {semconv.MESSAGE_TEXT: "12345 rows of 'a'"})
    add(trees, 2, 1, "task load", (0, 500), "success", [said])

    bundle = trees.mime_bundle()

    assert max(len(line) for line in bundle["text/plain"].splitlines()) == 100
    assert all(sign in page for sign in "✓━└" for page in bundle.values())
    assert "12345 rows of &#x27;a&#x27;" in bundle["text/html"], "a number in a text has no colour of its own"


def test_nothing_is_printed_and_a_run_without_its_parent_says_so(trees, capsys):
    add(trees, 2, 1, "task load")

    assert "task load (its parent is missing)" in trees.mime_bundle()["text/plain"]
    assert capsys.readouterr() == ("", "")
