"""RQ: each job is a flow, in the trace of who has enqueued it, and is delivered before its process ends."""

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace

from otelflow import Flow_Run__Config, continue_trace, flow, force_flush, semconv, trace_headers

if TYPE_CHECKING:
    from rq.job import Job

    _Job = Job
else:
    _Job = object

__all__ = ["FlowJobMixin"]

_META: Final = "otelflow"
#: What tells of the flow of a job, when that has ended
_HEADERS: Final = "otelflow_headers"
#: Milliseconds that the end of a job may wait for delivery: its process ends without a word
_LONGEST_FLUSH: Final = 5_000


class FlowJobMixin(_Job):
    """Makes a flow of each job of RQ: ``class FlowJob(FlowJobMixin, Job)``.

    The class is for those who enqueue, ``Queue(job_class=FlowJob)``, and for those who work, ``rq worker --job-class
    jobs.FlowJob``. The flow bears the name of the job's function, and goes on in the trace that the job was enqueued
    in; so do each retry, and what RQ calls of its end, ``on_success`` and its like. Call ``otelflow.configure()`` in
    the module of the jobs.

    >>> from otelflow.integrations.rq import FlowJobMixin
    >>> from rq.job import Job
    >>> class FlowJob(FlowJobMixin, Job):
    ...     pass
    """

    @classmethod
    def create(cls, *args: Any, **kwargs: Any) -> "Job":
        """Do as RQ's ``create``, and remember the trace in its ``meta``; called by ``Queue``."""
        job = super().create(*args, **kwargs)
        # A dict of its own: jobs may share theirs, or have that of a job before.
        job.meta = {**job.meta, _META: {"headers": trace_headers() or job.meta.get(_META, {}).get("headers", {})}}
        return job

    def to_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Do as RQ's ``to_dict``; when the job is first saved, it is known how often it may be tried again."""
        self.meta.get(_META, {}).setdefault("retries", self.retries_left or 0)
        return super().to_dict(*args, **kwargs)

    def perform(self) -> Any:
        """Do the job as a flow, deliver it, and return what RQ's ``perform`` returns; called by a worker."""
        config = Flow_Run__Config(raise_flow_error=True)  # RQ decides what becomes of it
        name = str(self.func_name).rpartition(".")[2]
        try:
            with continue_trace(self._headers_of_sender):
                return flow(flow_name=name, flow_config=config, execute_on_call=True)(self._perform)()
        finally:
            force_flush(_LONGEST_FLUSH)

    @property
    def success_callback(self) -> Any:
        """What RQ calls when the job has succeeded, which then goes on in the trace of the job."""
        return self._traced(super().success_callback)

    @property
    def failure_callback(self) -> Any:
        """What RQ calls when the job has failed, which then goes on in the trace of the job."""
        return self._traced(super().failure_callback)

    @property
    def stopped_callback(self) -> Any:
        """What RQ calls when the job was stopped, which then goes on in the trace of the job."""
        return self._traced(super().stopped_callback)

    @property
    def _headers_of_sender(self) -> dict[str, str]:
        headers: dict[str, str] = self.meta.get(_META, {}).get("headers", {})
        return headers

    def _traced(self, callback: Callable[..., Any] | None) -> Callable[..., Any] | None:
        if callback is None or inspect.iscoroutinefunction(callback):  # RQ says that it calls none
            return callback
        headers = vars(self).get(_HEADERS) or self._headers_of_sender

        @functools.wraps(callback)
        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                with continue_trace(headers):
                    return callback(*args, **kwargs)
            finally:
                force_flush(_LONGEST_FLUSH)

        return call

    def _perform(self) -> Any:
        vars(self)[_HEADERS] = trace_headers()
        span = trace.get_current_span()
        span.set_attribute(semconv.JOB_ID, str(self.id))
        # RQ counts down the retries that it was asked for, and up those that the job has asked for.
        asked_for = self.meta.get(_META, {}).get("retries", 0) - (self.retries_left or 0)
        span.set_attribute(semconv.JOB_RETRIES, asked_for + (self.number_of_retries or 0))
        return super().perform()
