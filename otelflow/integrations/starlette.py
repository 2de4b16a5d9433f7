"""Starlette and FastAPI: the flow of a request is called by its route."""

from collections.abc import Iterable
from typing import Any

from otelflow.errors import MissingExtra
from otelflow.integrations import asgi
from otelflow.integrations._requests import HEADERS, with_header
from otelflow.integrations._types import AsgiApplication, Message, Receive, Scope, Send

__all__ = ["FlowMiddleware"]


class FlowMiddleware(asgi.FlowMiddleware):
    """Makes a flow of each request of a Starlette or FastAPI application: ``app.add_middleware(FlowMiddleware)``.

    The flow is called ``GET /orders/{fruit}``. It lasts until the answer is sent and its background tasks are done,
    which are parts of it. Keywords, and all the rest, are those of ``otelflow.integrations.asgi.FlowMiddleware``.

    Raises ConfigurationError for a keyword that cannot be used, MissingExtra where neither is installed.

    >>> from otelflow.integrations.starlette import FlowMiddleware
    >>> from starlette.applications import Starlette
    >>> app = Starlette()
    >>> app.add_middleware(FlowMiddleware, metrics_path="/metrics")
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the application does; called by the server."""
        application = scope.get("app")
        layers = getattr(application, "middleware_stack", None)
        if application is not None and layers is not None and type(layers) is not _AroundAll:
            application.middleware_stack = _AroundAll(layers)  # from the next request on: this one is inside already
        await super().__call__(scope, receive, send)

    def route(self, scope: Scope) -> str | None:
        """Return the path of the route that will be chosen, or None where there is none."""
        try:
            from starlette.routing import Match  # noqa: PLC0415 only where it is installed
        except ModuleNotFoundError:
            raise MissingExtra("fastapi") from None
        application = scope.get("app")
        return None if application is None else _path_among(application.routes, dict(scope), Match.FULL)


class _AroundAll:
    """Around all layers of an application: gives the header to the answer that Starlette's own outermost one makes.

    That is the 500 of an exception which nobody handles, and it is made outside of any middleware that is added.
    """

    def __init__(self, app: AsgiApplication) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the application does."""
        headers: list[tuple[str, str]] = []

        async def send_with_header(message: Message) -> None:
            if message["type"] == "http.response.start" and headers:
                message = with_header(message, headers[-1])
            await send(message)

        scope[HEADERS] = headers  # in it, because a layer in between may hand on a copy
        await self.app(scope, receive, send_with_header)


def _path_among(routes: Iterable[Any], scope: dict[str, Any], full: object) -> str | None:
    """Return the path of the first of *routes* that fits, and of the one inside it."""
    for route in routes:
        match, inner_scope = route.matches(scope)
        if match is not full:
            continue
        included = getattr(route, "effective_route_contexts", None)  # FastAPI's, for a router that was included
        if included is not None:
            return _path_among(included(), scope, full)
        path = str(getattr(getattr(route, "starlette_route", None) or route, "path_format", ""))
        inside = getattr(route, "routes", None)
        if inside and (not path or path.endswith("/{path}")):  # of a host, or of a mounted application
            path = path.removesuffix("/{path}") + (_path_among(inside, {**scope, **inner_scope}, full) or "")
        return path or None
    return None
