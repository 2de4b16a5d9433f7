"""Artifact payloads that are too big for a span event, kept whole and found by their content."""

import contextlib
import hashlib
import logging
import os
import re
import secrets
from pathlib import Path
from typing import Final

from otelflow_exporters._store.limits import Limits, store_limits
from otelflow_exporters._store.pruning import PAYLOADS, prune

_REFERENCE: Final = re.compile(r"sha256:([0-9a-f]{64})")
_LARGEST_SHARE: Final = 4
_PRUNE_SHARE: Final = 16

_logger = logging.getLogger(__name__)


class Payloads:
    """The payloads inside one store; they share its limits."""

    def __init__(self, directory: Path, limits: Limits | None = None) -> None:
        self._store = directory
        self._limits = limits or store_limits()
        self._unpruned: int | None = None
        self._has_warned = False

    def keep(self, content: bytes) -> str | None:
        """Keep *content* and return its reference, or None when it could not be kept."""
        if len(content) > self._limits.max_bytes // _LARGEST_SHARE:
            self._warn(f"a payload of {len(content)} bytes is more than a quarter of the store's limit")
            return None
        reference = f"sha256:{hashlib.sha256(content).hexdigest()}"
        try:
            return reference if self._write(self._path(reference), content) else None
        except OSError as error:
            self._warn(str(error))
            return None

    def read(self, reference: str) -> bytes | None:
        """Return the payload behind *reference*, or None when it is not (or no longer) here, or damaged."""
        if not _REFERENCE.fullmatch(reference):
            return None
        try:
            content = self._path(reference).read_bytes()
        except OSError:
            return None
        return content if reference == f"sha256:{hashlib.sha256(content).hexdigest()}" else None

    def _write(self, path: Path, content: bytes) -> bool:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.exists() and self.read(f"sha256:{path.name}") == content:
            os.utime(path)  # used again, so not the next one to go
            return True
        if not self._has_room(len(content)):
            return False
        temporary = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        return True

    def _has_room(self, length: int) -> bool:
        """Make room now and then: looking at the whole store for every payload would be dear."""
        if self._unpruned is None or self._unpruned + length > self._limits.max_bytes // _PRUNE_SHARE:
            room = length + self._limits.max_bytes // _PRUNE_SHARE
            left = prune(self._store, self._limits, room=room)
            self._unpruned = 0
            if left + length > self._limits.max_bytes:
                self._unpruned = None
                self._warn("the store is full of what live processes write")
                return False
        self._unpruned += length
        return True

    def _warn(self, reason: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            _logger.warning("A payload could not be kept in %s: %s (said once)", self._store, reason)

    def _path(self, reference: str) -> Path:
        return self._store / PAYLOADS / reference.removeprefix("sha256:")
