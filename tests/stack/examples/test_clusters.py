"""Tasks on real clusters, each with several worker processes: one trace, and everything that they leave behind."""

import asyncio
import contextlib
import gc
import os
import sys
import threading
import warnings
from concurrent.futures import CancelledError
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from otelflow import as_completed, flow
from otelflow._core.runs.current import current_run
from otelflow._core.runs.observers import add_observer, remove_observer
from otelflow.errors import NotPortable, UpstreamFailed, WorkerLost
from otelflow.runners import DaskTaskRunner, RayTaskRunner
from support import random_resumes, random_submissions
from support.ports import free_ports
from support.programs import end, run, start
from support.random_graphs import LOCAL, PLACES, Ends, examples, execute, execute_with_cancellations, graphs
from support.remote_tasks import Refused, add_up, die, double, fail, leave, linger, where
from support.servers import wait_until
from support.spans import exceptions, result, texts

PATIENCE = 60
TESTS = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.stack,
    pytest.mark.filterwarnings("ignore"),  # what Dask and Ray warn of is theirs
]


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    """The folder of what otelflow keeps, with the limits that the workers share with the tests."""
    with pytest.MonkeyPatch.context() as patch:
        folder = str(tmp_path_factory.mktemp("state"))
        patch.setenv("XDG_STATE_HOME", folder)
        yield folder


@pytest.fixture(autouse=True)
def one_state(fresh_process, state, monkeypatch):
    """The same folder for each test."""
    monkeypatch.setenv("XDG_STATE_HOME", state)


@pytest.fixture(scope="module", params=["dask", "ray"])
def cluster(request, state):
    """A cluster with two worker processes, which all tests share."""
    if request.param == "dask":
        distributed = pytest.importorskip("distributed")
        with (
            distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as local,
            distributed.Client(local, set_as_default=False) as client,
        ):
            yield client
    else:
        ray = pytest.importorskip("ray")
        runner = RayTaskRunner(num_cpus=2)
        own = runner.new_runner()
        yield runner
        own.close()
        assert not ray.is_initialized()


def test_a_map_runs_on_several_workers_in_one_trace(spans, cluster):
    @flow(task_runner=cluster)
    def maps():
        return where.map(range(20)).result()

    answers = maps().execute().flow_return_value
    assert [number for _, number in answers] == list(range(20))
    assert os.getpid() not in {pid for pid, _ in answers}
    assert spans.tree() == [("flow maps", "success", [("map where", "success", [("task where", "success", [])] * 20)])]
    assert len({span.context.span_id for span in spans.spans}) == 22


def test_what_a_task_leaves_behind_arrives(spans, cluster):
    @flow(task_runner=cluster, data={"begin": 7})
    def leaves():
        return double.submit(leave.submit(3)).result()

    run = leaves().execute()
    assert run.flow_return_value == 12
    assert run.data == {"begin": 7, "n3": (7, "leaves")}
    assert [artifact.key for artifact in run.artifacts] == ["rows"]
    assert texts(spans.one("task leave")) == ["printed 3", "logged"]
    consumer = max(spans.named("task double"), key=lambda span: span.start_time)
    assert [link.context.span_id for link in consumer.links] == [spans.one("task leave").context.span_id]


def test_an_exception_comes_back(spans, cluster):
    @flow(task_runner=cluster)
    def fails():
        return fail.submit(1).result()

    with pytest.raises(Refused, match="no 1"):
        fails().execute()

    assert exceptions(spans) == [("task fail", "support.remote_tasks.Refused")]


# To make a program that fails smaller would take minutes.
CLUSTERED = settings(LOCAL, max_examples=examples(15), phases=(Phase.explicit, Phase.generate))


@CLUSTERED
@given(steps=graphs())
def test_a_graph_is_what_the_model_says(cluster, steps):
    ends = Ends()
    add_observer(ends)
    try:
        execute(steps, cluster, add_up, ends)
    finally:
        remove_observer(ends)


@CLUSTERED
@given(steps=graphs(), places=PLACES, fails=st.booleans())
def test_what_is_cancelled_or_left_when_the_flow_ends_is_accounted_for(cluster, steps, places, fails):
    execute_with_cancellations(steps, places, cluster, fails=fails)


@CLUSTERED
@given(jobs=random_submissions.submissions())
def test_what_is_submitted_leaves_what_the_model_says(cluster, jobs):
    random_submissions.execute(jobs, cluster)


@CLUSTERED
@given(steps=random_resumes.programs())
def test_a_flow_that_is_resumed_runs_again_what_the_model_says(cluster, steps):
    random_resumes.execute(steps, cluster)


def killed(runner):
    @flow(task_runner=runner)
    def goes_on():
        lost = die.submit(1)
        skipped = double.submit(lost)
        others = double.map(range(4))
        ended = [future.exception() is None for future in as_completed(others)]
        return lost.exception(), skipped.exception(), ended

    return goes_on().execute().flow_return_value


@pytest.mark.parametrize("kind", ["dask", "ray"])
def test_a_killed_worker_is_one_failed_task(spans, kind):
    pytest.importorskip({"dask": "distributed"}.get(kind, kind))
    runner = DaskTaskRunner(n_workers=2) if kind == "dask" else RayTaskRunner(num_cpus=2)

    lost, skipped, ended = killed(runner)
    assert isinstance(lost, WorkerLost), lost
    assert "task 'die' is lost" in str(lost)
    assert isinstance(skipped, UpstreamFailed)
    assert ended.count(True) >= 3, "the rest of the flow goes on"
    assert result(spans.one("task die")) == "error"


def lingered(spans, tmp_path, flow_of_them):
    """Run a flow whose tasks linger until all that can be cancelled is; return how many began, and their results."""

    def let_go():
        wait_until(lambda: len(spans.named("task linger")) >= 28, PATIENCE)
        (tmp_path / "go").touch()

    letting_go = threading.Thread(target=let_go, daemon=True)
    letting_go.start()
    with contextlib.suppress(Refused):
        flow_of_them().execute()
    letting_go.join(PATIENCE)
    begun = len(list(tmp_path.glob("begun-*")))
    assert len(list(tmp_path.glob("done-*"))) == begun, "what has begun goes on to its end"
    results = sorted(result(span) for span in spans.named("task linger"))
    assert results == ["cancellation"] * (30 - begun) + ["success"] * begun
    return begun


def test_a_flow_that_fails_cancels_what_its_cluster_has_not_begun(spans, cluster, tmp_path):
    @flow(task_runner=cluster)
    def fails():
        linger.map([str(tmp_path)] * 30, range(30))
        wait_until(lambda: len(list(tmp_path.glob("begun-*"))) == 2, PATIENCE)
        raise Refused("enough")

    assert lingered(spans, tmp_path, fails) == 2
    assert result(spans.one("flow fails")) == "failure"
    assert result(spans.one("map linger")) == "cancellation"


def test_a_future_can_be_cancelled_until_the_cluster_begins_its_task(spans, cluster, tmp_path):
    futures = []

    @flow(task_runner=cluster)
    def cancels():
        futures.extend(linger.map([str(tmp_path)] * 30, range(30)))
        wait_until(lambda: len(list(tmp_path.glob("begun-*"))) == 2, PATIENCE)
        for future in futures:
            future.cancel()

    assert lingered(spans, tmp_path, cancels) == 2
    assert sum(future.cancelled() for future in futures) == 28
    assert result(spans.one("flow cancels")) == "success"


# In a program of its own: Ray ends the program when a cancellation meets the end of its task.
FAILING = """
from otelflow import flow, testing
from otelflow.runners import DaskTaskRunner, RayTaskRunner
from support.remote_tasks import Refused, where

@flow(task_runner=RUNNER)
def fails():
    where.map(range(300))
    raise Refused("at once")

@flow(task_runner=RUNNER)
def goes_on():
    return [number for _, number in where.map(range(5)).result()]

if __name__ == "__main__":
    BEGIN
    with testing.flow_trace() as trace:
        for _ in range(TIMES):
            try:
                fails().execute()
            except Refused:
                pass
        assert goes_on().execute().flow_return_value == [0, 1, 2, 3, 4]
    for name in ("task where", "map where"):
        results = [span.attributes["otelflow.run.result"] for span in trace.named(name)]
        print(name, len(results), set(results) <= {"success", "cancellation"})
    END
"""
CLUSTERS = {
    "dask": {
        "RUNNER": "DaskTaskRunner('tcp://127.0.0.1:PORT')",
        "BEGIN": "import distributed; cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, "
        "scheduler_port=PORT, dashboard_address='127.0.0.1:0')",
        "END": "cluster.close()",
        "TIMES": "3",
    },
    "ray": {
        "RUNNER": "'ray'",
        "BEGIN": "own = RayTaskRunner(num_cpus=2).new_runner()",
        "END": "own.close()",
        "TIMES": "30",
    },
}


@pytest.mark.parametrize("kind", CLUSTERS)
def test_flows_that_fail_at_once_leave_nothing_to_the_cluster_that_goes_on_to_serve(kind, tmp_path):
    pytest.importorskip({"dask": "distributed"}.get(kind, kind))
    source = FAILING
    for word, text in CLUSTERS[kind].items():
        source = source.replace(word, text)
    (tmp_path / "fails.py").write_text(source.replace("PORT", str(free_ports(1)[0])))

    done = run(sys.executable, "fails.py", cwd=tmp_path, timeout=4 * PATIENCE, PYTHONPATH=str(TESTS))

    assert done.returncode == 0, done.stderr
    times = int(CLUSTERS[kind]["TIMES"])
    assert done.stdout.splitlines() == [f"task where {300 * times + 5} True", f"map where {times + 1} True"]


@pytest.mark.parametrize("kind", ["address", "client"])
def test_a_flow_that_is_given_up_leaves_the_cluster_of_somebody_else_to_what_runs_there(spans, kind, tmp_path):
    distributed = pytest.importorskip("distributed")
    answers = []
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0") as local,
        distributed.Client(local, set_as_default=False) as client,
    ):

        @flow(task_runner=client if kind == "client" else DaskTaskRunner(local.scheduler_address))
        def given_up():
            futures = linger.map([str(tmp_path)] * 3, range(3))
            wait_until((tmp_path / "begun-0").exists, PATIENCE)
            answers.append(current_run().session.give_up())
            return [type(future.exception(PATIENCE)) for future in futures]

        errors = given_up().execute().flow_return_value
        wait_until(lambda: len(local.scheduler.tasks) <= 1, PATIENCE)  # what it is told takes a moment
        (tmp_path / "go").touch()
        wait_until((tmp_path / "done-0").exists, PATIENCE)
        after = client.submit(int, "7").result(PATIENCE)

    assert answers == [True], "one of them runs on"
    assert errors == [CancelledError] * 3
    assert after == 7
    assert sorted(path.name for path in tmp_path.iterdir()) == ["begun-0", "done-0", "go"]
    assert {result(span) for span in spans.named("task linger")} <= {"cancellation"}


def test_a_cluster_that_is_gone_is_an_error_that_names_task_and_cure(spans):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0") as local:
        client = distributed.Client(local, set_as_default=False)
        client.close()

    @flow(task_runner=client)
    def late():
        return double.submit(1).exception()

    error = late().execute().flow_return_value
    assert isinstance(error, WorkerLost)
    assert "task 'double' is lost" in str(error)
    assert "its client is closed: keep it open" in str(error)


MISSING = """raise ModuleNotFoundError("No module named 'otelflow'", name="otelflow")"""
NO_OTELFLOW = "the workers of its cluster have no otelflow; pip install otelflow where they run"


def test_workers_of_ray_without_otelflow_are_an_error_that_says_so(tmp_path):
    pytest.importorskip("ray")
    (tmp_path / "workers").mkdir()
    (tmp_path / "workers" / "otelflow.py").write_text(MISSING)
    (tmp_path / "doubles.py").write_text(
        """
from otelflow import flow
from otelflow.runners import RayTaskRunner
from support.remote_tasks import double

environment = {"env_vars": {"PYTHONPATH": "workers".join(__file__.rsplit("doubles.py", 1))}}

@flow(task_runner=RayTaskRunner(num_cpus=1, runtime_env=environment))
def doubles():
    print(double.submit(1).exception())

doubles().execute()
"""
    )

    done = run(sys.executable, "doubles.py", cwd=tmp_path, timeout=2 * PATIENCE, PYTHONPATH=str(TESTS))

    assert done.stdout.strip().endswith(NO_OTELFLOW), done.stderr


def test_workers_of_dask_without_otelflow_are_an_error_that_says_so(spans, tmp_path):
    distributed = pytest.importorskip("distributed")
    (tmp_path / "otelflow.py").write_text(MISSING)
    with (
        distributed.LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0") as local,
        distributed.Client(local, set_as_default=False) as client,
    ):
        command = "-m", "distributed.cli.dask_worker", local.scheduler_address, "--no-dashboard", "--no-nanny"
        worker = start(sys.executable, *command, cwd=tmp_path, PYTHONPATH=str(tmp_path))
        try:
            client.wait_for_workers(1, timeout=PATIENCE)

            @flow(task_runner=client)
            def doubles():
                return double.submit(1).exception(PATIENCE)

            error = doubles().execute().flow_return_value
        finally:
            end(worker)

    assert isinstance(error, NotPortable)
    assert str(error).endswith(NO_OTELFLOW)
    assert result(spans.one("task double")) == "error"


def test_a_client_of_dask_may_be_asynchronous(spans):
    distributed = pytest.importorskip("distributed")

    async def main():
        client = distributed.Client(asynchronous=True, processes=False, dashboard_address="127.0.0.1:0")
        async with client:

            @flow(task_runner=client)
            async def doubles():
                return await asyncio.gather(*double.map(range(20)))

            return await doubles()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = asyncio.run(main())
        gc.collect()

    assert not [warning for warning in caught if "never awaited" in str(warning.message)]
    assert run.flow_return_value == [2 * number for number in range(20)]
    assert spans.tree() == [
        ("flow doubles", "success", [("map double", "success", [("task double", "success", [])] * 20)])
    ]


PROGRAM = """
import os
from pathlib import Path

from otelflow import flow, task
from otelflow.runners import DaskTaskRunner, RayTaskRunner


@task
def price(fruit):
    print(f"priced {fruit}")
    return len(fruit)


@task(retries=1)
def offer(fruit, marks):
    mark = Path(marks, fruit)
    if not mark.exists():
        mark.touch()
        raise ConnectionError("not yet")
    return price(fruit)


@task
def total(prices):
    return sum(prices)


@task
def refuse(process):
    raise LookupError("no plums") if process != os.getpid() else AssertionError("it runs beside its flow")


@flow(task_runner=RUNNER)
def shop():
    offers = offer.map(["apple", "fig"], [str(Path.cwd())] * 2)
    refused = refuse.submit(os.getpid())
    refused.wait()
    return total.submit(offers).result()
"""


@pytest.mark.parametrize(
    ("package", "runner"), [("distributed", "DaskTaskRunner(n_workers=2)"), ("ray", "RayTaskRunner(num_cpus=2)")]
)
def test_a_flow_on_a_cluster_is_read_back_from_jaeger_whole(
    installed, otelflow_run, read_tree, tmp_path, package, runner
):
    installed(package, extra="clusters")
    (tmp_path / "shop.py").write_text(PROGRAM.replace("RUNNER", runner))

    done, trace_id = otelflow_run("shop.py:shop")

    assert done.returncode == 0, done.stderr
    shop = read_tree(trace_id, 12)
    assert sorted(shop.lines()) == sorted(
        ["flow shop", "  map offer"]
        + ["    task offer", "      ✗ attempt offer", "      attempt offer", "        task price"] * 2
        + ["  ✗ task refuse", "  task total"]
    )
    assert [span.service for span in shop.find("task price")] == ["shop"] * 2
    assert {span.event("otelflow.message")["otelflow.message.text"] for span in shop.find("task price")} == {
        "priced apple",
        "priced fig",
    }
    assert shop.event("otelflow.result")["otelflow.result.description"] == "8"
    (refused,) = shop.find("task refuse")
    assert refused.event("exception")["exception.type"] == "LookupError"
    assert sorted(span.attributes["otelflow.task.map.index"] for span in shop.find("task offer")) == ["0", "1"]
