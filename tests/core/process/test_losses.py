"""What was lost is counted each time and said once."""

import logging
import os

import pytest

from otelflow._core.process import losses, process


@pytest.fixture
def warnings(caplog):
    caplog.set_level(logging.WARNING, "otelflow")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "otelflow"]


def test_a_loss_is_counted_each_time_and_said_once(warnings):
    for number in range(3):
        losses.record("traces", "queue_full", "A queue is full (%s)", number, count=2)

    assert losses.dropped == {("traces", "queue_full"): 6}
    assert warnings() == ["A queue is full (0)"]


def test_losses_with_keys_of_their_own_are_said_once_each(warnings):
    for name in ("one", "two", "one"):
        losses.record("artifacts", "run_ended", "Artifact %s came late", name, key=name)

    assert warnings() == ["Artifact one came late", "Artifact two came late"]


def test_two_messages_of_one_reason_are_both_said(warnings):
    losses.record("traces", "start_failed", "The sampler raised")
    losses.record("traces", "start_failed", "The processor raised")

    assert warnings() == ["The sampler raised", "The processor raised"]


def test_a_reset_counts_from_0_and_says_everything_again(warnings):
    dropped = losses.dropped
    losses.record("traces", "queue_full", "A queue is full")
    losses.listener_failed("Ear", ValueError())

    process.reset()
    losses.record("traces", "queue_full", "A queue is full")

    assert warnings().count("A queue is full") == 2
    assert (losses.dropped is dropped, dict(dropped), losses.listener_errors) == (
        True,
        {("traces", "queue_full"): 1},
        {},
    )


def test_losses_are_counted_by_signal_and_reason():
    before = losses.dropped.copy()

    losses.lost("traces", "of_this_test")
    losses.lost("traces", "of_this_test", 5)
    losses.lost("logs", "of_this_test")

    assert losses.dropped - before == {("traces", "of_this_test"): 6, ("logs", "of_this_test"): 1}


def test_a_warning_is_logged_once_for_each_key_with_its_error(warnings_said):
    error = ValueError("the reason")

    losses.warn_once("first", "%s is lost", "a span", error=error)
    losses.warn_once("first", "%s is lost", "another span")
    losses.warn_once("second", "much is lost")

    assert [record.getMessage() for record in warnings_said.records] == ["a span is lost", "much is lost"]
    assert warnings_said.records[0].exc_info[1] is error
    assert {record.name for record in warnings_said.records} == {"otelflow"}


def test_a_program_that_fails_in_a_loop_is_not_drowned_in_warnings(warnings_said):
    for number in range(1_100):
        losses.warn_once(f"key {number}", "again %d", number)

    texts = [record.getMessage() for record in warnings_said.records]
    assert len(texts) == 100
    assert (texts[98], texts[99]) == ("again 98", "again 99 (no more warnings of this kind are logged)")


def test_many_warnings_of_one_kind_do_not_silence_another(warnings_said):
    for number in range(2_000):
        losses.warn_once(f"key {number}", "again %d", number)
    losses.warn_once("another", "the disk is full")
    losses.warn_once("another", "the disk is full")

    assert [record.getMessage() for record in warnings_said.records][100:] == ["the disk is full"]


def test_what_is_only_a_frame_for_sentences_has_as_many_kinds_as_they(warnings_said):
    for number in range(150):
        losses.warn_once(f"key {number}", "%s (ignored)", number, kind="numbers")
    losses.warn_once("the disk is full", "%s (ignored)", "the disk is full", kind="disks")

    texts = [record.getMessage() for record in warnings_said.records]
    assert len(texts) == 101
    assert texts[100] == "the disk is full (ignored)"


def test_sentences_without_end_are_kept_in_bounded_memory(warnings_said):
    for number in range(1_200):
        losses.warn_once("key", f"sentence {number}")
    for number in range(1_200):
        losses.warn_once(f"key {number}", f"sentence {number + 1_200}")

    assert len(warnings_said.records) == 1_000 + 100


def test_each_exception_of_a_listener_is_counted_and_one_of_a_kind_is_logged(warnings_said):
    before = losses.listener_errors.copy()

    for error in (ValueError("one"), ValueError("two"), KeyError("three")):
        losses.listener_failed("Ear", error)

    assert losses.listener_errors - before == {"Ear": 3}
    assert [type(record.exc_info[1]) for record in warnings_said.records] == [ValueError, KeyError]


def test_a_handler_that_raises_is_not_heard_of(warnings_said):
    class Broken(logging.Handler):
        def emit(self, record):
            raise RuntimeError("broken logging")

    handler = Broken()
    losses.logger.addHandler(handler)
    try:
        losses.warn_once("key", "something")
    finally:
        losses.logger.removeHandler(handler)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_counts_what_it_loses_itself_and_says_nothing_again(warnings):
    losses.record("traces", "queue_full", "A queue is full")
    losses.listener_failed("Ear", ValueError())
    reader, writer = os.pipe()

    child = os.fork()
    if not child:
        losses.record("traces", "queue_full", "A queue is full", count=3)
        answer = [*losses.dropped.items(), *losses.listener_errors.items(), warnings().count("A queue is full")]
        os.write(writer, repr(answer).encode())
        os._exit(0)
    os.waitpid(child, 0)

    assert os.read(reader, 1_000).decode() == "[(('traces', 'queue_full'), 3), 1]"
    assert losses.dropped == {("traces", "queue_full"): 1}
    os.close(reader)
    os.close(writer)
