import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export import SpanExportResult

from otelflow.errors import StoreUnreadable
from otelflow_exporters._store.limits import Limits
from otelflow_exporters._store.ownership import MARKER, open_store
from otelflow_exporters._store.payloads import Payloads
from otelflow_exporters._store.reader import StoredTraces
from otelflow_exporters.store import StoreSpanExporter

FAILURE = SpanExportResult.FAILURE
LONG_AGO = time.time() - 30 * 86_400
SEGMENT = "20240102T030405.000006Z-123-0123abcd.otlp"
HASH = "0" * 64

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="Windows has other owners, modes and links")


def write(path, text="a document", modified=LONG_AGO):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (modified, modified))
    return path


def use(directory, program):
    """Write into the store by every way there is, read it, and forget everything."""
    exporter = StoreSpanExporter(directory, max_bytes=20_000)
    for number in range(50):
        exporter.export(program.trace(f"flow {number}"))
    exporter.payloads.keep(b"x" * 2_000)
    exporter.shutdown()
    traces = StoredTraces(directory)
    try:
        list(traces.summaries())
        traces.forget_all()
    except StoreUnreadable as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", ["payloads/thesis.odt", "spans.otlp", "notes.txt", SEGMENT, f"payloads/{HASH}"])
def test_a_folder_that_holds_files_of_others_is_refused_in_one_sentence_and_keeps_them(program, tmp_path, caplog, name):
    document = write(tmp_path / "home" / name)

    refusal = use(tmp_path / "home", program)

    assert f"The store {tmp_path / 'home'} holds files of others; name a new or empty folder" in refusal
    assert document.read_text() == "a document"
    assert [path.name for path in (tmp_path / "home").iterdir()] == [Path(name).parts[0]]
    assert len([record for record in caplog.records if "spans are counted and lost" in record.message]) == 1


def test_in_a_store_what_is_not_its_own_is_never_removed(program, tmp_path):
    use(tmp_path, program)
    names = ["spans.otlp", SEGMENT, f"payloads/{HASH}", "payloads/thesis.odt", f"payloads/.{HASH}", f"x{SEGMENT}"]
    documents = [write(tmp_path / name) for name in names]

    assert use(tmp_path, program) == ""

    assert [document.read_text() for document in documents] == ["a document"] * len(names)
    assert {path.name for path in tmp_path.iterdir()} == {MARKER, "payloads", "spans.otlp", SEGMENT, f"x{SEGMENT}"}


@posix_only
@pytest.mark.parametrize("is_marked", [True, False])
def test_payloads_that_are_a_symbolic_link_are_not_followed(program, tmp_path, is_marked):
    documents = [write(tmp_path / "documents" / name) for name in ("a.txt", HASH, f".{HASH}-01234567", SEGMENT)]
    store = tmp_path / "store"
    store.mkdir(mode=0o700)
    if is_marked:
        open_store(store, is_made=True).close()
    (store / "payloads").symlink_to(tmp_path / "documents")

    refusal = use(store, program)

    assert "has something else than a folder of its own as payloads" in refusal
    assert all(document.read_text() == "a document" for document in documents)
    assert len(list((tmp_path / "documents").iterdir())) == 4


@posix_only
def test_a_store_that_is_a_symbolic_link_is_refused(program, tmp_path):
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "store").symlink_to(tmp_path / "elsewhere")

    assert "is a symbolic link; name the folder that it leads to" in use(tmp_path / "store", program)
    assert list((tmp_path / "elsewhere").iterdir()) == []


@posix_only
def test_links_and_pipes_in_the_place_of_files_are_neither_followed_nor_waited_for(program, tmp_path):
    store = tmp_path / "store"
    use(store, program)
    victim = tmp_path / "victim"
    StoreSpanExporter(victim).export(program.trace("flow of another store"))
    (segment,) = victim.glob("*.otlp")
    content = segment.read_bytes()
    (store / SEGMENT).symlink_to(segment)
    (store / "payloads" / HASH).symlink_to(segment)
    os.mkfifo(store / SEGMENT.replace("123", "124"))

    assert use(store, program) == ""

    assert segment.read_bytes() == content
    assert (store / SEGMENT).is_symlink()


@posix_only
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
@pytest.mark.parametrize("is_marked", [True, False])
def test_a_folder_that_others_can_write_is_refused_with_the_cure(program, tmp_path, caplog, mode, is_marked):
    store = tmp_path / "store"
    store.mkdir(mode=0o700)
    if is_marked:
        open_store(store, is_made=True).close()
    store.chmod(mode)

    refusal = use(store, program)

    assert f"can be written by other users (mode {mode:04o}); run chmod 700 {store}" in refusal
    assert len([record for record in caplog.records if "spans are counted and lost" in record.message]) == 1
    assert len(list(store.iterdir())) == is_marked


@posix_only
def test_a_folder_of_another_user_is_refused(program, tmp_path, monkeypatch):
    (tmp_path / "store").mkdir(mode=0o700)
    own = os.geteuid()
    monkeypatch.setattr("os.geteuid", lambda: own + 1)

    assert "belongs to another user" in use(tmp_path / "store", program)
    assert list((tmp_path / "store").iterdir()) == []


@posix_only
def test_the_payloads_folder_is_looked_at_as_the_store_is(program, tmp_path):
    use(tmp_path, program)
    (tmp_path / "payloads").chmod(0o777)

    assert f"run chmod 700 {tmp_path / 'payloads'}" in use(tmp_path, program)


@posix_only
@pytest.mark.parametrize("maker", ["exporter", "payloads", "doctor"])
def test_the_store_is_private_whoever_makes_it_first(program, tmp_path, maker):
    store = tmp_path / "store"
    before = os.umask(0)
    try:
        if maker == "exporter":
            StoreSpanExporter(store).export(program.trace())
        elif maker == "payloads":
            Payloads(store, Limits()).keep(b"x")
        else:
            addresses = ("--jaeger", "http://127.0.0.1:9", "--prometheus", "http://127.0.0.1:9")
            subprocess.run(
                [sys.executable, "-m", "otelflow", "doctor", *addresses],
                env={**os.environ, "OTELFLOW_STORE": str(store), "PYTHONPATH": os.pathsep.join(sys.path)},
                cwd=tmp_path,
                capture_output=True,
                timeout=60,
                check=False,
            )
    finally:
        os.umask(before)

    assert stat.S_IMODE(store.stat().st_mode) == 0o700


@posix_only
def test_an_empty_folder_becomes_a_private_store(program, tmp_path):
    (tmp_path / "store").mkdir(mode=0o755)

    StoreSpanExporter(tmp_path / "store").export(program.trace())

    assert stat.S_IMODE((tmp_path / "store").stat().st_mode) == 0o700
    assert (tmp_path / "store" / MARKER).read_text() == "otelflow store 1\n"


def test_a_store_of_an_earlier_version_is_taken_over_if_everything_in_it_is_its_own(program, tmp_path):
    exporter = StoreSpanExporter(tmp_path)
    exporter.export(program.trace("flow old"))
    exporter.payloads.keep(b"payload")
    (tmp_path / MARKER).unlink()

    assert [trace.name for trace in StoredTraces(tmp_path).summaries()] == ["flow old"]
    assert not (tmp_path / MARKER).exists()  # reading writes nothing

    StoreSpanExporter(tmp_path).export(program.trace("flow new"))
    assert (tmp_path / MARKER).exists()
    assert len(list(StoredTraces(tmp_path).summaries())) == 2


def test_a_store_of_another_version_is_refused(program, tmp_path):
    write(tmp_path / MARKER, "otelflow store 2\n")

    assert f"has a file {MARKER} that this version did not write" in use(tmp_path, program)
    assert [path.name for path in tmp_path.iterdir()] == [MARKER]


@posix_only
def test_a_marker_that_is_a_link_is_no_marker(program, tmp_path):
    store = tmp_path / "store"
    store.mkdir(mode=0o700)
    write(tmp_path / "marker", "otelflow store 1\n")
    (store / MARKER).symlink_to(tmp_path / "marker")

    assert "holds files of others" in use(store, program)


def test_a_refused_store_costs_the_program_nothing_else(tmp_path):
    write(tmp_path / "home" / "notes.txt")
    source = """
import otelflow
otelflow.configure(store=True)

@otelflow.flow
def answer():
    return 42

print(answer().execute().flow_return_value)
"""
    done = subprocess.run(
        [sys.executable, "-c", source],
        env={**os.environ, "OTELFLOW_STORE": str(tmp_path / "home"), "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "42\n")
    assert done.stderr.count("holds files of others") == 1
