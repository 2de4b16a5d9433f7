"""A listener that would never be called is refused."""

import functools

import pytest

from otelflow import Listener, add_listener, errors, flow_events, remove_listener


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


class Wrapped(Listener):
    on_event = staticmethod(functools.partial(functools.partial(hear)))


@pytest.mark.parametrize("kind", [Async, Yields, AsyncNotify, Wrapped])
def test_a_listener_with_an_async_hook_is_refused(kind):
    with pytest.raises(errors.InvalidListener, match="plain def"):
        add_listener(kind())


@pytest.mark.parametrize("listener", [hear, Hears(), functools.partial(hear)])
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


@pytest.mark.parametrize(
    "hook", [None, 3, lambda: None, lambda self: None, lambda self, event, more: None, lambda self, *, event: None]
)
def test_a_hook_that_cannot_be_called_with_an_event_is_refused(hook):
    kind = type("Deaf", (Listener,), {"on_task_stop": hook})

    with pytest.raises(errors.InvalidListener, match=r"Deaf\.on_task_stop"):
        add_listener(kind())


@pytest.mark.parametrize("listener", [None, 3, lambda: None, lambda event, more: None])
def test_what_cannot_be_called_with_an_event_is_refused_by_the_hub(listener):
    with pytest.raises(errors.InvalidListener):
        flow_events.event_listeners.append(listener)

    assert flow_events.event_listeners == []


@pytest.mark.parametrize(
    "hook", [lambda self, event: None, lambda *_: None, lambda self, event, more=1: None, staticmethod(print)]
)
def test_a_hook_that_can_be_called_with_an_event_is_taken(hook):
    listener = type("Hears", (Listener,), {"on_task_stop": hook})()

    add_listener(listener)
    remove_listener(listener)
