"""The same as before.py: what is asked for stands above each function, and every try is in the trace."""

import weather

from otelflow import Task, flow, task, wait
from otelflow.cache_policies import INPUTS


def tell(call: Task) -> None:
    """Say of which city there is no answer."""
    print(f"{call.task_args[0]} is missing")


def is_away(error: Exception) -> bool:
    """Tell whether to ask again; but not a service that takes too long."""
    return isinstance(error, ConnectionError)


@task(
    task_run_name="{city}",
    retries=2,
    retry_delay=[0.05, 0.1],
    retry_condition_fn=is_away,
    timeout=0.5,
    rate_limit={"weather": "20/s"},
    concurrency={"weather": 3},  # both in all processes of this machine
    cache_policy=INPUTS,
    cache_expiration=600,
    on_failure=tell,
)
def degrees(city: str) -> float:
    """Return the degrees in *city*, asked for at most every ten minutes."""
    return weather.degrees(city)


@task(persist_result=True)
def mail(values: dict[str, float]) -> int:
    """Send the report."""
    return weather.mail(values)


@flow(persist_result=True)
def report(cities: list[str]) -> int:
    """Mail the degrees in *cities*, without those of which there are none."""
    futures = degrees.map(cities)
    wait(futures)
    values = {city: future.result() for city, future in zip(cities, futures, strict=True) if future.exception() is None}
    return mail(values)


if __name__ == "__main__":
    print(report(["Bern", "Lima", "Oslo", "Rome", "Atlantis"]).execute().flow_return_value, "cities")
