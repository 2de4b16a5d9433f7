"""CONTRIBUTING.md leads to what is there: the places of its table, and all that its map and its recipes name.

So does docs/architecture.md, to which it sends who changes something that goes deep.
"""

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "CONTRIBUTING.md"
if not (ROOT / "otelflow").is_dir():
    pytest.skip("the tests run beside an installed package", allow_module_level=True)
TEXT = PAGE.read_text()
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()
PACKAGES_OF_OURS = ARCHITECTURE[ARCHITECTURE.index("## The packages") : ARCHITECTURE.index("## The public modules")]
MODULES_OF_OURS = ARCHITECTURE[ARCHITECTURE.index("## The public modules") : ARCHITECTURE.index("## Words of")]
DEEP = ARCHITECTURE[ARCHITECTURE.index("## Changes that go deep") : ARCHITECTURE.index("## What is tested")]
BODY = "\n".join((TEXT[TEXT.index("## A run") : TEXT.index("## What may change")], PACKAGES_OF_OURS, DEEP))
TABLE = TEXT[TEXT.index("|---|---|---|\n") : TEXT.index("## Set up")]
ROWS = [[cell.strip() for cell in row.split("|")[1:-1]] for row in re.findall(r"^\| .*$", TABLE, re.MULTILINE)]
PLACE = re.compile(r"`((?:otelflow|exporters|tests|docs|deploy)/[\w/.]*|[a-z]+\.yml)`")
# Where a short path may begin
PACKAGES = ("", "otelflow/", "otelflow/_core/", "exporters/otelflow_exporters/", "tests/", "docs/")
#: What is named and is in no file of ours
OF_OTHERS = {"NameTaskRunner", "opentelemetry-instrument", "title", "that_name", "shop.py", "../SECURITY.md"}


@cache
def sources():
    folders = ("otelflow", "exporters", "tests", "docs", ".ci", "examples", "deploy")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    return [
        path
        for path in [*files, *ROOT.glob("*.*")]
        if path not in (PAGE, ROOT / "docs/architecture.md") and "__pycache__" not in path.parts
    ]


@cache
def words():
    readable = [path for path in sources() if path.suffix in (".py", ".toml", ".yml", ".md") or "." not in path.name]
    text = "\n".join(path.read_text(errors="replace") for path in readable if path.name != Path(__file__).name)
    return set(re.findall(r"[A-Za-z_][\w-]*", text)) | set(re.findall(r"\w+", text))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_row_of_the_table_leads_to_a_recipe_and_to_places_that_are_there(row):
    pages = TEXT + ARCHITECTURE
    titles = [re.sub(r"[^\w -]", "", title.lower()).strip() for title in re.findall(r"^#+ (.+)$", pages, re.MULTILINE)]
    # As GitHub makes an address of a heading, where the site would make the same
    headings = {address for title in titles if (address := title.replace(" ", "-")) == re.sub(r"[- ]+", "-", title)}
    anchors = re.findall(r"\((?:docs/architecture.md)?#([^)]+)\)", row[0])
    places = PLACE.findall(row[1]) + PLACE.findall(row[2])
    names = re.findall(r"`([A-Za-z_.]+)` in `([\w/.]+)`", row[1])

    assert bool(anchors) == row[0].startswith("[")
    assert [anchor for anchor in anchors if anchor not in headings] == []
    assert len(places) >= 2
    assert [place for place in places if not (ROOT / place).exists()] == []
    assert [name for name, place in names if name.rpartition(".")[2] not in (ROOT / place).read_text()] == []


def test_each_file_that_the_map_or_a_recipe_names_is_there():
    files = {path.relative_to(ROOT).as_posix() for path in sources()}
    ends = {place[place.index("/") :] if "/" in place else "/" + place for place in files} | {"/" + f for f in files}
    missing = [
        place
        for place in re.findall(r"`([\w./-]+\.(?:py|md|toml|yml|txt))`", BODY)
        if place not in OF_OTHERS
        and not any(package + place in files for package in PACKAGES)
        and not any(end.endswith("/" + place) for end in ends)
    ]

    assert missing == []


def test_each_folder_that_a_row_of_the_tree_names_is_in_its_package():
    rows = [row.split("|")[1:3] for row in re.findall(r"^\| `.*$", PACKAGES_OF_OURS, re.MULTILINE)]
    folders = [(package, name) for package, question in rows for name in re.findall(r"`([a-z_]+/)`", question)]

    assert len(folders) > 5
    assert [(package, name) for package, name in folders if not (ROOT / package.strip(" `") / name).is_dir()] == []


def test_each_name_that_the_map_or_a_recipe_uses_is_in_the_tree():
    names = {
        part
        for quoted in re.findall(r"`([A-Za-z_][\w.-]*)(?:\(.*?\))?`", BODY)
        if not re.search(r"\.(?:py|md|toml|yml|txt)$", quoted) and quoted not in OF_OTHERS
        for part in quoted.split(".")
        if part
    }

    assert len(names) > 100
    assert sorted(names - words()) == []


def test_each_public_module_has_its_reason():
    api = (ROOT / "tests/public_api.txt").read_text()
    modules = re.findall(r"^(otelflow[\w.]*) \(module\)$", api, re.MULTILINE)
    rows = "\n".join(re.findall(r"^\| `.*$", MODULES_OF_OURS, re.MULTILINE))

    words_in_rows = set(re.findall(r"`([a-z_]+)`", rows))
    assert len(modules) > 20
    without_reason = [name for name in modules if name.split(".")[1:2] and name.split(".")[1] not in words_in_rows]
    assert without_reason == []
