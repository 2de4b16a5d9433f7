"""OpenTelemetry span exporters that any program can use by name: a local store and a tree in the terminal."""
