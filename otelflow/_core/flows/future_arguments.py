"""The arguments of what is submitted: the futures in them, the rows of a ``map()``, and what cannot be submitted."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from types import FunctionType
from typing import Any, Final

from otelflow._core.flows.future import Future, unmapped, value_of
from otelflow._core.policies.loops import running_trio
from otelflow._core.text.safe_str import brief_repr
from otelflow.errors import NotSubmittable

# Of containers in containers, so deep is looked for futures.
_DEPTH: Final = 20
_PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes})


def futures_in(value: Any, depth: int = _DEPTH) -> Iterator[Future[Any]]:
    """Yield the futures in *value*: itself, or in lists, tuples, sets, dicts and dataclasses."""
    kind = type(value)
    if kind in _PLAIN or not depth:
        return
    if isinstance(value, Future):
        yield value
    elif kind in (list, tuple, set, frozenset) or isinstance(value, list | tuple):
        for item in value:
            yield from futures_in(item, depth - 1)
    elif kind is dict:
        for item in value.values():
            yield from futures_in(item, depth - 1)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from futures_in(getattr(value, field.name, None), depth - 1)


def resolved(value: Any) -> Any:
    """Return *value* with the result of each future in its place; the same object, if there is none in it."""
    if isinstance(value, Future):
        return value_of(value)
    if type(value) in _PLAIN or next(futures_in(value), None) is None:
        return value
    if isinstance(value, dict):
        return {key: resolved(item) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(resolved, value))
    if isinstance(value, list):
        return [resolved(item) for item in value]
    if isinstance(value, tuple | set | frozenset):
        return type(value)(map(resolved, value))
    changes = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
    return dataclasses.replace(value, **{name: resolved(item) for name, item in changes.items()})


def upstream_of(wait_for: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Future[Any]]:
    """Return the futures that a call waits for: those of *wait_for*, and those in its arguments."""
    if isinstance(wait_for, Future):
        wait_for = [wait_for]
    futures = list(futures_in(list(wait_for or ())))
    for value in (*args, *kwargs.values()):
        if type(value) not in _PLAIN:
            futures += futures_in(value)
    return futures


_END: Final = object()


def rows_of(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Return the arguments of each call. Raises NotSubmittable for one that is no row of items, or is too short."""
    labels = [*(f"argument {place}" for place in range(1, len(args) + 1)), *(f"{key}=" for key in kwargs)]
    values = [*args, *kwargs.values()]
    columns: list[Iterator[Any] | None] = []
    for label, value in zip(labels, values, strict=True):
        is_whole = isinstance(value, unmapped)
        if not is_whole and (isinstance(value, str | bytes | Mapping | Future) or not isinstance(value, Iterable)):
            raise NotSubmittable(name, *_no_row(label, value))
        columns.append(None if is_whole else iter(value))
    if not any(column is not None for column in columns):
        raise NotSubmittable(name, "map() got nothing to go through", "give it a list for one argument, or submit() it")
    rows = []
    while True:
        row = [
            value.value if column is None else next(column, _END) for column, value in zip(columns, values, strict=True)
        ]
        ends = [label for label, item in zip(labels, row, strict=True) if item is _END]
        if not ends:
            rows.append(tuple(row))
        elif len(ends) == sum(column is not None for column in columns):
            return rows
        else:
            reason = f"{ends[0]} of map() has no item number {len(rows) + 1}, and others have"
            raise NotSubmittable(
                name, reason, "give it rows of the same length, or unmapped() what each call gets whole"
            )


def _no_row(label: str, value: Any) -> tuple[str, str]:
    """Return why *value* cannot be gone through, and the cure."""
    if isinstance(value, Future):
        return f"{label} of map() is the future of task {value.task_name!r}", "give it a list, such as its result()"
    cure = f"if each call gets it whole, write unmapped({brief_repr(value, 30)})"
    return f"{label} of map() is {brief_repr(value, 60)}", cure


def check_submittable(definition: Any, args: Any) -> None:
    """Raise NotSubmittable for a generator, a coroutine function in trio, and for a method whose object is missing."""
    if definition.is_generator:
        raise NotSubmittable(definition.name, "it is a generator", "call it where its items are used, or return a list")
    if definition.kind == "coroutine" and running_trio() is not None:
        cure = "await it, or let a nursery start it: nursery.start_soon(task, …)"
        raise NotSubmittable(definition.name, "it is a coroutine function, which trio is to run", cure)
    target = definition.target
    code = target.__code__ if isinstance(target, FunctionType) else None  # a bound method has its object
    first = code.co_varnames[:1] if code is not None and code.co_argcount else ()
    is_method = bool(first) and first[0] in ("self", "cls") and _class_of(definition) != ""
    if is_method and not (args and _has_method(args[0], definition)):
        name = definition.target.__name__
        cure = f"write {_class_of(definition)}.{name}.submit({first[0]}, …), or otelflow.submit({first[0]}.{name}, …)"
        raise NotSubmittable(definition.name, "its object is missing", cure)


def _class_of(definition: Any) -> str:
    """Return the name of the class that a method was written in, or nothing."""
    around = definition.target.__qualname__.rpartition(".")[0].rpartition(".")[2]
    return "" if around == "<locals>" else around


def _has_method(owner: Any, definition: Any) -> bool:
    kind = owner if isinstance(owner, type) else type(owner)
    return isinstance(owner, Future) or hasattr(kind, definition.target.__name__)
