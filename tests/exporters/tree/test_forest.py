import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otelflow import flow, task
from otelflow_exporters._otlp.model import from_any
from otelflow_exporters._tree.forest import FAILED_SHOWN, Fold, Rest, SpanNode, fold, grow, walk


def ids(nodes):
    return [int(node.span.span_id, 16) for node in nodes]


def test_children_hang_under_their_parents_in_the_order_they_began(make_span):
    forest = grow([make_span(4, 1), make_span(3, 2), make_span(2, 1), make_span(1)])

    assert ids(forest.roots) == [1]
    assert ids(forest.roots[0].children) == [2, 4]
    assert (forest.start, forest.end) == (1, 5)


def test_a_span_whose_parent_is_missing_is_a_root_that_says_so_unless_the_parent_is_elsewhere(make_span):
    forest = grow([make_span(1, 99), make_span(2, 98, remote=True)])

    assert [(root.is_orphan) for root in forest.roots] == [True, False]


def test_cycles_are_cut_and_lose_no_span(make_span):
    forest = grow([make_span(1), make_span(2, 3), make_span(3, 4), make_span(4, 2), make_span(5, 5), make_span(6, 3)])

    assert ids(forest.roots) == [1, 2, 5]
    assert [root.is_orphan for root in forest.roots] == [False, True, True]
    assert sorted(number for root in forest.roots for number in ids(walk(root))) == [1, 2, 3, 4, 5, 6]


def test_a_span_that_came_twice_is_one(make_span):
    assert len(grow([make_span(1), make_span(1)]).nodes) == 1


def test_failures_are_counted_up_to_the_root_and_the_depth_does_not_matter(make_span):
    forest = grow([make_span(1), *(make_span(n, n - 1, error=n == 20_000) for n in range(2, 20_001))])

    assert forest.roots[0].failures == forest.failures == forest.failed_runs == 1


@pytest.mark.parametrize(("is_in_flow", "runs"), [(True, 2), (False, 1)])
def test_a_task_that_failed_each_time_is_one_failed_run(spans, is_in_flow, runs):
    @task(retries=2)
    def read():
        raise FileNotFoundError

    with pytest.raises(FileNotFoundError):
        flow(lambda: read())().execute() if is_in_flow else read()

    forest = grow(from_any(spans.spans))
    assert (forest.failures, forest.failed_runs) == (runs + 3, runs)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 30))))
def test_whatever_the_parents_are_every_span_is_in_exactly_one_tree(make_span, pairs):
    forest = grow(make_span(number, parent) for number, parent in pairs)

    reached = [number for root in forest.roots for number in ids(walk(root))]
    assert sorted(reached) == sorted({number for number, _ in pairs})


def test_few_siblings_are_not_folded(make_span):
    nodes = [SpanNode(make_span(n, name="task")) for n in range(1, 6)]

    assert fold(nodes) == nodes


def test_many_siblings_of_one_name_are_folded_also_when_others_stand_between(make_span):
    forest = grow(make_span(n, name="task parse" if n % 2 else "task write", error=n in (7, 9)) for n in range(1, 41))

    parse, write = fold(forest.roots)

    assert (type(parse), parse.name, len(parse.nodes), parse.failed, ids(parse.examples)) == (
        Fold,
        "task parse",
        20,
        2,
        [7, 9],
    )
    assert (write.failed, write.examples) == (0, [])


def test_only_a_few_of_many_failures_are_shown_and_the_rest_is_counted(make_span):
    (folded,) = fold(grow(make_span(n, name="task", error=True) for n in range(1, 101)).roots)

    assert (len(folded.examples), folded.other_failures) == (FAILED_SHOWN, 100 - FAILED_SHOWN)


def test_a_fold_keeps_a_success_that_hides_a_failure(make_span):
    tasks = [make_span(n, name="flow") for n in range(1, 11)]
    (folded,) = fold(grow([*tasks, make_span(50, 3, error=True)]).roots)

    assert folded.failed == 0
    assert ids(folded.examples) == [3]


def test_those_that_failed_themselves_are_shown_before_those_that_hide_a_failure(make_span):
    calls = [make_span(n, name="task", error=n > 10) for n in range(1, 11 + FAILED_SHOWN)]
    hidden = [make_span(100 + n, n, error=True) for n in range(1, 6)]
    (folded,) = fold(grow([*calls, *hidden]).roots)

    assert ids(folded.examples) == list(range(11, 11 + FAILED_SHOWN))
    assert folded.other_failures == len(hidden)


def test_very_many_siblings_with_different_names_are_bounded(make_span):
    items = fold(grow(make_span(n, error=n == 500) for n in range(1, 1001)).roots)

    assert len(items) < 60
    assert 500 in ids(item for item in items if isinstance(item, SpanNode))
    (rest,) = (item for item in items if isinstance(item, Rest))
    assert rest.count == 1000 - (len(items) - 1)


def test_of_siblings_that_are_only_counted_the_failures_are_told(make_span):
    items = fold(grow(make_span(n, error=100 < n <= 160) for n in range(1, 1001)).roots)

    (rest,) = (item for item in items if isinstance(item, Rest))
    shown = sum(node.is_failed for node in items if isinstance(node, SpanNode))
    assert shown > 0
    assert rest.failed == 60 - shown
