import json

import pytest

from otelflow._core.text.excerpt import Excerpt

NESTED = {"a": [1, 2.5, None, True, "x"], "b": {"c": ["y"]}, "d": []}


def test_what_fits_into_the_budget_is_copied_whole():
    excerpt = Excerpt(1_000)

    copy = excerpt.copy(NESTED)

    assert copy == NESTED
    assert copy["a"] is not NESTED["a"]
    assert not excerpt.is_cut


@pytest.mark.parametrize(
    "data",
    [list(range(10_000)), {str(n): n for n in range(10_000)}, ["x" * 50] * 10_000, [[[0] * 100] * 100], ["x" * 10_000]],
)
def test_of_what_does_not_fit_the_beginning_is_copied(data):
    excerpt = Excerpt(1_000)

    copy = excerpt.copy(data)

    assert excerpt.is_cut
    assert 0 < len(json.dumps(copy)) < 2_000


def test_a_container_that_contains_itself_is_refused_and_one_that_comes_twice_is_not():
    loop = []
    loop.append(loop)
    twice = [1]

    with pytest.raises(ValueError, match="contains itself"):
        Excerpt(1_000).copy(loop)

    assert Excerpt(1_000).copy([twice, twice]) == [[1], [1]]


def test_what_is_nested_too_deep_is_text():
    deep = []
    for _ in range(100):
        deep = [deep]

    copy = Excerpt(10_000).copy(deep)

    depth = 0
    while isinstance(copy, list):
        copy, depth = copy[0], depth + 1
    assert depth == 64
    assert copy.startswith("[[[")


def test_a_text_says_that_it_is_cut_and_one_that_fits_does_not():
    excerpt = Excerpt(10)

    texts = [excerpt.text("0123456789"), excerpt.is_cut, excerpt.text("0123456789a"), excerpt.is_cut]

    assert texts == ["0123456789", False, "0123456789… [cut, 11 characters]", True]


@pytest.mark.parametrize(
    ("budget", "copy"),
    [
        (12, []),  # a container costs so much
        (13, ["a… [cut, 3 characters]"]),
        (15, ["abc"]),
        (12 + 27, ["abc"]),  # and a text so much and its characters
        (12 + 27 + 1, ["abc", 1]),
        (12 + 27 + 12, ["abc", 1]),
        (12 + 27 + 13, ["abc", 1, {}]),
        (12 + 27 + 12 + 13, ["abc", 1, {"k": True}]),
    ],
)
def test_items_and_characters_use_up_the_budget(budget, copy):
    excerpt = Excerpt(budget)

    assert excerpt.copy(["abc", 1, {"k": True}]) == copy
    assert excerpt.is_cut == (copy != ["abc", 1, {"k": True}])


@pytest.mark.parametrize(("more", "count"), [(0, 2), (1, 3)])
def test_what_is_nested_too_deep_costs_a_thousand_characters(more, count):
    deep = [[], [], [], []]
    for _ in range(63):
        deep = [deep]
    excerpt = Excerpt(64 * 12 + 2 * (12 + 1_000) + more)

    copy = excerpt.copy(deep)

    while isinstance(copy[0], list):
        copy = copy[0]
    assert copy == ["[]"] * count
    assert excerpt.is_cut


def test_a_secret_at_the_cut_is_hidden_whole():
    excerpt = Excerpt(12 + 40)

    (text,) = excerpt.copy(["the password=hunter2hunter2hunter2hunter2 is it"])

    assert "hunter" not in text
    assert excerpt.is_cut
