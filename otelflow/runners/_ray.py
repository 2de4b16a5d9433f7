"""Tasks on a Ray cluster: the one that the program is connected to, or one of this machine for each flow run."""

import functools
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Any, Final

from otelflow._core.process import forks
from otelflow.errors import MissingExtra
from otelflow.runners import _reaching, _sender, _withdrawals

_CURE: Final = "look whether the cluster is there: ray status"
# So many are cancelled between two looks at which have ended, and so many of the next ones are left for last.
_AT_ONCE: Final = 32
_NEXT: Final = 64
#: After so long, what is first in the queue is taken for something that does not end just now
_STILL_SECONDS: Final = 1.0


class Ray(_sender.Sender):
    """Runs tasks by *ray*, which is shut down at the end if it *is_own*."""

    def __init__(self, ray: Any, *, is_own: bool) -> None:
        self._ray = ray
        self._is_own = is_own
        self._window = max(20 * int(ray.cluster_resources().get("CPU", 1)), 100)
        # Ray would run a task again whose worker was killed: who asks for that says retries=.
        self._run = ray.remote(max_retries=0)(_withdrawals.run_order_to_its_end)
        #: Nothing is asked of the cluster while it ends, or afterwards
        self._is_closed = threading.Event()
        self._calls = forks.new_lock()
        super().__init__(_CURE)

    @property
    def window(self) -> int:
        """Enough that no processor waits for the next task."""
        return self._window

    def send(self, order: bytes, sent: _sender.Sent) -> None:
        """Send *order*."""
        reference = self._run.remote(order)
        answer = reference.future()
        answer.reference = reference
        sent[0].cancel_sent = functools.partial(self.cancel_soon, answer)
        self.keep(answer, sent)

    def withdraw_all(self, names: list[Any]) -> None:
        """Cancel these answers, the newest first, and what may run already only if it does not end soon.

        Ray ends the whole program when a cancellation meets the end of its task (its issue 54846). It begins tasks in
        the order in which they were sent, so that those run which have no answer yet and were sent first.
        """
        left = {answer.reference for answer in names}
        running = int(self._ask(self._ray.cluster_resources).get("CPU", 1))
        for distance, number in ((running + _NEXT, _AT_ONCE), (running, 1)):
            while references := [reference for reference in self._queue()[distance:] if reference in left][-number:]:
                left.difference_update(references)
                self._cancel(references)
        if left and not self._is_closed.wait(_STILL_SECONDS):
            self._cancel([reference for reference in self._queue() if reference in left])

    def _queue(self) -> list[Any]:
        """Return what has no answer yet, in the order in which it was sent."""
        references = [answer.reference for answer in list(self.answers)]
        if not references:
            return []
        unanswered: list[Any] = self._ask(self._ray.wait, references, num_returns=len(references), timeout=0)[1]
        return unanswered

    def _cancel(self, references: list[Any]) -> None:
        for reference in reversed(references):
            self._ask(self._ray.cancel, reference, recursive=False)

    def _ask(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Return what *function* of Ray's returns; CancelledError once Ray ends, and would end the program."""
        with self._calls:
            if self._is_closed.is_set() or not self._ray.is_initialized():
                raise CancelledError
            return function(*args, **kwargs)

    def is_withdrawn(self, error: BaseException) -> bool:
        """Tell whether *error* says that a task was cancelled: what runs goes on."""
        return isinstance(error, self._ray.exceptions.TaskCancelledError)

    def close(self) -> None:
        """End the cluster, if it is ours."""
        self._is_closed.set()
        with self._calls:
            if self._is_own:
                self._ray.shutdown()

    def abandon(self) -> bool:
        """Let go of it, and tell whether that ends what runs."""
        if self._is_own:  # else what it has not begun is still cancelled
            self.close()
        return self._is_own


class RayTaskRunner:
    """Runs submitted tasks on a Ray cluster; needs ``pip install 'otelflow[ray]'``.

    *address* (str) and *keywords* are what ``ray.init()`` takes. A program that is connected already stays so; without
    an address each flow run has a cluster of its own on this machine.

    >>> from otelflow import flow, task
    >>> from otelflow.runners import RayTaskRunner
    >>> @flow(task_runner=RayTaskRunner(num_cpus=2))
    ... def lengths(words):
    ...     return task(len).map(words).result()
    """

    def __init__(self, address: str | None = None, **keywords: Any) -> None:
        self.address = address
        self.keywords = keywords

    def new_runner(self) -> Ray:
        """Return what runs the tasks of one flow run; a flow calls it. Raises MissingExtra."""
        try:
            import ray  # noqa: PLC0415 an extra
        except ImportError:
            raise MissingExtra("ray") from None
        if ray.is_initialized():
            return Ray(ray, is_own=False)
        keywords = {"include_dashboard": False, "log_to_driver": True, "logging_level": "warning", **self.keywords}
        if self.address is None:  # its processes import what this one does
            keywords.setdefault("runtime_env", {"env_vars": {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}})
        address = str(self.address or os.environ.get("RAY_ADDRESS") or "")  # as Ray itself has it
        host, _, port = address.removeprefix("ray://").rpartition(":")
        if host and port.isdecimal():  # Ray tries for minutes, and logs what only its developers understand
            has_tls = "_credentials" in keywords or os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true")
            with _reaching.told_when_silent(address):
                _reaching.reach(address, host.strip("[]"), int(port), has_tls=has_tls)
        with _reaching.told_when_silent(address or "Ray, which begins one on this machine"):
            ray.init(address=self.address, **keywords)
        return Ray(ray, is_own=True)


def new_runner() -> Ray:
    """Return the runner that the word ``ray`` stands for."""
    return RayTaskRunner().new_runner()
