"""Where the files of limits lie, how they are called, and what holds where there can be none."""

import os
import stat
from pathlib import Path

import pytest

from otelflow._core.policies import limit_files
from otelflow._core.policies.limit_files import directory, file_name, open_file
from otelflow._core.process import process


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home in which nothing says where the state of programs lies."""
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("platform", "parts"),
    [
        ("linux", ".local/state/otelflow/limits"),
        ("freebsd13", ".local/state/otelflow/limits"),
        ("darwin", "Library/Application Support/otelflow/limits"),
    ],
)
def test_they_lie_beside_the_store(home, monkeypatch, platform, parts):
    monkeypatch.setattr(limit_files.sys, "platform", platform)

    assert directory() == home / parts


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_a_folder_for_state_is_used_if_it_is_one_from_the_root(home, monkeypatch, platform):
    monkeypatch.setattr(limit_files.sys, "platform", platform)
    usual = directory()
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "state"))
    named = directory()
    monkeypatch.setenv("XDG_STATE_HOME", "state")

    assert (named, directory()) == (home / "state" / "otelflow" / "limits", usual)


@pytest.mark.parametrize("name", ["db", "0", "a_b-c", "x" * 80])
def test_a_plain_name_is_the_name_of_the_file(name):
    assert file_name(name) == name


@pytest.mark.parametrize("name", ["Db", "_db", "a.b", "a/b", "../x", "x" * 81, "é", "half \ud83d", "a\n", ""])
def test_any_other_name_is_plain_in_the_file_system_and_no_other_s(name):
    called = file_name(name)
    plain, _, digits = called.partition(".")

    assert called == file_name(name) != file_name(f"{name}!")
    assert len(plain) <= 40
    assert set(plain) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-")
    assert (len(digits), int(digits, 16) >= 0) == (24, True)


def test_the_beginning_of_a_name_can_be_read():
    assert file_name("Shop API!").startswith("shop_api_.")
    assert file_name("X" * 100).startswith("x" * 40 + ".")


@pytest.fixture
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    process.reset()
    return tmp_path / "otelflow" / "limits"


def test_a_file_is_made_in_a_private_folder_and_found_again(state, monkeypatch):
    first = open_file("db.rate")
    os.write(first, b"said")
    os.close(first)
    second = open_file("db.rate")
    content = os.read(second, 10)
    os.close(second)
    monkeypatch.setenv("XDG_STATE_HOME", str(state.parent / "other"))
    third = open_file("db.rate")
    elsewhere = os.read(third, 10)
    os.close(third)

    assert (content, elsewhere) == (b"said", b"")
    assert (state / "db.rate").read_bytes() == b"said"
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert (state.parent / "other/otelflow/limits/db.rate").exists()


def test_the_folder_is_opened_once(state):
    os.close(open_file("first"))
    opened = len(list(Path("/dev/fd").iterdir()))
    for number in range(20):
        os.close(open_file(f"next{number}"))

    assert len(list(Path("/dev/fd").iterdir())) == opened


def test_where_there_can_be_no_file_that_is_said_once(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("mine")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    process.reset()

    assert [open_file("db"), open_file("db")] == [None, None]
    (message,) = caplog.messages
    assert message.startswith("Limits hold in this process only: their files cannot be used (")


def test_without_such_locks_there_are_no_files(state, monkeypatch, caplog):
    monkeypatch.setattr(limit_files.sys, "platform", "win32")

    assert open_file("db") is None
    assert (state.exists(), caplog.messages) == (False, [])


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such locks")
def test_a_program_that_has_closed_the_folder_still_has_files_in_it(state, tmp_path):
    os.close(open_file("db.0"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    reused = limit_files._files.folder._descriptor
    other = os.open(elsewhere, os.O_RDONLY)
    os.dup2(other, reused)
    os.close(other)
    os.close(open_file("db.1"))

    assert sorted(path.name for path in state.iterdir()) == ["db.0", "db.1"]
    assert list(elsewhere.iterdir()) == []
    os.fstat(reused)
    os.close(reused)
