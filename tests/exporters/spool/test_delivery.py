"""What an endpoint answers decides how large the next batch is, when it is sent, and what is lost."""

from collections import Counter

import pytest

from otelflow._core.process import clock
from otelflow_exporters._otlp.encoder import encode_span
from otelflow_exporters._spool.batches import Item, item_of
from otelflow_exporters._spool.delivery import Delivery, Verdict
from otelflow_exporters.spool import SpoolSpanProcessor
from support.receivers import GrpcReceiver
from support.spools import Endpoint, counts_of, ended, provider_with, refusing


@pytest.fixture
def endpoint():
    return Endpoint()


@pytest.fixture
def losses():
    return Counter()


@pytest.fixture
def delivery(endpoint, losses):
    """Return a delivery of batches of four spans at most."""
    return Delivery(endpoint, 4, lambda reason, count: losses.update({reason: count}))


@pytest.fixture
def now(monkeypatch):
    """Return what the clock shows, which may be changed."""
    now = [100.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    return now


def items_of(names):
    return [item_of(encode_span(ended(name)), end) for end, name in enumerate(names, 1)]


def together(names):
    """Return one item, of a record in which several spans lie together."""
    return Item(1, [part for item in items_of(names) for part in item.parts], len(names))


def sizes_of(delivery, items):
    return len(delivery.first_of(items))


def test_a_batch_takes_as_many_spans_as_it_may_and_one_record_however_many_that_holds(delivery):
    assert sizes_of(delivery, items_of("abcdef")) == 4
    assert sizes_of(delivery, items_of("ab")) == 2
    assert sizes_of(delivery, [together("abcdef"), *items_of("g")]) == 1
    assert sizes_of(delivery, [*items_of("a"), together("bcd"), *items_of("e")]) == 2
    begun = [item._replace(spans=0) for item in items_of("abcdef")]
    assert sizes_of(delivery, begun) == 4, "what has only started takes its place, too"
    assert sizes_of(delivery, [Item(number, [], 0) for number in range(9)]) == 9, "notes take none"


def test_a_batch_that_is_halved_grows_again_with_each_one_that_arrives(delivery, endpoint):
    delivery.halve(items_of("abcd"))
    sizes = [sizes_of(delivery, items_of("abcdef"))]
    delivery.halve(items_of("a"))
    for _ in range(4):
        sizes.append(sizes_of(delivery, items_of("abcdef")))
        delivery.send(items_of("a"))

    assert sizes == [2, 1, 2, 4, 4]


def test_where_nothing_is_to_be_sent_nobody_is_asked(delivery, endpoint):
    assert delivery.send([Item(1, [], 0), Item(2, [], 1)]) is Verdict.DONE
    assert (endpoint.asked, delivery.requests, delivery.arrivals) == ([], 0, 0)


def test_requests_are_counted_and_those_that_arrive(delivery, endpoint):
    delivery.send(items_of("ab"))
    endpoint.refuses = lambda names: "HTTP 503"
    delivery.send(items_of("c"))

    assert (delivery.requests, delivery.arrivals) == (2, 1)


@pytest.mark.parametrize("bad", ["b", "abc"])
def test_what_is_refused_for_good_is_split_until_a_bad_span_is_alone_and_lost(delivery, endpoint, losses, bad):
    endpoint.refuses = lambda names: "bad" if {*bad} & {*names} else None

    assert delivery.send(items_of("abc")) is Verdict.SPLIT
    assert delivery.send([Item(0, [], 0), *items_of("b")]) is Verdict.DONE
    assert (losses, delivery.is_refused, delivery.not_before) == ({"rejected": 1}, False, 0.0)


def test_of_spans_that_lie_together_each_is_sent_alone_and_the_bad_are_lost(delivery, endpoint, losses):
    endpoint.refuses = lambda names: "bad" if "b" in names else None

    assert delivery.send([together("abc")]) is Verdict.DONE
    assert delivery.send([together("bd")]) is Verdict.DONE
    assert (endpoint.names, losses) == (["a", "c", "d"], {"rejected": 2})


def test_an_endpoint_that_refuses_for_good_answers_again_and_is_left_alone_no_longer(delivery, endpoint, now):
    endpoint.refuses = lambda names: "HTTP 503"
    delivery.send(items_of("a"))
    was_left_alone = delivery.not_before > now[0]
    endpoint.refuses = lambda names: "bad"
    delivery.send(items_of("a"))

    assert (was_left_alone, delivery.not_before) == (True, 0.0)


def test_on_a_machine_that_was_started_a_moment_ago_what_is_in_no_file_is_sent_at_once(endpoint, losses, now):
    now[0] = 0.5

    assert Delivery(endpoint, 4, losses.update).send_records(items_of("a")) == (1, True)


def test_each_alone_what_an_endpoint_takes_not_now_is_lost_only_if_it_takes_others(delivery, endpoint, losses):
    endpoint.refuses = lambda names: "HTTP 503" if "b" in names else None
    verdict = delivery.send_each(together("abc"))

    assert (verdict, endpoint.names, losses) == (Verdict.WAIT, ["a"], {})

    refusing(endpoint, "b")
    verdict = delivery.send_each(together("abc"))

    assert (verdict, endpoint.names, losses) == (Verdict.DONE, ["a", "a", "c"], {"rejected": 1})


@pytest.mark.parametrize(("rejected", "lost"), [(0, 0), (2, 2), (99, 3)])
def test_of_what_arrived_the_endpoint_may_reject_some(delivery, endpoint, losses, rejected, lost):
    endpoint.rejected = rejected

    assert delivery.send(items_of("abc")) is Verdict.DONE
    assert endpoint.names == ["a", "b", "c"]
    assert losses == Counter({"rejected": lost} if lost else {})


def test_an_endpoint_that_fails_is_left_alone_longer_and_longer_until_it_takes_something(delivery, endpoint, now):
    endpoint.refuses = lambda names: "HTTP 503"
    waits = []
    for _ in range(12):
        assert delivery.send(items_of("a")) is Verdict.WAIT
        waits.append(delivery.not_before - now[0])
        now[0] += 1_000

    assert all(0.8 * 2**tries <= wait <= 1.2 * 2**tries for tries, wait in enumerate(waits[:6]))
    assert all(48 <= wait <= 72 for wait in waits[6:])
    assert (delivery.is_refused, "HTTP 503" in delivery.reason) == (True, True)

    endpoint.refuses = lambda names: None
    delivery.send(items_of("a"))

    assert (delivery.is_refused, delivery.not_before) == (False, 0.0)


def test_processes_do_not_come_back_to_an_endpoint_all_at_once(endpoint, losses, now):
    endpoint.refuses = lambda batch: "HTTP 503"
    waits = []
    for _ in range(60):
        delivery = Delivery(endpoint, 4, losses.update)
        delivery.send(items_of("a"))
        waits.append(delivery.not_before - 100)

    assert 0.8 <= min(waits) < 1 < max(waits) <= 1.2


def test_the_endpoint_says_how_long_it_is_to_be_left_alone(delivery, endpoint, now):
    endpoint.refuses, endpoint.retry_after = lambda names: "HTTP 429", 33.0

    delivery.send(items_of("a"))

    assert delivery.not_before == 133.0


def test_where_others_may_be_taken_the_next_batch_is_tried_at_once_and_only_once(delivery, endpoint, now):
    refusing(endpoint, "a")
    waits = []
    for _ in range(2):
        delivery.send(items_of("a"))
        waits.append(delivery.not_before > 0)

    assert (waits, delivery.may_take_others) == ([False, True], True)


def test_an_endpoint_is_silent_until_it_answers(delivery, endpoint):
    def refuses(_names):
        endpoint.status.is_silent = True
        return "no answer"

    silences = [delivery.is_silent]
    endpoint.refuses = refuses
    delivery.send(items_of("a"))
    silences.append(delivery.is_silent)
    endpoint.refuses = lambda names: None
    delivery.send(items_of("a"))

    assert [*silences, delivery.is_silent] == [False, True, False]


def test_what_is_in_no_file_is_halved_too(delivery, endpoint, losses):
    endpoint.refuses = lambda batch: "bad" if "b" in batch else None
    items = items_of("abcd")
    while items:
        tried, is_done = delivery.send_records(items)
        del items[: tried if is_done else 0]

    assert ["".join(batch) for batch in endpoint.asked] == ["abcd", "ab", "a", "bc", "b", "c", "d"]
    assert (endpoint.names, losses) == (["a", "c", "d"], {"rejected": 1})


def test_what_is_in_no_file_holds_up_no_file_and_the_other_way_round(delivery, endpoint, now):
    refusing(endpoint, "a")
    tries = [delivery.send_records(items_of("ab")) for _ in range(3)]
    size = sizes_of(delivery, items_of("abcdef"))

    assert (tries, len(endpoint.asked)) == ([(2, False), (1, False), (0, False)], 2)
    assert (delivery.not_before, delivery.records_not_before > now[0], size) == (0.0, True, 4)

    delivery.try_once_more()
    delivery.halve(items_of("ab"))
    endpoint.refuses = lambda names: None

    assert delivery.send_records(items_of("abcdef")) == (1, True)
    assert delivery.send_records(items_of("bcdef")) == (2, True)
    assert sizes_of(delivery, items_of("abcdef")) == 1


def test_a_dead_endpoint_is_not_asked_about_what_is_in_no_file_either(delivery, endpoint, now):
    endpoint.refuses = lambda names: "HTTP 503"
    delivery.send(items_of("a"))

    assert delivery.send_records(items_of("b")) == (0, False)
    assert endpoint.asked == [["a"]]


@pytest.fixture
def grpc_receiver(monkeypatch):
    with GrpcReceiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        yield receiver


def test_what_a_collector_says_in_the_words_of_its_own_exporter_is_no_loss(grpc_receiver, folder):
    import grpc

    grpc_receiver.code, grpc_receiver.details = grpc.StatusCode.INTERNAL, "the backend answered 401"
    processor = SpoolSpanProcessor(folder)
    tracer = provider_with(processor)
    for _ in range(5):
        tracer.start_span("kept").end()
    for _ in range(4):
        processor._spool._shipper.try_once_more()
        processor.force_flush()
    dropped = dict(processor.dropped)
    grpc_receiver.code = None
    grpc_receiver.trace_requests.clear()
    processor._spool._shipper.try_once_more()
    processor.force_flush()
    processor.shutdown()

    assert dropped == {}
    assert counts_of(grpc_receiver) == {"kept": 5}
    assert processor.account == ("traces", "SpoolSpanProcessor", 5, 5, {})
