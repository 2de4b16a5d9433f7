"""Look at a built site, as a reader without a network would: ``site.py FOLDER``.

Every link within it must lead to a page and, with ``#``, to a place on it, also those of the API reference that no
Markdown has; and a page must load nothing from elsewhere. Links to other sites are not followed.
"""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

# What a browser loads by itself; any other address waits for a click
_LOADED: Final = {("img", "src"), ("script", "src"), ("link", "href"), ("iframe", "src"), ("source", "src")}
# Says where it is, loads nothing
_RELATIONS: Final = {"canonical", "prev", "next", "alternate"}
_OF_STYLES: Final = re.compile(r"(?:url\(|@import\s+)[\"']?((?:https?:)?//[^\"')\s]+)")
_OF_SCRIPTS: Final = re.compile(r"(?:src=|fetch\(|import\()[\"'`]((?:https?:)?//[^\"'`]+)")


class Page(HTMLParser):
    """The places of one page, and where it leads and what it loads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.places = {""}
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what *tag* says."""
        attributes = {name: value or "" for name, value in attrs}
        self.places |= {attributes[name] for name in ("id", "name") if name in attributes}
        for name in ("href", "src"):
            if name in attributes:
                self.links.append(attributes[name])
                if (tag, name) in _LOADED and attributes.get("rel") not in _RELATIONS:
                    self.loads.append(attributes[name])


def is_elsewhere(address: str) -> bool:
    """Tell whether *address* is one of another site."""
    return bool(urlsplit(address).netloc) or address.startswith(("mailto:", "data:", "javascript:"))


def main() -> None:
    """Print what is wrong, and end with 1 if anything is."""
    site = Path(sys.argv[1]).resolve()
    pages = {path: Page(path) for path in sorted(site.rglob("*.html"))}
    wrong = []
    for path, page in pages.items():
        name = path.relative_to(site)
        if name.name == "404.html":  # its links begin at the root of the server
            continue
        wrong += [f"{name} loads {address}" for address in page.loads if urlsplit(address).netloc]
        for address in page.links:
            if is_elsewhere(address):
                continue
            parts = urlsplit(address)
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.exists():
                wrong.append(f"{name} leads to {address}, which is not there")
            elif target in pages and unquote(parts.fragment) not in pages[target].places | {"__top"}:
                wrong.append(f"{name} leads to {address}, and there is no such place on the page")
    for pattern, expression in (("*.css", _OF_STYLES), ("*.svg", _OF_STYLES), ("*.js", _OF_SCRIPTS)):
        for path in site.rglob(pattern):
            addresses = expression.findall(path.read_text(encoding="utf-8"))
            wrong += [f"{path.relative_to(site)} loads {address}" for address in addresses]
    sys.stdout.write("".join(f"{line}\n" for line in wrong) + f"{len(pages)} pages, {len(wrong)} wrong\n")
    sys.exit(1 if wrong or not pages else 0)


if __name__ == "__main__":
    main()
