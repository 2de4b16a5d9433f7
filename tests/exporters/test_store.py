import logging
import os
import signal
import stat
import subprocess
import sys
import textwrap
from datetime import timedelta
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export import SpanExportResult

from otelflow.errors import ConfigurationError
from otelflow_exporters._store.reader import StoredTraces
from otelflow_exporters.store import StoreSpanExporter

EVER = timedelta(days=36_500)
SUCCESS, FAILURE = SpanExportResult.SUCCESS, SpanExportResult.FAILURE
ROOT = Path(__file__).parents[2]


def start(program, *arguments, **environment):
    """Start *program* in a Python that finds this checkout, and return the process."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "exporters"), str(Path(__file__).parent)])
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return output


def spans_in(directory):
    return sum(summary.span_count for summary in StoredTraces(directory).summaries())


def test_spans_are_stored_in_private_files_and_read_back(program, tmp_path):
    exporter = StoreSpanExporter(tmp_path / "store")

    assert exporter.export(program.trace()) is SUCCESS

    assert spans_in(tmp_path / "store") == 3
    assert stat.S_IMODE((tmp_path / "store").stat().st_mode) == 0o700
    assert [stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "store").iterdir()] == [0o600] * 2
    assert exporter.dropped == 0


def test_nothing_is_touched_before_the_first_span(tmp_path):
    exporter = StoreSpanExporter(tmp_path / "store")
    exporter.export([])
    exporter.shutdown()

    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("word", ["off", "OFF", "false", "0", "no", "none"])
def test_off_stores_nothing_and_loses_nothing(monkeypatch, program, tmp_path, word):
    monkeypatch.setenv("OTELFLOW_STORE", word)
    exporter = StoreSpanExporter()

    assert exporter.export(program.trace()) is SUCCESS
    assert exporter.force_flush()
    exporter.shutdown()

    assert (exporter.directory, exporter.payloads, exporter.dropped) == (None, None, 0)


@pytest.mark.parametrize("word", ["on", "true", "1", ""])
def test_on_is_the_folder_of_the_platform(monkeypatch, tmp_path, word):
    monkeypatch.setenv("OTELFLOW_STORE", word)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    assert StoreSpanExporter().directory == tmp_path / "otelflow" / "traces"
    assert StoreSpanExporter(tmp_path / "on").directory == tmp_path / "on"
    assert list(tmp_path.iterdir()) == []


def test_a_bad_variable_is_one_clear_error_at_construction(monkeypatch):
    monkeypatch.setenv("OTELFLOW_STORE_MAX_BYTES", "plenty")

    with pytest.raises(ConfigurationError, match="OTELFLOW_STORE_MAX_BYTES='plenty'"):
        StoreSpanExporter()


def test_a_path_below_a_file_fails_without_raising_and_warns_once(program, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    exporter = StoreSpanExporter(tmp_path / "file" / "store")

    with caplog.at_level(logging.WARNING):
        results = [exporter.export(program.trace()) for _ in range(3)]

    assert results == [FAILURE] * 3
    assert exporter.dropped == 9
    assert len(caplog.records) == 1
    assert "OTELFLOW_STORE" in caplog.text


def test_a_store_that_is_deleted_while_the_program_runs_is_made_again(program, tmp_path):
    exporter = StoreSpanExporter(tmp_path / "store")
    exporter.export(program.trace())
    for file in (tmp_path / "store").iterdir():
        file.unlink()
    (tmp_path / "store").rmdir()

    assert exporter.export(program.trace()) is SUCCESS

    assert spans_in(tmp_path / "store") == 3


def test_a_span_that_cannot_be_encoded_costs_no_other_span(program, tmp_path):
    with program.span("good"), program.span("nameless") as span:
        span.update_name(7)
    exporter = StoreSpanExporter(tmp_path)

    assert exporter.export(program.done()) is FAILURE

    assert [one.name for one in StoredTraces(tmp_path).summaries()] == ["good"]
    assert exporter.dropped == 1


@pytest.mark.parametrize("name", ["half", "half \ud800"])
def test_half_a_character_costs_nothing_of_a_span_wherever_it_stands(program, tmp_path, caplog, name):
    with program.span("good"), program.span(name, attributes={"key \ud800": ["\ud800"]}) as span:
        span.add_event("event \ud800", {"text": "\ud800"})
    exporter = StoreSpanExporter(tmp_path)

    assert exporter.export(program.done()) is SUCCESS

    (trace,) = (StoredTraces(tmp_path).load(summary.trace_id) for summary in StoredTraces(tmp_path).summaries())
    (half,) = (span for span in trace.spans if span.name != "good")
    assert half.name == name.replace("\ud800", "\\ud800")
    assert caplog.records == []
    assert half.attributes == {"key \\ud800": ["\\ud800"]}
    assert [(event.name, dict(event.attributes)) for event in half.events] == [("event \\ud800", {"text": "\\ud800"})]


def test_a_span_that_is_larger_than_any_record_is_counted_and_costs_no_other_span(program, tmp_path, monkeypatch):
    monkeypatch.setattr("otelflow_exporters.store.LARGEST_RECORD", 1_000)
    with program.span("small"), program.span("large", attributes={"text": "x" * 1_000}):
        pass
    exporter = StoreSpanExporter(tmp_path)

    assert exporter.export(program.done()) is FAILURE

    assert [one.name for one in StoredTraces(tmp_path).summaries()] == ["small"]
    assert exporter.dropped == 1


def test_spans_after_shutdown_are_counted(program, tmp_path):
    exporter = StoreSpanExporter(tmp_path)
    exporter.shutdown()
    exporter.shutdown()

    assert exporter.export(program.trace()) is FAILURE
    assert exporter.dropped == 3


def test_the_oldest_segments_go_when_the_store_is_full(program, tmp_path):
    exporter = StoreSpanExporter(tmp_path, max_bytes=20_000)

    for number in range(200):
        assert exporter.export(program.trace(f"flow {number}")) is SUCCESS

    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 20_000
    names = [one.name for one in StoredTraces(tmp_path).summaries()]
    assert names == [f"flow {number}" for number in range(199, 199 - len(names), -1)]
    assert len(names) > 5


def test_segments_that_are_too_old_go_when_the_next_one_begins(program, tmp_path):
    old = StoreSpanExporter(tmp_path)
    old.export(program.trace("flow old"))
    old.shutdown()
    for file in tmp_path.iterdir():
        os.utime(file, (1, 1))

    StoreSpanExporter(tmp_path, max_age=timedelta(days=1)).export(program.trace("flow new"))

    assert [one.name for one in StoredTraces(tmp_path).summaries()] == ["flow new"]


def test_a_segment_that_is_being_written_stays_however_old_and_big_it_is(program, tmp_path):
    living = StoreSpanExporter(tmp_path)
    living.export(program.trace("flow living"))
    for file in tmp_path.iterdir():
        os.utime(file, (1, 1))

    StoreSpanExporter(tmp_path, max_bytes=10, max_age=timedelta(days=1)).export(program.trace("flow new"))

    assert {one.name for one in StoredTraces(tmp_path, max_age=EVER).summaries()} == {"flow living", "flow new"}


WRITER = """
    import sys
    from conftest import Program
    from otelflow_exporters.store import StoreSpanExporter
    exporter, program = StoreSpanExporter(sys.argv[1]), Program()
    for number in range(int(sys.argv[2])):
        exporter.export(program.trace())
        print(number, flush=True)
    assert exporter.dropped == 0
"""


def test_processes_that_write_at_once_lose_nothing(tmp_path):
    processes = [start(WRITER, tmp_path, 100) for _ in range(3)]
    for process in processes:
        finish(process)

    store = StoredTraces(tmp_path)
    assert [one.span_count for one in store.summaries()] == [3] * 300
    assert store.unreadable == 0
    assert len(list(tmp_path.glob("*.otlp"))) == 3


def test_a_process_that_is_killed_while_it_writes_loses_nothing_it_had_written(tmp_path):
    process = start(WRITER, tmp_path, 1_000_000)
    for _ in range(50):
        line = process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    rest, _ = process.communicate(timeout=30)
    told = [int(number) for number in [line, *rest.splitlines()] if number.strip().isdigit()]

    assert len(list(StoredTraces(tmp_path).summaries())) >= max(told[:-1] or told)
    # Its mark went with it: nobody is writing that segment any more.
    assert StoredTraces(tmp_path).forget_all().traces
    assert list(tmp_path.glob("*.otlp")) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
def test_a_forked_child_writes_a_segment_of_its_own_and_leaves_its_parents_marked(tmp_path):
    program = """
        import os, sys
        from conftest import Program
        from otelflow_exporters._store.ownership import open_store, segment_files
        from otelflow_exporters._store.pruning import remove
        from otelflow_exporters.store import StoreSpanExporter
        exporter, program = StoreSpanExporter(sys.argv[1]), Program()
        exporter.export(program.trace("flow before"))
        store = open_store(exporter.directory)
        parents = segment_files(store)[0]
        child = os.fork()
        exporter.export(program.trace("flow child" if child == 0 else "flow parent"))
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        assert not remove(store, parents)
        exporter.export(program.trace("flow after"))
    """

    finish(start(program, tmp_path))

    store = StoredTraces(tmp_path)
    assert {one.name for one in store.summaries()} == {"flow before", "flow child", "flow parent", "flow after"}
    assert store.unreadable == 0
    assert len(list(tmp_path.glob("*.otlp"))) == 2


def test_where_no_file_may_be_large_more_of_them_are_begun_and_nothing_is_lost_that_fits(tmp_path):
    program = """
        import resource, sys
        from conftest import Program
        from otelflow_exporters.store import StoreSpanExporter
        exporter, program = StoreSpanExporter(sys.argv[1]), Program()
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))
        small = [exporter.export(program.trace()).name for _ in range(20)]
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
        full = [exporter.export(program.trace()).name for _ in range(2)]
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        again = exporter.export(program.trace()).name
        print(small.count("SUCCESS"), full.count("SUCCESS"), exporter.dropped, again)
    """

    assert finish(start(program, tmp_path)).split() == ["20", "0", "6", "SUCCESS"]

    store = StoredTraces(tmp_path)
    assert [one.span_count for one in store.summaries()] == [3] * 21
    assert store.unreadable == 0  # the half that still fitted was taken back


def test_threads_that_write_at_once_lose_nothing(program, tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    exporter = StoreSpanExporter(tmp_path)
    batches = [program.trace() for _ in range(100)]

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(exporter.export, batches)) == {SUCCESS}

    assert [one.span_count for one in StoredTraces(tmp_path).summaries()] == [3] * 100


def test_any_opentelemetry_program_can_use_it_by_name(tmp_path):
    app = tmp_path / "app.py"
    app.write_text(
        "from opentelemetry import trace\nwith trace.get_tracer('app').start_as_current_span('GET /'): pass\n"
    )
    result = subprocess.run(
        [Path(sys.executable).with_name("opentelemetry-instrument"), sys.executable, app],
        env={
            **os.environ,
            "OTEL_TRACES_EXPORTER": "otelflow_store",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
            "OTELFLOW_STORE": str(tmp_path / "store"),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert [one.name for one in StoredTraces(tmp_path / "store").summaries()] == ["GET /"], result.stderr


def test_a_log_handler_that_raises_does_not_reach_the_program(program, tmp_path):
    (tmp_path / "file").write_text("mine")
    exporter = StoreSpanExporter(tmp_path / "file" / "store")

    class Broken(logging.Handler):
        def emit(self, record):
            raise ZeroDivisionError(record.getMessage())

    handler = Broken()
    logging.getLogger().addHandler(handler)
    try:
        result = exporter.export(program.trace())
        reference = exporter.payloads.keep(b"large")
    finally:
        logging.getLogger().removeHandler(handler)

    assert (result, reference, exporter.dropped) == (FAILURE, None, 3)
