"""OpenTelemetry's instrumentations of further clients, with real servers: what they ask for is a part of its task."""

import contextlib
import importlib

import pytest

from otelflow import flow, task
from otelflow._core.process import provider
from otelflow.integrations.wsgi import FlowMiddleware
from support.ports import free_ports
from support.servers import parents_of, wait_until, wsgi_serving

WHOLE = [("flow order", None), ("GET", "flow order"), ("flow GET", "GET"), ("task price", "flow GET")]


@task
def price():
    return b"0.5"


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [price()]


@contextlib.contextmanager
def instrumented(module, name):
    instrumentor = getattr(importlib.import_module(f"opentelemetry.instrumentation.{module}"), name)()
    instrumentor.instrument(tracer_provider=provider._chosen.override)
    try:
        yield
    finally:
        instrumentor.uninstrument()


def test_a_request_of_urllib3_is_a_part_of_the_flow_and_the_flow_of_the_server_is_a_part_of_it(spans, installed):
    installed("urllib3", "opentelemetry.instrumentation.urllib3")
    import urllib3

    @flow
    def order(url):
        with urllib3.PoolManager() as pool:
            return pool.request("GET", url, retries=False, timeout=20).data

    with instrumented("urllib3", "URLLib3Instrumentor"), wsgi_serving(FlowMiddleware(application)) as url:
        assert order(url).execute().flow_return_value == b"0.5"
        wait_until(lambda: spans.open_spans == 0)

    assert parents_of(spans) == WHOLE


def test_a_request_of_aiohttp_is_a_part_of_the_flow_and_the_flow_of_the_server_is_a_part_of_it(spans, installed):
    installed("aiohttp", "opentelemetry.instrumentation.aiohttp_client")
    import aiohttp

    @flow
    async def order(url):
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return await answer.read()

    with (
        instrumented("aiohttp_client", "AioHttpClientInstrumentor"),
        wsgi_serving(FlowMiddleware(application)) as url,
    ):
        assert order(url).execute().flow_return_value == b"0.5"
        wait_until(lambda: spans.open_spans == 0)

    assert parents_of(spans) == WHOLE


@pytest.fixture
def redis_port(tools, tmp_path):
    """The port of a Redis that keeps nothing."""
    [port] = free_ports(1)
    log = tmp_path / "redis.log"
    options = ("--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", tmp_path)

    def accepts():
        return "Ready to accept connections" in log.read_text()

    with tools.running("Redis", [tools.program("redis-server"), *options], ready=accepts, log=log):
        yield port


def test_commands_of_redis_are_parts_of_the_task_that_gives_them(spans, installed, redis_port):
    installed("redis", "opentelemetry.instrumentation.redis")
    import redis

    @task
    def save():
        with redis.Redis(port=redis_port) as store, store.pipeline() as pipeline:
            store.set("apple", "0.5")
            pipeline.get("apple")
            pipeline.get("kiwi")
            return pipeline.execute()

    @flow
    def order():
        return save()

    with instrumented("redis", "RedisInstrumentor"):
        assert order().execute().flow_return_value == [b"0.5", None]

    assert ("SET", "task save") in parents_of(spans)
    assert {parent for name, parent in parents_of(spans) if not name.startswith(("task", "flow"))} == {"task save"}


@pytest.mark.parametrize("is_async", [False, True])
def test_statements_of_psycopg_are_parts_of_the_task_that_sends_them(spans, installed, postgres, is_async):
    installed("psycopg", "opentelemetry.instrumentation.psycopg")
    import psycopg

    address = postgres.replace("+psycopg", "")

    @task
    def save():
        with psycopg.connect(address) as connection:
            return connection.execute("SELECT 1").fetchone()

    @task
    async def save_async():
        async with await psycopg.AsyncConnection.connect(address) as connection:
            return await (await connection.execute("SELECT 1")).fetchone()

    @flow
    def order():
        return save()

    @flow
    async def order_async():
        return await save_async()

    with instrumented("psycopg", "PsycopgInstrumentor"):
        assert (order_async if is_async else order)().execute().flow_return_value == (1,)

    outer, inner, *statements = parents_of(spans)
    assert (outer[1], inner[1]) == (None, outer[0])
    assert set(statements) == {("SELECT", inner[0])}
