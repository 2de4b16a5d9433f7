"""Artifacts of every type, results of every value: on the span, for listeners, in the flow, and what is refused."""

import base64
import contextlib
import copy
import datetime as dt
import decimal
import enum
import fractions
import json
import math
import pathlib
import pickle
import re
import time
import uuid
import weakref

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

from otelflow import Flow, flow, task
from otelflow._core.inside import artifacts
from otelflow._core.process import losses, process
from otelflow._core.text import redaction
from otelflow.errors import InvalidArtifact

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


def leave(data, artifact_type=None, key="it", description="what it is"):
    """Run a flow that leaves one artifact."""

    @flow
    def body(this_flow=None):
        return this_flow.add_flow_artifact(description, key, data, artifact_type)

    return body().execute()


def artifact_events(spans, name="flow body"):
    return [event.attributes for event in spans.events(name) if event.name == "otelflow.artifact"]


class Unsized:
    """Has items, and does not tell how many."""

    def __iter__(self):
        return iter("ab")

    def __len__(self):
        raise TypeError("of unsized object")


class Size(enum.Enum):
    """Its class has a length, its members have none."""

    LARGE = 2


@pytest.mark.parametrize(
    ("artifact_type", "data", "text"),
    [
        ("markdown", "# Title\n\n| a |\n|---|\n| 1 |", "# Title\n\n| a |\n|---|\n| 1 |"),
        ("table", [{"a": 1, "b": "x"}, {"a": 2}], '[{"a": 1, "b": "x"}, {"a": 2}]'),
        ("table", [["a", 1], ("b", 2)], '[["a", 1], ["b", 2]]'),
        ("table", {"a": [1, 2], "b": (3, 4)}, '[{"a": 1, "b": 3}, {"a": 2, "b": 4}]'),
        (
            "table",
            {"rows": 10, "kind": Size.LARGE, "day": dt.date(2026, 1, 31)},
            '[{"rows": 10, "kind": 2, "day": "2026-01-31"}]',
        ),
        ("table", {}, "[]"),
        ("table", [], "[]"),
        ("link", "https://example.com/report?day=1", "https://example.com/report?day=1"),
        ("progress", 0, "0"),
        ("progress", 41.5, "41.5"),
        ("progress", 100, "100"),
        ("image", PNG, base64.b64encode(PNG).decode()),
        ("image", bytearray(PNG), base64.b64encode(PNG).decode()),
        ("image", "https://example.com/plot.png", "https://example.com/plot.png"),
        ("json", {"status": "success", "n": [1, None, True]}, '{"status": "success", "n": [1, null, true]}'),
        ("json", "text", "text"),
        ("json", ["über"], '["über"]'),
        ("error", "it broke", "it broke"),
        ("error", ValueError("it broke"), "ValueError: it broke"),
        ("invoice", {1, 2}, "{1, 2}"),
        ("text", None, ""),
        ("text", 0, "0"),
        ("text", False, "false"),
        ("text", "caf\udce9", "caf\\udce9"),
        ("blob", b"\x00\xff", "AP8="),
    ],
)
def test_an_artifact_of_each_type_is_an_event_with_its_data(spans, heard, artifact_type, data, text):
    leave(data, artifact_type)

    (event,) = artifact_events(spans)
    assert event == {
        "otelflow.artifact.key": "it",
        "otelflow.artifact.type": artifact_type,
        "otelflow.artifact.description": "what it is",
        "otelflow.artifact.data": text,
        "otelflow.artifact.size": len(data) if isinstance(data, bytes | bytearray) else len(text.encode()),
    }
    (told,) = [event.event_data.data["artifact_data"] for event in heard if event.event_type == "new_artifact"]
    assert (told["description"], told["key"], told["type"]) == ("what it is", "it", artifact_type)


@pytest.mark.parametrize(
    ("data", "artifact_type"),
    [({"a": 1}, "json"), ([1], "json"), ("x", "text"), (1.5, "text"), (ValueError("x"), "error"), (object, "text")],
)
def test_without_a_type_it_follows_from_the_data(spans, data, artifact_type):
    leave(data)

    assert artifact_events(spans)[0]["otelflow.artifact.type"] == artifact_type


@pytest.mark.parametrize(
    ("artifact_type", "data", "says"),
    [
        ("markdown", 1, "a markdown artifact needs a text, not int"),
        ("table", "a,b", "a table artifact needs a list of rows"),
        ("table", [1, 2], "a table artifact needs a list of rows"),
        ("table", 1, "a table artifact needs a list of rows"),
        ("table", {"a": [1], "b": 2}, "a table artifact needs a list of rows"),
        ("table", {"a": Unsized()}, "a table artifact needs a list of rows"),
        ("table", {"a": (number for number in [1])}, "a table artifact needs a list of rows"),
        ("table", {n: [0] * n for n in range(99)}, re.escape(f"not {str({str(n): n for n in range(99)})[:200]}") + "$"),
        ("table", {"a": [1, 2], "b": [3]}, r"columns must be equally long, not \{'a': 2, 'b': 1\}"),
        ("link", "example.com", "a link artifact needs an http or https address, not 'example.com'"),
        ("link", "javascript:alert(1)", "a link artifact needs an http or https address"),
        ("progress", 101, "a progress artifact needs a number from 0 to 100, not 101"),
        ("progress", -1, "from 0 to 100"),
        ("progress", math.nan, "from 0 to 100"),
        ("progress", True, "from 0 to 100"),
        ("progress", "50", "from 0 to 100, not '50'"),
        ("progress", None, "from 0 to 100, not None"),
        ("image", 1, "an image artifact needs bytes or an http or https address"),
    ],
)
def test_data_that_does_not_fit_its_type_is_one_error_at_the_call_that_names_the_cure(spans, artifact_type, data, says):
    with pytest.raises(InvalidArtifact, match=says) as caught:
        leave(data, artifact_type)

    assert caught.traceback[1].path.name == "test_artifacts.py"
    assert "JSON" not in str(caught.value)
    assert artifact_events(spans) == []


class Address:
    """As a library has it."""

    def __str__(self):
        return "https://example.com/report"


def test_an_address_of_a_library_is_a_link(spans):
    leave(Address(), "link")

    assert artifact_events(spans)[0]["otelflow.artifact.data"] == "https://example.com/report"


@pytest.mark.parametrize(("length", "is_cut"), [(196_608, False), (196_609, True)])
def test_a_text_of_192_kibibytes_is_kept_whole(length, is_cut):
    artifact = leave("x" * length, "markdown").flow_return_value

    assert (artifact.is_cut, len(artifact.data) > 196_608) == (is_cut, is_cut)
    assert artifact.data[:196_608] == "x" * 196_608


def test_data_that_contains_itself_says_so(spans):
    loop = []
    loop.append(loop)

    leave(loop, "json")

    assert artifact_events(spans)[0]["otelflow.artifact.data"] == '["<list that contains itself>"]'


class Frame:
    """A data frame as pandas has it."""

    columns = ("at", "amount")
    index = range(2)
    iloc = None

    def itertuples(self, index, name):
        rows = [(dt.date(2024, 1, 2), decimal.Decimal("1.10")), (None, math.nan)]
        return [("k", *row) for row in rows] if index else rows


def test_a_frame_without_a_type_is_a_table(spans):
    leave(Frame())

    assert artifact_events(spans)[0]["otelflow.artifact.type"] == "table"


@pytest.mark.parametrize(
    ("artifact_type", "data", "text"),
    [
        (
            "table",
            [{"id": uuid.UUID(int=5), "path": pathlib.PurePosixPath("/tmp/x")}],
            '[{"id": "00000000-0000-0000-0000-000000000005", "path": "/tmp/x"}]',
        ),
        (
            None,
            Frame(),
            '[{"index": "k", "at": "2024-01-02", "amount": "1.10"}, {"index": "k", "at": null, "amount": "NaN"}]',
        ),
        ("table", {"a": range(2), "b": {3, 4}}, '[{"a": 0, "b": 3}, {"a": 1, "b": 4}]'),
        ("json", {1, 2}, "[1, 2]"),
        ("json", [math.nan, math.inf, -math.inf], '["NaN", "Infinity", "-Infinity"]'),
        ("json", {"n": 10**5_000}, '{"n": "1' + "0" * 5_000 + '"}'),
        ("progress", decimal.Decimal("41.5"), "41.5"),
        ("progress", fractions.Fraction(1, 2), "0.5"),
        ("text", 10**5_000, "1" + "0" * 5_000),
        ("text", math.nan, "NaN"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_a_program_has_is_data_and_valid_json(spans, artifact_type, data, text):
    leave(data, artifact_type)

    assert artifact_events(spans)[0]["otelflow.artifact.data"] == text


def artifact_events_of_all(spans):
    return [e.attributes for span in spans.spans for e in span.events if e.name == "otelflow.artifact"]


@pytest.mark.parametrize("key", ["two words", "", "-x", "ü", "a/b", "a" * 129, 1, b"key", "a\n"])
def test_a_key_that_no_backend_could_look_up_is_refused(key):
    with pytest.raises(InvalidArtifact, match=r"artifact key .* is not valid: use up to 128 letters"):
        leave("x", key=key)


@pytest.mark.parametrize("key", ["api-response", "error_details", "v1.2", "A", "0", "a" * 128, None])
def test_a_plain_key_or_none_is_taken(spans, key):
    leave("x", key=key)

    assert artifact_events(spans)[0].get("otelflow.artifact.key") == key


def test_a_progress_is_updated_in_place_and_each_update_is_heard(spans, heard):
    @task
    def load(this_task=None):
        progress = this_task.add_task_artifact("loading", "load", 0, "progress")
        for percent in (50, 100):
            progress.update(percent)
        with pytest.raises(InvalidArtifact, match="from 0 to 100"):
            progress.update(101)

    load()

    (event,) = artifact_events(spans, "task load")
    assert event["otelflow.artifact.data"] == "100"
    told = [event.event_data.data["artifact_data"]["data"] for event in heard if event.event_type == "new_artifact"]
    assert told == [0, 50, 100]


def test_an_update_after_the_end_of_the_run_is_counted_as_lost(caplog):
    before = losses.dropped["artifacts", "run_ended"]
    run = leave(1, "progress")

    run.flow_return_value.update(2)

    assert losses.dropped["artifacts", "run_ended"] == before + 1


def test_a_big_payload_is_bounded_in_the_event_and_whole_where_it_is_kept(spans):
    payloads = []
    artifacts.keep_payloads(lambda whole: payloads.append(whole) or f"payload-{len(payloads)}")
    rows = [{"n": n, "text": "ü" * 10} for n in range(1_000)]

    leave(rows, "table")

    (event,) = artifact_events(spans)
    assert len(event["otelflow.artifact.data"]) < 8_300
    assert "… [cut, " in event["otelflow.artifact.data"]
    assert event["otelflow.artifact.reference"] == "payload-1"
    assert event["otelflow.artifact.size"] == len(payloads[0])
    assert json.loads(payloads[0]) == rows


@pytest.mark.parametrize(("length", "is_kept"), [(100, False), (6_144, False), (6_145, True), (100_000, True)])
def test_an_image_is_whole_in_the_event_or_where_it_is_kept(spans, length, is_kept):
    payloads = []
    artifacts.keep_payloads(lambda whole: payloads.append(whole) or "payload")

    leave(b"\x01" * length, "image")

    (event,) = artifact_events(spans)
    assert payloads == ([b"\x01" * length] if is_kept else [])
    assert ("otelflow.artifact.reference" in event) is is_kept


@pytest.mark.parametrize(
    ("keep", "lost"),
    [(None, 0), (lambda whole: None, 1), (lambda whole: 1 / 0, 1)],
    ids=["no store", "a full store", "a broken store"],
)
def test_without_a_place_for_it_a_big_payload_is_bounded_and_its_loss_counted(spans, keep, lost):
    artifacts.keep_payloads(keep)
    before = losses.dropped["artifacts", "store_failed"]

    run = leave("x" * 100_000, "text")

    (event,) = artifact_events(spans)
    assert run.status == "success"
    assert event["otelflow.artifact.size"] == 100_000
    assert event["otelflow.artifact.data"].endswith("… [cut, 100,000 characters]")
    assert "otelflow.artifact.reference" not in event
    assert losses.dropped["artifacts", "store_failed"] == before + lost


def test_who_keeps_payloads_is_forgotten_with_the_process():
    artifacts.keep_payloads(lambda whole: "payload")
    before = leave("x" * 100_000, "text").flow_return_value.reference
    process.reset()

    assert before == "payload"
    assert leave("x" * 100_000, "text").flow_return_value.reference is None


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda artifact: pickle.loads(pickle.dumps(artifact))])
def test_a_copy_of_an_artifact_has_all_but_its_run(copied):
    before = time.time_ns()
    artifact = leave({"a": "ü"}).flow_return_value
    other = copied(artifact)
    other.update([2])

    assert before <= artifact.time_ns <= time.time_ns()
    names = ("key", "type", "description", "size", "reference", "is_cut")
    assert [getattr(artifact, name) for name in names] == ["it", "json", "what it is", 11, None, False]
    assert (artifact.data, other.data, other.type, other.key) == ({"a": "ü"}, [2], "json", "it")
    assert losses.dropped == {("artifacts", "run_ended"): 1}


def test_a_result_is_handed_out_and_does_not_keep_what_it_was_made_of():
    class Value:
        def __str__(self):
            return "a text"

    value = Value()
    reference = weakref.ref(value)
    result = Flow().add_flow_result("rows", value)
    del value

    assert result.as_dict() == {"key": "rows", "description": "a text"}
    assert reference() is None


def test_a_long_type_is_cut_and_says_how_long_it_was(spans):
    leave(1, "t" * 300)

    assert artifact_events(spans)[0]["otelflow.artifact.type"] == "t" * 128 + "… [cut, 300 characters]"


class Unwilling(list):
    """A container with a long story."""

    def __iter__(self):
        raise RuntimeError("y" * 300)


def test_of_why_data_is_no_json_the_beginning_is_told():
    with pytest.raises(InvalidArtifact, match=r"not JSON \(y{200}… \[cut, 300 characters\]\)"):
        leave(Unwilling([1]), "table")


def test_errors_are_the_only_artifacts_that_are_kept_before_others(spans):
    kinds = {}

    @flow
    def body(this_flow=None):
        kinds["error"] = this_flow.add_flow_artifact(key="e", data=ValueError("no"))
        kinds["text"] = this_flow.add_flow_artifact(key="t", data="text")
        kinds["result"] = artifacts.Result("r", 1)

    body().execute()

    assert {kind: entry.is_important for kind, entry in kinds.items()} == {
        "error": True,
        "text": False,
        "result": False,
    }


HALF = "caf\ud83d"


@pytest.mark.parametrize(
    ("artifact_type", "data"),
    [
        ("table", [{"a": HALF}, {HALF: 1}]),
        ("table", {HALF: [HALF]}),
        ("json", {HALF: {"x": [HALF]}}),
        ("json", HALF),
        ("link", f"https://example.com/{HALF}"),
        ("image", f"https://example.com/{HALF}"),
        ("markdown", HALF),
        ("error", ValueError(HALF)),
        ("invoice", {HALF: HALF}),
        ("invoice", {HALF}),
        (HALF, HALF),
        (None, [HALF]),
    ],
)
def test_half_a_character_anywhere_in_an_artifact_breaks_neither_the_flow_nor_what_is_sent(spans, artifact_type, data):
    @flow(capture_parameters=True, capture_return_value=True)
    def body(parameter, this_flow=None):
        this_flow.add_flow_artifact(HALF, "it", data, artifact_type)
        this_flow.add_flow_result("it", data)
        return data

    run = body(data).execute()

    assert run.status == "success"
    assert [event.name for event in spans.events("flow body")] == ["otelflow.artifact", *["otelflow.result"] * 2]
    assert "caf\\ud83d" in artifact_events(spans)[0]["otelflow.artifact.data"].replace("\\\\", "\\")
    assert encode_spans(spans.spans).SerializeToString()


def test_the_name_of_an_exception_with_half_a_character_is_sent(spans):
    kind = type("Odd", (Exception,), {"__module__": HALF})

    @flow
    def body(this_flow=None):
        this_flow.add_flow_artifact(key="it", data=kind("x"))
        raise kind("y")

    with pytest.raises(kind):
        body().execute()

    assert spans.one("flow body").attributes["error.type"] == "caf\\ud83d.Odd"
    assert encode_spans(spans.spans).SerializeToString()


class Stubborn(dict):
    def items(self):
        raise RuntimeError("not now")


@pytest.mark.parametrize("data", [10**5_000, {"n": 10**5_000}, Stubborn(a=1)], ids=type)
def test_a_value_that_cannot_be_read_is_shown_as_text_or_refused_by_the_errors_that_are_documented(spans, data):
    leave(data, "invoice")
    leave(data, "json")
    for artifact_type in ("link", "progress", "image", "markdown"):
        with pytest.raises(InvalidArtifact):
            leave(data, artifact_type)

    assert len(artifact_events_of_all(spans)) == 2


class Panic(BaseException):
    """As a library in another language raises it."""


def _raise(kind):
    def method(*_):
        raise kind

    return method


@pytest.mark.parametrize("kind", [Panic, SystemExit, ZeroDivisionError])
@pytest.mark.parametrize("base", [object, list, dict])
@pytest.mark.parametrize(
    "names",
    [
        ("__getattribute__",),
        ("__class__",),
        ("__iter__", "__len__", "items", "keys"),
        ("itertuples", "columns", "iloc"),
        ("__bool__", "__eq__", "__str__", "__repr__", "__format__"),
    ],
    ids=" ".join,
)
def test_what_raises_when_it_is_looked_at_is_data_all_the_same(spans, names, base, kind):
    attributes = {name: _raise(kind) for name in names}
    attributes |= {name: property(_raise(kind)) for name in ("__class__", "columns") if name in names}
    value = type("Hostile", (base,), attributes)()

    leave(value)
    leave([value], "json")
    leave([{"cell": value}], "table")
    for artifact_type in ("link", "progress", "image", "markdown"):
        with contextlib.suppress(InvalidArtifact):
            leave(value, artifact_type)

    assert len(artifact_events_of_all(spans)) >= 3


ROW = {"name": "apple", "price": 2.25, "password": "hunter2hunter2"}


@pytest.mark.parametrize(
    ("artifact_type", "data"),
    [
        ("table", [ROW] * 100_000),
        ("table", {"name": ["apple"] * 300_000, "price": [2.25] * 300_000}),
        ("json", {"rows": [ROW] * 100_000}),
        ("json", [[[0] * 200] * 200] * 200),
        ("json", {"text": "password=hunter2hunter2 " * 200_000}),
        ("markdown", "password=hunter2hunter2 " * 200_000),
        ("text", "password=hunter2hunter2 " * 200_000),
        ("invoice", [ROW] * 100_000),
    ],
)
def test_of_a_large_artifact_the_beginning_is_read_and_kept_and_it_says_so(
    spans, heard, caplog, monkeypatch, artifact_type, data
):
    payloads, lengths = [], []
    artifacts.keep_payloads(lambda whole: payloads.append(whole) or "payload")
    monkeypatch.setattr(redaction, "_hide_after", counting_lengths(redaction._hide_after, lengths))

    leave(data, artifact_type)

    (event,) = artifact_events(spans)
    (payload,) = payloads
    assert event["otelflow.artifact.cut"] is True
    assert event["otelflow.artifact.reference"] == "payload"
    assert event["otelflow.artifact.size"] == len(payload)
    assert 20_000 < len(payload) < 600_000
    assert sum(lengths) < 1_000_000
    assert b"hunter2" not in payload
    (told,) = [event.event_data.data["artifact_data"] for event in heard if event.event_type == "new_artifact"]
    assert (json.loads(payload) if isinstance(told["data"], list | dict) else payload.decode()) == told["data"]
    assert "Artifact it is too large to be recorded whole" in caplog.text


def counting_lengths(function, lengths):
    def count(pattern, text):
        lengths.append(len(text))
        return function(pattern, text)

    return count


def test_a_picture_is_cut_only_where_it_is_too_large_for_the_store(spans):
    payloads = []
    artifacts.keep_payloads(lambda whole: payloads.append(len(whole)) or "payload")

    leave(b"\x01" * 8 * 1024 * 1024, "image")
    leave(b"\x01" * (8 * 1024 * 1024 + 1), "image")

    whole, cut = artifact_events_of_all(spans)
    assert payloads == [8 * 1024 * 1024]
    assert "otelflow.artifact.cut" not in whole
    assert (cut["otelflow.artifact.cut"], cut["otelflow.artifact.size"]) == (True, 8 * 1024 * 1024 + 1)
    assert cut["otelflow.artifact.data"].endswith("… [cut, 11,184,812 characters]")


def test_a_secret_at_the_end_of_what_is_kept_is_not_cut_in_half(spans):
    payloads = []
    artifacts.keep_payloads(lambda whole: payloads.append(whole) or "payload")
    text = "x" * (192 * 1024 - 8) + " ghp_0123456789abcdef0123456789abcdef and more"

    leave(text, "markdown")
    leave({"text": text}, "json")

    assert [b"ghp_" in payload for payload in payloads] == [False, False]


def test_a_thousand_artifacts_keep_both_ends_and_errors_and_count_the_rest(spans):
    @flow
    def body(this_flow=None):
        for number in range(1_000):
            this_flow.add_flow_artifact(
                key=f"k{number}", data=number, artifact_type="error" if number == 500 else "text"
            )

    run = body().execute()

    keys = [event["otelflow.artifact.key"] for event in artifact_events(spans)]
    assert keys[0] == "k0"
    assert keys[-1] == "k999"
    assert "k500" in keys
    assert spans.one("flow body").attributes["otelflow.artifacts.omitted"] == 1_000 - len(keys)
    assert len(run.artifacts) == 1_000


def test_artifacts_are_on_the_span_of_who_left_them(spans):
    @task
    def work(this_task=None, this_flow=None):
        this_task.add_task_artifact(key="by-task", data=1)
        this_flow.add_flow_artifact(key="by-flow-in-task", data=2)

    @flow
    def body(this_flow=None):
        this_flow.add_flow_artifact(key="by-flow", data=3)
        work()

    run = body().execute()

    assert [e["otelflow.artifact.key"] for e in artifact_events(spans, "task work")] == ["by-task", "by-flow-in-task"]
    assert [e["otelflow.artifact.key"] for e in artifact_events(spans)] == ["by-flow"]
    assert [item["key"] for item in run.json()["flow_data"]["artifacts"]] == ["by-flow", "by-task", "by-flow-in-task"]


def test_the_report_of_an_image_is_plain_data():
    run = leave(PNG, "image")

    (item,) = run.json()["flow_data"]["artifacts"]
    assert base64.b64decode(item["data"]) == PNG


def returning(value):
    @flow
    def body():
        return value

    return body().execute()


def results(spans):
    return [
        (event.attributes["otelflow.result.key"], event.attributes["otelflow.result.description"])
        for event in spans.events("flow body")
        if event.name == "otelflow.result"
    ]


@pytest.mark.parametrize("value", [0, False, [], "", {}, 0.0, "x", b""])
def test_whatever_a_flow_returns_is_a_result(spans, heard, value):
    returning(value)

    text = "" if value == b"" and isinstance(value, bytes) else str(value)
    assert results(spans) == [("flow-return-value", text)]
    told = [event.event_data.data["result_data"] for event in heard if event.event_type == "new_result"]
    assert told == [{"key": "flow-return-value", "description": text}]


def test_a_flow_that_returns_nothing_has_no_result(spans):
    returning(None)

    assert results(spans) == []


def test_the_type_and_the_description_of_an_artifact_are_bounded_and_redacted(spans):
    leave("data", "text password=hunter2", description="password=hunter2 " + "x" * 20_000)

    (attributes,) = artifact_events(spans)
    assert "hunter2" not in str(dict(attributes))
    assert len(attributes["otelflow.artifact.description"]) < 9_000


def test_a_result_is_bounded_and_redacted(spans):
    returning({"password": "hunter2", "rows": list(range(10_000))})

    ((_, text),) = results(spans)
    assert "hunter2" not in text
    assert len(text) < 9_000


def test_a_return_value_whose_str_raises_is_a_result_that_says_so(spans):
    class Shy:
        def __repr__(self):
            raise ValueError("no")

    run = returning(Shy())

    assert isinstance(run.flow_return_value, Shy)
    assert results(spans) == [("flow-return-value", "<Shy: str() raised ValueError>")]


@pytest.mark.parametrize("key", ["two words", "", 1])
def test_a_result_needs_a_plain_key(key):
    @flow
    def body(this_flow=None):
        this_flow.add_flow_result(key, "x")

    with pytest.raises(InvalidArtifact, match=r"result key .* is not valid"):
        body().execute()


@pytest.mark.parametrize("value", [0, False, [], ""])
def test_a_falsy_return_value_is_a_result(value):
    run = flow()(lambda: value)().execute()

    assert [item.as_dict() for item in run.results] == [{"key": "flow-return-value", "description": str(value)}]


def test_a_return_value_is_made_text_only_for_who_reads_it():
    class Query:
        asked = 0

        def __str__(self):
            Query.asked += 1
            return "rows"

    @flow
    def lazy():
        return Query()

    run = lazy().execute()

    assert Query.asked == 0
    assert run.results[0].description == "rows"


@pytest.mark.parametrize("value", [0, False, [], "", 0.0])
def test_a_falsy_return_value_is_a_result_like_any_other(spans, value):
    flow(
        lambda: value,
    )().execute()

    (event,) = spans.events("flow <lambda>")
    assert event.name == "otelflow.result"
    assert dict(event.attributes) == {
        "otelflow.result.key": "flow-return-value",
        "otelflow.result.description": str(value),
    }


def test_a_result_says_what_its_value_was_when_it_was_recorded():
    rows = [1]
    result = Flow().add_flow_result("rows", rows)
    rows.append(2)

    assert result.description == "[1]"
