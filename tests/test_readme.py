import re
from pathlib import Path

import pytest

from support.programs import run_python

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"(?:<!-- ([\w ]+) -->\n)?```(\w+)\n(.*?)```", README, re.DOTALL)


def block(mark):
    (text_of_block,) = [text for name, _, text in BLOCKS if name == mark]
    return text_of_block


def run(*arguments, cwd, **environment):
    return run_python(*arguments, cwd=cwd, OTELFLOW_STORE=cwd / "store", **environment)


def without_what_changes(tree):
    tree = re.sub(
        r"[0-9a-f]{32}|\d\d:\d\d:\d\d\.\d{3}|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d|\d+(\.\d+)? (ns|µs|ms|s)\b|[━╸]", "", tree
    )
    return [" ".join(line.split()) for line in tree.splitlines()]


def test_the_first_screen_is_a_sentence_an_install_line_a_short_flow_and_its_tree():
    marks = [(mark, language) for mark, language, _ in BLOCKS[:3]]
    sentence = README.split("\n\n")[1]

    assert marks == [("", "sh"), ("first flow", "python"), ("first tree", "text")]
    assert BLOCKS[0][2] == "pip install 'otelflow[cli]'\n"
    assert len(block("first flow").splitlines()) <= 15
    assert sentence.count(".") == 1
    assert block("first flow") == (ROOT / "examples" / "first_flow.py").read_text()


def test_the_first_flow_prints_the_tree_that_the_readme_shows(tmp_path):
    (tmp_path / "first_flow.py").write_text(block("first flow"))
    command = re.search(r"`otelflow (run first_flow\.py[^`]*)`", README)[1]

    done = run("-m", "otelflow", *command.split(), "--tree", cwd=tmp_path, COLUMNS="88")

    assert done.returncode == 0, done.stderr
    *tree, report = without_what_changes(done.stderr)
    assert tree == without_what_changes(block("first tree"))
    assert report.startswith("otelflow: flow shopping: success")


@pytest.mark.parametrize("program", [text for _, language, text in BLOCKS if language == "python"])
def test_every_program_of_the_readme_runs(program, tmp_path):
    (tmp_path / "program.py").write_text(program, encoding="utf-8")

    done = run("program.py", cwd=tmp_path)

    assert (done.returncode, done.stderr) == (0, "")


def test_two_commands_do_all_the_set_up():
    demo, tests = block("demo"), block("tests")

    assert demo == "python3 -m venv .venv && .venv/bin/pip install '.[cli]' && .venv/bin/otelflow demo\n"
    assert (
        tests == "python3 -m venv .venv && .venv/bin/pip install -e '.[test]' && .venv/bin/python -m pytest -n auto\n"
    )


def test_every_command_that_the_readme_names_exists(tmp_path):
    named = set(re.findall(r"`otelflow (\w+)", README))

    text = run("-m", "otelflow", "--help", cwd=tmp_path).stdout
    assert named >= {"run", "show", "forget", "config"}
    assert [name for name in named if f"  {name} " not in text] == []


def test_every_link_leads_somewhere():
    links = re.findall(r"\]\(([^)#]+)\)", README)

    assert links
    assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []
