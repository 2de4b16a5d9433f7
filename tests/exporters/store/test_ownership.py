import hashlib
import os
import re
import stat
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from opentelemetry.sdk.trace.export import SpanExportResult

from otelflow._core.process.files import Folder, StoredFile
from otelflow.errors import StoreUnreadable
from otelflow_exporters._store import ownership
from otelflow_exporters._store.limits import Limits
from otelflow_exporters._store.ownership import (
    ANSWERS,
    DESTINATION,
    MARKER,
    PROGRESS,
    is_own_payload,
    is_own_segment,
    open_payloads,
    open_store,
    payload_files,
    segment_files,
    writer_of,
)
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
@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root can give a link away")
def test_a_link_that_another_user_has_put_on_the_way_to_a_store_is_not_followed(program, tmp_path):
    shared, documents = tmp_path / "shared", tmp_path / "documents"
    shared.mkdir()
    shared.chmod(0o1777)
    documents.mkdir()
    (shared / "a").symlink_to(documents)
    store = shared / "a" / "b" / "traces"

    assert use(store, program) == ""
    os.lchown(shared / "a", 12345, 12345)
    refusal = use(store, program)

    assert "cannot be read (another user has put the symbolic link 'a' into its way)" in refusal
    assert "name another directory in OTELFLOW_STORE" in refusal
    assert [path.name for path in documents.iterdir()] == ["b"]


@posix_only
def test_folders_that_are_made_on_the_way_to_a_store_are_private(program, tmp_path):
    before = os.umask(0)
    try:
        use(tmp_path / "state" / "otelflow" / "traces", program)
    finally:
        os.umask(before)

    folders = [tmp_path / "state", tmp_path / "state" / "otelflow", tmp_path / "state" / "otelflow" / "traces"]
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in folders] == [0o700] * 3


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

    refusal = use(tmp_path / "store", program)

    assert (
        refusal
        == f"The store {tmp_path / 'store'} belongs to another user; name a folder of your own in OTELFLOW_STORE"
    )
    assert list((tmp_path / "store").iterdir()) == []


@posix_only
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a folder away")
def test_root_refuses_a_folder_of_another_user_too(program, tmp_path):
    (tmp_path / "store").mkdir(mode=0o700)
    os.chown(tmp_path / "store", 65_534, 65_534)

    assert "belongs to another user" in use(tmp_path / "store", program)


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


def refused_link(folder):
    (folder.parent / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(folder.parent / "elsewhere")


def refused_file(folder):
    folder.write_text("")


def refused_content(folder):
    write(folder / "notes.txt")
    folder.chmod(0o700)


def refused_mode(folder):
    folder.mkdir(mode=0o700)
    folder.chmod(0o777)


def refused_marker(folder):
    folder.mkdir(mode=0o700)
    write(folder / MARKER, "otelflow store 2\n")


def refused_payloads(folder):
    folder.mkdir(mode=0o700)
    write(folder / "payloads", "no folder")


def open_files():
    return len(list(Path("/dev/fd").iterdir()))


ANOTHER = "or name another folder in OTELFLOW_STORE"
REFUSALS = {
    refused_link: "is a symbolic link; name the folder that it leads to in OTELFLOW_STORE",
    refused_file: "cannot be read (Not a directory); check its permissions, " + ANOTHER.replace("folder", "directory"),
    refused_content: "holds files of others; name a new or empty folder in OTELFLOW_STORE, such as {0}/traces",
    refused_mode: "can be written by other users (mode 0777); run chmod 700 {0}, " + ANOTHER,
    refused_marker: f"has a file {MARKER} that this version did not write; name another folder",
    refused_payloads: "has something else than a folder of its own as payloads; remove it, " + ANOTHER,
}


@posix_only
@pytest.mark.parametrize("make", REFUSALS)
def test_a_refusal_is_one_sentence_that_names_the_folder_and_the_cure_and_nothing_stays_open(tmp_path, make):
    make(tmp_path / "store")
    opened = open_files()

    with pytest.raises(StoreUnreadable) as refusal:
        open_store(tmp_path / "store")

    assert str(refusal.value) == f"The store {tmp_path / 'store'} " + REFUSALS[make].format(tmp_path / "store")
    assert open_files() == opened

    with pytest.raises(StoreUnreadable) as refusal:
        open_store(tmp_path / "store", kind="spool")

    sentence = REFUSALS[make].format(tmp_path / "store").replace("OTELFLOW_STORE,", "OTELFLOW_SPOOL_DIR,")
    assert str(refusal.value) == f"The spool {tmp_path / 'store'} " + re.sub("_STORE$", "_SPOOL_DIR", sentence)


@posix_only
def test_a_folder_of_payloads_that_is_refused_does_not_stay_open(tmp_path):
    with open_store(tmp_path / "store", is_made=True) as store:
        open_payloads(store, is_made=True).close()
        (tmp_path / "store" / "payloads").chmod(0o777)
        opened = open_files()

        with pytest.raises(StoreUnreadable, match="can be written by other users"):
            open_payloads(store)

        assert open_files() == opened


def test_an_error_without_words_of_the_system_is_said_as_it_is(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError("of its own")

    monkeypatch.setattr(ownership.Folder, "reached", refuse)

    with pytest.raises(StoreUnreadable, match=r"cannot be read \(of its own\)"):
        open_store(tmp_path)


def test_a_store_is_made_with_the_folders_above_it_and_a_missing_one_is_none(tmp_path):
    with pytest.raises(FileNotFoundError):
        open_store(tmp_path / "a" / "b")

    open_store(tmp_path / "a" / "b", is_made=True).close()

    assert (tmp_path / "a" / "b" / MARKER).is_file()


@posix_only
def test_where_the_system_has_other_owners_nobody_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(ownership, "sys", SimpleNamespace(platform="win32"))
    (tmp_path / "store").mkdir()
    (tmp_path / "store").chmod(0o777)

    open_store(tmp_path / "store").close()


def test_a_marker_that_is_being_written_is_one_and_one_that_cannot_be_read_is_not(tmp_path, monkeypatch):
    write(tmp_path / MARKER, "")
    tmp_path.chmod(0o700)
    open_store(tmp_path).close()

    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(Folder, "read", refuse)

    with pytest.raises(StoreUnreadable, match="that this version did not write"):
        open_store(tmp_path)


def test_two_processes_may_make_the_same_store_at_once(tmp_path, monkeypatch):
    make_private = Folder.make_private

    def make_after_another(folder):
        make_private(folder)
        write(tmp_path / "store" / MARKER, "otelflow store 1\n")

    monkeypatch.setattr(Folder, "make_private", make_after_another)

    open_store(tmp_path / "store", is_made=True).close()

    assert (tmp_path / "store" / MARKER).read_text() == "otelflow store 1\n"


def test_a_file_that_another_process_removes_meanwhile_is_not_somebody_else_s(tmp_path, monkeypatch):
    tmp_path.chmod(0o700)
    names = Folder.names
    listings = iter([["gone"]])
    monkeypatch.setattr(Folder, "names", lambda folder: next(listings, None) or names(folder))

    open_store(tmp_path).close()

    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreUnreadable, match="holds files of others"):
        open_store(tmp_path)


def test_segments_are_listed_from_the_newest_and_payloads_with_their_unfinished_parts(tmp_path):
    names = [SEGMENT.replace("-123-", f"-{number}-") for number in (1, 2, 3)]
    with open_store(tmp_path, is_made=True) as store, open_payloads(store, is_made=True) as payloads:
        for name, age in zip(names, (20, 10, 30), strict=True):
            write(tmp_path / name, "", LONG_AGO - age)
        write(tmp_path / f"{names[0]}.bak", "")
        for name in (HASH, f".{HASH}-01234567", f".{HASH}", "thesis.odt"):
            write(tmp_path / "payloads" / name, "")

        assert [file.name for file in segment_files(store)] == [names[1], names[0], names[2]]
        assert {file.name for file in payload_files(payloads)} == {HASH, f".{HASH}-01234567"}
    assert [writer_of(name) for name in (*names, "x.otlp")] == [1, 2, 3, 0]


def test_one_foreign_file_among_payloads_of_an_earlier_version_is_enough_to_refuse_them_all(program, tmp_path):
    use(tmp_path, program)
    Payloads(tmp_path, Limits()).keep(b"of an earlier version")
    (tmp_path / MARKER).unlink()
    open_store(tmp_path).close()

    write(tmp_path / "payloads" / HASH)

    with pytest.raises(StoreUnreadable, match="holds files of others"):
        open_store(tmp_path)


def test_name_size_and_content_together_tell_what_is_the_store_s_own(tmp_path):
    digest = hashlib.sha256(b"payload").hexdigest()
    with open_store(tmp_path, is_made=True) as store:
        for name, content in ((SEGMENT, ""), ("x.otlp", ""), (digest, "payload"), (HASH, "payload"), ("x", "")):
            write(tmp_path / name, content)

        def own(is_own, name, size=0):
            return is_own(store, StoredFile(name, size, LONG_AGO))

        assert [own(is_own_segment, name) for name in (SEGMENT, "x.otlp", "gone.otlp")] == [True, False, False]
        assert not own(is_own_segment, SEGMENT.replace("123", "124"))
        assert own(is_own_segment, SEGMENT, 64 * 1024**2)
        assert not own(is_own_segment, SEGMENT, 64 * 1024**2 + 1)
        assert [own(is_own_payload, name) for name in (digest, HASH, "x", "1" * 64)] == [True, False, False, False]
        assert own(is_own_payload, digest, 1024**3)
        assert not own(is_own_payload, digest, 1024**3 + 1)
        assert own(is_own_payload, f".{HASH}-01234567", 1024**3 + 1)


@posix_only
def test_a_store_that_is_let_go_of_leaves_nothing_open(tmp_path):
    open_store(tmp_path / "store", is_made=True).close()
    (tmp_path / "store" / "payloads").mkdir(mode=0o700)
    before = len([*Path("/dev/fd").iterdir()])

    open_store(tmp_path / "store").close()

    assert len([*Path("/dev/fd").iterdir()]) == before


@pytest.mark.parametrize("signal", ["logs", "metrics"])
def test_a_spool_begins_while_another_signal_begins_inside_of_it(tmp_path, signal):
    (tmp_path / "spool" / signal).mkdir(parents=True)  # which is not marked yet
    open_store(tmp_path / "spool", is_made=True, kind="spool").close()
    write(tmp_path / "other" / signal / "document.txt")

    with pytest.raises(StoreUnreadable, match="holds files of others"):
        open_store(tmp_path / "other", is_made=True, kind="spool")
    assert (tmp_path / "spool" / MARKER).is_file()


@pytest.mark.parametrize("name", [DESTINATION, ANSWERS, SEGMENT + PROGRESS])
def test_a_spool_whose_marker_was_removed_as_its_oldest_file_is_still_one(tmp_path, name):
    spool = tmp_path / "spool"
    write(spool / name, "whatever it says")
    open_store(spool, is_made=True, kind="spool").close()

    assert (spool / MARKER).read_text() == "otelflow store 1\n"


@posix_only
def test_a_link_that_is_called_as_one_of_ours_is_not(tmp_path):
    spool = tmp_path / "spool"
    write(tmp_path / "document")
    spool.mkdir(mode=0o700)
    (spool / DESTINATION).symlink_to(tmp_path / "document")

    with pytest.raises(StoreUnreadable, match="holds files of others"):
        open_store(spool, is_made=True, kind="spool")


def test_a_document_that_is_called_nearly_so_is_not(tmp_path):
    spool = tmp_path / "spool"
    write(spool / f"x{SEGMENT}{PROGRESS}")

    with pytest.raises(StoreUnreadable, match="holds files of others"):
        open_store(spool, is_made=True, kind="spool")
