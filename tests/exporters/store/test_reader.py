import errno
import itertools
import os
import subprocess
import sys
import textwrap
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData
from opentelemetry.trace import NonRecordingSpan, SpanContext, Status, StatusCode, TraceFlags, set_span_in_context

from otelflow import semconv
from otelflow._core.process.files import Folder
from otelflow.errors import StoreUnreadable, TraceNotFound
from otelflow_exporters._store import reader
from otelflow_exporters._store.ownership import MARKER, open_store
from otelflow_exporters._store.payloads import Payloads
from otelflow_exporters._store.reader import INCOMPLETE, Forgotten, StoredTraces
from otelflow_exporters._store.records import Segment, framed
from otelflow_exporters.store import StoreSpanExporter

DAY = 86_400 * 10**9  # nanoseconds


def store(directory, *traces):
    """Store each of *traces* and finish the segment."""
    exporter = StoreSpanExporter(directory)
    for spans in traces:
        exporter.export(spans)
    exporter.shutdown()
    return StoredTraces(directory)


def hex_id(spans):
    return format(spans[0].context.trace_id, "032x")


def test_a_summary_says_what_the_trace_was_and_how_it_went(program, tmp_path):
    with program.span("flow nightly", attributes={semconv.RUN_RESULT: semconv.TIMEOUT}):
        with program.span("task bad") as span:
            span.set_status(Status(StatusCode.ERROR, "late"))
        with program.span("task good"):
            pass
    spans = program.done()

    (summary,) = store(tmp_path, spans).summaries()

    assert (summary.trace_id, summary.name, summary.service) == (hex_id(spans), "flow nightly", "demo")
    assert (summary.result, summary.span_count, summary.failed_count) == ("timeout", 3, 2)
    assert summary.started.timestamp() == pytest.approx(spans[-1].start_time / 1e9)
    assert summary.duration == pytest.approx((spans[-1].end_time - spans[-1].start_time) / 1e9)


def test_a_trace_whose_root_never_ended_is_incomplete(program, tmp_path):
    (summary,) = store(tmp_path, program.trace()[:-1]).summaries()

    assert (summary.result, summary.name) == (INCOMPLETE, "task step")


def test_a_root_with_a_parent_in_another_process_is_a_root(program, tmp_path):
    remote = SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(1))
    spans = program.trace("GET /", context=set_span_in_context(NonRecordingSpan(remote)))

    (summary,) = store(tmp_path, spans).summaries()

    assert (summary.name, summary.result) == ("GET /", "success")


def test_the_newest_trace_comes_first_whatever_segment_it_is_in(program, tmp_path):
    traces = [program.trace(f"flow {number}") for number in range(9)]
    for number in (4, 0, 8, 2):
        store(tmp_path, traces[number])

    names = [one.name for one in store(tmp_path, *(traces[number] for number in (1, 3, 5, 6, 7))).summaries()]

    assert names == [f"flow {number}" for number in range(8, -1, -1)]


def test_older_segments_are_not_read_for_the_newest_trace(program, tmp_path, monkeypatch):
    store(tmp_path, program.trace("flow old"))
    for file in tmp_path.iterdir():
        os.utime(file, (time.time() - 1000,) * 2)
    traces = store(tmp_path, program.trace("flow new"))
    read = []
    original = Segment.records
    monkeypatch.setattr(Segment, "records", lambda self, *bounds: read.append(self) or original(self, *bounds))

    (newest,) = itertools.islice(traces.summaries(), 1)

    assert newest.name == "flow new"
    assert len(read) == 1


def test_a_trace_that_several_processes_wrote_is_loaded_whole(program, tmp_path):
    spans = program.trace(children=5)
    store(tmp_path, spans[:2])
    trace = store(tmp_path, spans[2:4], spans[4:]).load(hex_id(spans))

    assert {span.span_id for span in trace.spans} == {format(span.context.span_id, "016x") for span in spans}
    assert len(trace.traces.resource_spans) == 1
    assert len(trace.traces.resource_spans[0].scope_spans) == 1


@pytest.mark.parametrize("digits", [1, 2, 7, 31, 32])
def test_any_unique_beginning_of_an_id_is_enough(program, tmp_path, digits):
    spans = program.trace()
    traces = store(tmp_path, spans)

    assert traces.load(f" {hex_id(spans)[:digits].upper()} ").trace_id == hex_id(spans)


def test_an_ambiguous_beginning_says_so_and_names_the_traces(program, tmp_path):
    spans = [program.trace() for _ in range(17)]
    traces = store(tmp_path, *spans)
    digit = next(digit for digit in "0123456789abcdef" if sum(hex_id(one)[0] == digit for one in spans) > 1)

    with pytest.raises(TraceNotFound, match=r"ambiguous: \d+ stored traces") as caught:
        traces.load(digit)

    assert any(hex_id(one) in str(caught.value) for one in spans)


@pytest.mark.parametrize("unknown", ["f" * 32, "abc", "", "xyz", "0" * 33, "../../etc"])
def test_an_unknown_id_is_not_found_and_the_message_helps(tmp_path, unknown):
    with pytest.raises(TraceNotFound, match=r"hexadecimal|lists what is stored"):
        StoredTraces(tmp_path).load(unknown)


def test_a_missing_directory_is_an_empty_store(tmp_path):
    traces = StoredTraces(tmp_path / "none")

    assert list(traces.summaries()) == []
    assert traces.forget_all() == traces.forget_older_than(timedelta(0)) == Forgotten(0, 0)


def test_a_store_that_is_off_is_empty(monkeypatch):
    monkeypatch.setenv("OTELFLOW_STORE", "off")

    assert list(StoredTraces().summaries()) == []
    assert StoredTraces().forget_all() == Forgotten(0, 0)
    with pytest.raises(TraceNotFound, match="it is off"):
        StoredTraces().load("ab")


def test_a_store_that_is_no_directory_is_unreadable_and_says_what_to_do(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreUnreadable, match="OTELFLOW_STORE"):
        list(StoredTraces(tmp_path / "file").summaries())


def test_damage_is_counted_in_bytes_and_foreign_files_are_left_alone(program, tmp_path):
    traces = store(tmp_path, program.trace())
    (segment,) = tmp_path.glob("*.otlp")
    segment.write_bytes(segment.read_bytes() + b"nonsense")
    (tmp_path / "report.otlp").write_bytes(b"of a Collector")
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "folder.otlp").mkdir()

    assert len(list(traces.summaries())) == 1
    assert traces.unreadable == 8

    traces.forget_all()
    assert {file.name for file in tmp_path.iterdir()} == {MARKER, "report.otlp", "notes.txt", "folder.otlp"}


def test_one_trace_is_forgotten_and_its_words_are_gone_from_the_disk(program, tmp_path):
    kept, secret = program.trace("flow kept"), program.trace("flow secret", attributes={"word": "hunter2"})
    traces = store(tmp_path, kept[:1] + secret[:1], kept[1:] + secret[1:])

    assert traces.forget(hex_id(secret)[:12]) == Forgotten(1, 3)

    assert [(one.name, one.span_count) for one in traces.summaries()] == [("flow kept", 3)]
    assert traces.unreadable == 0
    assert not any(b"hunter2" in file.read_bytes() or b"secret" in file.read_bytes() for file in tmp_path.iterdir())
    with pytest.raises(TraceNotFound):
        traces.forget(hex_id(secret))


def test_a_process_goes_on_writing_into_a_segment_in_which_traces_are_forgotten(program, tmp_path):
    exporter = StoreSpanExporter(tmp_path)
    exporter.export(program.trace("flow before"))
    traces = StoredTraces(tmp_path)

    assert traces.forget_all() == Forgotten(1, 3)
    exporter.export(program.trace("flow after"))

    assert [one.name for one in traces.summaries()] == ["flow after"]
    assert len(list(tmp_path.glob("*.otlp"))) == 1
    assert traces.unreadable == 0


def test_traces_are_forgotten_by_age(program, tmp_path):
    old = program.trace("flow old")
    time.sleep(0.3)
    traces = store(tmp_path, old, program.trace("flow new"))

    assert traces.forget_older_than(timedelta(seconds=0.2)) == Forgotten(1, 3)

    assert [one.name for one in traces.summaries()] == ["flow new"]


def test_a_forgotten_traces_payloads_go_unless_another_trace_refers_to_them(program, tmp_path):
    payloads = Payloads(tmp_path)
    own, shared = payloads.keep(b"own"), payloads.keep(b"shared")

    def trace(*references):
        with program.span() as span:
            for reference in references:
                span.add_event(semconv.ARTIFACT_EVENT, {semconv.ARTIFACT_REFERENCE: reference})
        return program.done()

    first, second = trace(own, shared), trace(shared)
    traces = store(tmp_path, first, second)

    traces.forget(hex_id(first))
    assert (traces.payload(own), traces.payload(shared)) == (None, b"shared")

    traces.forget_all()
    assert traces.payload(shared) is None


def test_a_reference_that_is_a_path_deletes_nothing(program, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    with program.span() as span:
        span.add_event(semconv.ARTIFACT_EVENT, {semconv.ARTIFACT_REFERENCE: "sha256:../../victim"})
    spans = program.done()

    store(tmp_path / "store", spans).forget(hex_id(spans))

    assert victim.exists()


def test_a_trace_that_is_older_than_the_limit_is_not_shown_and_can_be_forgotten(program, tmp_path):
    then = time.time_ns() - 30 * DAY
    span = program.tracer.start_span("flow old", start_time=then)
    span.end(then + 1)
    old = program.done()
    traces = store(tmp_path, old, program.trace("flow new"))

    assert [one.name for one in traces.summaries()] == ["flow new"]
    with pytest.raises(TraceNotFound):
        traces.load(hex_id(old))
    assert [one.name for one in StoredTraces(tmp_path, max_age=timedelta(days=60)).summaries()] == [
        "flow new",
        "flow old",
    ]
    assert traces.forget(hex_id(old)[:12]) == Forgotten(1, 1)


def test_a_segment_that_nothing_was_written_to_for_longer_than_the_limit_is_not_read(program, tmp_path, monkeypatch):
    traces = store(tmp_path, program.trace())
    for file in tmp_path.glob("*.otlp"):
        os.utime(file, (time.time() - 30 * DAY / 1e9,) * 2)

    assert list(traces.summaries()) == []

    monkeypatch.setenv("OTELFLOW_STORE_MAX_AGE_DAYS", "60")
    assert len(list(StoredTraces(tmp_path).summaries())) == 1


def test_payloads_are_forgotten_also_when_no_segment_is_left(tmp_path):
    payloads = Payloads(tmp_path)
    reference = payloads.keep(b"alone")

    StoredTraces(tmp_path).forget_all()

    assert payloads.read(reference) is None


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of memory for a process")
def test_a_sparse_segment_of_gigabytes_is_read_within_bounds_of_memory_and_time(program, tmp_path):
    store(tmp_path, program.trace())
    (segment,) = tmp_path.glob("*.otlp")
    os.truncate(segment, 3 * 2**30)
    source = """
    import resource, sys
    resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
    from otelflow_exporters import StoredTraces
    traces = StoredTraces(sys.argv[1])
    print(len(list(traces.summaries())), traces.unreadable)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(source), tmp_path],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )

    assert done.stderr == ""
    count, unreadable = done.stdout.split()
    assert (count, int(unreadable) > 2.9 * 2**30) == ("1", True)


def test_a_segment_that_cannot_be_read_counts_with_all_its_bytes(program, tmp_path, monkeypatch):
    traces = store(tmp_path, program.trace())
    (segment,) = tmp_path.glob("*.otlp")
    read = Folder.read

    def refuse(folder, name, *limit):
        if name == segment.name:
            raise PermissionError
        return read(folder, name, *limit)

    monkeypatch.setattr(Folder, "read", refuse)

    assert list(traces.summaries()) == []
    assert traces.unreadable == segment.stat().st_size


# Segments that are made by hand


NOW = int(time.time())
SECOND = 10**9


@pytest.fixture
def segment(tmp_path, monkeypatch):
    """Write spans into a segment that was last written so many seconds ago, at a moment that stands still."""
    monkeypatch.setattr(reader, "clock", SimpleNamespace(time=lambda: float(NOW)))
    open_store(tmp_path, is_made=True).close()
    numbers = itertools.count()

    def write(*spans, ago=0, damage=b""):
        traces = TracesData()
        traces.resource_spans.add().scope_spans.add().spans.extend(spans)
        path = tmp_path / f"20270115T080000.{next(numbers):06}Z-4194305-0123abcd.otlp"
        path.write_bytes(framed(traces.SerializeToString()) + damage)
        os.utime(path, ns=(0, (NOW - ago) * SECOND))
        return path

    return write


def span(trace_id, name="flow x", start=-10.0, end=-9.0, parent=b"", remote=False):
    """Return a span that began and ended so many seconds from now; None is one that never ended."""
    return Span(
        trace_id=bytes.fromhex(trace_id.ljust(32, "0")),
        span_id=os.urandom(8),
        parent_span_id=parent,
        flags=0x300 if remote else 0,
        name=name,
        start_time_unix_nano=NOW * SECOND + round(start * SECOND),
        end_time_unix_nano=0 if end is None else NOW * SECOND + round(end * SECOND),
    )


@pytest.mark.parametrize(("skew", "count"), [(-5.0, 2), (1.0, 2), (2.0, 2), (2.001, 1)])
def test_a_trace_that_may_lie_in_an_older_segment_too_is_read_there(segment, tmp_path, skew, count):
    segment(span("aa", "task of another process", start=-101, parent=b"12345678"), ago=100)
    segment(span("aa", start=-100 + skew))

    (summary,) = StoredTraces(tmp_path).summaries()

    assert (summary.name, summary.span_count) == ("flow x", count)


def test_a_trace_that_a_later_process_continued_is_listed_as_what_it_began_as(segment, tmp_path):
    segment(span("aa", "flow nightly", start=-5000, end=-4000), damage=b"12345", ago=4000)
    segment(span("bb", "flow between", start=-2000, end=-1000), ago=1000)
    segment(span("aa", "flow continued", parent=b"12345678", remote=True))
    traces = StoredTraces(tmp_path)

    summaries = [(summary.name, summary.span_count) for summary in traces.summaries()]

    assert summaries == [("flow between", 1), ("flow nightly", 2)]
    assert traces.unreadable == 5


def test_damage_is_counted_anew_at_each_look_over_all_segments(segment, tmp_path):
    segment(span("aa"), damage=b"12345", ago=9)
    segment(span("bb"), damage=b"123")
    traces = StoredTraces(tmp_path)
    assert traces.unreadable == 0

    for _ in range(2):
        assert len(list(traces.summaries())) == 2
        assert traces.unreadable == 8
        assert traces.load("aa").unreadable == 8


def test_a_trace_is_too_old_when_its_last_span_ended_before_the_limit(segment, tmp_path):
    age = timedelta(seconds=100)
    segment(span("aa", start=-200, end=-100), span("bb", start=-200, end=-100.001))
    segment(span("cc", start=-100, end=None), span("dd", start=-100.001, end=None))
    segment(span("ee", start=-300, end=-250), span("ee", start=-300, end=-50))

    traces = StoredTraces(tmp_path, max_age=age)

    assert sorted(summary.trace_id[:2] for summary in traces.summaries()) == ["aa", "cc", "ee"]
    assert [traces.load(digits).trace_id[:2] for digits in ("aa", "cc", "ee")] == ["aa", "cc", "ee"]
    for digits in ("bb", "dd"):
        with pytest.raises(TraceNotFound):
            traces.load(digits)


def test_segments_that_were_last_written_before_the_limit_are_not_read(segment, tmp_path):
    segment(span("aa", end=-1), ago=101)
    segment(span("bb", end=-1), ago=100)

    assert [one.trace_id[:2] for one in StoredTraces(tmp_path, max_age=timedelta(seconds=100)).summaries()] == ["bb"]


def test_a_trace_is_forgotten_when_its_last_span_ended_longer_ago(segment, tmp_path):
    segment(span("aa", end=-100), span("bb", end=-100.001), span("cc", end=-5000))
    traces = StoredTraces(tmp_path, max_age=timedelta(days=1))

    assert traces.forget_older_than(timedelta(seconds=100)) == Forgotten(2, 2)
    assert traces.forget_older_than(timedelta(seconds=100)) == Forgotten(0, 0)
    assert [summary.trace_id[:2] for summary in traces.summaries()] == ["aa"]


@pytest.mark.parametrize("digits", ["a", "ab", "abc", "abcd"])
def test_an_odd_digit_counts_as_the_others_do(segment, tmp_path, digits):
    segment(span("abcd"), span("bbcd"), span("acdd" if len(digits) > 1 else "b"))
    segment(span("abdd" if len(digits) > 2 else "c"), span("abce" if len(digits) > 3 else "d"))

    assert StoredTraces(tmp_path).resolve(digits) == "abcd".ljust(32, "0")


@pytest.mark.parametrize(("count", "end"), [(2, ")"), (5, ")"), (6, ", …)")])
def test_at_most_five_of_those_that_could_be_meant_are_named(segment, tmp_path, count, end):
    ids = [f"a{number}" for number in range(count)]
    segment(*map(span, ids))

    with pytest.raises(TraceNotFound) as error:
        StoredTraces(tmp_path).resolve("a")

    names = ", ".join(trace_id.ljust(32, "0") for trace_id in ids[:5])
    assert str(error.value) == f"'a' is ambiguous: {count} stored traces begin so ({names}{end}"


def test_a_whole_id_is_returned_as_it_is_and_one_digit_more_is_none(segment, tmp_path):
    assert StoredTraces(tmp_path).resolve("F" * 32) == "f" * 32
    with pytest.raises(TraceNotFound, match="is no trace id: give up to 32 hexadecimal digits"):
        StoredTraces(tmp_path).resolve("f" * 33)
    with pytest.raises(TraceNotFound, match=r"No trace in .* begins with 'ff'"):
        StoredTraces(tmp_path).resolve("ff")


def test_a_store_that_cannot_be_changed_says_so_and_one_that_is_not_its_own_keeps_its_words(
    segment, tmp_path, monkeypatch
):
    segment(span("aa"))
    traces = StoredTraces(tmp_path)
    for error, message in ((PermissionError("no"), r"cannot be changed \(no\)"), (StoreUnreadable("words"), "^words$")):

        def refuse(*_, error=error):
            raise error

        monkeypatch.setattr(reader, "forget_everything", refuse)
        with pytest.raises(StoreUnreadable, match=message):
            traces.forget_all()


@pytest.mark.parametrize(
    ("error", "reason", "cure"),
    [
        (PermissionError(13, "Denied"), "Denied", "check its permissions"),
        (OSError("odd"), "odd", "check its permissions"),
        (OSError(errno.EMFILE, "Too many open files"), "Too many open files", "too many files are open: raise"),
    ],
)
def test_a_folder_that_cannot_be_listed_is_unreadable(segment, tmp_path, monkeypatch, error, reason, cure):
    segment(span("aa"))

    def refuse(_):
        raise error

    monkeypatch.setattr(reader, "segment_files", refuse)

    with pytest.raises(StoreUnreadable, match=rf"cannot be read \({reason}\); {cure}"):
        list(StoredTraces(tmp_path).summaries())


def test_a_store_that_is_off_has_no_payload(monkeypatch):
    monkeypatch.setenv("OTELFLOW_STORE", "off")

    assert StoredTraces().payload("sha256:" + "0" * 64) is None


def test_a_segment_that_is_gone_since_it_was_listed_is_no_damage(segment, tmp_path, monkeypatch):
    segment(span("aa"), ago=5)
    gone = segment(span("bb"))
    listed = reader.segment_files

    def list_and_lose(store):
        files = listed(store)
        gone.unlink(missing_ok=True)
        return files

    monkeypatch.setattr(reader, "segment_files", list_and_lose)
    traces = StoredTraces(tmp_path)

    assert [summary.trace_id[:2] for summary in traces.summaries()] == ["aa"]
    assert traces.unreadable == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no folder of open files")
def test_no_file_and_no_folder_stays_open(program, tmp_path):
    traces = store(tmp_path, program.trace())
    reference = Payloads(tmp_path).keep(b"x")
    opened = len(list(Path("/dev/fd").iterdir()))

    (summary,) = traces.summaries()
    traces.load(summary.trace_id)
    traces.resolve(summary.trace_id[:5])
    traces.payload(reference)
    traces.forget(summary.trace_id)
    store(tmp_path, program.trace())
    traces.forget_all()

    assert len(list(Path("/dev/fd").iterdir())) == opened


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other locks")
def test_an_open_span_goes_on_as_long_as_its_process_holds_the_segment(program, tmp_path):
    exporter = StoreSpanExporter(tmp_path)
    with program.span("flow long") as span:
        assert exporter.note_open([span])
        trace_id = format(span.context.trace_id, "032x")
        alive = StoredTraces(tmp_path).load(trace_id)
        (summary_alive,) = StoredTraces(tmp_path).summaries()
        exporter.shutdown()
        gone = StoredTraces(tmp_path).load(trace_id)
        (summary_gone,) = StoredTraces(tmp_path).summaries()

    assert [[span.name for span in spans] for spans in (alive.running, alive.lost)] == [["flow long"], []]
    assert [[span.name for span in spans] for spans in (gone.running, gone.lost)] == [[], ["flow long"]]
    assert [span.name for span in alive.spans] == [span.name for span in gone.spans] == ["flow long"]
    assert [summary_alive.result, summary_gone.result] == [semconv.RUNNING, INCOMPLETE]
