"""Methods as flows and tasks: what they share is on the object, and what a flow finds is an artifact."""

from otelflow import INJECTED, Flow, configure, flow, task


class Inventory:
    def __init__(self, stock: dict[str, int]) -> None:
        self.stock = stock

    @task
    def missing(self, basket: dict[str, int]) -> dict[str, int]:
        short = {name: count - self.stock.get(name, 0) for name, count in basket.items()}
        return {name: count for name, count in short.items() if count > 0}

    @flow
    def check(self, basket: dict[str, int], this_flow: Flow = INJECTED) -> int:
        missing = self.missing(basket)
        rows = [{"fruit": name, "missing": count} for name, count in missing.items()]
        this_flow.add_flow_artifact(key="missing", description="What to order", data=rows, artifact_type="table")
        return len(missing)


@flow
def check_inventory(basket: dict[str, int]) -> int:
    """The flow to name on the command line: --param 'basket={"apple": 3, "melon": 1}'."""
    return Inventory({"apple": 2, "melon": 9}).check(basket).execute().flow_return_value


if __name__ == "__main__":
    configure(service_name="inventory")
    print(check_inventory({"apple": 3, "melon": 1}).execute().flow_return_value, "kinds of fruit are missing")
