"""What a spool says in the log: each thing once for a process and all its children."""

from collections.abc import Callable
from pathlib import Path

from otelflow._core.process.once import OncePerTree
from otelflow.errors import StoreUnreadable
from otelflow_exporters._otlp.sender import Sender
from otelflow_exporters._spool.memory import LARGEST_MEMORY
from otelflow_exporters._spool.signals import Signal
from otelflow_exporters._spool.stranded import stranded_beside


class Warnings:
    """Has *warn* log what happens to items of *signal*, which wait in *directory* (None: in memory) for *sender*."""

    def __init__(
        self, signal: Signal, directory: Path | None, sender: Sender | None, warn: Callable[..., object]
    ) -> None:
        self._item = signal.item
        self._directory = directory
        self._status = None if sender is None else sender.status
        self._warn = warn
        self._once = OncePerTree()

    def memory_is_used(self, error: Exception) -> None:
        """Say that items wait in memory, since *error* keeps them from their folder."""
        if self._once.is_first("memory"):
            self._warn(
                "%ss wait in memory, %s MB at most, until there is room, and are lost with the process: %s (said once)",
                self._item.capitalize(),
                LARGEST_MEMORY >> 20,
                f"the spool takes none: {error if type(error) is StoreUnreadable else f'{self._directory}: {error}'}",
            )

    def are_lost(self, reason: str, error: Exception | None) -> None:
        """Say that the first items are lost for *reason*."""
        if self._once.is_first(f"lost {reason}"):
            place = self._directory if self._status is None else self._status.place
            self._warn(
                "%ss are lost: %s (%s; said once for each reason)",
                self._item.capitalize(),
                reason,
                f"{place}: {self._status.message}" if self._status is not None and self._status.message else place,
                error=error,
            )

    def endpoint_says(self) -> None:
        """Say what the endpoint has said of what it took: OTLP's way to warn of what is accepted all the same."""
        status = self._status
        if status is not None and status.message and not status.rejected and self._once.is_first("answer"):
            self._warn("%s says: %s (said once)", status.endpoint, status.message)

    def stranded_beside(self, directory: Path) -> None:
        """Say what waits beside *directory* under another key."""
        for spool in stranded_beside(directory):
            if self._once.is_first(f"stranded {spool}"):
                self._warn(
                    "Something waits for this endpoint in %s under another key, and nobody sends it: if the key has "
                    "changed, 'otelflow ship %s --once' sends it with the one that is set (said once)",
                    spool,
                    spool,
                )

    def left(self, count: int, failure: str) -> None:
        """Say that *count* items wait at the end, for a *failure* if there was one."""
        self._warn(
            "%s in the spool %s%s: the next process that uses it, or 'otelflow ship', sends what waits",
            f"1 {self._item} waits" if count == 1 else f"{count:,} {self._item}s wait",
            self._directory,
            f" for {failure}" if failure else "",
        )
