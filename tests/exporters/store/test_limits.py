import os
from datetime import timedelta
from pathlib import Path

import pytest

from otelflow.errors import ConfigurationError
from otelflow_exporters._store.limits import Limits, default_directory, store_directory, store_limits


def test_an_argument_wins_over_the_variable_and_the_variable_over_the_default(monkeypatch, tmp_path):
    assert store_directory() == tmp_path / "state" / "otelflow" / "traces"

    monkeypatch.setenv("OTELFLOW_STORE", str(tmp_path / "variable"))
    assert store_directory() == tmp_path / "variable"
    assert store_directory(tmp_path / "argument") == tmp_path / "argument"


@pytest.mark.parametrize("value", ["off", "OFF", " off "])
def test_off_is_no_directory(monkeypatch, value):
    monkeypatch.setenv("OTELFLOW_STORE", value)

    assert store_directory() is None


def test_a_relative_path_stays_where_it_was_when_the_program_changes_directory(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    assert store_directory("store") == tmp_path / "store"


def test_a_relative_xdg_directory_is_ignored_as_its_rules_say(monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", "relative")

    assert default_directory().is_absolute()


@pytest.mark.parametrize(
    ("platform", "end"),
    [
        ("linux", ".local/state/otelflow/traces"),
        ("darwin", "Library/Application Support/otelflow/traces"),
        ("win32", "AppData/Local/otelflow/traces"),
    ],
)
def test_each_platform_has_its_own_place(monkeypatch, platform, end):
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    monkeypatch.setattr("sys.platform", platform)

    assert default_directory() == Path.home() / end


def test_limits_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("OTELFLOW_STORE_MAX_BYTES", "1000000")
    monkeypatch.setenv("OTELFLOW_STORE_MAX_AGE_DAYS", "0.5")

    assert store_limits() == Limits(1_000_000, timedelta(hours=12))
    assert store_limits(max_bytes=5).max_bytes == 5


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTELFLOW_STORE_MAX_BYTES", "256MB"),
        ("OTELFLOW_STORE_MAX_BYTES", "0"),
        ("OTELFLOW_STORE_MAX_BYTES", "-1"),
        ("OTELFLOW_STORE_MAX_AGE_DAYS", "a week"),
        ("OTELFLOW_STORE_MAX_AGE_DAYS", "nan"),
        ("OTELFLOW_STORE_MAX_AGE_DAYS", "inf"),
        ("OTELFLOW_STORE_MAX_AGE_DAYS", "1e300"),
    ],
)
def test_a_bad_limit_names_its_variable_and_the_cure(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)

    with pytest.raises(ConfigurationError, match=f"{variable}='{value}'.*correct or unset it"):
        store_limits()


def test_a_limit_of_nothing_is_refused():
    with pytest.raises(ConfigurationError, match="above 0"):
        store_limits(max_bytes=0)
    with pytest.raises(ConfigurationError, match="above 0"):
        store_limits(max_age=timedelta(0))


def test_a_directory_that_cannot_be_a_path_is_refused():
    with pytest.raises(ConfigurationError, match="is no path"):
        store_directory("a\0b")


@pytest.mark.parametrize(
    ("name", "word"),
    [("of", "off"), ("OFFF", "off"), ("onn", "on"), ("flase", "false"), ("yess", "yes"), ("Non", "none")],
)
def test_a_word_that_is_nearly_yes_or_no_is_no_folder_unless_there_is_one(monkeypatch, tmp_path, name, word):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OTELFLOW_STORE", name)

    with pytest.raises(ConfigurationError, match=f"OTELFLOW_STORE='{name}': is '{word}' meant\\? .* write './{name}'"):
        store_directory()

    assert store_directory(f"./{name}") == store_directory(Path(name)) == tmp_path / name
    (tmp_path / name).mkdir()
    assert store_directory() == tmp_path / name


@pytest.mark.parametrize("name", ["store", "traces", "tree", "office", "notes", "f", "of.d", "x/of"])
def test_other_words_are_folders(monkeypatch, tmp_path, name):
    monkeypatch.chdir(tmp_path)

    assert store_directory(name) == tmp_path / name


def test_the_largest_limits_and_the_smallest_are_taken(monkeypatch):
    monkeypatch.setenv("OTELFLOW_STORE_MAX_BYTES", "1")
    monkeypatch.setenv("OTELFLOW_STORE_MAX_AGE_DAYS", "36500")

    assert store_limits() == Limits(1, timedelta(days=36_500))


def test_an_age_of_more_than_a_century_is_refused(monkeypatch):
    monkeypatch.setenv("OTELFLOW_STORE_MAX_AGE_DAYS", "36500.5")

    with pytest.raises(ConfigurationError, match="is not a number of days up to 36500, such as 7"):
        store_limits()


@pytest.mark.parametrize(
    "limits",
    [{"max_bytes": "256 MB"}, {"max_bytes": float("nan")}, {"max_bytes": 0}, {"max_age": 7}, {"max_age": timedelta(0)}],
)
def test_a_limit_that_is_none_is_refused(limits):
    with pytest.raises(ConfigurationError, match="must be a number of bytes and a timedelta, both above 0, not "):
        store_limits(**limits)


MEBIBYTE = 1024 * 1024


@pytest.mark.parametrize(
    ("limits", "segment_bytes", "payload_room", "segment_age"),
    [
        (Limits(), 4 * MEBIBYTE, 16 * MEBIBYTE, timedelta(days=1)),
        (Limits(max_bytes=6_400), 100, 400, timedelta(days=1)),
        (Limits(max_bytes=100_000 * MEBIBYTE), 16 * MEBIBYTE, 6_250 * MEBIBYTE, timedelta(days=1)),
        (Limits(max_bytes=10, max_age=timedelta(hours=70)), 1, 0, timedelta(hours=10)),
        (Limits(max_age=timedelta(days=30)), 4 * MEBIBYTE, 16 * MEBIBYTE, timedelta(days=1)),
    ],
)
def test_64_processes_and_their_payloads_keep_the_limits_together(limits, segment_bytes, payload_room, segment_age):
    assert (limits.segment_bytes, limits.payload_room, limits.segment_age) == (segment_bytes, payload_room, segment_age)
    assert Limits() == (256 * MEBIBYTE, timedelta(days=7))


@pytest.mark.parametrize(
    ("writers", "share"), [(0, 100), (1, 100), (32, 100), (33, 96), (64, 50), (1_000, 3), (100_000, 1)]
)
def test_very_many_processes_begin_smaller_segments_which_take_half_of_the_room(writers, share):
    assert Limits(max_bytes=6_400).segment_share(writers) == share


def test_a_home_that_is_not_to_be_found_is_one_error_with_the_cure(monkeypatch):
    def nowhere():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setattr(Path, "home", nowhere)

    with pytest.raises(ConfigurationError, match="no home directory for the store; set OTELFLOW_STORE to a directory"):
        store_directory()


@pytest.mark.skipif(os.name == "nt", reason="Windows looks nobody up")
def test_the_home_of_somebody_who_is_not_there_is_one_error_that_names_the_path():
    with pytest.raises(ConfigurationError, match="directory='~nobody-of-that-name/x' is no usable path"):
        store_directory("~nobody-of-that-name/x")
    with pytest.raises(ConfigurationError, match="is no usable path"):
        store_directory("/half/of/a/pair/\ud800")
