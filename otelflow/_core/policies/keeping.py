"""What a flow or task wants kept, and how: read from its keywords, at decoration."""

import math
from typing import TYPE_CHECKING, Final

from opentelemetry.trace import SpanContext, TraceFlags

from otelflow import semconv
from otelflow._core.policies.cache_keys import CachePolicy
from otelflow._core.process import clock, losses
from otelflow._core.results.records import Record, packed, unpacked
from otelflow._core.results.serializers import ResultSerializer
from otelflow._core.results.storage import FolderStorage, MemoryStorage, ResultStorage, default_storage
from otelflow._core.runs import spans
from otelflow._core.runs.run import Run
from otelflow._core.text.safe_str import comes_from_outside
from otelflow.errors import ResultNotStorable, ResultUnreadable

if TYPE_CHECKING:
    from collections.abc import Callable


def link(run: Run, record: Record, reason: str) -> None:
    """Link the span of *run* to the span whose value *record* keeps."""
    if run.is_recording and record.trace_id:
        context = SpanContext(
            record.trace_id, record.span_id, is_remote=True, trace_flags=TraceFlags(record.trace_flags)
        )
        run.span.add_link(context, {semconv.LINK_REASON: reason})


class Keeping:
    """The keywords of one flow or task, checked; *storage* None is the default one."""

    def __init__(
        self,
        owner: str,
        policy: CachePolicy,
        storage: ResultStorage | None,
        serializer: ResultSerializer,
        expiration: float | None,
        *,
        is_persisted: bool,
        is_refreshed: bool,
        is_resumed: bool = False,
        timeout: float = math.inf,
    ) -> None:
        self.owner: Final = owner
        self.policy: Final = policy
        self.own_storage: Final = storage
        self.serializer: Final = serializer
        self.expiration: Final = expiration
        self.is_persisted: Final = is_persisted
        self.is_refreshed: Final = is_refreshed
        self.is_resumed: Final = is_resumed
        #: For how many seconds it waits at most for another run that makes its value
        self.timeout: Final = timeout
        #: Whether the last value could not be kept: then nobody waits for the next
        self.is_useless = False

    def is_remote(self, of_flow: ResultStorage | None = None) -> bool:
        """Tell whether reading and writing may take long, where the flow around keeps its values in *of_flow*."""
        storage = of_flow if self.own_storage is None else self.own_storage
        return storage is not None and not isinstance(storage, FolderStorage | MemoryStorage)

    def storage(self, of_flow: ResultStorage | None = None) -> ResultStorage:
        """Return where to keep: its own storage, else that *of_flow*, else the default. Raises ConfigurationError."""
        if self.own_storage is not None:  # an empty one may count as false
            return self.own_storage
        return default_storage() if of_flow is None else of_flow

    def read(self, storage: ResultStorage, key: str, since: float = 0.0) -> Record | None:
        """Return what is kept under *key* and was made *since* then, or None; what cannot be used is said once."""
        try:
            content = storage.read(key) if since < math.inf else None
            record = None if content is None else unpacked(content, key, self.serializer)
        except ResultUnreadable as error:
            self._warn("unreadable", f"What is kept in {storage!r} as {key} cannot be used, and is made anew: {error}")
        except Exception as error:  # a storage of the user's, or a disk, may raise anything
            if comes_from_outside(error):
                raise
            self._warn(
                f"read {type(error).__name__}", f"Nothing can be read from {storage!r}: {type(error).__name__}: {error}"
            )
        else:
            return record if record is not None and record.created >= since else None
        return None

    def write(
        self, storage: ResultStorage, run: Run, key: str, value: object, subject: str = "what it returns"
    ) -> bool:
        """Keep *value*, which is from *run*, under *key*; return whether it is. What cannot be kept is said once.

        *subject* is what the value is, for the log.
        """
        context = spans.context_of(run.span)
        trace_id, span_id, flags = (
            (0, 0, 0) if context is None else (context.trace_id, context.span_id, context.trace_flags)
        )
        record = Record(key, self.owner, run.run_id or "", trace_id, span_id, int(flags), clock.time(), value)
        try:
            storage.write(key, packed(record, self.serializer))
        except ResultNotStorable as error:
            cure = "" if "pickle" in self.serializer.name else "; return plain data, or give result_serializer='pickle'"
            self._warn("not storable", f"Nothing is kept of {subject}, since {error}{cure}")
        except Exception as error:  # as above
            if comes_from_outside(error):
                raise
            self._warn(
                f"write {type(error).__name__}", f"Nothing can be kept in {storage!r}: {type(error).__name__}: {error}"
            )
        else:
            self.is_useless = False
            return True
        self.is_useless = True
        return False

    def unlock(self, unlock: "Callable[[], object] | None") -> None:
        """Call *unlock*, if a storage has given one; what it raises costs no run its value."""
        if unlock is None:
            return
        try:
            unlock()
        except Exception as error:  # a storage of the user's may raise anything
            if comes_from_outside(error):
                raise
            if not isinstance(error, OSError):  # else the folder is gone
                self._warn("unlock", f"A lock could not be given back: {type(error).__name__}: {error}")

    def keep_nothing(self, error: Exception) -> None:
        """Log once that, because of *error*, the call runs as if nothing were kept."""
        if isinstance(error, ResultNotStorable):
            reason = f"of its inputs no key can be made, since {error}; give a cache_key_fn, or leave the input out"
        else:
            reason = f"{type(error).__name__}: {error}"
        self._warn(f"key {type(error).__name__}", f"It runs as if nothing were kept: {reason}")

    def _warn(self, kind: str, message: str) -> None:
        losses.warn_once(f"kept {kind} {self.owner}", "%s: %s (said once)", self.owner, message, kind=f"kept {kind}")
