import os

import pytest

from otelflow._core.process import once


def test_each_key_is_first_once():
    tree = once.OncePerTree()

    assert [tree.is_first(key) for key in ("a", "b", "a", "b")] == [True, True, False, False]
    assert once.OncePerTree().is_first("a"), "another one has its own"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_what_one_child_has_asked_for_is_first_for_no_other():
    tree = once.OncePerTree()
    answers = []
    for _ in range(3):
        child = os.fork()
        if not child:
            os._exit(40 + tree.is_first("key"))
        answers.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) - 40)

    assert answers == [1, 0, 0]
    assert not tree.is_first("key")


def test_without_a_page_each_process_remembers_itself(monkeypatch):
    def refuse(*_):
        raise OSError("no room")

    monkeypatch.setattr(once.mmap, "mmap", refuse)
    tree = once.OncePerTree()

    assert [tree.is_first(key) for key in ("a\ud800", "a\ud800")] == [True, False]
