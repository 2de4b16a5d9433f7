"""What a decorated function is."""

import sys

from otelflow._core.flows.calls import call_of


def test_a_call_hands_on_its_arguments_and_the_frame_that_it_came_from():
    call = call_of(lambda *parts: parts)

    args, kwargs, frame = call(1, [2], three=3)

    assert (args, kwargs) == ((1, [2]), {"three": 3})
    assert frame is sys._getframe()
