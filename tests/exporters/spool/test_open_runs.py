"""What is open in a spool is told with what is inside it, whatever stands in the files."""

import os

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from otelflow._core.process.files import Folder
from otelflow_exporters._otlp.encoder import encode_span
from otelflow_exporters._spool.batches import CLOSED, start_record
from otelflow_exporters._spool.open_runs import open_runs, spools_in
from otelflow_exporters._store.limits import Limits
from otelflow_exporters._store.records import framed
from otelflow_exporters._store.writer import SegmentWriter

TRACER = TracerProvider(shutdown_on_exit=False).get_tracer("program")


def inside(span, name):
    return TRACER.start_span(name, trace.set_span_in_context(span))


def writer_with(folder, *spans, last_record=b""):
    writer = SegmentWriter(folder, Limits(), last_record=last_record)
    for span in spans:
        writer.append(start_record(encode_span(span)))
    return writer


def test_outermost_runs_are_told_with_the_tasks_that_are_open_in_them(tmp_path):
    folder = tmp_path / "spool"
    flow, other = TRACER.start_span("flow"), TRACER.start_span("other")
    task = inside(flow, "task")
    deep, ended = inside(task, "deep"), inside(task, "ended")
    writer = writer_with(folder, flow, other, task, deep, ended)
    ended.end()
    writer.append(framed(encode_span(ended)), 1)

    runs = open_runs(folder)
    writer.close()
    lost = open_runs(folder)

    assert [(run.span.name, [span.name for span in run.inside]) for run in runs] == [
        ("flow", ["task", "deep"]), ("other", []),
    ]  # fmt: skip
    assert {(run.pid, run.is_alive) for run in runs} == {(os.getpid(), True)}
    assert [run.is_alive for run in lost] == [False, False]


def test_a_process_that_ended_as_it_should_has_nothing_open(tmp_path):
    writer_with(tmp_path / "spool", TRACER.start_span("flow"), last_record=CLOSED).close()

    assert open_runs(tmp_path / "spool") == open_runs(tmp_path / "none") == []


def test_spans_that_claim_to_be_each_others_parents_end_nobodys_search(tmp_path):
    first = TRACER.start_span("first")
    second = inside(first, "second")
    first._parent = second.get_span_context()
    writer_with(tmp_path / "spool", first, second).close()

    assert open_runs(tmp_path / "spool") == []


def test_links_and_files_are_no_spools(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").symlink_to(tmp_path / "a")
    (tmp_path / "c").write_text("")

    assert spools_in(tmp_path) == [tmp_path / "a"]
    assert spools_in(tmp_path / "none") == []


def test_the_oldest_run_is_told_first_and_inside_it_what_began_last_is_told_last(tmp_path):
    folder = tmp_path / "spool"
    young = TRACER.start_span("young", start_time=3_000)
    old = TRACER.start_span("old", start_time=1_000)
    third, second = (
        TRACER.start_span(name, trace.set_span_in_context(old), start_time=start)
        for name, start in (("third", 5_000), ("second", 2_000))
    )
    writer_with(folder, young, third, second, old).close()

    assert [(run.span.name, [span.name for span in run.inside]) for run in open_runs(folder)] == [
        ("old", ["second", "third"]),
        ("young", []),
    ]


def test_the_last_sign_of_a_process_is_the_time_of_its_file(tmp_path):
    folder = tmp_path / "spool"
    writer_with(folder, TRACER.start_span("flow")).close()
    for file in folder.glob("*.otlp"):
        os.utime(file, (5, 5))

    assert [run.last_sign for run in open_runs(folder)] == [5_000_000_000]


def test_a_child_of_another_process_is_an_outermost_run_there(tmp_path):
    folder = tmp_path / "spool"
    child = inside(TRACER.start_span("in another process"), "child")
    writer_with(folder, child, inside(child, "below")).close()

    assert [(run.span.name, [span.name for span in run.inside]) for run in open_runs(folder)] == [("child", ["below"])]


def test_a_segment_that_has_arrived_meanwhile_holds_nothing_and_the_others_are_told(tmp_path, monkeypatch):
    folder = tmp_path / "spool"
    first = writer_with(folder, TRACER.start_span("gone"))
    (gone,) = folder.glob("*.otlp")
    second = writer_with(folder, TRACER.start_span("left"))
    read = Folder.read

    def vanishing(self, name, limit):
        gone.unlink(missing_ok=True)
        return read(self, name, limit)

    monkeypatch.setattr(Folder, "read", vanishing)

    assert [run.span.name for run in open_runs(folder)] == ["left"]
    first.close()
    second.close()


def test_spools_are_told_by_their_names(tmp_path):
    for name in ("b", "c", "a"):
        (tmp_path / name).mkdir()

    assert [path.name for path in spools_in(tmp_path)] == ["a", "b", "c"]
