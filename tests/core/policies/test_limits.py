"""Limits by name: what waits, how that is seen, and that nobody loses a place or keeps one."""

import asyncio
import contextlib
import contextvars
import threading
import time

import pytest

import otelflow
from otelflow import concurrency, flow, rate_limit, semconv, task
from otelflow._core.flows.definition import Definition
from otelflow._core.policies import limits
from otelflow._core.policies.limits import limits_of
from otelflow.errors import ConfigurationError, LimitTimeout, RunTimeout
from otelflow.metrics._counts import Aggregator
from otelflow.metrics._families import read

_WAIT = 30


def waited(span, name):
    return span.attributes.get(semconv.LIMIT_WAITED.format(name=name))


class Peak:
    """How many are inside at once, at most."""

    def __init__(self):
        self.now = self.most = 0
        self._lock = threading.Lock()

    def __enter__(self):
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)

    def __exit__(self, *_):
        with self._lock:
            self.now -= 1


def test_a_body_without_limits_is_called_as_it_is():
    def plain(): ...

    assert Definition("@task", plain).body is plain
    assert Definition("@task", plain, {"concurrency": None}).body is plain


def test_so_many_threads_are_inside_at_once_and_all_get_there():
    peak, done = Peak(), []

    @task(concurrency={"db": 3})
    def query(number):
        with peak:
            time.sleep(0.005)
        done.append(number)

    threads = [threading.Thread(target=query, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_WAIT)

    assert sorted(done) == list(range(20))
    assert peak.most == 3


def test_so_many_coroutines_are_inside_at_once_and_the_loop_goes_on():
    peak, ticks = Peak(), []

    @task(concurrency={"db": 2})
    async def query():
        with peak:
            await asyncio.sleep(0.005)

    async def tick():
        while True:
            ticks.append(1)
            await asyncio.sleep(0.001)

    async def all_of_them():
        ticker = asyncio.create_task(tick())
        await asyncio.gather(*(query() for _ in range(30)))
        ticker.cancel()

    asyncio.run(asyncio.wait_for(all_of_them(), _WAIT))

    assert peak.most == 2
    assert len(ticks) > 5


def test_trio_waits_on_its_own_loop():
    trio = pytest.importorskip("trio")
    peak = Peak()

    @task(concurrency={"db": 1})
    async def query():
        with peak:
            await trio.sleep(0.001)

    async def all_of_them():
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(query)

    trio.run(all_of_them)

    assert peak.most == 1


def test_what_was_waited_stands_on_the_span_and_in_the_metrics(spans):
    begun = threading.Event()

    @task(concurrency={"db": 1})
    def hold():
        begun.set()
        time.sleep(0.2)

    @task(concurrency={"db": 1})
    def want():
        return 42

    thread = threading.Thread(target=hold)
    thread.start()
    assert begun.wait(_WAIT)
    value = want()
    thread.join(_WAIT)

    assert value == 42
    span = spans.one("task want")
    assert 0.05 < waited(span, "db") < (span.end_time - span.start_time) / 1e9 + 0.001
    assert waited(spans.one("task hold"), "db") < waited(span, "db")
    numbers = {
        family.metric.name: {sample.labels: sample.value for sample in family.samples}
        for family in read(Aggregator().snapshot())
    }
    assert numbers[semconv.LIMIT_PASSES] == {("db",): 2}
    assert numbers[semconv.LIMIT_WAIT]["db",] == pytest.approx(
        waited(span, "db") + waited(spans.one("task hold"), "db"), abs=1e-5
    )


def test_what_one_run_waits_several_times_is_added_up(spans):
    @flow
    def calls():
        for _ in range(3):
            with rate_limit("api", "1/50ms"):
                pass

    calls().execute()

    assert waited(spans.one("flow calls"), "api") == pytest.approx(0.1, abs=0.09)


@pytest.mark.parametrize("is_async", [False, True])
def test_a_wait_that_is_too_long_is_a_timeout_that_names_limit_and_cure(spans, is_async):
    if is_async:

        @task(concurrency={"db": 1}, limit_timeout=0.05)
        async def want(): ...

        def call():
            asyncio.run(want())
    else:

        @task(concurrency={"db": 1}, limit_timeout=0.05)
        def want(): ...

        call = want

    def fail():
        with pytest.raises(LimitTimeout) as failure:
            call()
        errors.append(failure.value)

    def hold_and_call():
        with concurrency("db", 1):
            thread = threading.Thread(target=fail)
            thread.start()
            thread.join(_WAIT)

    errors = []
    hold_and_call()

    assert "the limit 'db' (at most 1 at once) was not free within 0.05 s: give it more time" in str(errors[0])
    assert errors[0].limit == "db"
    assert spans.one("task want").attributes["otelflow.run.result"] == "timeout"
    with concurrency("db", 1, timeout=0):
        pass


def test_one_who_is_cancelled_while_waiting_stands_in_nobody_s_way():
    order = []

    @task(concurrency={"db": 1})
    async def want(name):
        order.append(name)
        await asyncio.sleep(0.01)

    async def others():
        begun = asyncio.Event()

        async def hold():
            async with concurrency("db", 1):
                begun.set()
                await asyncio.sleep(0.1)

        holder = asyncio.create_task(hold())
        await begun.wait()
        first = asyncio.create_task(want("first"))
        await asyncio.sleep(0.01)
        second = asyncio.create_task(want("second"))
        await asyncio.sleep(0.01)
        first.cancel()
        await asyncio.wait_for(asyncio.gather(holder, first, second, return_exceptions=True), _WAIT)

    asyncio.run(others())

    assert order == ["second"]


def test_who_has_a_place_needs_no_second_one_inside_and_gives_it_back_at_the_end():
    @task(concurrency={"db": 1}, limit_timeout=5)
    def inner():
        return 42

    @task(concurrency={"db": 1}, limit_timeout=5)
    def outer():
        return inner()

    assert outer() == 42
    assert outer() == 42


def test_one_object_serves_several_threads():
    one, peak = concurrency("db", 2), Peak()

    def use():
        for _ in range(5):
            with one, peak:
                time.sleep(0.001)

    threads = [threading.Thread(target=use) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_WAIT)

    assert peak.most == 2
    with concurrency("db", 1, timeout=1):
        pass


def test_a_failing_body_gives_its_place_back_and_all_attempts_have_one_place():
    attempts = []

    @task(concurrency={"db": 1}, retries=2, limit_timeout=1)
    def fails():
        attempts.append(1)
        raise ValueError("no")

    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            fails()

    assert len(attempts) == 6


def test_flows_have_limits_and_generators_do_not():
    @flow(concurrency={"one": 1}, rate_limit={"api": "100/s"})
    def limited():
        return 42

    assert limited().execute().flow_return_value == 42
    with pytest.raises(ConfigurationError, match="steps is a generator: concurrency is for functions only"):

        @task(concurrency={"db": 1})
        def steps():
            yield 1


MISTAKES = {
    "no number": (
        {"concurrency": {"db": "5"}},
        "'work': concurrency 'db': limit='5' must be a whole number from 1 to 1000",
    ),
    "no place": ({"concurrency": {"db": 0}}, "must be a whole number from 1"),
    "yes": ({"concurrency": {"db": True}}, "must be a whole number from 1"),
    "no name": ({"concurrency": {"": 1}}, "a limit is known by a text"),
    "a number as a name": ({"rate_limit": {5: "1/s"}}, "a limit is known by a text of up to 200 characters, not 5"),
    "no rate": ({"rate_limit": {"api": "fast"}}, "rate_limit 'api': 'fast' is no rate such as '10/s'"),
    "no unit": ({"rate_limit": {"api": "10/5"}}, "'10/5' is no rate"),
    "none at all": ({"rate_limit": {"api": "0/s"}}, "'0/s' is no rate"),
    "a number as a rate": ({"rate_limit": {"api": 10}}, "10 is no rate"),
    "no mapping": ({"concurrency": "db"}, "concurrency must be a dict or None, not 'db'"),
    "a time that is none": (
        {"concurrency": {"db": 1}, "limit_timeout": -1},
        "a number of seconds or a timedelta, or for ever",
    ),
    "a time for nothing": ({"limit_timeout": 1}, "limit_timeout has no limit to wait for; give concurrency="),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_said_at_decoration(case):
    keywords, words = MISTAKES[case]

    with pytest.raises(ConfigurationError, match=words):

        @task(**keywords)
        def work(): ...


def test_a_wait_that_blocks_a_loop_is_said(caplog):
    async def blocks():
        with rate_limit("api", "1/20ms"):
            pass
        with rate_limit("api", "1/20ms"):
            pass

    asyncio.run(blocks())

    assert (
        "The limit 'api' is waited for in an event loop, which stands still meanwhile: use 'async with'" in caplog.text
    )


def test_it_is_imported_when_it_is_asked_for(program):
    program.run(
        """
import sys
import otelflow

@otelflow.task
def plain(): ...

plain()
print([name for name in sys.modules if name.startswith("otelflow._core.policies.")])
otelflow.task(concurrency={"db": 1})(plain.__wrapped__)
print("otelflow._core.policies.limits" in sys.modules, "asyncio" in sys.modules)
""",
        prelude="",
    )

    assert program.out == "[]\nTrue False\n", program.err
    assert otelflow.concurrency is concurrency


def test_a_function_that_goes_on_after_its_time_out_keeps_its_place_until_it_returns():
    ends, inside = threading.Event(), []

    @task(concurrency={"db": 1}, timeout=0.05)
    def slow():
        ends.wait(_WAIT)
        inside.append("left")

    with pytest.raises(RunTimeout):
        slow()
    with pytest.raises(LimitTimeout), concurrency("db", 1, timeout=0.05):
        pytest.fail("two are inside")
    ends.set()
    with concurrency("db", 1, timeout=_WAIT):
        assert inside == ["left"]


def test_a_thread_that_cannot_begin_keeps_no_place(monkeypatch):
    @task(concurrency={"db": 1}, timeout=5)
    def query():
        pass

    def refuse(*_):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as context:
        context.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            query()

    with concurrency("db", 1, timeout=_WAIT):
        pass


@pytest.mark.parametrize("how", ["copied", "thread"])
def test_a_block_may_be_left_in_another_context(how):
    @contextlib.contextmanager
    def dependency():  # as of FastAPI, which enters and leaves each in a context of its own
        with concurrency("db", 1):
            yield

    block = dependency()
    contextvars.copy_context().run(block.__enter__)
    with pytest.raises(LimitTimeout), concurrency("db", 1, timeout=0.01):
        pytest.fail("two are inside")
    if how == "copied":
        contextvars.copy_context().run(block.__exit__, None, None, None)
    else:
        thread = threading.Thread(target=block.__exit__, args=(None, None, None))
        thread.start()
        thread.join(_WAIT)

    with concurrency("db", 1, timeout=_WAIT):
        pass


def test_blocks_that_are_left_in_the_order_in_which_they_were_entered_keep_each_its_own_place():
    def step(name):
        with concurrency(name, 1):
            yield

    first, second = step("a"), step("b")
    next(first)
    next(second)
    first.close()

    thread_of_b = threading.Thread(target=lambda: tries.append(is_free("b")))
    tries = [is_free("a")]
    thread_of_b.start()
    thread_of_b.join(_WAIT)
    second.close()
    assert tries == [True, False]
    assert is_free("b")


def is_free(name):
    try:
        with concurrency(name, 1, timeout=0.01):
            return True
    except LimitTimeout:
        return False


@pytest.mark.parametrize(("limit", "is_one"), [(0, False), (1, True), (1_000, True), (1_001, False), (True, False)])
def test_so_many_places_there_may_be(limit, is_one):
    if is_one:
        concurrency("db", limit)
    else:
        with pytest.raises(ConfigurationError, match="must be a whole number from 1 to 1000"):
            concurrency("db", limit)


@pytest.mark.parametrize(
    ("rate", "count", "seconds"),
    [
        ("10/s", 10, 1),
        ("1/90s", 1, 90),
        ("100/ m", 100, 60),
        ("10000/h", 10_000, 3_600),
        ("1/31d", 1, 31 * 86_400),
        ("0/s", None, None),
        ("10001/s", None, None),
        ("1/32d", None, None),
        ("1/0s", None, None),
        ("10", None, None),
        ("/s", None, None),
    ],
)
def test_a_rate_is_so_many_in_a_length_of_time(monkeypatch, rate, count, seconds):
    rates = []
    monkeypatch.setattr(limits, "Rate", lambda *rate: rates.append(rate))
    if count is None:
        with pytest.raises(ConfigurationError, match="is no rate such as"):
            rate_limit("api", rate)
    else:
        rate_limit("api", rate)

    assert rates == ([] if count is None else [("api", count, seconds)])


@pytest.mark.parametrize(("name", "is_one"), [("x", True), ("x" * 200, True), ("x" * 201, False), (" ", False)])
def test_a_limit_is_known_by_a_text(name, is_one):
    for make in (lambda: concurrency(name, 1), lambda: rate_limit(name, "1/s")):
        if is_one:
            make()
        else:
            with pytest.raises(ConfigurationError, match="a limit is known by a text of up to 200 characters"):
                make()


def test_limits_are_asked_for_in_the_order_of_their_names_and_places_first():
    def body():
        return 1

    options = {"concurrency": {"b": 1, "a": 1}, "rate_limit": {"d": "1/s", "c": "1/s"}}

    assert [limit.name for limit in limits_of(body, options)()] == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit_timeout": 3}, "'body': limit_timeout has no limit to wait for; give concurrency="),
        ({"concurrency": {}}, "'body': concurrency names no limit; give concurrency="),
        ({"rate_limit": {}, "limit_timeout": 3}, "'body': rate_limit names no limit; give concurrency="),
        (
            {"concurrency": {"a": 1}, "limit_timeout": -1},
            "'body': limit_timeout: a limit is waited for a number of sec",
        ),
        ({"concurrency": {"": 1}}, "'body': concurrency: a limit is known by a text"),
        ({"rate_limit": {"": "1/s"}}, "'body': rate_limit: a limit is known by a text"),
        ({"rate_limit": {"a": "often"}}, "'body': rate_limit 'a': 'often' is no rate"),
    ],
)
def test_a_limit_that_is_none_is_said_with_the_name_of_the_function(options, message):
    def body():
        return 1

    with pytest.raises(ConfigurationError, match=message):
        limits_of(body, options)


@pytest.mark.parametrize("make", [lambda: concurrency("db", 1), lambda: rate_limit("api", "10/s")])
def test_a_block_has_its_limit_under_a_name(make):
    limit = make()

    async def entered():
        async with limit as same:
            return same

    with limit as same:
        pass

    assert same is limit
    assert asyncio.run(entered()) is limit
