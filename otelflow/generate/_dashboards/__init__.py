"""Grafana dashboards: the fleet, one flow, one task."""

from otelflow.generate._dashboards.fleet import fleet
from otelflow.generate._dashboards.one_flow import one_flow
from otelflow.generate._dashboards.one_task import one_task

__all__ = ["fleet", "one_flow", "one_task"]
