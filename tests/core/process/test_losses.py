"""What was lost is counted each time and said once."""

import logging

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


def test_a_program_that_never_says_the_same_twice_does_not_fill_the_memory(warnings):
    for number in range(3_000):
        losses.warn_once(f"warning {number}", "x")

    assert len(warnings()) == 1_000
