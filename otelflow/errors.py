"""Every error that otelflow raises; ``OtelflowError`` is the base of them all."""

from otelflow._core.errors import (
    ConfigurationError,
    FlowNotSetUp,
    InvalidArtifact,
    InvalidListener,
    InvalidParameter,
    MissingExtra,
    NotCallable,
    OtelflowError,
    StoreUnreadable,
    TargetNotFound,
    TargetNotImportable,
    TraceNotFound,
    UnfillableParameter,
    UnknownKeyword,
    nearest,
    place_of,
)

__all__ = [
    "ConfigurationError",
    "FlowNotSetUp",
    "InvalidArtifact",
    "InvalidListener",
    "InvalidParameter",
    "MissingExtra",
    "NotCallable",
    "OtelflowError",
    "StoreUnreadable",
    "TargetNotFound",
    "TargetNotImportable",
    "TraceNotFound",
    "UnfillableParameter",
    "UnknownKeyword",
    "nearest",
    "place_of",
]
