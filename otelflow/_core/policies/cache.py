"""The policy that keeps what a body returns: it is cached, or persisted so that a resumed flow need not run it again.

Whatever is wrong with what is kept, the body runs and its value comes out: it is said once, in the log.
"""

import functools
import inspect
import math
import sys
from collections.abc import Mapping
from typing import Any, Final

from otelflow._core.policies import loops
from otelflow._core.policies.cache_keys import CachePolicy, policy_of
from otelflow._core.policies.cache_steps import Step, TaskStep
from otelflow._core.policies.checkpoints import FlowStep
from otelflow._core.policies.delays import seconds_of
from otelflow._core.policies.keeping import Keeping
from otelflow._core.policies.policy import Body
from otelflow._core.process import clock
from otelflow._core.results.serializers import serializer_of
from otelflow._core.results.storage import storage_of
from otelflow._core.runs.current import current_run
from otelflow._core.runs.run import Run
from otelflow._core.text.safe_str import brief_repr
from otelflow.errors import ConfigurationError

_NEEDS_CACHE: Final = ("cache_expiration", "refresh_cache")
_NEEDS_ANY: Final = ("result_storage", "result_serializer")
_KEYWORDS: Final = ("cache_policy", "cache_key_fn", "persist_result", *_NEEDS_CACHE, *_NEEDS_ANY)


class _Cache:
    """Keeps values, and returns those that are kept."""

    def is_wanted(self, options: Mapping[str, Any]) -> bool:
        """Tell whether the keywords of the decorator ask for it."""
        return any(options.get(name) not in (None, False) for name in _KEYWORDS)

    def around(self, body: Body, options: Mapping[str, Any]) -> Body:
        """Return *body*, a function, or what returns its value when that is kept. Raises ConfigurationError."""
        keeping = keeping_of(body, options)
        if keeping is None:
            return body

        @functools.wraps(body)
        def run_or_reuse(*args: Any, **kwargs: Any) -> Any:
            step = _step(keeping, current_run())
            if step is None:
                return body(*args, **kwargs)
            try:
                while not step.is_ready():
                    clock.sleep(loops.pause_before_look(step.pause()))
                if step.record is not None:
                    return step.reuse()
                value = body(*args, **kwargs)
                step.keep(value)
                return value
            finally:
                step.release()
                del step  # as in drivers.function()

        return run_or_reuse

    def around_async(self, body: Body, options: Mapping[str, Any]) -> Body:
        """Do as ``around`` for a coroutine function."""
        keeping = keeping_of(body, options)
        if keeping is None:
            return body

        @functools.wraps(body)
        async def run_or_reuse(*args: Any, **kwargs: Any) -> Any:
            step = _step(keeping, current_run())
            if step is None:
                return await body(*args, **kwargs)
            try:
                while not await _called(step, step.is_ready):
                    await loops.sleep(loops.pause_before_look(step.pause()))
                if step.record is not None:
                    return step.reuse()
                value = await body(*args, **kwargs)
                await _called(step, step.keep, value)
                return value
            finally:
                await _released(step)
                del step

        return run_or_reuse


POLICY: Final = _Cache()


def _step(keeping: Keeping, run: Run | None) -> Step | None:
    """Return what is to be done around the body of *run*: None, if it is not that of a flow or task."""
    if run is None or not run.kind:
        return None
    return FlowStep(keeping, run) if run.kind == "flow" else TaskStep(keeping, run)


async def _called(step: Step, method: Any, *args: Any) -> Any:
    """Call *method* of *step*; in a thread where it may wait for a network, so that the event loop goes on."""
    return await loops.in_thread(method, *args) if step.is_remote else method(*args)


async def _released(step: Step) -> None:
    """Release *step* as it is called: also when who waits for that is cancelled."""
    if isinstance(sys.exception(), GeneratorExit):  # nothing can be awaited any more
        step.release()
        return
    try:
        await _called(step, step.release)
    except BaseException:  # Ctrl-C, a cancellation: what was not released is
        step.release()
        raise


def keeping_of(body: Body, options: Mapping[str, Any]) -> Keeping | None:
    """Return what the keywords ask for, checked; None when that is nothing. Raises ConfigurationError."""
    owner = str(options.get("task_name") or options.get("flow_name") or getattr(body, "__name__", "it"))
    policy = policy_of(owner, options)
    is_persisted = options.get("persist_result", False)
    asks_for_cache = options.get("cache_policy") is not None or options.get("cache_key_fn") is not None
    needless = next((name for name in _NEEDS_CACHE if options.get(name) and not asks_for_cache), None)
    if needless is not None:
        raise ConfigurationError(f"{owner}: {needless} is of no use without cache_policy or cache_key_fn")
    needless = next((name for name in _NEEDS_ANY if options.get(name) is not None), None)
    if needless is not None and not asks_for_cache and not is_persisted:
        raise ConfigurationError(f"{owner}: {needless} is of no use without persist_result=True or cache_policy")
    _check_names(owner, policy, body)
    keeping = Keeping(
        owner,
        policy,
        storage_of(owner, options.get("result_storage")),
        serializer_of(owner, options.get("result_serializer")),
        _seconds(owner, options.get("cache_expiration")),
        is_persisted=is_persisted,
        is_refreshed=options.get("refresh_cache", False),
        is_resumed=options.get("is_resumed", False),
        timeout=math.inf if options.get("timeout") is None else seconds_of(options["timeout"]),
    )
    return keeping if policy.is_needed or is_persisted else None


def _check_names(owner: str, policy: CachePolicy, body: Body) -> None:
    try:
        parameters = inspect.signature(body).parameters
    except ValueError:  # a builtin without a signature
        return
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        policy.check(owner, parameters)


def _seconds(owner: str, expiration: Any) -> float | None:
    if expiration is None:
        return None
    try:
        seconds = float(getattr(expiration, "total_seconds", lambda: expiration)())
    except (TypeError, ValueError):
        seconds = 0.0
    if isinstance(expiration, bool | str) or not seconds > 0:
        raise ConfigurationError(
            f"{owner}: cache_expiration must be a timedelta or seconds above 0, not {brief_repr(expiration, 60)}"
        )
    return seconds
