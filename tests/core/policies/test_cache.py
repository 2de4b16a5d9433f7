"""A cached task runs once for each key, and a hit is a short span that leads to the run that made the value."""

import asyncio
import logging
import threading
from datetime import timedelta

import pytest

from otelflow import flow, semconv, task
from otelflow._core.flows.definition import Definition
from otelflow._core.process import clock
from otelflow._core.runs.observers import add_observer
from otelflow.cache_policies import FLOW_PARAMETERS, INPUTS, NO_CACHE, RUN_ID, TASK_SOURCE
from otelflow.errors import ConfigurationError
from otelflow.metrics._counts import Aggregator
from otelflow.results import MemoryStorage, load
from support.storages import FarStorage


@pytest.fixture
def calls():
    return []


def links_of(span):
    return [(link.context.span_id, dict(link.attributes)) for link in span.links]


def hits(spans, name):
    return [span.attributes.get(semconv.CACHE_HIT) for span in spans.named(name)]


def test_the_second_call_with_the_same_inputs_is_a_hit_that_is_linked_to_the_first(spans, calls):
    @task(cache_policy=INPUTS)
    def double(number, factor=2):
        calls.append(number)
        return [number * factor]

    assert (double(1), double(number=1), double(1, factor=2), double(2)) == ([2], [2], [2], [4])

    assert calls == [1, 2]
    first, *later, other = spans.named("task double")
    assert [span.attributes[semconv.CACHE_HIT] for span in (first, *later, other)] == [False, True, True, False]
    for span in later:
        assert links_of(span) == [(first.context.span_id, {semconv.LINK_REASON: "cache"})]
        assert span.attributes[semconv.CACHE_KEY] == first.attributes[semconv.CACHE_KEY]
        assert span.attributes[semconv.RUN_RESULT] == semconv.SUCCESS
    assert links_of(first) == links_of(other) == []


def test_a_coroutine_task_is_cached_as_any_other(spans, calls):
    @task(cache_policy=INPUTS)
    async def double(number):
        calls.append(number)
        return 2 * number

    async def twice():
        return await double(3), await double(3)

    assert asyncio.run(twice()) == (6, 6)

    assert calls == [3]
    assert hits(spans, "task double") == [False, True]


def test_a_hit_is_a_value_of_its_own(calls):
    @task(cache_policy=INPUTS)
    def rows():
        calls.append(1)
        return [1]

    rows().append(2)

    assert rows() == [1]
    assert rows() is not rows()


def test_what_is_injected_is_no_input(calls):
    @task(cache_policy=INPUTS)
    def load_rows(number, this_flow=None, this_task=None, flow_data=None):
        calls.append((this_flow.flow_name, this_task.task_name))
        return number

    @flow
    def nightly():
        return load_rows(1)

    nightly().execute()
    nightly().execute()

    assert calls == [("nightly", "load_rows")]


def test_a_failure_is_not_cached(spans, calls):
    @task(cache_policy=INPUTS)
    def shaky():
        calls.append(1)
        if len(calls) == 1:
            raise LookupError("not yet")
        return len(calls)

    with pytest.raises(LookupError):
        shaky()

    assert (shaky(), shaky()) == (2, 2)
    assert [span.attributes[semconv.RUN_RESULT] for span in spans.named("task shaky")] == [
        "failure",
        "success",
        "success",
    ]


def test_two_tasks_never_get_each_others_values(calls):
    def made(name):
        @task(cache_policy=INPUTS, task_name=name)
        def body(number):
            calls.append(name)
            return name

        return body

    assert (made("first")(1), made("second")(1)) == ("first", "second")
    assert made("first")(1) == "first"


def test_a_value_is_taken_until_it_expires(monkeypatch, calls):
    now = [1_000.0]
    monkeypatch.setattr(clock, "time", lambda: now[0])

    @task(cache_policy=INPUTS, cache_expiration=timedelta(minutes=1))
    def fetch():
        calls.append(1)
        return len(calls)

    assert fetch() == 1
    now[0] += 59.9
    assert fetch() == 1
    now[0] += 0.2
    assert fetch() == 2
    now[0] += 59.9
    assert fetch() == 2


def test_refresh_runs_the_body_and_keeps_what_it_returns(spans, calls):
    def fetch():
        calls.append(1)
        return len(calls)

    cached, refreshing = task(cache_policy=INPUTS)(fetch), task(cache_policy=INPUTS, refresh_cache=True)(fetch)

    assert [cached(), refreshing(), refreshing(), cached()] == [1, 2, 3, 3]
    assert hits(spans, "task fetch") == [False, False, False, True]


def test_code_makes_a_difference_with_task_source():
    def compiled(text):
        namespace = {"__name__": "shop"}
        exec(f"def price(fruit):\n    # {text}\n    return {text}", namespace)
        return namespace["price"]

    by_source = [task(cache_policy=INPUTS + TASK_SOURCE)(compiled(text)) for text in ("1", "2", "1")]
    by_inputs = [task(cache_policy=INPUTS)(compiled(text)) for text in ("1", "2")]

    assert [price("apple") for price in by_source] == [1, 2, 1]
    assert [price("apple") for price in by_inputs] == [1, 1]


def test_a_comment_makes_no_difference(calls):
    namespace = {"calls": calls, "__name__": "shop"}
    for text in ("# one way", "# another"):
        exec(f"def price():\n    {text}\n    return calls.append(1)", namespace)
        task(cache_policy=TASK_SOURCE)(namespace["price"])()

    assert calls == [1]


def test_the_run_and_the_parameters_of_the_flow_may_decide(calls):
    @task(cache_policy=INPUTS + RUN_ID)
    def in_run(number):
        calls.append("run")

    @task(cache_policy=FLOW_PARAMETERS)
    def in_day():
        calls.append("day")

    @flow
    def nightly(day, verbose=False):
        in_run(1)
        in_run(1)
        in_day()

    nightly("monday").execute()
    nightly(day="monday", verbose=False).execute()
    nightly("tuesday").execute()

    assert calls == ["run", "day", "run", "run", "day"]


def test_outside_of_a_flow_there_are_no_parameters_and_nothing_is_cached(spans, calls):
    @task(cache_policy=FLOW_PARAMETERS)
    def step():
        calls.append(1)

    step()
    step()

    assert calls == [1, 1]
    assert semconv.CACHE_KEY not in spans.named("task step")[0].attributes


def test_an_input_can_be_left_out(calls):
    @task(cache_policy=INPUTS - "verbose")
    def fetch(page, verbose=False):
        calls.append(page)

    fetch(1)
    fetch(1, verbose=True)
    fetch(2)

    assert calls == [1, 2]


def test_a_function_makes_the_key_of_task_and_arguments(calls):
    def key(task, arguments):
        return None if arguments["page"] < 0 else f"{task.task_name} {arguments['page'] % 2}"

    @task(cache_key_fn=key)
    def fetch(page, this_task=None):
        calls.append(page)
        return page

    assert [fetch(page) for page in (1, 2, 3, -1, -1)] == [1, 2, 1, -1, -1]
    assert calls == [1, 2, -1, -1]


def test_a_function_can_be_the_policy_or_a_part_of_it(calls):
    @task(cache_policy=INPUTS + (lambda task, arguments: "version 2"))
    def fetch(page):
        calls.append(page)
        return page

    @task(cache_policy=lambda task, arguments: "always the same")
    def count():
        calls.append("count")
        return len(calls)

    assert [fetch(1), fetch(1), fetch(2)] == [1, 1, 2]
    assert count() == count()


@pytest.mark.parametrize(
    ("keywords", "arguments", "message"),
    [
        ({"cache_policy": INPUTS}, [object()], "of its inputs no key can be made, since the value at ['page']"),
        ({"cache_key_fn": lambda task, arguments: 3}, [1], "TypeError: its key must be a text or None, not 3"),
        ({"cache_key_fn": lambda task, arguments: arguments["pge"]}, [1], "KeyError: 'pge'"),
    ],
)
def test_a_call_without_a_key_runs_as_ever_and_that_is_said_once(keywords, arguments, message, calls, caplog):
    @task(**keywords)
    def fetch(page):
        calls.append(page)
        return page

    assert fetch(*arguments) is fetch(*arguments)

    assert len(calls) == 2
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert record.getMessage().startswith(f"fetch: It runs as if nothing were kept: {message}")


def test_a_value_that_cannot_be_kept_comes_out_and_is_said_once(calls, caplog):
    @task(cache_policy=INPUTS)
    def open_connection():
        calls.append(1)
        return object()

    assert open_connection() is not open_connection()

    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert record.getMessage() == (
        "open_connection: Nothing is kept of what it returns, since the value is of the type builtins.object, which "
        "JSON cannot hold so that exactly the same comes back; return plain data, or give result_serializer='pickle' "
        "(said once)"
    )


def test_pickle_is_used_where_it_is_asked_for(calls):
    @task(cache_policy=INPUTS, result_serializer="pickle")
    def fail_later():
        calls.append(1)
        return ZeroDivisionError("kept")

    assert repr(fail_later()) == repr(fail_later()) == "ZeroDivisionError('kept')"
    assert calls == [1]


def test_a_storage_that_breaks_costs_the_cache_and_nothing_else(calls, caplog):
    class Broken:
        def read(self, name):
            raise OSError("no network")

        def write(self, name, content):
            raise OSError("no network")

    @task(cache_policy=INPUTS, result_storage=Broken())
    def fetch():
        calls.append(1)
        return 3

    assert (fetch(), fetch()) == (3, 3)
    assert len(calls) == 2
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [warning.split("<")[0] for warning in warnings] == [
        "fetch: Nothing can be read from ",
        "fetch: Nothing can be kept in ",
    ]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_damaged_value_is_made_anew_and_that_is_said(is_async, tmp_path, calls, caplog):
    def body():
        calls.append(1)
        return len(calls)

    async def async_body():
        return body()

    cached = task(cache_policy=INPUTS, result_storage=tmp_path, task_name="fetch")(async_body if is_async else body)

    def call():
        return asyncio.run(cached()) if is_async else cached()

    assert call() == 1
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-1] + b"7")

    assert (call(), call()) == (2, 2)
    assert (
        f"fetch: What is kept in FolderStorage('{tmp_path}') as {file.name} cannot be used, and is made anew: it is "
        in (caplog.text)
    )


def test_hits_are_counted_apart_so_that_durations_are_those_of_the_body():
    aggregator = Aggregator()
    add_observer(aggregator)

    @task(cache_policy=INPUTS)
    def fetch(page):
        return page

    for page in (1, 1, 1, 2):
        fetch(page)

    (series,) = aggregator.snapshot().tasks
    assert (series.task, series.reused, series.durations["success"].count) == ("fetch", 2, 2)


def test_values_can_be_read_by_the_key_on_the_span(spans):
    @task(persist_result=True, result_storage="memory", result_serializer="compressed/json")
    def fetch():
        return {"rows": (1, 2)}

    fetch()

    key = spans.one("task fetch").attributes[semconv.RUN_STORED_KEY]
    assert load(key, result_storage="memory", result_serializer="compressed/json") == {"rows": (1, 2)}


def test_a_persisted_task_runs_each_time(calls, spans):
    @task(persist_result=True)
    def fetch():
        calls.append(1)

    fetch()
    fetch()

    assert calls == [1, 1]
    keys = {span.attributes[semconv.RUN_STORED_KEY] for span in spans.named("task fetch")}
    assert len(keys) == 2


def test_a_method_is_cached_where_its_object_is_left_out_or_makes_a_key(calls):
    class Shop:
        @task(cache_policy=INPUTS - "self")
        def price(self, fruit):
            calls.append(fruit)

    Shop().price("apple")
    Shop().price("apple")

    assert calls == ["apple"]


def test_nothing_is_put_around_a_body_that_wants_nothing_kept():
    def plain():
        return 1

    async def waiting():
        return 1

    for options in ({}, {"cache_policy": NO_CACHE}, {"persist_result": False}, {"cache_policy": None}):
        assert Definition("@task", plain, options).body is plain
        assert Definition("@task", waiting, options).body is waiting


@pytest.mark.parametrize("is_async", [False, True])
def test_a_persisted_flow_keeps_what_it_returns(spans, is_async):
    @flow(persist_result=True)
    def nightly(number):
        return [number]

    @flow(persist_result=True)
    async def weekly(number):
        return [number]

    run = (weekly if is_async else nightly)(3).execute()

    assert run.flow_return_value == [3]
    key = spans.one("flow weekly" if is_async else "flow nightly").attributes[semconv.RUN_STORED_KEY]
    assert load(key) == [3]


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"cache_policy": "inputs"}, "^fetch: cache_policy must be one of otelflow.cache_policies, such as INPUTS"),
        ({"cache_policy": INPUTS, "cache_key_fn": len}, "^fetch: give cache_policy or cache_key_fn, not both"),
        ({"cache_policy": INPUTS - "pge"}, "^fetch: cache_policy leaves out 'pge', which is no parameter of it"),
        ({"cache_policy": INPUTS, "cache_expiration": 0}, "^fetch: cache_expiration must be .* above 0, not 0$"),
        ({"cache_policy": INPUTS, "cache_expiration": "1h"}, "^fetch: cache_expiration must be .* above 0, not '1h'$"),
        ({"cache_policy": INPUTS, "cache_expiration": float("nan")}, "^fetch: cache_expiration must be a timedelta or"),
        ({"cache_expiration": 60}, "^fetch: cache_expiration is of no use without cache_policy or cache_key_fn$"),
        ({"refresh_cache": True}, "^fetch: refresh_cache is of no use without cache_policy or cache_key_fn$"),
        ({"result_storage": "memory"}, "^fetch: result_storage is of no use without persist_result=True or"),
        ({"result_serializer": "json"}, "^fetch: result_serializer is of no use without persist_result=True or cache"),
        ({"persist_result": True, "result_serializer": "jsn"}, "^fetch: there is no result_serializer 'jsn'; did you"),
        ({"persist_result": True, "result_storage": 3}, "^fetch: result_storage must be a folder, an address such as"),
        ({"persist_result": "yes"}, "^@task: persist_result must be True or False, not 'yes'"),
        ({"refresh_cache": 1}, "^@task: refresh_cache must be True or False, not 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_at_decoration_by_the_name_of_the_task(keywords, message):
    def fetch(page):
        return page

    with pytest.raises(ConfigurationError, match=message):
        task(**keywords)(fetch)


def test_a_generator_is_not_cached():
    def rows():
        yield 1

    with pytest.raises(ConfigurationError, match=r"rows is a generator: cache_policy is for functions only"):
        task(cache_policy=INPUTS)(rows)


def test_each_task_has_its_own_storage_where_it_asks_for_one(calls):
    def fetch():
        calls.append(1)

    first, second = (task(cache_policy=INPUTS, result_storage=MemoryStorage())(fetch) for _ in range(2))
    first()
    second()
    first()

    assert calls == [1, 1]


def test_a_far_storage_does_not_block_the_event_loop(calls, spans):
    storage = FarStorage()

    @task(cache_policy=INPUTS, result_storage=storage)
    async def fetch(page):
        calls.append(page)
        return page

    async def twice():
        return await fetch(1), await fetch(1)

    assert asyncio.run(twice()) == (1, 1)
    assert calls == [1]
    assert storage.threads
    assert threading.get_ident() not in storage.threads
    assert hits(spans, "task fetch") == [False, True]


def test_coroutines_of_trio_wait_for_each_other_too(calls):
    trio = pytest.importorskip("trio")

    @task(cache_policy=INPUTS)
    async def fetch(page):
        calls.append(page)
        await trio.sleep(0.02)
        return page

    async def many():
        async with trio.open_nursery() as nursery:
            for number in range(6):
                nursery.start_soon(fetch, number % 2)

    trio.run(many)

    assert sorted(calls) == [0, 1]
