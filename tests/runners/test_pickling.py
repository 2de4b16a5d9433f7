"""Exceptions travel as themselves where it can be done, with cause and context, and else as a stand-in."""

import pickle
import threading

import pytest

from otelflow.runners import _pickling


class KeywordOnly(Exception):
    def __init__(self, text, *, code):
        super().__init__(text)
        self.code = code


class OtherText(Exception):
    def __init__(self, name):
        super().__init__(f"no {name}")


class Unwilling(Exception):
    def __reduce__(self):
        raise LookupError("stays here")


class Misleading(Exception):
    def __reduce__(self):
        return eval, ("1/0",)


def arrived(value):
    return pickle.loads(_pickling.dumps(value))


def raised(error, cause):
    try:
        try:
            raise cause
        except type(cause) as above:
            raise error from above
    except type(error) as trouble:
        return trouble


@pytest.fixture(params=[True, False], ids=["cloudpickle", "pickle"], autouse=True)
def pickled(request, monkeypatch):
    if request.param:
        pytest.importorskip("cloudpickle")
    monkeypatch.setattr(_pickling, "has_cloudpickle", lambda: request.param)


def test_cause_context_and_notes_arrive():
    error = raised(ValueError("no"), KeyError("key"))
    error.add_note("note")

    copy = arrived(error)
    assert (type(copy), copy.args, copy.__notes__) == (ValueError, ("no",), ["note"])
    assert (type(copy.__cause__), copy.__cause__.args) == (KeyError, ("key",))
    assert copy.__context__ is copy.__cause__
    assert copy.__suppress_context__ is True


def test_an_exception_whose_init_asks_for_more_than_python_keeps_arrives_whole():
    keyword, other = arrived([KeywordOnly("no", code=3), OtherText("key")])

    assert (type(keyword), str(keyword), keyword.code) == (KeywordOnly, "no", 3)
    assert (type(other), str(other)) == (OtherText, "no key")


def test_an_attribute_that_cannot_travel_is_a_text():
    error = FileNotFoundError(2, "No such file", "rows.csv")
    error.lock = lock = threading.Lock()

    copy = arrived(error)
    assert (type(copy), copy.errno, copy.filename) == (FileNotFoundError, 2, "rows.csv")
    assert copy.lock == str(lock)


def test_each_exception_of_a_group_travels_as_it_can():
    group = ExceptionGroup("some", [raised(KeywordOnly("no", code=3), KeyError()), Unwilling("x")])

    copy = arrived(group)
    assert type(copy) is ExceptionGroup
    assert [type(error) for error in copy.exceptions] == [KeywordOnly, RuntimeError]
    assert type(copy.exceptions[0].__cause__) is KeyError


@pytest.mark.parametrize("kind", [Unwilling, Misleading])
def test_a_class_that_says_itself_how_it_is_pickled_and_cannot_has_a_stand_in_with_its_text_and_cause(kind):
    copy = arrived(raised(kind("x"), KeyError()))

    assert (type(copy), str(copy)) == (RuntimeError, f"{kind.__name__}: x")
    assert type(copy.__cause__) is KeyError


def test_the_same_exception_is_one_after_the_journey_also_in_a_ring():
    error, other = ValueError("a"), ValueError("b")
    error.__context__, other.__context__ = other, error

    first, second, again = arrived([error, other, error])
    assert again is first
    assert first.__context__ is second
    assert second.__context__ is first


def test_an_exception_inside_of_a_value_travels_as_well():
    (copy,) = arrived({"errors": [raised(KeywordOnly("no", code=3), KeyError())]})["errors"]

    assert (type(copy), copy.code, type(copy.__cause__)) == (KeywordOnly, 3, KeyError)
