"""How hard is a body tried: each policy wraps the body of a flow or task once, when it is decorated.

There is none yet. A policy (retry, time-out, cache, limits) is a module of this room with an object that fits
``Policy``; it takes its place in ``POLICIES``, and its keywords stand in ``flows.keywords``. A body that asks for
none is called as it is, so that a policy costs nothing where it is not wanted.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from otelflow.errors import ConfigurationError

if TYPE_CHECKING:
    from otelflow._core.policies.policy import Body, Policy

#: The outermost first: what it wraps, wraps the next.
POLICIES: "Final[tuple[Policy, ...]]" = ()


def compose(
    body: "Body",
    options: Mapping[str, Any],
    *,
    is_async: bool,
    is_generator: bool,
    policies: "tuple[Policy, ...]" = POLICIES,
) -> "Body":
    """Return *body* with every policy around it that *options* ask for, or *body* itself.

    Raises ConfigurationError when they ask for one around a generator, which has been consumed in part when it fails.
    """
    for policy in reversed(policies):
        if policy.is_wanted(options):
            if is_generator:
                name = getattr(body, "__qualname__", body)
                raise ConfigurationError(f"{name} is a generator: {type(policy).__name__} is for functions only")
            body = policy.around_async(body, options) if is_async else policy.around(body, options)
    return body
