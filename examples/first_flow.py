from otelflow import flow, task


@task
def price(fruit: str) -> float:
    return {"apple": 0.5, "melon": 2.25}[fruit]


@flow
def shopping(budget: float = 3) -> float:
    total = sum(price(fruit) for fruit in ("apple", "melon"))
    print(f"{total} of {budget} spent")
    return budget - total
