"""Whether an endpoint answers in time, for processes that are about to end: they cannot find out each time anew."""

import contextlib
from pathlib import Path
from typing import Final

from otelflow._core.process import clock
from otelflow_exporters._store.ownership import ANSWERS, open_store

_YES: Final = b"yes\n"
_NO: Final = b"no\n"
_AGAIN_SECONDS: Final = 600.0


class Answers:
    """What processes have learnt of the endpoint of the spool *directory*; nothing is known where there is none.

    One that is known to answer is waited for. One that did not, when a process ended, is not asked at all by those that
    end after it, until some minutes are over: it may have taken what it was asked to take, and would get it again.
    """

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory

    def expected(self) -> bool | None:
        """Tell whether the endpoint will answer; None: nobody knows."""
        if self._directory is None:
            return None
        with contextlib.suppress(OSError), open_store(self._directory, kind="spool") as folder:
            file = folder.file(ANSWERS)
            if file is not None and folder.read(ANSWERS, len(_YES)) == _YES:
                return True
            if file is not None:
                return not 0 <= clock.time() - file.modified < _AGAIN_SECONDS
        return None

    def note(self, *, has_answered: bool) -> None:
        """Let those that come later know."""
        if self._directory is None:
            return
        content = _YES if has_answered else _NO
        with contextlib.suppress(OSError), open_store(self._directory, kind="spool") as folder:
            if not has_answered or folder.file(ANSWERS) is None or folder.read(ANSWERS, len(content)) != content:
                folder.write(ANSWERS, content)
