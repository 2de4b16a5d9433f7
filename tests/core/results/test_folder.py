"""The folder of kept values: private, within its limits, files replaced by one step, locks that go with a process."""

import os
import stat
import subprocess
import sys

import pytest

from otelflow._core.results import folder as folders
from otelflow._core.results.folder import ResultFolder
from otelflow._core.results.records import MAGIC

A, B, C = "a" * 64, "b" * 64, "c" * 64


def kept(number, size=100):
    return MAGIC + bytes([number]) * size


def names_in(path):
    return sorted(file.name for file in path.iterdir())


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "results"


def folder_at(path, max_bytes=None, max_age=None):
    return ResultFolder(path, max_bytes, max_age)


def test_a_value_is_a_private_file_in_a_private_folder_that_is_made(path):
    folder_at(path).write(A, b"value")

    assert folder_at(path).read(A) == b"value"
    assert folder_at(path).read(B) is None
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE((path / A).stat().st_mode) == 0o600
    assert names_in(path) == [A]


def test_nothing_is_made_where_something_is_only_looked_up(path):
    assert folder_at(path).read(A) is None

    assert not path.parent.exists()


def test_no_link_and_no_pipe_in_the_place_of_a_file_is_read_or_written(path, tmp_path):
    folder_at(path).write(B, b"value")
    secret = tmp_path / "secret"
    secret.write_bytes(b"untouched")
    (path / A).symlink_to(secret)
    os.mkfifo(path / C)

    for name in (A, C):
        with pytest.raises(OSError, match=name):
            folder_at(path).read(name)
    folder_at(path).write(A, b"value")

    assert secret.read_bytes() == b"untouched"
    assert not (path / A).is_symlink()


def test_a_link_in_the_place_of_the_folder_is_refused(path, tmp_path):
    folder_at(path).write(A, b"value")
    link = tmp_path / "link"
    link.symlink_to(path)

    with pytest.raises(OSError, match="link"):
        folder_at(link).read(A)
    with pytest.raises(OSError, match="link"):
        folder_at(link).write(A, b"other")

    assert folder_at(path).read(A) == b"value"


def test_a_folder_that_others_can_write_is_refused(path):
    folder_at(path).write(A, b"value")
    path.chmod(0o777)

    for use in (lambda folder: folder.read(A), lambda folder: folder.write(A, b""), lambda folder: folder.acquire(A)):
        with pytest.raises(PermissionError, match=f"the folder {path} can be written by other users; run chmod 700"):
            use(folder_at(path))


def test_the_oldest_values_go_when_there_is_no_room(path):
    folder = folder_at(path)
    for number, name in enumerate((A, B, C)):
        folder.write(name, kept(number))
        os.utime(path / name, (number, number))

    folder_at(path, max_bytes=2 * len(kept(0))).write("d" * 64, kept(4))

    assert names_in(path) == [C, "d" * 64]


def test_what_is_too_old_goes_and_what_is_not_a_value_stays(path):
    folder = folder_at(path)
    folder.write(A, kept(1))
    folder.write(B, b"not what otelflow writes")
    (path / "notes.txt").write_text("mine")
    (path / f"{C}.lock").touch()
    for name in names_in(path):
        os.utime(path / name, (1, 1))

    folder_at(path, max_age=60).write(C, kept(2))

    assert names_in(path) == [B, C, "notes.txt"]


def test_a_lock_is_had_by_one_and_given_back(path):
    first, second = folder_at(path), folder_at(path)

    release = first.acquire(A)
    assert second.acquire(A) is None
    other = second.acquire(B)
    release()
    again = second.acquire(A)

    assert None not in (release, other, again)
    other()
    again()
    assert names_in(path) == []


HOLDER = """
import sys, os
from pathlib import Path
from otelflow._core.results.folder import ResultFolder
assert ResultFolder(Path(sys.argv[1]), None, None).acquire("a" * 64)
print("held", flush=True)
if sys.argv[2] == "fork" and os.fork() == 0:
    print("forked", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("mode", ["plain", "fork"])
def test_a_lock_goes_with_its_process_also_when_a_child_of_it_lives_on(path, mode):
    command = [sys.executable, "-c", HOLDER, str(path), mode]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        if mode == "fork":
            assert process.stdout.readline() == "forked\n"
        assert folder_at(path).acquire(A) is None

        process.kill()
        process.wait(60)

        assert folder_at(path).acquire(A) is not None


def test_values_are_forgotten_that_are_meant_and_nothing_else(path):
    folder = folder_at(path)
    folder.write(A, kept(1))
    folder.write(B, kept(2))
    folder.write(C, b"not what otelflow writes")

    count = folder.forget(lambda file, content: content.endswith(b"\1"))

    assert count == 1
    assert names_in(path) == [B, C]
    assert folder_at(path / "nowhere").forget(lambda file, content: True) == 0


def test_a_folder_is_looked_through_now_and_then_not_each_time(path, monkeypatch):
    looks = []
    folder = folder_at(path, max_bytes=1_000_000)
    prune = folder._prune
    monkeypatch.setattr(folder, "_prune", lambda opened: (looks.append(1), prune(opened)))
    monkeypatch.setattr(folders, "_WRITES_BETWEEN_LOOKS", 4)

    for number in range(9):
        folder.write(A, kept(number))

    assert len(looks) == 3


def test_a_lock_whose_file_the_program_has_closed_is_given_back_without_a_look_at_what_has_its_number(path, tmp_path):
    release = folder_at(path).acquire(A)
    (file,) = folders._locks.files
    with (tmp_path / "user.dat").open("wb") as user:
        os.dup2(user.fileno(), file.descriptor)
    number = file.descriptor
    other = folder_at(path).acquire(A)
    release()
    os.write(number, b"mine")
    os.close(number)

    assert (tmp_path / "user.dat").read_bytes() == b"mine"
    assert other is not None
    assert folder_at(path).acquire(A) is None, "the other still has it"
    other()
