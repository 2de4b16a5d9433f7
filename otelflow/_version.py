"""The version of otelflow: read by the build, the instrumentation scope and the metrics."""

__version__ = "0.1.0"
