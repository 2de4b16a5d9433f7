"""What is said beside a mistake: the name that was meant, and where it was made."""

import json

import pytest

import otelflow
from otelflow._core.text.hints import in_words, nearest, place_of, question, quotes_in, suggestion
from otelflow._core.text.safe_str import error_text


def test_the_nearest_name_is_named_and_a_far_one_is_not():
    assert nearest("log_to_consol", ["log_to_console", "print_logs"]) == "log_to_console"
    assert nearest("zebra", ["log_to_console", "print_logs"]) is None
    assert nearest("zebra", []) is None


@pytest.mark.parametrize(
    ("name", "names", "sentence"),
    [
        ("spam", {"span", "log"}, "; did you mean 'span'?"),
        ("zebra", {"span", "log"}, "; known: log, span"),
        ("zebra", set(), ""),
    ],
)
def test_a_suggestion_is_the_nearest_name_or_all_of_them(name, names, sentence):
    assert suggestion(name, names) == sentence


def test_the_place_of_an_error_is_in_the_users_own_code():
    with pytest.raises(ValueError, match="not JSON") as caught:
        json.loads("{", cls=Refusing)
    with pytest.raises(otelflow.errors.ConfigurationError) as ours:
        otelflow.Flow_Run__Config(print_log=True)

    assert place_of(caught.value).startswith(f"{__file__}:")
    assert place_of(ours.value).startswith(f"{__file__}:")
    assert place_of(ValueError("never raised")) == ""


def test_the_place_of_an_error_of_a_library_is_the_line_that_has_called_it_or_else_its_own():
    with pytest.raises(json.JSONDecodeError) as caught:
        json.loads("{")
    error = caught.value
    whole = place_of(error)
    error.__traceback__ = error.__traceback__.tb_next  # as one that was raised in a thread of the library

    assert whole.startswith(f"{__file__}:")
    assert place_of(error).startswith(json.decoder.__file__)


class Refusing:
    def __init__(self, **_):
        pass

    def decode(self, text):
        raise ValueError("not JSON")


def test_an_exception_without_a_text_is_its_type_alone():
    assert error_text("ValueError", "no number") == "ValueError: no number"
    assert error_text("ValueError", "") == "ValueError"


@pytest.mark.parametrize(
    ("value", "inner"),
    [
        ('"on"', "on"),
        ("'a b'", "a b"),
        ('""', ""),
        ("''", ""),
        ('"', None),
        ("on", None),
        ("\"on'", None),
        ("on'", None),
    ],
)
def test_a_value_in_quotes_is_told_to_lose_them(value, inner):
    cure = "" if inner is None else f": the quotes are a part of it; write {inner} without them"

    assert quotes_in(value) == cure


def test_a_question_names_what_was_meant_and_never_all_names():
    assert question("spam", {"span", "log"}) == "; did you mean 'span'?"
    assert question("zebra", {"span", "log"}) == ""


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        ([str], "a text"),
        ([str, type(None)], "a text or None"),
        ([bool], "True or False"),
        ([int, bool, type(None)], "a whole number, True, False or None"),
        ([Refusing, otelflow.Task], "a Refusing or a Task"),
        ([OSError], "an OSError"),
    ],
)
def test_what_fits_is_said_as_a_user_calls_it(kinds, words):
    assert in_words(kinds) == words
