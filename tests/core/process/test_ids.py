"""Ids that no other run has: in this process, its threads and its forks."""

import os
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from otelflow._core.process import forks, ids
from otelflow._core.process.ids import new_id
from support.programs import python


def test_an_id_is_its_prefix_and_sixteen_random_digits():
    assert re.fullmatch(r"flow_id__[0-9a-f]{16}", new_id("flow_id__"))


def test_no_two_ids_are_the_same_whichever_thread_asks():
    with ThreadPoolExecutor(8) as pool:
        ids = [number for part in pool.map(lambda _: [new_id("") for _ in range(1_000)], range(8)) for number in part]

    assert len(set(ids)) == 8_000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_makes_other_ids_than_its_parent():
    source = """
    import os
    from otelflow._core.process.ids import new_id
    new_id("")  # others are ready now
    pid = os.fork()
    ids = " ".join(new_id("") for _ in range(300))
    os.write(1, f"{ids}\\n".encode())
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    """
    done = python(source)

    assert done.returncode == 0, done.stderr
    assert len(set(done.stdout.split())) == 600


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_is_another_process_and_each_stays_the_same():
    source = """
    import os
    from otelflow._core.process.ids import process_id
    ids = process_id()
    pid = os.fork()
    os.write(1, f"{ids} {process_id()} {process_id()}\\n".encode())
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    """
    done = python(source)

    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [len(set(row)) for row in sorted(rows, key=lambda row: len(set(row)))] == [1, 2]
    assert [len(set(row[1:])) for row in rows] == [1, 1]


def test_the_system_is_asked_for_256_ids_at_once_and_each_is_whole(monkeypatch):
    asked = []
    urandom = os.urandom
    monkeypatch.setattr(os, "urandom", lambda length: asked.append(length) or urandom(length))
    made = [new_id("") for _ in range(512)]

    assert asked == [256 * 8] * 2
    assert {len(number) for number in made} == {16}
    assert len(set(made)) == 512


def test_a_fork_that_python_was_not_told_of_leaves_the_ids_to_the_parent(monkeypatch):
    new_id("")
    left = set(ids._pool.ids)
    monkeypatch.setattr(forks.fork, "page", b"\0")
    monkeypatch.setattr(forks.fork, "process_id", -1)

    assert new_id("") not in left
