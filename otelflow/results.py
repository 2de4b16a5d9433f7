"""What is kept of return values: where, as what, and how to read it again; see docs/how-to/results.md.

``@task(persist_result=True, result_storage=…, result_serializer=…)`` keeps what a task returns. ``result_storage`` is a
folder, an address for fsspec, ``"memory"``, or an object that fits ``ResultStorage``. ``result_serializer`` is
``json``, ``pickle``, ``compressed/json``, ``compressed/pickle``, or an object that fits ``ResultSerializer``.
"""

import os
from datetime import timedelta
from typing import Any

from otelflow._core.process import clock
from otelflow._core.process.files import StoredFile
from otelflow._core.results.records import header_of, unpacked
from otelflow._core.results.serializers import ResultSerializer, serializer_of
from otelflow._core.results.storage import FolderStorage, MemoryStorage, ResultStorage, default_storage, storage_of
from otelflow.errors import ConfigurationError, ResultUnreadable

__all__ = ["FolderStorage", "MemoryStorage", "ResultSerializer", "ResultStorage", "forget", "load"]


def load(
    key: str,
    *,
    result_storage: str | os.PathLike[str] | ResultStorage | None = None,
    result_serializer: str | ResultSerializer | None = None,
) -> Any:
    """Return the value that is kept under *key*.

    *key* (str): 64 hexadecimal digits; it stands on the span as ``otelflow.run.stored_key`` or ``otelflow.cache.key``.
    *result_storage*, *result_serializer*: those of the task.

    Raises ResultUnreadable when nothing is kept, or something else; ConfigurationError for a storage or serializer that
    there is not; OSError where the folder cannot be read.

    >>> from otelflow import task
    >>> from otelflow.results import load
    >>> from otelflow.testing import flow_trace
    >>> @task(persist_result=True, result_storage="kept")
    ... def add(a, b):
    ...     return a + b
    >>> with flow_trace() as trace:
    ...     _ = add(1, 2)
    >>> load(trace.one("task add").attributes["otelflow.run.stored_key"], result_storage="kept")
    3
    """
    choice = storage_of("load()", result_storage)
    storage = default_storage() if choice is None else choice
    name: object = key
    content = storage.read(key) if isinstance(name, str) and len(name) == 64 and name.isalnum() else None
    if content is None:
        reason = "it could not be kept, was forgotten, or is somewhere else"
        raise ResultUnreadable(f"Nothing is kept in {storage!r} as {key!r:.80}: {reason}")
    try:
        return unpacked(content, key, serializer_of("load()", result_serializer)).value
    except ResultUnreadable as error:
        raise ResultUnreadable(f"What is kept in {storage!r} as {key} cannot be used: {error}") from None


def forget(trace_id: str | None = None, *, older_than: timedelta | None = None) -> int:
    """Delete what is kept in the default folder; ``otelflow forget`` does, too.

    *trace_id* (str, 32 hexadecimal digits): only what is from runs of this trace. *older_than* (timedelta): only what
    was written longer ago.

    Returns how many values are gone. Raises ConfigurationError, and OSError where the folder cannot be read.

    >>> from datetime import timedelta
    >>> from otelflow.results import forget
    >>> forget(older_than=timedelta(days=7))
    0
    """
    if not isinstance(older_than, timedelta | None):
        raise ConfigurationError(f"forget(): older_than must be a timedelta, not {older_than!r:.60}")
    written_until = None if older_than is None else clock.time() - older_than.total_seconds()

    def is_meant(file: StoredFile, content: bytes) -> bool:
        if written_until is not None and file.modified > written_until:
            return False
        if trace_id is None:
            return True
        try:
            return f"{header_of(content)[0]['trace_id']:032x}" == trace_id.lower()
        except ResultUnreadable:
            return False

    return default_storage().forget(is_meant)
