import pytest

from support.ledger import added_up


@pytest.fixture(autouse=True)
def accounts_that_add_up():
    """Whatever goes wrong in a test, each item that was made is delivered, waiting or lost when it is over."""
    with added_up():
        yield
