"""Numbers and lengths of time, as PromQL reads them and as people do."""


def number(value: float) -> str:
    """Return *value* as PromQL reads it."""
    return f"{value:.10g}"


def percent(share: float) -> str:
    """Return *share* in percent, without needless digits."""
    return f"{share * 100:.10g}%"


def promql_duration(seconds: float) -> str:
    """Return *seconds* as Prometheus writes them: whole, in the largest unit that fits."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        if seconds >= length and seconds % length == 0:
            return f"{int(seconds // length)}{unit}"
    return f"{max(1, round(seconds * 1_000))}ms"
