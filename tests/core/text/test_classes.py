"""What a class is and has is asked of the class, and never of its metaclass."""

import json

import pytest

from otelflow._core.text import classes


def refuse(*_):
    raise RuntimeError("asked")


class Refusing(type):
    """A metaclass that answers nothing."""

    __hash__ = __eq__ = __getattribute__ = __dir__ = __instancecheck__ = __subclasscheck__ = refuse


class Base:
    def shown(self): ...


Hostile = Refusing("Hostile", (Base,), {"__await__": refuse, "__module__": "far.away", "__qualname__": "Out.In"})


def test_a_metaclass_is_never_asked():
    assert [base is kind for base, kind in zip(classes.bases(Hostile), (Hostile, Base, object), strict=True)] == [
        True
    ] * 3
    assert classes.has(Hostile, "shown")
    assert classes.has(Hostile, "__await__")
    assert not classes.has(Hostile, "missing")
    assert {"shown", "__await__", "__repr__"} <= classes.names_in(Hostile)
    assert classes.name_of(Hostile) == "Hostile"
    assert classes.module_of(Hostile) == "far.away"
    assert classes.qualified_name(Hostile) == "far.away.Out.In"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (ValueError, "ValueError"),
        (json.JSONDecodeError, "json.decoder.JSONDecodeError"),
        (type("Odd", (), {"__module__": 3}), "Odd"),
        (type("Nowhere", (), {"__module__": None}), "Nowhere"),
    ],
    ids=str,
)
def test_a_qualified_name_has_the_module_unless_it_is_built_in(kind, name):
    assert classes.qualified_name(kind) == name


class Text(str):
    """A text of a library."""

    __slots__ = ()


def test_a_module_may_be_a_text_of_any_class():
    kind = type("Found", (), {"__module__": Text("far.away")})

    assert classes.module_of(kind) == "far.away"
    assert type(classes.module_of(kind)) is str


def test_an_attribute_is_what_stands_in_the_first_class_that_has_it():
    class Below(Base):
        shown = property(lambda _: 1)
        nothing = None

    assert classes.attribute(Below, "shown") is Below.__dict__["shown"]
    assert classes.attribute(Hostile, "shown") is Base.__dict__["shown"]
    assert classes.attribute(Hostile, "__await__") is refuse
    assert classes.attribute(Below, "nothing") is None
    assert classes.attribute(Below, "missing") is None


def test_what_an_object_holds_itself_is_had_without_asking_it():
    class Held:
        __slots__ = ("empty", "late", "number")
        late_too = property(lambda self: 1 / 0)

        def __getattribute__(self, name):
            raise LookupError(name)

    class InDict(Held):
        number_too = 0

    held = InDict()
    object.__setattr__(held, "number", 1)
    object.__setattr__(held, "number_too", 2)

    assert classes.own_values(held, ("number", "empty", "late", "number_too", "late_too", "missing")) == [1, 2]
    assert classes.own_values(3, ("real",)) == []
