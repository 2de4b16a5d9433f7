"""What is said below a span, line by line, and what is left out of it."""

import json
from collections import Counter

import pytest

from otelflow import semconv
from otelflow_exporters._otlp.model import Event, Link
from otelflow_exporters._tree.details import Detail, details_of
from otelflow_exporters._tree.forest import SpanNode
from otelflow_exporters._tree.view import USUAL

START, MOMENT, END = 10, 15, 20


@pytest.fixture
def details(make_span):
    """Return the details of a span with these fields."""

    def details(*events, attributes=(), children=(), others=(), **fields):
        span = make_span(1)._replace(start=START, end=END, events=events, attributes=dict(attributes), **fields)
        nodes = {other.span_id: SpanNode(other) for other in others}
        return details_of(SpanNode(span, list(children)), nodes, USUAL, is_cause=False)

    return details


def message(text, severity="INFO"):
    return Event(semconv.MESSAGE_EVENT, MOMENT, {semconv.MESSAGE_TEXT: text, semconv.MESSAGE_SEVERITY: severity})


def result(key, description=""):
    return Event(semconv.RESULT_EVENT, MOMENT, {semconv.RESULT_KEY: key, semconv.RESULT_DESCRIPTION: description})


def artifact(form="", recorded="", key="k", **more):
    values = {semconv.ARTIFACT_KEY: key, semconv.ARTIFACT_TYPE: form, semconv.ARTIFACT_DATA: recorded}
    names = {"reference": semconv.ARTIFACT_REFERENCE, "size": semconv.ARTIFACT_SIZE, "cut": semconv.ARTIFACT_CUT}
    names["description"] = semconv.ARTIFACT_DESCRIPTION
    return Event(semconv.ARTIFACT_EVENT, MOMENT, values | {names[name]: value for name, value in more.items()})


def exception(kind="ValueError", text="bad"):
    values = {semconv.EXCEPTION_TYPE: kind, semconv.EXCEPTION_MESSAGE: text}
    return Event(semconv.EXCEPTION_EVENT, MOMENT, {key: value for key, value in values.items() if value})


def timed(text, style="dim", mark="message"):
    return Detail(text, style, mark=mark, time=MOMENT, is_timed=True)


def error(text):
    return Detail(text, "red", mark="fault", time=END)


@pytest.mark.parametrize(
    ("severity", "text", "style"),
    [
        ("INFO", "said", "dim"),
        ("debug", "said", "dim"),
        ("TRACE", "said", "dim"),
        ("NOTSET", "said", "dim"),
        ("", "said", "dim"),
        ("WARNING", "WARNING said", "yellow"),
        ("error", "ERROR said", "red"),
        ("CRITICAL", "CRITICAL said", "red"),
        ("FATAL", "FATAL said", "red"),
    ],
)
def test_a_message_shows_how_bad_it_is(details, severity, text, style):
    assert details(message("said", severity)) == [timed(text, style)]


def test_of_a_long_message_six_lines_stay(details):
    (detail,) = details(message("\n".join("abcdefgh")))

    assert detail.text == "a\nb\nc\nd\ne\nf\n… 2 more lines"
    assert detail.hidden == Counter(line=2)


@pytest.mark.parametrize("text", ["", " \n ", "\x1b[0m"])
def test_a_message_without_a_word_is_a_line_that_says_so(details, text):
    assert [detail.text for detail in details(message(text), message(text, "ERROR"))] == ["(empty)", "ERROR (empty)"]


@pytest.mark.parametrize(("count", "hidden"), [(12, 0), (13, 0), (14, 2), (100, 88)])
def test_of_many_messages_the_first_eight_and_the_last_four_stay(details, count, hidden):
    texts = [detail.text for detail in details(*(message(str(number)) for number in range(count)))]

    numbers = [str(number) for number in range(count)]
    if hidden:
        numbers[8:-4] = [f"{hidden} more messages"]
    assert texts == numbers


def test_results_artifacts_and_errors_are_left_out_of_no_crowd_of_messages(details):
    crowd = [message(str(number)) for number in range(50)]

    lines = details(*crowd[:20], result("sum", "42"), artifact(), exception(), *crowd[20:], is_error=True)

    assert Detail("result sum: 42", "cyan", mark="result", time=MOMENT) in lines
    assert Detail("artifact k", "magenta", "text", "", mark="artifact", time=MOMENT) in lines
    assert [detail.text for detail in lines].count("ValueError: bad") == 1
    assert Detail("38 more messages", mark="more", time=MOMENT, hidden=Counter(message=38)) in lines


def test_events_of_another_program_that_are_left_out_are_called_so(details):
    lines = details(*(Event(f"chunk {number}", MOMENT, {}) for number in range(20)), message("last"))

    assert Detail("9 more events", mark="more", time=MOMENT, hidden=Counter(event=9)) in lines


def test_a_result_without_words_has_no_colon_and_another_program_s_event_shows_its_attributes(details):
    event = Event("cache miss", MOMENT, {f"key{number}": f"value {number}" for number in range(9)})

    assert details(result("done"), event) == [
        Detail("result done", "cyan", mark="result", time=MOMENT),
        timed("cache miss " + " ".join(f"key{number}=value {number}" for number in range(8)), mark="event")._replace(
            hidden=Counter(line=1)
        ),
    ]
    assert details(Event("bare", MOMENT, {})) == [timed("bare", mark="event")]


def test_twenty_artifacts_are_shown_and_the_others_counted(details):
    for count, more in ((20, []), (21, ["1 more artifact"]), (1_030, ["1,010 more artifacts"])):
        lines = details(*(artifact(key=f"k{number}") for number in range(count)))

        assert [detail.text for detail in lines] == [f"artifact k{number}" for number in range(20)] + more
        assert [detail.hidden["artifact"] for detail in lines[20:]] == [count - 20] * len(more)


def test_of_each_progress_the_last_value_counts_and_of_other_artifacts_each_one(details):
    events = [artifact("progress", str(value), key) for key in ("a", "b") for value in (1, 50)]

    lines = details(events[0], events[2], events[1], events[3], artifact("table", "[1]"), artifact("table", "[2]"))

    assert [(detail.text, detail.form, detail.block) for detail in lines] == [
        ("artifact a (progress)", "progress", "50"),
        ("artifact b (progress)", "progress", "50"),
        ("artifact k (table)", "table", "[1]"),
        ("artifact k (table)", "table", "[2]"),
    ]


@pytest.mark.parametrize(
    ("event", "title", "form", "block"),
    [
        (artifact("markdown", "# x"), "artifact k (markdown)", "markdown", "# x"),
        (artifact("json", '{"a": [1]}'), "artifact k (json)", "text", '{\n  "a": [\n    1\n  ]\n}'),
        (artifact("json", "{cut"), "artifact k (json)", "text", "{cut"),
        (artifact("json", '"é"'), "artifact k (json)", "text", '"é"'),
        (artifact("error", "it broke"), "artifact k (error)", "error", "it broke"),
        (artifact("link", "https://x"), "artifact k (link)", "text", "https://x"),
        (artifact("image", "https://x/y.png"), "artifact k (image)", "text", "https://x/y.png"),
        (artifact("image", "iVBOR", size=2_500), "artifact k (image)", "text", "a picture of 2.5 kB"),
        (artifact("image", "iVBOR"), "artifact k (image)", "text", "a picture"),
        (artifact("", 7), "artifact k", "text", "7"),
        (artifact("text", "x", description="of today"), "artifact k (text): of today", "text", "x"),
        (artifact("text", "x", description="text"), "artifact k (text)", "text", "x"),
        (artifact("x" * 50, "y"), f"artifact k ({'x' * 40}…)", "text", "y"),
        (artifact("", "", key=""), "artifact", "text", ""),
        (artifact("text", "", reference="sha256:ab"), "artifact k (text)  [whole: sha256:ab]", "text", ""),
        (
            artifact("text", "", reference="sha256:ab", size=3_000, cut=True),
            "artifact k (text)  [beginning: 3 kB, sha256:ab]",
            "text",
            "",
        ),
        (artifact("text", "", size=3_000), "artifact k (text)", "text", ""),
    ],
)
def test_an_artifact_shows_what_it_is_and_what_it_holds(details, event, title, form, block):
    assert details(event) == [Detail(title, "magenta", form, block, mark="artifact", time=MOMENT)]


def test_of_a_large_artifact_the_beginning_stays(details):
    text = "\n".join(map(str, range(30)))
    rows, page = json.dumps([["x" * 30_000]]), "word " * 6_000

    (as_text,), (as_table,) = details(artifact("text", text)), details(artifact("table", rows))
    (as_page,) = details(artifact("markdown", page))

    assert as_text.block.splitlines()[19:] == ["19", "… 10 more lines"]
    assert as_page.block == page[:20_000] + "…"
    assert [as_text.hidden, as_page.hidden] == [Counter(line=10), Counter(line=1)]
    assert as_table.block == rows, "half of it could not be read as a table"


def test_errors_come_last_and_the_last_two_exceptions_are_shown(details):
    events = (*(exception(text=f"number {number}") for number in range(3)), message("said"))

    assert details(*events, is_error=True) == [
        timed("said"),
        Detail("1 more exception", mark="more", time=END, hidden=Counter(exception=1)),
        error("ValueError: number 1"),
        error("ValueError: number 2"),
    ]
    assert details(*events) == [timed("said")], "a span that went well has no error"


@pytest.mark.parametrize("ending", ["failure", "timeout", "cancellation", "error", "odd"])
def test_an_exception_is_shown_for_whatever_ending_is_no_success(details, ending):
    assert details(exception(), attributes={semconv.RUN_RESULT: ending}) == [error("ValueError: bad")]


@pytest.mark.parametrize("ending", ["success", "skip"])
def test_an_exception_is_not_shown_for_a_success(details, ending):
    assert details(exception(), attributes={semconv.RUN_RESULT: ending}) == []


def test_an_error_is_shown_with_what_there_is_of_it(details):
    kind = {semconv.ERROR_TYPE: "KeyError"}

    assert details(exception("", "words"), is_error=True) == [error("exception: words")]
    assert details(exception("ValueError", ""), is_error=True) == [error("ValueError")]
    assert details(is_error=True, attributes=kind, status_message="x") == [error("KeyError: x")]
    assert details(is_error=True, attributes=kind) == [error("KeyError")]
    assert details(is_error=True, status_message="x") == [error("x")]
    assert details(is_error=True) == []


def test_an_error_from_below_is_not_told_again(details, make_span):
    def child(**fields):
        return SpanNode(make_span(2)._replace(**fields))

    def told(*children, words="x"):
        kind = {semconv.ERROR_TYPE: "KeyError"}
        return details(is_error=True, status_message=words, attributes=kind, children=children)

    assert told(child(is_error=True, status_message="x")) == []
    assert told(child(is_error=True, status_message="x"), words="in a group: x") == []
    assert told(child(is_error=True, status_message="y")) == [error("KeyError: x")]
    assert told(child(is_error=False, status_message="x")) == [error("KeyError: x")]
    assert told(child(is_error=False), child(is_error=True, status_message="x")) == []
    assert told(child(is_error=True)) == [error("KeyError: x")], "a child that says nothing describes nothing"


def test_what_was_waited_for_a_limit_is_said_unless_it_is_next_to_nothing(details):
    waits = {
        semconv.LIMIT_WAITED.format(name="db"): 1.25,
        semconv.LIMIT_WAITED.format(name="api"): 0.0001,
        semconv.LIMIT_WAITED.format(name="\x1b[31mred\n"): 2.0,
    }

    texts = [detail.text for detail in details(attributes=waits)]
    assert texts[0] == "waited 1.25 s for the limit db"
    assert len(texts) == 2
    assert "\x1b" not in texts[1]
    assert "\n" not in texts[1]


def test_what_was_not_recorded_is_counted(details):
    omitted = {
        semconv.MESSAGES_OMITTED: 1_500,
        semconv.ARTIFACTS_OMITTED: 1,
        semconv.RESULTS_OMITTED: 0,
        semconv.GENERATOR_CLOSED_EARLY: True,
    }

    assert details(attributes=omitted, dropped_events=2_000) == [
        Detail("its consumer closed it before its end", mark="more", time=END),
        Detail("1,500 more messages were not recorded", mark="more", time=END),
        Detail("1 more artifact was not recorded", mark="more", time=END),
        Detail("2,000 events were dropped by the SDK's limit", mark="more", time=END),
    ]
    assert details(attributes={semconv.MESSAGES_OMITTED: "many"}) == []


def test_a_task_that_did_not_run_says_where_its_value_is_from(details):
    assert details(attributes={semconv.CACHE_HIT: True}) == [
        Detail("it did not run: its value was cached", mark="more", time=END)
    ]
    assert details(attributes={semconv.RUN_REPLAYED: True}) == [
        Detail("it did not run: its value is that of an earlier attempt", mark="more", time=END)
    ]
    assert details(attributes={semconv.CACHE_HIT: False}) == []


def test_a_link_is_told_by_the_name_of_its_target_if_that_is_in_the_tree(details, make_span):
    other = make_span(7, name="task other")
    named = make_span(9, name="task read")._replace(attributes={semconv.TASK_RUN_NAME: "a.csv"})
    here, elsewhere = Link("ab" * 16, other.span_id), Link("cd" * 16, other.span_id)
    unknown = Link("ab" * 16, format(8, "016x"))

    links = (here, Link("ab" * 16, named.span_id), elsewhere, unknown)
    assert details(links=links, others=[other, named]) == [
        Detail("linked to task other", mark="link", time=START),
        Detail("linked to task read a.csv", mark="link", time=START),
        Detail(f"linked to trace {'cd' * 16}, span {other.span_id}", mark="link", time=START),
        Detail(f"linked to trace {'ab' * 16}, span {format(8, '016x')}", mark="link", time=START),
    ]


def test_five_links_are_shown_and_the_others_counted(details):
    links = tuple(Link("cd" * 16, format(number, "016x")) for number in range(7))

    assert len(details(links=links[:5])) == 5
    assert [detail.text[-1] for detail in details(links=links)[:5]] == list("01234")
    assert details(links=links)[5:] == [Detail("2 more links", mark="more", time=START, hidden=Counter(link=2))]
