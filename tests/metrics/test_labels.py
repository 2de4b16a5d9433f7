"""What may stand in a label."""

import pytest

from otelflow import Flow
from otelflow.metrics._labels import label_of


@pytest.mark.parametrize(
    "one",
    [
        "7F9C24E8A1B2C3D4E5F60718293A4B5C",
        "01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "01arz3ndektsv4rrffq69g5fav",
        "1795610755567",
        "12345678901234567890",
        "20261125T103000",
        "20261125-1030",
        "2026-11-25",
        "2026-11-25T10:30:00Z",
    ],
)
def test_whatever_looks_like_an_id_is_none_in_a_label(one):
    assert label_of(f"import {one}") == "import {id}"
    assert label_of(f"{one}_import") == "{id}_import"


@pytest.mark.parametrize(
    "name",
    [
        *("report-2026", "report-2026-11", "v2", "order_v2.10.3", "migrate_20240115", "step 1 of 12", "2026"),
        *("Quarterly_Report_Generator", "7daysOfWeatherForEveryTown", "sha512", "utf-8 to latin-1", "tier-2-backfill"),
        *("127.0.0.1:8080", "0 to 100", "call +49 30 1234567", "port-65535", "99-01-02", "3000-99-99", "deadbeef"),
        "THE_LAST_INVOICE_OF_THE_MONTH",
        "internationalization_of_everything",
    ],
)
def test_an_ordinary_name_is_no_id(name):
    assert label_of(name) == name


@pytest.mark.parametrize(
    "name",
    ["import_2026", "sha256-checksum", "a" * 40, "décembre", "order 12345678901", "defaced-facade-decade"],
)
def test_a_name_without_an_id_stays(name):
    assert label_of(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "import-7f9c24e8-3b12-4f61-9c0d-0123456789ab",
        "import-flow_id__8c6f1d2ab3e49f01",
        "import-8c6f1d2ab3e49f018c6f1d2ab3e49f01",
        "import-2026-11-23T22:10:05Z",
    ],
)
def test_a_name_with_an_id_is_one_series_and_one_warning_with_the_cure(counted, name, caplog):
    for _ in range(2):
        Flow(flow_name=name).set_flow_target(lambda: 1).execute()

    assert counted.runs("import-{id}") == {"success": 2}
    assert name not in counted.text()


def test_a_name_that_breaks_formats_breaks_none(counted):
    name = 'a "quoted" \\ name\nin two lines \ud800' + "x" * 500

    Flow(flow_name=name).set_flow_target(lambda: 1).execute()

    assert 'flow="a \\"quoted\\" \\\\ name\\nin two lines \\\\ud800xx' in counted.text()


def test_a_name_that_is_nothing_but_an_id_is_one_and_a_shorter_one_is_none():
    assert label_of("2026-11-25") == "{id}"
    assert label_of("2026-11-2") == "2026-11-2"


def test_a_label_has_120_characters_at_most():
    assert label_of("x" * 120) == "x" * 120
    assert label_of("x" * 121) == "x" * 120 + "…"


def test_the_warning_shows_the_name_and_what_it_is_counted_as_once(caplog):
    for day in ("25", "26"):
        label_of(f"import 2026-11-{day} " + "x" * 200)

    (message,) = caplog.messages
    assert message.startswith(f"The name {'import 2026-11-25 ' + 'x' * 102!r} contains an id, and metrics cannot have")
    assert f"it is counted as {'import {id} ' + 'x' * 108!r}. Give the flow or task a fixed name" in message
