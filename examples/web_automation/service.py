"""A web service that prints pages: GET /pdf?url=… gives base64 in JSON, and with return_file=true the PDF itself."""

import base64
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI, HTTPException, Response
from fastapi.responses import HTMLResponse
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from playwright.async_api import Error

import otelflow
from browser_flow import PagePdf

PORT = int(os.environ.get("PORT", "8000"))
# A browser opens whatever it can reach, also what only this machine can reach: say what it may.
PAGES = tuple(os.environ.get("PAGES", f"http://127.0.0.1:{PORT}/").split())

# The limit of a value on a span is 8192 characters; a picture needs more.
telemetry = otelflow.configure(service_name=os.environ.get("OTEL_SERVICE_NAME", "printer"), value_limit=100_000)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield
    telemetry.force_flush()  # after SIGTERM uvicorn ends without Python's exit functions


app = FastAPI(title="printer", lifespan=lifespan)
FastAPIInstrumentor.instrument_app(app, excluded_urls="health", exclude_spans=["receive", "send"])


@app.get("/health")
def health() -> dict[str, str]:
    return {"status": "ok"}


@app.get("/", response_class=HTMLResponse)
def page() -> str:
    return "<title>A page</title><h1>To be printed</h1><p>It comes from the service itself.</p>"


@app.get("/pdf", response_model=None)
async def pdf(url: str, *, return_file: bool = False) -> Response | dict[str, str]:
    # The slash counts: http://wiki.example.elsewhere/ is no page of http://wiki.example.
    if not any(url == page or url.startswith(f"{page.rstrip('/')}/") for page in PAGES):
        raise HTTPException(403, f"only {' or '.join(PAGES)} and what is below; PAGES says which")
    printed = PagePdf(url)
    try:
        await printed.print_page()
    except (Error, ConnectionError) as error:
        raise HTTPException(502, str(error).splitlines()[0]) from None
    if return_file:
        name = {"Content-Disposition": "attachment; filename=document.pdf"}
        return Response(printed.document, media_type="application/pdf", headers=name)
    return {"pdf_base64": base64.b64encode(printed.document).decode()}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=PORT)
