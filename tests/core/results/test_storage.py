"""Where values are kept: what ``result_storage`` may be, and what it must not."""

import subprocess
import sys
from pathlib import Path

import pytest

from otelflow._core.results import storage
from otelflow._core.results.storage import FolderStorage, MemoryStorage, default_storage, storage_of
from otelflow.errors import ConfigurationError, MissingExtra

A, B, C = "a" * 64, "b" * 64, "c" * 64


class Shelf(dict):
    """A storage of a user's."""

    def read(self, name):
        return self.get(name)

    def write(self, name, content):
        self[name] = content


@pytest.mark.parametrize(
    "choice", ["a folder", "a path", "an address", "an address of no files", "memory", "an object"]
)
def test_each_storage_brings_back_what_was_written_last(choice, tmp_path):
    choices = {
        "a folder": str(tmp_path / "results"),
        "a path": tmp_path / "results",
        "an address": f"file://{tmp_path}/results/",
        "an address of no files": f"memory://{tmp_path}/results/",
        "memory": "memory",
        "an object": Shelf(),
    }
    chosen = storage_of("load", choices[choice])
    assert chosen.read(A) is None

    chosen.write(A, b"old")
    chosen.write(A, b"new")
    chosen.write(B, b"")

    assert (chosen.read(A), chosen.read(B), chosen.read(C)) == (b"new", b"", None)


def test_without_a_choice_values_lie_beside_the_store_or_where_the_setting_says(monkeypatch, tmp_path):
    assert storage_of("load", None) is None
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_storage().path == tmp_path / "otelflow" / "results"


def test_the_setting_names_the_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("OTELFLOW_RESULTS", str(tmp_path / "kept"))

    assert default_storage().path == tmp_path / "kept"
    assert default_storage() is default_storage()


def test_a_relative_folder_stays_where_it_was_when_the_program_changes_directory(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    assert storage_of("load", "results").path == tmp_path / "results"
    assert FolderStorage("~/results").path == Path.home() / "results"


def test_the_memory_is_one_for_all_and_lets_go_of_what_was_not_read_for_longest():
    assert storage_of("load", "memory") is storage_of("save", "memory")

    memory = MemoryStorage(max_bytes=4)
    memory.write(A, b"aa")
    memory.write(B, b"bb")
    assert memory.read(A) == b"aa"
    memory.write(C, b"c")
    memory.write(C, b"cc")

    assert (memory.read(A), memory.read(B), memory.read(C)) == (b"aa", None, b"cc")


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("", "^load: result_storage='' is no path; name a folder$"),
        ("a\0b", "^load: result_storage='a\\\\x00b' is no path; name a folder$"),
        ("~nobody-here/x", "^load: result_storage='~nobody-here/x' is no usable path: "),
        ("nothing-like-it://bucket/x", "^load: result_storage='nothing-like-it://bucket/x' cannot be used: "),
        (3, "^load: result_storage must be a folder, an address such as 's3://bucket/results', 'memory', or an object"),
        (Shelf, "^load: result_storage must be a folder"),
        (object(), "^load: result_storage must be a folder"),
    ],
)
def test_what_is_no_storage_is_refused_with_what_is(choice, message):
    with pytest.raises(ConfigurationError, match=message):
        storage_of("load", choice)


def test_without_fsspec_an_address_names_the_extra(monkeypatch):
    def import_module(name):
        raise ImportError(name)

    monkeypatch.setattr(storage, "import_module", import_module)

    with pytest.raises(MissingExtra, match=r"pip install 'otelflow\[fsspec\]'"):
        storage_of("load", "s3://bucket/results")


def test_another_process_reads_what_this_one_has_written(tmp_path):
    storage_of("load", tmp_path).write(A, b"value")
    program = f"from otelflow.results import FolderStorage; print(FolderStorage({str(tmp_path)!r}).read({A!r}))"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout == "b'value'\n"


WRITER = """
import sys, time
from otelflow._core.results.storage import storage_of

storage = storage_of("load", sys.argv[1])
byte, end = sys.argv[2].encode(), time.monotonic() + 60
print("ready", flush=True)
for number in range(400):
    storage.write("a" * 64, byte * (300_000 if number % 2 else 3))
    assert time.monotonic() < end
"""


def test_processes_that_write_the_same_value_at_an_address_leave_a_whole_one_at_every_moment(tmp_path):
    address = f"file://{tmp_path}/results"
    command = [sys.executable, "-c", WRITER, address]
    processes = [subprocess.Popen([*command, byte], stdout=subprocess.PIPE) for byte in ("x", "y")]
    chosen = storage_of("load", address)
    contents = set()
    while any(process.poll() is None for process in processes):
        contents.add(chosen.read(A))
    contents.add(chosen.read(A))

    assert [process.communicate(timeout=60)[1] or process.returncode for process in processes] == [0, 0]
    assert contents - {None} <= {byte * length for byte in (b"x", b"y") for length in (3, 300_000)}
    assert [file.name for file in (tmp_path / "results").iterdir()] == [A]


def test_a_value_that_cannot_be_written_at_an_address_leaves_nothing_behind(tmp_path):
    chosen = storage_of("load", f"file://{tmp_path}/results")
    (tmp_path / "results" / A).mkdir(parents=True)

    with pytest.raises(OSError, match=A):
        chosen.write(A, b"value")

    assert [file.name for file in (tmp_path / "results").iterdir()] == [A]


def test_a_value_that_does_not_fit_into_memory_drives_out_no_other():
    memory = MemoryStorage(10)
    memory.write(A, b"12345")
    memory.write(B, b"1" * 11)

    assert (memory.read(A), memory.read(B)) == (b"12345", None)
    memory.write(A, b"1" * 11)
    assert memory.read(A) is None, "it is another value now"
    memory.write(C, b"1" * 10)
    assert memory.read(C) == b"1" * 10


@pytest.mark.parametrize("limit", [-1, float("nan"), "1GB", True])
def test_a_limit_that_is_no_number_is_refused(tmp_path, limit):
    with pytest.raises(ConfigurationError, match="MemoryStorage: max_bytes must be a number from 0 on, not"):
        MemoryStorage(limit)
    for name in ("max_bytes", "max_age"):
        with pytest.raises(ConfigurationError, match=f"FolderStorage: {name} must be a number from 0 on, not"):
            FolderStorage(tmp_path, **{name: limit})


@pytest.mark.parametrize("path", [3, b"kept", None])
def test_a_folder_is_named_by_a_path(path):
    with pytest.raises(ConfigurationError, match="is no path; name a folder"):
        FolderStorage(path)


def test_at_an_address_no_folder_is_made_where_none_is_needed():
    fsspec = pytest.importorskip("fsspec")

    class Bucket(fsspec.get_filesystem_class("memory")):
        protocol = "bucket"
        store, pseudo_dirs = {}, [""]

        def makedirs(self, path, exist_ok=False):
            raise PermissionError("no right to make a bucket")

        mkdir = makedirs

    fsspec.register_implementation("bucket", Bucket, clobber=True)
    chosen = storage_of("load", "bucket://results")

    chosen.write(A, b"value")

    assert chosen.read(A) == b"value"
