"""Make anew what README and docs/ show of the product: ``python tests/docs/remake.py [PAGE …] [--all]``.

The output of commands, the tables made of the product's own, and the pictures. What still holds stays as it is, so
that ids and times change only where something else does; with ``--all`` they change everywhere. The pictures of Jaeger
need Jaeger (``.ci/stack``).
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support import pages, pictures
from support.page_parts import PARTS


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument(
        "pages", nargs="*", metavar="PAGE", help="docs/quickstart.md, say; all of them, and the pictures"
    )
    parser.add_argument("--all", action="store_true", help="also what differs in ids, times and spaces only")
    options = parser.parse_args()
    for page in options.pages or pages.PAGES:
        remake(page, with_all=options.all)
    if not options.pages:
        for name in pictures.remake():
            print(f"{name} is new")


def remake(page, *, with_all):
    """Write the sessions and the parts of one page anew."""
    path = pages.ROOT / page
    old = new = path.read_text(encoding="utf-8")
    blocks = pages.blocks_of(page)
    missing = pages.missing_modules(blocks)
    if missing:
        print(f"{page} stays: {', '.join(missing)} is not installed")
        return
    place = pages.Workplace(page)
    sessions = pages.sessions_of(place)
    if any(block.mark == "jaeger" for block in place.blocks):
        sessions |= pictures.sessions_with_jaeger(page)
    sessions = dict(sorted(sessions.items(), key=lambda item: item[0].start))
    new = pages.with_sessions(new, sessions, with_all=with_all)
    new = pages.with_parts(new, PARTS)
    if new != old:
        path.write_text(new, encoding="utf-8")
        print(f"{page} is new")


if __name__ == "__main__":
    main()
