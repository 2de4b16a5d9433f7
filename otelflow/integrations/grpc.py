"""gRPC: each call that a server answers is a flow, in the trace of its caller."""

import contextlib
import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace

from otelflow import continue_trace, semconv
from otelflow.errors import ClientGone, MissingExtra, ServerError
from otelflow.integrations._requests import Flows, FlowsByName, joined
from otelflow.integrations._steps import Steps

if TYPE_CHECKING:
    import grpc
    import grpc.aio

__all__ = ["aio_flow_interceptor", "flow_interceptor"]

_END: Final = object()
# The statuses by which a server says that it failed itself, as OpenTelemetry's conventions for gRPC have it
_FAILURES: Final = {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}


def flow_interceptor(*, flows: Flows = True) -> "grpc.ServerInterceptor":
    """Make a flow of each call that a server answers: ``grpc.server(pool, interceptors=[flow_interceptor()])``.

    *flows*: True names the flow by the method, such as ``shop.Orders/Create``; a function gets that, and returns the
    name of the flow, or None where there is to be none (for health checks, say); with False, only the trace of the
    caller goes on.

    A span that OpenTelemetry's interceptor has made of the call is the parent, if that stands before this one; else the
    caller's metadata tell it. An exception is a failed run, and so is a status that tells of a failure of the server
    (``UNKNOWN``, ``INTERNAL``, ``UNAVAILABLE`` and the like); ``context.abort(NOT_FOUND)`` is an answer. A stream is
    one flow, until its last message.

    Returns an interceptor. Raises ConfigurationError for an argument that cannot be used, MissingExtra where grpcio is
    not installed.

    >>> from concurrent.futures import ThreadPoolExecutor
    >>> import grpc
    >>> from otelflow.integrations.grpc import flow_interceptor
    >>> server = grpc.server(ThreadPoolExecutor(4), interceptors=[flow_interceptor()])
    """
    calls = _Calls(flows)
    import grpc  # noqa: PLC0415 it is there: _Calls has looked

    class FlowInterceptor(grpc.ServerInterceptor):  # type: ignore[misc]  # it has no types
        def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
            return calls.intercepted(continuation(details), details)

    return FlowInterceptor()


def aio_flow_interceptor(*, flows: Flows = True) -> "grpc.aio.ServerInterceptor":
    """Do as ``flow_interceptor`` for a server of ``grpc.aio``; arguments and errors are the same.

    >>> import grpc.aio
    >>> from otelflow.integrations.grpc import aio_flow_interceptor
    >>> def serve():
    ...     return grpc.aio.server(interceptors=[aio_flow_interceptor()])
    """
    calls = _Calls(flows)
    import grpc.aio  # noqa: PLC0415 see above

    class AioFlowInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # it has no types
        async def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
            return calls.intercepted(await continuation(details), details)

    return AioFlowInterceptor()


class _Calls:
    """How one server sees its calls: as flows or not, and as which."""

    def __init__(self, flows: Flows) -> None:
        self._flows: Final = FlowsByName("flow_interceptor", flows)
        try:
            import grpc  # noqa: PLC0415 only where it is installed
        except ModuleNotFoundError:
            raise MissingExtra("grpc") from None
        self._grpc: Final = grpc

    def intercepted(self, handler: Any, details: Any) -> Any:
        """Return *handler*, or one that runs it as a flow; None if the server knows no such method."""
        if handler is None:
            return None
        streams = (handler.request_streaming, handler.response_streaming)
        way = "_".join("stream" if is_stream else "unary" for is_stream in streams)
        behavior = getattr(handler, way)
        kind: type[_Call] = _Stream if handler.response_streaming else _Unary
        if inspect.isasyncgenfunction(behavior):
            kind = _AioStream
        elif inspect.iscoroutinefunction(behavior):  # which may write a stream itself
            kind = _AioUnary
        method = details.method.lstrip("/")
        metadata = details.invocation_metadata or ()
        headers = joined((name, value) for name, value in metadata if isinstance(value, str))
        runner = self._flows.runner(kind.run, method, method) or kind.run
        answer = functools.partial(kind.answer, functools.partial(kind, behavior, runner, method, headers))
        make_handler = getattr(self._grpc, f"{way}_rpc_method_handler")
        return make_handler(answer, handler.request_deserializer, handler.response_serializer)


class _SyncContext:
    """What a server of ``grpc.aio`` gives plain functions, which does not tell the status that they set."""

    def __init__(self, context: Any) -> None:
        self._context: Final = context
        self._code: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def code(self) -> Any:
        """Return the status that the call has, or None."""
        return self._code

    def set_code(self, code: Any) -> None:
        """Do as the context does, and remember it."""
        self._code = code
        self._context.set_code(code)

    def abort(self, code: Any, *args: Any, **kwargs: Any) -> Any:
        """Do as the context does, which raises, and remember why."""
        self._code = code
        return self._context.abort(code, *args, **kwargs)


_MakeCall = Callable[[Any, Any], Any]


class _Call:
    """One call: the function that answers it, its response, and the refusal that is no failure of its run."""

    def __init__(
        self,
        behavior: Callable[..., Any],
        runner: Callable[..., Any],
        method: str,
        headers: dict[str, str],
        request: Any,
        context: Any,
    ) -> None:
        self.behavior: Final = behavior
        self.runner: Final = runner
        self.method: Final = method
        self.headers: Final = headers
        self.request: Final = request
        self.context: Final = context if hasattr(context, "code") else _SyncContext(context)
        self.response: Any = None
        self.refusal: BaseException | None = None

    def run(self) -> Any:
        """The body of the call's flow."""
        raise NotImplementedError

    @staticmethod
    def answer(make_call: _MakeCall, request: Any, context: Any) -> Any:
        """Answer the server, which sees of what kind this function is."""
        raise NotImplementedError

    def describe(self) -> None:
        """Write on the span of the run what is called."""
        span = trace.get_current_span()
        span.set_attribute(semconv.RPC_SYSTEM, "grpc")
        span.set_attribute(semconv.RPC_METHOD, self.method)

    def end(self, error: BaseException | None = None) -> None:
        """Write down the status. Raises *error*, or ServerError, where the server has failed."""
        code = self.context.code()
        if isinstance(code, int) and code:  # of grpc.aio
            import grpc  # noqa: PLC0415 it runs the server

            code = {status.value[0]: status for status in grpc.StatusCode}.get(code, grpc.StatusCode.UNKNOWN)
        name = code.name if code else "OK" if error is None else "UNKNOWN"
        trace.get_current_span().set_attribute(semconv.RPC_STATUS, name)
        if name in _FAILURES:
            raise error or ServerError(name)
        self.refusal = error

    def refuse(self) -> None:
        """Raise what the call was refused with, if it was; its run has succeeded."""
        if self.refusal is not None:
            raise self.refusal


class _Unary(_Call):
    def run(self) -> None:
        self.describe()
        try:
            self.response = self.behavior(self.request, self.context)
        except Exception as error:  # noqa: BLE001 it is raised again, here or after the run
            self.end(error)
        else:
            self.end()

    @staticmethod
    def answer(make_call: _MakeCall, request: Any, context: Any) -> Any:
        call = make_call(request, context)
        with continue_trace(call.headers), contextlib.suppress(ServerError):  # the caller has the answer
            call.runner(call)
        call.refuse()
        return call.response


class _AioUnary(_Call):
    async def run(self) -> None:
        self.describe()
        try:
            self.response = await self.behavior(self.request, self.context)
        except Exception as error:  # noqa: BLE001 see above
            self.end(error)
        else:
            self.end()

    @staticmethod
    async def answer(make_call: _MakeCall, request: Any, context: Any) -> Any:
        call = make_call(request, context)
        with continue_trace(call.headers), contextlib.suppress(ServerError):
            await call.runner(call)
        call.refuse()
        return call.response


class _Stream(_Call):
    def run(self) -> Generator[Any, None, None]:
        self.describe()
        try:
            yield from self.behavior(self.request, self.context)
        except GeneratorExit:  # the server takes no more
            raise ClientGone from None
        except Exception as error:  # noqa: BLE001 see above
            self.end(error)
        else:
            self.end()

    @staticmethod
    def answer(make_call: _MakeCall, request: Any, context: Any) -> Steps[Any]:
        call = make_call(request, context)

        def steps() -> Generator[Any, None, None]:
            continue_trace(call.headers).__enter__()  # the context is this stream's own
            with contextlib.suppress(ServerError, ClientGone):
                yield from call.runner(call)
            call.refuse()

        return Steps(steps())


class _AioStream(_Call):
    async def run(self) -> AsyncGenerator[Any, None]:
        self.describe()
        try:
            async for response in self.behavior(self.request, self.context):
                yield response
        except GeneratorExit:
            raise ClientGone from None
        except Exception as error:  # noqa: BLE001 see above
            self.end(error)
        else:
            self.end()

    @staticmethod
    async def answer(make_call: _MakeCall, request: Any, context: Any) -> AsyncGenerator[Any, None]:
        call = make_call(request, context)
        responses = call.runner(call)
        try:
            with contextlib.suppress(ServerError):
                # The run begins with its first step; nothing of ours may stay current.
                with continue_trace(call.headers):
                    response = await anext(responses, _END)
                while response is not _END:
                    yield response
                    response = await anext(responses, _END)
        finally:
            with contextlib.suppress(ClientGone):  # which the server knows
                await responses.aclose()
        call.refuse()
