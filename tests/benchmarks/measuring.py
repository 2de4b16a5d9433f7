"""Measure several things in turns, so that what else the machine does falls on all of them alike."""

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

# CPU time of the whole process: it counts the exporter's thread too, and other programs do not disturb it.
CLOCKS: dict[str, Callable[[], float]] = {"cpu": time.process_time, "wall": time.perf_counter}


class Subject(NamedTuple):
    """One thing to measure: *sample* makes its surroundings, calls it *count* times, and returns seconds per call."""

    group: str
    name: str
    sample: Callable[[int], float]
    count: int


class Figure(NamedTuple):
    """What came out: the median of all samples, and the quartiles as their spread, in microseconds per call.

    The samples are kept: a ratio is taken within each round, where both met the same machine.
    """

    group: str
    name: str
    median: float
    low: float
    high: float
    samples: tuple[float, ...]


class Clock:
    """The clock in use."""

    now = CLOCKS["cpu"]


def timed(call: Callable[[int], Any], count: int) -> float:
    """Return the seconds that one *call* takes, after a few that are not measured."""
    for number in range(min(count, 20)):
        call(number)
    began = Clock.now()
    for number in range(count):
        call(number)
    return (Clock.now() - began) / count


async def timed_async(call: Callable[[int], Any], count: int) -> float:
    """Do as ``timed`` with an async function."""
    for number in range(min(count, 20)):
        await call(number)
    began = Clock.now()
    for number in range(count):
        await call(number)
    return (Clock.now() - began) / count


def interleaved(subjects: Sequence[Subject], rounds: int, scale: float = 1.0) -> list[Figure]:
    """Measure each subject once a round, the next round in the opposite order."""
    samples: dict[Subject, list[float]] = {subject: [] for subject in subjects}
    for number in range(rounds):
        for subject in subjects if number % 2 == 0 else reversed(subjects):
            gc.collect()
            samples[subject].append(subject.sample(max(1, round(subject.count * scale))))
    return [figure(subject.group, subject.name, samples[subject]) for subject in subjects]


def figure(group: str, name: str, seconds: Sequence[float]) -> Figure:
    """Return median and quartiles of *seconds* in microseconds."""
    micros = [1e6 * second for second in seconds]
    low, _, high = statistics.quantiles(micros, n=4) if len(micros) > 1 else (micros * 3)
    return Figure(group, name, statistics.median(micros), low, high, tuple(micros))


def ratio(figure: Figure, base: Figure) -> float:
    """Return how many times *base* the *figure* is: the median over the rounds."""
    return statistics.median(sample / of_base for sample, of_base in zip(figure.samples, base.samples, strict=True))
