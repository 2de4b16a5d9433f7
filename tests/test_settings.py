"""What is in force, as a program can ask for it."""

import pytest

from otelflow import settings
from otelflow._core.process.settings_table import SETTINGS
from otelflow.errors import ConfigurationError


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def test_all_settings_are_listed_with_value_origin_variable_and_meaning(monkeypatch):
    monkeypatch.setenv("OTELFLOW_VALUE_LIMIT", "99")

    listed = settings.in_force()

    assert set(listed) == set(SETTINGS)
    assert (listed["value_limit"].value, listed["value_limit"].origin) == (99, "OTELFLOW_VALUE_LIMIT")
    assert listed["flow_data__capture_events"].variable == "OTELFLOW_FLOW_DATA__CAPTURE_EVENTS"
    assert all(setting.meaning for setting in listed.values())


def test_a_check_reads_variables_anew_and_raises_for_the_first_mistake(monkeypatch):
    settings.check()
    monkeypatch.setenv("OTELFLOW_EVENTS", "spam")

    with pytest.raises(ConfigurationError, match="did you mean 'span'"):
        settings.check()
