import pytest

from otelflow_exporters._tree.buffering import Buffer


@pytest.fixture
def of(make_span):
    return lambda trace, *arguments, **options: make_span(*arguments, **options)._replace(trace_id=trace)


def names(trees):
    return [(sorted(one.name for one in tree.spans), tree.note) for tree in trees]


def test_a_tree_is_complete_when_its_root_is(of):
    buffer = Buffer(10)

    assert buffer.add([of("a", 2, 1)]) == []
    assert names(buffer.add([of("a", 1)])) == [(["span 1", "span 2"], "")]
    assert buffer.clear() == []


def test_the_whole_batch_counts_also_what_ended_after_the_root(of):
    assert names(Buffer(10).add([of("a", 1), of("a", 2, 1)])) == [(["span 1", "span 2"], "")]


def test_two_local_roots_in_one_trace_each_take_their_own(of):
    buffer = Buffer(10)
    buffer.add([of("a", 11, 1), of("a", 12, 2)])

    assert names(buffer.add([of("a", 1, 99, remote=True)])) == [(["span 1", "span 11"], "")]
    assert names(buffer.add([of("a", 2, 99, remote=True)])) == [(["span 12", "span 2"], "")]


def test_what_never_completes_comes_out_in_the_end_and_says_so(of):
    buffer = Buffer(10)
    buffer.add([of("a", 2, 1), of("b", 3, 1)])

    assert names(buffer.clear()) == [(["span 2"], "incomplete"), (["span 3"], "incomplete")]
    assert buffer.clear() == []


def test_when_too_many_spans_wait_the_oldest_trace_goes_first(of):
    buffer = Buffer(3)
    buffer.add([of("a", 2, 1), of("b", 3, 1), of("b", 4, 1)])

    assert names(buffer.add([of("b", 5, 1)])) == [(["span 2"], "incomplete, too many spans are waiting")]
    assert names(buffer.add([of("b", 1)])) == [(["span 1", "span 3", "span 4", "span 5"], "")]


def test_one_giant_trace_is_kept_to_the_limit_and_the_rest_is_counted(of):
    buffer = Buffer(5)

    assert buffer.add(of("a", number, 1) for number in range(2, 1000)) == []
    (tree,) = buffer.add([of("a", 1)])

    assert len(tree.spans) == 6
    assert tree.note == "993 more spans were not kept"


def test_a_tree_that_is_complete_leaves_its_room_to_others(of):
    buffer = Buffer(3)
    for trace in "abc":
        assert names(buffer.add([of(trace, 2, 1), of(trace, 3, 1), of(trace, 1)])) == [
            (["span 1", "span 2", "span 3"], "")
        ]
    buffer.add([of("d", 2, 1), of("e", 3, 1), of("e", 4, 1)])

    assert len(buffer.clear()) == 2
    assert buffer.add([of("f", 2, 1), of("g", 3, 1), of("g", 4, 1)]) == []


def test_a_local_root_below_another_one_has_a_tree_of_its_own_in_whatever_order_they_end(of):
    upper, lower = of("a", 1, 99, remote=True), of("a", 2, 1, remote=True)
    steps = [of("a", 11, 1), of("a", 12, 2)]

    for roots in ([upper, lower], [lower, upper]):
        trees = {tuple(spans) for spans, _ in names(Buffer(10).add([*steps, *roots]))}
        assert trees == {("span 1", "span 11"), ("span 12", "span 2")}


def test_what_was_left_out_is_told_with_the_first_tree_only(of):
    buffer = Buffer(2)
    buffer.add([of("a", 11, 1), of("a", 12, 2), of("a", 13, 1)])

    trees = names(buffer.add([of("a", 1, 99, remote=True), of("a", 2, 99, remote=True)]))

    assert [note for _, note in trees] == ["1 more spans were not kept", ""]


@pytest.mark.parametrize("waiting", [[], [5]])
def test_a_root_that_comes_twice_is_one_tree(of, waiting):
    buffer = Buffer(10)
    buffer.add([of("a", number, 9) for number in waiting])

    assert names(buffer.add([of("a", 1), of("a", 1)])) == [(["span 1"], "")]


def test_a_child_leaves_what_its_parent_holds_to_it(of):
    buffer = Buffer(10)
    buffer.add([of("a", 2, 1)])

    buffer.begin_anew()

    assert buffer.clear() == []
