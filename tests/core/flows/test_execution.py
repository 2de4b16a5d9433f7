"""Whatever is called, and however it is run, a traceback has one frame of ours for each flow or task."""

import asyncio
import traceback
from pathlib import Path

import pytest

import otelflow
from otelflow import Flow, Flow_Run__Config, Task, flow, task
from otelflow._core.runs.current import current_run
from otelflow.errors import UnfillableParameter

RAN = []
OURS = str(Path(otelflow.__file__).parent)


class NoSuchOrder(LookupError):
    """What every body here raises."""


def function():
    raise NoSuchOrder


async def coroutine():
    await asyncio.sleep(0)
    raise NoSuchOrder


def generator():
    yield 1
    raise NoSuchOrder


async def async_generator():
    yield 1
    raise NoSuchOrder


class Shop:
    """Has a method of each kind as a task."""

    function = task(lambda self: function())
    coroutine = task(lambda self: coroutine())

    @task
    def generator(self):
        yield from generator()

    @classmethod
    @task
    def of_class(cls):
        function()


class Nightly(Flow):
    """A flow with a main of its own."""

    def main(self):
        function()


class NightlyAsync(Flow):
    """A flow with an async main."""

    async def main(self):
        await coroutine()


async def drained(items):
    return [item async for item in items]


async def awaited(awaitable):
    return await awaitable


async def execute_async(a_flow):
    return await a_flow.execute_async()


BODIES = (function, coroutine, generator, async_generator)
POLICIES = {
    "task": lambda body: task(body)(),
    "task that raises": lambda body: task(raise_on_error=True, capture_parameters=True, task_run_name="x")(body)(),
    "task in a task": lambda body: task(lambda: task(body)())(),
    "Task": lambda body: Task(task_target=body).execute__sync(),
}
RUN = {
    function: lambda value: value,
    coroutine: lambda value: asyncio.run(value),
    generator: list,
    async_generator: lambda value: asyncio.run(drained(value)),
}
TASKS = {
    f"{how} of a {body.__name__}": (lambda call=call, body=body: RUN[body](call(body)), 1 + (how == "task in a task"))
    for how, call in POLICIES.items()
    for body in BODIES
    # Of a task that returns a generator only the inner one is there when it is iterated.
    if not (how == "task in a task" and body in (generator, async_generator))
}
TASKS |= {
    "a method": (lambda: Shop().function(), 1),
    "a method that returns a coroutine": (lambda: asyncio.run(Shop().coroutine()), 1),
    "a method that is a generator": (lambda: list(Shop().generator()), 1),
    "a class method": (Shop.of_class, 1),
    "execute__async of a function": (lambda: asyncio.run(Task(task_target=function).execute__async()), 1),
    "execute__async of a coroutine": (lambda: asyncio.run(Task(task_target=coroutine).execute__async()), 1),
}
FLOWS = {
    "execute": (lambda: flow(function)().execute(), 1),
    "execute of a coroutine": (lambda: flow(coroutine)().execute(), 1),
    "execute of what returns a coroutine": (lambda: flow(lambda: coroutine())().execute(), 1),
    "execute_async of a function": (lambda: asyncio.run(flow(function)().execute_async()), 1),
    "execute_async": (lambda: asyncio.run(flow(coroutine)().execute_async()), 1),
    "await": (lambda: asyncio.run(awaited(flow(coroutine)())), 1),
    "asyncio.run": (lambda: asyncio.run(flow(coroutine)()), 1),
    "execute_async in a coroutine": (lambda: asyncio.run(execute_async(flow(coroutine)())), 1),
    "a generator": (lambda: list(flow(generator)().execute().flow_return_value), 1),
    "an async generator": (lambda: asyncio.run(drained(flow(async_generator)().execute().flow_return_value)), 1),
    "setup": (lambda: Flow().setup(function).execute(), 1),
    "main": (lambda: Nightly().execute(), 1),
    "an async main": (lambda: NightlyAsync().execute(), 1),
    "of config": (lambda: flow(flow_config=Flow_Run__Config(raise_flow_error=True))(function)().execute(), 1),
    "a flow in a flow": (lambda: flow(lambda: flow(function)().execute())().execute(), 2),
    "a task in a flow": (lambda: flow(lambda: task(function)())().execute(), 2),
    "an async task in an async flow": (lambda: flow(coroutine_around)().execute(), 2),
}


async def coroutine_around():
    await task(coroutine)()


@pytest.mark.parametrize(("call", "runs"), [*TASKS.values(), *FLOWS.values()], ids=[*TASKS, *FLOWS])
def test_a_traceback_has_one_frame_of_ours_for_each_run(call, runs):
    with pytest.raises(NoSuchOrder) as raised:
        call()

    frames = traceback.extract_tb(raised.value.__traceback__)
    ours = [frame.name for frame in frames if frame.filename.startswith(OURS)]
    assert len(ours) == runs, [frame.name for frame in frames]
    assert current_run() is None


@pytest.mark.parametrize("body", [function, coroutine])
def test_an_error_that_stays_inside_a_flow_gives_the_flow_and_inside_a_task_none(body):
    config = Flow_Run__Config(raise_flow_error=False)
    run = flow(flow_config=config)(body)().execute()
    run_async = asyncio.run(flow(flow_config=config)(body)().execute_async())
    call = Task(task_target=body, raise_on_error=False)
    value = asyncio.run(call.execute__async())

    assert [type(run.flow_error), type(run_async.flow_error)] == [NoSuchOrder, NoSuchOrder]
    assert (run.flow_return_value, value, type(call.task_error)) == (None, None, NoSuchOrder)


def test_a_flow_that_waits_for_its_loop_has_ended_when_what_is_left_on_the_loop_has(spans):
    ended = []

    async def left():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(current_run().flow_name)

    @flow
    async def nightly():
        task = asyncio.ensure_future(left())
        await asyncio.sleep(0)
        return task

    run = nightly().execute()

    assert run.flow_return_value.cancelled()
    assert ended == ["nightly"]
    assert spans.tree() == [("flow nightly", "success", [])]
    assert current_run() is None


def ran_by_task():
    return Task(task_target=lambda: RAN.append(1))


@pytest.mark.parametrize(
    ("make", "execute"),
    [
        (flow(lambda: RAN.append(1)), Flow.execute),
        (flow(lambda: RAN.append(1)), lambda *args, **names: asyncio.run(Flow.execute_async(*args, **names))),
        (ran_by_task, Task.execute__sync),
        (ran_by_task, lambda *args, **names: asyncio.run(Task.execute__async(*args, **names))),
    ],
    ids=["flow", "async flow", "task", "async task"],
)
def test_arguments_of_execute_are_refused_before_anything_runs(make, execute):
    RAN.clear()
    with pytest.raises(UnfillableParameter, match=r"^method 'execute\w*' cannot be called: it takes no arguments; "):
        execute(make(), 2)
    with pytest.raises(UnfillableParameter, match=r"it takes no arguments; they go to what makes the (flow|task)"):
        execute(make(), number=2)
    with pytest.raises(UnfillableParameter, match=r"of an object, not of the class: (Flow|Task)\(…\)\.execute\w*\(\)$"):
        execute()

    assert not RAN
    execute(make())
    assert RAN == [1]
