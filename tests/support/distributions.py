"""What is installed, as far as a program can see: folders of metadata, whose order is that of ``PYTHONPATH``."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def write_distribution(folder, name, version="1.0", **groups):
    """Write into *folder* that the distribution *name* registers *groups*, each a dict; return *folder*."""
    metadata = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = []
    for group, entries in groups.items():
        lines += [f"[{group}]", *(f"{entry} = {place}" for entry, place in entries.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return folder


def of_this_checkout():
    """Return what ``pyproject.toml`` registers, which may be more than was installed: the groups, each a dict."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
