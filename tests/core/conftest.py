import logging

import pytest

from otelflow import flow_events
from otelflow._core.inside import artifacts, log_capture
from otelflow._core.process import losses, settings


@pytest.fixture(autouse=True)
def settings_of_this_test(monkeypatch, tmp_path):
    """No file with settings around, and nothing of what another test has set."""
    monkeypatch.chdir(tmp_path)
    settings.forget()
    yield
    log_capture.capture([])
    settings.forget()
    flow_events.event_listeners.clear()
    artifacts.keep_payloads(None)


@pytest.fixture
def warnings_said(monkeypatch, caplog):
    """What is logged from now on, as if nothing had been warned of in this process yet."""
    monkeypatch.setattr(losses, "_said", set())
    caplog.set_level(logging.WARNING, "otelflow")
    return caplog
