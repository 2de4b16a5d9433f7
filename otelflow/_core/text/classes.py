"""What a class is and has, asked of the class itself: a metaclass is foreign code, and so is an object's ``__class__``.

``isinstance()``, ``hasattr()``, ``hash()`` and ``==`` ask these. ``issubclass(type(value), SomeException)`` does not,
where that is no abstract base class.
"""

import contextlib
import os
import sys
from collections.abc import Iterable
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any, Final

_PACKAGES: Final = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
# Py_TPFLAGS_HEAPTYPE
_HEAP_TYPE: Final = 1 << 9
_DICT: Final = type.__dict__["__dict__"]
_MRO: Final = type.__dict__["__mro__"]
_MODULE: Final = type.__dict__["__module__"]
_NAME: Final = type.__dict__["__name__"]
_QUALNAME: Final = type.__dict__["__qualname__"]


def bases(kind: type) -> tuple[type, ...]:
    """Return *kind* and its base classes, in the order in which attributes are looked up."""
    mro: tuple[type, ...] = _MRO.__get__(kind)
    return mro


def has(kind: type, name: str) -> bool:
    """Tell whether objects of *kind* have the attribute *name* from their class, as the interpreter looks it up."""
    return any(name in _DICT.__get__(base) for base in bases(kind))


def attribute(kind: type, name: str) -> object:
    """Return what stands as *name* in *kind* or the first of its bases that has it, as it stands there, or None."""
    return next((attributes[name] for attributes in map(_DICT.__get__, bases(kind)) if name in attributes), None)


def names_in(kind: type) -> set[str]:
    """Return the names of all that objects of *kind* have from their class."""
    return set().union(*(_DICT.__get__(base) for base in bases(kind)))


def own_values(value: object, names: Iterable[str]) -> list[Any]:
    """Return what *value* itself holds under *names*, in its dict or its slots; no property and no method is asked."""
    kind, state = type(value), state_of(value)
    values = []
    for name in names:
        slot = attribute(kind, name)
        if type(slot) is MemberDescriptorType:
            with contextlib.suppress(AttributeError):  # it is empty
                values.append(slot.__get__(value))
        elif name in state:
            values.append(state[name])
    return values


def state_of(value: object) -> dict[str, Any]:
    """Return the dict of *value* itself, or an empty one."""
    descriptor = attribute(type(value), "__dict__")
    return descriptor.__get__(value) if isinstance(descriptor, GetSetDescriptorType | MemberDescriptorType) else {}


def set_own(value: object, name: str, item: object) -> None:
    """Let *value* hold *item* under *name*, where ``own_values`` finds it: also if it is frozen."""
    slot = attribute(type(value), name)
    if type(slot) is MemberDescriptorType:
        slot.__set__(value, item)
    else:
        state_of(value)[name] = item


def module_of(kind: type) -> str:
    """Return the module of *kind*, or nothing when it has none."""
    module = _MODULE.__get__(kind)
    return str.__str__(module) if issubclass(type(module), str) else ""


def name_of(kind: type) -> str:
    """Return the name of *kind*."""
    return str(_NAME.__get__(kind))


def qualified_name(kind: type) -> str:
    """Return the name of *kind* as OpenTelemetry writes it: with its module, unless it is built in."""
    module, name = module_of(kind), str(_QUALNAME.__get__(kind))
    return name if module in ("builtins", "") else f"{module}.{name}"


def is_made_here(kind: type) -> bool:
    """Tell whether a ``class`` statement has made *kind*, and not code in C."""
    return bool(kind.__flags__ & _HEAP_TYPE)


def is_installed(kind: type) -> bool:
    """Tell whether *kind* is of an installed package, and not of the program's own code."""
    file = getattr(sys.modules.get(module_of(kind)), "__file__", None)
    return isinstance(file, str) and is_of_package(file)


def is_of_package(file: str) -> bool:
    """Tell whether *file* belongs to an installed package."""
    return any(folder in file for folder in _PACKAGES)
