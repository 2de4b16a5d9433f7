"""The drawer of state: what is put in, forgotten, and gone through in a forked child."""

import pytest

from otelflow._core.process import process


class Piece(process.State):
    """Notes what becomes of it."""

    def __init__(self, name="piece", notes=None):
        self.name = name
        self.notes = [] if notes is None else notes
        super().__init__()

    def reset(self):
        self.count = 0
        self.notes.append(f"{self.name} reset")

    def begin_anew(self):
        self.notes.append(f"{self.name} begun anew")


@pytest.fixture(autouse=True)
def drawer(monkeypatch):
    """An empty drawer: what the product keeps is left alone."""
    monkeypatch.setattr(process, "_pieces", [])


def test_a_piece_has_its_first_values_when_it_is_made_and_when_it_is_forgotten():
    piece = Piece()
    first = piece.count
    piece.count = 7

    process.reset()

    assert (first, piece.count) == (0, 0)


def test_what_was_made_last_is_forgotten_first():
    notes = []
    pieces = [Piece("first", notes), Piece("second", notes)]
    notes.clear()

    process.reset()

    assert notes == ["second reset", "first reset"]
    assert len(pieces) == 2


def test_a_child_goes_through_the_drawer_in_the_order_in_which_it_was_filled():
    notes = []
    pieces = [Piece("first", notes), Piece("second", notes)]
    notes.clear()

    process.begin_anew()

    assert notes == ["first begun anew", "second begun anew"]
    assert len(pieces) == 2


def test_a_piece_that_says_nothing_of_children_is_the_parents_still():
    class Plain(process.State):
        def reset(self):
            self.count = 0

    piece = Plain()
    piece.count = 7

    process.begin_anew()

    assert piece.count == 7


def test_a_piece_without_first_values_is_refused():
    class Forgetful(process.State):
        """Has no reset()."""

    with pytest.raises(NotImplementedError):
        Forgetful()
