"""The checkpoint of a flow run is there from its first moment on, and says how it ended."""

import asyncio
import contextlib
import math
import os
import pickle
import threading
import uuid

import pytest

from otelflow import Flow, flow, semconv, task
from otelflow._core.flows.definition import definition_of
from otelflow._core.policies.checkpoints import (
    RUNNING,
    STOPPED,
    SUCCEEDED,
    SentCall,
    call_to_send,
    enter_with,
    key_of,
    progress_around,
)
from otelflow._core.results.records import unpacked
from otelflow._core.results.serializers import serializer_of
from otelflow._core.runs.current import current_run
from otelflow.errors import ResultUnreadable, RunNotResumable
from otelflow.results import MemoryStorage
from support.flows import Shaky, stopped
from support.storages import FarStorage


@pytest.fixture
def storage():
    return MemoryStorage()


@pytest.fixture
def shaky():
    return Shaky()


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
    calls = []

    @task(persist_result=True)
    def step(number):
        return number

    @task
    def send(number):
        call = call_to_send(current_run(), definition_of(step), (number,), {})
        calls.append(pickle.loads(pickle.dumps(call)))
        step(number)

    @flow(persist_result=True, result_storage=tmp_path)
    def nightly():
        step(1)
        send(1)
        step(1)

    run_id = nightly().execute().flow_id
    nightly().execute()

    assert calls[0].identity == run_id
    assert (str(tmp_path) in repr(calls[0].storage), calls[0].since) == (True, math.inf)
    keys = [span.attributes[semconv.RUN_STORED_KEY] for span in spans.named("task step")]
    assert len({*keys, *(call.key for call in calls)}) == 8
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
        return call_to_send(current_run(), definition_of(plain), (), {})

    @task(persist_result=True)
    def persisted():
        return call_to_send(current_run(), definition_of(persisted), (), {})

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
        return [call_to_send(current_run(), definition_of(step), (), {}) for _ in range(2)]

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

    attempts = spans.named("flow nightly")
    assert [span.attributes[semconv.FLOW_RUN_ATTEMPT] for span in attempts] == [1, 2, 3]
    links = [[(link.context.span_id, link.attributes) for link in span.links] for span in attempts]
    reason = {semconv.LINK_REASON: "attempt"}
    assert links == [[], [(attempts[0].context.span_id, reason)], [(attempts[1].context.span_id, reason)]]
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


def test_a_task_that_has_come_from_another_process_is_the_call_that_was_sent(storage):
    keys = []

    @task
    def step():
        run = current_run()
        enter_with(run, SentCall("the run", storage, 0.0, "the key"))
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


@pytest.mark.parametrize(
    ("run_id", "is_asked"),
    [
        ("flow_id__0", False),
        ("nightly", False),
        ("0af7651916cd43dd8448eb211c80319c", True),
        ("0123456789abcdefABCDEF", True),
    ],
)
def test_only_an_id_that_may_be_that_of_a_trace_is_asked_about(storage, run_id, is_asked):
    nightly = flow(persist_result=True, result_storage=storage)(lambda: None)

    with pytest.raises(RunNotResumable, match=f"^No run '{run_id}' is kept in the memory of this process: ") as caught:
        nightly.resume(run_id)

    hint = f"; is it a trace id? 'otelflow show {run_id}' names the run"
    assert str(caught.value).endswith(hint if is_asked else "is not older than what is kept there")


def test_a_run_that_is_forgotten_after_it_was_asked_for_is_refused_and_no_task_runs(storage, shaky):
    run = flow(persist_result=True, result_storage=storage)(shaky)
    run_id = stopped(run(1))
    resumed = run.resume(run_id)
    storage._contents.clear()

    with pytest.raises(RunNotResumable, match=f"^run {run_id} is not kept any more: begin a new one$"):
        resumed.execute()

    assert shaky.calls == [1]


def test_a_run_is_resumed_inside_of_another_flow_that_is_kept_too(storage, spans, shaky):
    night = flow(flow_name="night", persist_result=True, result_storage=storage)(shaky)
    run_id = stopped(night(3))
    shaky.is_mended = True

    @flow(persist_result=True, result_storage=storage)
    def mends():
        return night.resume(run_id).execute().flow_return_value

    assert mends().execute().flow_return_value == 3
    assert [span.attributes[semconv.FLOW_RUN_ATTEMPT] for span in spans.named("flow night")] == [1, 2]
    assert kept(storage, run_id)["state"] == SUCCEEDED


def test_flows_inside_are_told_apart_by_their_inputs_and_their_number(storage, spans, shaky):
    @task(persist_result=True)
    def draw():
        return uuid.uuid4().hex

    @flow(persist_result=True)
    def inner(name):
        return draw()

    drawn = []

    @flow(persist_result=True, result_storage=storage)
    def outer():
        drawn.append([inner(name).execute().flow_return_value for name in ("a", "b", "a")])
        return shaky(0)

    run_id = stopped(outer())
    shaky.is_mended = True
    outer.resume(run_id).execute()

    first, second = drawn
    assert len(set(first)) == 3
    assert second == first
    attempts = [span.attributes[semconv.FLOW_RUN_ATTEMPT] for span in spans.named("flow inner")]
    assert attempts == [1, 1, 1, 2, 2, 2]


def test_a_flow_inside_whose_inputs_make_no_key_is_tried_again_with_what_its_tasks_have_kept(storage, shaky):
    calls = []

    @task(persist_result=True)
    def fetch(page):
        calls.append(page)
        return page

    @flow(retries=1, execute_on_call=True)
    def inner(thing):
        value = fetch(1)
        shaky.is_mended, is_mended = True, shaky.is_mended
        if not is_mended:
            raise LookupError("not yet")
        return value

    @flow(persist_result=True, result_storage=storage)
    def outer():
        return inner(threading.Lock())

    assert outer().execute().flow_return_value == 1
    assert len(calls) in (1, 2), "its tasks count as those of the flow around it"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_what_goes_on_in_a_parent_is_not_that_of_its_forked_child(storage):
    exit_codes = []

    @flow(persist_result=True, result_storage=storage)
    def nightly(this_flow=None):
        child = os.fork() if not exit_codes else None
        if child == 0:
            exit_codes.append("of the child")
            os._exit(nightly.resume(this_flow.flow_id).execute().status != "success")
        elif child:
            exit_codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    nightly().execute()

    assert exit_codes == [0]


def tried_again(spans, is_kept, body):
    """Run a flow whose first attempt fails after its tasks; return its value and which tasks were replayed."""

    @flow(retries=1, **({"persist_result": True} if is_kept else {}))
    def nightly():
        return body()

    value = nightly().execute().flow_return_value
    replayed = [span for span in spans.spans if span.attributes.get(semconv.RUN_REPLAYED)]
    return value, sorted(span.name for span in replayed)


@pytest.mark.parametrize("is_kept", [True, False], ids=["kept", "not kept"])
def test_a_flow_that_is_tried_again_does_not_run_again_what_its_tasks_have_kept(spans, shaky, is_kept):
    calls = []

    @task(persist_result=True)
    def fetch(page):
        calls.append(page)
        return [page, len(calls)]

    @task
    def forget(page):
        calls.append(page)

    @task
    def last(values):
        shaky.is_mended, is_mended = True, shaky.is_mended
        forget("forgotten")
        if not is_mended:
            raise LookupError("not yet")
        return values

    def body():
        return last([fetch(1), *fetch.map([1, 2]).result()])

    value, replayed = tried_again(spans, is_kept, body)

    assert value[0] == [1, 1]
    assert sorted(map(str, calls)) == ["1", "1", "2", "forgotten", "forgotten"]
    assert replayed == ["task fetch"] * 3
    fetched = spans.named("task fetch")
    links = {span.links[0].context.span_id for span in fetched if span.links}
    assert links == {span.context.span_id for span in fetched if not span.links}


def test_a_task_that_is_tried_again_does_not_run_again_what_its_own_tasks_have_kept(spans, shaky):
    calls = []

    @task(persist_result=True)
    def fetch(page):
        calls.append(page)
        return page

    @task(retries=1)
    def load(page):
        value = fetch(page)
        if page == 2 and calls.count(2) == 1 and not shaky.is_mended:
            shaky.is_mended = True
            raise LookupError("not yet")
        return value

    value, replayed = tried_again(spans, True, lambda: [load(1), load(2), load(2)])

    assert value == [1, 2, 2]
    assert calls == [1, 2, 2]
    assert replayed == ["task fetch"]


@pytest.mark.parametrize("is_of_flow", [True, False], ids=["flow", "task"])
def test_what_is_called_further_inside_is_kept_when_it_is_tried_again_too(storage, is_of_flow, shaky):
    calls = []

    @task(persist_result=True)
    def fetch(page):
        calls.append(page)
        return len(calls)

    @task
    def load():
        value = fetch(1), fetch(1), fetch(2)
        shaky.is_mended, is_mended = True, shaky.is_mended
        if not is_mended:
            raise LookupError("not yet")
        return value

    @task(retries=0 if is_of_flow else 1)
    def outer():
        return load()

    @flow(persist_result=True, result_storage=storage, retries=1 if is_of_flow else 0)
    def nightly():
        return outer()

    assert nightly().execute().flow_return_value == (1, 2, 3)
    assert calls == [1, 1, 2]


def test_a_flow_inside_that_is_tried_again_finds_what_its_tasks_have_kept_and_no_other_call_does(spans):
    calls = []

    @task(persist_result=True)
    def fetch():
        calls.append(len(calls))
        return len(calls)

    failed = []

    @flow(retries=1, execute_on_call=True)
    def inner(name):
        value = fetch()
        if name not in failed:
            failed.append(name)
            raise LookupError(name)
        return value

    @flow(persist_result=True)
    def outer():
        return [inner("a"), inner("b")]

    assert outer().execute().flow_return_value == [1, 2]
    assert len(spans.named("task fetch")) == 4


@pytest.mark.parametrize("options", [{"persist_result": True}, {}], ids=["kept", "not_kept"])
def test_what_another_run_of_the_same_id_has_kept_is_not_that_of_an_earlier_attempt(shaky, options):
    calls = []

    @task(persist_result=True)
    def fetch():
        calls.append(len(calls))
        shaky(0)
        return len(calls)

    def nightly():
        return fetch()

    shaky.is_mended = True
    first = Flow(flow_id="nightly", retries=1, **options).setup(nightly).execute()
    shaky.is_mended = False
    second = Flow(flow_id="nightly", retries=1, **options).setup(nightly)
    with pytest.raises(LookupError):
        second.execute()

    assert first.flow_return_value == 1
    assert calls == [0, 1, 2], "each attempt has tried"
