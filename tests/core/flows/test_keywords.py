"""What the keywords of the decorators take, and what is said of those that they do not take."""

from typing import Annotated, TypedDict

import pytest

from otelflow import Flow, OtelflowError, flow, task
from otelflow._core.flows.keywords import check_keywords
from otelflow.errors import ConfigurationError


def double(number):
    return 2 * number


WRONG = {"task_name": 3, "task_id": 3, "raise_on_error": "no", "capture_return_value": "no", "capture_parameters": 3}


@pytest.mark.parametrize("keyword", [{name: value} for name, value in WRONG.items()])
def test_a_task_keyword_of_the_wrong_type_is_refused_at_decoration(keyword):
    with pytest.raises(OtelflowError, match=next(iter(keyword))):
        task(**keyword)(double)


@pytest.mark.parametrize("keyword", [{"flow_name": 3}, {"flow_id": 3}, {"data": [1]}, {"capture_return_value": 1}])
def test_a_flow_keyword_of_the_wrong_type_is_refused_at_decoration(keyword):
    with pytest.raises(OtelflowError, match=next(iter(keyword))):
        flow(**keyword)(double)


def test_a_misspelt_keyword_is_said_in_the_words_of_the_class_that_it_was_given_to():
    with pytest.raises(OtelflowError, match=r"^Flow has no"):
        Flow(flow_nme="x")


class Waiting(TypedDict, total=False):
    timeout: Annotated[float | None, None]


def test_a_keyword_that_takes_a_float_takes_a_whole_number_and_no_text():
    for seconds in (5, 0.5, None):
        check_keywords("@task", {"timeout": seconds}, Waiting)

    with pytest.raises(ConfigurationError, match=r"@task: timeout must be a number, None or a whole number, not '5'"):
        check_keywords("@task", {"timeout": "5"}, Waiting)
