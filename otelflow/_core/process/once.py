"""What a process and all that are forked off it do once: a warning that a hundred workers would say each."""

import mmap
import zlib


class OncePerTree:
    """Remembers keys for a process and its children, in memory that they share."""

    def __init__(self) -> None:
        self._page: mmap.mmap | bytearray
        try:
            self._page = mmap.mmap(-1, mmap.PAGESIZE)
        except OSError:  # there is no room for a page
            self._page = bytearray(mmap.PAGESIZE)

    def is_first(self, key: str) -> bool:
        """Tell whether *key* was not asked for before. Of some thousands, two keys may count as one."""
        place = zlib.crc32(key.encode("utf-8", "replace")) % len(self._page)
        is_first = not self._page[place]
        self._page[place] = 1
        return is_first
