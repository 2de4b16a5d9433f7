"""The arguments of what is submitted: the futures in them, the rows of a ``map()``, and what cannot be submitted."""

import concurrent.futures
import copy
import dataclasses
import inspect
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import FunctionType
from typing import Any, Final

from otelflow._core.flows.definition import Kind
from otelflow._core.flows.future import Future, FutureList, unmapped
from otelflow._core.flows.future_states import value_of
from otelflow._core.policies.loops import running_trio
from otelflow._core.text import classes
from otelflow._core.text.safe_str import brief_repr
from otelflow.errors import NotSubmittable

# Of containers in containers, so deep is looked for futures.
_DEPTH: Final = 20
_PLAIN: Final = frozenset(map(id, (type(None), bool, int, float, str, bytes)))
# A subclass of these may do anything when it is gone through, such as ask a database; so may a class of its own when it
# is asked with isinstance(), or for a field.
_ITEMS: Final[Mapping[type, Callable[[Any], Iterable[Any]]]] = {
    list: list.__iter__,
    tuple: tuple.__iter__,
    dict: dict.values,
    set: set.__iter__,
    frozenset: frozenset.__iter__,
    deque: deque.__iter__,
}


def futures_in(value: Any, depth: int = _DEPTH, seen: set[int] | None = None) -> Iterator[Future[Any]]:
    """Yield the futures in *value*: itself, or in lists, tuples, deques, sets, dicts and dataclasses."""
    kind = type(value)
    if id(kind) in _PLAIN or not depth:
        return
    if issubclass(kind, Future):
        yield value
        return
    items = _items_of(value)
    seen = set() if seen is None else seen
    if items is None or id(value) in seen:  # it is looked at already: a list may hold itself
        return
    if _PLAIN.issuperset(map(id, map(type, items))):  # a million numbers are looked at in C
        return
    seen.add(id(value))
    for item in _items_of(value) or ():
        yield from futures_in(item, depth - 1, seen)


def _items_of(value: Any) -> Iterable[Any] | None:
    """Return what is looked at in *value*, or None if it is no container."""
    kind = type(value)
    for base, items in _ITEMS.items():
        if issubclass(kind, base):
            return items(value)
    fields = classes.attribute(kind, "__dataclass_fields__")
    return classes.own_values(value, fields) if type(fields) is dict else None


def resolved(value: Any) -> Any:
    """Return *value* with the result of each future in its place; the same object, if there is none in it."""
    return _Resolution().of(value)


class _Resolution:
    """The values that come in the place of those with futures: one for each, also of a list that holds itself."""

    def __init__(self) -> None:
        self._values: dict[int, Any] = {}

    def of(self, value: Any) -> Any:
        """Return what comes in the place of *value*."""
        if issubclass(type(value), Future):
            return value_of(value)
        if id(type(value)) in _PLAIN or next(futures_in(value), None) is None:
            return value
        if id(value) not in self._values:
            self._values[id(value)] = value  # what cannot be changed once it is made, and holds itself, keeps itself
            self._values[id(value)] = self._rebuilt(value)
        return self._values[id(value)]

    def _rebuilt(self, value: Any) -> Any:
        if isinstance(value, list | deque | dict):
            # A copy has the type, and what else belongs to it: a default_factory, a maxlen.
            copied: Any = list(value) if isinstance(value, FutureList) else copy.copy(value)
            self._values[id(value)] = copied
            for key in copied if isinstance(copied, dict) else range(len(copied)):
                copied[key] = self.of(copied[key])
            return copied
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return type(value)(*map(self.of, value))
        if isinstance(value, tuple | set | frozenset):
            return type(value)(map(self.of, value))
        changes = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
        return dataclasses.replace(value, **{name: self.of(item) for name, item in changes.items()})


def checked_wait_for(name: str, wait_for: Any) -> Iterable[Any]:
    """Return what the task *name* is to wait for. Raises NotSubmittable for what cannot be waited for."""
    if wait_for is None or (isinstance(wait_for, list) and _are_futures(wait_for)):
        return wait_for or ()
    is_row = isinstance(wait_for, Iterable) and not isinstance(wait_for, str | bytes | Future)
    items = [*(wait_for.values() if isinstance(wait_for, Mapping) else wait_for)] if is_row else [wait_for]
    for item in items:
        # Something that others would wait for, or have to call before
        is_to_come = callable(item) or isinstance(item, concurrent.futures.Future) or inspect.isawaitable(item)
        if not isinstance(item, Future | FutureList) and (is_to_come or not is_row):
            reason = f"wait_for has {brief_repr(item, 60)}, which is no future of a task"
            raise NotSubmittable(name, reason, "give what submit() and map() have returned")
    return items


def _are_futures(values: list[Any]) -> bool:
    """Tell whether *values* are futures and nothing else; there may be thousands."""
    return set(map(type, values)) == {Future}


def upstream_of(wait_for: Iterable[Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Future[Any]]:
    """Return the futures that a call waits for: those in *wait_for*, and those in its arguments."""
    futures: list[Future[Any]] = []
    if isinstance(wait_for, list) and _are_futures(wait_for):
        futures += wait_for
        wait_for = ()
    for value in (*wait_for, *args, *kwargs.values()):
        if id(type(value)) not in _PLAIN:
            futures += futures_in(value)
    return futures


_END: Final = object()
# Of a generator, which may be endless; a list may be longer
_MOST_UNCOUNTED: Final = 1_000_000


def rows_of(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Return the arguments of each call. Raises NotSubmittable for one that is no row of items, or is too short."""
    labels = [*(f"argument {place}" for place in range(1, len(args) + 1)), *(f"{key}=" for key in kwargs)]
    values = [*args, *kwargs.values()]
    columns: list[Iterator[Any] | None] = []
    for label, value in zip(labels, values, strict=True):
        is_whole = isinstance(value, unmapped)
        if not is_whole and (isinstance(value, str | bytes | Mapping | Future) or not isinstance(value, Iterable)):
            raise NotSubmittable(name, *_no_row(label, value))
        try:
            columns.append(None if is_whole else iter(value))
        except TypeError as error:  # an array of no dimension, a class
            raise NotSubmittable(name, *_no_row(label, value)) from error
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
            if len(rows) == _MOST_UNCOUNTED and not any(hasattr(value, "__len__") for value in values):
                reason = f"map() got more than {_MOST_UNCOUNTED:,} items, and nothing tells how many there are"
                raise NotSubmittable(name, reason, "if it is not endless, give it a list")
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
    if definition.kind == Kind.COROUTINE and running_trio() is not None:
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
