"""What is forgotten is gone from the disk, and nothing else is."""

import pytest

from otelflow_exporters._store.forgetting import Forgotten, forget_everything, forget_spans
from otelflow_exporters._store.ownership import open_store, segment_files
from otelflow_exporters._store.reader import StoredTraces
from otelflow_exporters.store import StoreSpanExporter


@pytest.fixture
def stored(program, tmp_path):
    """Store traces, each in a segment of its own that nobody writes any more, and return their ids."""

    def store(*names):
        ids = []
        for name in names:
            exporter = StoreSpanExporter(tmp_path)
            spans = program.trace(name)
            exporter.export(spans)
            exporter.shutdown()
            ids.append(spans[0].context.trace_id.to_bytes(16, "big"))
        return ids

    return store


def names_in(directory):
    return sorted(trace.name for trace in StoredTraces(directory).summaries())


def test_a_segment_goes_when_nothing_is_left_in_it_and_the_others_stay(stored, tmp_path):
    first, _ = stored("flow first", "flow second")

    with open_store(tmp_path) as store:
        forgotten = forget_spans(store, segment_files(store), {first})

    assert forgotten == Forgotten(1, 3)
    assert names_in(tmp_path) == ["flow second"]
    assert len(list(tmp_path.glob("*.otlp"))) == 1


def test_a_segment_with_damage_in_it_stays_for_whoever_can_read_it(stored, tmp_path):
    (trace_id,) = stored("flow first")
    (segment,) = tmp_path.glob("*.otlp")
    segment.write_bytes(segment.read_bytes() + b"damage")

    with open_store(tmp_path) as store:
        forget_spans(store, segment_files(store), {trace_id})
    assert names_in(tmp_path) == []
    assert segment.read_bytes().endswith(b"damage")

    with open_store(tmp_path) as store:
        forget_everything(store, segment_files(store))
    assert not segment.exists()


@pytest.mark.parametrize("forget_all", [True, False])
def test_a_segment_that_another_process_has_removed_meanwhile_is_no_trouble(stored, tmp_path, forget_all):
    ids = stored("flow first", "flow second")

    with open_store(tmp_path) as store:
        files = segment_files(store)
        (tmp_path / files[0].name).unlink()
        forgotten = forget_everything(store, files) if forget_all else forget_spans(store, files, set(ids))

    assert forgotten == Forgotten(1, 3)
    assert list(tmp_path.glob("*.otlp")) == []
