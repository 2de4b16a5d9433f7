from otelflow import pytest_plugin

# What ships is what these tests use: the fixture of the plugin, under the name of what it gives.
spans = pytest_plugin.pytest.fixture(name="spans")(pytest_plugin.collected)
