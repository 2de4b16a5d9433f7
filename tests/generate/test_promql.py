"""Texts in PromQL: quoted, and escaped where they stand in a regular expression."""

from otelflow.generate._promql import FAILING, other_than, quote, selector


def test_a_text_is_quoted_as_go_and_promql_read_it():
    assert quote('a "b" \\ \n é') == r'"a \"b\" \\ \n é"'


def test_flows_are_left_out_by_their_names_and_not_by_what_these_match():
    assert other_than(["a|b", "month end", "1.5"]) == r'flow!~"a\\|b|month end|1\\.5"'
    assert other_than([]) == ""


def test_a_selector_without_matchers_is_nothing():
    assert selector("", 'a="b"', "", 'c="d"') == '{a="b",c="d"}'
    assert selector("", "") == ""


def test_failed_is_what_neither_succeeded_nor_was_left_undone():
    assert FAILING == 'result=~"failure|timeout|error"'
