"""What another process can have of a value."""

import copyreg
import threading

import pytest

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


def test_a_container_in_which_nothing_changes_stays_the_very_object_and_keeps_its_class():
    lock = threading.Lock()
    values = [(1, [2]), [(1,), {"a": 2}], {"a": [1, ("b",)]}, {}, []]

    assert [portable(value) is value for value in values] == [True] * 5
    assert portable((lock, 1)) == (str(lock), 1)
    assert portable({"a": lock, "b": 1}) == {"a": str(lock), "b": 1}


def test_a_text_in_the_place_of_a_value_is_bounded_and_hides_secrets():
    class Long:
        __reduce__ = Hostile.__reduce__

        def __str__(self):
            return "password=hunter2hunter2 " + "x" * 2_000

    text = portable(Long())

    assert len(text) < 1_100
    assert text.endswith(" characters]")
    assert "hunter2" not in text


def test_ctrl_c_while_a_value_is_written_comes_out():
    class Interrupted:
        def __reduce__(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        portable([Interrupted()])


class Refused(Exception):
    pass


def test_an_exception_travels_without_its_causes_where_pickle_is_made_to_follow_too_many(monkeypatch):
    # As tblib's pickling_support.install() does it, which Dask calls.
    monkeypatch.setitem(
        copyreg.dispatch_table, Refused, lambda error: (Refused, error.args, {"__cause__": error.__cause__})
    )
    first = above = Refused("no 1")
    first.place = "here"
    for place in range(5_000):
        above.__cause__ = Refused(place)
        above = above.__cause__

    alone = portable(first)

    assert (type(alone), alone.args, alone.place, alone.__cause__) == (Refused, ("no 1",), "here", None)
    assert first.__cause__ is not None
