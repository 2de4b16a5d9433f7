"""Tasks on a Ray cluster: the one that the program is connected to, or one of this machine for each flow run."""

import contextlib
import functools
import os
import sys
from typing import Any, Final

from otelflow.errors import MissingExtra
from otelflow.runners import _reaching, _sender, _withdrawals

_CURE: Final = "look whether the cluster is there: ray status"


class Ray(_sender.Sender):
    """Runs tasks by *ray*, which is shut down at the end if it *is_own*."""

    def __init__(self, ray: Any, *, is_own: bool) -> None:
        self._ray = ray
        self._is_own = is_own
        self._window = max(20 * int(ray.cluster_resources().get("CPU", 1)), 100)
        # Ray would run a task again whose worker was killed: who asks for that says retries=.
        self._run = ray.remote(max_retries=0)(_withdrawals.run_order_to_its_end)
        super().__init__(_CURE)

    @property
    def window(self) -> int:
        """Enough that no processor waits for the next task."""
        return self._window

    def send(self, order: bytes, sent: _sender.Sent) -> None:
        """Send *order*."""
        reference = self._run.remote(order)
        sent[0].cancel_sent = functools.partial(self.cancel, reference)
        self.keep(reference.future(), sent)

    def cancel(self, reference: Any) -> bool:
        """Ask the cluster not to begin it; its answer says whether that is so."""
        with contextlib.suppress(Exception):  # the cluster is gone, as the answer says
            self._ray.cancel(reference, recursive=False)
        return False

    def is_withdrawn(self, error: BaseException) -> bool:
        """Tell whether *error* says that a task was cancelled: what runs goes on."""
        return isinstance(error, self._ray.exceptions.TaskCancelledError)

    def close(self) -> None:
        """End the cluster, if it is ours."""
        if self._is_own:
            self._ray.shutdown()

    def abandon(self) -> bool:
        """Let go of it, and tell whether that ends what runs."""
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
            _reaching.reach(address, host.strip("[]"), int(port))
        with _reaching.told_when_silent(address or "Ray, which begins one on this machine"):
            ray.init(address=self.address, **keywords)
        return Ray(ray, is_own=True)


def new_runner() -> Ray:
    """Return the runner that the word ``ray`` stands for."""
    return RayTaskRunner().new_runner()
