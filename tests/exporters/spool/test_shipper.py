"""What waits in a spool is sent in order, once, and what cannot be sent is counted."""

import contextlib
import errno
import itertools
import os
import time
from collections import Counter
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otelflow._core.process import clock, forks
from otelflow._core.process.files import Folder, hold
from otelflow.errors import StoreUnreadable
from otelflow_exporters._otlp.encoder import encode_span
from otelflow_exporters._otlp.varints import varint
from otelflow_exporters._spool import shipper as shipper_module
from otelflow_exporters._spool.batches import CLOSED, item_of, start_record
from otelflow_exporters._spool.compacting import Compactor
from otelflow_exporters._spool.shipper import Outcome, Shipper
from otelflow_exporters._spool.signals import SPANS
from otelflow_exporters._store.limits import Limits
from otelflow_exporters._store.ownership import PROGRESS, segment_files
from otelflow_exporters._store.records import LARGEST_SEGMENT, framed, note
from otelflow_exporters._store.writer import SegmentWriter
from support.receivers import OtlpReceiver, spans_of
from support.spools import TRACER, Endpoint, ended, record_of, refusing, started


@pytest.fixture
def endpoint():
    return Endpoint()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "spool"


def write(folder, *names, is_closed=True, open_names=()):
    """Write one segment with these spans, as a process that is gone has left it; return the path."""
    writer = SegmentWriter(folder, Limits(), last_record=CLOSED if is_closed else b"")
    for name in open_names:
        writer.append(record_of(started(name)))
    for name in names:
        span = started(name)
        writer.append(record_of(span))
        span.end()
        writer.append(record_of(span), 1)
    writer.close()
    (name,) = writer.segments
    return folder / name


def shipper_of(folder, endpoint, losses=None, **options):
    losses = Counter() if losses is None else losses
    return Shipper(
        folder,
        endpoint,
        on_loss=lambda reason, count: losses.update({reason: count}),
        **{"batch_size": 10, **options},
    )


def ship_all(shipper):
    total = Outcome()
    for _ in range(1_000):
        outcome = shipper.ship()
        total = Outcome(*(a + b for a, b in zip(total[:3], outcome[:3], strict=True)), outcome.is_more)
        if not outcome.is_more:
            return total
    raise AssertionError("it never ends")


def files_in(folder):
    return sorted(file.name for file in folder.iterdir())


def test_what_a_process_has_left_is_sent_in_order_in_batches_and_removed(folder, endpoint):
    write(folder, *(f"a{n}" for n in range(25)))
    time.sleep(0.001)
    write(folder, "b0", "b1")

    total = ship_all(shipper_of(folder, endpoint))

    assert endpoint.names == [f"a{n}" for n in range(25)] + ["b0", "b1"]
    assert [len(spans_of([request])) for request in endpoint.requests] == [10, 10, 5, 2]
    assert total == Outcome(others=27)
    assert files_in(folder) == ["OTELFLOW_STORE"]


def test_in_a_request_each_resource_and_scope_stands_once(folder, endpoint):
    write(folder, "a", "b")

    ship_all(shipper_of(folder, endpoint))

    ((resource_spans,),) = [request.resource_spans for request in endpoint.requests]
    (scope_spans,) = resource_spans.scope_spans
    assert (scope_spans.scope.name, len(scope_spans.spans)) == ("program", 2)


def test_a_folder_that_is_not_there_holds_nothing(folder, endpoint):
    assert shipper_of(folder, endpoint).ship() == Outcome()


def test_while_the_endpoint_takes_nothing_it_is_left_alone_longer_and_longer(folder, endpoint, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    write(folder, "a")
    tries = []
    endpoint.refuses = lambda names: tries.append(now[0]) or "HTTP 503"
    shipper = shipper_of(folder, endpoint)

    for _ in range(4_000):
        assert shipper.ship() == Outcome()
        now[0] += 0.1

    waits = [round(later - earlier) for earlier, later in itertools.pairwise(tries)]
    assert [min(waits[0], 1), waits[1] in (2, 3), 3 <= waits[2] <= 5, 6 <= waits[3] <= 10] == [1, True, True, True]
    assert all(47 <= wait <= 73 for wait in waits[6:])
    assert "HTTP 503" in shipper.failure

    endpoint.refuses = lambda names: None
    now[0] += 100
    ship_all(shipper)

    assert (endpoint.names, shipper.failure) == (["a"], "")


def test_a_span_that_is_never_taken_costs_itself_only(folder, endpoint):
    losses = Counter()
    names = [f"a{n}" for n in range(37)]
    write(folder, *names)
    endpoint.refuses = lambda batch: "bad" if {"a3", "a20"} & set(batch) else None

    total = ship_all(shipper_of(folder, endpoint, losses, batch_size=16))

    assert endpoint.names == [name for name in names if name not in ("a3", "a20")]
    assert losses == {"rejected": 2}
    assert total.others == 37
    assert max(len(spans_of([request])) for request in endpoint.requests[-3:]) > 1  # they have grown again


def test_what_was_sent_is_not_sent_again_by_the_next(folder, endpoint):
    write(folder, *(f"a{n}" for n in range(25)))
    first = shipper_of(folder, endpoint)
    first.ship()
    first.close()

    ship_all(shipper_of(folder, endpoint))

    assert endpoint.names == [f"a{n}" for n in range(25)]


def test_who_has_let_go_of_a_segment_remembers_nothing_of_it_that_another_has_sent_meanwhile(folder, endpoint):
    write(folder, *(f"a{n}" for n in range(25)))
    first, second = shipper_of(folder, endpoint), shipper_of(folder, endpoint)

    first.ship()
    first.close()
    second.ship()
    second.close()
    ship_all(first)

    assert endpoint.names == [f"a{n}" for n in range(25)]


def test_two_never_send_the_same(folder, endpoint):
    write(folder, *(f"a{n}" for n in range(25)))
    first, second = shipper_of(folder, endpoint), shipper_of(folder, endpoint)

    first.ship()

    assert second.ship() == Outcome()
    ship_all(first)
    assert len(endpoint.names) == 25


def test_a_segment_that_a_living_process_writes_is_its_own_unless_all_are_asked_for(folder, endpoint):
    writer = SegmentWriter(folder, Limits())
    span = started("alive")
    span.end()
    writer.append(record_of(span), 1)

    assert shipper_of(folder, endpoint).ship() == Outcome()
    sidecar = shipper_of(folder, endpoint, is_for_all=True)
    ship_all(sidecar)
    sidecar.close()
    assert endpoint.names == ["alive"]

    writer.append(record_of(span), 1)
    total = ship_all(shipper_of(folder, endpoint, own=lambda: writer.segments))

    assert (endpoint.names, total) == (["alive"] * 2, Outcome(own=1))
    assert len(files_in(folder)) == 3  # it is written still


def test_runs_that_were_open_when_their_process_was_lost_are_told_once(folder, endpoint):
    path = write(folder, "ended", is_closed=False, open_names=["flow nightly", "other"])
    os.utime(path, (2_000_000_000, 2_000_000_000))

    ship_all(shipper_of(folder, endpoint))
    ship_all(shipper_of(folder, endpoint))

    spans = {span.name: span for span in spans_of(endpoint.requests)}
    assert sorted(endpoint.names) == ["ended", "flow nightly", "other"]
    lost = spans["flow nightly"]
    assert lost.end_time_unix_nano == 2_000_000_000 * 10**9
    assert 0 < lost.start_time_unix_nano < lost.end_time_unix_nano
    assert (lost.status.code, lost.status.message) == (2, "the process was lost")
    assert [(a.key, a.value.string_value) for a in lost.attributes] == [("error.type", "process_lost")]
    assert spans["ended"].status.code == 0


def test_runs_of_a_process_that_ended_as_it_should_or_began_another_segment_are_not_lost(folder, endpoint):
    write(folder, "ended", is_closed=True, open_names=["still open"])

    ship_all(shipper_of(folder, endpoint))

    assert endpoint.names == ["ended"]


def test_damage_costs_what_is_damaged_only_and_is_counted(folder, endpoint):
    losses = Counter()
    path = write(folder, *(f"a{n}" for n in range(9)))
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 5] = b"\xff" * 5
    path.write_bytes(content[:-40])

    ship_all(shipper_of(folder, endpoint, losses))

    # What had started, and whose end is damaged, or cut off, is told as lost.
    lost = [span.name for span in spans_of(endpoint.requests) if span.status.code == 2]
    assert sorted(endpoint.names) == [f"a{n}" for n in range(9)]
    assert lost in (["a8"], ["a4", "a8"])
    assert losses["unreadable"] >= 1
    assert files_in(folder) == ["OTELFLOW_STORE"]


BODY_OF_SPAN = encode_span(ended("of another version"))


@pytest.mark.parametrize(
    ("record", "lost"),
    [
        (framed(b"\x6a\x03abc"), 1),
        (framed(BODY_OF_SPAN + b"\x6a\x03abc"), 1),
        (varint(len(BODY_OF_SPAN)) + BODY_OF_SPAN, 1),
        (b"\0", 1),
        (note(b"a word of another version"), 0),
    ],
    ids=["a field", "a field behind a span", "no checksum", "nothing", "a note"],
)
def test_a_record_of_a_kind_that_this_version_does_not_know_costs_itself_only_and_is_counted(
    folder, endpoint, record, lost
):
    losses = Counter()
    path = write(folder, "second", "third")
    path.write_bytes(record_of(ended("first")) + record + path.read_bytes())

    ship_all(shipper_of(folder, endpoint, losses))

    assert endpoint.names == ["first", "second", "third"]
    assert losses == Counter({"unreadable": lost} if lost else {})


def test_a_record_that_is_half_written_is_left_for_later(folder, endpoint):
    writer = SegmentWriter(folder, Limits())
    span = started("a")
    span.end()
    record = record_of(span)
    writer.append(record[:20])
    shipper = shipper_of(folder, endpoint, own=lambda: writer.segments)

    assert ship_all(shipper) == Outcome()
    writer.append(record[20:], 1)
    ship_all(shipper)

    assert endpoint.names == ["a"]


def test_a_segment_that_vanishes_before_it_is_sent_is_counted(folder, endpoint):
    writer = SegmentWriter(folder, Limits())
    for name in ("a", "b", "c"):
        span = started(name)
        span.end()
        writer.append(record_of(span), 1)
    (name,) = writer.segments
    shipper = shipper_of(folder, endpoint, own=lambda: writer.segments, batch_size=1)
    shipper.ship()

    (folder / name).unlink()
    total = ship_all(shipper)

    assert (endpoint.names, total) == (["a"], Outcome(vanished=2))


def test_a_segment_that_vanishes_while_it_waits_beside_the_rest_was_sent_by_nobody(folder, endpoint):
    endpoint.refuses = lambda names: "unwanted"
    writer = SegmentWriter(folder, Limits())
    span = started("refused")
    span.end()
    writer.append(record_of(span), 1)
    (name,) = writer.segments
    shipper = shipper_of(folder, endpoint, own=lambda: writer.segments)
    for _ in range(3):  # then it is set aside
        shipper.delivery.not_before = 0.0
        shipper.ship()
    is_set_aside = (folder / f"{name}.sent").stat().st_size > 0

    (folder / name).unlink()
    shipper.delivery.not_before = 0.0

    assert is_set_aside
    assert ship_all(shipper) == Outcome(vanished=1)


@pytest.mark.parametrize("kind", ["broken", "giant"])
def test_a_segment_that_cannot_be_read_costs_itself_only(folder, endpoint, monkeypatch, kind):
    unreadable = write(folder, "a")
    write(folder, "b", "c")
    if kind == "giant":
        os.truncate(unreadable, 3 << 30)
    else:
        real = shipper_module.read_chunk

        def read_chunk(opened, name, *arguments, **options):
            if name == unreadable.name:
                raise OSError(5, "Input/output error")
            return real(opened, name, *arguments, **options)

        monkeypatch.setattr(shipper_module, "read_chunk", read_chunk)
    losses = Counter()
    shipper = shipper_of(folder, endpoint, losses)
    ship_all(shipper)
    monkeypatch.setattr(shipper, "_next_look", 0.0)
    ship_all(shipper)

    assert (endpoint.names, losses) == (["b", "c"], {"unreadable": 1})
    assert [path.name for path in folder.glob("*.otlp")] == [unreadable.name]


def test_of_thousands_of_segments_each_is_sent_without_a_look_at_all_the_others(folder, endpoint, monkeypatch):
    for number in range(30):
        write(folder, str(number))
    looks = []
    real = shipper_module.segment_files
    monkeypatch.setattr(shipper_module, "segment_files", lambda opened: (looks.append(1), real(opened))[1])
    monkeypatch.setattr(shipper_module, "_LOOK_SECONDS", 3_600.0)
    shipper = shipper_of(folder, endpoint)
    ship_all(shipper)

    assert endpoint.names == [str(number) for number in range(30)]
    assert len(looks) == 2, "the second one to see whether anything has come"
    write(folder, "late")
    ship_all(shipper)
    assert endpoint.names[-1] == "late"


@pytest.mark.parametrize(("value", "asked"), [("1", [["a", "b", "b"]]), ("true", [["a", "b", "b"]]), ("0", [["b"]])])
def test_a_receiver_that_merges_spans_by_id_hears_of_them_when_they_start(folder, endpoint, monkeypatch, value, asked):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_LIVE", value)
    losses = Counter()
    writer = SegmentWriter(folder, Limits())
    spans = [started("a"), started("b")]
    for span in spans:
        writer.append(start_record(encode_span(span)))
    spans[1].end()
    writer.append(record_of(spans[1]), 1)
    shipper = shipper_of(folder, endpoint, losses, own=lambda: writer.segments)

    assert ship_all(shipper) == Outcome(own=1)
    assert endpoint.asked == asked
    assert [span.end_time_unix_nano for span in spans_of(endpoint.requests)] == [0, 0, spans[1].end_time][
        -len(asked[0]) :
    ]
    assert losses == {}
    writer.close()


def test_a_span_that_is_bad_when_it_starts_costs_no_other_and_is_not_lost_yet(folder, endpoint, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_LIVE", "1")
    endpoint.refuses = lambda names: "bad" if "b" in names else None
    losses = Counter()
    writer = SegmentWriter(folder, Limits())
    for name in ("a", "b", "c"):
        writer.append(start_record(encode_span(started(name))))
    writer.append(record_of(ended("d")), 1)
    shipper = shipper_of(folder, endpoint, losses, own=lambda: writer.segments)

    assert ship_all(shipper) == Outcome(own=1)
    assert (endpoint.names, losses) == (["a", "c", "d"], {})
    writer.close()


def test_a_record_that_is_larger_than_what_is_read_at_once_arrives(folder, endpoint):
    span = TRACER.start_span("large", attributes={"text": "x" * 3_000_000})
    span.end()
    writer = SegmentWriter(folder, Limits())
    writer.append(record_of(span), 1)
    writer.close()

    ship_all(shipper_of(folder, endpoint))

    assert endpoint.names == ["large"]


def test_what_arrives_over_http_is_what_was_written(folder, monkeypatch):
    from otelflow_exporters._otlp.sender import new_sender

    write(folder, "a", "b")
    with OtlpReceiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        ship_all(shipper_of(folder, new_sender("traces")))

        assert [span.name for span in receiver.spans] == ["a", "b"]


@pytest.mark.parametrize("text", ["99999999999999999999", "-5", "x", "12345678", "\xb2", ""])
def test_a_file_that_says_nonsense_of_what_was_sent_keeps_nothing_back(folder, endpoint, text):
    path = write(folder, "a", "b")
    path.with_name(path.name + ".sent").write_text(text)

    ship_all(shipper_of(folder, endpoint))

    assert endpoint.names == ["a", "b"]
    assert files_in(folder) == ["OTELFLOW_STORE"]


@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_what_stands_in_the_place_of_that_file_is_removed(folder, endpoint, tmp_path, kind):
    path = write(folder, "a")
    place, target = path.with_name(path.name + ".sent"), tmp_path / "other"
    target.write_text("7")
    if kind == "link":
        place.symlink_to(target)
    else:
        os.mkfifo(place)
    shipper = shipper_of(folder, endpoint)

    shipper.ship()
    ship_all(shipper)

    assert endpoint.names == ["a"]
    assert target.read_text() == "7"


def test_what_is_left_of_segments_that_are_gone_is_removed_when_it_is_old(folder, endpoint):
    """Whose process is in another container, and has no id here, must have the time to read it."""
    path = write(folder, "a")
    old, recent = (path.with_name(f"20260101T000000.000000Z-{2**31}-0000000{n}.otlp.sent") for n in range(2))
    for left in (old, recent):
        left.write_text("7")
    os.utime(old, (1, 1))

    ship_all(shipper_of(folder, endpoint))

    assert files_in(folder) == [recent.name, "OTELFLOW_STORE"]


def test_a_segment_whose_lost_runs_have_arrived_is_gone_with_the_answer(folder, endpoint):
    """Whoever is killed a moment later has left nothing that would be told again."""
    for name in ("a", "b"):
        write(folder, name, is_closed=False, open_names=[f"lost {name}"])
    shipper = shipper_of(folder, endpoint)
    left = []

    for _ in range(20):
        shipper.ship()
        told = sum(name.startswith("lost") for name in endpoint.names)
        left.append((told, len(list(folder.glob("*.otlp")))))

    assert {told + files for told, files in left} == {2}
    assert left[-1] == (2, 0)


def test_a_segment_whose_claim_the_program_has_closed_is_claimed_anew_and_goes_on_where_it_was(folder, endpoint):
    write(folder, "a", "b", is_closed=False)
    shipper = shipper_of(folder, endpoint, batch_size=1)
    shipper.ship()
    (held,) = shipper._claims.values()
    os.close(held._file.descriptor)
    ship_all(shipper)

    assert endpoint.names == ["a", "b"]
    shipper.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_leaves_to_its_parent_what_that_ships(folder, endpoint):
    path = write(folder, *(f"s{number}" for number in range(20)))
    shipper = shipper_of(folder, endpoint)
    shipper.ship()
    child = os.fork()
    if child == 0:
        code = 1
        with contextlib.suppress(BaseException):
            forks.notice()
            ship_all(shipper)
            code = 0 if shipper.delivery.requests == 0 and shipper.sent_of(path.name) is None else 2
        os._exit(code)
    _, status = os.waitpid(child, 0)
    ship_all(shipper)

    assert os.waitstatus_to_exitcode(status) == 0
    assert endpoint.names == [f"s{number}" for number in range(20)]


def test_a_batch_that_is_refused_for_good_is_halved_until_the_bad_span_is_alone(folder, endpoint):
    write(folder, *"abcdefghi")
    endpoint.refuses = lambda batch: "bad" if "b" in batch else None

    ship_all(shipper_of(folder, endpoint, batch_size=8))

    asked = ["".join(batch) for batch in endpoint.asked]
    assert asked == ["abcdefgh", "abcd", "ab", "a", "bc", "b", "c", "de", "fghi"]  # it grows again with each success
    assert endpoint.names == list("acdefghi")


def test_a_server_that_fails_is_tried_three_times_with_a_batch_before_the_next_is(folder, endpoint, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    write(folder, *"abcd")
    endpoint.refuses = lambda batch: "HTTP 503"
    shipper = shipper_of(folder, endpoint, batch_size=2)
    while len(endpoint.asked) < 5:
        shipper.ship()
        now[0] += 100

    assert ["".join(batch) for batch in endpoint.asked] == ["ab", "ab", "ab", "ab", "cd"]  # the fourth time as a piece


def test_all_runs_of_a_lost_process_are_told_however_many_batches_they_are(folder, endpoint):
    write(folder, "ended", is_closed=False, open_names=["flow a", "flow b", "flow c"])
    told = []

    total = ship_all(shipper_of(folder, endpoint, batch_size=2, on_told=told.append))

    assert sorted(endpoint.names) == ["ended", "flow a", "flow b", "flow c"]
    assert total.others == 4
    names = [span.name for span in spans_of(map(ExportTraceServiceRequest.FromString, told))]
    assert names == ["flow a", "flow b", "flow c"]
    assert files_in(folder) == ["OTELFLOW_STORE"]


def test_what_was_set_aside_is_tried_less_and_less_often(folder, endpoint, monkeypatch):
    now, tries = [100.0], []
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    write(folder, "a", "b")

    def refuses(batch):
        if batch == ["a"]:
            tries.append(now[0])
            endpoint.status.may_take_others = True
            return "HTTP 403"
        return None

    endpoint.refuses = refuses
    shipper = shipper_of(folder, endpoint, batch_size=1)
    for _ in range(4_000):
        shipper.ship()
        now[0] += 0.1

    waits = [later - earlier for earlier, later in itertools.pairwise(tries)]
    assert endpoint.names == ["b"]
    assert len(waits) > 5
    assert waits[0] < 1.5
    assert waits[-1] > 40
    assert all(later > earlier for earlier, later in itertools.pairwise(waits[:5]))


def test_a_span_is_lost_when_it_was_refused_ten_times_while_others_were_taken(folder, endpoint, monkeypatch):
    now, losses = [100.0], Counter()
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    write(folder, "a")
    refusing(endpoint, "a")
    shipper = shipper_of(folder, endpoint, losses, batch_size=1)
    for number in range(40):
        write(folder, f"later{number}")
        for _ in range(6):
            shipper.ship()
        now[0] += 100

    assert endpoint.names == [f"later{number}" for number in range(40)]
    assert endpoint.asked.count(["a"]) == 1 + 10  # and once where it stood
    assert losses == {"rejected": 1}


def test_what_another_has_set_aside_is_nobodys_fault_until_something_has_arrived(folder, endpoint, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    write(folder, "a", "b")
    refusing(endpoint, "a", "b")
    first = shipper_of(folder, endpoint)
    first.ship()
    first.close()
    endpoint.asked.clear()
    second = shipper_of(folder, endpoint)
    for _ in range(20):
        second.ship()
        now[0] += 100

    assert len(endpoint.asked) > 5
    assert all(batch == ["a", "b"] for batch in endpoint.asked)


def test_of_the_runs_of_a_lost_process_one_that_is_refused_costs_itself_only(folder, endpoint):
    losses = Counter()
    write(folder, "ended", is_closed=False, open_names=["flow a", "flow b", "flow c"])
    endpoint.refuses = lambda batch: "bad" if "flow b" in batch else None

    ship_all(shipper_of(folder, endpoint, losses))

    assert sorted(endpoint.names) == ["ended", "flow a", "flow c"]
    assert losses == {"rejected": 1}
    assert files_in(folder) == ["OTELFLOW_STORE"]


@pytest.fixture
def crowded(folder, endpoint):
    """Return a shipper of a process that has written five segments of 40 spans, one of which goes on, and losses."""
    losses = Counter()
    writer = SegmentWriter(folder, Limits(), last_record=CLOSED)
    for number in range(5):
        for place in range(40):
            span = started(f"{number}.{place}")
            writer.append(record_of(span))
            span.end()
            writer.append(record_of(span), 1)
        if number < 4:
            writer.close()
    yield shipper_of(folder, endpoint, losses, own=lambda: writer.segments, batch_size=64), losses, writer
    writer.close()


def sizes_in(folder):
    return [path.stat().st_size for path in sorted(folder.glob("*.otlp"))]


def test_a_folder_that_is_crowded_gets_room_two_segments_at_a_time_and_each_span_arrives(crowded, folder, endpoint):
    shipper, losses, _ = crowded
    before = sizes_in(folder)
    compactor = Compactor(SPANS, contextlib.nullcontext())
    compactor.make_room(folder, sum(before))
    steps = [sizes_in(folder)]
    for _ in range(3):
        compactor.make_room(folder, 1)
        steps.append(sizes_in(folder))

    total = ship_all(shipper)

    smaller = [[size < first for size, first in zip(sizes, before, strict=True)] for sizes in steps]
    assert smaller == [[False] * 5, [True] * 2 + [False] * 3, [True] * 4 + [False], [True] * 4 + [False]]
    assert sorted(endpoint.names) == sorted(f"{number}.{place}" for number in range(5) for place in range(40))
    assert (total.own, total.vanished, losses) == (200, 0, {})


def test_a_segment_of_which_a_part_was_sent_stays_as_it_is(crowded, folder, endpoint):
    shipper, losses, _ = crowded
    shipper.ship()
    before = sizes_in(folder)

    Compactor(SPANS, contextlib.nullcontext()).make_room(folder, 1)

    assert [size < first for size, first in zip(sizes_in(folder), before, strict=True)] == [False, True] + [False] * 3
    ship_all(shipper)
    assert sorted(endpoint.names) == sorted(f"{number}.{place}" for number in range(5) for place in range(40))
    assert losses == {}


def test_a_segment_that_another_ships_stays_as_it_is(crowded, folder, endpoint):
    _shipper, _, _ = crowded
    other = shipper_of(folder, endpoint, is_for_all=True, batch_size=1)
    endpoint.refuses = lambda names: "HTTP 503"
    other.ship()
    before = sizes_in(folder)

    Compactor(SPANS, contextlib.nullcontext()).make_room(folder, 1)

    assert [size < first for size, first in zip(sizes_in(folder), before, strict=True)] == [False, True] + [False] * 3
    other.close()


@pytest.mark.parametrize("is_for_good", [True, False])
def test_of_spans_that_lie_together_one_that_is_refused_costs_itself_only(
    crowded, folder, endpoint, monkeypatch, is_for_good
):
    now = [100.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    shipper, losses, writer = crowded
    Compactor(SPANS, contextlib.nullcontext()).make_room(folder, 1)
    if is_for_good:
        endpoint.refuses = lambda names: "bad" if "0.7" in names else None
    else:
        refusing(endpoint, "0.7")

    for number in range(200):
        shipper.ship()
        now[0] += 100
        if number % 5 == 0:
            span = ended(f"later{number}")
            writer.append(record_of(span), 1)

    assert losses == {"rejected": 1}
    missing = {f"{number}.{place}" for number in range(5) for place in range(40)} - set(endpoint.names)
    assert missing == {"0.7"}


# Moments


@pytest.fixture
def now(monkeypatch):
    """A clock that stands still until it is told to go on."""
    now = [100.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    return now


def items_of(*names):
    return [item_of(encode_span(ended(name)), 0) for name in names]


def orphan_in(folder):
    """Leave what tells how far a segment was sent that is gone for long."""
    left = folder / f"20260101T000000.000000Z-{2**31}-00000000.otlp.sent"
    left.write_text("7")
    os.utime(left, (1, 1))
    return left


def test_the_endpoint_is_asked_again_in_the_very_moment_that_it_has_named(folder, endpoint, now):
    write(folder, "a")
    endpoint.refuses, endpoint.retry_after = lambda names: "HTTP 429", 33.0
    shipper = shipper_of(folder, endpoint)
    shipper.ship()
    endpoint.refuses = lambda names: None
    now[0] = 132.9
    early = shipper.ship()
    now[0] = 133.0
    ship_all(shipper)

    assert (early, endpoint.asked) == (Outcome(), [["a"], ["a"]])


def test_so_it_is_with_what_is_in_no_file_and_files_wait_as_well(folder, endpoint, now):
    write(folder, "b")
    endpoint.refuses, endpoint.retry_after = lambda names: "HTTP 429", 33.0
    shipper = shipper_of(folder, endpoint)
    refused = shipper.delivery.send_records(items_of("a"))
    of_files = shipper.ship()
    endpoint.refuses = lambda names: None
    now[0] = 132.9
    early = shipper.delivery.send_records(items_of("a"))
    now[0] = 133.0
    taken = shipper.delivery.send_records(items_of("a"))

    assert (refused, of_files, early, taken) == ((1, False), Outcome(), (0, False), (1, True))
    assert endpoint.asked == [["a"], ["a"]]


def test_on_a_machine_that_was_started_a_moment_ago_nothing_waits_for_its_clock(folder, endpoint, now):
    now[0] = 0.5
    write(folder, "a", "b", "c")
    left = orphan_in(folder)
    endpoint.refuses = lambda names: "bad" if names == ["a"] else None
    shipper = shipper_of(folder, endpoint, batch_size=1)
    ship_all(shipper)
    assert (endpoint.names, left.exists()) == (["b", "c"], False)

    write(folder, "d")
    endpoint.refuses = lambda names: "HTTP 503"
    shipper.ship()
    is_left_alone = shipper.delivery.not_before > 0.5
    endpoint.refuses = lambda names: None
    shipper.try_once_more()
    ship_all(shipper)
    taken = shipper.delivery.send_records(items_of("e"))
    assert (is_left_alone, endpoint.names, taken) == (True, ["b", "c", "d", "e"], (1, True))

    refusing(endpoint, "f")
    refused = [shipper.delivery.send_records(items_of("f")) for _ in range(3)]
    write(folder, "g")
    ship_all(shipper)
    assert refused == [(1, False), (1, False), (0, False)]
    assert endpoint.names[-1] == "g"
    endpoint.refuses = lambda names: None
    shipper.try_once_more()
    assert shipper.delivery.send_records(items_of("f")) == (1, True)


def test_a_folder_is_looked_at_each_half_second_while_there_is_something_to_send(folder, endpoint, now, monkeypatch):
    for number in range(9):
        write(folder, str(number))
    looks = []
    names = Folder.names
    monkeypatch.setattr(Folder, "names", lambda opened: looks.append(now[0]) or names(opened))
    shipper = shipper_of(folder, endpoint)
    for _ in range(8):
        shipper.ship()
        now[0] += 0.125

    assert endpoint.names == [str(number) for number in range(8)]
    assert sorted({*looks}) == [100.0, 100.125, 100.5], "also, once, who has a removed segment written"


def test_where_a_look_takes_long_most_of_the_time_is_for_what_is_sent(folder, endpoint, now, monkeypatch):
    for number in range(30):
        write(folder, str(number))
    looks = []

    def look(store):
        looks.append(now[0])
        now[0] += 2.0
        return segment_files(store)

    monkeypatch.setattr(shipper_module, "segment_files", look)
    shipper = shipper_of(folder, endpoint)
    for _ in range(20):
        shipper.ship()
        now[0] += 0.5

    assert endpoint.names == [str(number) for number in range(20)]
    assert looks == [100.0, 110.0]


def test_what_is_left_of_segments_that_are_gone_is_looked_for_once_an_hour(folder, endpoint, now):
    write(folder, "a")
    shipper = shipper_of(folder, endpoint)
    ship_all(shipper)
    left = orphan_in(folder)
    now[0] += 3_599.75
    ship_all(shipper)
    is_left = left.exists()
    now[0] += 0.25
    ship_all(shipper)

    assert (is_left, left.exists()) == (True, False)


def test_each_batch_at_which_the_server_fails_is_tried_three_times_in_its_place(folder, endpoint, now):
    write(folder, *"abcdef")
    endpoint.refuses = lambda batch: "HTTP 503"
    shipper = shipper_of(folder, endpoint, batch_size=2)
    while ["e", "f"] not in endpoint.asked and len(endpoint.asked) < 50:
        shipper.ship()
        now[0] += 100

    asked = ["".join(batch) for batch in endpoint.asked]
    assert asked[:3] == ["ab"] * 3
    assert asked[: asked.index("ef")].count("cd") == 3, "between them what was set aside has its turn"


# Folders that are not as they were


def test_a_folder_for_another_destination_is_refused_before_anything_is_sent(folder, endpoint):
    def refuse(_):
        raise StoreUnreadable("for another")

    write(folder, "a")

    with pytest.raises(StoreUnreadable, match="for another"):
        shipper_of(folder, endpoint, check=refuse).ship()
    assert endpoint.asked == []


def test_a_segment_that_vanishes_is_let_go_of_and_what_follows_is_sent(folder, endpoint):
    writer = SegmentWriter(folder, Limits())
    for name in ("a", "b"):
        writer.append(record_of(ended(name)), 1)
    (name,) = writer.segments
    shipper = shipper_of(folder, endpoint, own=lambda: writer.segments, batch_size=1)
    shipper.ship()
    opened = len(list(Path("/dev/fd").iterdir()))
    (folder / name).unlink()
    write(folder, "later")
    shipper._next_look = 0.0
    vanished = shipper.ship()
    left_open = len(list(Path("/dev/fd").iterdir()))
    ship_all(shipper)

    assert vanished == Outcome(vanished=1, is_more=True)
    assert left_open == opened - 1
    assert endpoint.names == ["a", "later"]
    writer.close()


def test_a_segment_that_another_sends_and_removes_between_two_looks_is_no_damage(folder, endpoint, monkeypatch):
    gone = write(folder, "a")
    write(folder, "b")
    losses = Counter()
    real = shipper_module.read_chunk

    def read_chunk(opened, name, *arguments, **options):
        if name == gone.name:
            gone.unlink(missing_ok=True)
        return real(opened, name, *arguments, **options)

    monkeypatch.setattr(shipper_module, "read_chunk", read_chunk)
    ship_all(shipper_of(folder, endpoint, losses))

    assert (endpoint.names, losses) == (["b"], {})


def test_a_segment_that_one_cannot_read_is_left_to_another(folder, endpoint, monkeypatch):
    path = write(folder, "a")
    real = shipper_module.read_chunk

    def read_chunk(*_arguments, **_options):
        raise OSError(5, "Input/output error")

    first = shipper_of(folder, endpoint)
    with monkeypatch.context() as patch:
        patch.setattr(shipper_module, "read_chunk", read_chunk)
        ship_all(first)
    assert shipper_module.read_chunk is real
    ship_all(shipper_of(folder, endpoint))

    assert endpoint.names == ["a"]
    assert not path.exists()
    first.close()


def test_the_largest_segment_that_there_can_be_is_read(folder, endpoint):
    path = write(folder, "a")
    os.truncate(path, LARGEST_SEGMENT)

    ship_all(shipper_of(folder, endpoint))

    assert endpoint.names == ["a"]


def test_damage_is_counted_once_while_something_of_its_segment_waits(folder, endpoint, now):
    path = write(folder, "a", is_closed=False, open_names=["lost"])
    path.write_bytes(path.read_bytes() + b"\xff" * 5)
    losses = Counter()
    refusing(endpoint, "lost")
    shipper = shipper_of(folder, endpoint, losses)
    for _ in range(20):
        shipper.ship()
        now[0] += 100

    assert endpoint.names == ["a"]
    assert losses == {"unreadable": 1}


def test_what_is_open_in_the_own_process_is_not_lost_when_the_end_of_its_segment_was_not_written(folder, endpoint):
    writer = SegmentWriter(folder, Limits())
    writer.append(record_of(started("goes on")))
    writer.append(record_of(ended("a")), 1)
    writer.close()

    total = ship_all(shipper_of(folder, endpoint, own=lambda: writer.segments))

    assert (endpoint.names, total) == (["a"], Outcome(own=1))
    assert files_in(folder) == ["OTELFLOW_STORE"]


# Room


@pytest.mark.parametrize("is_own", [True, False])
def test_what_somebody_has_written_anew_is_sent_by_another_and_counted_by_its_writer(crowded, folder, endpoint, is_own):
    shipper, losses, _writer = crowded
    Compactor(SPANS, contextlib.nullcontext()).make_room(folder, 1)
    other = shipper_of(folder, endpoint, losses, is_for_all=True, batch_size=64)

    sent = ship_all(shipper if is_own else other)
    left = ship_all(other if is_own else shipper)

    assert sorted(endpoint.names) == sorted(f"{number}.{place}" for number in range(5) for place in range(40))
    assert (sent.own + sent.others, left.others, losses) == (200, 0, {})
    assert (left.own, left.vanished) == ((0, 0) if is_own else (160, 0)), "of the four that are finished"


def test_a_segment_that_was_read_before_it_made_room_is_sent_once(crowded, folder, endpoint):
    shipper, losses, writer = crowded
    endpoint.refuses = lambda names: "HTTP 503"
    shipper.ship()
    Compactor(SPANS, contextlib.nullcontext()).make_room(folder, 1)
    endpoint.refuses = lambda names: None
    shipper.try_once_more()
    shipper.ship()
    shipper.close()

    ship_all(shipper_of(folder, endpoint, losses, own=lambda: writer.segments, batch_size=64))

    assert sorted(endpoint.names) == sorted(f"{number}.{place}" for number in range(5) for place in range(40))
    assert losses == {}


def test_what_is_refused_of_what_is_in_no_file_makes_no_batch_of_a_file_smaller(folder, endpoint):
    write(folder, *"ABCDEFGH")
    endpoint.refuses = lambda batch: "bad" if "b" in batch else None
    shipper = shipper_of(folder, endpoint, batch_size=8)
    shipper.delivery.send_records(items_of(*"abcdefgh"))
    ship_all(shipper)

    assert ["".join(batch) for batch in endpoint.asked] == ["abcdefgh", "ABCDEFGH"]


def test_a_claim_that_the_program_has_closed_is_had_again_before_anything_more_is_sent(folder, endpoint):
    write(folder, "a", "b", "c")
    shipper = shipper_of(folder, endpoint, batch_size=1)
    shipper.ship()
    (held,) = shipper._claims.values()
    os.close(held._file.descriptor)
    shipper.ship()
    other = shipper_of(folder, endpoint)

    assert other.ship() == Outcome()
    assert endpoint.names == ["a", "b"]
    shipper.close()
    other.close()


def test_what_was_set_aside_and_has_arrived_is_not_sent_again_by_the_next(folder, endpoint, now):
    writer = SegmentWriter(folder, Limits())
    for name in ("a", "b"):
        writer.append(record_of(ended(name)), 1)
    refusing(endpoint, "a")
    first = shipper_of(folder, endpoint, own=lambda: writer.segments, batch_size=1)
    ship_all(first)
    endpoint.refuses = lambda names: None
    now[0] += 100
    first.ship()
    first.close()
    writer.append(record_of(ended("c")), 1)
    ship_all(shipper_of(folder, endpoint, own=lambda: writer.segments))

    assert endpoint.names == ["b", "a", "c"]
    writer.close()


def test_lost_runs_that_wait_are_told_also_when_the_claim_was_closed_and_had_again(folder, endpoint, now):
    write(folder, "ended", is_closed=False, open_names=["lost"])
    refusing(endpoint, "lost")
    shipper = shipper_of(folder, endpoint)
    ship_all(shipper)
    (held,) = shipper._claims.values()
    os.close(held._file.descriptor)
    ship_all(shipper)
    endpoint.refuses = lambda names: None
    now[0] += 100
    ship_all(shipper)

    assert endpoint.names == ["ended", "lost"]
    assert files_in(folder) == ["OTELFLOW_STORE"]


def test_whoever_ends_lets_go_of_its_connection_and_its_claims(folder, endpoint):
    write(folder, "a", "b")
    closed = []
    endpoint.close = lambda: closed.append(1)
    first = shipper_of(folder, endpoint, batch_size=1)
    first.ship()
    first.close()
    ship_all(shipper_of(folder, endpoint, batch_size=1))

    assert (closed, endpoint.names) == ([1], ["a", "b"])


def test_why_something_waits_is_said_until_all_of_it_has_arrived(folder, endpoint, now):
    write(folder, "a", "b")
    shipper = shipper_of(folder, endpoint, batch_size=1)
    reasons = [shipper.failure]
    endpoint.refuses = lambda names: "HTTP 503"
    shipper.ship()
    reasons.append(shipper.failure)
    now[0] += 100
    refusing(endpoint, "a")
    while endpoint.names != ["b"] and len(endpoint.asked) < 20:
        shipper.ship()
        now[0] += 100
    reasons.append(shipper.failure)
    endpoint.refuses = lambda names: None
    ship_all(shipper)
    reasons.append(shipper.failure)

    assert endpoint.names == ["b", "a"]
    assert [bool(reason) for reason in reasons] == [False, True, True, False]


def test_what_is_damaged_in_a_segment_of_this_process_is_lost_to_it_with_the_segment(folder, endpoint):
    writer = SegmentWriter(folder, Limits(), last_record=CLOSED)
    records = [record_of(ended(name)) for name in "abc"]
    for record in records:
        writer.append(record, 1)
    writer.close()
    (name,) = writer.segments
    content = bytearray((folder / name).read_bytes())
    content[len(records[0]) + len(records[1]) - 3] ^= 0xFF
    (folder / name).write_bytes(content)
    losses = Counter()
    total = ship_all(shipper_of(folder, endpoint, losses, own=lambda: writer.segments))

    assert (endpoint.names, total, losses) == (["a", "c"], Outcome(own=2, vanished=1), {"unreadable": 1})
    assert files_in(folder) == ["OTELFLOW_STORE"]


@pytest.mark.parametrize("is_there", [True, False])
def test_a_process_in_another_container_that_has_the_same_number_learns_what_was_sent_of_its_own(
    folder, endpoint, is_there
):
    write(folder, "one", "two")
    (sent,) = (path.name for path in folder.glob("*.otlp"))
    shipper = shipper_of(folder, endpoint)
    other = folder / f"20990101T000000.000000Z-{os.getpid()}-0123abcd.otlp"
    other.write_bytes(b"")
    with other.open("rb") as file:
        if is_there:
            assert hold(file.fileno())
        while shipper.ship().is_more:
            pass
        shipper.close()

    assert endpoint.names == ["one", "two"]
    assert (folder / (sent + PROGRESS)).exists() is is_there


def test_who_writes_all_the_time_sends_also_what_others_have_left_since_and_others_do_not_hold_up_its_own(
    folder, endpoint
):
    written = SegmentWriter(folder, Limits(), last_record=CLOSED)
    shipper = shipper_of(folder, endpoint, own=lambda: written.segments, batch_size=1)
    written.append(record_of(ended("own")), 1)
    for _ in range(2):
        write(folder, "left", "left")
    behind = []
    for _ in range(8):
        shipper.ship()
        behind.append(shipper.has_others)
        written.append(record_of(ended("own")), 1)
    written.close()

    assert endpoint.names == ["left", "own"] * 4
    assert behind[:6] == [True] * 6
    shipper.ship()
    assert (endpoint.names[-1], shipper.has_others) == ("own", False)
    shipper.close()


def test_a_segment_of_which_nobody_can_note_what_is_sent_waits_and_that_is_a_failure(folder, endpoint, monkeypatch):
    write(folder, "a")
    shipper = shipper_of(folder, endpoint)
    open_file = Folder.open

    def refuse(self, name, flags):
        if flags & os.O_RDWR:
            raise OSError(errno.EROFS, "Read-only file system")
        return open_file(self, name, flags)

    with monkeypatch.context() as disk:
        disk.setattr(Folder, "open", refuse)
        ship_all(shipper)
        failures = [shipper.failure]
    shipper._next_look = 0.0
    ship_all(shipper)

    assert [*failures, shipper.failure] == ["a file in it that says what is sent (Read-only file system)", ""]
    assert endpoint.names == ["a"]


def test_lost_runs_that_are_refused_for_a_while_are_told_once_when_they_are_taken(folder, endpoint, now):
    write(folder, "ended", is_closed=False, open_names=["lost"])
    refusing(endpoint, "lost")
    shipper = shipper_of(folder, endpoint)
    for _ in range(5):
        ship_all(shipper)
        now[0] += 100
    endpoint.refuses = lambda names: None
    ship_all(shipper)

    assert endpoint.names == ["ended", "lost"]
    assert files_in(folder) == ["OTELFLOW_STORE"]
