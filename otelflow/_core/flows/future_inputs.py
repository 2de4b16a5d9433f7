"""What is called, not submitted, with futures: it waits for them, and gets their values."""

from typing import Any

from otelflow import semconv
from otelflow._core.flows.definition import Definition, Kind
from otelflow._core.flows.future import Future, ask, wait
from otelflow._core.flows.future import unmapped as unmapped  # noqa: PLC0414 whoever has it from here has fill_in()
from otelflow._core.flows.future_arguments import resolved_arguments, upstream_of, whole_arguments
from otelflow._core.flows.future_states import failure_of, has_failed
from otelflow._core.flows.future_waits import end_of
from otelflow._core.runs import spans
from otelflow._core.runs.run import Run
from otelflow._core.text.safe_str import comes_from_outside
from otelflow.errors import UpstreamFailed


def first_failed(futures: list[Future[Any]]) -> Future[Any] | None:
    """Return the first of *futures*, which are done, that has failed."""
    return next((future for future in futures if has_failed(future)), None) if futures else None


def fill_in(run: Any) -> None:
    """Let *run*, which has yet to begin, wait for the futures in its arguments, and get what is unmapped whole."""
    args, kwargs = whole_arguments(run.args, run.kwargs)
    if kwargs is not run.kwargs:
        _give(run, args, kwargs)
        if run.definition.records_arguments:
            run.parameters = _parameters_of(run)
    try:
        futures = upstream_of((), run.args, run.kwargs)
    except Exception as error:
        if comes_from_outside(error):
            raise
        return
    if futures:
        run.definition = _Waiting(run.definition, futures)


class _Waiting:
    """Stands for the definition of a flow or task until the futures in its arguments have ended."""

    def __init__(self, definition: Definition, futures: list[Future[Any]]) -> None:
        self._definition = definition
        self._futures = futures

    def __getattr__(self, name: str) -> Any:
        return getattr(self._definition, name)

    def arguments(self, run: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Wait, and do as the definition. Raises BlockedLoop, or UpstreamFailed if one has failed."""
        wait(self._futures)
        self._resolve(run)
        return self._definition.arguments(run)

    def call(self, run: Any) -> Any:
        """Do as ``arguments``, and call the body as the definition does."""
        if self._definition.kind == Kind.COROUTINE:
            return self._call_later(run)
        wait(self._futures)
        self._resolve(run)
        return self._definition.call(run)

    async def _call_later(self, run: Any) -> Any:
        await self.settle(run)
        return await self._definition.call(run)

    async def settle(self, run: Run) -> None:
        """Wait while the loop goes on, and let *run* be of the definition for which this stands."""
        for future in self._futures:
            await end_of(future)
        self._resolve(run)

    def _resolve(self, run: Run) -> None:
        """Give *run* the results in place of the futures, and link its span to theirs."""
        if run.is_recording:
            contexts = [context for future in self._futures if (context := future.span_context) is not None]
            spans.link_to_each(run.span, contexts)
        definition = run.definition = self._definition
        broken = first_failed(self._futures)
        if broken is not None:
            ask(broken)
            raise UpstreamFailed(definition.name, broken.task_name, failure_of(broken), run.kind)
        _give(run, *resolved_arguments(definition.name, run.args, run.kwargs))
        if definition.records_arguments:
            for key, value in _parameters_of(run).items():
                spans.note(run, key, value)


def _give(run: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    run.args, run.kwargs = args, kwargs
    if run.task is not None:
        run.task.task_args, run.task.task_kwargs = args, kwargs


def _parameters_of(run: Any) -> dict[str, Any]:
    name = semconv.FLOW_RUN_NAME if run.task is None else semconv.TASK_RUN_NAME
    return run.definition.recorded_parameters(run.args, run.kwargs, name)  # type: ignore[no-any-return]  # it is
