"""What a flow for each request adds to a web server: ``web_requests.py [--rounds N] [--requests N]``.

uvicorn and gunicorn on loopback, with the middleware and without it, are asked in turns by one client, one request
after the other; printed are the median and the 99th percentile of their latency and their throughput, as ratios. The
handler waits ten milliseconds, as for a database or another service; with ``--wait 0`` it does nothing.
"""

import argparse
import http.client
import statistics
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.ports import free_ports
from support.programs import end, start

PROGRAM = """
    import asyncio, os, time
    import otelflow
    from otelflow import task
    from otelflow.integrations import asgi, wsgi

    WAIT = float(os.environ["WAIT"])

    def answer(environ, start_response):
        time.sleep(WAIT)
        start_response("200 OK", [("Content-Length", "3")])
        return [b"0.5"]

    async def answer_async(scope, receive, send):
        if scope["type"] == "lifespan":
            for step in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{step}.complete"})
            return
        await asyncio.sleep(WAIT)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"3")]})
        await send({"type": "http.response.body", "body": b"0.5"})

    if os.environ.get("WITH"):
        otelflow.configure(service_name="shop", store=True, metrics="registry")
        answer, answer_async = wsgi.FlowMiddleware(answer), asgi.FlowMiddleware(answer_async)
"""
SERVERS = {
    "uvicorn": ("uvicorn", "--log-level", "critical", "--no-access-log", "--port", "{port}", "web:answer_async"),
    "gunicorn": (
        "gunicorn",
        "--log-level",
        "critical",
        "--threads",
        "2",
        "-b",
        "127.0.0.1:{port}",
        "web:answer",
    ),
}


@contextmanager
def serving(command: tuple[str, ...], folder: Path, **environment: object) -> Iterator[http.client.HTTPConnection]:
    """Start a server, and return a connection to it."""
    [port] = free_ports(1)
    module, *options = (part.format(port=port) for part in command)
    process = start(sys.executable, "-m", module, *options, cwd=folder, PYTHONPATH=folder, **environment)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        latest = time.monotonic() + 30
        while True:
            try:
                connection.connect()
                break
            except OSError:
                if time.monotonic() > latest or process.poll() is not None:
                    raise
                time.sleep(0.05)
        yield connection
    finally:
        connection.close()
        process.terminate()
        end(process)


def latencies(connection: http.client.HTTPConnection, count: int) -> list[float]:
    """Return the seconds of *count* requests."""
    connection.close()  # the other server has had its turn meanwhile, and gunicorn ends what is idle for two seconds
    connection.connect()
    seconds = []
    for _ in range(count):
        began = time.perf_counter()
        connection.request("GET", "/")
        answer = connection.getresponse()
        if (answer.status, answer.read()) != (200, b"0.5"):
            raise SystemExit(f"the server answered {answer.status}")
        seconds.append(time.perf_counter() - began)
    return seconds


def main() -> None:
    """Print one line for each server."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--requests", type=int, default=100, help="of each server in a round")
    parser.add_argument("--wait", type=float, default=10.0, help="milliseconds that the handler waits")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "web.py").write_text(textwrap.dedent(PROGRAM))
        environment = {"WAIT": options.wait / 1_000, "OTELFLOW_STORE": folder / "store"}
        for server, command in SERVERS.items():
            bare: list[float] = []
            traced: list[float] = []
            with serving(command, folder, **environment) as one, serving(command, folder, WITH=1, **environment) as two:
                for _ in range(2):
                    latencies(one, 50), latencies(two, 50)
                for _ in range(options.rounds):
                    bare += latencies(one, options.requests)
                    traced += latencies(two, options.requests)
            median, last = (
                statistics.quantiles(traced, n=100)[place] / statistics.quantiles(bare, n=100)[place]
                for place in (49, 98)
            )
            sys.stdout.write(
                f"{server}  median {median:.2f}  p99 {last:.2f}  throughput {sum(bare) / sum(traced):.2f}"
                f"  added ms {1_000 * (statistics.median(traced) - statistics.median(bare)):.2f}\n"
            )


if __name__ == "__main__":
    main()
