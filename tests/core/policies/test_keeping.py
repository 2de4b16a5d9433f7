"""What one task wants kept: where, and what is said of what cannot be."""

import logging

import pytest

from otelflow import semconv
from otelflow._core.policies.cache_keys import CachePolicy
from otelflow._core.policies.keeping import Keeping, link
from otelflow._core.process import process
from otelflow._core.results.serializers import serializer_of
from otelflow._core.results.storage import FolderStorage, MemoryStorage, default_storage
from otelflow._core.runs.endings import SUCCESS
from otelflow._core.runs.engine import close_run
from otelflow.errors import ResultNotStorable
from support.flows import opened
from support.storages import FarStorage


def keeping_in(storage):
    return Keeping(
        "load", CachePolicy(), storage, serializer_of("load", None), None, is_persisted=True, is_refreshed=False
    )


@pytest.fixture
def memory():
    return MemoryStorage()


@pytest.fixture
def new_run():
    runs = []

    def new_run():
        runs.append(opened("load"))
        return runs[-1]

    yield new_run
    for run in reversed(runs):
        close_run(run, SUCCESS)


def test_its_own_storage_comes_before_that_of_the_flow_and_the_default(memory):
    of_flow = MemoryStorage()

    assert keeping_in(memory).storage(of_flow) is memory
    assert keeping_in(None).storage(of_flow) is of_flow
    assert keeping_in(None).storage() is default_storage()


def test_only_what_may_take_long_is_called_in_a_thread(memory, tmp_path):
    storages = (None, memory, FolderStorage(tmp_path), FarStorage())
    assert [keeping_in(storage).is_remote() for storage in storages] == [False, False, False, True]
    assert [keeping_in(storage).is_remote(FarStorage()) for storage in storages] == [True, False, False, True]


def test_what_was_written_is_read_with_the_run_that_it_is_from(memory, spans, new_run):
    keeping, run = keeping_in(memory), new_run()

    assert keeping.write(memory, run, "a" * 64, (1, 2))

    record = keeping.read(memory, "a" * 64)
    context = run.span.get_span_context()
    assert (record.value, record.trace_id, record.span_id) == ((1, 2), context.trace_id, context.span_id)
    assert keeping.read(memory, "b" * 64) is None


def test_without_a_span_there_is_nothing_to_lead_to(memory, new_run):
    keeping = keeping_in(memory)

    keeping.write(memory, new_run(), "a" * 64, 1)

    assert keeping.read(memory, "a" * 64).trace_id == 0


def test_each_kind_of_trouble_is_said_once(memory, new_run, caplog):
    keeping = keeping_in(memory)

    for _ in range(3):
        assert not keeping.write(memory, new_run(), "a" * 64, object())
        memory.write("a" * 64, b"something else")
        assert keeping.read(memory, "a" * 64) is None
        keeping.keep_nothing(ResultNotStorable("['page']", "is no value"))
        keeping.keep_nothing(ZeroDivisionError("x"))

    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [warning.partition(": ")[2].partition(",")[0] for warning in warnings] == [
        "Nothing is kept of what it returns",
        f"What is kept in the memory of this process as {'a' * 64} cannot be used",
        "It runs as if nothing were kept: of its inputs no key can be made",
        "It runs as if nothing were kept: ZeroDivisionError: x (said once)",
    ]
    assert keeping.is_useless


def test_trouble_of_many_tasks_silences_no_other_kind_of_it(memory, caplog):
    for number in range(110):
        keeping = keeping_in(memory)
        keeping.owner = f"load {number}"
        keeping.keep_nothing(ZeroDivisionError("x"))
    keeping.keep_nothing(OSError("the disk is full"))

    assert "OSError: the disk is full" in caplog.messages[-1]
    assert len(caplog.messages) == 101


def test_who_takes_a_value_is_linked_to_the_run_that_it_is_from(memory, spans, new_run):
    keeping = keeping_in(memory)
    first = new_run()
    keeping.write(memory, first, "key", 1)
    record = keeping.read(memory, "key")
    second = new_run()
    link(second, record, "cache")

    (found,) = second.span.links
    origin = first.span.get_span_context()
    assert (found.context.trace_id, found.context.span_id) == (origin.trace_id, origin.span_id)
    assert found.context.trace_flags == origin.trace_flags
    assert dict(found.attributes) == {semconv.LINK_REASON: "cache"}


def test_what_cannot_be_kept_is_said_with_the_cure_unless_that_was_tried(memory, new_run, caplog):
    class Odd:
        def __reduce__(self):
            raise TypeError("no")

    def said_of(serializer):
        caplog.clear()
        keeping = Keeping(
            "load",
            CachePolicy(),
            memory,
            serializer_of("load", serializer),
            None,
            is_persisted=True,
            is_refreshed=False,
        )
        assert keeping.write(memory, new_run(), "key", Odd()) is False
        assert keeping.is_useless
        return " ".join(caplog.messages)

    assert "give result_serializer='pickle'" in said_of("json")
    process.reset()
    assert "give result_serializer" not in said_of("pickle")


def test_a_storage_that_raises_keeps_nothing_and_breaks_nothing(new_run, caplog):
    class Broken(MemoryStorage):
        def write(self, key, content):
            raise ZeroDivisionError("odd")

    storage = Broken()
    keeping = keeping_in(storage)

    assert keeping.write(storage, new_run(), "key", 1) is False
    assert "ZeroDivisionError: odd" in caplog.text
