import asyncio
import functools
import importlib
import inspect
import pickle
import textwrap
import typing

import pytest

from otelflow import task
from otelflow.instrument import OtelflowInstrumentor

SHAPES = """
    import abc
    import contextlib
    import dataclasses
    import enum
    import functools

    import wrapt

    def order(fruit, count=2, *more, price: "float" = 0.5, **rest) -> list:
        "Order fruit."
        return [fruit, count, price]

    class Base(abc.ABC):
        def run(self):
            return ["base", self.step()]

        @abc.abstractmethod
        def step(self):
            return "base step"

        @classmethod
        def make(cls):
            return cls()

        @functools.cached_property
        def once(self):
            return object()

        @classmethod
        @contextlib.contextmanager
        def open(cls):
            yield cls.__name__

    class Child(Base):
        def run(self):
            return ["child", super().run()]

        def step(self):
            return "child " + super().step()

        @classmethod
        def make(cls):
            return super().make()

    @dataclasses.dataclass(frozen=True, slots=True)
    class Point:
        x: int

        def moved(self):
            return dataclasses.replace(self, x=self.x + 1)

    class Color(enum.Enum):
        RED = 1

        def describe(self):
            return self.name

    @functools.lru_cache
    def cached(number):
        return [number]

    @contextlib.asynccontextmanager
    async def opened(number):
        yield number

    half = functools.partial(divmod, 4)

    @wrapt.decorator
    def checked(wrapped, instance, args, kwargs):
        return wrapped(*args, **kwargs)

    @checked
    def plain(number):
        return number

    @checked
    async def waiting(number):
        return number

    @wrapt.decorator
    def owned(wrapped, instance, args, kwargs):
        return wrapped(*args, **kwargs, owner=instance)

    class Desk:
        @owned
        def owner(self, number, owner=None):
            return owner, number

        @checked
        @owned
        async def owner_later(self, number, owner=None):
            return owner, number

        @classmethod
        @owned
        def holder(cls, number, owner=None):
            return owner, number

        @owned
        @classmethod
        def over_class(cls, number, owner=None):
            return owner, number

        @checked
        @owned
        @classmethod
        async def over_class_later(cls, number, owner=None):
            return owner, number

        @owned
        @staticmethod
        def over_static(number, owner=None):
            return owner, number

        @checked
        @staticmethod
        def over_static_yielding(number):
            yield number

        @checked
        def name(self, number):
            return self, number

        @classmethod
        @checked
        def kind(cls, number):
            return cls, number
"""


@pytest.fixture
def shapes(shop):
    """The module ``shop.shapes``, in which every function is a task."""
    (shop / "shop" / "shapes.py").write_text(textwrap.dedent(SHAPES))
    OtelflowInstrumentor().instrument(tasks=["shop.shapes:*", "shop.shapes:*.*", "shop.shapes:half"])
    yield importlib.import_module("shop.shapes")
    OtelflowInstrumentor().uninstrument()


def test_a_function_looks_as_it_was_written(shapes):
    order = shapes.order

    assert (order.__name__, order.__qualname__, order.__module__, order.__doc__) == (
        "order",
        "order",
        "shop.shapes",
        "Order fruit.",
    )
    assert (order.__defaults__, order.__kwdefaults__) == ((2,), {"price": 0.5})
    assert str(inspect.signature(order)) == "(fruit, count=2, *more, price: 'float' = 0.5, **rest) -> list"
    assert typing.get_type_hints(order) == {"price": float, "return": list}
    assert inspect.getsource(order).startswith("def order(")
    assert pickle.loads(pickle.dumps(order)) is order
    assert (order("kiwi"), order("kiwi", 3, 4, price=1, x=2)) == (["kiwi", 2, 0.5], ["kiwi", 3, 1])


def test_a_call_that_does_not_fit_is_pythons_own_error(shapes, spans):
    with pytest.raises(TypeError) as caught:
        shapes.order()

    assert type(caught.value) is TypeError
    assert str(caught.value) == "order() missing 1 required positional argument: 'fruit'"
    assert spans.tree() == [("task order", "error", [])]


def test_methods_that_call_those_above_them_are_each_a_task(shapes, spans):
    child = shapes.Child.make()
    outcome = child.run()

    assert outcome == ["child", ["base", "child base step"]]
    assert (shapes.Base.step.__isabstractmethod__, inspect.isabstract(shapes.Base)) == (True, True)
    assert spans.tree() == [
        ("task make", "success", [("task make", "success", [])]),
        (
            "task run",
            "success",
            [("task run", "success", [("task step", "success", [("task step", "success", [])])])],
        ),
    ]


def test_what_a_class_makes_of_its_functions_stays_what_it_was(shapes, spans):
    child = shapes.Child()
    with shapes.Child.open() as name:
        pass

    assert child.once is child.once
    assert (name, shapes.Point(1).moved(), shapes.Color.RED.describe()) == ("Child", shapes.Point(2), "RED")
    assert pickle.loads(pickle.dumps(shapes.Point(1))) == shapes.Point(1)
    assert list(shapes.Color) == [shapes.Color.RED]


def test_what_lies_under_a_cache_is_reached_as_before_and_is_no_run(shapes, spans):
    assert shapes.cached(1) is shapes.cached(1)
    assert shapes.cached.__wrapped__(1) is not shapes.cached(1)
    assert shapes.cached.cache_info()[:2] == (2, 1)
    assert [span.name for span in spans.spans] == ["task cached"] * 3


def test_an_async_context_manager_works_as_it_did(shapes, spans):
    async def use():
        async with shapes.opened(3) as number:
            return number

    assert asyncio.run(use()) == 3
    assert spans.tree() == [("task opened", "success", [])]


def test_defaults_that_are_shown_are_not_used_for_a_call(spans):
    @task
    def two(first, second=2, *, third=3):
        return (first, second, third)

    assert (two.__defaults__, two.__kwdefaults__) == ((2,), {"third": 3})
    assert (two(1), two(1, 5, third=4), two(second=0, first=1)) == ((1, 2, 3), (1, 5, 4), (1, 0, 3))


def test_a_partial_is_one_still_and_a_task_under_its_own_name_when_it_is_called(shapes, spans):
    half = shapes.half

    assert (half(3), half.func, half.args, isinstance(half, functools.partial)) == ((1, 1), divmod, (4,), True)
    assert pickle.loads(pickle.dumps(half))(3) == (1, 1)
    assert spans.tree() == [("task half", "success", [])]


def test_what_a_decorator_of_wrapt_has_made_is_a_task_in_each_place(shapes, spans):
    desk = shapes.Desk()

    assert (shapes.plain(1), asyncio.run(shapes.waiting(2))) == (1, 2)
    assert (desk.name(3), shapes.Desk.kind(4), desk.kind(5)) == ((desk, 3), (shapes.Desk, 4), (shapes.Desk, 5))
    assert [span.name for span in spans.spans] == ["task plain", "task waiting", "task name", "task kind", "task kind"]
    OtelflowInstrumentor().uninstrument()
    assert type(shapes.plain).__name__ == "FunctionWrapper"


def test_a_decorator_of_wrapt_is_told_whose_method_it_is(shapes, spans):
    desk = shapes.Desk()

    assert desk.owner(1) == (desk, 1)
    assert shapes.Desk.owner(desk, number=2) == (desk, 2)
    assert asyncio.run(desk.owner_later(3)) == (desk, 3)
    assert (shapes.Desk.holder(4), desk.holder(number=5)) == ((shapes.Desk, 4), (shapes.Desk, 5))
    names = [span.name.removeprefix("task ") for span in spans.spans]
    assert names == ["owner", "owner", "owner_later", "holder", "holder"]


def test_a_decorator_of_wrapt_may_stand_over_a_class_method_or_a_static_one(shapes, spans):
    desk = shapes.Desk()
    other = type("Other", (shapes.Desk,), {})

    assert (shapes.Desk.over_class(1), desk.over_class(number=2)) == ((shapes.Desk, 1), (shapes.Desk, 2))
    assert other.over_class(3) == (other, 3)
    assert asyncio.run(desk.over_class_later(4)) == (shapes.Desk, 4)
    assert (shapes.Desk.over_static(5), desk.over_static(number=6)) == ((None, 5), (None, 6))
    assert list(shapes.Desk.over_static_yielding(7)) == [7]
    names = [span.name.removeprefix("task ") for span in spans.spans]
    assert names == [*["over_class"] * 3, "over_class_later", *["over_static"] * 2, "over_static_yielding"]
    OtelflowInstrumentor().uninstrument()
    assert (shapes.Desk.over_class(8), shapes.Desk.over_static(9)) == ((shapes.Desk, 8), (None, 9))
    assert type(vars(shapes.Desk)["over_class"]).__name__ == "FunctionWrapper"


def test_a_lazy_proxy_of_wrapt_is_not_made(shop):
    pytest.importorskip("wrapt", minversion="2", reason="only wrapt 2 has lazy proxies")
    (shop / "shop" / "late.py").write_text(
        "import wrapt\n\nreport = wrapt.LazyObjectProxy(lambda: 1 / 0)\n\ndef send():\n    return 1\n"
    )
    OtelflowInstrumentor().instrument(flows=["shop.late:*"])
    module = importlib.import_module("shop.late")

    assert module.send() == 1
    assert OtelflowInstrumentor().functions == ["shop.late:send"]


def test_a_method_that_a_decorator_of_another_module_has_replaced_is_one_of_its_class(shop, spans):
    (shop / "shop" / "tools.py").write_text(
        "def needs(function):\n    def inner(self):\n        return function(self)\n    return inner\n"
    )
    (shop / "shop" / "views.py").write_text(
        "from shop.tools import needs\n\nclass Api:\n    @needs\n    def fetch(self):\n        return 'fetched'\n"
    )
    OtelflowInstrumentor().instrument(flows=["shop.views:*.*"])
    module = importlib.import_module("shop.views")

    assert module.Api().fetch() == "fetched"
    assert spans.tree() == [("flow fetch", "success", [])]
    assert OtelflowInstrumentor().functions == ["shop.views:Api.fetch"]


def test_what_a_class_has_taken_from_another_module_is_not_its_own(shop, spans):
    (shop / "shop" / "tools.py").write_text(
        "class Reader:\n    def parse(self):\n        return 3\n\ndef parse(text):\n    return int(text)\n\n"
        "def make():\n    def inner(self):\n        return 2\n    return inner\n\nmade = make()\n"
    )
    (shop / "shop" / "forms.py").write_text(
        "from shop import tools\n\nclass Form:\n    read = staticmethod(tools.parse)\n    clean = tools.made\n"
        "    parse = tools.Reader.parse\n"
        "    def send(self):\n        return self.read('1')\n"
    )
    OtelflowInstrumentor().instrument(flows=["shop.forms:*.*"])
    module = importlib.import_module("shop.forms")

    form = module.Form()
    assert (form.send(), form.clean(), form.parse(), module.tools.parse("2"), module.tools.made(form)) == (
        1,
        2,
        3,
        2,
        2,
    )
    assert spans.tree() == [("flow send", "success", [])]
    assert OtelflowInstrumentor().functions == ["shop.forms:Form.send"]
