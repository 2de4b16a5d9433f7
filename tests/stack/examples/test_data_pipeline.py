"""examples/data_pipeline: real files in and out, and the run in the real Jaeger."""

import json
from pathlib import Path

PIPELINE = Path(__file__).parents[3] / "examples/data_pipeline/pipeline.py"

CONVERTED = """\
order,day,fruit,kilos,euros
1,2026-11-02,apple,120.0,96.0
2,2026-11-02,melon,40.5,93.15
4,2026-11-03,apple,80.0,75.6
7,2026-11-04,plum,60.0,49.68
8,2026-11-04,apple,75.0,60.0
10,2026-11-05,melon,33.0,82.5
"""


def test_orders_are_converted_what_is_none_is_a_table_and_the_allowed_failure_is_seen(
    otelflow_run, read_tree, tmp_path
):
    done, trace_id = otelflow_run(PIPELINE, "--param", "target=converted.csv")
    root = read_tree(trace_id, 7)

    assert done.returncode == 0
    assert (tmp_path / "converted.csv").read_text() == CONVERTED
    assert list(root.lines()) == [
        "flow orders_in_euros",
        "  task read_table",
        "  ✗ task read_todays_rates",
        "  task read_last_rates",
        "  task validate",
        "  task convert",
        "  task write",
    ]
    assert root.attributes["otelflow.flow.tasks.failed"] == "1"
    rejects = root.event("otelflow.artifact")
    assert (rejects["otelflow.artifact.key"], rejects["otelflow.artifact.type"]) == ("rejects", "table")
    assert {row["order"]: row["reason"] for row in json.loads(rejects["otelflow.artifact.data"])} == {
        "3": "could not convert string to float: ''",
        "5": "no rate for XYZ",
        "6": "kilos must be more than 0, not -3.0",
        "9": "day is out of range for month",
    }
    (validate,) = root.find("task validate")
    assert validate.event("otelflow.message")["otelflow.message.text"] == "4 of 10 rows are no orders"


ODD = """\
order,day,fruit,kilos,price,currency
1,2026-11-02,apple,120.0,96.00,EUR
2,2026-11-02
3,2026-11-02,melon,40.5,,EUR
4,2026-11-02,melon,nan,101.25,EUR
5,2026-11-02,melon,40.5,inf,EUR
six,2026-11-02,melon,40.5,101.25,EUR
"""


def test_whatever_is_wrong_with_a_row_stops_nothing(otelflow_run, read_tree, tmp_path):
    (tmp_path / "orders.csv").write_text(ODD)
    (tmp_path / "rates.csv").write_text("currency,euros\nEUR,1\n")

    done, trace_id = otelflow_run(PIPELINE, "--param", "target=converted.csv", "--param", "source=orders.csv")
    rejects = read_tree(trace_id, 7).event("otelflow.artifact")

    assert done.returncode == 0
    assert (tmp_path / "converted.csv").read_text() == "order,day,fruit,kilos,euros\n1,2026-11-02,apple,120.0,96.0\n"
    assert {row["order"]: row["reason"] for row in json.loads(rejects["otelflow.artifact.data"])} == {
        "2": "could not convert string to float: ''",
        "3": "could not convert string to float: ''",
        "4": "kilos must be more than 0, not nan",
        "5": "price must be more than 0, not inf",
        "six": "invalid literal for int() with base 10: 'six'",
    }


def test_a_file_that_is_not_there_fails_the_flow_and_leaves_no_half_of_a_target(otelflow_run, read_tree, tmp_path):
    done, trace_id = otelflow_run(PIPELINE, "--param", "target=converted.csv", "--param", "source=nowhere.csv")
    root = read_tree(trace_id, 2)

    assert done.returncode == 1
    assert list(root.lines()) == ["✗ flow orders_in_euros", "  ✗ task read_table"]
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ""] == []
