"""Files in a folder that is held open: replaced whole, private, bounded, and never those of somebody else."""

import errno
import multiprocessing
import os
import stat
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from otelflow._core.process import files
from otelflow._core.process.files import Folder, hold, is_held, is_running, lock

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither these links nor these locks")


@pytest.fixture(params=[True, False], ids=["by the folder", "by path"])
def system(request, monkeypatch):
    """A system that names files by the folder that holds them, and one that cannot, such as Windows."""
    if request.param and not files._HAS_FOLDER_DESCRIPTORS:
        pytest.skip("this system names no file by its folder")
    monkeypatch.setattr(files, "_HAS_FOLDER_DESCRIPTORS", request.param)
    return request.param


def test_a_file_is_replaced_whole_and_leaves_nothing_beside_it(system, tmp_path):
    with Folder(tmp_path) as folder:
        folder.write("name", b"old")
        folder.write("name", b"new")

        assert folder.read("name", 10) == b"new"
        assert folder.names() == ["name"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(system, tmp_path, monkeypatch):
    with Folder(tmp_path) as folder:
        folder.write("name", b"old")

        with pytest.raises(TypeError):
            folder.write("name", "no bytes")

        assert folder.read("name", 10) == b"old"
        assert folder.names() == ["name"]


def test_no_more_is_read_than_the_limit(system, tmp_path):
    (tmp_path / "name").write_bytes(b"x" * 5_000_000)

    with Folder(tmp_path) as folder:
        assert len(folder.read("name", 3_000_000)) == 3_000_000


@posix_only
def test_a_folder_that_is_moved_is_still_the_same(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "other").mkdir()
    with Folder(tmp_path / "folder") as folder:
        (tmp_path / "folder").rename(tmp_path / "moved")
        (tmp_path / "folder").symlink_to(tmp_path / "other")
        folder.write("name", b"x")

    assert (tmp_path / "moved" / "name").exists()
    assert list((tmp_path / "other").iterdir()) == []


@posix_only
@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_WRONLY | os.O_CREAT, os.O_RDWR])
def test_what_is_no_regular_file_is_not_opened(system, tmp_path, flags):
    (tmp_path / "target").write_text("content")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()

    with Folder(tmp_path) as folder:
        for name in ("link", "pipe", "folder"):
            assert folder.file(name) is None
            with pytest.raises(OSError, match=name):
                folder.open(name, flags)


@posix_only
def test_a_link_in_a_folders_place_is_refused(tmp_path):
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "target")

    with pytest.raises(OSError, match="link"):
        Folder(tmp_path / "link")
    with Folder(tmp_path) as folder, pytest.raises(OSError, match="link"):
        folder.subfolder("link", is_made=True)


@posix_only
@pytest.mark.parametrize(
    ("folder_mode", "folder_owner", "link_owner", "is_followed"),
    [
        (0o755, 500, 500, True),
        (0o755, 0, 500, True),
        (0o1777, 0, 500, False),
        (0o777, 0, 500, False),
        (0o770, 0, 500, False),
        (0o1777, 500, 500, True),
        (0o1777, 0, 0, True),
        (0o1777, 0, None, True),
    ],
)
def test_a_link_that_just_anybody_could_put_there_is_not_followed(folder_mode, folder_owner, link_owner, is_followed):
    folder = SimpleNamespace(st_mode=folder_mode, st_uid=folder_owner)
    link = SimpleNamespace(st_uid=os.geteuid() if link_owner is None else link_owner)

    with nullcontext() if is_followed else pytest.raises(OSError, match="another user has put the symbolic link 'a'"):
        files.check_link("a", link, folder)


@posix_only
@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("link", "folder"),
        ("link/deep", "folder/deep"),
        ("chain/deep", "folder/deep"),
        ("here/link/deep", "folder/deep"),
        ("folder/../link/deep/..", "folder"),
        ("folder/up/folder", "folder"),
        ("absolute/deep", "folder/deep"),
    ],
)
def test_a_folder_is_reached_by_the_links_of_its_owner(tmp_path, path, target):
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to("folder")
    (tmp_path / "chain").symlink_to("link")
    (tmp_path / "here").symlink_to(".")
    (tmp_path / "folder" / "up").symlink_to("..")
    (tmp_path / "absolute").symlink_to(tmp_path / "link")

    with Folder.reached(tmp_path / path, may_be_link=True) as folder:
        assert os.path.samestat(folder.status(), (tmp_path / target).stat())
        folder.write("name", b"x")

    assert (tmp_path / target / "name").read_bytes() == b"x"


def test_a_folder_is_made_with_those_around_it_when_it_is_asked_for(system, tmp_path):
    with pytest.raises(FileNotFoundError):
        Folder.reached(tmp_path / "a" / "b")
    assert not (tmp_path / "a").exists()

    with Folder.reached(tmp_path / "a" / "b", is_made=True) as folder:
        folder.write("name", b"x")
    with Folder.reached(tmp_path / "a" / "b", is_made=True) as folder:
        assert folder.names() == ["name"]


@posix_only
def test_a_link_in_its_own_place_is_followed_only_if_it_may(system, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")

    with pytest.raises(OSError, match=r"Not a directory|no folder|symbolic links"):
        Folder.reached(tmp_path / "link")
    with Folder.reached(tmp_path / "link", may_be_link=True) as folder:
        assert folder.names() == []


@posix_only
def test_links_that_lead_round_are_given_up_and_nothing_stays_open(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    before = len([*Path("/dev/fd").iterdir()])

    for _ in range(3):
        with pytest.raises(OSError, match=r"Not a directory|symbolic links"):
            Folder.reached(tmp_path / "a" / "c", may_be_link=True)

    assert len([*Path("/dev/fd").iterdir()]) == before


@posix_only
def test_a_folder_on_the_way_that_another_takes_the_place_of_leads_nowhere_else(tmp_path, monkeypatch):
    (tmp_path / "way" / "folder").mkdir(parents=True)
    (tmp_path / "elsewhere" / "folder").mkdir(parents=True)
    look = os.stat

    def exchanging(name, **options):
        status = look(name, **options)
        if name == "way":
            (tmp_path / "way").rename(tmp_path / "gone")
            (tmp_path / "way").symlink_to("elsewhere")
        return status

    monkeypatch.setattr(files.os, "stat", exchanging)

    with pytest.raises(OSError, match=r"Not a directory|symbolic links"):
        Folder.reached(tmp_path / "way" / "folder")


@posix_only
def test_a_file_is_held_until_it_is_closed(system, tmp_path):
    (tmp_path / "name").write_text("")
    with Folder(tmp_path) as folder:
        writer, reader = folder.open("name", os.O_WRONLY), folder.open("name", os.O_RDONLY)

        assert hold(writer)
        assert is_held(reader)
        os.close(writer)
        assert not is_held(reader)
        os.close(reader)


def test_a_process_is_running_or_not():
    assert is_running(os.getpid())
    assert not is_running(2**40)


def test_a_folder_tells_of_itself_and_of_its_regular_files(system, tmp_path):
    (tmp_path / "name").write_bytes(b"12345")
    os.utime(tmp_path / "name", (1_000, 2_000))
    (tmp_path / "other").mkdir()

    with Folder(tmp_path) as folder:
        assert folder.path == tmp_path
        assert folder.status().st_ino == tmp_path.stat().st_ino
        assert sorted(folder.names()) == ["name", "other"]
        assert folder.file("name") == ("name", 5, 2_000)
        assert folder.file("gone") is None


def test_what_is_no_folder_is_not_opened_as_one(system, tmp_path):
    (tmp_path / "name").write_text("a file")

    with pytest.raises(NotADirectoryError):
        Folder(tmp_path / "name")
    with pytest.raises(FileNotFoundError):
        Folder(tmp_path / "gone")


@posix_only
def test_what_is_made_is_its_owners_only(system, tmp_path):
    tmp_path.chmod(0o755)
    with Folder(tmp_path) as folder:
        with folder.subfolder("inner", is_made=True) as inner:
            inner.write("name", b"x")
            inner.write("public", b"x", 0o644)
        with folder.subfolder("inner", is_made=True), pytest.raises(FileNotFoundError):
            folder.subfolder("gone")
        os.close(folder.open("new", os.O_WRONLY | os.O_CREAT))
        folder.make_private()

    inner = tmp_path / "inner"
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (inner, inner / "name", tmp_path / "new")]
    assert modes == [0o700, 0o600, 0o600]
    if system:
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
        assert stat.S_IMODE((inner / "public").stat().st_mode) == 0o644


@posix_only
def test_a_folder_is_let_go_of_once(tmp_path, monkeypatch):
    closed = []
    close = os.close
    monkeypatch.setattr(os, "close", lambda descriptor: closed.append(descriptor) or close(descriptor))

    with Folder(tmp_path) as folder:
        _, descriptor = folder.address("name")
    at_exit = list(closed)
    folder.close()

    assert at_exit == closed == [descriptor]


@posix_only
def test_what_is_refused_is_not_left_open(system, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with Folder(tmp_path) as folder:
        before = os.dup(0)
        os.close(before)
        with pytest.raises(OSError, match="no regular file"):
            folder.open("pipe", os.O_RDONLY)
        after = os.dup(0)
        os.close(after)

    assert after == before


@pytest.mark.parametrize("limit", [0, 1, 1024 * 1024, 1024 * 1024 + 1, 5_000_000])
def test_what_is_read_is_the_beginning_of_the_file(tmp_path, limit):
    content = bytes(range(256)) * 10_000
    (tmp_path / "name").write_bytes(content)

    with Folder(tmp_path) as folder:
        assert folder.read("name", limit) == content[:limit]


def test_a_file_is_modified_when_it_is_touched_and_gone_when_it_is_removed(system, tmp_path):
    (tmp_path / "name").write_text("")
    (tmp_path / "folder").mkdir()
    os.utime(tmp_path / "name", (1, 1))
    began = time.time()

    with Folder(tmp_path) as folder:
        folder.touch("name")
        modified = folder.file("name").modified

        assert [folder.remove(name) for name in ("name", "name", "folder")] == [True, True, False]
        assert folder.names() == ["folder"]
    assert modified > began - 60


@posix_only
def test_a_link_is_touched_and_removed_itself(tmp_path):
    (tmp_path / "target").write_text("")
    os.utime(tmp_path / "target", (1, 1))
    (tmp_path / "link").symlink_to(tmp_path / "target")

    with Folder(tmp_path) as folder:
        folder.touch("link")
        folder.remove("link")

    assert (tmp_path / "target").stat().st_mtime == 1


@posix_only
def test_a_file_that_is_written_is_held_from_its_first_byte_on(tmp_path, monkeypatch):
    states = []
    fchmod = os.fchmod

    def look(descriptor, mode):
        (part,) = tmp_path.iterdir()
        with part.open() as reader:
            states.append((part.name.startswith(".name-"), is_held(reader.fileno())))
        fchmod(descriptor, mode)

    monkeypatch.setattr(os, "fchmod", look)
    with Folder(tmp_path) as folder:
        folder.write("name", b"x")

    assert states == [(True, True)]


@posix_only
def test_a_file_is_locked_by_one_at_a_time(tmp_path):
    with (tmp_path / "name").open("w") as first, (tmp_path / "name").open() as second:
        locks = [lock(first.fileno()), lock(second.fileno()), hold(second.fileno()), is_held(second.fileno())]
    with (tmp_path / "name").open() as third:
        later = lock(third.fileno())

    assert locks == [True, False, False, True]
    assert later is True


@posix_only
def test_a_child_that_was_forked_while_a_file_was_written_does_not_hold_it(tmp_path, monkeypatch):
    children, change_mode = [], os.fchmod

    def fork_before(*arguments):
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,), daemon=True)
        child.start()
        children.append(child)
        change_mode(*arguments)

    monkeypatch.setattr(files.os, "fchmod", fork_before)
    with Folder(tmp_path) as folder:
        folder.write("name", b"content")
    with (tmp_path / "name").open() as file:
        is_busy = is_held(file.fileno())
    for child in children:
        child.kill()
        child.join(10)

    assert (len(children), is_busy) == (1, False)


@posix_only
def test_where_no_file_can_be_locked_nobody_knows_who_holds_it(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(files.fcntl, "flock", flock)

    assert [hold(0), lock(0), is_held(0)] == [True, None, None]


@posix_only
@pytest.mark.parametrize(("error", "is_there"), [(ProcessLookupError, False), (PermissionError, True)])
def test_a_process_of_somebody_else_is_running(monkeypatch, error, is_there):
    def kill(process, number):
        assert (process, number) == (7, 0)
        raise error

    monkeypatch.setattr(os, "kill", kill)

    assert is_running(7) is is_there


@posix_only
def test_each_link_on_the_way_is_looked_at(tmp_path, monkeypatch):
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to("folder")
    (tmp_path / "chain").symlink_to("link")
    links = []
    monkeypatch.setattr(
        files, "check_link", lambda name, link, folder: links.append((name, link.st_uid, folder.st_ino))
    )

    Folder.reached(tmp_path / "chain" / "deep").close()

    assert links == [(name, os.getuid(), tmp_path.stat().st_ino) for name in ("chain", "link")]


@posix_only
def test_a_file_that_somebody_else_has_closed_is_not_open_and_what_has_its_number_stays_as_it_is(tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "other").write_text("other")
    file = files.OpenFile(os.open(tmp_path / "mine", os.O_RDWR))
    before = file.status().st_size
    os.close(file.descriptor)
    closed = file.status()
    other = os.open(tmp_path / "other", os.O_RDWR)
    number = file.descriptor
    reused = file.status()
    file.close(is_unlocked=True)

    assert number == other
    assert (before, closed, reused) == (4, None, None)
    assert os.fstat(other).st_size == 5
    os.close(other)


@posix_only
def test_an_open_file_knows_whether_its_name_still_leads_to_it(tmp_path):
    with Folder.reached(tmp_path) as folder:
        file = files.OpenFile(folder.open("a", os.O_RDWR | os.O_CREAT))
        first = file.has_name_in(folder, "a")
        folder.remove("a")
        removed = file.has_name_in(folder, "a")
        (tmp_path / "a").touch()
        anew = file.has_name_in(folder, "a")
        file.close()
        file.close()

    assert (first, removed, anew, file.status()) == (True, False, False, None)
