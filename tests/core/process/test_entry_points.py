"""Names in OpenTelemetry's variables, and what is registered under them."""

import os
from importlib.metadata import EntryPoint, EntryPoints

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

from otelflow._core.process import entry_points
from otelflow._core.process.entry_points import check_provider, empty_is_unset, load
from otelflow.errors import ConfigurationError

IDS, PROVIDERS = "opentelemetry_id_generator", "opentelemetry_tracer_provider"


@pytest.fixture
def registered(monkeypatch):
    """Call it with names and places: nothing else is registered, as in a frozen application."""

    def register(**places):
        entries = EntryPoints(EntryPoint(name, place, IDS) for name, place in places.items())
        monkeypatch.setattr(entry_points, "entry_points", lambda **chosen: entries.select(**chosen))

    register()
    return register


def test_what_is_registered_is_loaded_by_its_name(registered):
    registered(Mine="collections:OrderedDict", random="builtins:list")

    assert load(IDS, "Mine", "V").__name__ == "OrderedDict"
    assert load(IDS, "RANDOM", "V") is list, "OpenTelemetry's own names are in any case"
    registered(otlp="builtins:dict", OTLP="builtins:set")
    assert (load(IDS, "Otlp", "V"), load(IDS, "OTLP", "V")) == (dict, set)


@pytest.mark.parametrize(
    ("group", "name", "kind"), [(IDS, "random", RandomIdGenerator), (PROVIDERS, "SDK_tracer_provider", TracerProvider)]
)
def test_what_opentelemetry_has_is_there_also_where_nothing_is_registered(registered, group, name, kind):
    assert load(group, name, "V") is kind


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("mine", "^V: nothing is registered as 'mine'; did you mean 'Mine'[?]$"),
        ("zzzzz", "^V: nothing is registered as 'zzzzz'"),
        ("'Mine'", "^V: nothing is registered as \"'Mine'\".*quotes"),
        ("broken", "^V=broken: gone.away:thing does not load: No module named 'gone'$"),
    ],
)
def test_a_name_that_leads_nowhere_is_an_error_that_names_its_variable(registered, name, says):
    registered(Mine="collections:OrderedDict", broken="gone.away:thing")

    with pytest.raises(ConfigurationError, match=says):
        load(IDS, name, "V")


def test_what_is_not_installed_is_not_registered(registered, monkeypatch):
    monkeypatch.setattr(entry_points, "_BY_NAME", {IDS: {"random": "gone.away:thing", "odd": "builtins:nothing"}})

    for name in ("random", "odd"):
        with pytest.raises(ConfigurationError, match=f"nothing is registered as '{name}'"):
            load(IDS, name, "V")


def test_a_provider_is_checked_where_its_variable_names_one(registered, monkeypatch):
    monkeypatch.delenv("OTEL_PYTHON_TRACER_PROVIDER", raising=False)
    check_provider("tracer")
    for name in ("", "sdk_tracer_provider"):
        monkeypatch.setenv("OTEL_PYTHON_TRACER_PROVIDER", name)
        check_provider("tracer")
    monkeypatch.setenv("OTEL_PYTHON_TRACER_PROVIDER", "spam")

    with pytest.raises(ConfigurationError, match=r"^OTEL_PYTHON_TRACER_PROVIDER: nothing is registered as 'spam'"):
        check_provider("tracer")


def test_an_empty_variable_of_a_provider_is_none_meanwhile_and_stays_as_it_was(monkeypatch):
    monkeypatch.setenv("OTEL_PYTHON_METER_PROVIDER", "")
    monkeypatch.setenv("OTEL_PYTHON_LOGGER_PROVIDER", "mine")

    with empty_is_unset():
        meanwhile = dict(os.environ)

    assert "OTEL_PYTHON_METER_PROVIDER" not in meanwhile
    assert meanwhile["OTEL_PYTHON_LOGGER_PROVIDER"] == "mine"
    assert os.environ["OTEL_PYTHON_METER_PROVIDER"] == ""
