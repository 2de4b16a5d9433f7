"""The first screen of the README, and its two commands; that its blocks run is told by tests/docs/test_pages.py."""

import re

from support.pages import ROOT, blocks_of, commands_of
from support.programs import run_python

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = blocks_of("README.md")
SENTENCE = "**Calling a flow sets it up; `.execute()` runs it.**"


def marked(mark):
    (text,) = [block.text for block in BLOCKS if block.mark == mark]
    return text


def test_the_first_screen_is_a_sentence_an_install_line_a_short_flow_its_tree_and_how_to_run_it():
    install, program, session = BLOCKS[:3]
    sentence = README.split("\n\n")[1]

    assert [block.language for block in BLOCKS[:3]] == ["sh", "python", "console"]
    assert sentence.count(".") == 1
    assert install.text == "python3 -m venv .venv && . .venv/bin/activate && pip install '.[cli]'\n"
    assert "(there is no release on PyPI yet)" in README[: install.start]
    assert program.title == "first_flow.py"
    assert len(program.text.splitlines()) <= 15
    assert program.text == (ROOT / "examples" / "first_flow.py").read_text()
    assert commands_of(session)[0][0].startswith("otelflow run first_flow.py:shopping ")
    assert README[session.end :].index(SENTENCE) < 20


def test_two_commands_do_all_the_set_up():
    demo, tests = marked("demo"), marked("tests")

    assert demo == "python3 -m venv .venv && .venv/bin/pip install '.[cli]' && .venv/bin/otelflow demo\n"
    assert (
        tests == "python3 -m venv .venv && .venv/bin/pip install -e '.[test]' && .venv/bin/python -m pytest -n auto\n"
    )


def test_every_command_that_the_readme_names_exists():
    named = set(re.findall(r"`otelflow (\w+)", README))

    text = run_python("-m", "otelflow", "--help").stdout
    assert named >= {"run", "show", "forget", "config"}
    assert [name for name in named if f"  {name} " not in text] == []
