"""The pictures of Jaeger in docs/ show what Jaeger has, and the page on alerts what Alertmanager tells."""

import pytest

from support import pages, pictures

PAGE = "docs/operations.md"


@pytest.mark.parametrize("picture", [pictures.JAEGER, pictures.INCIDENT], ids=lambda path: path.stem)
def test_a_picture_of_jaeger_shows_what_it_has(picture, jaeger, collector):
    drawn = pictures.in_jaeger(picture, jaeger, collector)

    shown = picture.read_text(encoding="utf-8")
    assert pictures.words_of(drawn) == pictures.words_of(shown), "python tests/docs/remake.py"


@pytest.fixture
def invoices(collector, pushgateway):
    """Run the program of the page on alerts as cron would, with metrics; return its exit code."""
    place = pages.Workplace(PAGE)
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector, "OTELFLOW_METRICS": f"push:{pushgateway}"}
    command = pictures.RUNS[pictures.INCIDENT][1]

    def run(accounts=None):
        if accounts:
            (place.folder / "accounts.json").write_text(accounts)
        return place.run("env", *(f"{name}={value}" for name, value in environment.items()), *command)[0]

    return run


@pytest.mark.timeout(240)
def test_the_alert_says_what_the_page_shows_and_ends_with_the_next_success(invoices, prometheus, tools):
    def firing():
        alerts = tools.get_json(f"{prometheus}/api/v1/alerts")["data"]["alerts"]
        of_the_page = {"alertname": "FlowLastRunFailed", "job": "invoices", "flow": "book_invoices"}
        return [
            alert for alert in alerts if alert["state"] == "firing" and alert["labels"].items() >= of_the_page.items()
        ]

    assert invoices() == 1
    (alert,) = tools.wait_for(firing, seconds=90, event="the alert")
    assert invoices(accounts='{"eve": "7.30"}') == 0
    tools.wait_for(lambda: not firing(), seconds=90, event="the end of the alert")

    (message,) = [block for block in pages.blocks_of(PAGE, "text") if alert["labels"]["alertname"] in block.text]
    _, summary, runbook, _ = message.text.splitlines()
    assert (alert["annotations"]["summary"], alert["annotations"]["runbook"]) == (summary, runbook)
    assert "operation=flow%20book_invoices" in alert["annotations"]["traces"]
