"""What may stand in the attributes of a ``Flow`` and a ``Task``, and what is said of anything else."""

import inspect
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, Final, TypeVar

from otelflow._core.flows.config import Flow_Run__Config
from otelflow._core.text.safe_str import brief_repr
from otelflow.errors import ConfigurationError

V = TypeVar("V")

_OF_FLOWS: Final[Mapping[str, tuple[type, ...]]] = {
    "flow_config": (Flow_Run__Config, type(None)),
    "data": (Mapping, type(None)),
    "capture_parameters": (bool, Sequence),
    "capture_return_value": (bool,),
}
_OF_TASKS: Final[Mapping[str, tuple[type, ...]]] = {
    "task_args": (tuple, list),
    "task_kwargs": (Mapping,),
    "raise_on_error": (bool,),
}
#: What may be assigned to an attribute of a flow
ASSIGNED: Final[Mapping[str, tuple[type, ...]]] = {
    "flow_config": (Flow_Run__Config,),
    "flow_args": (tuple, list),
    "flow_kwargs": (Mapping,),
    "data": (MutableMapping,),
}


def checked(owner: str, name: str, value: V, kinds: Sequence[type]) -> V:
    """Return *value*. Raises ConfigurationError that names *owner* and *name* if it is of none of *kinds*."""
    if not isinstance(value, tuple(kinds)):
        from otelflow._core.text.hints import in_words  # noqa: PLC0415 only for mistakes

        raise ConfigurationError(f"{owner}: {name} must be {in_words(kinds)}, not {brief_repr(value, 60)}")
    return value


def assigned(flow: object, name: str, value: V) -> V:
    """Return *value*, which *flow* is to have as *name*. Raises ConfigurationError for one that it cannot use."""
    return checked(type(flow).__name__, name, value, ASSIGNED[name]) if name in ASSIGNED else value


def check_base_classes(flow_class: type) -> None:
    """Raise ConfigurationError if *flow_class* is a model of pydantic, too: both say how it is made and what it has."""
    if any(base.__module__ == "pydantic.main" for base in flow_class.__mro__):
        name = flow_class.__name__
        raise ConfigurationError(
            f"{name} cannot be a pydantic model and a Flow at once: make it a dataclass of pydantic "
            f"(@pydantic.dataclasses.dataclass over class {name}(Flow)), or give the Flow a model"
        )


def check_flow(flow: object, config: object, data: object, parameters: object, return_value: object) -> None:
    """Raise ConfigurationError for a value of a keyword of *flow* that it cannot use."""
    if config is None and data is None and parameters is False and return_value is False:  # as most are
        return
    for (name, kinds), value in zip(_OF_FLOWS.items(), (config, data, parameters, return_value), strict=True):
        checked(type(flow).__name__, name, value, kinds)


class _UserMember:
    """A method or a property of a user's class of tasks that has the name of what a run would write on the task."""

    def __init__(self, name: str, member: Any) -> None:
        self._name = name
        self._member = member

    def __get__(self, task: object, owner: type) -> Any:
        return self._member.__get__(task, owner)

    def __set__(self, task: object, value: object) -> None:
        vars(task)[self._name] = value


def keep_own(task_class: type) -> None:
    """Let a run of *task_class* leave alone what the class has under the names of what a run writes."""
    for name in ("status", "duration", "started_ns"):
        member = vars(task_class).get(name)
        is_read_only = member.fset is None if isinstance(member, property) else inspect.isroutine(member)
        if is_read_only:
            setattr(task_class, name, _UserMember(name, member))


def check_task(task: object) -> None:
    """Raise ConfigurationError for a value of an attribute of *task* that it cannot use."""
    for name, kinds in _OF_TASKS.items():
        checked(type(task).__name__, name, getattr(task, name), kinds)
