"""Grafana dashboards: the fleet, one flow, one task."""

from otelflow.generate.dashboards._fleet import fleet
from otelflow.generate.dashboards._one_flow import one_flow
from otelflow.generate.dashboards._one_task import one_task

__all__ = ["fleet", "one_flow", "one_task"]
