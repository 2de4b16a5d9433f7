"""The keywords of ``@flow`` and ``@task`` for overloads, checks and ``help()``; each default stands beside its name."""

import functools
import inspect
import types
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, Union, get_args, get_origin

from otelflow._core.flows.config import Flow_Run__Config
from otelflow._core.flows.fitting import checked
from otelflow._core.flows.objective import Objective
from otelflow.errors import UnknownKeyword

if TYPE_CHECKING:
    import os
    from datetime import timedelta
    from typing import TypeAlias, TypedDict

    from otelflow._core.policies.cache_keys import CachePolicy, KeyFunction
    from otelflow._core.results.serializers import ResultSerializer
    from otelflow._core.results.storage import ResultStorage

    Seconds = float | timedelta
    #: A function is one of the attempt's number, or a wait of tenacity
    Delay = Seconds | Sequence[Seconds] | Callable[[Any], Any]
    Storage: TypeAlias = str | os.PathLike[str] | ResultStorage | None
    Serializer: TypeAlias = str | ResultSerializer | None
    CacheChoice: TypeAlias = CachePolicy | KeyFunction | None
    KeyChoice: TypeAlias = KeyFunction | None
else:
    # The policies look at the values themselves: here their types would have to be imported, datetime among them.
    Seconds = Delay = Storage = Serializer = CacheChoice = KeyChoice = object

    class TypedDict:  # the real one takes a fiftieth of an import, and does nothing else
        def __init_subclass__(cls, total: bool) -> None:
            first, *others = cls.__bases__
            cls.__annotations__ = {**first.__annotations__, **cls.__annotations__}
            for base in others:  # policies come after what a decorator has of its own
                cls.__annotations__ |= base.__annotations__


Capture = bool | Sequence[str]
Hook = Callable[[Any], object]
F = TypeVar("F", bound=Callable[..., Any])


class _Options(TypedDict, total=False):
    capture_parameters: Annotated[Capture, False]
    capture_return_value: Annotated[bool, False]


class PolicyOptions(TypedDict, total=False):
    """The keywords of the policies and of what else a flow has as a task does: of ``@flow``, ``Flow(…)``, ``@task``."""

    retries: Annotated[int, 0]
    retry_delay: Annotated[Delay, 0]
    retry_jitter_factor: Annotated[float | None, None]
    retry_condition_fn: Annotated[Callable[[Exception], object] | None, None]
    timeout: Annotated[Seconds | None, None]
    on_completion: Annotated[Hook | Sequence[Hook] | None, None]
    on_failure: Annotated[Hook | Sequence[Hook] | None, None]
    on_cancellation: Annotated[Hook | Sequence[Hook] | None, None]
    on_running: Annotated[Hook | Sequence[Hook] | None, None]
    validate_parameters: Annotated[bool, False]
    tags: Annotated[Collection[str] | None, None]
    persist_result: Annotated[bool, False]
    result_storage: Annotated[Storage, None]
    result_serializer: Annotated[Serializer, None]
    concurrency: Annotated[Mapping[str, int] | None, None]
    rate_limit: Annotated[Mapping[str, str] | None, None]
    limit_timeout: Annotated[Seconds | None, None]
    measure_resources: Annotated[bool, False]


class EachFlowOptions(_Options, total=False):
    """The keywords of ``@flow`` with which each ``Flow`` is made."""

    flow_name: Annotated[str | None, None]
    flow_id: Annotated[str | None, None]
    flow_config: Annotated[Flow_Run__Config | None, None]
    objective: Annotated[Objective | None, None]
    buckets: Annotated[Sequence[float] | None, None]


class CommonFlowOptions(EachFlowOptions, PolicyOptions, total=False):
    """The keywords of ``@flow`` but for the one that changes the type of what is returned."""

    data: Annotated[Mapping[str, Any] | None, None]
    flow_run_name: Annotated[str | None, None]
    inject: Annotated[bool, True]
    task_runner: Annotated[object, None]


class FlowOptions(CommonFlowOptions, total=False):
    """The keywords of ``@flow``."""

    execute_on_call: Annotated[bool, False]


class CommonTaskOptions(_Options, PolicyOptions, total=False):
    """The keywords of ``@task`` but for the one that changes the type of what is returned."""

    task_name: Annotated[str | None, None]
    task_id: Annotated[str | None, None]
    task_run_name: Annotated[str | None, None]
    inject: Annotated[bool, True]
    cache_policy: Annotated[CacheChoice, None]
    cache_key_fn: Annotated[KeyChoice, None]
    cache_expiration: Annotated[Seconds | None, None]
    refresh_cache: Annotated[bool, False]


class TaskOptions(CommonTaskOptions, total=False):
    """The keywords of ``@task``."""

    raise_on_error: Annotated[bool, True]


@functools.cache
def _parameters(options_type: type) -> dict[str, inspect.Parameter]:
    hints = options_type.__annotations__  # no text stands there, which get_type_hints() would make an object of
    return {
        name: inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=hint.__metadata__[0], annotation=hint.__origin__
        )
        for name, hint in hints.items()
    }


def show_keywords(decorator: F, options_type: type) -> F:
    """Let ``help()`` and editors show the keywords of *decorator*, which it checks itself."""
    target = inspect.Parameter("target", inspect.Parameter.POSITIONAL_ONLY, default=None)
    parameters = [target, *_parameters(options_type).values()]
    vars(decorator)["__signature__"] = inspect.Signature(parameters)
    return decorator


def check_keywords(owner: str, keywords: Mapping[str, object], options_type: type) -> None:
    """Raise UnknownKeyword or ConfigurationError for a keyword of *owner* that it does not have or cannot use."""
    parameters = _parameters(options_type)
    for name, value in keywords.items():
        if name not in parameters:
            raise UnknownKeyword(owner, name, parameters)
        annotation = parameters[name].annotation
        members = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
        kinds = [get_origin(member) or member for member in members]
        if float in kinds:
            kinds.append(int)  # as type checkers have it
        checked(owner, name, value, kinds)
