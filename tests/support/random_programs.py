"""Random programs of flows and tasks, what each should leave behind, and a way to run them."""

import asyncio
import contextvars
import threading
from dataclasses import dataclass, field

from hypothesis import strategies as st

from otelflow import flow, task

ENDINGS = {"failure": ValueError, "timeout": TimeoutError}


@dataclass(frozen=True)
class Group:
    """Nodes that a body runs together; *catches* tells whether it survives their errors."""

    how: str
    nodes: tuple["Node", ...]
    catches: bool


@dataclass(frozen=True)
class Node:
    """One function: a flow or a task, its shape, what it runs inside, and how it ends."""

    name: str
    kind: str
    shape: str
    ending: str
    lenient: bool
    take: int
    again: int
    groups: tuple[Group, ...] = field(default=())

    @property
    def is_generator(self):
        return self.shape in ("generator", "async generator")

    @property
    def is_async(self):
        return self.shape in ("async", "async generator")


def _nodes(groups):
    return st.builds(
        Node,
        name=st.sampled_from("abcdefgh"),
        kind=st.sampled_from(["flow", "task"]),
        shape=st.sampled_from(["sync", "async", "generator", "async generator"]),
        ending=st.sampled_from(["success", "success", "failure", "timeout"]),
        lenient=st.booleans(),
        take=st.integers(0, 4),
        again=st.sampled_from([0, 0, 0, 1, 2]),
        groups=groups,
    )


def _groups(nodes):
    group = st.builds(
        Group,
        how=st.sampled_from(["one by one", "threads", "gather", "group"]),
        nodes=st.lists(nodes, min_size=1, max_size=3).map(tuple),
        catches=st.booleans(),
    )
    return _nodes(st.lists(group, max_size=2).map(tuple))


programs = st.recursive(_nodes(st.just(())), _groups, max_leaves=8)


# What should be left


@dataclass
class Expected:
    """The run of a node as the model sees it."""

    name: str
    result: str = "success"
    raised_here: bool = False
    closed_early: bool = False
    failed_tasks: int = 0
    messages: list[str] = field(default_factory=list)
    children: list["Expected"] = field(default_factory=list)

    def as_tuple(self):
        inside = tuple(sorted(child.as_tuple() for child in self.children))
        return (
            self.name,
            self.result,
            self.raised_here,
            self.closed_early,
            self.failed_tasks,
            tuple(self.messages),
            inside,
        )


class _Raised(Exception):
    """An error in the model, with the result that it gives to each run that it leaves."""

    def __init__(self, result):
        super().__init__(result)
        self.result = result


def expect(node, children, flow_run, depth=0):
    """Model a call of *node*: put its run into *children* and return its value, or raise _Raised."""
    take = node.take if depth == 0 else 1_000
    if node.is_generator and take == 0:
        return []
    run = Expected(f"{node.kind} {node.name}")
    children.append(run)
    counted = run if node.kind == "flow" else flow_run
    items = []
    try:
        _expect_body(node, run, counted, depth, take, items)
    except _Raised as error:
        run.result = error.result
        if node.kind == "task" and counted is not None:
            counted.failed_tasks += 1
        if node.kind == "task" and node.lenient:
            return items if node.is_generator else None
        raise
    return items if node.is_generator else f"{node.name}{depth}"


def _expect_body(node, run, flow_run, depth, take, items):
    run.messages.append(f"{node.name} begins")
    if depth < node.again:
        expect(node, run.children, flow_run, depth + 1)
    for place, group in enumerate(node.groups):
        _expect_group(group, run, flow_run)
        run.messages.append(f"{node.name} after {place}")
        items.append(place)
        if node.is_generator and len(items) == take:
            run.closed_early = True
            return
    if node.ending != "success":
        run.raised_here = True
        raise _Raised(node.ending)


def _expect_group(group, run, flow_run):
    first = None
    for node in group.nodes:
        try:
            expect(node, run.children, flow_run)
        except _Raised as error:
            first = first or error
            if group.how == "one by one" and not group.catches:
                raise
    if first is not None and not group.catches:
        raise first


# Running it


def call(node, depth=0):
    """Call *node* from sync code and return what comes of it."""
    take = node.take if depth == 0 else 1_000
    if node.is_async and node.kind == "task":
        return in_thread(asyncio.run, acall(node, depth))
    if node.kind == "flow":
        run = _function(node)(depth).execute()
        if node.shape == "async generator":
            return in_thread(asyncio.run, _take_async(run.flow_return_value, take))
        value = run.flow_return_value
    else:
        value = _function(node)(depth)
    return _take(value, take) if node.is_generator else value


async def acall(node, depth=0):
    """Call *node* from async code and return what comes of it."""
    take = node.take if depth == 0 else 1_000
    value = _function(node)(depth)
    if node.kind == "flow":
        value = (await value.execute_async()).flow_return_value
    elif node.shape == "async":
        value = await value
    if node.shape == "async generator":
        return await _take_async(value, take)
    return _take(value, take) if node.is_generator else value


def in_thread(function, *arguments):
    """Run *function* in a thread with a copy of this context, and return or raise what it does."""
    outcomes = _together([lambda: function(*arguments)])
    return _first_error_or(outcomes, outcomes)[0]


def _together(calls):
    """Call all *calls* at the same time, each in a thread with a copy of this context."""
    outcomes = [None] * len(calls)

    def body(place):
        outcomes[place] = _outcome(calls[place])

    threads = [
        threading.Thread(target=contextvars.copy_context().run, args=(body, place)) for place in range(len(calls))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return outcomes


def _outcome(function):
    try:
        return function()
    except Exception as error:  # noqa: BLE001 whatever the program under test raises
        return error


async def _outcome_async(awaitable):
    try:
        return await awaitable
    except Exception as error:  # noqa: BLE001 whatever the program under test raises
        return error


def _first_error_or(outcomes, value):
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome
    return value


def _take(generator, take):
    items = []
    for _ in range(take):
        try:
            items.append(next(generator))
        except StopIteration:
            return items
    generator.close()
    return items


async def _take_async(generator, take):
    items = []
    for _ in range(take):
        try:
            items.append(await anext(generator))
        except StopAsyncIteration:
            return items
    await generator.aclose()
    return items


def _run_group(group):
    if group.how == "one by one":
        outcomes = []
        for node in group.nodes:
            outcomes.append(_outcome(lambda node=node: call(node)))
            if not group.catches:
                _first_error_or(outcomes, None)
    else:
        outcomes = _together([lambda node=node: call(node) for node in group.nodes])
    if not group.catches:
        _first_error_or(outcomes, None)


async def _run_group_async(group):
    outcomes = []
    if group.how == "one by one":
        for node in group.nodes:
            outcomes.append(await _outcome_async(acall(node)))
            if not group.catches:
                _first_error_or(outcomes, None)
    elif group.how == "threads":
        # The outcome is made in the thread: asyncio makes another TimeoutError of one that crosses an executor.
        calls = [asyncio.to_thread(_outcome, lambda node=node: call(node)) for node in group.nodes]
        outcomes = await asyncio.gather(*calls)
    elif group.how == "gather":
        outcomes = await asyncio.gather(*(acall(node) for node in group.nodes), return_exceptions=True)
    else:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(_outcome_async(acall(node))) for node in group.nodes]
        outcomes = [task_of_loop.result() for task_of_loop in running]
    if not group.catches:
        _first_error_or(outcomes, None)


def _end(node, depth):
    if node.ending != "success":
        raise ENDINGS[node.ending](node.name)
    return f"{node.name}{depth}"


def _function(node):
    body = _BODIES[node.shape](node)
    body.__name__ = node.name
    return flow(body) if node.kind == "flow" else task(raise_on_error=not node.lenient)(body)


def _sync(node):
    def body(depth):
        print(f"{node.name} begins")
        if depth < node.again:
            call(node, depth + 1)
        for place, group in enumerate(node.groups):
            _run_group(group)
            print(f"{node.name} after {place}")
        return _end(node, depth)

    return body


def _generator(node):
    def body(depth):
        print(f"{node.name} begins")
        if depth < node.again:
            call(node, depth + 1)
        for place, group in enumerate(node.groups):
            _run_group(group)
            print(f"{node.name} after {place}")
            yield place
        _end(node, depth)

    return body


def _async(node):
    async def body(depth):
        print(f"{node.name} begins")
        await asyncio.sleep(0)
        if depth < node.again:
            await acall(node, depth + 1)
        for place, group in enumerate(node.groups):
            await _run_group_async(group)
            await asyncio.sleep(0)
            print(f"{node.name} after {place}")
        return _end(node, depth)

    return body


def _async_generator(node):
    async def body(depth):
        print(f"{node.name} begins")
        await asyncio.sleep(0)
        if depth < node.again:
            await acall(node, depth + 1)
        for place, group in enumerate(node.groups):
            await _run_group_async(group)
            await asyncio.sleep(0)
            print(f"{node.name} after {place}")
            yield place
        _end(node, depth)

    return body


_BODIES = {"sync": _sync, "async": _async, "generator": _generator, "async generator": _async_generator}
