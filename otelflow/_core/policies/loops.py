"""Which event loop runs here: asyncio's or trio's, whose own ways to wait and to stop are used."""

import sys
from typing import Any


def running_trio() -> Any:
    """Return the module trio if its loop runs this, or None."""
    trio = sys.modules.get("trio")
    return trio if trio is not None and trio.lowlevel.in_trio_task() else None


async def sleep(seconds: float) -> None:
    """Wait on the loop that runs here."""
    trio = running_trio()
    if trio is not None:
        await trio.sleep(seconds)
        return
    import asyncio  # noqa: PLC0415 its loop runs, so it is there

    await asyncio.sleep(seconds)
