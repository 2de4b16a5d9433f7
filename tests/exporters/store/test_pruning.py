import hashlib
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import pytest

from otelflow._core.process.files import Folder, hold, lock
from otelflow_exporters._store import pruning
from otelflow_exporters._store.limits import Limits
from otelflow_exporters._store.ownership import open_store, segment_files
from otelflow_exporters._store.pruning import prune, remove
from otelflow_exporters._store.records import LARGEST_SEGMENT
from otelflow_exporters.store import StoreSpanExporter

SIXTEEN = """
import os, sys, time
from conftest import Program
from otelflow_exporters.store import StoreSpanExporter

directory, limit = sys.argv[1], int(sys.argv[2])

def work(number):
    exporter, program = StoreSpanExporter(directory, max_bytes=limit), Program()
    for step in range(60):
        exporter.export(program.trace("flow", attributes={"text": "x" * 8_000}))
        if step % 10 == 0:
            exporter.payloads.keep(os.urandom(12_000))
    assert exporter.dropped == 0

def size():
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.stat(os.path.join(folder, name)).st_size
            except FileNotFoundError:
                pass
    return total

children = set()
for number in range(16):
    child = os.fork()
    if child == 0:
        work(number)
        os._exit(0)
    children.add(child)
largest, failed = 0, 0
while children:
    largest = max(largest, size())
    child, status = os.waitpid(-1, os.WNOHANG)
    children.discard(child)
    failed += bool(child and status)
    time.sleep(0.002)
print(failed, max(largest, size()))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
def test_sixteen_processes_together_keep_the_limit(tmp_path):
    limit = 4_000_000
    path = [str(Path(__file__).parents[1]), *sys.path]

    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SIXTEEN), tmp_path / "store", str(limit)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert done.stderr == ""
    failed, largest = map(int, done.stdout.split())
    assert failed == 0
    assert limit / 2 < largest <= limit


def test_a_segment_that_is_written_counts_as_full(program, tmp_path):
    StoreSpanExporter(tmp_path).export(program.trace())
    living = StoreSpanExporter(tmp_path)
    living.export(program.trace())

    with open_store(tmp_path) as store:
        small = sum(file.size for file in segment_files(store))
        left = prune(store, Limits())

    assert left == Limits().segment_bytes * 2
    assert small < 10_000


def test_the_own_segment_stays_whatever_the_limit(program, tmp_path):
    exporter = StoreSpanExporter(tmp_path)
    exporter.export(program.trace())
    exporter.shutdown()

    with open_store(tmp_path) as store:
        (own,) = segment_files(store)
        prune(store, Limits(max_bytes=1), own_name=own.name)
        assert segment_files(store) == [own]

        prune(store, Limits(max_bytes=1))
        assert segment_files(store) == []


def test_a_file_that_is_gone_is_removed(program, tmp_path):
    exporter = StoreSpanExporter(tmp_path)
    exporter.export(program.trace())
    exporter.shutdown()
    with open_store(tmp_path) as store:
        (file,) = segment_files(store)

        assert [remove(store, file), remove(store, file)] == [True, True]


# At a moment that stands still

NOW = 1_800_000_000.0
DAY = 86_400.0
NOBODY = 2**22 + 1  # no system gives a process this number
# A sixteenth is kept free for payloads: 1,500 bytes are left for what is there. Segments are of 25 bytes.
LIMITS = Limits(max_bytes=1_600)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A store in which nobody writes; `folder.segment(name, size, age)` makes a file of it."""
    monkeypatch.setattr(pruning, "clock", SimpleNamespace(time=lambda: NOW))
    with open_store(tmp_path, is_made=True) as store:
        yield Files(store, tmp_path)


class Files:
    def __init__(self, store, path):
        self.store, self.path = store, path

    def segment(self, number, size, age, pid=NOBODY, content=b"\0"):
        return self.file(f"20270115T080000.00000{number}Z-{pid}-0123abcd.otlp", content * size, age)

    def payload(self, content, age):
        (self.path / "payloads").mkdir(mode=0o700, exist_ok=True)
        return self.file(f"payloads/{hashlib.sha256(content).hexdigest()}", content, age)

    def file(self, name, content, age):
        path = self.path / name
        path.write_bytes(content)
        os.utime(path, (NOW - age, NOW - age))
        return path

    def prune(self, limits=LIMITS, **options):
        """Prune, and return what it said is left and the number of each segment that is."""
        left = prune(self.store, limits, **options)
        return left, sorted(int(path.name[21]) for path in self.path.glob("*.otlp"))


def test_what_fits_to_the_last_byte_stays_and_the_oldest_go_until_the_rest_fits(folder):
    for number, age in enumerate((100, 500, 200, 400)):
        folder.segment(number, 500, age)

    assert folder.prune(Limits(max_bytes=2_134)) == (2_000, [0, 1, 2, 3])
    assert folder.prune() == (1_500, [0, 2, 3])
    assert folder.prune(room=1) == (1_000, [0, 2])
    assert folder.prune(room=2_000) == (0, [])


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other locks")
def test_what_another_process_removes_or_writes_anew_is_left_to_it_and_no_newer_file_goes_instead(folder):
    paths = [folder.segment(number, 500, age) for number, age in enumerate((500, 400, 300, 200))]
    told = []
    with paths[0].open("rb") as busy:
        assert lock(busy.fileno())

        assert folder.prune(on_removal=lambda _, file: told.append(file.name) or True) == (1_500, [0, 1, 2, 3])
    assert told == []
    assert folder.prune(on_removal=lambda _, file: told.append(file.name) or True) == (1_500, [1, 2, 3])
    assert told == [paths[0].name]


def test_payloads_count_and_go_by_their_age_as_segments_do(folder):
    folder.segment(0, 900, age=300)
    folder.segment(1, 100, age=100)
    payloads = [folder.payload(b"a" * 400, age=400), folder.payload(b"b" * 500, age=200)]

    assert folder.prune() == (1_500, [0, 1])
    assert [path.exists() for path in payloads] == [False, True]
    assert folder.prune(Limits(max_bytes=700)) == (600, [1])
    assert folder.prune(Limits(max_bytes=400)) == (100, [1])
    assert not payloads[1].exists()


def test_what_is_too_old_goes_though_it_would_fit(folder):
    folder.segment(0, 10, age=7 * DAY + 1)
    folder.segment(1, 10, age=7 * DAY)
    folder.segment(2, 10, age=0)
    part = folder.path / "payloads" / f".{'0' * 64}-01234567"
    payload = folder.payload(b"old", age=8 * DAY)
    folder.file(f"payloads/{part.name}", b"half", age=8 * DAY)

    assert folder.prune() == (20, [1, 2])
    assert not payload.exists()
    assert not part.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other locks")
def test_a_segment_that_is_written_counts_as_full_or_as_what_it_is_if_that_is_more(folder):
    held = [folder.segment(0, 10, age=0), folder.segment(1, 70, age=8 * DAY, pid=os.getpid())]
    descriptors = [os.open(path, os.O_RDWR) for path in held]
    assert all(map(hold, descriptors))

    assert folder.prune() == (25 + 70, [0, 1])
    assert not any(remove(folder.store, file) for file in segment_files(folder.store))
    for descriptor in descriptors:
        os.close(descriptor)
    assert folder.prune() == (10, [0])


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other locks")
def test_where_very_many_processes_write_half_of_the_room_is_for_what_has_ended(folder):
    for number in range(64):
        folder.file(f"20270115T090000.{number:06}Z-{os.getpid()}-0123abcd.otlp", b"\0" * 5, age=0)
    descriptors = [os.open(path, os.O_RDWR) for path in folder.path.glob("*T09*.otlp")]
    assert all(map(hold, descriptors))
    old, older = folder.segment(1, 730, age=500), folder.segment(2, 5, age=600)

    prune(folder.store, LIMITS)

    assert (old.exists(), older.exists()) == (True, False), "64 segments of 12 bytes, and one of 730"
    assert len(list(folder.path.glob("*T09*.otlp"))) == 64
    for descriptor in descriptors:
        os.close(descriptor)


def test_nothing_has_to_make_room_for_a_file_that_is_too_large_to_be_a_segment(folder):
    folder.segment(0, 1_000, age=500)
    giant = folder.segment(1, 0, age=400)
    os.truncate(giant, LARGEST_SEGMENT + 1)

    assert folder.prune() == (1_000, [0, 1])


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other locks")
@pytest.mark.parametrize(("age", "left"), [(59, 25), (60, 10)])
def test_a_writer_in_another_container_is_known_by_what_it_has_written_within_a_minute(folder, age, left):
    held = os.open(folder.segment(0, 10, age), os.O_RDWR)
    assert hold(held)

    assert folder.prune() == (left, [0])
    assert folder.prune(Limits(max_bytes=16, max_age=LIMITS.max_age))[1] == [0], "it is never taken from its writer"
    os.close(held)


def test_the_segment_of_this_process_counts_as_full_before_it_is_held(folder):
    own = folder.segment(0, 10, age=0)

    assert folder.prune(own_name=own.name) == (25, [0])
    assert folder.prune() == (10, [0])


def test_a_file_that_is_not_the_store_s_own_stays_and_is_not_taken_for_removed(folder):
    folder.segment(0, 900, age=500, content=b"x")
    folder.segment(1, 900, age=400)
    folder.segment(2, 600, age=300)

    assert folder.prune() == (1_500, [0, 2])


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other locks")
@pytest.mark.parametrize(("platform", "writers"), [("linux", [1]), ("win32", [])])
def test_where_nothing_can_be_locked_the_number_of_its_process_tells_who_writes(folder, monkeypatch, platform, writers):
    monkeypatch.setattr(pruning, "is_held", lambda _: None)
    monkeypatch.setattr(pruning, "sys", SimpleNamespace(platform=platform))
    folder.segment(0, 10, age=8 * DAY)
    folder.segment(1, 10, age=8 * DAY, pid=os.getpid())

    assert folder.prune()[1] == writers


def test_a_foreign_file_is_not_said_to_be_removed(folder):
    folder.segment(0, 10, age=0, content=b"x")
    (file,) = segment_files(folder.store)

    assert not remove(folder.store, file)
    (folder.path / file.name).unlink()
    assert remove(folder.store, file)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other locks")
@pytest.mark.parametrize("written", [".{}", ".{}-01234567", ".{}.sent-01234567", ".OTELFLOW_ANSWERS.txt-{0[7]}0000000"])
def test_what_a_process_lost_before_it_had_written_it_goes_after_a_minute(folder, monkeypatch, written):
    ages = {}
    monkeypatch.setattr(Folder, "changed", lambda _, name: NOW - ages[name])
    segments = [f"2027011{number}T080000.000000Z-{NOBODY}-0123abcd.otlp" for number in range(3)]
    names = [written.format(segment) for segment in segments]
    ages |= zip(names, (61, 60, 61), strict=True)
    # Their own time is that of the files that they were to replace.
    old, young, held = (folder.file(name, b"", 10 * DAY) for name in names)
    foreign = [folder.file(name, b"", 10 * DAY) for name in (".notes.otlp", f".{segments[0]}-0123456", "a-01234567")]
    descriptor = os.open(held, os.O_RDWR)
    assert hold(descriptor)

    prune(folder.store, LIMITS)

    assert [path.exists() for path in (old, young, held, *foreign)] == [False, True, True, True, True, True]
    os.close(descriptor)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other locks")
@pytest.mark.parametrize(("age", "is_left"), [(DAY, True), (DAY + 1, False)])
def test_without_locks_nobody_ends_after_a_day_what_was_begun(folder, monkeypatch, age, is_left):
    monkeypatch.setattr(pruning, "is_held", lambda _: None)
    monkeypatch.setattr(Folder, "changed", lambda *_: NOW - age)
    path = folder.file(f".20270115T080000.000000Z-{NOBODY}-0123abcd.otlp-01234567", b"", 0)

    prune(folder.store, LIMITS)

    assert path.exists() is is_left


@pytest.mark.parametrize("is_removed", [True, False])
def test_what_is_not_to_go_stays_and_a_newer_one_goes_instead(folder, is_removed):
    for number, age in enumerate((500, 400, 300, 200)):
        folder.segment(number, 500, age)

    left = folder.prune(on_removal=lambda _, file: is_removed or file.name[21] != "0")

    assert left == (1_500, [1, 2, 3] if is_removed else [0, 2, 3])


def test_whoever_wants_to_know_is_told_of_each_segment_before_it_goes(folder):
    folder.segment(0, 900, age=500)
    folder.payload(b"a" * 900, age=400)
    folder.segment(1, 900, age=300)
    told = []

    def tell(store, file):
        told.append((store, file.name[21], (folder.path / file.name).exists()))
        return True

    folder.prune(on_removal=tell)

    assert told == [(folder.store, "0", True)]
