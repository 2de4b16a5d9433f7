"""Where telemetry goes: ``configure`` sets it up.

Nothing is imported here: a program with a tracer provider of its own needs ``sdk_spans`` only.
"""
