"""An ASGI application of which the tests ask: it answers with the status that its path says, in a task."""

from opentelemetry import baggage

from otelflow import task


@task
def price():
    return "0.5"


async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        for step in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{step}"
            await send({"type": f"lifespan.{step}.complete"})
    elif scope["path"] == "/raises":
        raise LookupError("no such fruit")
    elif scope["path"] == "/endless":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while (await receive())["type"] != "http.disconnect":
            await send({"type": "http.response.body", "body": b"x" * 10_000, "more_body": True})
    elif scope["path"] == "/pieces":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"traceresponse", b"mine")]})
        for piece in (b"a", b"b"):
            price()
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})
    else:
        status = int(scope["path"].removeprefix("/") or 200)
        await send({"type": "http.response.start", "status": status})
        await send({"type": "http.response.body", "body": f"{price()} {baggage.get_baggage('who')}".encode()})
