"""One program under OSBot-Utils and under otelflow: what must be equal, and what differs on purpose."""

import re

import pytest

import otelflow
from otelflow._core import config

osbot_events = pytest.importorskip("osbot_utils.helpers.flows.Flow__Events", reason="osbot-utils is not installed", exc_type=ImportError) \
    if False else None
