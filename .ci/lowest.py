"""Print pip constraints to the lowest versions that pyproject.toml declares: ``lowest.py pyproject.toml EXTRA …``.

A bound that nothing installs is a guess, so a requirement without a lower bound is refused.
"""

import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement


def main() -> None:
    """Print one ``name==version`` for each requirement of the project and of the extras on this Python."""
    path, *extras = sys.argv[1:]
    project = tomllib.loads(Path(path).read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    for requirement in map(Requirement, lines):
        if requirement.name == project["name"] or not (requirement.marker is None or requirement.marker.evaluate()):
            continue
        bounds = [bound.version for bound in requirement.specifier if bound.operator in (">=", "==")]
        if len(bounds) != 1:
            raise SystemExit(f"{path}: {requirement} has no lower bound")
        sys.stdout.write(f"{requirement.name}=={bounds[0]}\n")


if __name__ == "__main__":
    main()
