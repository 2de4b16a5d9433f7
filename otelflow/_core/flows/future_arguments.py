"""The arguments of what is submitted: the futures in them, the rows of a ``map()``, and what cannot be submitted."""

import concurrent.futures
import copy
import dataclasses
import inspect
import sys
from collections import ChainMap, OrderedDict, UserDict, UserList, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import FunctionType, MappingProxyType, MemberDescriptorType, SimpleNamespace
from typing import Any, Final

from otelflow._core.flows.definition import Kind
from otelflow._core.flows.future import Future, FutureList, unmapped
from otelflow._core.flows.future_states import value_of
from otelflow._core.policies.loops import running_trio
from otelflow._core.text import classes
from otelflow._core.text.safe_str import brief_repr, comes_from_outside, error_text, safe_str, type_name
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
    type({}.values()): iter,
    type({}.items()): iter,
    MappingProxyType: MappingProxyType.values,
}
#: Where classes tell the names of their fields: those of dataclasses, attrs, pydantic of two ages, and msgspec
_FIELDS: Final = ("__dataclass_fields__", "__attrs_attrs__", "__pydantic_fields__", "model_fields")
#: What objects of these classes and of those that are made of them hold
_HELD: Final[Mapping[type, tuple[str, ...]]] = {UserDict: ("data",), UserList: ("data",), ChainMap: ("maps",)}


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
    names = _names_in(value)
    return None if names is None else classes.own_values(value, names)


def _names_in(value: Any) -> Iterable[str] | None:
    """Return the names of the fields of *value*, if its class tells them."""
    kind = type(value)
    if kind is SimpleNamespace:
        return list(vars(value))
    for word in _FIELDS:
        fields = classes.attribute(kind, word)
        if type(fields) is dict:
            return fields
        if issubclass(type(fields), tuple):
            return [field.name for field in fields]  # type: ignore[attr-defined]  # as attrs has them
    struct = getattr(sys.modules.get("msgspec"), "Struct", None)
    bases = classes.bases(kind)
    if any(base is struct for base in bases):
        return kind.__struct_fields__  # type: ignore[no-any-return]  # a tuple of texts
    return next((names for base in bases for holder, names in _HELD.items() if base is holder), None)


def resolved_arguments(
    task_name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return both with the results in place of the futures. Raises NotSubmittable that names the argument."""
    resolution = _Resolution()
    whole: dict[Any, Any] = {**dict(enumerate(args, 1)), **kwargs}
    for name, value in whole.items():
        try:
            whole[name] = resolution.of(value)
        except Exception as error:
            if comes_from_outside(error):
                raise
            label = f"argument {name}" if isinstance(name, int) else f"{name}="
            reason = f"{label} is a {type_name(value)}, which cannot be made anew with the results of the futures in it"
            trouble = error_text(type_name(error), safe_str(error, 200))
            cure = "give it what their result() returns, or give a list or dict of futures"
            raise NotSubmittable(task_name, f"{reason} ({trouble})", cure) from error
    values = list(whole.values())
    return tuple(values[: len(args)]), dict(zip(kwargs, values[len(args) :], strict=True))


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
        kind = type(value)
        if kind is FutureList:
            return list(map(value_of, value))
        base: Any
        for base in (list, deque, dict):
            if issubclass(kind, base):
                return self._refilled(value, base)
        for base in (tuple, frozenset, set):
            if issubclass(kind, base):
                items = [self.of(item) for item in _ITEMS[base](value)]
                # As pickle does: what the class itself wants to be made of, is its own affair.
                container: Any = base.__new__(kind) if base is set else base.__new__(kind, items)
                if base is set:
                    base.update(container, items)
                return _with_state(container, value)
        if kind is MappingProxyType:
            return MappingProxyType({key: self.of(item) for key, item in value.items()})
        if kind is type({}.values()) or kind is type({}.items()):
            return list(map(self.of, value))
        return self._replaced(value)

    def _refilled(self, value: Any, base: Any) -> Any:
        """Return a copy of *value*, a list, deque or dict, that holds what it holds; its own methods are not asked."""
        try:
            # A copy has the type, and what else belongs to it: a default_factory, a maxlen.
            copied: Any = copy.copy(value)
        except Exception as error:  # it takes other arguments than its base class does
            if comes_from_outside(error):
                raise
            base = next(kind for kind in (OrderedDict, defaultdict, dict, deque, list) if isinstance(value, kind))
            copied = _with_state(base.__new__(type(value)), value)
            if base is defaultdict:
                copied.default_factory = value.default_factory
            if base is deque:
                deque.__init__(copied, deque.__iter__(value), value.maxlen)
            elif base is list:
                list.extend(copied, list.__iter__(value))
            else:
                for key in base.__iter__(value):
                    base.__setitem__(copied, key, dict.__getitem__(value, key))
            base = dict if issubclass(base, dict) else base
        self._values[id(value)] = copied
        for key in list(dict.__iter__(copied)) if base is dict else range(base.__len__(copied)):
            base.__setitem__(copied, key, self.of(base.__getitem__(copied, key)))
        return copied

    def _replaced(self, value: Any) -> Any:
        """Return a copy of *value* with its fields resolved; a dataclass is made anew, as it may look at them."""
        changes = {name: self.of(item) for name in _names_in(value) or () for item in classes.own_values(value, [name])}
        if dataclasses.is_dataclass(value):
            fields: Any = dataclasses.fields(value)
            names = {field.name for field in fields if field.init}
            others = classes.own_values(value, [field.name for field in fields if not field.init])
            try:
                takes = inspect.signature(type(value)).parameters.keys()
            except (TypeError, ValueError):
                takes = {}.keys()
            # With an __init__ of its own, or an InitVar, it takes others; made of its fields alone, it would lose some.
            if takes == names and next(futures_in(others), None) is None:
                instance: Any = value
                return dataclasses.replace(instance, **{name: changes[name] for name in names if name in changes})
        copied = copy.copy(value)
        for name, item in changes.items():
            classes.set_own(copied, name, item)
        return copied


def _with_state(container: Any, value: Any) -> Any:
    """Return *container* with the attributes that *value* has."""
    classes.state_of(container).update(classes.state_of(value))
    for kind in classes.bases(type(value)):
        for name, slot in list(vars(kind).items()):
            if type(slot) is MemberDescriptorType and slot.__objclass__.__module__ not in ("builtins", "collections"):
                for item in classes.own_values(value, [name]):
                    classes.set_own(container, name, item)
    return container


_UNMAPPED: Final = id(unmapped)


def whole_arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return both with the values that ``unmapped()`` marks: what is no ``map()`` gets each argument whole anyway."""
    if _UNMAPPED not in map(id, map(type, (*args, *kwargs.values()))):
        return args, kwargs
    return tuple(map(_whole, args)), {name: _whole(value) for name, value in kwargs.items()}


def _whole(value: Any) -> Any:
    return value.value if type(value) is unmapped else value


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
