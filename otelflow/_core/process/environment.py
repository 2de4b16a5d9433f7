"""What variables of the environment say."""

import os
from collections.abc import Iterable
from typing import Final

from otelflow.errors import ConfigurationError

#: What every variable of otelflow begins with
PREFIX: Final = "OTELFLOW_"
#: The words for yes and no
SWITCH: Final = {
    **dict.fromkeys(("true", "1", "on", "yes"), True),
    **dict.fromkeys(("false", "0", "off", "no", "none"), False),
}
# No number that means anything here has more, and Python reads only so many.
_MOST_DIGITS: Final = 400
#: Variables that are no settings: those of the local store's exporter, of otelflow's own tests, and what one process
#: tells another
OTHER_VARIABLES: Final = frozenset(
    {
        "OTELFLOW_STORE_MAX_BYTES",
        "OTELFLOW_STORE_MAX_AGE_DAYS",
        "OTELFLOW_INSTRUMENT_PID",
        "OTELFLOW_INSTRUMENT_TOLD",
        "OTELFLOW_REQUIRE_STACK",
        "OTELFLOW_STACK_DIR",
    }
)
# What programs want to tell configure(), and OpenTelemetry's variable that says it
_OTEL_VARIABLES: Final = {
    **dict.fromkeys(
        ("endpoint", "otlp_endpoint", "collector", "collector_endpoint", "url"), "OTEL_EXPORTER_OTLP_ENDPOINT"
    ),
    **dict.fromkeys(("protocol", "insecure"), "OTEL_EXPORTER_OTLP_PROTOCOL"),
    **dict.fromkeys(("headers", "api_key", "token"), "OTEL_EXPORTER_OTLP_HEADERS"),
    **dict.fromkeys(("exporter", "exporters", "traces", "console"), "OTEL_TRACES_EXPORTER"),
    **dict.fromkeys(("sampler", "sample_rate", "sampling", "sampling_ratio"), "OTEL_TRACES_SAMPLER"),
    **dict.fromkeys(("resource", "resource_attributes", "environment", "version"), "OTEL_RESOURCE_ATTRIBUTES"),
}


def variable_for(keyword: str, keywords: Iterable[str]) -> str:
    """Return the end of a sentence: which variable of OpenTelemetry says what *keyword* asks for, or what is known."""
    from otelflow._core.text.hints import suggestion  # noqa: PLC0415 only for mistakes

    variable = _OTEL_VARIABLES.get(keyword)
    return f"; the variable {variable} says it" if variable else suggestion(keyword, keywords)


def positive_integer(variable: str, default: int) -> int:
    """Return the whole number above 0 that *variable* holds, or *default* if it is empty or not set.

    Raises ConfigurationError for anything else.
    """
    text = os.environ.get(variable, "").strip()
    if not text:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > _MOST_DIGITS or int(text) == 0:
        from otelflow._core.text.hints import quotes_in  # noqa: PLC0415 only for mistakes

        raise ConfigurationError(f"{variable} must be a whole number above 0, not {text!r}{quotes_in(text)}")
    return int(text)
