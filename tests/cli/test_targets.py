import otelflow
from otelflow import Flow, Task, flow, task
from otelflow._cli import _targets as targets


def test_decorated_functions_are_told_apart_from_tasks_and_plain_functions():
    class Work(Flow):
        def main(self): ...

        @flow
        def by_method(self): ...

    @flow
    def by_function(): ...

    @flow(flow_name="named")
    async def with_arguments(): ...

    @flow
    @task
    def flow_over_task(): ...

    @task
    def step(): ...

    flows = [by_function, with_arguments, flow_over_task, Work, Work(), Work().by_method, Flow().setup(print).execute()]
    others = [step, print, Flow, Task, otelflow, 7, lambda: None]
    assert [targets.is_flow(one) for one in flows] == [True] * len(flows)
    assert [targets.is_flow(one) for one in others] == [False] * len(others)


def test_a_windows_path_has_a_colon_of_its_own():
    assert targets.place_of(r"C:\flows\orders.py") == r"C:\flows\orders.py"
    assert targets.place_of(r"C:\flows\orders.py:total") == r"C:\flows\orders.py"
    assert targets.place_of("shop.orders:Total.run") == "shop.orders"
