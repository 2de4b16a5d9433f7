"""A task of Celery is named as its function is written: a worker, and whoever calls it, then run a flow."""

import importlib
import textwrap

import pytest

from otelflow.instrument import OtelflowInstrumentor

pytest.importorskip("celery", reason="not installed: otelflow[frameworks]")

TASKS = """
    from celery import Celery, Task, shared_task

    app = Celery("shop", broker="memory://", backend="cache+memory://", set_as_current=True)
    app.conf.task_always_eager = True
    tries = []

    @app.task
    def charge(amount):
        return amount * 2

    @app.task(bind=True)
    def own_name(self, amount):
        return f"{self.name} {amount}"

    @shared_task
    def refund(amount):
        return -amount

    @app.task(autoretry_for=(OSError,), max_retries=2, retry_backoff=False, default_retry_delay=0)
    def flaky():
        tries.append(1)
        if len(tries) < 3:
            raise OSError("not yet")
        return len(tries)

    class Ship(Task):
        name = "ship"
        def run(self, amount):
            return amount + 1

    ship = app.register_task(Ship())

    class Return(Ship):
        name = "return"

    back = app.register_task(Return())
"""


@pytest.fixture
def tasks(shop):
    """Write the tasks into ``shop.tasks``, and import them, instrumented as is said or not at all."""
    (shop / "shop" / "tasks.py").write_text(textwrap.dedent(TASKS))

    def load(*patterns):
        if patterns:
            OtelflowInstrumentor().instrument(flows=patterns)
        return importlib.import_module("shop.tasks")

    state = importlib.import_module("celery._state")
    earlier = set(state._on_app_finalizers)
    _forget_applications(state)
    yield load
    OtelflowInstrumentor().uninstrument()
    state._on_app_finalizers.intersection_update(earlier)  # shared tasks would be those of the next test's application
    _forget_applications(state)


def _forget_applications(state):
    """Let no application that is still in memory have the shared tasks of the next one."""
    for app in list(state._get_active_apps()):
        state._deregister_app(app)


@pytest.mark.parametrize("is_finalized", [False, True], ids=["made later", "made before"])
def test_what_a_worker_and_a_caller_call_of_a_task_is_a_flow(tasks, spans, is_finalized):
    if is_finalized:
        tasks().app.finalize()
        tasks("shop.tasks:*")
    module = tasks("shop.tasks:*")

    assert module.charge.delay(2).get() == 4
    assert module.charge(3) == 6
    assert module.own_name.delay(1).get() == "shop.tasks.own_name 1"
    assert module.refund.delay(5).get() == -5
    assert spans.tree() == [
        ("flow charge", "success", []),
        ("flow charge", "success", []),
        ("flow own_name", "success", []),
        ("flow refund", "success", []),
    ]


def test_each_try_of_a_task_that_is_tried_again_by_itself_is_a_flow(tasks, spans):
    module = tasks("shop.tasks:flaky")

    assert module.flaky.delay().get() == 3
    assert sorted(span.attributes["otelflow.run.result"] for span in spans.spans) == ["failure", "failure", "success"]


def test_a_task_that_is_a_class_is_named_by_its_method(tasks, spans):
    module = tasks("shop.tasks:Ship.run")

    assert module.ship.delay(1).get() == 2
    assert spans.tree() == [("flow run", "success", [])]


def test_a_task_whose_class_has_its_method_from_another_is_named_by_itself(tasks, spans):
    module = tasks("shop.tasks:back")

    assert (module.back.delay(1).get(), module.ship.delay(2).get()) == (2, 3)
    assert spans.tree() == [("flow back", "success", [])]
    OtelflowInstrumentor().uninstrument()
    assert module.back(3) == 4
    assert len(spans.spans) == 1


def test_arguments_that_do_not_fit_are_still_refused_by_celery_before_they_are_sent(tasks):
    module = tasks("shop.tasks:charge")

    with pytest.raises(TypeError, match="charge"):
        module.charge.delay(1, 2, 3)


def test_uninstrument_puts_a_task_back_and_nothing_is_wrapped_later(tasks, spans):
    module = tasks("shop.tasks:charge", "shop.tasks:refund")
    module.charge.delay(1).get()
    finalize = type(module.app).finalize
    OtelflowInstrumentor().uninstrument()

    assert (module.charge.delay(2).get(), module.refund.delay(5).get()) == (4, -5)
    assert type(module.app).finalize is not finalize
    assert [span.name for span in spans.spans] == ["flow charge"]
