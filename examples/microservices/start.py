"""Start the whole shop on this machine, keep it running, and end all of it with Ctrl-C, SIGTERM, or when a part ends.

Needs redis-server in PATH. DATABASE_URL names a PostgreSQL; without it the shop keeps its things in SQLite.
"""

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
READY_SECONDS = 60
STOP_SECONDS = 20
PARTS = ("redis", "order", "stock", "payment", "email")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=8000, help="Redis' port; the services have the next three")
    parser.add_argument("--every", type=float, default=30, help="seconds between rounds of the warehouse's cron job")
    parser.add_argument("--folder", type=Path, help="where logs, e-mails and SQLite go; a new one unless it is said")
    options = parser.parse_args()
    if shutil.which("redis-server") is None:
        sys.exit("redis-server is not in PATH: apt install redis-server")
    # A signal is an exit, so that `finally` ends what was started.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    run_shop(options.port, options.every, (options.folder or Path(tempfile.mkdtemp(prefix="shop-"))).absolute())


def run_shop(port: int, every: float, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    environment = environment_of(port, folder)
    traces = environment.get("OTEL_EXPORTER_OTLP_ENDPOINT") or f"OTELFLOW_STORE={environment['OTELFLOW_STORE']}"
    processes: dict[str, subprocess.Popen[bytes]] = {}
    try:
        subprocess.run([sys.executable, "database.py"], cwd=HERE, env=environment, check=True, timeout=READY_SECONDS)
        for part in PARTS:
            processes[part] = start(part, command(part, port), folder, environment)
        for number, service in enumerate(("order", "stock", "payment"), start=port + 1):
            wait_for(f"http://127.0.0.1:{number}/health", processes[service])
        sys.stdout.write(f"Logs: {folder}\nTraces: {traces}\nThe shop is open: http://127.0.0.1:{port + 1}/docs\n")
        sys.stdout.flush()
        keep_running(processes, every, folder, environment)
    except KeyboardInterrupt:
        sys.stdout.write("The shop closes.\n")
    finally:
        for process in reversed(processes.values()):
            end(process)


def environment_of(port: int, folder: Path) -> dict[str, str]:
    """What the parts are told; what the caller says of telemetry and of the database counts."""
    has_collector = bool(os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"))
    telemetry = {"OTELFLOW_METRICS": "otlp"} if has_collector else {"OTELFLOW_STORE": str(folder / "traces")}
    return {
        "DATABASE_URL": f"sqlite:///{folder / 'shop.db'}",
        **telemetry,
        **os.environ,
        "OUTBOX": str(folder / "outbox"),
        "REDIS_URL": f"redis://127.0.0.1:{port}/0",
        "STOCK_URL": f"http://127.0.0.1:{port + 2}",
        "PAYMENT_URL": f"http://127.0.0.1:{port + 3}",
    }


def command(part: str, port: int) -> list[str]:
    uvicorn = [sys.executable, "-m", "uvicorn", "--host", "127.0.0.1", "--port"]
    gunicorn = [sys.executable, "-m", "gunicorn", "--preload", "--workers", "2", "--bind"]
    celery = [sys.executable, "-m", "celery", "-A", "email_worker", "worker"]
    return {
        "redis": ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", ""],
        "order": [*uvicorn, str(port + 1), "order:app"],
        "stock": [*uvicorn, str(port + 2), "stock:app"],
        "payment": [*gunicorn, f"127.0.0.1:{port + 3}", "payment:app"],
        # A process that has done its share is replaced, and sends its last spans. Few, so that it can be seen.
        "email": [*celery, "--concurrency", "2", "--max-tasks-per-child", "10"],
    }[part]


def start(part: str, words: list[str], folder: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    with (folder / f"{part}.log").open("ab") as log:
        return subprocess.Popen(  # noqa: S603 every command is written in this file
            words, cwd=HERE, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):  # noqa: S310 the address stands above
                return
        except OSError:
            time.sleep(0.2)
    sys.exit(f"{url} does not answer; its log says why")


def keep_running(
    processes: dict[str, subprocess.Popen[bytes]], every: float, folder: Path, environment: dict[str, str]
) -> None:
    """Do as cron would, until a part ends by itself."""
    next_round = time.monotonic() + every
    while all(process.poll() is None for process in processes.values()):
        time.sleep(0.2)
        if time.monotonic() >= next_round:
            next_round += every
            job = [sys.executable, "-m", "otelflow", "run", "warehouse.py:warehouse_round", "--no-live"]
            cron = start("warehouse", job, folder, environment | {"OTEL_SERVICE_NAME": "warehouse"})
            with contextlib.suppress(subprocess.TimeoutExpired):
                cron.wait(READY_SECONDS)
            end(cron)
    ended = [part for part, process in processes.items() if process.poll() is not None]
    sys.exit(f"{', '.join(ended)} ended; {folder} has its log")


def end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main()
