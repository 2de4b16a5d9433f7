"""Where otelflow keeps what outlives a process, and what is said where that is nowhere."""

from pathlib import Path

import pytest

from otelflow._core.process.directories import state_directory
from otelflow.errors import ConfigurationError


def test_it_is_where_xdg_says_unless_that_is_relative(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_directory("x", "y") == tmp_path / "otelflow"

    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert state_directory("x", "y").is_absolute()


def test_without_a_home_the_error_says_what_for_and_what_to_do(monkeypatch):
    def home():
        raise RuntimeError("no home")

    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setattr(Path, "home", home)

    with pytest.raises(ConfigurationError, match=r"^This user has no home directory for values to be kept; set IT$"):
        state_directory("values to be kept", "set IT")
