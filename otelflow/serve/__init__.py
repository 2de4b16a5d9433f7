"""When does a flow run again: at an interval or at times of cron, in this process, until it is told to stop."""

from otelflow.serve._schedule import Schedule
from otelflow.serve._server import serve

__all__ = ["Schedule", "serve"]
