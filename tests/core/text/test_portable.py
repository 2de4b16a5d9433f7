"""What another process can have of a value."""

import threading

from otelflow._core.text.portable import portable


class TwoArguments(Exception):
    def __init__(self, name, number):
        super().__init__(f"{name} {number}")


class Hostile:
    def __reduce__(self):
        raise SystemExit(3)

    def __str__(self):
        return "hostile"


def test_what_pickle_takes_stays_the_very_object():
    error = ValueError("x")
    for value in (1, "x", [1, {"a": (2,)}], {3}, error, len):
        assert portable(value) is value


def test_what_pickle_refuses_is_a_text_also_inside_of_containers():
    lock = threading.Lock()

    assert portable([1, {"a": (lock, 2)}, Hostile()]) == [1, {"a": (str(lock), 2)}, "hostile"]


def test_an_exception_that_cannot_be_made_anew_stays_an_exception_with_its_text():
    error = portable(TwoArguments("no", 7))

    assert (type(error), str(error)) == (RuntimeError, "TwoArguments: no 7")
