"""RQ: each job is a flow, in the trace of who has enqueued it, and is delivered before its process ends."""

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
#: Milliseconds that the end of a job may wait for delivery: its process ends without a word
_LONGEST_FLUSH: Final = 5_000


class FlowJobMixin(_Job):
    """Makes a flow of each job of RQ: ``class FlowJob(FlowJobMixin, Job)``.

    The class is for those who enqueue, ``Queue(job_class=FlowJob)``, and for those who work, ``rq worker --job-class
    jobs.FlowJob``. The flow bears the name of the job's function, and goes on in the trace that the job was enqueued
    in; so does each retry. Call ``otelflow.configure()`` in the module of the jobs.

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
            with continue_trace(self.meta.get(_META, {}).get("headers", {})):
                return flow(flow_name=name, flow_config=config, execute_on_call=True)(self._perform)()
        finally:
            force_flush(_LONGEST_FLUSH)

    def _perform(self) -> Any:
        span = trace.get_current_span()
        span.set_attribute(semconv.JOB_ID, str(self.id))
        # RQ counts down the retries that it was asked for, and up those that the job has asked for.
        asked_for = self.meta.get(_META, {}).get("retries", 0) - (self.retries_left or 0)
        span.set_attribute(semconv.JOB_RETRIES, asked_for + (self.number_of_retries or 0))
        return super().perform()
