"""A list that keeps its ends and what is important between them, and counts the rest."""

import pytest

from otelflow._core.runs.bounded import BoundedLog, Bounds


def log_of(numbers, head=2, tail=4, important=3):
    """Return a log of *numbers*, of which those that ten divides are important."""
    log = BoundedLog(Bounds(head, tail, important, lambda number: number % 10 == 0))
    for number in numbers:
        log.append(number)
    return log


def test_the_first_and_the_last_are_kept_and_of_the_important_ones_between_them_the_first():
    log = log_of(range(1, 100))

    assert list(log) == [1, 2, 10, 20, 30, 96, 97, 98, 99]
    assert log.omitted == 90


@pytest.mark.parametrize("count", range(10))
def test_whatever_number_came_nothing_is_lost_uncounted(count):
    log = log_of(range(1, count + 1))

    assert list(log) == [*range(1, count + 1)][:2] + [*range(3, count + 1)][-4:]
    assert log.omitted == max(0, count - 6)
    assert len(log) + log.omitted == count


def test_it_leaves_out_some_at_a_time_and_so_holds_a_quarter_of_its_tail_besides_at_most():
    log = log_of(range(1, 8))
    assert len(log._items) == 2 + 5

    log.append(8)
    assert len(log._items) == 2 + 4


def test_items_that_were_not_even_added_are_counted_with_the_others():
    log = log_of(range(1, 8))
    log.leave_out(5)
    log.leave_out(2)

    assert log.omitted == 8


def test_it_reads_like_the_list_that_it_is():
    log = log_of(range(1, 8))

    assert (log[0], log[-1], log[1:3]) == (1, 7, [2, 4])
    assert log == [1, 2, 4, 5, 6, 7] == log_of(range(1, 8))
    assert log != log_of(range(1, 9))
    assert repr(log) == "[1, 2, 4, 5, 6, 7] (+1 omitted)"
    assert repr(log_of([1])) == "[1]"
