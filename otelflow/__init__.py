"""A flow framework whose every run is an OpenTelemetry trace.

Importing it needs opentelemetry-api only and changes nothing; what needs the SDK, or is not needed to run a flow, loads
when it is first asked for. (PYTEST_DONT_REWRITE: it may have been imported before pytest.)
"""

from typing import TYPE_CHECKING, Any, Final

from otelflow import errors as errors
from otelflow._core.flows.config import Flow_Run__Config
from otelflow._core.flows.decorators import flow, task
from otelflow._core.flows.flow import Flow
from otelflow._core.flows.injection import INJECTED
from otelflow._core.flows.objective import Objective
from otelflow._core.flows.task import Task
from otelflow._version import __version__ as __version__
from otelflow.errors import OtelflowError

if TYPE_CHECKING:
    from otelflow._core.flows.future import Future, FutureList, as_completed, unmapped, wait
    from otelflow._core.flows.submitting import submit
    from otelflow._core.flows.thread_pool import ThreadPoolExecutor
    from otelflow._core.inside.artifacts import Artifact, Result
    from otelflow._core.inside.events import Flow_Run__Event, Flow_Run__Event_Data, Flow_Run__Event_Type
    from otelflow._core.inside.listeners import Flow_Events, add_listener, flow_events, remove_listener
    from otelflow._core.inside.log_capture import get_run_logger
    from otelflow._core.policies.delays import exponential_backoff
    from otelflow._core.policies.limits import concurrency, rate_limit
    from otelflow._core.runs.propagation import continue_trace, trace_environment, trace_headers
    from otelflow._core.text.redaction import redact
    from otelflow._listeners.listener import Listener
    from otelflow._telemetry.configure import Telemetry, configure, force_flush

__all__ = [
    "INJECTED",
    "Artifact",
    "Flow",
    "Flow_Events",
    "Flow_Run__Config",
    "Flow_Run__Event",
    "Flow_Run__Event_Data",
    "Flow_Run__Event_Type",
    "Future",
    "FutureList",
    "Listener",
    "Objective",
    "OtelflowError",
    "Result",
    "Task",
    "Telemetry",
    "ThreadPoolExecutor",
    "add_listener",
    "as_completed",
    "concurrency",
    "configure",
    "continue_trace",
    "exponential_backoff",
    "flow",
    "flow_events",
    "force_flush",
    "get_run_logger",
    "rate_limit",
    "redact",
    "remove_listener",
    "submit",
    "task",
    "trace_environment",
    "trace_headers",
    "unmapped",
    "wait",
]

_LATE: Final = {
    "Artifact": "otelflow._core.inside.artifacts",
    "Flow_Events": "otelflow._core.inside.listeners",
    "Flow_Run__Event": "otelflow._core.inside.events",
    "Flow_Run__Event_Data": "otelflow._core.inside.events",
    "Flow_Run__Event_Type": "otelflow._core.inside.events",
    "Future": "otelflow._core.flows.future",
    "FutureList": "otelflow._core.flows.future",
    "Listener": "otelflow._listeners.listener",
    "Result": "otelflow._core.inside.artifacts",
    "Telemetry": "otelflow._telemetry.configure",
    "ThreadPoolExecutor": "otelflow._core.flows.thread_pool",
    "add_listener": "otelflow._core.inside.listeners",
    "as_completed": "otelflow._core.flows.future",
    "concurrency": "otelflow._core.policies.limits",
    "configure": "otelflow._telemetry.configure",
    "continue_trace": "otelflow._core.runs.propagation",
    "exponential_backoff": "otelflow._core.policies.delays",
    "flow_events": "otelflow._core.inside.listeners",
    "force_flush": "otelflow._telemetry.configure",
    "get_run_logger": "otelflow._core.inside.log_capture",
    "rate_limit": "otelflow._core.policies.limits",
    "redact": "otelflow._core.text.redaction",
    "remove_listener": "otelflow._core.inside.listeners",
    "submit": "otelflow._core.flows.submitting",
    "trace_environment": "otelflow._core.runs.propagation",
    "trace_headers": "otelflow._core.runs.propagation",
    "unmapped": "otelflow._core.flows.future_inputs",  # also without a map() it is to be understood
    "wait": "otelflow._core.flows.future",
}
#: What is written whole where it is used: otelflow.metrics.asgi_app(), otelflow.testing.flow_trace()
_MODULES: Final = ("metrics", "testing")


if not TYPE_CHECKING:  # a type checker would take any misspelt name for one of these

    def __getattr__(name: str) -> Any:
        if name not in _LATE and name not in _MODULES:
            raise AttributeError(f"module 'otelflow' has no attribute {name!r}")
        import importlib  # noqa: PLC0415 only for the names that take long to load

        if name in _MODULES:
            return importlib.import_module(f"otelflow.{name}")
        value = getattr(importlib.import_module(_LATE[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
