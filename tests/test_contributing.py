"""CONTRIBUTING.md leads to what is there: the places of its table, and all that its map and its recipes name.

So does docs/architecture.md, to which it sends who changes something that goes deep.
"""

import re
import tomllib
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
#: Each item of a list and each paragraph, with the folder in which its paths begin
ITEMS = [
    (item, "otelflow/_core/" if "## A run, from top" in chapter else "")
    for chapter in re.split(r"(?m)^(?=## )", BODY)
    for item in re.split(r"\n(?=\s*(?:\d+\.|-|\|) |#|\n)", chapter)
]
FILE = re.compile(r"(?<![\w/])((?:[\w.-]+/)*[\w-][\w.-]*\.(?:py|md|toml|yml|yaml|txt))(?![\w/])")
FOLDER = re.compile(r"`((?:[\w.-]+/)+)[\w.-]*`")
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
def words(*, is_of_tests):
    readable = [path for path in sources() if path.suffix in (".py", ".toml", ".yml") or "." not in path.name]
    own = [path for path in readable if ("tests" in path.relative_to(ROOT).parts[:1]) == is_of_tests]
    text = "\n".join(path.read_text(errors="replace") for path in own if path.name != Path(__file__).name)
    return set(re.findall(r"[A-Za-z_][\w-]*", text)) | set(re.findall(r"\w+", text))


def parts_of(item):
    quoted = re.findall(r"`([A-Za-z_][\w.-]*)(?:\(.*?\))?`", item)
    names = [name for name in quoted if not FILE.fullmatch(name) and name not in OF_OTHERS]
    return {part for name in names for part in name.split(".") if part}


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


def test_each_file_that_the_map_or_a_recipe_names_is_there_and_a_bare_name_lies_in_a_folder_that_its_step_names():
    missing = []
    for item, start in ITEMS:
        paths = [path for path in FILE.findall(re.sub(r"\(\S+\)", "", item)) if path not in OF_OTHERS]
        folders = {"", start} | {path.rpartition("/")[0] + "/" for path in paths if "/" in path}
        folders |= {start + folder for folder in folders} | set(FOLDER.findall(item))
        places = {path: ("", start) if "/" in path else folders for path in paths}
        missing += [path for path in paths if not any((ROOT / place / path).is_file() for place in places[path])]

    assert sum(len(FILE.findall(item)) for item, _ in ITEMS) > 100
    assert missing == []


def test_each_name_that_the_map_or_a_recipe_puts_into_a_file_is_there():
    pairs = [
        (name, ROOT / path if (ROOT / path).is_file() else ROOT / start / path)
        for item, start in ITEMS
        for name, path in re.findall(r"`([A-Za-z_][\w.]*)`\s+(?:in|of)\s+`([\w.-]+/[\w./-]+\.py)`", item)
    ]

    assert len(pairs) > 20
    assert [pair for pair in pairs if not set(pair[0].split(".")) <= set(re.findall(r"\w+", pair[1].read_text()))] == []


def test_each_folder_that_a_row_of_the_tree_names_is_in_its_package():
    rows = [row.split("|")[1:3] for row in re.findall(r"^\| `.*$", PACKAGES_OF_OURS, re.MULTILINE)]
    folders = [(package, name) for package, question in rows for name in re.findall(r"`([a-z_]+/)`", question)]

    assert len(folders) > 5
    assert [(package, name) for package, name in folders if not (ROOT / package.strip(" `") / name).is_dir()] == []


def test_each_name_that_the_map_or_a_recipe_uses_is_in_the_product_or_where_tests_are_named_in_those():
    product, tests = words(is_of_tests=False), words(is_of_tests=True)
    absent = {
        name
        for item, _ in ITEMS
        for name in parts_of(item)
        if name not in product and not ("tests/" in item and name in tests)
    }

    assert sum(len(parts_of(item)) for item, _ in ITEMS) > 100
    assert sorted(absent) == []


def test_the_page_of_settings_names_each_exporter_of_traces_of_ours():
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    row = next(
        line for line in (ROOT / "docs/settings.md").read_text().split("\n") if "| `OTEL_TRACES_EXPORTER` |" in line
    )

    assert [name for name in groups["opentelemetry_traces_exporter"] if f"`{name}`" not in row] == []


def test_each_public_module_has_its_reason():
    api = (ROOT / "tests/public_api.txt").read_text()
    modules = re.findall(r"^(otelflow[\w.]*) \(module\)$", api, re.MULTILINE)
    rows = "\n".join(re.findall(r"^\| `.*$", MODULES_OF_OURS, re.MULTILINE))

    words_in_rows = set(re.findall(r"`([a-z_]+)`", rows))
    assert len(modules) > 20
    without_reason = [name for name in modules if name.split(".")[1:2] and name.split(".")[1] not in words_in_rows]
    assert without_reason == []
