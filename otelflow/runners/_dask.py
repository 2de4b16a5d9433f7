"""Tasks on the workers of a Dask cluster: one of the user's, or one of this machine for each flow run."""

import contextlib
import functools
import importlib
import operator
import uuid
from typing import Any, Final

from otelflow.errors import MissingExtra
from otelflow.runners import _reaching, _sender, _withdrawals

_CURE: Final = "look whether the cluster is there: client.scheduler_info()"


class Dask(_sender.Sender):
    """Runs tasks by *client*; *exits* close what is ours, and *is_own* tells whether the cluster is."""

    def __init__(self, client: Any, exits: contextlib.ExitStack, *, is_own: bool) -> None:
        from toolz import compose  # noqa: PLC0415 Dask needs it, too

        super().__init__(_CURE)
        self._compose: Any = compose
        self._client = client
        #: It answers at once, unlike an asynchronous one, and that of ``client.get_executor()``
        self._is_client = hasattr(client, "gather") and not getattr(client, "asynchronous", False)
        self._exits = exits
        self._is_own = is_own
        threads = 1
        if self._is_client:
            with contextlib.suppress(Exception):  # the cluster is gone, as the first call will find
                threads = sum(client.nthreads().values())
        self._window: int = max(20 * threads, 100)

    @property
    def window(self) -> int:
        """Enough that no thread of a worker waits for the next task."""
        return self._window

    def send(self, order: bytes, sent: _sender.Sent) -> None:
        """Send *order*, under the name by which the workers know it."""
        key = f"otelflow-{uuid.uuid4()}"
        options = {"key": key} if self._is_client else {}
        sent[0].cancel_sent = functools.partial(self.cancel, sent[0].session, key)
        # A worker without otelflow breaks, and leaves its task waiting for ever, unless the task itself imports it.
        work = self._compose(operator.methodcaller("run_order", order, key.encode()), importlib.import_module)
        self.keep(self._client.submit(work, _withdrawals.__name__, pure=False, **options), sent)

    def answered(self, answer: Any) -> None:
        """End the call whose *answer* has come, and all others with one: they are fetched together, in one turn.

        To fetch each alone takes longer than to submit it.
        """
        if answer not in self.answers:  # it came with another one
            return
        present = [future for future in list(self.answers) if getattr(future, "status", "") == "finished"]
        calls = [(future, sent) for future in present if (sent := self.answers.pop(future, None)) is not None]
        reports: list[bytes | None] = [None] * len(calls)
        if self._is_client and len(calls) > 1:
            with contextlib.suppress(Exception):  # a worker was lost with one of them: each says what became of it
                reports = list(self._client.gather([future for future, _ in calls]))
        for (future, sent), report in zip(calls, reports, strict=True):
            self.end(sent, future.result if report is None else functools.partial(bytes, report))
        super().answered(answer)  # which has failed, perhaps

    def fail(self, sent: _sender.Sent, error: BaseException) -> None:
        """Do as every sender; a client of the user's may be closed while its flow runs."""
        if getattr(self._client, "status", None) in ("closing", "closed"):
            self._cure = "its client is closed: keep it open until the flow has ended"
        super().fail(sent, error)

    def cancel(self, session: Any, key: str) -> bool:
        """Let a thread ask the workers not to begin it: its future tells what became of it."""
        return self._is_client and not session.is_given_up and self.cancel_soon(key)

    def withdraw_all(self, names: list[str]) -> None:
        """Let the workers not begin what has these keys, and end what none of them has begun."""
        lists = self._client.run(_withdrawals.withdraw, [key.encode() for key in names]).values()
        begun = {name.decode() for of_worker in lists for name in of_worker}
        answers = {answer.key: answer for answer in list(self.answers)}
        left = [answers[key] for key in names if key in answers and key not in begun]
        for answer in left:
            if (sent := self.answers.pop(answer, None)) is not None:
                self.withdraw(sent)
        self._client.cancel(left)  # which the workers would not begin

    def close(self) -> None:
        """Let go of the client, if it is ours."""
        self._exits.close()

    def abandon(self) -> bool:
        """Let go of it, and tell whether that ends what runs; the cluster of somebody else goes on with that alone."""
        for answer in list(self.answers):
            # So the scheduler drops what has not begun; that of client.get_executor() has the other one.
            getattr(answer, "release", answer.cancel)()
        self.close()
        return self._is_own


class DaskTaskRunner:
    """Runs submitted tasks on the workers of a Dask cluster; needs ``pip install 'otelflow[dask]'``.

    *address* (str): of the scheduler, for which *keywords* are those of ``distributed.Client``, such as ``security=``.
    Without it each flow run has a cluster of its own on this machine, with one thread in each worker unless *keywords*,
    those of ``distributed.LocalCluster``, say otherwise. A ``distributed.Client`` may stand in the place of all:
    ``@flow(task_runner=client)``.

    >>> from otelflow import flow, task
    >>> from otelflow.runners import DaskTaskRunner
    >>> @flow(task_runner=DaskTaskRunner(n_workers=2))
    ... def lengths(words):
    ...     return task(len).map(words).result()
    """

    def __init__(self, address: str | None = None, **keywords: Any) -> None:
        self.address = address
        self.keywords = keywords

    def new_runner(self) -> Dask:
        """Return what runs the tasks of one flow run; a flow calls it. Raises MissingExtra."""
        try:
            import dask.config  # noqa: PLC0415 an extra
            from distributed import Client, LocalCluster  # noqa: PLC0415
            from distributed.comm.addressing import get_address_host_port  # noqa: PLC0415
        except ImportError:
            raise MissingExtra("dask") from None
        new_client: Any = Client  # it has no types
        new_cluster: Any = LocalCluster
        exits = contextlib.ExitStack()
        if self.address is not None:
            if "://" not in str(self.address):  # a client that cannot begin hangs at exit
                get_address_host_port(self.address)
            connect = functools.partial(new_client, self.address, **{"set_as_default": False, **self.keywords})
            client = exits.enter_context(_reaching.connected(str(self.address), connect))
            return Dask(client, exits, is_own=False)
        keywords = {"threads_per_worker": 1, "dashboard_address": None, **self.keywords}
        # Dask would run a task again whose worker was killed: who asks for that says retries=.
        with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
            cluster = exits.enter_context(new_cluster(**keywords))
        return Dask(exits.enter_context(new_client(cluster, set_as_default=False)), exits, is_own=True)


def new_runner(client: Any = None) -> Dask:
    """Return the runner that the word ``dask`` stands for, or that of *client*, which stays the user's."""
    return DaskTaskRunner().new_runner() if client is None else Dask(client, contextlib.ExitStack(), is_own=False)
