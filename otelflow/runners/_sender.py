"""How calls are sent to a cluster, and what becomes of each."""

import contextlib
import threading
from collections.abc import Callable
from typing import Any, Final

from otelflow import semconv
from otelflow._core.process import clock, forks
from otelflow._core.runs.endings import Ending
from otelflow._core.text.safe_str import safe_str
from otelflow.errors import NotPortable
from otelflow.runners import _remote, _withdrawals

_IMPORT_FAILED: Final = "No module named 'otelflow"
# Ray tells it at the end of a text of some kilobytes.
_LONGEST: Final = 20_000
_NO_OTELFLOW: Final = "the workers of its cluster have no otelflow"

Sent = tuple[Any, _remote.Finished, int]  # a call, what is to be called when it has finished, and when it was sent


class Sender:
    """Sends calls to a cluster; *cure* is for one that is lost."""

    def __init__(self, cure: str) -> None:
        self._cure = cure
        #: The futures of what has not ended
        self.answers: dict[Any, Sent] = {}
        self._lock = forks.new_lock()
        #: What is to be cancelled, if it has not begun
        self._cancelled: list[Any] = []
        self._is_withdrawing = False

    def send(self, order: bytes, sent: Sent) -> None:
        """Send the *order* of a call, now or soon, and ``keep`` its answer; raises if the cluster is gone."""
        raise NotImplementedError

    def withdraw_all(self, names: list[Any]) -> None:
        """Ask the cluster not to begin what has these *names*; their answers tell what became of them."""
        raise NotImplementedError

    def cancel_soon(self, name: Any) -> bool:
        """Let a thread ask the cluster not to begin what has this *name*, with others; nothing is known before."""
        with self._lock:
            self._cancelled.append(name)
            is_first, self._is_withdrawing = not self._is_withdrawing, True
        if is_first:
            try:
                threading.Thread(target=self._work_off, name="otelflow-cancels", daemon=True).start()
            except RuntimeError:  # no thread can be started: what was sent runs, unless a later cancellation finds one
                self._is_withdrawing = False
        return False

    def _work_off(self) -> None:
        while True:
            with self._lock:
                names, self._cancelled = self._cancelled, []
                self._is_withdrawing = bool(names)
            if not names:
                return
            with contextlib.suppress(Exception):  # the cluster is gone, or a worker: each answer says so
                self.withdraw_all(names)

    def is_withdrawn(self, error: BaseException) -> bool:
        """Tell whether *error* says that the cluster has not begun what it was told not to begin."""
        del error
        return False

    def start(self, call: Any, finished: _remote.Finished) -> None:
        """Send *call* to the cluster."""
        order = _remote.order_of(call)
        if not call.claim():
            finished()
            return
        sent = call, finished, clock.time_ns()
        try:
            self.send(order, sent)
        except Exception as error:  # noqa: BLE001 the cluster is gone
            self.fail(sent, error)

    def keep(self, answer: Any, sent: Sent) -> None:
        """End a call that was sent when its *answer* is there."""
        self.answers[answer] = sent
        answer.add_done_callback(self.answered)

    def answered(self, answer: Any) -> None:
        """End the call whose *answer* is there, unless that came with another one."""
        if (sent := self.answers.pop(answer, None)) is not None:
            self.end(sent, answer.result)

    def end(self, sent: Sent, report: Callable[[], bytes]) -> None:
        """End a call with what *report* returns or raises."""
        call, finished, _ = sent
        try:
            text = report()
        except BaseException as error:  # noqa: BLE001 whatever it is, the worker or the cluster is lost
            if self.is_withdrawn(error):
                self.withdraw(sent)
            else:
                self.fail(sent, error)
            return
        if text == _withdrawals.WITHDRAWN:
            self.withdraw(sent)
            return
        try:
            _remote.take_report(call, text)
        finally:
            finished()

    def fail(self, sent: Sent, error: BaseException) -> None:
        """End a call that *error* has kept from coming back."""
        call, finished, started_ns = sent
        try:
            if _IMPORT_FAILED in safe_str(error, _LONGEST):
                trouble = NotPortable(call.definition.name, _NO_OTELFLOW, "pip install otelflow where they run")
                call.context.run(call.end_unrun, Ending(semconv.ERROR, trouble))
                return
            _remote.end_lost_call(call, error, started_ns, self._cure)
        finally:
            finished()

    def withdraw(self, sent: Sent) -> None:
        """End a call that was cancelled before it began."""
        call, finished, _ = sent
        try:
            call.taken_back()
        finally:
            finished()
