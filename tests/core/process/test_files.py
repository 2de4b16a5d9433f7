import os
import sys

import pytest

from otelflow._core.process.files import Folder, hold, is_held, is_running

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither these links nor these locks")


def test_a_file_is_replaced_whole_and_leaves_nothing_beside_it(tmp_path):
    with Folder(tmp_path) as folder:
        folder.write("name", b"old")
        folder.write("name", b"new")

        assert folder.read("name", 10) == b"new"
        assert folder.names() == ["name"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    with Folder(tmp_path) as folder:
        folder.write("name", b"old")

        with pytest.raises(TypeError):
            folder.write("name", "no bytes")

        assert folder.read("name", 10) == b"old"
        assert folder.names() == ["name"]


def test_no_more_is_read_than_the_limit(tmp_path):
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
def test_what_is_no_regular_file_is_not_opened(tmp_path, flags):
    (tmp_path / "target").write_text("content")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()

    with Folder(tmp_path) as folder:
        for name in ("link", "pipe", "folder"):
            assert folder.file(name) is None
            with pytest.raises(OSError, match=r"link|pipe|folder"):
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
def test_a_file_is_held_until_it_is_closed(tmp_path):
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
