import logging

import pytest


@pytest.fixture(autouse=True)
def no_settings_file(monkeypatch, tmp_path):
    """No file with settings lies around."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def warnings_said(caplog):
    """What is logged from now on."""
    caplog.set_level(logging.WARNING, "otelflow")
    return caplog
