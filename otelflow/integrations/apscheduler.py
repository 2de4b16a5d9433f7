"""APScheduler: each run of a job is a flow."""

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from opentelemetry import trace

from otelflow import Flow, Flow_Run__Config, flow, semconv
from otelflow.errors import ConfigurationError

if TYPE_CHECKING:
    from apscheduler.job import Job

__all__ = ["flow_executor"]

E = TypeVar("E")


def flow_executor(executor: E) -> E:
    """Make a flow of each run of each job that *executor* is given.

    *executor* (one of APScheduler 3: of threads, processes, asyncio, gevent): it is given to the scheduler as ever,
    ``BackgroundScheduler(executors={"default": flow_executor(ThreadPoolExecutor(10))})``. The flow bears the name of
    the job's function, however many jobs there are, and the job's id as an attribute. A job that is a function of
    ``@flow`` is run, not only set up, and is that flow, without the attribute. What a job raises comes out, so that
    APScheduler reports it as ever. A run that was missed is none.

    Call ``otelflow.configure()`` in the module of the jobs where they run in processes: those import it anew.

    Returns the executor. Raises ConfigurationError for what is no executor.

    >>> from apscheduler.executors.pool import ThreadPoolExecutor
    >>> from apscheduler.schedulers.background import BackgroundScheduler
    >>> from otelflow.integrations.apscheduler import flow_executor
    >>> scheduler = BackgroundScheduler(executors={"default": flow_executor(ThreadPoolExecutor(4))})
    """
    submit_job: Callable[[Any, Any], None] | None = getattr(executor, "submit_job", None)
    if submit_job is None or isinstance(executor, type):
        kinds = "an executor of APScheduler 3, such as ThreadPoolExecutor(4) of apscheduler.executors.pool"
        raise ConfigurationError(f"flow_executor needs {kinds}, not {executor!r:.60}")

    def submit_as_flow(job: "Job", run_times: Any) -> None:
        submit_job(job if isinstance(job, _FlowJob) else _FlowJob(job), run_times)

    executor.submit_job = submit_as_flow  # type: ignore[attr-defined]  # it was there a moment ago
    return executor


class _FlowJob:
    """A job as its executor sees it: what it calls runs as a flow, in whatever thread or process."""

    def __init__(self, job: "Job") -> None:
        self._job: Final = job
        self.func: Final = _run_of(job)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._job, name)

    def __str__(self) -> str:
        return str(self._job)

    def __reduce__(self) -> tuple[Any, ...]:
        return _FlowJob, (self._job,)


def _run_of(job: "Job") -> Callable[..., Any]:
    function: Callable[..., Any] = job.func
    job_id = str(job.id)
    is_async = inspect.iscoroutinefunction(function)
    if getattr(function, "__otelflow__", None) == "flow" and is_async:  # it runs when it is called
        return function
    name = _name_of(function, job.func_ref)
    config = Flow_Run__Config(raise_flow_error=True)  # the scheduler reports it
    decorate = flow(flow_name=name, flow_config=config, execute_on_call=True)

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        trace.get_current_span().set_attribute(semconv.JOB_ID, job_id)
        return function(*args, **kwargs)

    @functools.wraps(function)
    async def run_async(*args: Any, **kwargs: Any) -> Any:
        trace.get_current_span().set_attribute(semconv.JOB_ID, job_id)
        return await function(*args, **kwargs)

    @functools.wraps(function)
    def execute(*args: Any, **kwargs: Any) -> Any:
        value = function(*args, **kwargs)
        is_set_up = isinstance(value, Flow) and value.status is None
        return value.execute().flow_return_value if is_set_up else value

    if getattr(function, "__otelflow__", None) == "flow":
        return execute
    return decorate(run_async if is_async else run)


def _name_of(function: Any, reference: str | None) -> str:
    """Return what a job's function is called; a job has a name of its own, and there may be very many."""
    if reference:  # module:Class.method
        return reference.rpartition(":")[2].rpartition(".")[2]
    while isinstance(function, functools.partial):
        function = function.func
    return str(getattr(function, "__name__", type(function).__name__))
