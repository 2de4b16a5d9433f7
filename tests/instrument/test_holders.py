import importlib
import textwrap

import pytest

from otelflow.instrument import OtelflowInstrumentor, _holders

FASTAPI = """
    import fastapi
    from fastapi import FastAPI, APIRouter

    app = FastAPI()
    router = APIRouter(prefix="/later")

    @app.get("/orders/{number}")
    def order(number: int, more: int = 1) -> int:
        return number + more

    @app.get("/async")
    async def waiting():
        return "waited"

    @router.get("/order")
    async def later():
        return "later"
"""
STARLETTE = """
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Mount, Route, WebSocketRoute

    async def order(request):
        return PlainTextResponse(request.path_params["number"])

    def plain(request):
        return PlainTextResponse("plain")

    async def talk(websocket):
        await websocket.accept()
        await websocket.send_text("hello")
        await websocket.close()

    inner = [Route("/plain", plain)]
    routes = [Route("/orders/{number}", order), Mount("/in", routes=inner), WebSocketRoute("/talk", talk)]
    app = Starlette(routes=routes)
"""
FLASK = """
    from flask import Blueprint, Flask

    app = Flask(__name__)
    pages = Blueprint("pages", __name__, url_prefix="/pages")

    @app.route("/orders/<number>")
    def order(number):
        return number

    @pages.get("/page")
    def page():
        return "page"
"""
TYPER = """
    import typer

    app = typer.Typer()

    @app.callback()
    def before():
        pass

    @app.command()
    def order(number: int, more: int = 1):
        print(number + more)
"""


@pytest.fixture
def web(shop, caplog):
    """Writes the module ``shop.web``, instruments it, and returns it."""

    def make(text, **patterns):
        (shop / "shop" / "web.py").write_text(textwrap.dedent(text))
        OtelflowInstrumentor().instrument(**patterns or {"flows": ["shop.web:*"]})
        module = importlib.import_module("shop.web")
        importlib.invalidate_caches()
        return module

    yield make
    OtelflowInstrumentor().uninstrument()


def test_routes_of_fastapi_call_the_flows_also_of_a_router_that_is_included_later(web, spans, caplog):
    testclient = pytest.importorskip("fastapi.testclient", reason="not installed: otelflow[frameworks]")
    module = web(FASTAPI)
    module.app.include_router(module.router)
    client = testclient.TestClient(module.app)
    answers = [client.get(path) for path in ("/orders/2?more=3", "/orders/x", "/async", "/later/order")]

    assert [(answer.status_code, answer.json()) for answer in answers if answer.status_code != 422] == [
        (200, 5),
        (200, "waited"),
        (200, "later"),
    ]
    assert answers[1].status_code == 422
    assert [span.name for span in spans.spans] == ["flow order", "flow waiting", "flow later"]
    assert list(module.app.openapi()["paths"]) == ["/orders/{number}", "/async", "/later/order"]
    assert "kept the function" not in caplog.text


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of an older TestClient, by a newer anyio
def test_routes_of_starlette_call_the_flows(web, spans, caplog):
    testclient = pytest.importorskip("starlette.testclient", reason="not installed: otelflow[frameworks]")
    module = web(STARLETTE)
    client = testclient.TestClient(module.app)
    answers = [client.get(path).text for path in ("/orders/2", "/in/plain")]
    with client.websocket_connect("/talk") as websocket:
        answers.append(websocket.receive_text())

    assert answers == ["2", "plain", "hello"]
    assert [span.name for span in spans.spans] == ["flow order", "flow plain", "flow talk"]
    assert "kept the function" not in caplog.text


def test_views_of_flask_are_flows_also_those_of_a_blueprint(web, spans, caplog):
    pytest.importorskip("flask", reason="not installed: otelflow[frameworks]")
    module = web(FLASK)
    module.app.register_blueprint(module.pages)
    client = module.app.test_client()
    answers = [client.get(path).text for path in ("/orders/2", "/pages/page")]

    assert answers == ["2", "page"]
    assert [span.name for span in spans.spans] == ["flow order", "flow page"]
    assert "kept the function" not in caplog.text


def test_commands_of_typer_are_flows(web, spans, caplog):
    testing = pytest.importorskip("typer.testing", reason="not installed: otelflow[cli]")
    module = web(TYPER)
    result = testing.CliRunner().invoke(module.app, ["order", "2", "--more", "3"])

    assert (result.exit_code, result.output) == (0, "5\n")
    assert spans.tree() == [("flow before", "success", []), ("flow order", "success", [])]
    assert "kept the function" not in caplog.text


CLICK = """
    import click

    @click.group()
    @click.option("--loud", is_flag=True)
    def cli(loud):
        pass

    @cli.command()
    @click.argument("number", type=int)
    @click.pass_context
    def order(context, number):
        context.exit(number)
"""


def test_commands_of_click_are_flows(web, spans, caplog):
    testing = pytest.importorskip("click.testing", reason="not installed: otelflow[cli]")
    module = web(CLICK)
    result = testing.CliRunner().invoke(module.cli, ["--loud", "order", "3"])
    names = OtelflowInstrumentor().functions
    OtelflowInstrumentor().uninstrument()
    testing.CliRunner().invoke(module.cli, ["order", "3"])

    assert (result.exit_code, names) == (3, ["shop.web:cli", "shop.web:order"])
    assert [span.name for span in spans.spans] == ["flow cli", "flow order"]
    assert "kept the function" not in caplog.text


def test_what_a_framework_was_given_it_calls_as_it_was_when_instrumentation_ends(web, spans):
    pytest.importorskip("flask", reason="not installed: otelflow[frameworks]")
    module = web(FLASK)
    OtelflowInstrumentor().uninstrument()
    module.app.register_blueprint(module.pages)
    client = module.app.test_client()

    assert [client.get(path).text for path in ("/orders/2", "/pages/page")] == ["2", "page"]
    assert spans.spans == []


def test_a_module_that_took_a_function_while_its_module_was_imported_calls_the_flow(shop, web, spans, caplog):
    (shop / "shop" / "other.py").write_text("from shop.web import order\n\ndef both():\n    return order() + 1\n")
    module = web("def order():\n    return 1\n\nfrom shop import other\n", flows=["shop.web:order"])

    assert module.other.both() == 2
    assert spans.tree() == [("flow order", "success", [])]
    assert "kept the function" not in caplog.text


KEPT = """
    import dataclasses
    import functools
    import weakref

    table = []

    def keep(function):
        table.append(function)
        return function

    def mark(function):
        function.mark = True
        return function

    @keep
    def kept(): pass

    @mark
    def marked(): return marked

    def receiver(): pass

    signal = weakref.WeakSet([receiver])

    def plain(): return alone()

    def alone(): return plain

    alias = alone

    class Client:
        @keep
        def charge(self): pass

        @staticmethod
        @keep
        def rate(): pass

        @staticmethod
        def alone(): pass

        @classmethod
        def make(cls): return cls()

        def refund(self): return super()

        pay = refund

    @functools.lru_cache
    def cached(): pass

    def wrapped(function):
        @functools.wraps(function)
        def inner(): return function()
        return inner

    @wrapped
    def outer(): pass

    partial = functools.partial(plain)

    @dataclasses.dataclass(slots=True)
    class Point:
        x: int

        def norm(self): return self.x
"""


def test_a_function_that_something_has_kept_is_said_and_no_other(web, caplog):
    web(KEPT, tasks=["shop.web:*", "shop.web:*.*"])

    [record] = [record for record in caplog.records if "kept the function" in record.getMessage()]
    names = record.getMessage().partition(": ")[0].split(", ")
    assert names == [
        "shop.web:kept",
        "shop.web:receiver",
        "shop.web:plain",
        "shop.web:Client.charge",
        "shop.web:Client.rate",
    ]


def test_a_module_that_was_imported_before_is_asked_who_holds_its_functions_too(shop, web, caplog):
    (shop / "shop" / "web.py").write_text(textwrap.dedent(KEPT))
    importlib.import_module("shop.web")
    OtelflowInstrumentor().instrument(tasks=["shop.web:kept", "shop.web:marked"])

    [message] = [text for record in caplog.records if "kept the function" in (text := record.getMessage())]
    assert message.startswith("shop.web:kept: something")


def test_many_are_named_in_one_line(web, caplog):
    lines = [f"def f{number}(): pass\ntable.append(f{number})\n" for number in range(7)]
    web("table = []\n" + "".join(lines))

    assert "shop.web:f0, shop.web:f1, shop.web:f2, shop.web:f3, shop.web:f4 and 2 more: something" in caplog.text


def test_an_application_in_a_module_that_is_named_is_asked(shop, web, spans):
    pytest.importorskip("flask", reason="not installed: otelflow[frameworks]")
    (shop / "shop" / "base.py").write_text("from flask import Flask\n\napp = Flask(__name__)\n")
    module = web("import shop.base as base\n\n@base.app.route('/')\ndef order():\n    return 'kiwi'\n")

    assert module.base.app.test_client().get("/").text == "kiwi"
    assert spans.tree() == [("flow order", "success", [])]


def test_where_references_are_not_counted_nobody_is_suspected(monkeypatch):
    monkeypatch.delattr("sys.getrefcount")

    assert _holders.other_holders(list(_holders.places(_holders._Probe, ""))) == [0] * len(vars(_holders._Probe))


DEPENDENCIES = """
    from typing import Annotated
    from fastapi import APIRouter, Depends, FastAPI

    def database():
        return "real"

    Database = Annotated[str, Depends(database)]

    def user(database: str = Depends(database)):
        return f"user of {database}"

    class Session:
        @staticmethod
        def open():
            return "open"

    app = FastAPI()

    @app.get("/here", dependencies=[Depends(user)])
    def here(database: Database, same: str = Depends(database)):
        return database + same

    @app.get("/session")
    def session(session: str = Depends(Session.open)):
        return session
"""
USERS = """
    from fastapi import Depends
    from shop.web import Database, app, user

    @app.get("/there")
    def there(database: Database, user: str = Depends(user)):
        return f"{user} with {database}"
"""


def test_what_fastapi_depends_on_is_called_as_a_task_once_and_can_be_replaced_by_its_name(shop, web, spans, caplog):
    testclient = pytest.importorskip("fastapi.testclient", reason="not installed: otelflow[frameworks]")
    (shop / "shop" / "users.py").write_text(textwrap.dedent(USERS))
    module = web(DEPENDENCIES, tasks=["shop.*:database", "shop.*:user", "shop.web:Session.open"])
    importlib.import_module("shop.users")
    client = testclient.TestClient(module.app)
    answers = [client.get(path).json() for path in ("/here", "/there")]
    assert client.get("/session").json() == "open"
    ran = [span.name for span in spans.spans]
    module.app.dependency_overrides[module.database] = lambda: "fake"
    faked = [client.get(path).json() for path in ("/here", "/there")]

    assert answers == ["realreal", "user of real with real"]
    assert ran == [*["task database", "task user"] * 2, "task open"]
    assert faked == ["fakefake", "user of fake with fake"]
    assert "kept the function" not in caplog.text

    OtelflowInstrumentor().uninstrument()
    ran = len(spans.spans)
    assert [client.get(path).json() for path in ("/here", "/there")] == faked
    module.app.dependency_overrides.clear()
    assert [client.get(path).json() for path in ("/here", "/there")] == answers
    assert len(spans.spans) == ran
