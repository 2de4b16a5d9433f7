"""Print the fenced block of a Markdown file that follows ``<!-- NAME -->``: ``fenced.py FILE NAME``."""

import re
import sys
from pathlib import Path


def main() -> None:
    """Print the block, or say what is missing."""
    path, name = sys.argv[1:]
    pattern = rf"<!-- {re.escape(name)} -->\s*```[a-z]*\n(?P<block>.*?)\n```"
    found = re.search(pattern, Path(path).read_text(encoding="utf-8"), re.DOTALL)
    if found is None:
        raise SystemExit(f"{path} has no fenced block after <!-- {name} -->")
    sys.stdout.write(found["block"] + "\n")


if __name__ == "__main__":
    main()
