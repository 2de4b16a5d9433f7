import pytest

from otelflow import flow
from otelflow.integrations.rq import FlowJobMixin

pytest.importorskip("rq", reason="not installed: pip install 'otelflow[rq]'")

from redis import Redis
from rq.job import Job


class FlowJob(FlowJobMixin, Job):
    pass


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
