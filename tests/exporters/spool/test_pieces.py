"""A batch that an endpoint refuses keeps no other from arriving: with a real server, through the real sender."""

from collections import Counter

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider

from otelflow_exporters._otlp.encoder import encode_span
from otelflow_exporters._otlp.sender import new_sender
from otelflow_exporters._spool.batches import CLOSED, Item, start_record
from otelflow_exporters._spool.pieces import MOST_PIECES, Piece, PiecesAside
from otelflow_exporters._spool.shipper import Shipper
from otelflow_exporters._store.limits import Limits
from otelflow_exporters._store.records import framed
from otelflow_exporters._store.writer import SegmentWriter
from support.receivers import spans_of

TRACER = TracerProvider(shutdown_on_exit=False).get_tracer("program")


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on by itself, so that no test waits for a back-off."""
    now = [1_000.0]
    monkeypatch.setattr("otelflow._core.process.clock.monotonic", lambda: now[0])
    return now


def write(folder, names, *, is_closed=True, open_names=()):
    writer = SegmentWriter(folder, Limits(), last_record=CLOSED if is_closed else b"")
    for name in open_names:
        writer.append(start_record(encode_span(TRACER.start_span(name))))
    for name in names:
        span = TRACER.start_span(name)
        span.end()
        writer.append(framed(encode_span(span)), 1)
    writer.close()


def new_shipper(folder, losses=None, **options):
    losses = Counter() if losses is None else losses
    return Shipper(
        folder,
        new_sender("traces"),
        on_loss=lambda reason, count: losses.update({reason: count}),
        **{"batch_size": 8, **options},
    )


def names_in(request):
    return [span.name for span in spans_of([ExportTraceServiceRequest.FromString(request.body)])]


def refusing(receiver, status, *bad):
    """Let *receiver* answer *status* to what holds one of the *bad* spans; keep what it takes."""
    taken = []

    def answer(request):
        if {*bad} & {*names_in(request)}:
            return status
        taken.extend(names_in(request))
        return 200

    receiver.status = answer
    return taken


def ship_for(shipper, clock, seconds):
    """Ship for so many seconds of *clock*."""
    end = clock[0] + seconds
    for _ in range(100_000):
        if not shipper.ship().is_more:
            clock[0] += 0.5
        if clock[0] >= end:
            return
    raise AssertionError("it never rests")


NAMES = [f"a{number}" for number in range(40)]


@pytest.mark.parametrize("status", [401, 403, 404, 405, 500])
def test_a_batch_that_is_refused_does_not_hold_up_those_behind_it(folder, receiver, clock, status):
    losses = Counter()
    write(folder, NAMES)
    taken = refusing(receiver, status, "a3")
    shipper = new_shipper(folder, losses)

    ship_for(shipper, clock, 0.5)
    at_once = set(taken)
    ship_for(shipper, clock, 30)

    assert at_once >= set(NAMES[8:])
    assert sorted(taken) == sorted(set(NAMES) - {"a3"})
    assert str(status) in shipper.failure
    assert losses == {}


def test_a_span_that_an_endpoint_refuses_again_and_again_while_it_takes_others_is_lost(folder, receiver, clock):
    losses = Counter()
    write(folder, NAMES)
    taken = refusing(receiver, 500, "a3")
    shipper = new_shipper(folder, losses)

    for number in range(40):
        write(folder, [f"later{number}"])
        ship_for(shipper, clock, 30)

    assert losses == {"rejected": 1}
    assert len(taken) == len(set(taken)) == 39 + 40
    assert [file.name for file in folder.iterdir()] == ["OTELFLOW_STORE"]
    assert shipper.failure == ""


def test_what_waits_arrives_when_the_configuration_is_mended(folder, receiver, clock):
    losses = Counter()
    write(folder, NAMES)
    receiver.status = 401
    shipper = new_shipper(folder, losses)

    ship_for(shipper, clock, 3_600)
    asked = len(receiver.requests)
    receiver.requests.clear()
    receiver.status = 200
    ship_for(shipper, clock, 120)

    assert sorted(span.name for span in receiver.spans) == sorted(NAMES)
    assert losses == {}
    assert asked < 100  # an hour


def test_what_was_set_aside_is_tried_by_the_next_and_nothing_else_is_sent_again(folder, receiver, clock):
    write(folder, NAMES)
    taken = refusing(receiver, 403, "a3", "a20")
    first = new_shipper(folder)
    ship_for(first, clock, 30)
    first.close()
    receiver.requests.clear()
    receiver.status = 200

    ship_for(new_shipper(folder), clock, 5)

    assert sorted(taken) == sorted(set(NAMES) - {"a3", "a20"})
    assert sorted(span.name for span in receiver.spans) == ["a20", "a3"]
    assert [file.name for file in folder.iterdir()] == ["OTELFLOW_STORE"]


@pytest.mark.parametrize("status", [400, 413, 422])
def test_one_bad_span_in_a_good_batch_is_found_and_lost_alone(folder, receiver, clock, status):
    losses = Counter()
    write(folder, NAMES)
    taken = refusing(receiver, status, "a3", "a21", "a22")

    ship_for(new_shipper(folder, losses), clock, 1)

    assert sorted(taken) == sorted(set(NAMES) - {"a3", "a21", "a22"})
    assert losses == {"rejected": 3}


def test_a_batch_that_is_too_large_is_split(folder, receiver, clock):
    losses = Counter()
    write(folder, NAMES)
    receiver.status = lambda request: 413 if len(names_in(request)) > 3 else 200

    ship_for(new_shipper(folder, losses), clock, 1)

    arrived = [names_in(request) for request in receiver.requests if len(names_in(request)) <= 3]
    assert [name for names in arrived for name in names] == NAMES
    assert losses == {}


def test_a_batch_at_which_the_server_only_fails_is_set_aside_after_some_tries(folder, receiver, clock):
    write(folder, NAMES)
    taken = refusing(receiver, 503, "a3")

    ship_for(new_shipper(folder), clock, 60)

    assert set(taken) >= set(NAMES[8:])


def test_runs_of_a_lost_process_that_are_refused_hold_up_nothing_and_are_told_later(folder, receiver, clock):
    write(folder, ["a"], is_closed=False, open_names=["lost"])
    write(folder, ["b"])
    taken = refusing(receiver, 500, "lost")
    shipper = new_shipper(folder)
    ship_for(shipper, clock, 5)
    before = sorted(taken)

    taken = refusing(receiver, 200)
    ship_for(shipper, clock, 100)

    assert (before, taken) == (["a", "b"], ["lost"])
    assert [file.name for file in folder.iterdir()] == ["OTELFLOW_STORE"]


def test_an_endpoint_that_refuses_everything_is_not_asked_about_everything(folder, receiver, clock):
    write(folder, [f"a{number}" for number in range(8 * MOST_PIECES * 2)])
    receiver.status = 404
    shipper = new_shipper(folder)

    ship_for(shipper, clock, 20_000)

    assert len(shipper._aside) <= MOST_PIECES
    assert len(receiver.requests) < 1_000


ITEMS = [Item(10, [], 1), Item(20, [], 1), Item(30, [], 1)]


def test_the_halves_of_a_piece_are_the_piece():
    in_segment = Piece("segment", (3, 30)).halves(ITEMS)
    of_none = Piece("segment", None, ITEMS).halves(ITEMS)

    assert [(piece.name, piece.place, piece.items) for piece in in_segment] == [
        ("segment", (3, 10), []),
        ("segment", (10, 30), []),
    ]
    assert [(piece.name, piece.place, piece.items) for piece in of_none] == [
        ("segment", None, ITEMS[:1]),
        ("segment", None, ITEMS[1:]),
    ]


def test_the_piece_that_has_waited_longest_is_due_first(clock):
    aside = PiecesAside()
    pieces = [Piece("a", (0, 1)), Piece("b", (5, 6)), Piece("a", None, ITEMS)]
    aside.add(pieces)
    pieces[1].not_before = clock[0]
    pieces[2].not_before = clock[0] + 1
    due = [aside.due() for _ in range(3)]
    aside.try_all()
    due += [aside.due() for _ in range(3)]

    assert due == [*pieces[:2], pieces[0], pieces[2], pieces[1], pieces[0]]


def test_what_waits_of_a_segment_is_known_by_its_name():
    aside = PiecesAside()
    pieces = [Piece("a", (5, 6)), Piece("a", (0, 1)), Piece("b", (7, 8)), Piece("a", None, ITEMS)]
    aside.add(pieces)
    before = len(aside), aside.ranges_in("a"), aside.ranges_in("c"), aside.has("b"), aside.has("c")
    aside.remove(pieces[0], [Piece("a", (2, 3))])
    ranges = aside.ranges_in("a")
    aside.forget("a")

    assert before == (4, [(0, 1), (5, 6)], [], True, False)
    assert ranges == [(0, 1), (2, 3)]
    assert (len(aside), aside.has("a"), aside.ranges_in("b"), aside.due()) == (1, False, [(7, 8)], pieces[2])


def test_so_many_pieces_wait_and_no_more():
    aside = PiecesAside()
    is_full = []
    for place in range(MOST_PIECES):
        is_full.append(aside.is_full)
        aside.add([Piece("a", (place, place + 1))])

    assert is_full == [False] * 64
    assert aside.is_full


def test_what_somebody_has_set_aside_is_sent_by_who_comes_once_and_finds_nothing_else(receiver, folder, clock):
    write(folder, NAMES)
    taken = refusing(receiver, 403, "a39")
    first = new_shipper(folder)
    ship_for(first, clock, 3)
    first.close()
    left = {*NAMES} - {*taken}
    taken_later = refusing(receiver, 403)

    once = new_shipper(folder, is_for_all=True)
    while once.ship().is_more:
        pass

    assert "a39" in left
    assert {*taken_later} == left
    assert once.failure == ""
    assert list(folder.glob("*.otlp")) == []
