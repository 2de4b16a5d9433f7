"""Which places are held around here, as what begins inside is told."""

import contextvars

from otelflow import concurrency
from otelflow._core.policies import holding


def test_what_is_held_has_a_name_and_what_was_given_back_has_none():
    with concurrency("db", 1), concurrency("api", 2):
        inside = contextvars.copy_context()
        assert holding.names_held() == ["db", "api"]

    assert holding.names_held() == inside.run(holding.names_held) == []


def test_a_place_elsewhere_is_held_and_there_is_nothing_to_give_back():
    def hold():
        holding.hold_elsewhere(["db"])
        return holding.names_held(), holding.shared_places()

    assert contextvars.copy_context().run(hold) == (["db"], [])


def test_a_shared_place_is_free_after_two_releases():
    with concurrency("db", 1):
        (place,) = holding.shared_places()
    assert place.is_held

    place.release()
    assert not place.is_held
    assert not place.share()
