"""What functions ask for, and what they get."""

import asyncio
import collections
import functools
import importlib
import types
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Optional

import pytest
from opentelemetry.trace import StatusCode

from otelflow import INJECTED, Flow, OtelflowError, Task, flow, task
from otelflow._core.flows.injection import NAMES, CheckedInjection
from otelflow.errors import ConfigurationError, UnfillableParameter

if TYPE_CHECKING:
    from nowhere import Unknown
import contextlib
from collections.abc import Hashable
from typing import Protocol


class Service:
    def __init__(self, name):
        self.name = name


class Special(Service):
    pass


class Working(Flow):
    """A flow with something to hand out, that runs what it is given."""

    def task_dependencies(self) -> Mapping[str, Any]:
        return {"service": Service("found by name"), "special": Special("the only one of its class"), "limit": 7}

    def main(self, call):
        return call()


def in_flow(call):
    return Working().setup(None, call).execute().flow_return_value


def test_a_task_gets_its_flow_itself_and_their_data(spans):
    @task
    def asks(this_flow, this_task, flow_data, task_data):
        task_data["mine"] = 1
        return this_flow, this_task, flow_data, task_data

    @flow(data={"shared": 1})
    def giving():
        return asks()

    run = giving().execute()

    this_flow, this_task, flow_data, task_data = run.flow_return_value
    assert this_flow is run
    assert isinstance(this_task, Task)
    assert this_task is run.executed_tasks[0]
    assert flow_data is run.data
    assert flow_data == {"shared": 1}
    assert task_data is this_task.data
    assert task_data == {"mine": 1}


def test_a_flow_gets_itself_and_no_task(spans):
    @flow
    def asks(first, this_flow=None, this_task="a task?", flow_data=None):
        return first, this_flow, this_task, flow_data

    run = asks(1).execute()

    assert run.flow_return_value == (1, run, None, run.data)


def test_a_task_outside_a_flow_gets_itself_and_no_flow(spans):
    @task
    def alone(this_flow, this_task, flow_data, task_data):
        return this_flow, this_task.task_name, flow_data, task_data

    assert alone() == (None, "alone", {}, {})


def test_a_default_does_not_stand_in_the_way_of_the_four_names(spans):
    @task
    def asks(this_task="default", *, flow_data="default"):
        return this_task, flow_data

    this_task, flow_data = asks()

    assert isinstance(this_task, Task)
    assert flow_data == {}


def test_the_callers_value_wins(spans):
    @task
    def asks(this_flow, flow_data=INJECTED, service=INJECTED, annotated: Special = INJECTED):
        return this_flow, flow_data, service, annotated

    assert in_flow(lambda: asks("mine", "mine", service="mine", annotated=None)) == ("mine", "mine", "mine", None)


def test_what_is_given_by_position_is_not_injected_again(spans):
    @task
    def asks(service, one: Special, flow_data):
        return service, one, flow_data

    assert in_flow(lambda: asks("by", "its", "place")) == ("by", "its", "place")


def test_dependencies_come_by_name_over_a_default(spans):
    @task
    def asks(limit=1, other=2, *, service=None):
        return limit, other, service.name

    assert in_flow(asks) == (7, 2, "found by name")


def test_a_flow_gets_its_own_dependencies(spans):
    class Own(Working):
        def main(self, limit, service: Service):
            return limit, service.name

    assert Own().execute().flow_return_value == (7, "found by name")


def test_dependencies_come_by_type(spans):
    @task
    def asks(one: Special, perhaps: Special | None = None, other: Optional[Special] = INJECTED):  # noqa: UP045
        return one.name, perhaps.name, other.name

    assert in_flow(asks) == ("the only one of its class",) * 3


def test_a_type_that_two_dependencies_have_is_not_guessed(spans):
    @task
    def asks(either: Service | None = None):
        return either

    assert in_flow(asks) is None


def test_a_flow_and_a_task_come_by_annotation_under_any_name(spans):
    @task
    def asks(mine: Task, around: "Flow", exact: "Working | None" = None):
        return mine, around, exact

    run = Working().setup(None, asks).execute()

    assert run.flow_return_value == (run.executed_tasks[0], run, run)


def test_an_annotation_that_is_defined_later_is_found_on_the_first_call(spans):
    @task
    def asks(late: "Later"):
        return late.name

    class LaterFlow(Working):
        def task_dependencies(self):
            return {"x": Later("later")}

    assert LaterFlow().setup(None, asks).execute().flow_return_value == "later"


class Later(Service):
    pass


def test_an_annotation_that_never_resolves_is_no_obstacle(spans):
    @task
    def asks(what: "Unknown" = "default", which: "1 / 0" = 2, other: "Optional[" = 3):  # noqa: F722
        return what, which, other

    assert in_flow(asks) == ("default", 2, 3)


def test_common_types_are_not_injected_by_accident(spans):
    class Many(Working):
        def task_dependencies(self):
            return {"path": "/", "count": 3, "table": {}}

    @task
    def asks(name: str | None = None, number: int | None = None, values: dict[str, int] | None = None):
        return name, number, values

    assert Many().setup(None, asks).execute().flow_return_value == (None, None, None)


def test_a_value_of_its_own_is_not_replaced_by_its_type(spans):
    special = Special("mine")

    @task
    def asks(one: Special = special):
        return one

    assert in_flow(asks) is special


def test_positional_only_and_variadic_parameters_are_left_alone(spans):
    @task
    def asks(this_flow="own", /, *flow_data, **service):
        return this_flow, flow_data, service

    assert in_flow(asks) == ("own", (), {})


def test_methods_partials_and_callable_objects_are_injected(spans):
    class Holder:
        @task
        def method(self, one, flow_data):
            return one, flow_data

        def __call__(self, one, this_task):
            return one, type(this_task)

    def function(one, two, task_data):
        return one, two, task_data

    assert Holder().method(1) == (1, {})
    assert task(functools.partial(function, 1))(two=2) == (1, 2, {})
    assert task(Holder())(1) == (1, Task)


UNFILLABLE = {
    "missing": (lambda needed: needed, (), {}, "needed"),
    "too many": (lambda: None, (1,), {}, "too many positional arguments"),
    "unknown": (lambda: None, (), {"extra": 1}, "extra"),
    "twice": (lambda one: one, (1,), {"one": 1}, "one"),
    "marked": (lambda needed=INJECTED: needed, (), {}, "needed"),
}


@pytest.mark.parametrize("kind", ["task", "flow"])
@pytest.mark.parametrize("case", UNFILLABLE)
def test_what_cannot_be_filled_is_one_clear_error(spans, kind, case):
    target, args, kwargs, culprit = UNFILLABLE[case]

    def tried():
        """Stands for the function's name in the message."""

    target.__name__ = target.__qualname__ = "tried"
    call = task(target) if kind == "task" else lambda *a, **k: flow(target)(*a, **k).execute()
    with pytest.raises(TypeError) as raised:
        call(*args, **kwargs)

    error = raised.value
    assert isinstance(error, OtelflowError)
    assert type(error).__name__ == "UnfillableParameter"
    cure = ("pass the argument", "default", "task_dependencies()") if case in ("missing", "marked") else ()
    for text in (kind, "'tried'", culprit, *cure):
        assert text in str(error)
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None
    span = spans.one(f"{kind} tried")
    assert span.attributes["otelflow.run.result"] == "error"
    assert span.attributes["error.type"] == "otelflow.errors.UnfillableParameter"
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, str(error))
    assert [event.name for event in span.events] == ["exception"]


class Nameless:
    def __call__(self, needed=INJECTED):
        """Never called."""


@pytest.mark.parametrize("target", [functools.partial(lambda needed=INJECTED: needed), Nameless()])
def test_what_cannot_be_filled_and_has_no_name_is_a_clear_error_too(spans, target):
    with pytest.raises(OtelflowError, match="'needed'"):
        task(target)()

    assert [root.result for root in spans.tree()] == ["error"]


def test_an_error_inside_the_function_is_not_taken_for_a_wrong_call(spans):
    def strict(one):
        return one

    @task
    def calls():
        return strict()

    with pytest.raises(TypeError) as raised:
        calls()

    assert not isinstance(raised.value, OtelflowError)
    assert spans.tree() == [("task calls", "failure", [])]


@pytest.mark.parametrize("kind", ["coroutine", "generator", "async_generator"])
def test_what_cannot_be_filled_is_said_by_every_kind_of_function(spans, kind):
    async def coroutine(needed):
        return needed

    def generator(needed):
        yield needed

    async def async_generator(needed):
        yield needed

    decorated = task({"coroutine": coroutine, "generator": generator, "async_generator": async_generator}[kind])
    with pytest.raises(OtelflowError, match="needed"):
        asyncio.run(first_of(decorated(), kind))

    assert spans.tree() == [(f"task {kind}", "error", [])]


async def first_of(call, kind):
    if kind == "generator":
        return next(call)
    return await (call if kind == "coroutine" else anext(call))


@pytest.mark.parametrize("keyword", [{"raise_on_error": False}, {}])
def test_a_task_that_could_not_even_be_called_raises_whatever_was_asked(spans, keyword):
    @task(**keyword)
    def asks(needed):
        return needed

    with pytest.raises(OtelflowError):
        asks()


def test_dependencies_that_cannot_be_made_are_an_error_of_the_run(spans):
    class Broken(Flow):
        def task_dependencies(self):
            raise ConnectionError("no database")

        def main(self):
            """Never called."""

    with pytest.raises(ConnectionError, match="no database"):
        Broken().execute()

    span = spans.one("flow Broken")
    assert (span.attributes["otelflow.run.result"], span.attributes["error.type"]) == ("error", "ConnectionError")


class Repository(Protocol):
    def load(self): ...


@pytest.mark.parametrize(
    "annotation", [Any, Repository, Repository | None, Hashable | None, contextlib.AbstractContextManager | None]
)
def test_a_parameter_that_anything_would_fit_is_left_alone(spans, annotation):
    def load(path, cache=None):
        return path, cache

    load.__annotations__ = {"cache": annotation}

    @flow
    def both():
        return task(load)("x")

    assert task(load)("x") == ("x", None)
    assert both().execute().flow_return_value == ("x", None)


def test_a_class_of_the_flow_itself_is_still_injected(spans):
    class Import(Flow):
        def main(self):
            return needs_it()

    @task
    def needs_it(found: Import | None = None):
        return found

    run = Import()

    assert run.execute().flow_return_value is run


def test_a_class_whose_metaclass_refuses_to_be_compared_is_injected_all_the_same(spans):
    class Refusing(type):
        def __eq__(cls, other):
            raise RuntimeError("not to be compared")

        def __hash__(cls):
            raise RuntimeError("not to be hashed")

    class Import(Flow, metaclass=Refusing):
        def main(self):
            return needs_flow()

    @task
    def needs_flow(run: Flow | None = None):
        return run

    run = Import()

    assert run.execute().flow_return_value is run


def test_dependencies_may_be_none_or_any_mapping_and_nothing_else(spans):
    class Asking(Flow):
        answer: object = None

        def task_dependencies(self):
            return self.answer

        def main(self, database=None):
            return database

    usable = [(None, None), (types.MappingProxyType({"database": 1}), 1), (collections.UserDict(database=2), 2)]
    for answer, database in usable:
        assert Asking(answer=answer).execute().flow_return_value == database

    for answer in ([("database", 1)], iter({"database": 1}.items()), "database"):
        with pytest.raises(ConfigurationError, match=r"^Asking.task_dependencies must return a dict, not "):
            Asking(answer=answer).execute()


def test_arguments_that_do_not_fit_never_reach_the_body_of_a_checked_injection():
    def pair(a, b):
        return a, b

    injection = CheckedInjection(pair, "pair")
    named = dict.fromkeys(NAMES)

    assert injection.fill((1,), {"b": 2}, named, {}) == {"b": 2}
    with pytest.raises(UnfillableParameter, match="flow 'pair' cannot be called: missing a required argument: 'b'"):
        injection.fill((1,), {}, named, {})


def test_texts_as_annotations_are_read_where_the_function_stands(tmp_path, monkeypatch):
    (tmp_path / "keeping.py").write_text(
        "import functools\ndef keep(f):\n    @functools.wraps(f)\n    def kept(*a, **k):\n        return f(*a, **k)\n"
        "    return kept\n"
    )
    (tmp_path / "owned.py").write_text(
        "from __future__ import annotations\nimport functools\n"
        "from keeping import keep\nfrom otelflow import Flow, flow, task\n"
        "@task\n@keep\ndef wrapped(owner: Flow):\n    return owner.flow_name\n"
        "def plain(word, owner: Flow):\n    return word + owner.flow_name\n"
        "partial = task(functools.partial(plain, 'x'), task_name='partial')\n"
        "@flow\ndef outer():\n    return wrapped(), partial()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    owned = importlib.import_module("owned")

    assert owned.outer().execute().flow_return_value == ("outer", "xouter")
