"""How telemetry is written: OTLP."""
