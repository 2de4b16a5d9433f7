"""What mkdocs.yml adds to docs/: pages that lie elsewhere in the repository, and links that hold in both places."""

import os
import re
from pathlib import Path, PurePosixPath
from typing import Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).resolve().parents[2]
# A file of the repository, and its page in the site
PAGES: Final = {
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "deploy/README.md": "deploy.md",
    "examples/README.md": "examples.md",
}
_SOURCES: Final = {page: source for source, page in PAGES.items()}
_LINK: Final = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie elsewhere."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links, which are those of the repository, to pages of the site; a file that is no page is named only."""
    del config, files
    source = PurePosixPath(_SOURCES.get(page.file.src_uri, f"docs/{page.file.src_uri}"))

    def link(match: re.Match[str]) -> str:
        image, text, target, anchor = match.groups(default="")
        path = os.path.normpath(source.parent / target)
        if "://" in target or not (ROOT / path).exists():
            return match[0]  # a missing one is for mkdocs to say
        if path in PAGES or path.startswith("docs/"):
            target = os.path.relpath(
                PAGES.get(path, path.removeprefix("docs/")), PurePosixPath(page.file.src_uri).parent
            )
            return f"{image}[{text}]({target}{anchor})"
        return text

    return _LINK.sub(link, markdown)
