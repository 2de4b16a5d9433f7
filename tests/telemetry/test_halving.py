"""A batch is halved until what can never be delivered is alone, and not for ever."""

from otelflow._telemetry.halving import Halving


def exported(batch, is_bad):
    """Return the pieces that arrived, and those that were given up, of a batch in which *is_bad* tells the bad ones."""
    halving = Halving(batch)
    arrived, lost = [], []
    for piece in halving.pieces():
        if not any(map(is_bad, piece)):
            halving.has_succeeded = True
            arrived += piece
        elif len(piece) == 1 or not halving.halve(piece):
            lost += piece
    return arrived, lost


def test_a_bad_item_costs_itself_and_the_others_stay_in_order():
    arrived, lost = exported(list(range(512)), lambda number: number == 300)

    assert lost == [300]
    assert arrived == [number for number in range(512) if number != 300]


def test_an_endpoint_that_takes_nothing_is_not_asked_for_each_item():
    asked = []

    arrived, lost = exported(list(range(512)), lambda number: asked.append(number) is None)

    assert (arrived, sorted(lost)) == ([], list(range(512)))
    assert len(asked) < 50
