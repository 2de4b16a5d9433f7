"""Many tasks at once in one event loop: each is a span of its own, and one that fails does not stop the others."""

import asyncio

from otelflow import configure, flow, task


@task(raise_on_error=False)
async def fetch(number: int) -> int:
    await asyncio.sleep(0.01 * number)
    if number == 3:
        raise ConnectionError("page 3 is not there")
    return number * number


@flow
async def fetch_all(count: int = 6) -> list[int]:
    pages = await asyncio.gather(*(fetch(number) for number in range(count)))
    return [page for page in pages if page is not None]


if __name__ == "__main__":
    configure(service_name="fetcher")
    print(fetch_all().execute().flow_return_value)
