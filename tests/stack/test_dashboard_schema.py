"""Dashboards pass Grafana's schema, as its own library for Python has it."""

import enum
import json
import types
import typing
import warnings
from pathlib import Path

import pytest

from otelflow.generate import generate_dashboards

DASHBOARDS = sorted((Path(__file__).parents[2] / "deploy/grafana/dashboards").glob("*.json"))

pytest.importorskip("grafana_foundation_sdk", reason="not installed: pip install 'otelflow[stack]'")

with warnings.catch_warnings():
    # It would rather see the second format, which Grafana cannot provision from files without a resource around it.
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

register_default_plugins()


def misfits(value, kind, path="dashboard"):
    """Return where *value* is not of the type *kind*."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if kind is object or kind is typing.Any:  # what the plugin of a panel or data source knows
        return misfits_of_class(value, type(value), path) if hasattr(value, "from_json") else []
    if origin in (typing.Union, types.UnionType):
        faults_by_kind = [misfits(value, choice, path) for choice in inner]
        return [] if [] in faults_by_kind else min(faults_by_kind, key=len)
    if origin is typing.Literal:
        return [] if value in inner else [f"{path}: {value!r:.60} is not {inner}"]
    if origin is not None:
        return misfits_inside(value, origin, inner[-1], path)
    return misfits_of_class(value, kind, path)


def misfits_inside(value, container, kind, path):
    if not isinstance(value, container):
        return [f"{path}: {value!r:.60} is no {container.__name__}"]
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return [wrong for key, item in items for wrong in misfits(item, kind, f"{path}[{key!r}]")]


def misfits_of_class(value, kind, path):
    if issubclass(kind, enum.Enum):
        value, kind = str(value), tuple(str(member.value) for member in kind)
        return [] if value in kind else [f"{path}: {value!r:.60} is not one of {kind}"]
    if isinstance(value, dict) and hasattr(kind, "from_json"):
        value = kind.from_json(value)  # the library leaves some parts as they are
    is_right = isinstance(value, int | float) if kind is float else isinstance(value, kind)
    if not is_right or (isinstance(value, bool) and kind is not bool):
        return [f"{path}: {value!r:.60} is no {kind.__name__}"]
    if not hasattr(value, "from_json"):
        return []
    hints = typing.get_type_hints(type(value))
    return [
        wrong for name, hint in hints.items() for wrong in misfits(getattr(value, name, None), hint, f"{path}.{name}")
    ]


def unknown(written, understood, path="dashboard"):
    """Return what *written* says and Grafana's library did not understand."""
    if isinstance(written, dict) and isinstance(understood, dict):
        lost = [f"{path}.{key}" for key in written if key not in understood]
        both = written.keys() & understood.keys()
        return lost + [fault for key in both for fault in unknown(written[key], understood[key], f"{path}.{key}")]
    if isinstance(written, list) and isinstance(understood, list):
        pairs = enumerate(zip(written, understood, strict=True))
        return [wrong for place, pair in pairs for wrong in unknown(*pair, f"{path}[{place}]")]
    return [] if written == understood else [f"{path}: {written!r:.60} became {understood!r:.60}"]


def faults(dashboard):
    read = Dashboard.from_json(dashboard)
    return misfits(read, Dashboard) + unknown(dashboard, json.loads(JSONEncoder().encode(read)))


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.name)
def test_a_deployed_dashboard_passes(file):
    dashboard = json.loads(file.read_text())

    assert faults(dashboard) == []
    assert dashboard["schemaVersion"] <= Dashboard().schema_version


def test_what_is_generated_for_a_program_with_promises_passes(tmp_path, monkeypatch):
    flow = "from otelflow import Objective, flow\n\n@flow(objective=Objective(success=0.9))\ndef order(): ...\n"
    (tmp_path / "promising_shop.py").write_text(flow)
    monkeypatch.chdir(tmp_path)
    generated = generate_dashboards(["promising_shop"])

    assert len(generated) == 3
    assert {name: faults(dashboard) for name, dashboard in generated.items()} == {name: [] for name in generated}


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('"graphTooltip": 1', '"graphTooltip": 7'),
        ('"editable": true', '"editable": "yes"'),
        ('"showHeader": true', '"showsHeader": true'),
        ('"displayMode": "table"', '"displayMode": "tables"'),
    ],
)
def test_the_check_finds_a_mistake(right, wrong):
    text = next(file for file in DASHBOARDS if file.name == "otelflow-fleet.json").read_text()

    assert right in text
    assert faults(json.loads(text.replace(right, wrong))) != []
