"""Which loop of asyncio runs in this thread: a program that has not imported asyncio has none, and gets none here."""

import sys
from typing import Any


def running_loop() -> Any:
    """Return the event loop of asyncio that runs in this thread, or None."""
    events: Any = sys.modules.get("asyncio.events")
    return None if events is None else events._get_running_loop()  # noqa: SLF001 asyncio exports it, to ask so
