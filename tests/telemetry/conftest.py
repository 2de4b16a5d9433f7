import pytest

from support.ledger import added_up


@pytest.fixture(autouse=True)
def accounts_that_add_up():
    """Whatever a test does to delivery, each item is delivered, waiting or lost when it is over."""
    with added_up():
        yield
