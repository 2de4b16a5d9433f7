"""Listeners are forgotten after each test, and a provider may be in force."""

import pytest
from opentelemetry.sdk.trace import TracerProvider

from otelflow import flow_events, remove_listener
from otelflow._core.inside import listeners
from otelflow._core.process import provider as spans


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    yield
    for listener in listeners.listeners():
        remove_listener(listener)
    flow_events.event_listeners.clear()


@pytest.fixture
def provided():
    """Call it with the options of a TracerProvider to have one in force; returns it."""
    before = []

    def provide(**options):
        provider = TracerProvider(shutdown_on_exit=False, **options)
        before.append(spans.use_provider(provider))
        return provider

    yield provide
    for provider in reversed(before):
        spans.use_provider(provider)
