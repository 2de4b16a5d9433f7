"""Measure what a submitted task costs against the bare executor: ``python tests/benchmarks/futures.py``.

Prints, for each executor and each length of a task, the wall time per task of both, taken in turns, and their ratio.
Dask, Ray and Prefect are there if they are installed; Prefect, which is an engine of its own, on its threads.
"""

import argparse
import concurrent.futures
import contextlib
import importlib.util
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from opentelemetry.sdk.trace import TracerProvider

from otelflow import flow, task
from otelflow._core.process.provider import use_provider
from otelflow.runners import RayTaskRunner

WORKERS = 4

#: What otelflow is given, what is used without it, and how
Executor = tuple[Any, Any, Callable[[Any, Sequence[float]], None]]


def work(seconds: float) -> float:
    """Take so long as a request does that waits for others."""
    if seconds:
        time.sleep(seconds)
    return seconds


submitted = task(work)


def of_executor(executor: Any, rows: Sequence[float]) -> None:
    futures = [executor.submit(work, seconds) for seconds in rows]
    for future in futures:
        future.result()


def of_dask(client: Any, rows: Sequence[float]) -> None:
    client.gather([client.submit(work, seconds, pure=False) for seconds in rows])


def of_ray(ray: Any, rows: Sequence[float]) -> None:
    run = ray.remote(work)
    ray.get([run.remote(seconds) for seconds in rows])


def of_otelflow(executor: Any, rows: Sequence[float]) -> None:
    @flow(task_runner=executor)
    def run() -> None:
        submitted.map(rows).result()

    run().execute()


@contextlib.contextmanager
def executors() -> Iterator[dict[str, Executor]]:
    """Yield each executor: what otelflow is given, what it is without otelflow, and how it is used then."""
    with contextlib.ExitStack() as inside:
        spawn = multiprocessing.get_context("spawn")
        threads = inside.enter_context(concurrent.futures.ThreadPoolExecutor(WORKERS))
        processes = inside.enter_context(concurrent.futures.ProcessPoolExecutor(2, spawn))
        peers: dict[str, Executor] = {
            "threads": (threads, threads, of_executor),
            "processes": (processes, processes, of_executor),
        }
        if importlib.util.find_spec("distributed") is not None:
            from distributed import Client, LocalCluster

            cluster = inside.enter_context(LocalCluster(2, threads_per_worker=2, dashboard_address="127.0.0.1:0"))
            client = inside.enter_context(Client(cluster, set_as_default=False))
            peers["dask"] = (client, client, of_dask)
        if importlib.util.find_spec("ray") is not None:
            import ray

            ray.init(num_cpus=2, include_dashboard=False, configure_logging=False, log_to_driver=False)
            inside.callback(ray.shutdown)
            peers["ray"] = (RayTaskRunner(), ray, of_ray)
        yield peers


def of_prefect(count: int) -> float:
    """Return the seconds of Prefect's map of *count* tasks that do nothing, in a flow, after a first one."""
    import prefect
    from prefect.task_runners import ThreadPoolTaskRunner

    nothing = prefect.task(work)

    @prefect.flow(task_runner=ThreadPoolTaskRunner(max_workers=WORKERS))
    def run(rows: list[float]) -> float:
        return seconds_of(lambda: nothing.map(rows).result())

    run([0.0])
    return float(run([0.0] * count))


def seconds_of(call: Callable[..., object], *arguments: Any) -> float:
    began = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - began


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="samples of each figure (7)")
    parser.add_argument("--tasks", type=int, default=500, help="tasks in each sample (500)")
    parser.add_argument("--many", type=int, default=100_000, help="tasks of the map whose memory is measured (100,000)")
    parser.add_argument("--prefect", type=int, default=1_000, help="tasks of the map of Prefect's (1,000)")
    options = parser.parse_args(arguments)
    use_provider(TracerProvider())
    with executors() as peers:
        for name, (executor, own, bare) in peers.items():
            for seconds in (0.0, 0.001, 0.01):
                count = options.tasks if seconds < 0.01 else max(options.tasks // 5, 1)
                rows = [seconds] * count
                pairs = [
                    (seconds_of(bare, own, rows), seconds_of(of_otelflow, executor, rows))
                    for _ in range(options.rounds + 1)
                ][1:]
                medians = [statistics.median(side) / count * 1e6 for side in zip(*pairs, strict=True)]
                ratio = statistics.median(ours / theirs for theirs, ours in pairs)
                sys.stdout.write(
                    f"{name:10} tasks of {seconds * 1000:4.0f} ms  bare {medians[0]:8.1f} µs  "
                    f"otelflow {medians[1]:8.1f} µs  ratio {ratio:.2f}\n"
                )
        if importlib.util.find_spec("prefect") is not None:
            theirs = of_prefect(options.prefect)
            ours = seconds_of(of_otelflow, peers["threads"][0], [0.0] * options.prefect)
            sys.stdout.write(
                f"a map of {options.prefect:,} on threads: prefect {theirs:.1f} s, otelflow {ours:.3f} s, "
                f"{theirs / ours:.0f} times as long\n"
            )
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        use_provider(None)
        took = seconds_of(of_otelflow, peers["threads"][0], [0.0] * options.many)
        more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        sys.stdout.write(f"a map of {options.many:,} on threads: {took:.1f} s, {more:.0f} MB more at its peak\n")


if __name__ == "__main__":
    main()
