import functools

import pytest

from otelflow import INJECTED, Flow, Task
from otelflow._cli import _parameters as parameters
from otelflow.errors import InvalidParameter


def test_texts_become_arguments_by_annotation_or_by_the_defaults_type():
    def order(number: int, /, name, *, count=1, ratio=0.5, is_urgent=False, note=None): ...

    texts = ["number=1", "name=2", "count=3", "ratio=4", "is_urgent=yes", "note=5"]
    arguments = parameters.fit(order, parameters.parse(texts))

    assert arguments.positional == (1, "2")
    assert arguments.named == {"count": 3, "ratio": 4.0, "is_urgent": True, "note": "5"}


def test_a_parameter_that_only_a_place_can_fill_needs_none_before_it():
    def order(count=1, price: float = 2.5, /, name="tea"): ...

    assert parameters.fit(order, {"price": "3"}).positional == (1, 3.0, "tea")[:2]
    assert parameters.fit(order, {"count": "3"}).positional == (3,)
    assert parameters.fit(order, {"name": "rice"}) == ((), {"name": "rice"})


def test_a_value_may_hold_equals_signs_and_be_empty():
    assert parameters.parse(["query=a=b", "empty="]) == {"query": "a=b", "empty": ""}


def test_what_is_injected_is_neither_asked_for_nor_taken():
    def main(this_flow, flow_data, first: Flow[int], second: "Task | None", third=INJECTED, *, number: int): ...

    arguments = parameters.fit(main, {"number": "1"})

    assert arguments.named == {"number": 1}
    for name in ("this_flow", "flow_data", "first", "second", "third"):
        with pytest.raises(InvalidParameter, match="fills this parameter by itself"):
            parameters.fit(main, {"number": "1", name: "x"})


def test_a_dependency_of_the_flow_is_not_missing():
    def main(database, number: int): ...

    assert parameters.fit(main, {"number": "1"}, injected=["database"]).named == {"number": 1}


def test_keywords_that_a_function_gathers_are_texts():
    def main(**more): ...

    assert parameters.fit(main, {"anything": "1"}).named == {"anything": "1"}


def test_arguments_that_were_set_up_stay_unless_given_anew():
    def main(first: int, second: int): ...

    arguments = parameters.fit(main, {"second": "5"}, preset=((1, 2), {}))

    assert arguments.positional == (1, 5)


def test_an_annotation_that_cannot_be_resolved_refuses_its_own_parameter_only():
    def main(number: "int", other: "NeverDefined" = None): ...  # noqa: F821

    assert parameters.fit(main, {"number": "1"}).positional == (1,)
    with pytest.raises(InvalidParameter, match="--param other: its annotation 'NeverDefined' cannot be resolved"):
        parameters.fit(main, {"number": "1", "other": "2"})


def test_the_annotations_of_partials_and_callable_objects_convert_too():
    def add(first: "int", second: "int"): ...

    class Adder:
        def __call__(self, first: "int"): ...

    assert parameters.fit(functools.partial(add, 1), {"second": "2"}).positional == (2,)
    assert parameters.fit(Adder(), {"first": "2"}).positional == (2,)


@pytest.mark.parametrize("text", ["", "=1", "a b=1", "1a=1", "novalue"])
def test_a_text_that_is_not_name_and_value_is_refused(text):
    with pytest.raises(InvalidParameter, match="is not name=value"):
        parameters.parse([text])


def test_names_that_only_gather_are_told_how_to_be_filled():
    def main(*args, **more): ...

    with pytest.raises(InvalidParameter, match="gathers arguments without a name"):
        parameters.fit(main, {"args": "[1]"})
    with pytest.raises(InvalidParameter, match="give each as --param its_name=value"):
        parameters.fit(main, {"more": "{}"})


def test_a_part_of_a_parameter_is_told_how_the_whole_is_given():
    with pytest.raises(InvalidParameter, match=r"""--param customer='{"name": …}'"""):
        parameters.parse(["customer.name=ann"])
