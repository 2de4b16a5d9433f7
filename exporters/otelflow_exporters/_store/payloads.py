"""Artifact payloads that are too big for a span event, kept whole and found by their content."""

import hashlib
import logging
import re
from pathlib import Path
from typing import Final

from otelflow._core.process.files import Folder
from otelflow._core.text.own_logger import log, own_logger
from otelflow_exporters._store.limits import Limits, store_limits
from otelflow_exporters._store.ownership import LARGEST_PAYLOAD, open_payloads, open_store
from otelflow_exporters._store.pruning import prune

_REFERENCE: Final = re.compile(r"sha256:([0-9a-f]{64})")
_LARGEST_SHARE: Final = 4
# So much a process adds before it looks at the whole store again; sixteen processes fit into Limits.payload_room.
_PRUNE_SHARE: Final = 256

_logger = own_logger(__name__)


class Payloads:
    """The payloads inside one store; they share its limits."""

    def __init__(self, directory: Path, limits: Limits | None = None) -> None:
        self._directory = directory
        self._limits = limits or store_limits()
        self._unpruned: int | None = None
        self._has_warned = False

    def keep(self, content: bytes) -> str | None:
        """Keep *content* and return its reference, or None when it could not be kept."""
        if len(content) > self._limits.max_bytes // _LARGEST_SHARE:
            self._warn(f"a payload of {len(content)} bytes is more than a quarter of the store's limit")
            return None
        digest = hashlib.sha256(content).hexdigest()
        try:
            with (
                open_store(self._directory, is_made=True) as store,
                open_payloads(store, is_made=True) as payloads,
            ):
                if _read(payloads, digest) == content:
                    payloads.touch(digest)  # used again, so not the next one to go
                elif self._has_room(store, len(content)):
                    payloads.write(digest, content)
                else:
                    self._warn("the store is full of what live processes write")
                    return None
        except OSError as error:
            self._warn(str(error))
            return None
        return f"sha256:{digest}"

    def read(self, reference: str) -> bytes | None:
        """Return the payload behind *reference*, or None when it is not (or no longer) here, or damaged."""
        match = _REFERENCE.fullmatch(reference)
        if match is None:
            return None
        try:
            with open_store(self._directory) as store, open_payloads(store) as payloads:
                return _read(payloads, match[1])
        except OSError:
            return None

    def _has_room(self, store: Folder, length: int) -> bool:
        """Make room now and then: looking at the whole store for every payload would be slow."""
        allowance = self._limits.max_bytes // _PRUNE_SHARE
        if self._unpruned is None or self._unpruned + length > allowance:
            size = prune(store, self._limits, room=length)
            is_full = size + length > self._limits.max_bytes
            self._unpruned = None if is_full else 0
            return not is_full
        self._unpruned += length
        return True

    def _warn(self, reason: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            log(_logger, logging.WARNING, "A payload could not be kept in %s: %s (said once)", self._directory, reason)


def _read(payloads: Folder, digest: str) -> bytes | None:
    """Return the payload called *digest* if it is here and whole."""
    file = payloads.file(digest)
    if file is None or file.size > LARGEST_PAYLOAD:
        return None
    content = payloads.read(digest, LARGEST_PAYLOAD)
    return content if hashlib.sha256(content).hexdigest() == digest else None
