"""What must work where opentelemetry-api is all there is: the import, and a flow that runs without telemetry."""

import importlib.util
import sys

import otelflow

NEEDS_THE_SDK = ("Listener", "Telemetry", "configure", "force_flush")


@otelflow.task
def double(number: int) -> int:
    """Return twice *number*."""
    return 2 * number


@otelflow.flow
def doubling(number: int) -> int:
    """Return twice *number*, by a task."""
    otelflow.get_run_logger().info("doubling %s", number)
    return double(number)


def main() -> None:
    """Use every public name that does not need the SDK."""
    assert importlib.util.find_spec("opentelemetry.sdk") is None, "the SDK is installed: this proves nothing"
    heard: list[str] = []
    otelflow.flow_events.event_listeners.append(lambda event: heard.append(event.event_type))

    flow = doubling(21).execute()

    assert flow.flow_return_value == 42
    assert heard[0] == "flow_start", heard
    assert heard[-1] == "flow_stop", heard
    for name in otelflow.__all__:
        if name not in NEEDS_THE_SDK:
            getattr(otelflow, name)
    try:
        _ = otelflow.configure
    except ImportError as error:
        sys.stdout.write(f"configure without the SDK: {error}\n")
    else:
        raise SystemExit("configure() claims to work without the SDK")
    sys.stdout.write(f"otelflow {otelflow.__version__} works with opentelemetry-api alone\n")


if __name__ == "__main__":
    main()
