"""A run that has ended is gone."""

import gc
import weakref

from otelflow import flow_events
from otelflow._core.inside import listeners
from support.flows import total


def test_nothing_of_a_finished_flow_is_kept():
    before = (len(flow_events.event_listeners), len(listeners.listeners()))
    finished = [weakref.ref(total(number).execute()) for number in range(50)]
    gc.collect()

    assert [reference for reference in finished if reference() is not None] == []
    assert (len(flow_events.event_listeners), len(listeners.listeners())) == before
