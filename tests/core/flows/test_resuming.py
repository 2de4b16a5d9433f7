"""A run that has not ended well goes on where it was: what is done is not done again, and one can see that."""

import asyncio
import logging

import pytest

from otelflow import Flow, ThreadPoolExecutor, flow, semconv, task
from otelflow._core.runs.observers import add_observer
from otelflow.errors import FlowNotSetUp, ResultUnreadable, RunNotResumable
from otelflow.metrics._counts import Aggregator
from otelflow.results import MemoryStorage, load
from support.flows import Shaky, stopped
from support.programs import run_python as run_program

PROGRAM = """
import os, signal, sys
from otelflow import configure, flow, task

configure(store="store")

@task(persist_result=True)
def fetch(page):
    with open("calls", "a") as file:
        file.write(f"{page}\\n")
    return {"page": page, "rows": (page, page + 1)}

@flow(persist_result=True)
def pages(first, last=3):
    values = []
    for page in range(first, last + 1):
        values.append(fetch(page))
        if page == 2 and not os.path.exists("mended"):
            os.kill(os.getpid(), signal.SIGKILL)
    return values

if sys.argv[1:]:
    print(pages.resume(sys.argv[1]).execute().flow_return_value)
else:
    run = pages(1)
    print(run.flow_id, flush=True)
    run.execute()
"""


def test_a_run_whose_process_was_killed_goes_on_in_another_one_with_its_parameters(tmp_path):
    (tmp_path / "nightly.py").write_text(PROGRAM)
    killed = run_program("nightly.py", cwd=tmp_path, XDG_STATE_HOME=tmp_path / "state")
    run_id = killed.stdout.strip()
    (tmp_path / "mended").touch()

    resumed = run_program("nightly.py", run_id, cwd=tmp_path, XDG_STATE_HOME=tmp_path / "state")

    assert killed.returncode == -9
    assert (resumed.returncode, resumed.stderr) == (0, "")
    assert eval(resumed.stdout) == [{"page": page, "rows": (page, page + 1)} for page in (1, 2, 3)]
    assert (tmp_path / "calls").read_text() == "1\n2\n3\n"


@pytest.fixture
def shaky():
    return Shaky()


def steps_and_flow(shaky, calls, **keywords):
    @task(persist_result=True)
    def step(number):
        calls.append(number)
        return [number]

    @flow(persist_result=True, **keywords)
    def nightly(day, *, count=2):
        values = [step(number) for number in range(count)]
        values += [step(0)]
        shaky(day)
        return values

    return nightly


def test_the_attempts_have_one_id_and_are_linked_and_what_was_replayed_says_so(spans, shaky):
    calls = []
    nightly = steps_and_flow(shaky, calls)
    run_id = stopped(nightly("monday", count=3))
    stopped(nightly.resume(run_id))
    shaky.is_mended = True

    run = nightly.resume(run_id).execute()

    assert run.flow_return_value == [[0], [1], [2], [0]]
    assert (calls, shaky.calls) == ([0, 1, 2, 0], ["monday"] * 3)
    first, second, third = spans.named("flow nightly")
    assert [span.attributes[semconv.FLOW_RUN_ID] for span in (first, second, third)] == [run_id] * 3
    assert [span.attributes[semconv.FLOW_RUN_ATTEMPT] for span in (first, second, third)] == [1, 2, 3]
    assert [[link.context.span_id for link in span.links] for span in (first, second, third)] == [
        [],
        [first.context.span_id],
        [second.context.span_id],
    ]
    assert second.links[0].attributes == {semconv.LINK_REASON: "attempt"}
    steps = spans.named("task step")
    assert [span.attributes.get(semconv.RUN_REPLAYED) for span in steps] == [None] * 4 + [True] * 8
    assert [span.links[0].context.span_id for span in steps[8:]] == [span.context.span_id for span in steps[:4]]
    assert steps[8].links[0].attributes == {semconv.LINK_REASON: "replay"}


def test_the_value_of_a_flow_can_be_read_by_its_key(spans, shaky):
    shaky.is_mended = True
    steps_and_flow(shaky, [])("monday").execute()

    assert load(spans.one("flow nightly").attributes[semconv.RUN_STORED_KEY]) == [[0], [1], [0]]


def test_what_was_replayed_is_counted_apart(shaky):
    aggregator = Aggregator()
    add_observer(aggregator)
    nightly = steps_and_flow(shaky, [])
    run_id = stopped(nightly("monday"))
    shaky.is_mended = True

    nightly.resume(run_id).execute()

    (series,) = aggregator.snapshot().tasks
    assert (series.reused, series.durations["success"].count) == (3, 3)
    (of_flow,) = [series for series in aggregator.snapshot().flows if series.durations]
    assert {result: durations.count for result, durations in of_flow.durations.items()} == {"failure": 1, "success": 1}


def test_coroutines_in_any_order_find_what_is_theirs(shaky):
    calls = []

    @task(persist_result=True)
    async def step(number, delay):
        await asyncio.sleep(delay)
        calls.append(number)
        return number

    @flow(persist_result=True)
    async def nightly():
        values = await asyncio.gather(*(step(number % 3, (10 - number) / 500) for number in range(10)))
        shaky("done")
        return values

    run = nightly()
    with pytest.raises(LookupError):
        asyncio.run(run)
    shaky.is_mended = True

    async def resume():
        return (await nightly.resume(run.flow_id)).flow_return_value

    assert asyncio.run(resume()) == [number % 3 for number in range(10)]
    assert len(calls) == 10


def test_threads_find_what_is_theirs(shaky):
    calls = []

    @task(persist_result=True)
    def step(number):
        calls.append(number)
        return number

    @flow(persist_result=True)
    def nightly():
        with ThreadPoolExecutor(4) as pool:
            values = list(pool.map(step, [number % 4 for number in range(20)]))
        shaky("done")
        return values

    run_id = stopped(nightly())
    shaky.is_mended = True

    assert nightly.resume(run_id).execute().flow_return_value == [number % 4 for number in range(20)]
    assert len(calls) == 20


def test_a_flow_inside_goes_on_where_it_was_too(shaky):
    calls = []

    @task(persist_result=True)
    def step(name):
        calls.append(name)
        return name

    @flow(persist_result=True)
    def inner(name):
        return step(f"in {name}")

    @flow(persist_result=True)
    def outer():
        values = [inner(name).execute().flow_return_value for name in ("a", "b", "a")]
        shaky("done")
        return values

    run_id = stopped(outer())
    shaky.is_mended = True

    assert outer.resume(run_id).execute().flow_return_value == ["in a", "in b", "in a"]
    assert calls == ["in a", "in b", "in a"]


def test_a_task_whose_code_has_changed_runs_again_and_one_that_failed_does(shaky):
    calls = []

    def body_of(version):
        namespace = {"calls": calls, "__name__": "shop"}
        exec(f"def step():\n    calls.append({version})\n    return {version}", namespace)
        return namespace["step"]

    def nightly_with(step, last):
        @flow(persist_result=True)
        def nightly():
            return [task(persist_result=True)(step)(), task(persist_result=True)(last)(3)]

        return nightly

    def last(value):
        return shaky(value)

    run_id = stopped(nightly_with(body_of(1), last)())
    shaky.is_mended = True

    assert nightly_with(body_of(2), last).resume(run_id).execute().flow_return_value == [2, 3]
    assert (calls, shaky.calls) == ([1, 2], [3, 3])


def test_a_flow_whose_code_has_changed_goes_on_with_a_warning(shaky, caplog):
    storage = MemoryStorage()
    namespaces = []
    for line in ("shaky(1)", "return 2"):
        namespaces.append({"shaky": shaky, "__name__": "shop"})
        exec(f"def nightly():\n    {line}", namespaces[-1])
    old, new = (flow(persist_result=True, result_storage=storage)(names["nightly"]) for names in namespaces)
    run_id = stopped(old())

    assert new.resume(run_id).execute().flow_return_value == 2
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert record.getMessage().startswith(f"flow nightly: its code has changed since run {run_id} began; ")


def test_a_run_that_cannot_be_resumed_says_why(shaky):
    nightly = steps_and_flow(shaky, [])
    run_id = stopped(nightly("monday"))

    with pytest.raises(
        RunNotResumable, match=r"^No run 'flow_id__0' is kept in FolderStorage.*: give the whole otelflow.flow"
    ):
        nightly.resume("flow_id__0")
    with pytest.raises(RunNotResumable, match=r"^Run flow_id__\w+ is one of flow .*nightly, not of .*lambda"):
        flow(persist_result=True)(lambda: None).resume(run_id)
    with pytest.raises(RunNotResumable, match=r"^flow 'plain' keeps nothing of its runs: write @flow\(persist_result"):
        plain.resume(run_id)
    with pytest.raises(RunNotResumable, match=r"^the id of a run is a text such as 'flow_id__0123abcd', not 3$"):
        nightly.resume(3)
    shaky.is_mended = True
    nightly.resume(run_id).execute()
    with pytest.raises(RunNotResumable, match=r"^Run flow_id__\w+ has ended well: there is nothing to resume$"):
        nightly.resume(run_id)


def test_an_id_of_any_length_is_one_readable_line(shaky):
    with pytest.raises(RunNotResumable) as caught:
        steps_and_flow(shaky, []).resume("flow_id__" + "a\n" * 5_000)

    assert len(str(caught.value)) < 600
    assert "\n" not in str(caught.value)


def test_a_run_is_known_where_its_program_is_and_in_the_folder_where_it_was_kept(tmp_path):
    """A copy of the program on another machine, or in another folder, has other flows; and a folder may be gone."""
    environment = {"XDG_STATE_HOME": tmp_path / "state"}
    (tmp_path / "copy").mkdir()
    for folder in (tmp_path, tmp_path / "copy"):
        (folder / "nightly.py").write_text(PROGRAM)
    run_id = run_program(tmp_path / "nightly.py", cwd=tmp_path, **environment).stdout.strip()

    moved = run_program("nightly.py", run_id, cwd=tmp_path / "copy", **environment)
    gone = run_program("nightly.py", run_id, cwd=tmp_path, XDG_STATE_HOME=tmp_path / "other")
    (tmp_path / "mended").touch()
    resumed = run_program("nightly.py", run_id, cwd=tmp_path, **environment)

    line = moved.stderr.splitlines()[-1]
    assert f"Run {run_id} is one of flow {tmp_path}/nightly.py.pages, not of {tmp_path}/copy/nightly.py.pages; " in line
    assert line.endswith("a flow outside of a package is known by its file: resume it from there")
    assert "there is no such folder: was it moved" in gone.stderr.splitlines()[-1]
    assert resumed.returncode == 0, "nothing was lost of it"


class Broken(MemoryStorage):
    """Raises what it is told to."""

    error = None

    def read(self, name):
        if self.error is not None:
            raise self.error
        return super().read(name)

    def acquire(self, name):
        if self.error is not None:
            raise self.error
        return lambda: None


@pytest.mark.parametrize("error", [RuntimeError("the quota is used up"), PermissionError(13, "denied"), KeyError("at")])
@pytest.mark.parametrize("is_late", [False, True], ids=["read", "lock"])
def test_a_storage_that_raises_is_one_error_that_names_it_and_nothing_is_changed(shaky, error, is_late, monkeypatch):
    storage = Broken()
    nightly = steps_and_flow(shaky, [], result_storage=storage)
    run_id = stopped(nightly("monday"))
    if is_late:
        monkeypatch.setattr(Broken, "read", MemoryStorage.read)
    storage.error = error

    with pytest.raises(ResultUnreadable) as caught:
        nightly.resume(run_id)
    storage.error, shaky.is_mended = None, True

    assert str(caught.value).startswith(
        f"What is kept of run {run_id} in the memory of this process cannot be used: {type(error).__name__}: "
    )
    assert str(caught.value).endswith("; mend that, or begin a new run: nothing was changed")
    assert nightly.resume(run_id).execute().status == "success"


def test_a_run_that_has_ended_well_since_it_was_asked_for_is_not_run_once_more(spans, shaky):
    nightly = steps_and_flow(shaky, [])
    run_id = stopped(nightly("monday"))
    shaky.is_mended = True
    first, second = nightly.resume(run_id), nightly.resume(run_id)
    first.execute()

    for late in (second, first):
        with pytest.raises(
            RunNotResumable, match=f"^run {run_id} has ended well meanwhile: there is nothing to resume$"
        ):
            late.execute()

    assert shaky.calls == ["monday"] * 2
    assert [span.attributes["otelflow.run.result"] for span in spans.named("flow nightly")][1] == "success"


@flow
def plain():
    """Keep nothing."""


def test_a_run_that_goes_on_is_not_resumed_beside_itself():
    raised = []

    @flow(persist_result=True)
    def nightly(this_flow=None):
        try:
            nightly.resume(this_flow.flow_id)
        except RunNotResumable as error:
            raised.append(str(error))

    run = nightly().execute()

    assert raised == [f"Run {run.flow_id} goes on, in this process or another: end it before it is resumed"]


def test_what_is_kept_of_a_run_and_damaged_is_one_clear_refusal(shaky, tmp_path):
    nightly = steps_and_flow(shaky, [], result_storage=tmp_path)
    run_id = stopped(nightly("monday", count=0))
    for file in tmp_path.iterdir():
        file.write_bytes(b"otelflow result 1 nonsense")

    with pytest.raises(
        ResultUnreadable, match=rf"^What is kept of run {run_id} in FolderStorage.* cannot be used: it is"
    ):
        nightly.resume(run_id)


def test_arguments_that_cannot_be_kept_are_said_and_the_flow_runs(caplog):
    @flow(persist_result=True)
    def nightly(connection):
        return 3

    run = nightly(object()).execute()

    assert run.flow_return_value == 3
    assert (
        "nightly: Nothing is kept of what it was called with, so it cannot be resumed, since the value at ['args'][0]"
        in caplog.text
    )
    with pytest.raises(RunNotResumable, match=r"^No run "):
        nightly.resume(run.flow_id)


def test_a_damaged_result_of_a_task_is_made_anew(shaky, tmp_path, caplog):
    calls = []
    nightly = steps_and_flow(shaky, calls, result_storage=tmp_path)
    run_id = stopped(nightly("monday"))
    for file in tmp_path.iterdir():
        if b'"task": "step"' in file.read_bytes():
            file.write_bytes(file.read_bytes()[:-1])
    shaky.is_mended = True

    assert nightly.resume(run_id).execute().flow_return_value == [[0], [1], [0]]
    assert calls == [0, 1, 0] * 2
    assert "cannot be used, and is made anew: it is damaged, or cut off" in caplog.text


def test_a_flow_that_is_resumed_and_not_executed_is_warned_of(shaky):
    nightly = steps_and_flow(shaky, [])
    run_id = stopped(nightly("monday"))

    with pytest.warns(RuntimeWarning, match="flow 'nightly', called at .*, was never run"):
        nightly.resume(run_id)


def test_a_flow_that_is_executed_when_it_is_called_is_resumed_as_a_flow(shaky):
    nightly = steps_and_flow(shaky, [], execute_on_call=True, flow_id="flow_id__mine")
    with pytest.raises(LookupError):
        nightly("monday")
    shaky.is_mended = True

    assert nightly.resume("flow_id__mine").execute().flow_return_value == [[0], [1], [0]]


@task(persist_result=True)
def fetch(page):
    return [page]


class Nightly(Flow):
    """Fetches pages, then calls what may raise."""

    def __init__(self, shaky, **keywords):
        super().__init__(**keywords)
        self.shaky = shaky

    def main(self, first, last=2):
        values = [fetch(page) for page in range(first, last + 1)]
        self.shaky(first)
        return values


def test_a_flow_class_goes_on_with_its_parameters_in_the_same_object_and_in_another(spans, shaky):
    run = Nightly(shaky, persist_result=True).setup(first=1, last=3)
    run_id = stopped(run)
    stopped(run.resume(run_id))
    shaky.is_mended = True

    other = Nightly(shaky, persist_result=True, flow_name="weekly").resume(run_id).execute()

    assert (other.flow_id, other.flow_return_value) == (run_id, [[1], [2], [3]])
    assert [span.attributes.get(semconv.RUN_REPLAYED) for span in spans.named("task fetch")] == [None] * 3 + [True] * 6
    attempts = [*spans.named("flow Nightly"), spans.one("flow weekly")]
    assert [span.attributes[semconv.FLOW_RUN_ID] for span in attempts] == [run_id] * 3
    assert [span.attributes[semconv.FLOW_RUN_ATTEMPT] for span in attempts] == [1, 2, 3]


def test_a_function_that_a_flow_was_given_goes_on(shaky):
    calls = []

    @task(persist_result=True)
    def step(page):
        calls.append(page)
        return page

    def pages(first, *, last):
        values = [step(page) for page in range(first, last)]
        shaky(first)
        return values

    run_id = stopped(Flow(persist_result=True).setup(pages, 3, last=5))
    shaky.is_mended = True

    assert Flow(persist_result=True).setup(pages).resume(run_id).execute().flow_return_value == [3, 4]
    assert calls == [3, 4]


def test_a_flow_that_is_set_up_again_after_it_was_resumed_begins_a_run_of_its_own(shaky):
    run = Nightly(shaky, persist_result=True).setup(first=1)
    run_id = stopped(run)
    shaky.is_mended = True
    run.resume(run_id).execute()

    run.setup(first=2).execute()

    assert run.flow_id != run_id
    assert run.flow_return_value == [[2]]
    with pytest.raises(RunNotResumable, match="has ended well"):
        run.resume(run_id)


def test_a_flow_object_that_cannot_be_resumed_says_why(shaky):
    run_id = stopped(Nightly(shaky, persist_result=True).setup(first=1))

    with pytest.raises(RunNotResumable, match=r"^flow 'Nightly' keeps nothing of its runs: give it persist_result="):
        Nightly(shaky).resume(run_id)
    with pytest.raises(
        RunNotResumable, match=r"^Run flow_id__\w+ is one of flow .*Nightly.main, not of .*stopped; name that one$"
    ):
        Flow(persist_result=True).setup(stopped).resume(run_id)
    with pytest.raises(FlowNotSetUp):
        Flow(persist_result=True).resume(run_id)


class Raising(logging.Handler):
    """A handler that is broken."""

    def handle(self, record):
        raise RuntimeError("no disk")


def test_a_handler_that_raises_stops_no_flow_that_is_resumed_with_other_code(monkeypatch):
    storage = MemoryStorage()
    monkeypatch.setattr(logging.getLogger("otelflow"), "handlers", [Raising()])

    def nightly(fails):
        if fails:

            def body():
                raise LookupError("no")

        else:

            def body():
                return "mended"

        body.__qualname__ = body.__name__ = "body"
        return flow(persist_result=True, result_storage=storage)(body)

    first = nightly(True)()
    with pytest.raises(LookupError):
        first.execute()

    assert nightly(False).resume(first.flow_id).execute().flow_return_value == "mended"
