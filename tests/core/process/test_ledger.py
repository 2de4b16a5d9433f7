"""What an account says of what was handed over for delivery."""

from otelflow._core.process.ledger import Account, Tally, in_words


class Target:
    """Something that delivers."""


def test_what_is_neither_delivered_nor_lost_waits():
    account = Account("traces", "Target", 1_100, 900, {"queue_full": 60, "shutdown": 20})

    assert (account.lost, account.waiting) == (80, 120)
    assert (
        str(account) == "traces to Target: 1,100 made, 900 delivered, 120 waiting, 80 lost (60 queue_full, 20 shutdown)"
    )
    assert str(Account("logs", "Target", 3, 3, {})) == "logs to Target: 3 made, 3 delivered"


def test_an_account_is_of_the_moment_in_which_it_was_read():
    tally = Tally()
    tally.total = 2
    tally.dropped["never"] += 0
    before = tally.account("traces", Target())

    tally.total, tally.delivered = 5, 1
    tally.dropped["shutdown"] += 1

    assert before == Account("traces", "Target", 2, 0, {})
    assert tally.account("traces", Target()) == Account("traces", "Target", 5, 1, {"shutdown": 1})


def test_an_account_begins_with_nothing():
    assert Tally().account("traces", Target()) == Account("traces", "Target", 0, 0, {})


def test_one_line_says_of_what_there_is():
    empty, full = Account("logs", "Target", 0, 0, {}), Account("traces", "Target", 1, 1, {})

    assert in_words([empty, full, full]) == f"{full}; {full}"
    assert in_words([empty]) == ""
