"""The checkpoint of a flow run is there from its first moment on, and says how it ended."""

import asyncio
import contextlib
import pickle
import threading
import uuid

import pytest

from otelflow import flow, semconv, task
from otelflow._core.flows.definition import definition_of
from otelflow._core.policies.checkpoints import (
    RUNNING,
    STOPPED,
    SUCCEEDED,
    Passport,
    enter_with,
    key_of,
    passport_of,
    progress_around,
)
from otelflow._core.results.records import unpacked
from otelflow._core.results.serializers import serializer_of
from otelflow._core.runs.current import current_run
from otelflow.errors import ResultUnreadable, RunNotResumable
from otelflow.results import MemoryStorage
from support.storages import FarStorage


@pytest.fixture
def storage():
    return MemoryStorage()


def kept(storage, run_id):
    content = storage.read(key_of(run_id))
    return content and unpacked(content, key_of(run_id), serializer_of("test", None)).value


def test_it_says_how_far_the_run_is_and_with_what_it_was_called(storage):
    states = []

    @flow(persist_result=True, result_storage=storage)
    def nightly(day, this_flow=None, **more):
        states.append(kept(storage, this_flow.flow_id)["state"])
        if day == "sunday":
            raise LookupError(day)

    good = nightly("monday", rows={1, 2}).execute()
    bad = nightly("sunday")
    with pytest.raises(LookupError):
        bad.execute()

    checkpoint = kept(storage, good.flow_id)
    assert (checkpoint["args"], checkpoint["kwargs"]) == (("monday",), {"rows": {1, 2}})
    assert checkpoint["flow"].endswith("nightly")
    assert [*states, checkpoint["state"], kept(storage, bad.flow_id)["state"]] == [RUNNING, RUNNING, SUCCEEDED, STOPPED]


def test_the_storage_of_a_flow_is_that_of_its_tasks_unless_they_have_their_own(storage, spans):
    own = MemoryStorage()

    @task(persist_result=True)
    def step():
        return 1

    @task(persist_result=True, result_storage=own)
    def own_step():
        return 2

    @flow(persist_result=True, result_storage=storage)
    def nightly():
        return step() + own_step()

    nightly().execute()

    keys = {name: spans.one(f"task {name}").attributes[semconv.RUN_STORED_KEY] for name in ("step", "own_step")}
    assert storage.read(keys["step"])
    assert own.read(keys["own_step"])
    assert not storage.read(keys["own_step"])


def test_a_flow_that_keeps_nothing_leaves_its_tasks_to_themselves(spans):
    @task(persist_result=True)
    def step():
        return 1

    @flow
    def nightly():
        return step()

    nightly().execute()

    assert semconv.FLOW_RUN_ATTEMPT not in spans.one("flow nightly").attributes
    assert semconv.RUN_STORED_KEY in spans.one("task step").attributes


def test_the_call_that_goes_to_another_process_is_the_one_that_it_would_be_in_its_flow(tmp_path, spans):
    passports = []

    @task(persist_result=True)
    def step(number):
        return number

    @task
    def send(number):
        passport = passport_of(current_run(), definition_of(step), (number,), {})
        passports.append(pickle.loads(pickle.dumps(passport)))
        step(number)

    @flow(persist_result=True, result_storage=tmp_path)
    def nightly():
        step(1)
        send(1)
        step(1)

    nightly().execute()
    nightly().execute()

    keys = [span.attributes[semconv.RUN_STORED_KEY] for span in spans.named("task step")]
    assert len({*keys, *(passport.key for passport in passports)}) == 8
    assert len([file for file in tmp_path.iterdir() if file.name in keys]) == 6


def test_a_call_inside_of_a_task_is_found_again_whichever_of_its_like_is_run_first(tmp_path):
    order = [1, 2]

    @task(persist_result=True)
    def draw(word):
        return uuid.uuid4()

    @task
    def outer(number):
        return number, draw("same")

    @flow(persist_result=True, result_storage=tmp_path)
    def nightly():
        drawn.append(sorted(outer(number) for number in order))
        raise LookupError("not yet")

    drawn = []
    run = nightly()
    with pytest.raises(LookupError):
        run.execute()
    order.reverse()
    with pytest.raises(LookupError):
        nightly.resume(run.flow_id).execute()

    assert drawn[0] == drawn[1]


def test_a_task_that_goes_on_when_the_body_of_its_flow_has_failed_is_kept_too(storage):
    drawn, begun, pause = [], threading.Event(), threading.Event()

    @task(persist_result=True)
    def draw():
        drawn.append(1)

    @task
    def outer(run_id):
        begun.set()
        for _ in range(3_000):
            if kept(storage, run_id)["state"] == STOPPED or len(drawn) == 1:
                break
            pause.wait(0.01)
        draw()

    @flow(persist_result=True, result_storage=storage)
    def nightly(this_flow=None):
        future = outer.submit("flow_id__of_test")
        begun.wait(30)
        if not drawn:
            raise LookupError("not yet")
        return future.result()

    run = nightly()
    run.flow_id = "flow_id__of_test"
    with pytest.raises(LookupError):
        run.execute()
    nightly.resume(run.flow_id).execute()

    assert drawn == [1]


def test_where_nothing_is_kept_nothing_travels():
    @task
    def plain():
        return passport_of(current_run(), definition_of(plain), (), {})

    @task(persist_result=True)
    def persisted():
        return passport_of(current_run(), definition_of(persisted), (), {})

    @flow
    def nightly():
        return plain(), persisted()

    assert nightly().execute().flow_return_value == (None, None)
    assert persisted() is None


def test_a_storage_that_cannot_travel_is_said_once(storage, caplog):
    @task(persist_result=True)
    def step():
        return 1

    @flow(persist_result=True, result_storage=storage)
    def nightly():
        return [passport_of(current_run(), definition_of(step), (), {}) for _ in range(2)]

    assert nightly().execute().flow_return_value == [None, None]
    assert caplog.text.count("step runs in another process, where the memory of this process is not") == 1


def test_each_attempt_of_a_run_has_its_number(storage, spans):
    @flow(persist_result=True, result_storage=storage)
    def nightly():
        raise LookupError("not yet")

    run = nightly()
    with pytest.raises(LookupError):
        run.execute()
    for _ in range(2):
        with pytest.raises(LookupError):
            nightly.resume(run.flow_id).execute()

    assert [span.attributes[semconv.FLOW_RUN_ATTEMPT] for span in spans.named("flow nightly")] == [1, 2, 3]
    assert kept(storage, run.flow_id)["attempt"] == 3


def test_a_run_that_goes_on_is_not_resumed_and_one_that_has_stopped_is(tmp_path):
    refusals = []

    @flow(persist_result=True, result_storage=tmp_path)
    def nightly(this_flow=None):
        if not refusals:
            with pytest.raises(RunNotResumable, match="goes on, in this process or another") as refusal:
                nightly.resume(this_flow.flow_id)
            refusals.append(str(refusal.value))
            raise LookupError("not yet")
        return "done"

    run = nightly()
    with pytest.raises(LookupError):
        run.execute()

    assert nightly.resume(run.flow_id).execute().flow_return_value == "done"
    with pytest.raises(RunNotResumable, match="has ended well"):
        nightly.resume(run.flow_id)


def test_a_flow_whose_inputs_make_no_key_runs_and_that_is_said_once(storage, caplog):
    @flow(persist_result=True)
    def inner(thing):
        return 1

    @flow(persist_result=True, result_storage=storage)
    def outer():
        return [inner(threading.Lock()).execute().flow_return_value for _ in range(2)]

    assert outer().execute().flow_return_value == [1, 1]
    assert len([message for message in caplog.messages if "inner" in message]) == 1


def test_tasks_of_two_flows_inside_of_a_task_are_different_calls(storage, spans):
    @task(persist_result=True)
    def step(number):
        return number

    @flow(persist_result=True)
    def inner(word):
        return step(1)

    @task
    def around():
        return [inner(word).execute().flow_return_value for word in ("a", "b", "a")]

    @flow(persist_result=True, result_storage=storage)
    def outer():
        return around()

    outer().execute()

    assert len({span.attributes[semconv.RUN_STORED_KEY] for span in spans.named("task step")}) == 3


def test_a_task_that_has_come_from_another_process_is_the_call_that_its_passport_is_from(storage):
    keys = []

    @task
    def step():
        run = current_run()
        enter_with(run, Passport("the run", storage, 0.0, "the key"))
        progress = progress_around(run)
        keys.append((progress.call_key(run), progress.identity, progress.storage, progress.scope(run).since))

    step()

    assert keys == [("the key", "the run", storage, 0.0)]


@pytest.mark.parametrize("make", [FarStorage, MemoryStorage])
def test_a_run_goes_on_once_also_where_the_storage_has_no_locks(make):
    may_end, begun = threading.Event(), threading.Semaphore(0)
    fails = [True]

    @flow(persist_result=True, result_storage=make())
    def nightly():
        begun.release()
        assert may_end.wait(30)
        if fails.pop():
            raise LookupError("the first time")

    def fail():
        with pytest.raises(LookupError):
            run.execute()

    run = nightly()
    first = threading.Thread(target=fail)
    first.start()
    assert begun.acquire(timeout=30)
    with pytest.raises(RunNotResumable, match="goes on"):
        nightly.resume(run.flow_id)
    may_end.set()
    first.join(30)

    may_end.clear()
    fails.append(False)
    both = [nightly.resume(run.flow_id) for _ in range(2)]
    second = threading.Thread(target=both[0].execute)
    second.start()
    assert begun.acquire(timeout=30)
    with pytest.raises(RunNotResumable, match="goes on"):
        both[1].execute()
    may_end.set()
    second.join(30)
    assert both[0].flow_state.status == "success"


@pytest.mark.parametrize("library", ["asyncio", "trio"])
@pytest.mark.parametrize("how", ["ends", "fails", "is cancelled"])
def test_a_far_storage_is_never_used_on_an_event_loop(library, how):
    loops = pytest.importorskip(library)
    storage, cancels = FarStorage(), []

    @task(persist_result=True)
    async def step():
        return 1

    @flow(persist_result=True, result_storage=storage)
    async def nightly():
        await step()
        if how == "fails":
            raise LookupError("no")
        if how == "is cancelled":
            cancels[0]()
            await loops.sleep(60)

    run = nightly()

    async def in_asyncio():
        running = asyncio.create_task(run.execute_async())
        cancels.append(running.cancel)
        await asyncio.wait([running])
        assert how == "is cancelled" or type(running.exception()) is (LookupError if how == "fails" else type(None))

    async def in_trio():
        with loops.CancelScope() as scope:
            cancels.append(scope.cancel)
            with pytest.raises(LookupError) if how == "fails" else contextlib.nullcontext():
                await run.execute_async()

    if library == "asyncio":
        asyncio.run(in_asyncio())
    else:
        loops.run(in_trio)

    assert threading.get_ident() not in storage.threads
    assert kept(storage, run.flow_id)["state"] == (SUCCEEDED if how == "ends" else STOPPED)


def test_a_run_that_is_cancelled_while_its_lock_is_asked_for_holds_none():
    asked, may_answer, locks = threading.Event(), threading.Event(), []

    class Locking(FarStorage):
        def acquire(self, name):
            asked.set()
            assert may_answer.wait(30)
            locks.append(name)
            return lambda: locks.remove(name)

    storage = Locking()

    @flow(persist_result=True, result_storage=storage)
    async def nightly():
        raise AssertionError("it has not begun")

    async def main():
        running = asyncio.create_task(nightly().execute_async())
        assert await asyncio.to_thread(asked.wait, 30)
        running.cancel()
        await asyncio.wait([running])
        may_answer.set()

    asyncio.run(main())  # waits for its threads

    assert (locks, dict(storage)) == ([], {})


@pytest.mark.parametrize("content", [b"", b"nonsense", b"{}"])
def test_what_is_kept_of_a_run_and_cannot_be_read_is_one_error(storage, content):
    @flow(persist_result=True, result_storage=storage)
    def nightly():
        raise LookupError

    run = nightly()
    with pytest.raises(LookupError):
        run.execute()
    storage.write(key_of(run.flow_id), content)

    with pytest.raises(ResultUnreadable, match=f"What is kept of run {run.flow_id} in .* cannot be used: "):
        nightly.resume(run.flow_id)
