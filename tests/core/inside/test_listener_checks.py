"""A listener with a mistake is refused when it is added, with what is wrong and the cure."""

import pytest

from otelflow import Listener, add_listener
from otelflow._core.inside import listeners
from otelflow.errors import InvalidListener


def listener_with(*names, base=Listener):
    return type("Mine", (base,), {name: lambda self, event: None for name in names})


@pytest.mark.parametrize(
    ("candidate", "says"),
    [
        (listener_with("on_task_stop"), r"^Mine is a class: add a listener that is made of it, Mine\(\)$"),
        (int, "is no listener: subclass otelflow.Listener"),
        (3, "^3 is no listener"),
        (listener_with("on_task_stopp")(), "^Mine has no hook 'on_task_stopp'; did you mean 'on_task_stop'[?]$"),
        (listener_with("on_flow_stat", "on_event")(), "did you mean 'on_flow_start'"),
        (listener_with()(), "^Mine has no hook: override"),
    ],
)
def test_what_would_never_hear_is_refused_with_the_cure(candidate, says):
    with pytest.raises(InvalidListener, match=says):
        add_listener(candidate)

    assert listeners.listeners() == ()


@pytest.mark.parametrize("own", ["on_message_sent", "on__task_stopp", "task_stopp", "on_start"])
def test_names_of_the_users_own_are_no_mistake(own):
    listener = listener_with("on_task_stop", own)()
    add_listener(listener)

    assert listeners.listeners() == (listener,)
