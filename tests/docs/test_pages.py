"""README and docs/: every block of code runs, every output is that of the product, every link leads somewhere."""

import importlib.util
import json
import re
import shlex
import tomllib

import pytest

from otelflow import semconv
from otelflow._core.process.settings_table import SETTINGS
from support import pages
from support.page_parts import PARTS, help_of

BLOCKS = [block for page in pages.PAGES for block in pages.blocks_of(page)]
# The README's programs run on every Python, those of the other pages on one
WITH_PROGRAMS = [
    pytest.param(page, marks=[pytest.mark.slow] if page != "README.md" else [])
    for page in sorted({block.page for block in BLOCKS if block.language in ("python", "console")})
]
# Commands that a page shows and no test types, and why not
NOT_TYPED = {
    "pip": "installs",
    "python3 -m venv": "installs; .ci/run types the README's",
    "source .venv/bin/activate": "changes the reader's shell",
    "docker": "no engine here; tests/stack reads the same files with the real programs",
    ".ci/run": "runs these tests",
    "python -m pytest": "runs these tests, or is a step of .ci/run",
    "python tests/": "the developer's own programs, which run for minutes",
    "mkdocs": "a step of .ci/run",
    "opentelemetry-instrument uvicorn": "serves until it is ended",
    "opentelemetry-instrument python shop.py": "test_by_name.py runs such programs",
    "celery": "test_celery.py runs it",
    "python send.py": "test_celery.py runs it",
    "otelflow serve": "serves until it is ended; tests/cli/test_serve.py runs it",
    "python -c": "test_celery.py runs it",
    "otelflow": "looked at below, option by option",
    "export": "says where to send",
}


def of(language):
    blocks = [block for block in BLOCKS if block.language == language]
    return pytest.mark.parametrize("block", blocks, ids=map(str, blocks))


def needs(*blocks):
    """Skip a test whose programs need a package that is not here, unless the extra ``docs`` is installed."""
    missing = pages.missing_modules(blocks)
    if missing and importlib.util.find_spec("mkdocs") is None:
        pytest.skip(f"{', '.join(missing)} is not installed: pip install 'otelflow[docs]'")
    assert missing == [], "the extra 'docs' lacks a package that a page imports"


def test_every_fence_is_a_block_that_is_looked_at():
    fences = {page: len(re.findall(r"^ *```", (pages.ROOT / page).read_text(), re.MULTILINE)) for page in pages.PAGES}
    wrong = {page: count for page, count in fences.items() if count != 2 * len(pages.blocks_of(page))}

    assert wrong == {}
    assert {block.language for block in BLOCKS} <= {"python", "console", "bash", "sh", "toml", "json", "ini", "text"}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", WITH_PROGRAMS)
def test_every_program_of_a_page_runs_and_prints_what_the_page_shows(page):
    place = pages.Workplace(page)
    needs(*place.blocks)

    programs = place.run_programs()
    assert {file: output for file, (code, output) in programs.items() if code} == {}
    for block in place.blocks:
        if block.language == "console" and not block.mark:  # tests/stack types the others
            for (_, shown), (command, printed, code) in zip(
                pages.commands_of(block), place.run_session(block), strict=True
            ):
                assert pages.without_changes(printed) == pages.without_changes(shown), f"{block}: {command}"
                assert code == 0, f"{block}: {command}: {printed}"


@pytest.mark.parametrize(
    "page", sorted(page for page in pages.PAGES if "<!-- made: " in (pages.ROOT / page).read_text())
)
def test_every_part_that_is_made_is_up_to_date(page):
    source = (pages.ROOT / page).read_text(encoding="utf-8")

    assert pages.with_parts(source, PARTS) == source, "python tests/docs/remake.py"


def test_every_part_is_on_a_page():
    assert {name for page in pages.PAGES for name in pages.parts_of((pages.ROOT / page).read_text())} == set(PARTS)


@of("sh")
def test_a_command_that_is_only_shown_is_one_that_cannot_be_typed_here(block):
    for line in block.text.splitlines():
        command = re.sub(r"^(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?", "", line.partition("#")[0].strip())
        is_known = not command or command.startswith(tuple(NOT_TYPED))
        assert is_known, f"{block}: make it a console block: {command}"


def test_every_option_that_a_page_names_is_one_of_its_command():
    sources = {page: (pages.ROOT / page).read_text(encoding="utf-8") for page in pages.PAGES}
    lines = {
        (page, line)
        for page, source in sources.items()
        for line in re.findall(r"`otelflow ((?:[a-z]|--)[^`\n]*)`", source)
    }
    lines |= {
        (str(block), line)
        for block in BLOCKS
        if block.language in ("console", "sh", "ini", "text")
        for line in re.findall(r"(?:^|\$ |&& |bin/)otelflow ((?:[a-z]|--).*)", block.text, re.MULTILINE)
    }
    wrong = []
    for page, line in sorted(lines):
        words = shlex.split(re.split(r" [|;&>#]|;", line)[0], posix=False)
        command = words[:2] if words[0] == "generate" else words[:1]
        text = help_of("" if command[0].startswith("-") else " ".join(command), width=200)
        options = [word.partition("=")[0] for word in words if re.fullmatch(r"-{1,2}[a-z][\w-]*(=.*)?", word)]
        wrong += [f"{page}: otelflow {line}" for option in options or [""] if option not in text or not text]

    assert len(lines) > 20
    assert wrong == []


@of("toml")
def test_a_toml_block_is_one_and_names_settings(block):
    document = tomllib.loads(block.text)

    assert set(document.get("tool", {}).get("otelflow", {})) <= set(SETTINGS)


@of("json")
def test_a_json_block_is_one(block):
    assert json.loads(block.text)


def test_the_concepts_name_every_result_of_a_run():
    page = (pages.ROOT / "docs/concepts.md").read_text(encoding="utf-8")

    assert re.findall(r"^\| `(\w+)` \| .*\|$", page[: page.index("## Span")], re.MULTILINE) == list(semconv.RESULTS)


def test_the_table_of_extras_names_those_of_users():
    project = tomllib.loads((pages.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    page = (pages.ROOT / "docs/integrations.md").read_text(encoding="utf-8")
    table = page.partition("| Extra |")[2].partition("\n\n")[0]
    of_developers = {
        "test",
        "hosts",
        "frameworks",
        "stack",
        "docs",
        "shop",
        "examples",
        "programs",
        "clusters",
        "check",
    }

    named = {name for row in re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert named == set(project["optional-dependencies"]) - of_developers


def test_every_extra_that_a_page_names_is_there():
    project = tomllib.loads((pages.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    sources = [(pages.ROOT / page).read_text(encoding="utf-8") for page in pages.PAGES]
    named = set(",".join(re.findall(r"otelflow\[([\w,]+)\]", "\n".join(sources))).split(","))

    assert len(named) > 10
    assert named - {"extra"} <= set(project["optional-dependencies"])


def test_the_page_for_the_night_names_every_alert():
    rules = (pages.ROOT / "deploy/prometheus/rules/otelflow.rules.yml").read_text(encoding="utf-8")
    generated = (pages.ROOT / "docs/how-to/alerts.md").read_text(encoding="utf-8")
    page = (pages.ROOT / "docs/operations.md").read_text(encoding="utf-8")
    alerts = set(re.findall(r"alert: (\w+)$", rules + generated, re.MULTILINE))

    assert len(alerts) > 10
    assert {alert for alert in alerts if f"`{alert}`" not in page} == set()


# Links


def anchors_of(path):
    """Return the anchors of a Markdown page's headings, as GitHub and mkdocs make them."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", pages.PAGES)
def test_every_link_leads_somewhere(page):
    path = pages.ROOT / page
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"`[^`\n]*`", "", text)
    wrong = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        if not there.exists() or (anchor and anchor not in anchors_of(there)):
            wrong.append(target)

    assert wrong == []


def test_every_page_is_in_the_navigation_and_every_file_of_the_navigation_is_there():
    navigation = set(re.findall(r"^\s+- .*?: ([\w/-]+\.md)$", (pages.ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    elsewhere = {"deploy.md", "security.md", "examples.md", "contributing.md", "changes.md"}

    assert navigation - elsewhere == {page.removeprefix("docs/") for page in pages.PAGES if page.startswith("docs/")}


# Words


@pytest.mark.parametrize("page", [page for page in pages.PAGES if page.startswith("docs/") or page == "README.md"])
def test_a_page_says_the_words_that_people_look_for(page):
    text = re.sub(r"^```.*?^```$", "", (pages.ROOT / page).read_text(), flags=re.MULTILINE | re.DOTALL)

    assert re.findall(r"\bway out\b|\bways out\b|\bin force\b|hosts\.md|^## Words$", text, re.MULTILINE) == []
