"""Serializers by name, and those of the user's."""

import pickle
import zlib

import pytest

from otelflow._core.results import serializers
from otelflow._core.results.serializers import serializer_of
from otelflow.errors import ConfigurationError, ResultNotStorable, ResultUnreadable


class Text:
    """A serializer of a user's."""

    name = "text"

    def dumps(self, value):
        return value.encode()

    def loads(self, content):
        return content.decode()


@pytest.mark.parametrize("name", ["json", "pickle", "compressed/json", "compressed/pickle"])
def test_each_brings_back_what_it_was_given(name):
    value = {"rows": [1, (2, 3)], "name": "ä" * 1_000}
    serializer = serializer_of("load", name)

    assert serializer.name == name
    assert serializer.loads(serializer.dumps(value)) == value


def test_json_is_taken_where_nothing_is_asked_for_and_an_object_as_it_is():
    own = Text()

    assert serializer_of("load", None).name == "json"
    assert serializer_of("load", own) is own


def test_compressed_values_take_less_room_and_no_more_memory_than_is_allowed(monkeypatch):
    serializer = serializer_of("load", "compressed/json")
    content = serializer.dumps("a" * 1_000_000)
    assert len(content) < 10_000

    monkeypatch.setattr(serializers, "LARGEST", 1_000)
    with pytest.raises(ResultUnreadable, match="cut off, or too large"):
        serializer.loads(content)
    with pytest.raises(ResultUnreadable, match="cut off, or too large"):
        serializer.loads(zlib.compress(b"[1]" * 100)[:-5])


def test_a_value_that_cannot_be_pickled_is_one_kind_of_error():
    with pytest.raises(ResultNotStorable, match=r"the value cannot be pickled: .*lambda"):
        serializer_of("load", "pickle").dumps(lambda: 1)


def test_json_reads_no_pickle():
    with pytest.raises(ResultUnreadable):
        serializer_of("load", "json").loads(pickle.dumps([1]))


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("jsn", "^load: there is no result_serializer 'jsn'; did you mean 'json'"),
        ("", "^load: there is no result_serializer ''"),
        (3, r"^load: result_serializer must be one of 'json', .*, or an object with name, dumps\(\) and "),
        (Text, "^load: result_serializer must be one of 'json'"),
        (pickle, "^load: result_serializer must be one of 'json'"),
    ],
)  # fmt: skip
def test_what_is_no_serializer_is_refused_with_the_names_of_those_there_are(choice, message):
    with pytest.raises(ConfigurationError, match=message):
        serializer_of("load", choice)
