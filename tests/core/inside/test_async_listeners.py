"""A listener that would never be called is refused."""

import pytest

from otelflow import Listener, add_listener, errors, flow_events


class Async(Listener):
    async def on_flow_stop(self, event):
        """Is never awaited."""


class Yields(Listener):
    def on_event(self, event):
        yield event


class AsyncNotify:
    def wants(self, event_type):
        return True

    async def notify(self, event):
        """Is never awaited."""


async def hear(event):
    """Is never awaited."""


class Hears:
    async def __call__(self, event):
        """Is never awaited."""


@pytest.mark.parametrize("kind", [Async, Yields, AsyncNotify])
def test_a_listener_with_an_async_hook_is_refused(kind):
    with pytest.raises(errors.InvalidListener, match="plain def"):
        add_listener(kind())


@pytest.mark.parametrize("listener", [hear, Hears()])
@pytest.mark.parametrize("way", ["append", "extend", "insert", "assign"])
def test_an_async_callable_is_refused_by_the_hub(listener, way):
    add = {
        "append": lambda: flow_events.event_listeners.append(listener),
        "extend": lambda: flow_events.event_listeners.extend([print, listener]),
        "insert": lambda: flow_events.event_listeners.insert(0, listener),
        "assign": lambda: setattr(flow_events, "event_listeners", [listener]),
    }[way]

    with pytest.raises(errors.InvalidListener, match="plain def"):
        add()

    assert flow_events.event_listeners == []
