"""A server that leaves its process no time delivers at its end; the rest is in ``test_services.py``, with real ones."""

import asyncio
import threading
import time
import types

import otelflow
from otelflow.instrument._servers import deliver_after_shutdown


def module_with(shutdown):
    return types.SimpleNamespace(Server=type("Server", (), {"shutdown": shutdown}))


def test_a_server_ends_as_before_and_then_what_waits_is_delivered(monkeypatch):
    order = []
    monkeypatch.setattr(otelflow, "force_flush", lambda millis: order.append(("delivered", millis)))

    async def shutdown(self, sockets=None):
        order.append(("ended", sockets))
        return "done"

    module = module_with(shutdown)
    deliver_after_shutdown(module)

    assert asyncio.run(module.Server().shutdown(sockets=[1])) == "done"
    assert order == [("ended", [1]), ("delivered", 5_000)]


def test_the_loop_goes_on_while_it_waits_and_does_not_wait_for_ever(monkeypatch):
    monkeypatch.setattr("otelflow.instrument._servers._LONGEST_SECONDS", 0.2)
    silent = threading.Event()
    monkeypatch.setattr(otelflow, "force_flush", lambda millis: silent.wait(60))

    async def shutdown(self):
        """End at once."""

    module = module_with(shutdown)
    deliver_after_shutdown(module)

    async def turns():
        ending, count = asyncio.ensure_future(module.Server().shutdown()), 0
        while not ending.done():
            count += 1
            await asyncio.sleep(0.01)
        return count

    began = time.monotonic()
    try:
        assert asyncio.run(turns()) > 1
    finally:
        silent.set()
    assert time.monotonic() - began < 30


def test_a_server_that_is_not_as_uvicorn_s_is_left_as_it_is():
    def shutdown(self):
        """End."""

    module = module_with(shutdown)
    deliver_after_shutdown(module)
    deliver_after_shutdown(types.ModuleType("uvicorn.server"))

    assert module.Server.shutdown is shutdown
