"""Read by mypy --strict and pyright, never run: what a type checker sees of the public names."""

import asyncio
from collections.abc import AsyncGenerator, Generator, Hashable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Self, TypeVar, assert_type

import otelflow
from otelflow import (
    INJECTED,
    Flow,
    Flow_Run__Config,
    Future,
    FutureList,
    Listener,
    Task,
    as_completed,
    flow,
    get_run_logger,
    submit,
    task,
    unmapped,
    wait,
)
from otelflow.cache_policies import INPUTS, TASK_SOURCE
from otelflow.results import FolderStorage, MemoryStorage, load
from otelflow.serve import Schedule, serve
from otelflow.testing import MockedDependencies, Trace, flow_trace

# Tasks keep parameters and return types


@task
def bare(number: int, *, text: str = "") -> float:
    return number / 2


@task()
def called(number: int) -> str:
    return str(number)


@task(task_name="named", capture_parameters=["number"], capture_return_value=True)
def named(number: int) -> list[int]:
    return [number]


@task(retries=3, retry_delay=[1, 2.5], retry_jitter_factor=0.5, retry_condition_fn=lambda error: "busy" in str(error))
def retried(number: int) -> str:
    return str(number)


def hook_of_task(call: otelflow.Task) -> None:
    print(call.status)


def hook_of_flow(run: Flow[int]) -> None:
    print(run.status)


@task(on_failure=hook_of_task, on_completion=[hook_of_task, print], tags={"a"})
def hooked(number: int) -> str:
    return str(number)


@flow(on_running=hook_of_flow, on_cancellation=print, tags=["a", "b"])
def hooked_flow(number: int) -> int:
    return number


assert_type(hooked(1), str)
assert_type(hooked_flow(1), Flow[int])


@task(validate_parameters=True)
def converted(number: int) -> str:
    return str(number)


assert_type(converted(1), str)


@task(timeout=2.5)
def limited(number: int) -> str:
    return str(number)


@flow(timeout=timedelta(minutes=5), retries=1, retry_delay=timedelta(seconds=5))
def limited_flow(number: int) -> str:
    return str(number)


assert_type(limited(1), str)
assert_type(limited_flow(1), Flow[str])


@task(retries=3, retry_delay=otelflow.exponential_backoff(10))
async def async_retried(number: int) -> str:
    return str(number)


assert_type(retried(1), str)


@task(concurrency={"db": 5}, rate_limit={"api": "10/s"}, limit_timeout=30)
def placed(number: int) -> str:
    with otelflow.concurrency("db", 5) as places, otelflow.rate_limit("api", "10/s", timeout=1):
        assert_type(places, otelflow.concurrency)
    return str(number)


@task(concurrency={"db": 5}, measure_resources=True)
async def async_placed(number: int) -> str:
    async with otelflow.concurrency("db", 5):
        return str(number)


assert_type(placed(1), str)
assert_type(serve(Schedule(bare, every="10m"), Schedule(bare, cron="0 3 * * *", overlap="queue")), int)
assert_type(otelflow.trace_environment(), dict[str, str])


@task
async def async_bare(number: int) -> bytes:
    return bytes(number)


@task(raise_on_error=True)
async def async_named(number: int) -> bytes:
    return bytes(number)


@task
def numbers(limit: int) -> Generator[int, str, bool]:
    yield limit
    return True


@task
async def async_numbers(limit: int) -> AsyncGenerator[int, None]:
    yield limit


assert_type(bare(1, text="x"), float)
assert_type(called(1), str)
assert_type(named(1), list[int])
assert_type(numbers(1), Generator[int, str, bool])
assert_type(async_numbers(1), AsyncGenerator[int, None])


# What is submitted is a future of what the task returns


assert_type(bare.submit(1, text="x"), Future[float])
assert_type(bare.submit(1).result(timeout=1), float)
assert_type(async_bare.submit(1), Future[bytes])
assert_type(named.submit(bare.submit(1), wait_for=called.submit(1)), Future[list[int]])
assert_type(called.map([1, 2], wait_for=[bare.submit(1)]), FutureList[str])
assert_type(async_named.map([1, 2]).result(), list[bytes])
assert_type(list(as_completed(called.map([1, 2]))), list[Future[str]])
assert_type(wait(called.map([1, 2])), tuple[set[Future[str]], set[Future[str]]])
assert_type(unmapped(3).value, int)
assert_type(submit(called, 1), Future[str])
assert_type(submit(async_bare, 1), Future[bytes])


async def awaits_futures() -> None:
    assert_type(await called.submit(1), str)
    assert_type(await async_bare.submit(1), bytes)
    assert_type(await called.map([1]), list[str])


# Tasks and flows keep their types where values are kept


@task(
    cache_policy=INPUTS + TASK_SOURCE - "verbose",
    cache_expiration=timedelta(hours=1),
    refresh_cache=False,
    result_storage=Path("results"),
    result_serializer="compressed/json",
)
def cached(number: int, verbose: bool = False) -> str:
    return str(number)


@task(cache_key_fn=lambda task, arguments: str(arguments["number"]), cache_expiration=60, result_storage="memory")
async def async_cached(number: int) -> str:
    return str(number)


@flow(persist_result=True, result_storage=MemoryStorage())
def persisted_flow(number: int) -> str:
    return str(number)


assert_type(cached(1, verbose=True), str)
assert_type(persisted_flow(1), Flow[str])
assert_type(persisted_flow.resume("flow_id__0"), Flow[str])
assert_type(load("0" * 64, result_storage=FolderStorage("results")), Any)


# With raise_on_error=False there may be nothing


@task(raise_on_error=False)
def lenient(number: int) -> str:
    return str(number)


@task(task_name="x", raise_on_error=False)
async def async_lenient(number: int) -> str:
    return str(number)


assert_type(lenient(1), str | None)
assert_type(lenient.submit(1), Future[str | None])


# A flow keeps its parameters and carries its return type


@flow
def bare_flow(number: int, *, text: str = "") -> float:
    return number / 2


@flow(flow_name="named", flow_config=Flow_Run__Config(print_logs=True), data={"x": 1})
def named_flow(number: int) -> list[int]:
    return [number]


@flow
async def async_flow(number: int) -> bytes:
    return bytes(number)


@flow()
async def async_named_flow(number: int) -> bytes:
    return bytes(number)


@flow(execute_on_call=True, flow_name="called")
def called_flow(number: int) -> str:
    return str(number)


@flow(execute_on_call=True)
async def awaited_flow(number: int) -> str:
    return str(number)


assert_type(bare_flow(1, text="x"), Flow[float])
assert_type(called_flow(1), str)
assert_type(asyncio.run(awaited_flow(1)), str)
assert_type(bare_flow(1).execute(), Flow[float])
assert_type(bare_flow(1).execute().flow_return_value, float | None)
assert_type(bare_flow(1).run(), dict[str, Any])
assert_type(named_flow(1), Flow[list[int]])
assert_type(async_flow(1), Flow[bytes])
assert_type(async_named_flow(1), Flow[bytes])
assert_type(async_flow(1).execute().flow_return_value, bytes | None)


async def awaits() -> None:
    assert_type(await async_bare(1), bytes)
    assert_type(await async_named(1), bytes)
    assert_type(await async_lenient(1), str | None)
    assert_type(await async_flow(1).execute_async(), Flow[bytes])
    assert_type(await async_flow(1), Flow[bytes])
    assert_type(await bare_flow(1, text="x"), Flow[float])
    both = await asyncio.gather(async_flow(1), bare_flow(1))
    assert_type(both, tuple[Flow[bytes], Flow[float]])
    async with asyncio.TaskGroup() as group:
        assert_type(group.create_task(async_flow(1)), asyncio.Task[Flow[bytes]])


assert_type(asyncio.run(async_flow(1)), Flow[bytes])
assert_type(asyncio.run(bare_flow(1)).flow_return_value, float | None)


class Mailer(Flow[int]):
    flow_name = "mailer"
    flow_config = Flow_Run__Config(log_to_console=True)

    def main(self) -> int:
        return 1

    def close(self) -> None:
        """Of one's own."""


assert_type(asyncio.run(Mailer().setup()).flow_return_value, int | None)


# Methods of every kind


class Worker:
    @task
    def method(self, number: int) -> str:
        return str(number)

    @classmethod
    @task
    def class_method(cls, number: int) -> str:
        return str(number)

    @classmethod
    @task
    def made(cls, number: int = 0) -> Self:
        return cls()

    @staticmethod
    @task
    def static_method(number: int) -> str:
        return str(number)

    @classmethod
    @flow
    def class_flow(cls, number: int) -> str:
        return str(number)

    @staticmethod
    @flow(flow_name="static")
    def static_flow(number: int) -> str:
        return str(number)

    @flow
    def flow_method(self, number: int) -> str:
        return self.method(number)


assert_type(Worker().method(1), str)
assert_type(Worker.class_method(1), str)
assert_type(Worker.made(number=1), Worker)
assert_type(Worker().made(), Worker)
assert_type(Worker.static_method(1), str)
assert_type(Worker.static_method.submit(1), Future[str])
assert_type(Worker.method.submit(Worker(), 1), Future[str])
assert_type(submit(Worker().method, 1), Future[str])
assert_type(submit(Worker.class_method, 1), Future[str])
assert_type(Worker().flow_method(1), Flow[str])
assert_type(Worker.class_flow(1), Flow[str])
assert_type(Worker.static_flow(1), Flow[str])


# A function of anything, or of any type, is no class method


T = TypeVar("T")


@task
def same(value: T) -> T:
    return value


@task(retries=1)
def boxed(value: T) -> list[T]:
    return [value]


@task
async def same_later(value: T) -> T:
    return value


@task
def first(values: Sequence[T]) -> T:
    return values[0]


@task
def made(kind: type[T]) -> T:
    return kind()


@task
def text_of(value: object) -> str:
    return str(value)


@task(retries=1)
def hash_of(value: Hashable) -> int:
    return hash(value)


@task
def length_of(value: Any) -> int:
    return len(value)


@flow
def flow_of(value: object) -> str:
    return str(value)


async def generic() -> None:
    assert_type(await same_later(value=1), int)
    assert_type(await asyncio.gather(same_later(1), same_later("")), tuple[int, str])


assert_type(same(1), int)
assert_type(same(value="text"), str)
assert_type(boxed(1), list[int])
assert_type(first(["text"]), str)
assert_type(made(kind=int), int)
assert_type(text_of(value=1), str)
assert_type(text_of.submit(1), Future[str])
assert_type(same.submit(1), Future[int])
assert_type(first.submit(["text"]), Future[str])
assert_type(hash_of(value=1), int)
assert_type(hash_of.map([1]), FutureList[int])
assert_type(length_of(value=[]), int)
assert_type(flow_of(value=1), Flow[str])


# Subclasses, blocks, injection


class Report(Flow[int]):
    def main(self, data: dict[str, Any] = INJECTED) -> int:
        return len(data)


with Report() as report:
    assert_type(report, Report)
    assert_type(report.execute(), Report)
    assert_type(report.setup(len, [1]).execute().flow_return_value, int | None)


@task
def injected(number: int, flow_data: dict[str, Any] = INJECTED, this_flow: Flow[Any] | None = None) -> int:
    return number


assert_type(injected(1), int)


class OfAnyType(Flow):
    def main(self, this_flow: Flow = INJECTED, this_task: Task = INJECTED) -> int:
        this_flow.log_info("text")
        assert_type(this_flow, Flow[Any])
        return len(this_task.task_name or "")


@flow
def report_flow(name: str, this_flow: Flow = INJECTED, flow_data: dict[str, Any] = INJECTED) -> str:
    this_flow.log_info(name)
    return name


def name_of(done: Flow) -> str:
    return done.flow_name


assert_type(report_flow("x"), Flow[str])
name_of(report_flow("x").execute())
get_run_logger().info("text")


# Listeners and tests


class Ledger(Listener):
    def on_task_stop(self, event: otelflow.Flow_Run__Event) -> None:
        assert_type(event.event_data.result, str | None)
        assert_type(event.event_data.duration, float | None)
        assert_type(event.event_data.error, BaseException | None)


otelflow.add_listener(Ledger())
otelflow.remove_listener(Ledger())
otelflow.flow_events.event_listeners.append(print)
assert_type(otelflow.configure(service_name="x", store=False, listeners=[Ledger()]), otelflow.Telemetry)

with flow_trace(dependencies={"service": object()}) as collected:
    assert_type(collected, Trace)
with MockedDependencies(service=object()) as mocked:
    assert_type(mocked, MockedDependencies)
