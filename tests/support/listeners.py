"""A listener that writes down what it hears, and a small flow that it may hear of."""

from otelflow import Flow_Run__Event_Type, Listener, flow, task


class Ear(Listener):
    """Writes down what it hears, as ``(type, who, detail)``."""

    def __init__(self):
        self.heard = []

    def on_event(self, event):
        data = event.event_data
        detail = data.result
        if event.event_type is Flow_Run__Event_Type.FLOW_MESSAGE:
            detail = data.data["message_data"]["message_text"]
        self.heard.append((event.event_type.value, data.task_name or data.flow_name, detail))

    def of(self, *kinds):
        return [entry for entry in self.heard if entry[0] in kinds]


@task
def work():
    print("working")
    return 1


@flow
def job(this_flow=None):
    this_flow.add_flow_artifact(key="a", data=1)
    return work()


RUN = [
    ("flow_start", "job", None),
    ("task_start", "work", None),
    ("task_stop", "work", "success"),
    ("flow_stop", "job", "success"),
]


ENDS = ("flow_start", "task_start", "task_stop", "flow_stop")
