"""examples/database: transactions on a real PostgreSQL and on SQLite, in the real Jaeger."""

from pathlib import Path

import pytest

ACCOUNTS = Path(__file__).parents[3] / "examples/database/accounts.py"


@pytest.fixture(autouse=True)
def needed(installed):
    installed("sqlalchemy", "psycopg", "opentelemetry.instrumentation.sqlalchemy")


def statements(span):
    """What was asked of the database in *span*, without its name: SELECT postgres → SELECT."""
    return [line.strip().removeprefix("✗ ").split()[0] for line in span.lines()][1:]


@pytest.mark.parametrize("database", ["postgres", "SQLite"])
def test_a_transfer_that_would_leave_a_debt_is_rolled_back_and_the_others_are_not(
    database, otelflow_run, read_tree, request, tmp_path
):
    where = {"DATABASE_URL": request.getfixturevalue("postgres")} if database == "postgres" else {}

    done, trace_id = otelflow_run(ACCOUNTS, "--tree", **where)
    root = read_tree(trace_id, 30)

    assert done.returncode == 0
    assert "= result flow-return-value: ann 25, bob 50, cid 45" in done.stderr
    assert (tmp_path / "accounts.db").exists() == (database == "SQLite")
    assert [line.strip() for line in root.lines() if "task" in line or "flow" in line] == [
        "flow pay_day",
        "task connect",
        "task open_accounts",
        "task transfer",
        "✗ task transfer",
        "task transfer",
        "task read_balances",
    ]
    assert root.attributes["otelflow.flow.tasks.failed"] == "1"
    good, refused, _ = root.find("task transfer")
    assert statements(good) == statements(refused) == ["connect", "SELECT", "UPDATE", "SELECT", "UPDATE"]
    assert [child.has_failed for child in refused.children] == [False, False, False, False, True]
    assert refused.event("otelflow.message")["otelflow.message.text"] == "rolled back"
    assert refused.attributes["error.type"] == "sqlalchemy.exc.IntegrityError"
