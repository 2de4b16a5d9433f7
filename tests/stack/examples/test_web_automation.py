"""examples/web_automation: a real Chromium prints a page of a loopback server, and its life is in the real Jaeger."""

import base64
import json
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from support.ports import free_ports
from support.receivers import serving

SERVICE = Path(__file__).parents[3] / "examples/web_automation/service.py"
LOOPBACK = urllib.request.build_opener(urllib.request.ProxyHandler({}))
PRINTED = """\
GET /pdf
  flow print_page
    task start_browser
    task open_page
    task take_screenshot
    task print_pdf
    task close_browser
"""


@pytest.fixture(scope="module", autouse=True)
def needed(installed):
    installed("playwright", "fastapi", "uvicorn", "opentelemetry.instrumentation.fastapi")


@pytest.fixture(scope="module")
def site():
    """A server on loopback with a page at / and nothing else; ``visitors`` are the programs that asked for it."""
    visitors = []

    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            visitors.append(self.headers["User-Agent"])
            self.send_response(200 if self.path == "/" else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write("<title>Fruit</title><h1>Äpfel</h1><p style='break-after: page'>1</p><p>2</p>".encode())

    with serving(Page) as server:
        server.visitors = visitors
        yield server


@pytest.fixture(scope="module")
def printer(collector, site, starting, tools, tmp_path_factory):
    """The address and the process of the running service, which may print pages of the site."""
    (port,) = free_ports(1)
    settings = {
        "CHROMIUM": tools.program("chromium"),
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector,
        "PAGES": site.url,
        "PORT": port,
    }
    folder, ready = tmp_path_factory.mktemp("printer"), f"http://127.0.0.1:{port}/health"
    with starting("The printer", [sys.executable, SERVICE], ready=ready, folder=folder, **settings) as process:
        yield f"http://127.0.0.1:{port}", process.pid


@pytest.fixture
def print_page(printer):
    """Ask for a page as PDF, and give the status, the type and the body of the answer."""

    def ask(url, **options):
        query = urllib.parse.urlencode({"url": url, **options})
        try:
            with LOOPBACK.open(f"{printer[0]}/pdf?{query}", timeout=60) as answer:
                return answer.status, answer.headers["Content-Type"], answer.read()
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, refusal.headers["Content-Type"], refusal.read()

    return ask


@pytest.fixture
def traces(jaeger, tools):
    """What Jaeger has of the printer, by the results of its flows."""

    def trace_of(result):
        def trace_ids():
            tags = json.dumps({"otelflow.run.result": result})
            listed = tools.get_json(
                f"{jaeger}/api/traces",
                service="printer",
                operation="flow print_page",
                tags=tags,
                lookback="1h",
                limit=5,
            )
            return [trace["traceID"] for trace in listed["data"]]

        return tools.wait_for(trace_ids, seconds=60, event=f"a flow with {result}")[0]

    return trace_of


def children_of(pid):
    """The processes below *pid*, from what Linux says of them."""
    pairs = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text()
        except OSError:
            continue
        pairs.append((int(status.parent.name), int(re.search(r"^PPid:\s+(\d+)", text, re.MULTILINE)[1])))
    return {child for child, parent in pairs if parent == pid}


def test_a_page_comes_back_as_pdf_or_base64_and_the_browsers_life_is_a_flow(print_page, read_tree, site, traces):
    page = f"{site.url}/"

    status, kind, document = print_page(page, return_file="true")
    answer = json.loads(print_page(page)[2])
    root = read_tree(traces("success"), 7)

    assert (status, kind) == (200, "application/pdf")
    for pdf in (document, base64.b64decode(answer["pdf_base64"])):
        assert pdf.startswith(b"%PDF-")
        assert len(re.findall(rb"/Type /Page\b", pdf)) == 2
    assert any("HeadlessChrome" in visitor for visitor in site.visitors)
    assert "".join(f"{line}\n" for line in root.lines()) == PRINTED
    (start,) = root.find("task start_browser")
    assert start.event("otelflow.message")["otelflow.message.text"].startswith("Chromium ")
    (shot,) = root.find("task take_screenshot")
    screenshot = shot.event("otelflow.artifact")
    assert (screenshot["otelflow.artifact.key"], screenshot["otelflow.artifact.type"]) == ("screenshot", "image")
    assert screenshot["otelflow.artifact.description"] == "Fruit"
    picture = base64.b64decode(screenshot["otelflow.artifact.data"])
    assert (picture[:2], picture[-2:]) == (b"\xff\xd8", b"\xff\xd9")  # a JPEG from its first to its last byte


def test_a_page_that_cannot_be_opened_is_a_failed_task_and_leaves_no_browser(
    print_page, printer, read_tree, site, traces
):
    status, _, body = print_page(f"{site.url}/nothing")
    root = read_tree(traces("failure"), 5)

    assert (status, json.loads(body)["detail"]) == (
        502,
        f"{site.url}/nothing answers 404",
    )
    assert list(root.lines()) == [
        "✗ GET /pdf",
        "  ✗ flow print_page",
        "    task start_browser",
        "    ✗ task open_page",
        "    task close_browser",
    ]
    assert children_of(printer[1]) == set()


@pytest.mark.parametrize("page", ["http://localhost:{port}/", "http://127.0.0.1:{port}@localhost:{port}/"])
def test_a_page_that_nobody_allowed_is_refused_and_no_browser_starts(print_page, site, page):
    before = len(site.visitors)

    status, _, body = print_page(page.format(port=site.server_port))

    assert status == 403
    assert "PAGES says which" in json.loads(body)["detail"]
    assert len(site.visitors) == before
