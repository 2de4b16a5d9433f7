"""Celery: each task that a worker does is a flow, in the trace of its sender; so are retries, and what it sends."""

import contextlib
import functools
from typing import TYPE_CHECKING, Any, Final, TypeVar

from opentelemetry import trace

from otelflow import Flow_Run__Config, continue_trace, flow, force_flush, semconv, trace_headers
from otelflow.errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["make_flows"]

A = TypeVar("A")
#: What a task sends after its end (the next of a chain) goes on in its trace
_HEADERS: Final = "otelflow_headers"
#: Whether what a task calls itself is called inside of its flow
_IS_FLOW: Final = "otelflow_is_flow"
#: What a task has raised to leave no result
_NO_RESULT: Final = "otelflow_no_result"
#: Where Celery's own tasks are written: one asks each second whether all parts of a chord are done, and sends its end
_OWN_TASKS: Final = "celery.app.builtins"
#: Milliseconds that the end of a worker's process may wait for delivery
_LONGEST_FLUSH: Final = 5_000


def make_flows(app: A) -> A:
    """Make a flow of each task that a worker of *app* does.

    *app* (a Celery application, before its tasks are used). The flow is called as the task is, such as
    ``shop.tasks.charge``. Whatever the application sends bears the trace of the sender, which the flow goes on with;
    where OpenTelemetry's instrumentation of Celery is in use, its spans are the parents. Each try is a run, which bears
    the number of those before. A task that is called as a function is called as ever, and Celery's own tasks are none.

    Call ``otelflow.configure()`` where Celery's signal ``worker_init`` comes. The processes of a pool deliver before
    they end.

    Returns the application. Raises MissingExtra where Celery is not installed.

    >>> from celery import Celery
    >>> from otelflow.integrations.celery import make_flows
    >>> app = make_flows(Celery("shop"))
    """
    try:
        from celery import signals  # noqa: PLC0415 only where it is installed
        from celery.utils.imports import symbol_by_name  # noqa: PLC0415 see above
    except ModuleNotFoundError:
        raise MissingExtra("celery") from None
    application: Any = app
    application.task_cls = _flow_class(symbol_by_name(application.task_cls))
    task_from_function = application._task_from_fun  # noqa: SLF001 shared tasks have no other way

    def make_task(function: Any, name: str | None = None, base: Any = None, **options: Any) -> Any:
        return task_from_function(function, name, _flow_class(base or application.Task), **options)

    application._task_from_fun = make_task  # noqa: SLF001 as above
    application.register_task = _with_flow_classes(application.register_task)
    for signal, receiver in (
        (signals.before_task_publish, _send_trace),
        (signals.worker_process_shutdown, _deliver),
        (signals.worker_shutdown, _deliver),
    ):
        signal.connect(receiver, dispatch_uid=f"otelflow {receiver.__name__}")
    return app


def _with_flow_classes(register_task: "Callable[..., Any]") -> "Callable[..., Any]":
    """Return Celery's *register_task*, which takes a task that is written as a class, or an object of one."""

    def register(task: Any, **options: Any) -> Any:
        if isinstance(task, type):
            return register_task(_flow_class(task), **options)
        kind = _flow_class(type(task))
        if kind is not type(task):  # else it may be a proxy
            task.__class__ = kind
        return register_task(task, **options)

    return register


def _flow_class(base: Any) -> Any:
    """Return what Celery makes tasks of, whose tasks are flows: *base*, if its are, or a class made of it."""
    from celery import Task  # noqa: PLC0415 see above

    if not isinstance(base, type) or not issubclass(base, Task):
        return base  # Celery says what is wrong with it
    caller = next(kind for kind in base.__mro__ if "__call__" in vars(kind))
    return base if "run_as_flow" in vars(caller) else _new_flow_class(base, has_own_call=caller is not Task)


def _new_flow_class(base: Any, *, has_own_call: bool) -> type:
    """Return a class that differs from *base* in how a worker calls its tasks."""
    from celery.exceptions import Ignore, Reject  # noqa: PLC0415 see above

    class FlowTask(base):  # type: ignore[misc]
        abstract = True

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            # A class in between that calls this one does so inside of the flow.
            if self.request.called_directly or getattr(self.request, _IS_FLOW, False):
                # Celery calls what `link_error` names after the flow of the task that has failed.
                with contextlib.ExitStack() as stack:
                    if ended := _headers_of_ended_task():
                        stack.enter_context(continue_trace(ended))
                    return super().__call__(*args, **kwargs)
            # What the sender has sent beside the task; Celery makes attributes of a part of it.
            headers = {**vars(self.request), **(self.request.headers or {})}
            with continue_trace({name: value for name, value in headers.items() if isinstance(value, str)}):
                value = self.run_as_flow(args, kwargs)
            error = getattr(self.request, _NO_RESULT, None)
            if error is not None:
                setattr(self.request, _NO_RESULT, None)  # its traceback holds this frame, which would hold it
                raise error
            return value

        @functools.cached_property
        def run_as_flow(self) -> "Callable[..., Any]":
            if self.__module__ == _OWN_TASKS:
                return self._run_of_flow
            config = Flow_Run__Config(raise_flow_error=True)  # Celery decides what becomes of it
            return flow(flow_name=self.name, flow_config=config, execute_on_call=True)(self._run_of_flow)

        def _run_of_flow(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            """The body of a Celery task's flow."""
            span = trace.get_current_span()
            span.set_attribute(semconv.JOB_ID, str(self.request.id))
            span.set_attribute(semconv.JOB_RETRIES, int(self.request.retries or 0))
            setattr(self.request, _HEADERS, trace_headers())
            setattr(self.request, _IS_FLOW, True)
            try:
                return super().__call__(*args, **kwargs) if has_own_call else self.run(*args, **kwargs)
            except (Ignore, Reject) as error:  # the task has said what becomes of it, and has not failed
                setattr(self.request, _NO_RESULT, error)
                return None

    # Celery names a task that is a class by its class and module.
    for name in ("__name__", "__qualname__", "__module__", "__doc__"):
        setattr(FlowTask, name, getattr(base, name))
    return FlowTask


def _headers_of_ended_task() -> dict[str, str]:
    """Return what tells of the trace of the task whose flow has just ended, if no other is current."""
    from celery import current_task  # noqa: PLC0415 see above

    request = getattr(current_task, "request", None)  # of no task, where none is
    if request is None or trace.get_current_span().get_span_context().is_valid:
        return {}
    headers: dict[str, str] = getattr(request, _HEADERS, {})
    return headers


def _send_trace(headers: dict[str, Any] | None = None, **_: object) -> None:
    if headers is not None:
        for name, value in (_headers_of_ended_task() or trace_headers()).items():
            headers.setdefault(name, value)


def _deliver(**_: object) -> None:
    force_flush(_LONGEST_FLUSH)
