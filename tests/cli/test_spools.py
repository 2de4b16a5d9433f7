"""Which spools a command works on."""

import pytest

from otelflow._cli import _spools
from otelflow._core.process import settings
from otelflow.errors import ConfigurationError


@pytest.fixture
def state(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "otelflow" / "spool"


def test_without_any_spool_there_is_none(state):
    assert (_spools.spools(), _spools.inner_spools()) == ([], [])


def test_the_one_that_is_named_comes_first_then_those_that_nobody_has_named(state, monkeypatch, tmp_path):
    monkeypatch.setenv("OTELFLOW_SPOOL_DIR", str(tmp_path / "named"))
    settings._settings.reset()
    for name in ("b", "a"):
        (state / name).mkdir(parents=True)
    (state / "file").write_text("")

    assert _spools.spools() == [tmp_path / "named", state / "a", state / "b"]


def test_in_each_the_log_records_and_metrics_wait_that_there_are(state):
    (state / "a" / "logs").mkdir(parents=True)
    (state / "a" / "metrics").write_text("")
    (state / "b" / "metrics").mkdir(parents=True)

    assert _spools.inner_spools() == [state / "a" / "logs", state / "b" / "metrics"]


def test_a_user_without_a_home_has_the_one_that_is_named(state, monkeypatch, tmp_path):
    def refuse():
        raise ConfigurationError("no home")

    monkeypatch.setattr(_spools, "spools_directory", refuse)
    before = _spools.spools()
    monkeypatch.setenv("OTELFLOW_SPOOL_DIR", str(tmp_path / "named"))
    settings._settings.reset()

    assert before == []
    assert _spools.spools() == [tmp_path / "named"]
