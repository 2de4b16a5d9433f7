"""What one process has learnt of an endpoint is known to the next."""

import os
import time

import pytest

from otelflow_exporters._spool.answers import Answers
from otelflow_exporters._store.ownership import ANSWERS, open_store


@pytest.fixture
def spool(tmp_path):
    open_store(tmp_path / "spool", is_made=True, kind="spool").close()
    return tmp_path / "spool"


def test_an_endpoint_that_has_answered_is_expected_to_and_one_that_has_not_is_left_alone_for_a_while(spool):
    answers = Answers(spool)

    known = [answers.expected()]
    answers.note(has_answered=True)
    known.append(answers.expected())
    answers.note(has_answered=False)
    known.append(answers.expected())
    an_hour_ago = time.time() - 3_600
    os.utime(spool / ANSWERS, (an_hour_ago, an_hour_ago))
    known.append(answers.expected())

    assert known == [None, True, False, True]


def test_an_answer_is_written_once_and_a_silence_each_time(spool):
    answers = Answers(spool)
    answers.note(has_answered=True)
    os.utime(spool / ANSWERS, (1, 1))

    answers.note(has_answered=True)
    time_of_answer = (spool / ANSWERS).stat().st_mtime
    answers.note(has_answered=False)

    assert time_of_answer == 1
    assert (spool / ANSWERS).stat().st_mtime > 1


def test_nothing_is_known_without_a_folder_or_in_one_that_is_no_spool(tmp_path):
    (tmp_path / "others").mkdir()
    (tmp_path / "others/file").write_text("mine")

    for directory in (None, tmp_path / "none", tmp_path / "others"):
        answers = Answers(directory)
        answers.note(has_answered=True)

        assert answers.expected() is None
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "others"]


@pytest.mark.parametrize(("after", "is_expected"), [(-1, True), (0, False), (599.9, False), (600, True)])
def test_one_that_did_not_answer_is_left_alone_for_ten_minutes(spool, monkeypatch, after, is_expected):
    answers = Answers(spool)
    answers.note(has_answered=False)
    os.utime(spool / ANSWERS, (1_000, 1_000))

    monkeypatch.setattr("otelflow._core.process.clock.time", lambda: 1_000 + after)

    assert answers.expected() is is_expected


def test_an_answer_ends_the_silence_and_a_silence_the_answer(spool):
    answers = Answers(spool)
    expected = []
    for has_answered in (False, True, False):
        answers.note(has_answered=has_answered)
        expected.append(Answers(spool).expected())

    assert expected == [False, True, False]


def test_a_file_that_says_anything_else_is_a_silence(spool):
    (spool / ANSWERS).write_bytes(b"yes, perhaps")

    assert Answers(spool).expected() is False
