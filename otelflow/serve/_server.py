"""Serve schedules: look at the clock, start what is due, tell what came of it, and end in order."""

import logging
import queue
import signal
import threading
import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from types import FrameType
from typing import Final

from otelflow import add_listener, force_flush, redact, remove_listener
from otelflow._core.process import tallies
from otelflow._core.process.shutdown import end_signals
from otelflow._core.process.signals import OwnHandlers
from otelflow._core.text.durations import in_words
from otelflow._core.text.hints import place_of
from otelflow._core.text.own_logger import log, own_logger
from otelflow._core.text.safe_str import error_text, safe_str
from otelflow.errors import ConfigurationError
from otelflow.serve._job import Job
from otelflow.serve._occasion import Occasion, OccasionListener
from otelflow.serve._plan import LATE, NOT_STARTED, OVERLAPPED, QUEUE_FULL, STOPPED, Plan
from otelflow.serve._schedule import Schedule

_logger: Final = own_logger("otelflow.serve")
# After so many seconds, a clock that was set forward is noticed, and a signal that came in the moment before a wait.
_LONGEST_SLEEP: Final = 1.0
#: Seconds that a run has for its end after it was cancelled
_CANCEL_SECONDS: Final = 5.0
_SECONDS_AT_ONCE: Final = 1.0
_LONGEST_REASON: Final = 1_000
_FLUSH_MILLIS: Final = 10_000
_REASONS: Final = {
    OVERLAPPED: "the run before went on",
    LATE: "their time had passed when this process could look",
    QUEUE_FULL: "too many waited already",
    NOT_STARTED: "no thread was to be had",
    STOPPED: "they waited when the serving ended",
}


def steady_seconds() -> float:
    """Return the seconds of a clock that is never set and goes on while the machine sleeps, if there is one."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boottime is None else time.clock_gettime(boottime)


class _Service:
    """One schedule at work."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.plan = Plan(schedule.times, schedule.overlap, self.now())
        self.jobs: list[Job] = []
        self.missed: Counter[str] = Counter()
        for reason in _REASONS:
            tallies.runs_missed(schedule.name, reason, 0)

    def now(self) -> float:
        return steady_seconds() if self.schedule.times.is_steady else time.time()

    def wait_seconds(self) -> float:
        """Return how long nothing is due, unless a clock is set."""
        return self.plan.upcoming - self.now()

    def upcoming(self) -> str:
        """Return when it runs next, as a person reads it."""
        seconds = self.wait_seconds()
        if seconds <= 0:
            return "next run now"
        moment = datetime.fromtimestamp(time.time() + seconds).astimezone()
        return f"next run at {moment:%Y-%m-%d %H:%M:%S %Z}, in {in_words(seconds)}"

    def look(self, done: "queue.SimpleQueue[Job | None]") -> None:
        """Start what is due."""
        self.jobs = [job for job in self.jobs if not job.join(0)]
        now, wall = self.now(), time.time()
        decision = self.plan.look(now, len(self.jobs))
        self.count(decision.missed)
        for moment in decision.starts:
            occasion = Occasion(self.schedule.name, wall - (now - moment), self.missed.total())
            job = Job(self.schedule.make, occasion, done.put)
            try:
                job.start()
            except RuntimeError:
                self.count(Counter({NOT_STARTED: 1}))
                continue
            self.missed.clear()
            self.jobs.append(job)

    def count(self, missed: Counter[str]) -> None:
        """Count and say what does not take place."""
        self.missed += missed
        for reason, count in missed.items():
            tallies.runs_missed(self.schedule.name, reason, count)
            runs = "1 run" if count == 1 else f"{count:,} runs"
            log(_logger, logging.WARNING, "%s: %s missed, since %s", self.schedule.name, runs, _REASONS[reason])


class Server:
    """Serves *schedules* until it is stopped; *stop_seconds* is how long runs that go on may then take."""

    def __init__(self, schedules: Sequence[Schedule], stop_seconds: float) -> None:
        self._services = {schedule.name: _Service(schedule) for schedule in schedules}
        if len(self._services) < len(schedules):
            raise ConfigurationError("serve() got two schedules of one name: give each a name=")
        self.stop_seconds = stop_seconds
        # Its put() may come from a signal handler that has interrupted its get().
        self._news: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._stops = 0
        self.cancelled = 0

    def stop(self) -> None:
        """End when the runs that go on have ended; at the second call, without them."""
        self._stops += 1
        self._news.put(None)

    def serve(self) -> None:
        """Start what is due until ``stop()``, then end in order."""
        listener = OccasionListener()
        add_listener(listener)
        try:
            for service in self._services.values():
                log(_logger, logging.INFO, "%s: %s", service.schedule.name, service.upcoming())
            while not self._stops:
                for service in self._services.values():
                    service.look(self._news)
                waits = [service.wait_seconds() for service in self._services.values()]
                self.hear(min([_LONGEST_SLEEP, *waits]))
            self.end()
        finally:
            remove_listener(listener)

    def hear(self, seconds: float) -> None:
        """Wait for news at most *seconds*, and say what came of a run."""
        try:
            job = self._news.get(timeout=max(0.0, seconds))
        except queue.Empty:
            return
        if job is not None:
            self.report(job)

    def report(self, job: Job) -> None:
        occasion = job.occasion
        trace = f"; trace {occasion.trace_id}" if occasion.trace_id else ""
        outcome = f"{job.result} in {in_words(job.seconds)}"
        following = "" if self._stops else f"; {self._services[occasion.schedule].upcoming()}"
        if job.error is None:
            log(_logger, logging.INFO, "%s: %s%s%s", occasion.schedule, outcome, trace, following)
            return
        reason = redact(error_text(type(job.error).__name__, safe_str(job.error, _LONGEST_REASON)))
        place = place_of(job.error)
        log(
            _logger,
            logging.ERROR,
            "%s: %s: %s%s%s%s",
            occasion.schedule,
            outcome,
            reason,
            f" ({place})" if place else "",
            trace,
            following,
        )

    def end(self) -> None:
        for service in self._services.values():
            service.count(service.plan.stop())
        if names := self.names_of(self.running()):
            words = "%s: the serving ends with it, in %s at most; a second signal cancels it"
            log(_logger, logging.INFO, words, names, in_words(self.stop_seconds))
        if not self.wait(self.stop_seconds, stops=1):
            jobs = self.running()
            self.cancelled = len(jobs)
            log(_logger, logging.WARNING, "%s: cancelled, since the serving ends", self.names_of(jobs))
            for job in jobs:
                job.cancel()
            self.wait(_CANCEL_SECONDS if self._stops == 1 else _SECONDS_AT_ONCE, stops=2)
        while not self._news.empty():
            self.hear(0)

    @staticmethod
    def names_of(jobs: Sequence[Job]) -> str:
        return ", ".join(job.occasion.schedule for job in jobs)

    def running(self) -> list[Job]:
        return [job for service in self._services.values() for job in service.jobs if not job.join(0)]

    def wait(self, seconds: float, *, stops: int) -> bool:
        """Wait until no run goes on, at most *seconds*, and not after so many stops; tell whether none does."""
        deadline = time.monotonic() + seconds
        while self.running() and self._stops <= stops and time.monotonic() < deadline:
            self.hear(min(0.1, deadline - time.monotonic()))
        return not self.running()


def serve(*schedules: Schedule, stop_seconds: float = 30.0) -> int:
    """Run flows when their schedules say, until SIGTERM or Ctrl-C; return how many runs had to be cancelled.

    *schedules*: one or several ``Schedule``. A flow that fails is logged, and the serving goes on.
    *stop_seconds* (float): how long the runs that go on may take after the signal; then they are cancelled, and what is
    still not done five seconds later is ended with the process. A second signal cancels at once.

    Call it on the main thread, after ``configure()``; each run has a thread of its own, and is a trace of its own. What
    it delivers at the end has ten seconds. Raises ConfigurationError for two schedules of one name, or for none.

    >>> import threading, os, signal
    >>> from otelflow import flow
    >>> from otelflow.serve import Schedule, serve
    >>> @flow
    ... def tick():
    ...     os.kill(os.getpid(), signal.SIGTERM)
    >>> serve(Schedule(tick, every="1h"))
    0
    """
    if not schedules or not all(isinstance(schedule, Schedule) for schedule in schedules):
        raise ConfigurationError("serve() needs a Schedule, such as serve(Schedule(nightly, cron='0 3 * * *'))")
    seconds: object = stop_seconds
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < float("inf"):
        raise ConfigurationError(f"serve(): stop_seconds must be a number of seconds, not {stop_seconds!r:.60}")
    server = Server(schedules, stop_seconds)
    handlers: list[OwnHandlers] = []

    def stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        server.stop()

    if threading.current_thread() is threading.main_thread():
        # Ctrl-C reaches the children of runs, too, and these have time to end.
        handlers = [OwnHandlers(end_signals(), stop), OwnHandlers([signal.SIGINT], stop, are_inherited=True)]
    try:
        server.serve()
    finally:
        for own in handlers:
            own.give_back()
        force_flush(_FLUSH_MILLIS)
    return server.cancelled
