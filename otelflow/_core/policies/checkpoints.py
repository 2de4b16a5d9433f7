"""How far a flow run has come, so that it can be resumed: what it was called with, and which of its tasks are done."""

import contextlib
import math
import os
import pickle
import string
import weakref
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from otelflow import semconv
from otelflow._core.policies.cache_keys import code_name_of, digest, digest_of_code, inputs_of, source_of
from otelflow._core.policies.identities import identity_of
from otelflow._core.policies.keeping import Keeping, link
from otelflow._core.process import clock, forks, losses
from otelflow._core.process.process import State
from otelflow._core.process.program import imported_name
from otelflow._core.results.plain_values import canonical
from otelflow._core.results.records import Record, unpacked
from otelflow._core.results.storage import FolderStorage, ResultStorage
from otelflow._core.runs.run import Run
from otelflow._core.text.safe_str import brief_repr, comes_from_outside, error_text, safe_str, type_name
from otelflow.errors import ResultNotStorable, ResultUnreadable, RunNotResumable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: How the run of a flow stands, in what is kept of it
RUNNING: Final = "running"
SUCCEEDED: Final = "success"
STOPPED: Final = "stopped"


class Scope(NamedTuple):
    """Where a call is made: the *key* of the task around it, or of the flow, and the *attempt* of that, if it has any.

    What earlier attempts have kept counts if it was made *since* then, in seconds since 1970.
    """

    key: str
    attempt: Run | None
    since: float


class Progress:
    """Where the tasks of an open flow run are kept, and under which identity; it is that of all attempts.

    What was kept *since* then counts: always for a run that is resumed, never for a new one.
    """

    def __init__(self, identity: str, storage: ResultStorage | None, *, since: float) -> None:
        self.identity: Final = identity
        self.storage: Final = storage
        self._since: Final = since
        self._began: Final = clock.time()
        self._counts: Final[Counter[str]] = Counter()
        #: Each attempt makes the same calls, and counts anew
        self._counts_of_attempts: Final[weakref.WeakKeyDictionary[Run, Counter[str]]] = weakref.WeakKeyDictionary()
        self._calls: Final[weakref.WeakKeyDictionary[Run, str]] = weakref.WeakKeyDictionary()
        self._lock: Final = forks.new_lock()

    def numbered(self, key: str, attempt: Run | None) -> str:
        """Return what stands for this call among those with the same *key* in *attempt*: each has a number."""
        with self._lock:
            return self._numbered(key, attempt)

    def _numbered(self, key: str, attempt: Run | None) -> str:
        counts = self._counts if attempt is None else self._counts_of_attempts.setdefault(attempt, Counter())
        counts[key] += 1
        return digest(key, counts[key] - 1)

    def call_key(self, run: Run) -> str:
        """Return the key of the call that *run* is, always the same. Raises ResultNotStorable."""
        key = self._calls.get(run)
        if key is None:
            definition: Any = run.definition
            scope = self.scope(run.parent)
            step = step_key(scope.key, definition, run.args, run.kwargs)
            with self._lock:
                key = self._calls.get(run)
                if key is None:
                    key = self._calls[run] = self._numbered(step, scope.attempt)
        return key

    def scope(self, run: Run | None) -> Scope:
        """Return that of what *run* calls: of the innermost task around it that has a key, or else of the flow run."""
        runs: list[Run] = []
        while run is not None and (not runs or _open.progress.get(runs[-1]) is not self):  # the last is the flow run
            runs.append(run)
            run = run.parent
        is_tried_again = any(run.attempt > 1 for run in runs)
        since = min(self._since, self._began) if is_tried_again else self._since
        attempt: Run | None = None  # the one of the task or flow directly around it, which are further out
        for place, run in enumerate(runs):
            if run.attempt:
                attempt = run
                continue
            if run.kind == "task":
                with contextlib.suppress(ResultNotStorable):  # it is not kept itself, so its inputs need make no key
                    key = self.call_key(run)
                    # An attempt further out calls it anew, and then it makes the same calls.
                    return Scope(key, attempt or next((run for run in runs[place:] if run.attempt), None), since)
            if run.kind and _open.progress.get(run) is not self:
                attempt = None
        return Scope(self.identity, attempt, since)

    def know(self, run: Run, key: str) -> None:
        """Let *run* be the call of this *key*."""
        self._calls[run] = key


class _Open(State):
    """The progress of each open flow run, and which checkpoints are theirs: not every storage has locks."""

    def __init__(self) -> None:
        self.lock: Final = forks.new_lock()
        super().__init__()

    def reset(self) -> None:
        """Know of no run."""
        self.progress: weakref.WeakKeyDictionary[Run, Progress] = weakref.WeakKeyDictionary()
        self.owners: dict[str, FlowStep] = {}

    def begin_anew(self) -> None:
        """Leave the checkpoints to the parent."""
        self.owners = {}


_open: Final = _Open()


def progress_around(run: Run | None) -> Progress | None:
    """Return the progress of *run*, or of the innermost flow around it that is kept, or None."""
    while run is not None:
        progress = _open.progress.get(run)
        if progress is not None:
            return progress
        run = run.parent
    return None


def step_key(scope: str | None, definition: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """Return what stands for a call of a task inside of *scope*; it may come several times."""
    name = imported_name(definition.code_name)
    inputs = canonical(definition.inputs(args, kwargs))
    target = definition.target
    return digest("run", scope, name, definition.name, identity_of(target), digest_of_code(target), inputs)


class SentCall(NamedTuple):
    """A call of a task that runs in another process: what that must know of its flow's progress. It can be pickled."""

    identity: str
    storage: ResultStorage | None
    since: float
    key: str


def call_to_send(run: Run | None, definition: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> SentCall | None:
    """Return what travels with a call of a task from *run*, which calls it, to another process; None: nothing is kept.

    It counts as the call that it is: ask once. Raises ResultNotStorable when its inputs make no key.
    """
    progress = progress_around(run)
    if progress is None:
        return None
    if not isinstance(progress.storage, FolderStorage):
        try:
            pickle.dumps(progress.storage)
        except Exception as error:  # noqa: BLE001 a storage of the user's, which may raise anything
            if definition.options.get("persist_result"):
                losses.warn_once(
                    f"progress {definition.name}",
                    "%s runs in another process, where %s is not: a resumed flow runs it again (%s)",
                    definition.name,
                    repr(progress.storage),
                    error,
                )
            return None
    scope = progress.scope(run)
    key = progress.numbered(step_key(scope.key, definition, args, kwargs), scope.attempt)
    return SentCall(progress.identity, progress.storage, scope.since, key)


def enter_with(run: Run, call: SentCall) -> None:
    """Let *run*, of a task whose flow is in another process, be that *call*."""
    progress = _open.progress[run] = Progress(call.identity, call.storage, since=call.since)
    progress.know(run, call.key)


def enter(run: Run) -> None:
    """Let what *run*, a flow that is tried again, has kept of its tasks count in its next attempts.

    Only as long as it runs: it keeps no checkpoint, so it cannot be resumed.
    """
    around = progress_around(run)
    if around is None:
        _open.progress[run] = Progress(run.flow_run_id or "", None, since=math.inf)
    elif _open.progress.get(run) is None:
        try:
            identity, since = _identity_in(around, run)
        except Exception as error:  # inputs that make no key: its tasks count as those of the flow around it
            if comes_from_outside(error):
                raise
        else:
            _open.progress[run] = Progress(identity, around.storage, since=since)


def _identity_in(around: Progress, run: Run) -> tuple[str, float]:
    """Return what stands for *run*, a flow inside that of *around*, and since when what is kept of it counts."""
    scope = around.scope(run.parent)
    key = digest("flow", scope.key, code_name_of(run), canonical(inputs_of(run)))
    return around.numbered(key, scope.attempt), scope.since


def key_of(run_id: str) -> str:
    """Return the key under which the checkpoint of a flow run is kept."""
    return digest("flow run", run_id)


class FlowStep:
    """The step of one run of a flow: its checkpoint is written before it begins, and when it has ended."""

    record: Record | None = None

    def __init__(self, keeping: Keeping, run: Run) -> None:
        self._keeping: Final = keeping
        self._run: Final = run
        self._key = self._value_key = ""
        self._storage: ResultStorage | None = None
        self._checkpoint: dict[str, Any] | None = None
        self._unlock: Callable[[], None] | None = None
        self._is_released = False
        self._around: Final = progress_around(run.parent)
        self.is_remote: Final = keeping.is_remote(None if self._around is None else self._around.storage)

    def is_ready(self) -> bool:
        """Begin to keep what the run does; what is wrong with that is said once, and the run goes on.

        Raises RunNotResumable when it is an attempt of a run that goes on elsewhere, or is not kept any more.
        """
        try:
            self._begin(self._around)
        except RunNotResumable:
            raise
        except Exception as error:  # inputs that make no key, or a disk
            if comes_from_outside(error):
                raise
            self._keeping.keep_nothing(error)
        return True

    def _begin(self, around: Progress | None) -> None:
        keeping, run = self._keeping, self._run
        identity, since = run.flow_run_id or "", math.inf
        if keeping.is_resumed:
            since = 0.0
        elif around is not None:
            identity, since = _identity_in(around, run)
        self._storage = storage = keeping.storage(None if around is None else around.storage)
        self._key = key_of(identity)
        self._value_key = digest("value of a flow", identity)
        if not self._locks(storage) and keeping.is_resumed:
            raise RunNotResumable(f"run {identity} goes on in another process or thread")
        if self._is_released:
            return
        earlier = keeping.read(storage, self._key, since)
        if earlier is None and keeping.is_resumed:
            raise RunNotResumable(f"run {identity} is not kept any more: begin a new one")
        if earlier is not None and keeping.is_resumed and earlier.value["state"] == SUCCEEDED:
            raise RunNotResumable(f"run {identity} has ended well meanwhile: there is nothing to resume")
        attempt = 1 if earlier is None else earlier.value["attempt"] + 1
        self._checkpoint = {
            "flow": code_name_of(run),
            "source": source_of(run),
            "attempt": attempt,
            "state": RUNNING,
            "args": run.args,
            "kwargs": run.kwargs,
        }
        if run.is_recording:
            run.span.set_attribute(semconv.FLOW_RUN_ATTEMPT, attempt)
            run.span.set_attribute(semconv.RUN_STORED_KEY, self._value_key)
        if earlier is not None:
            link(run, earlier, "attempt")
        keeping.write(storage, run, self._key, self._checkpoint, "what it was called with, so it cannot be resumed")
        _open.progress[run] = Progress(identity, storage, since=since)

    def _locks(self, storage: ResultStorage) -> bool:
        """Lock the checkpoint; tell whether it is this run's alone, as far as that can be known."""
        if _open.owners.setdefault(self._key, self) is not self:
            return False
        acquire = getattr(storage, "acquire", None)
        unlock = None if acquire is None else acquire(self._key)
        with _open.lock:
            if not self._is_released:
                self._unlock = unlock
                return acquire is None or unlock is not None
        self._unlock_checkpoint(unlock)  # this is a thread, and whoever waited for it was cancelled
        return True

    def _unlock_checkpoint(self, unlock: "Callable[[], None] | None") -> None:
        if _open.owners.get(self._key) is self:
            del _open.owners[self._key]
        self._keeping.unlock(unlock)

    def pause(self) -> float:
        """Return for how many seconds to wait: it never has to."""
        return 0.0

    def reuse(self) -> Any:
        """Return nothing: the body of a flow always runs."""

    def keep(self, value: Any) -> None:
        """Keep that the run is done, and *value*."""
        self._end(SUCCEEDED, value)

    def release(self) -> None:
        """Keep that the run has stopped, unless it is done."""
        with _open.lock:
            self._is_released = True
            unlock, self._unlock = self._unlock, None
        self._end(STOPPED, None)
        self._unlock_checkpoint(unlock)

    def _end(self, state: str, value: object) -> None:
        checkpoint, self._checkpoint = self._checkpoint, None
        if checkpoint is None or self._storage is None:
            return
        keeping, storage, run = self._keeping, self._storage, self._run
        if state == SUCCEEDED:
            keeping.write(storage, run, self._value_key, value)
        keeping.write(storage, run, self._key, {**checkpoint, "state": state})


class Checkpoint(NamedTuple):
    """What is kept of a flow run that can be resumed: *source* stands for the code that its flow had."""

    flow: str
    source: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def checkpoint_of(keeping: Keeping, run_id: str, flow: str) -> Checkpoint:
    """Return what is kept of the run *run_id* of *flow*.

    Raises RunNotResumable when there is nothing, or nothing to resume; ResultUnreadable.
    """
    storage, key, name = keeping.storage(), key_of(run_id), brief_repr(run_id, 100).strip("'")
    with _unusable(name, storage):
        content = storage.read(key)
        value = {} if content is None else unpacked(content, key, keeping.serializer).value
        fields = [] if content is None else [value[field] for field in (*Checkpoint._fields, "state")]
    if content is None:
        raise RunNotResumable(_why_unknown(storage, run_id, name))
    checkpoint, state = Checkpoint(*fields[:-1]), fields[-1]
    if checkpoint.flow != flow:
        cure = "name that one"
        if checkpoint.flow.rpartition(os.sep)[2] == flow.rpartition(os.sep)[2]:
            cure = "a flow outside of a package is known by its file: resume it from there"
        raise RunNotResumable(f"Run {name} is one of flow {checkpoint.flow}, not of {flow}; {cure}")
    if state == SUCCEEDED:
        raise RunNotResumable(f"Run {name} has ended well: there is nothing to resume")
    acquire = getattr(storage, "acquire", None)
    with _unusable(name, storage):
        unlock = None if acquire is None or key in _open.owners else acquire(key)
    if key in _open.owners or (acquire is not None and unlock is None):
        raise RunNotResumable(f"Run {name} goes on, in this process or another: end it before it is resumed")
    keeping.unlock(unlock)
    return checkpoint


@contextlib.contextmanager
def _unusable(name: str, storage: ResultStorage) -> "Iterator[None]":
    """Raise ResultUnreadable for whatever is raised of what *storage* keeps of the run *name*."""
    try:
        yield
    except Exception as error:  # a storage of the user's, or a disk, may raise anything
        if comes_from_outside(error):
            raise
        reason = error if isinstance(error, ResultUnreadable) else error_text(type_name(error), safe_str(error, 300))
        raise ResultUnreadable(
            f"What is kept of run {name} in {storage!r} cannot be used: {reason}; "
            "mend that, or begin a new run: nothing was changed"
        ) from None


def _why_unknown(storage: ResultStorage, run_id: str, name: str) -> str:
    """Say that *storage* has nothing of the run *run_id*, whose *name* is fit to be shown, and what may be wrong."""
    hint = ""
    if run_id.isalnum() and set(run_id) <= set(string.hexdigits):
        hint = f"; is it a trace id? 'otelflow show {name}' names the run"
    elif isinstance(storage, FolderStorage) and not storage.path.is_dir():
        hint = "; there is no such folder: was it moved, or is it that of another user, setting or result_storage?"
    return (
        f"No run {name!r} is kept in {storage!r}: give the whole otelflow.flow.run.id of one that was begun with "
        f"persist_result=True, and is not older than what is kept there{hint}"
    )
