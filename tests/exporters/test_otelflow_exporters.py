"""The face of the package."""

import os
import subprocess
import sys

import pytest

import otelflow_exporters


def test_every_public_name_is_there_and_nothing_else_is_listed():
    values = [getattr(otelflow_exporters, name) for name in otelflow_exporters.__all__]

    assert None not in values
    assert {name for name in dir(otelflow_exporters) if not name.startswith("__")} == set(otelflow_exporters.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        _ = otelflow_exporters.nothing


def test_importing_it_loads_neither_the_sdk_nor_rich():
    source = (
        "import sys, otelflow_exporters\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('opentelemetry', 'rich', 'google', 'otelflow')])"
    )

    done = subprocess.run(
        [sys.executable, "-S", "-c", source],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )

    assert done.stdout == "[]\n"
