"""What a flow of one's own shows on a terminal while it runs, and what is left behind."""

import re
import subprocess
import sys

import pytest

from otelflow import flow
from otelflow._cli import _live
from otelflow._core.runs import observers
from support.terminals import run_in_terminal

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="terminals of POSIX")

PROGRAM = """
import os, subprocess, sys, time
import otelflow
from otelflow import INJECTED, Flow, flow, task

@task(raise_on_error=False)
def fetch(page):
    time.sleep(0.05)
    if page % 10 == 3:
        raise ValueError(f"page {page} is empty")

@flow
def crawl(count: int = 30, this_flow: Flow = INJECTED):
    pages = this_flow.add_flow_artifact(key="pages", artifact_type="progress", data=0)
    with otelflow.ThreadPoolExecutor(2) as pool:
        for page, _ in enumerate(pool.map(fetch, range(count))):
            print("printed", page)
            sys.stderr.write(f"to stderr {page}\\n")
            os.write(1, f"written {page}\\n".encode())
            subprocess.run(["echo", f"from a child {page}"])
            pages.update((page + 1) * 100 // count)
    wait_for_it()

@task
def wait_for_it():
    time.sleep(1)

@flow
def ask():
    print("hello", input("your name? "))

@flow
def wait():
    time.sleep(60)

@flow
def quick():
    print("done")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("live")
    (folder / "live.py").write_text(PROGRAM)
    return folder


# A line is one write only where Python buffers what it prints.
BUFFERED = {"PYTHONUNBUFFERED": ""}


@pytest.fixture
def run(folder, store, environment_of):
    def call(*arguments, **keywords):
        command = [sys.executable, "-m", "otelflow", "run", *arguments]
        return run_in_terminal(command, cwd=folder, env=environment_of(store) | BUFFERED, **keywords)

    return call


@pytest.fixture(scope="module")
def crawled(folder, tmp_path_factory, environment_of):
    command = [sys.executable, "-m", "otelflow", "run", "live.py:crawl"]
    return run_in_terminal(command, cwd=folder, env=environment_of(tmp_path_factory.mktemp("store")) | BUFFERED)


def bottom_of(screens, pattern):
    return [match for screen in screens if (match := re.search(pattern, screen, re.MULTILINE))]


def test_a_flow_shows_while_it_runs_its_tasks_counts_failures_and_progress(crawled):
    assert crawled.code == 0
    assert bottom_of(crawled.screens, r"^▸ flow crawl  \d+ s · [1-9]\d* tasks done · ✗ [123] failed\n")
    assert bottom_of(crawled.screens, r"^  task fetch( . 2)?  0 s$")
    assert bottom_of(crawled.screens, r"^  task wait_for_it  0 s$")
    assert bottom_of(crawled.screens, r"^  pages +█+░+ \d+ %$")
    assert bottom_of(crawled.screens, r"^  ✗ task fetch: ValueError: page \d+ is empty$")


def test_what_the_program_and_its_children_write_stays_whole_above_it(crawled):
    lines = [line for line in crawled.text.splitlines() if re.match("printed|to stderr|written|from a child", line)]

    kinds = ("printed", "to stderr", "written", "from a child")
    assert lines == [f"{kind} {page}" for page in range(30) for kind in kinds]
    live = [screen for screen in crawled.screens if "tasks done" in screen]
    assert all(screen.splitlines()[-1].startswith("  ") or "tasks done" in screen.splitlines()[-1] for screen in live)


def test_the_tree_is_left_behind_and_nothing_of_the_display(crawled):
    assert re.search(r"^✓ flow crawl +━+ +[\d.]+ s$", crawled.text, re.MULTILINE)
    assert "tasks done" not in crawled.text
    assert "░" not in crawled.text
    assert crawled.raw.count("\x1b[r") >= 1
    assert crawled.raw.rindex("\x1b[r") > max(match.end() for match in re.finditer(r"\x1b\[1;\d+r", crawled.raw))


def test_a_quick_flow_shows_no_display(run):
    shown = run("live.py:quick")

    assert not bottom_of(shown.screens, "tasks? done")
    assert "✓ flow quick" in shown.text


def test_nothing_is_shown_when_it_is_not_wanted(run):
    shown = run("live.py:crawl", "--no-live", "--param", "count=12")

    assert not bottom_of(shown.screens, "tasks? done")
    assert "\x1b7" not in shown.raw


def test_ctrl_c_ends_the_flow_and_gives_the_terminal_back(run):
    shown = run("live.py:wait", on_screen=once("▸ flow wait", "\x03"))

    assert shown.code == 130
    assert "⊘ flow wait cancellation" in shown.text
    assert "tasks done" not in shown.text
    assert shown.raw.rindex("\x1b[r") > shown.raw.index("^C")


def test_a_question_of_the_program_can_be_answered_meanwhile(run):
    shown = run("live.py:ask", on_screen=once("▸ flow ask", "Ann\n"))

    assert shown.code == 0
    assert "your name? Ann\nhello Ann\n" in shown.text


def test_a_small_terminal_is_left_alone(run):
    shown = run("live.py:crawl", "--param", "count=12", lines=8)

    assert shown.code == 0
    assert "\x1b7" not in shown.raw


def test_what_is_piped_has_no_display(folder, store, environment_of):
    done = subprocess.run(
        [sys.executable, "-m", "otelflow", "run", "live.py:crawl", "--tree"],
        cwd=folder,
        env=environment_of(store),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert "\x1b" not in done.stdout + done.stderr
    assert "tasks done" not in done.stderr


def once(words, answer):
    """Return what answers once, when *words* stand on the screen."""
    answers = [answer]
    return lambda screen: answers.pop() if words in screen and answers else None


def test_of_bars_without_end_the_last_ones_are_kept():
    watch = _live._Watch()

    @flow
    def pages(this_flow):
        for number in range(2_500):
            this_flow.add_flow_artifact(key=f"page-{number}", data=number % 101, artifact_type="progress")

    observers.add_observer(watch)
    try:
        pages().execute()
    finally:
        observers.remove_observer(watch)

    assert len(watch.bars) <= 1_000
    assert list(watch.bars)[-2:] == ["page-2498", "page-2499"]
