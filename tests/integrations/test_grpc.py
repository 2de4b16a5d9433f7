import asyncio
import sys
from concurrent import futures
from contextlib import contextmanager

import pytest

from otelflow import flow, task, trace_headers
from otelflow.errors import ConfigurationError, MissingExtra
from otelflow.integrations.grpc import aio_flow_interceptor, flow_interceptor
from support.servers import wait_until

grpc = pytest.importorskip("grpc", reason="not installed: pip install 'otelflow[grpc]'")
aio = pytest.importorskip("grpc.aio", reason="not installed: pip install 'otelflow[grpc]'")

PARENT = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
TRACE = 0x4BF92F3577B34DA6A3CE929D0E0E4736


@task
def price(fruit):
    return b"0.5 " + fruit


class Shop:
    """What a server answers, as functions."""

    def unary_unary(self, request, context):
        return self.answer(price(request), context)

    def stream_unary(self, requests, context):
        return self.answer(b" ".join(price(request) for request in requests), context)

    def unary_stream(self, request, context):
        yield from price(request).split()
        while b"endless" in request:
            yield b"more"
        self.answer(b"", context)

    def stream_stream(self, requests, context):
        for request in requests:
            yield price(request)
        self.answer(b"", context)

    @staticmethod
    def answer(response, context):
        if b"rotten" in response:
            raise ValueError("rotten")
        if b"unknown" in response:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such fruit")
        if b"broken" in response:
            context.set_code(grpc.StatusCode.INTERNAL)
        return response


class AioShop:
    """The same, for asyncio."""

    async def unary_unary(self, request, context):
        return await self.answer(price(request), context)

    async def stream_unary(self, requests, context):
        return await self.answer(b" ".join([price(request) async for request in requests]), context)

    async def unary_stream(self, request, context):
        for part in price(request).split():
            yield part
        while b"endless" in request:
            yield b"more"
        await self.answer(b"", context)

    async def stream_stream(self, requests, context):
        async for request in requests:
            yield price(request)
        await self.answer(b"", context)

    @staticmethod
    async def answer(response, context):
        if b"rotten" in response:
            raise ValueError("rotten")
        if b"unknown" in response:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such fruit")
        if b"broken" in response:
            context.set_code(grpc.StatusCode.INTERNAL)
        return response


WAYS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")


def handlers_of(shop):
    handlers = {way: getattr(grpc, f"{way}_rpc_method_handler")(getattr(shop, way)) for way in WAYS}
    return grpc.method_handlers_generic_handler("Shop", handlers)


def ask(port, way, *fruits, metadata=PARENT):
    """Call a method from a thread of its own, and return what it answers, as a list, and its status."""
    takes_stream, gives_stream = (part == "stream" for part in way.split("_"))
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = getattr(channel, way)(f"/Shop/{way}")
        argument = iter(fruits) if takes_stream else fruits[0]
        try:
            if gives_stream:
                return list(call(argument, timeout=20, metadata=list(metadata.items()))), grpc.StatusCode.OK
            return [call(argument, timeout=20, metadata=list(metadata.items()))], grpc.StatusCode.OK
        except grpc.RpcError as error:
            return None, error.code()


@contextmanager
def serving(**options):
    server = grpc.server(
        futures.ThreadPoolExecutor(2), handlers=[handlers_of(Shop())], interceptors=[flow_interceptor(**options)]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait(10)


def ask_aio(*asks, shop=AioShop, **options):
    """Serve with asyncio, and return what each of *asks* gets."""

    async def serve():
        pool = futures.ThreadPoolExecutor(2)
        server = aio.server(pool, interceptors=[aio_flow_interceptor(**options)])
        server.add_generic_rpc_handlers([handlers_of(shop())])
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            return [await asyncio.to_thread(ask, port, *each) for each in asks]
        finally:
            await server.stop(None)
            await asyncio.to_thread(pool.shutdown)

    return asyncio.run(serve())


def ask_aio_with_plain_functions(*asks, **options):
    """Do the same with functions that are no coroutines, for which such a server has threads."""
    return ask_aio(*asks, shop=Shop, **options)


def ask_threads(*asks, **options):
    with serving(**options) as port:
        return [ask(port, *each) for each in asks]


BOTH = pytest.mark.parametrize("ask_server", [ask_threads, ask_aio])
ALL = pytest.mark.parametrize("ask_server", [ask_threads, ask_aio, ask_aio_with_plain_functions])


def runs_of(spans, count):
    """Wait for *count* flows; return the name, result and status of each, in the order in which they began."""
    wait_until(lambda: len(flows_of(spans)) >= count and spans.open_spans == 0)
    return [
        (span.name, span.attributes["otelflow.run.result"], span.attributes.get("rpc.response.status_code"))
        for span in sorted(flows_of(spans), key=lambda span: span.start_time)
    ]


def flows_of(spans):
    return [span for span in spans.spans if span.name.startswith("flow ")]


@ALL
def test_each_call_of_each_kind_is_one_flow_in_the_trace_of_its_caller(spans, ask_server):
    answers = ask_server(*[(way, b"apple") for way in WAYS])

    assert answers == [
        ([b"0.5 apple"], grpc.StatusCode.OK),
        ([b"0.5", b"apple"], grpc.StatusCode.OK),
        ([b"0.5 apple"], grpc.StatusCode.OK),
        ([b"0.5 apple"], grpc.StatusCode.OK),
    ]
    assert runs_of(spans, 4) == [(f"flow Shop/{way}", "success", "OK") for way in WAYS]
    assert {span.context.trace_id for span in spans.spans} == {TRACE}
    flows = {span.context.span_id for span in flows_of(spans)}
    assert {span.parent.span_id for span in spans.named("task price")} == flows


@ALL
@pytest.mark.parametrize(
    ("fruit", "result", "status"),
    [
        (b"rotten", "failure", "UNKNOWN"),
        (b"unknown", "success", "NOT_FOUND"),
        (b"broken", "failure", "INTERNAL"),
    ],
)
def test_a_run_fails_as_the_server_does_and_the_caller_gets_what_it_got_without_a_flow(
    spans, ask_server, fruit, result, status
):
    [answer] = ask_server(("unary_unary", fruit))

    assert answer == (None, grpc.StatusCode[status])
    assert runs_of(spans, 1) == [("flow Shop/unary_unary", result, status)]


def take_one(port, way, fruit):
    """Begin to read a stream, and go away."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stream = getattr(channel, way)(f"/Shop/{way}")(fruit, timeout=20)
        first = next(stream)
        stream.cancel()
        return first


@BOTH
def test_a_stream_ends_its_flow_when_its_caller_goes_away(spans, ask_server, monkeypatch, caplog):
    monkeypatch.setattr(sys.modules[__name__], "ask", take_one)

    assert ask_server(("unary_stream", b"endless")) == [b"0.5"]
    [(name, result, status)] = runs_of(spans, 1)

    assert (name, status) == ("flow Shop/unary_stream", None)
    assert result == "cancellation"  # as the server closes the generator, or cancels it
    assert "Failed to detach context" not in caplog.text


@BOTH
def test_a_function_names_the_flows_and_leaves_some_out(spans, ask_server):
    names = {"Shop/unary_unary": "price"}
    ask_server(("unary_unary", b"apple"), ("stream_unary", b"apple"), flows=names.get)

    assert runs_of(spans, 1) == [("flow price", "success", "OK")]
    assert len(spans.named("task price")) == 2


@ALL
def test_without_flows_the_trace_of_the_caller_goes_on(spans, ask_server):
    ask_server(*[(way, b"apple") for way in WAYS], flows=False)
    wait_until(lambda: len(spans.named("task price")) == 4)

    assert [span.name for span in spans.spans] == ["task price"] * 4
    assert {span.context.trace_id for span in spans.spans} == {TRACE}


def test_a_flow_that_calls_sends_its_trace_as_metadata(spans):
    with serving() as port:

        @flow
        def order():
            return ask(port, "unary_unary", b"apple", metadata=trace_headers())

        order().execute()
        runs_of(spans, 2)

    spans.assert_tree("order > 'Shop/unary_unary' > price")


def test_a_method_that_the_server_does_not_have_is_no_flow(spans):
    with serving() as port, grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        error = channel.unary_unary("/Shop/none").future(b"", timeout=20).exception()

    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert spans.spans == []


@pytest.mark.parametrize("make", [flow_interceptor, aio_flow_interceptor])
def test_an_argument_that_cannot_be_used_is_refused_and_a_missing_package_named(make, monkeypatch):
    with pytest.raises(ConfigurationError, match="flows must be True, False, or a plain function"):
        make(flows="shop")
    monkeypatch.setitem(sys.modules, "grpc", None)
    with pytest.raises(MissingExtra, match=r"otelflow\[grpc\]"):
        make()
