"""How hard is a body tried: each policy wraps the body of a flow or task once, when it is decorated.

A policy (cache, limits, retry, time-out) is a module of this package with an object ``POLICY`` that fits ``Policy``. It
takes its place in ``KEYWORDS``, and its keywords stand in ``flows.keywords``. It is imported when a decorator has one
of them; a body that asks for none is called as it is, so that a policy costs nothing where it is not wanted.
"""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from otelflow.errors import ConfigurationError

if TYPE_CHECKING:
    from otelflow._core.policies.policy import Body, Policy

#: The keywords of each policy, by its module; the outermost policy first.
KEYWORDS: "Final[Mapping[str, frozenset[str]]]" = {
    "validation": frozenset({"validate_parameters"}),
    "cache": frozenset(
        {"cache_policy", "cache_key_fn", "cache_expiration", "refresh_cache"}
        | {"persist_result", "result_storage", "result_serializer"}
    ),
    "limits": frozenset({"concurrency", "rate_limit", "limit_timeout"}),
    "retry": frozenset({"retries", "retry_delay", "retry_jitter_factor", "retry_condition_fn"}),
    "timeout": frozenset({"timeout"}),
    "resources": frozenset({"measure_resources"}),
}
#: The keywords of ``hooks``, which is no policy around a body
HOOKS: Final = frozenset({"on_completion", "on_failure", "on_cancellation", "on_running"})
_ALL: Final = frozenset[str]().union(*KEYWORDS.values())


def compose(
    body: "Body",
    options: Mapping[str, Any],
    *,
    is_async: bool,
    is_generator: bool,
    policies: "Sequence[Policy] | None" = None,
) -> "Body":
    """Return *body* with every policy around it that *options* ask for, or *body* itself.

    Raises ConfigurationError when they ask for one around a generator, which has been consumed in part when it fails.
    """
    if policies is None:
        if _ALL.isdisjoint(options):
            return body
        modules = [module for module, keywords in KEYWORDS.items() if not keywords.isdisjoint(options)]
        policies = [import_module(f"{__name__}.{module}").POLICY for module in modules]
    for policy in reversed(policies):
        if policy.is_wanted(options):
            if is_generator and not getattr(policy, "takes_generators", False):
                name = getattr(body, "__qualname__", body)
                keywords = KEYWORDS.get(type(policy).__module__.rpartition(".")[2], ())
                keyword = next((name for name in options if name in keywords), type(policy).__name__)
                raise ConfigurationError(
                    f"{name} is a generator: {keyword} is for functions only; put what may fail into a task of its own"
                )
            body = policy.around_async(body, options) if is_async else policy.around(body, options)
    return body
