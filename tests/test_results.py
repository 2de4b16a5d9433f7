"""What is kept can be read by its key, and forgotten."""

import os
from datetime import timedelta
from pathlib import Path

import pytest
from opentelemetry.trace import format_trace_id

from otelflow import flow, semconv, task
from otelflow.errors import ConfigurationError, ResultUnreadable
from otelflow.results import MemoryStorage, forget, load

TRACES = {}


@task(persist_result=True)
def step(number):
    return number


@flow(persist_result=True)
def nightly(number):
    return step(number)


@pytest.fixture
def keys(spans):
    """The keys of the values of two runs, by what they returned; in TRACES the ids of their traces."""
    for number in (1, 2):
        nightly(number).execute()
        TRACES[number] = format_trace_id(spans.named("task step")[-1].context.trace_id)
    return {number: span.attributes[semconv.RUN_STORED_KEY] for number, span in enumerate(spans.named("task step"), 1)}


def readable(keys):
    values = []
    for key in keys.values():
        try:
            values.append(load(key))
        except ResultUnreadable:
            values.append(None)
    return values


def test_a_value_is_read_by_its_key(keys):
    assert readable(keys) == [1, 2]


@pytest.mark.parametrize("key", ["", "0" * 64, "../../../etc/passwd", "a" * 63 + "/", "x" * 10_000, "\0" * 64])
def test_a_key_of_nothing_is_one_clear_error(key):
    with pytest.raises(
        ResultUnreadable, match=r"^Nothing is kept in FolderStorage.* it could not be kept, was forgotten, or is"
    ):
        load(key)


def test_what_another_serializer_has_written_is_not_read(keys):
    with pytest.raises(
        ResultUnreadable, match="written with result_serializer='json': read it with that, not 'pickle'"
    ):
        load(keys[1], result_serializer="pickle")
    with pytest.raises(ConfigurationError, match=r"^load\(\): there is no result_serializer 'jsn'"):
        load(keys[1], result_serializer="jsn")


def test_values_are_read_where_they_are(keys):
    with pytest.raises(ResultUnreadable, match=r"^Nothing is kept in the memory of this process"):
        load(keys[1], result_storage=MemoryStorage())


def test_what_is_from_one_trace_is_forgotten_and_the_rest_stays(keys):
    assert forget(TRACES[1].upper()) == 3  # of the task, of the flow, and how far it came

    assert readable(keys) == [None, 2]
    assert forget("0" * 32) == 0


def test_what_is_old_is_forgotten_and_then_all(keys):
    folder = Path(os.environ["XDG_STATE_HOME"], "otelflow", "results")
    os.utime(folder / keys[1], (1, 1))

    assert forget(older_than=timedelta(hours=1)) == 1
    assert readable(keys) == [None, 2]
    assert forget() == 5
    assert list(folder.iterdir()) == []


def test_what_is_no_key_or_no_length_of_time_is_refused():
    for key in (None, 5, b"0" * 64, "0" * 63):
        with pytest.raises(ResultUnreadable, match=r"^Nothing is kept"):
            load(key, result_storage=MemoryStorage())
    with pytest.raises(ConfigurationError, match=r"^forget\(\): older_than must be a timedelta, not 5$"):
        forget(older_than=5)
