import pytest

from otelflow import flow, task
from otelflow.integrations.rq import FlowJobMixin

pytest.importorskip("rq", reason="not installed: pip install 'otelflow[rq]'")

from redis import Redis
from rq.job import Callback, Job

from support.servers import parents_of


class FlowJob(FlowJobMixin, Job):
    pass


class Unasked(Redis):
    """No server: an older RQ tells it that a job begins, and nothing else is asked here."""

    def persist(self, name):
        return 0


def charge():
    """Stands for the function of a job."""


@flow(execute_on_call=True)
def order(meta):
    return FlowJob.create(charge, meta=meta, connection=Redis())  # which is asked for nothing


def traces_of(jobs):
    return [job.meta["otelflow"]["headers"]["traceparent"].split("-")[1] for job in jobs]


def test_jobs_that_share_their_meta_are_each_in_the_trace_of_their_own(spans):
    meta = {"shop": 1}

    jobs = [order(meta), order(meta)]

    assert traces_of(jobs) == [f"{span.context.trace_id:032x}" for span in spans.named("flow order")]
    assert len(set(traces_of(jobs))) == 2
    assert meta == {"shop": 1} == {name: jobs[0].meta[name] for name in meta}


def test_a_job_with_the_meta_of_another_goes_on_in_its_trace_only_where_there_is_none(spans):
    first = order(None)
    first.retries_left = 3
    first.to_dict()

    jobs = [order(first.meta), FlowJob.create(charge, meta=first.meta, connection=Redis())]

    traces = [f"{span.context.trace_id:032x}" for span in spans.named("flow order")]
    assert traces_of([first, *jobs]) == [traces[0], traces[1], traces[0]]
    assert ["retries" in job.meta["otelflow"] for job in (first, *jobs)] == [True, False, False]


@task
def tell(*_):
    """Stands for what is called when a job has ended."""


@pytest.mark.parametrize("name", ["success", "failure", "stopped"])
@pytest.mark.parametrize("is_done", [True, False], ids=["in the process of the job", "in another"])
def test_what_is_called_at_the_end_of_a_job_is_in_its_trace(spans, name, is_done):
    callbacks = {f"on_{name}": Callback(tell)}

    @flow(execute_on_call=True)
    def order():
        return FlowJob.create(charge, connection=Unasked(), **callbacks)

    job = order()
    if is_done:
        job.perform()
    getattr(job, f"{name}_callback")(job, None)

    assert parents_of(spans)[-1] == ("task tell", "flow charge" if is_done else "flow order")
    assert len({span.context.trace_id for span in spans.spans}) == 1


def test_a_job_without_such_functions_has_none(spans):
    job = order(None)

    assert (job.success_callback, job.failure_callback, job.stopped_callback) == (None, None, None)
