"""How metrics get out: one output per file, each loaded only when it is chosen."""

from importlib import import_module
from typing import Final

from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry

from otelflow._core.text.hints import suggestion
from otelflow._core.text.redaction import redact_address
from otelflow._core.text.safe_str import brief_repr
from otelflow.errors import ConfigurationError
from otelflow.metrics._outputs.output import Choice
from otelflow.metrics._outputs.registry import Registry

OFF: Final = ("", "off", "none")
OUTPUTS: Final = {
    "registry": "otelflow.metrics._outputs.registry:Registry",
    "pull": "otelflow.metrics._outputs.pull:Pull",
    "multiprocess": "otelflow.metrics._outputs.multiprocess:Multiprocess",
    "push": "otelflow.metrics._outputs.push:Push",
    "textfile": "otelflow.metrics._outputs.textfile:Textfile",
    "otlp": "otelflow.metrics._outputs.otlp:Otlp",
}
# What is meant by the words that others have for these
_OTHER_WORDS: Final = {"prometheus": "pull", "http": "pull", "pushgateway": "push", "file": "textfile", "otel": "otlp"}


def parse(setting: str | CollectorRegistry, resource: Resource) -> Choice | None:
    """Return the output that *setting* chooses, a text such as ``push:URL``; None is no metrics.

    Raises ConfigurationError; a message that begins with ``metrics=`` has *setting* after it.
    """
    if isinstance(setting, CollectorRegistry):
        return Registry(setting)
    if not isinstance(setting, str):
        text = redact_address(brief_repr(setting, 1_000))
        raise ConfigurationError(f"metrics must be a text such as 'pull' or a CollectorRegistry, not {text:.60}")
    word, colon, place = (part.strip() for part in setting.partition(":"))
    word = word.lower()
    if word in OFF and not place:
        return None
    if word not in OUTPUTS:
        cure = suggestion(_OTHER_WORDS.get(word, word), ("off", *OUTPUTS))
        raise ConfigurationError(f"metrics={redact_address(setting):.60} is no output for metrics{cure}")
    module, _, name = OUTPUTS[word].partition(":")
    output: type[Choice] = getattr(import_module(module), name)
    if colon and not output.takes_place:
        raise ConfigurationError(f"metrics={redact_address(setting):.60}: {word} takes no place after a colon")
    return output.from_place(place, resource)
