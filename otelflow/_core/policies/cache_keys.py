"""What makes two calls of a task the same: its inputs, its code, the parameters of its flow, the run."""

import functools
import hashlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from typing import Any, Final

from otelflow._core.policies.identities import identity_of, plain_code
from otelflow._core.policies.policy import description_of, takes
from otelflow._core.process.program import imported_name
from otelflow._core.results.plain_values import canonical
from otelflow._core.runs.run import Run
from otelflow._core.text.safe_str import brief_repr
from otelflow.errors import ConfigurationError, ResultNotStorable

#: Returns the key of a call of *task* with *arguments* (by name), or None: this call is not cached
KeyFunction = Callable[[Any, dict[str, Any]], str | None]


#: In a process that works for another: what stands for the parameters of the flow there, or why nothing does
parameters_of_sender: Final[ContextVar[str | ResultNotStorable | None]] = ContextVar(
    "otelflow_flow_parameters", default=None
)


def digest(*parts: object) -> str:
    """Return 64 hexadecimal digits that are the same for equal *parts* in every process. Raises ResultNotStorable."""
    return hashlib.sha256(canonical(parts).encode()).hexdigest()


class CachePolicy:
    """What a cached task goes by: ``INPUTS + TASK_SOURCE``, ``INPUTS - "verbose"``.

    ``+`` takes another policy, or a function of task and arguments that returns a text. ``-`` takes the name of a
    parameter, or several, that make no difference. Raises ConfigurationError for anything else.

    >>> from otelflow.cache_policies import INPUTS, TASK_SOURCE
    >>> INPUTS - "verbose" + TASK_SOURCE
    INPUTS + TASK_SOURCE - 'verbose'
    """

    __slots__ = ("_excluded", "_functions", "_names")

    def __init__(
        self,
        names: Iterable[str] = (),
        functions: tuple[KeyFunction, ...] = (),
        excluded: Iterable[str] = (),
    ) -> None:
        self._names = frozenset(names)
        self._functions = functions
        self._excluded = frozenset(excluded)

    @property
    def is_needed(self) -> bool:
        """Whether it goes by anything: without, nothing is cached."""
        return bool(self._names or self._functions)

    def check(self, owner: str, parameters: Iterable[str]) -> None:
        """Raise ConfigurationError, which names *owner*, if a name to be left out is none of its *parameters*."""
        names = list(parameters)
        unknown = next((name for name in sorted(self._excluded) if name not in names), None)
        if unknown is not None:
            from otelflow._core.text.hints import suggestion  # noqa: PLC0415 only for mistakes

            raise ConfigurationError(
                f"{owner}: cache_policy leaves out {unknown!r}, which is no parameter of it{suggestion(unknown, names)}"
            )

    def key(self, run: Run) -> str | None:
        """Return the key of *run*, 64 hexadecimal digits; None: it is not cached.

        Raises ResultNotStorable for a value that is not the same text in every process, and what functions raise.
        """
        parts: dict[str, object] = {}
        for name in self._names:
            parts[name] = value = _PARTS[name](run)
            if value is None:
                return None
        if "INPUTS" in self._names:
            parts["INPUTS"] = canonical(
                {name: value for name, value in inputs_of(run).items() if name not in self._excluded}
            )
        for number, function in enumerate(self._functions):
            own = function(run.task, inputs_of(run))
            if own is None:
                return None
            if not isinstance(own, str):
                raise TypeError(f"its key must be a text or None, not {brief_repr(own, 60)}")
            parts[str(number)] = own
        identity = identity_of(run.definition.target)  # type: ignore[attr-defined]  # of a task
        return digest("cache", code_name_of(run), run.task_name, identity, parts)

    def __add__(self, addition: "CachePolicy | KeyFunction") -> "CachePolicy":
        if not isinstance(addition, CachePolicy) and takes(addition, 2):
            return CachePolicy(self._names, (*self._functions, addition), self._excluded)
        if not isinstance(addition, CachePolicy):
            raise ConfigurationError(f"to a cache policy, no {brief_repr(addition, 60)} can be added; add INPUTS, say")
        return CachePolicy(
            self._names | addition._names, self._functions + addition._functions, self._excluded | addition._excluded
        )

    def __sub__(self, names: str | Iterable[str]) -> "CachePolicy":
        excluded = [names] if isinstance(names, str) else list(names)
        if "INPUTS" not in self._names or not all(isinstance(name, str) for name in excluded):
            raise ConfigurationError(
                f"from {self!r}, {brief_repr(names, 60)} cannot be left out: write INPUTS - 'name of a parameter'"
            )
        return CachePolicy(self._names, self._functions, self._excluded.union(excluded))

    def __repr__(self) -> str:
        names = [name for name in _PARTS if name in self._names]
        functions = [getattr(function, "__name__", repr(function)) for function in self._functions]
        parts = " + ".join((*names, *functions)) or "NO_CACHE"
        return " - ".join((parts, *map(repr, sorted(self._excluded))))


def policy_of(owner: str, options: Mapping[str, Any]) -> CachePolicy:
    """Return what the keywords of *owner* ask for. Raises ConfigurationError."""
    policy, function = options.get("cache_policy"), options.get("cache_key_fn")
    if policy is not None and function is not None:
        raise ConfigurationError(f"{owner}: give cache_policy or cache_key_fn, not both; a function can be added: +")
    choice = function if policy is None else policy
    if choice is None:
        return CachePolicy()
    if isinstance(choice, CachePolicy):
        return choice
    if not takes(choice, 2):
        raise ConfigurationError(
            f"{owner}: cache_policy must be one of otelflow.cache_policies, such as INPUTS, or a function of task and "
            f"arguments, not {description_of(choice)}"
        )
    return CachePolicy((), (choice,))


def inputs_of(run: Run) -> dict[str, Any]:
    """Return the arguments of *run* by name, with defaults and without injected ones."""
    inputs: dict[str, Any] = run.definition.inputs(run.args, run.kwargs)  # type: ignore[attr-defined]  # of a flow or task
    return inputs


def code_name_of(run: Run) -> str:
    """Return the qualified name of the function of *run*, with what tells its module from all others."""
    return imported_name(run.code_name() or "")


def source_of(run: Run) -> str:
    """Return what stands for the compiled code of the function of *run*: comments and places make no difference."""
    return digest_of_code(run.definition.target)  # type: ignore[attr-defined]  # of a flow or task


def digest_of_code(target: Any) -> str:
    """Return a digest of the compiled code of *target*, and of the functions that it wraps."""
    parts: list[object] = []
    while target is not None:
        if isinstance(target, functools.partial):
            parts.append([target.args, target.keywords])
            target = target.func
            continue
        plain = getattr(target, "__func__", target)  # of a bound method
        call = plain if inspect.isroutine(plain) else getattr(type(plain), "__call__", plain)  # noqa: B004
        code = getattr(call, "__code__", None)
        parts.append(getattr(plain, "__qualname__", "") if code is None else plain_code(code))
        target = getattr(plain, "__wrapped__", None)
    return digest(parts)


def flow_parameters(run: Run | None) -> str | None:
    """Return what stands for the parameters of the flow of *run*, or None without one. Raises ResultNotStorable."""
    while run is not None and run.kind != "flow":
        run = run.parent
    if run is not None:
        return digest(inputs_of(run))
    sent = parameters_of_sender.get()
    if isinstance(sent, ResultNotStorable):
        raise sent
    return sent


_PARTS: Final[Mapping[str, Callable[[Run], object]]] = {
    "INPUTS": lambda _: {},
    "TASK_SOURCE": source_of,
    "FLOW_PARAMETERS": flow_parameters,
    "RUN_ID": lambda run: run.flow_run_id or run.task_run_id,
}

INPUTS: Final = CachePolicy(["INPUTS"])
TASK_SOURCE: Final = CachePolicy(["TASK_SOURCE"])
FLOW_PARAMETERS: Final = CachePolicy(["FLOW_PARAMETERS"])
RUN_ID: Final = CachePolicy(["RUN_ID"])
NO_CACHE: Final = CachePolicy()
