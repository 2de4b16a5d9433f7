"""Measure what becomes of a program, and of its telemetry, when something goes wrong: ``faults.py WHAT [--size N]``.

Each program runs in a process of its own and sends OTLP/HTTP to a collector in another one. Nothing is asserted.
"""

import argparse
import contextlib
import functools
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import timeit
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fault_programs as programs
from collectors import Collector, RealCollector, free_port

#: One line of a table: what was measured, and its figures
Row = tuple[str, dict[str, Any]]
WITHOUT, BY_HAND, QUEUE, SPOOL = "none", "by hand", "queue", "spool"
SECONDS = 600
UNIT_SECONDS = 137e-6  # a unit of work of an event loop


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=[*MEASURES, "all"], help="exit, loop, flood, outage, kill")
    parser.add_argument("--size", type=float, help="how large; the sizes of docs/performance.md unless given")
    parser.add_argument("--rounds", type=int, default=3, help="of exit and loop: how often; the median counts (3)")
    parser.add_argument("--quick", action="store_true", help="hardly measure; see that everything runs")
    parser.add_argument("--collector", help="of flood: an OpenTelemetry Collector (the program) in the place of ours")
    options = parser.parse_args()
    if options.collector:
        MEASURES["flood"] = (functools.partial(measure_flood, program=options.collector), *MEASURES["flood"][1:])
    for what in MEASURES if options.what == "all" else [options.what]:
        measure, size, quick_size = MEASURES[what]
        size = quick_size if options.quick else size if options.size is None else options.size
        sys.stdout.write(f"{what}, size {size:g}\n")
        for label, figures in measure(size, 1 if options.quick else options.rounds):
            shown = "  ".join(f"{name} {_in_words(value)}" for name, value in figures.items())
            sys.stdout.write(f"  {label:<24}{shown}\n")
            sys.stdout.flush()


def _in_words(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"


@contextlib.contextmanager
def environment(how: str, url: str) -> Iterator[dict[str, str]]:
    """Yield the variables of a program whose telemetry is delivered so, to *url*."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL", "TRACE"))}
    with tempfile.TemporaryDirectory() as folder:
        variables["OTEL_EXPORTER_OTLP_ENDPOINT"] = url
        variables |= {"OTELFLOW_SPOOL_DIR": str(Path(folder) / "spool")} if how == SPOOL else {"OTELFLOW_SPOOL": "off"}
        yield variables


def started(program: str, *arguments: object, variables: dict[str, str]) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def output_of(program: str, *arguments: object, variables: dict[str, str]) -> str:
    return started(program, *arguments, variables=variables).communicate(timeout=SECONDS)[0].splitlines()[-1]


# exit


def measure_exit(size: float, rounds: int) -> Iterator[Row]:
    """Seconds from the last statement of a program to its end: traces alone, and with logs and metrics over OTLP."""
    bare = statistics.median(exit_seconds(WITHOUT, "", "", size) for _ in range(rounds))
    yield "bare program", {"seconds": bare}
    with Collector(delay=0.3) as slow, socket.socket() as free, silent() as port:
        free.bind(("127.0.0.1", 0))  # and nobody listens
        urls = {
            "dead": f"http://127.0.0.1:{free.getsockname()[1]}",
            "silent": f"http://127.0.0.1:{port}",
            "TLS without handshake": f"https://127.0.0.1:{port}",
            "0.3 s a batch": slow.url,
        }
        for name, url in urls.items():
            samples: dict[tuple[str, str], list[float]] = {
                (how, signals): [] for how in (QUEUE, SPOOL) for signals in ("traces", "all signals")
            }
            for _ in range(rounds):
                for (how, signals), seconds in samples.items():
                    seconds.append(exit_seconds(how, signals, url, size))
            yield name, {", ".join(key): statistics.median(seconds) - bare for key, seconds in samples.items()}


def exit_seconds(how: str, signals: str, url: str, size: float) -> float:
    with environment(how, url) as variables:
        process = started(programs.EXIT, how, int(size), signals, variables=variables)
        out, _ = process.communicate(timeout=SECONDS)
        return time.time() - float(out.splitlines()[-1])


@contextlib.contextmanager
def silent() -> Iterator[int]:
    """Yield the port of a server that takes connections and never says anything."""
    connections = []

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connections.append(server.accept())

    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]
    for connection, _ in connections:
        connection.close()


# loop


def measure_loop(size: float, rounds: int) -> Iterator[Row]:
    """What an asyncio program gets done in *size* seconds while the collector takes 0.3 s a batch."""
    samples: dict[str, list[dict[str, float]]] = {WITHOUT: [], BY_HAND: [], QUEUE: [], SPOOL: []}
    steps = steps_of_a_unit()
    for number in range(rounds):
        for how in samples if number % 2 == 0 else reversed(samples):
            with Collector(delay=0.3) as collector, environment(how, collector.url) as variables:
                figures = json.loads(output_of(programs.LOOP, how, size, steps, variables=variables))
                samples[how].append({**figures, "arrived": collector.arrivals()["spans"]})
    bare = statistics.median(figures["units"] for figures in samples[WITHOUT])
    for how, measured in samples.items():
        figures = sorted(measured, key=lambda figures: figures["units"])[len(measured) // 2]
        row = {"units": figures["units"], "of none": figures["units"] / bare}
        row["longest stall, ms"] = 1e3 * statistics.median(figures["longest"] for figures in measured)
        yield how, {**row, **{key: figures[key] for key in ("arrived", "lost", "waiting") if key in figures}}


def steps_of_a_unit() -> int:
    """Return how many steps take UNIT_SECONDS on this machine, so that a unit is as long on any."""
    steps = 100_000
    fastest = min(timeit.repeat(lambda: sum(range(steps)), number=1, repeat=20))
    return round(UNIT_SECONDS * steps / fastest)


# flood


def measure_flood(size: float, rounds: int, program: str = "") -> Iterator[Row]:
    """What is lost of *size* tasks in a tight loop, and how much the program's memory grows meanwhile."""
    for how in (QUEUE, SPOOL):
        collector = RealCollector(program) if program else Collector()
        with collector, environment(how, collector.url) as variables:
            figures = json.loads(output_of(programs.FLOOD, how, int(size), variables=variables))
            arrived = collector.arrivals()
        yield how, {**figures, "arrived": arrived["spans"]}


# outage


def measure_outage(size: float, rounds: int) -> Iterator[Row]:
    """What is lost, or arrives twice, of 1,000 spans a second when the collector comes after *size* seconds."""
    for how in (QUEUE, SPOOL):
        port = free_port()
        with environment(how, f"http://127.0.0.1:{port}") as variables:
            process = started(programs.STEADY, how, size * 1.2, 1_000, variables=variables)
            time.sleep(size)
            with Collector(port) as collector:
                figures = json.loads(process.communicate(timeout=SECONDS)[0].splitlines()[-1])
                arrived = collector.arrivals()
        yield how, {**figures, "arrived": arrived["different"], "twice": arrived["spans"] - arrived["different"]}


# kill


def measure_kill(size: float, rounds: int) -> Iterator[Row]:
    """What arrives of programs that are killed at a random moment, *size* times; ``otelflow ship`` sends the rest."""
    for how in (QUEUE, SPOOL):
        ended: list[str] = []
        opened: list[str] = []
        with Collector() as collector, environment(how, collector.url) as variables:
            for _ in range(int(size)):
                killed(how, variables, ended, opened)
            if how == SPOOL:
                ship = [sys.executable, "-m", "otelflow", "ship", variables["OTELFLOW_SPOOL_DIR"], "--once"]
                subprocess.run(ship, env=variables, capture_output=True, timeout=SECONDS, check=False)
            arrivals = collector.arrivals("ids")
        ids, told = set(arrivals["ids"]), set(arrivals["told_ids"])
        yield (
            how,
            {
                "ended": len(ended),
                "of them arrived": sum(span_id in ids for span_id in ended),
                "open flows": len(opened),
                "of them told": sum(span_id in told for span_id in opened),
                "spans twice": arrivals["spans"] - arrivals["different"],
            },
        )


def killed(how: str, variables: dict[str, str], ended: list[str], opened: list[str]) -> None:
    """Start a program, kill it at a random moment, and note which spans had ended and which flow was open."""
    process = started(programs.KILLED, how, variables=variables)
    assert process.stdout is not None
    lines = [process.stdout.readline()]  # it has begun
    timer = threading.Timer(random.uniform(0.0, 1.0), process.send_signal, [signal.SIGKILL])
    timer.start()
    lines += process.stdout
    process.wait(SECONDS)
    process.stdout.close()
    for line in lines:
        if line.endswith("\n"):  # it was killed in the middle of the last one, perhaps
            word, span_id = line.split()
            (ended if word == "ended" else opened).append(span_id)


MEASURES: dict[str, tuple[Callable[[float, int], Iterator[Row]], float, float]] = {
    "exit": (measure_exit, 100, 5),
    "loop": (measure_loop, 12, 0.5),
    "flood": (measure_flood, 1_000_000, 2_000),
    "outage": (measure_outage, 600, 2),
    "kill": (measure_kill, 200, 2),
}

if __name__ == "__main__":
    main()
