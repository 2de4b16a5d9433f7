"""What is known of a function that a flow or task runs: found out once, at decoration."""

import enum
import functools
import inspect
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from otelflow import semconv
from otelflow._core.flows.injection import (
    INJECTED,
    NAMES,
    CheckedInjection,
    Injection,
    checked_dependencies,
    is_call_error,
    stand_ins,
    why_uncallable,
)
from otelflow._core.flows.keywords import Capture, check_keywords
from otelflow._core.flows.never_run import watch
from otelflow._core.policies import HOOKS, compose
from otelflow._core.process.settings import settings
from otelflow._core.runs import drivers
from otelflow._core.runs.run import Run
from otelflow._core.text import classes
from otelflow._core.text.functions import plain_function
from otelflow._core.text.redaction import is_secret, recorded
from otelflow._core.text.safe_str import bounded_name, brief_repr, comes_from_outside, safe_str
from otelflow._core.text.secret_values import REDACTED
from otelflow.errors import ConfigurationError, DecoratedTwice, NotCallable, UnfillableParameter

if TYPE_CHECKING:
    from otelflow._core.policies.hooks import Hooks
    from otelflow._core.policies.policy import Body


_NO_OPTIONS: Final[Mapping[str, Any]] = {}
_NAME_LENGTH: Final = 1_000
_LAMBDA: Final = "<lambda>"
_MOST_TAGS: Final = 50
_TAG_LENGTH: Final = 200


class Kind:  # an Enum would take a hundredth of an import
    """How a function is run: the name of its driver."""

    FUNCTION: Final = "function"
    COROUTINE: Final = "coroutine"
    GENERATOR: Final = "generator"
    ASYNC_GENERATOR: Final = "async_generator"


class Definition:
    """One function: its name, its kind, what it asks for, and what the user wants recorded of its values.

    ``body`` is what a run calls: the function, with the policies around it that the user asked for.
    """

    __slots__ = (
        "body",
        "capture_parameters",
        "capture_return_value",
        "code_name",
        "decorated",
        "drive",
        "hooks",
        "injection",
        "is_generator",
        "kind",
        "methods",
        "name",
        "new_run",
        "options",
        "owner",
        "records_arguments",
        "run_name",
        "stand_in_name",
        "tags",
        "target",
    )

    def __init__(self, owner: str, target: Callable[..., Any], options: Mapping[str, Any] = _NO_OPTIONS) -> None:
        if not callable(target):
            raise NotCallable(owner, target)
        plain = plain_function(target)
        name = getattr(plain, "__name__", "")
        name = name if isinstance(name, str) else ""
        watch()
        self.owner, self.target, self.options = owner, target, options
        self.decorated: Callable[..., Any] | None = None
        #: What makes the run of a call, of a task; and what the decorated function can do besides
        self.new_run: drivers.NewRun | None = None
        self.methods: Mapping[str, Callable[..., Any]] = _NO_OPTIONS
        self.name = "" if name == _LAMBDA else bounded_name(name)
        #: What a decorated lambda or callable object is called for want of a name
        self.stand_in_name = name or bounded_name(classes.name_of(type(plain)))
        module = getattr(plain, "__module__", None) or "?"
        self.code_name = bounded_name(f"{module}.{getattr(plain, '__qualname__', self.name)}")
        self.kind = _kind(plain)
        self.is_generator = self.kind in (Kind.GENERATOR, Kind.ASYNC_GENERATOR)
        self.drive: Callable[[drivers.NewRun], Callable[..., Any]] = getattr(drivers, self.kind)
        self.injection = Injection(target, is_wanted=options.get("inject", True))
        capture: Capture = options.get("capture_parameters", False)
        if not isinstance(capture, bool):
            capture = [capture] if isinstance(capture, str) else list(capture)
            self._check_names("capture_parameters", capture)
        self.capture_parameters = capture
        self.run_name = self._checked_template(options)
        self.tags = self._checked_tags(options.get("tags"))
        #: Whether anything of the arguments is recorded, or stands beside it
        self.records_arguments = bool(self.capture_parameters or self.tags) or self.run_name is not None
        self.capture_return_value: bool = options.get("capture_return_value", False)
        self.hooks: Hooks | None = None
        if not HOOKS.isdisjoint(options):
            from otelflow._core.policies import hooks  # noqa: PLC0415 few functions have them

            self.hooks = hooks.Hooks(f"{owner} {self.name!r}", options)
        is_async = self.kind is Kind.COROUTINE
        self.body: Body = compose(target, options, is_async=is_async, is_generator=self.is_generator)
        if self.body is not target:  # a policy must not try again what cannot be called
            self.injection = CheckedInjection(target, self.name, is_wanted=options.get("inject", True))

    def call(self, run: Run) -> Any:
        """Inject what is missing into the arguments of *run* and call the body with them.

        Raises UnfillableParameter when they do not fit.
        """
        args, kwargs = self.arguments(run)
        try:
            return self.body(*args, **kwargs)
        except TypeError as error:
            unfillable = self.call_error(run, error, args, kwargs)
            if unfillable is None:
                raise
            raise unfillable from None

    async def settle(self, run: Run) -> None:
        """Wait while the loop goes on for what the arguments of *run* need first: nothing, if no future is in them."""

    def arguments(self, run: Run) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments of *run* with what is missing injected. Raises UnfillableParameter."""
        flow, args, kwargs = run.flow, run.args, run.kwargs
        dependencies = _NO_OPTIONS if flow is None else flow.task_dependencies()
        if type(dependencies) is not dict:
            dependencies = checked_dependencies(flow, dependencies)
        if stand_ins.of_test is not None:
            dependencies = {**dependencies, **stand_ins.of_test(flow, dependencies, self.injection)}
        if dependencies or not self.injection.is_needless:
            named = {
                "this_flow": flow,
                "this_task": run.task,
                "flow_data": {} if flow is None else flow.flow_state.data,
                "task_data": {} if run.task is None else run.task.data,
            }
            kwargs = self.injection.fill(args, kwargs, named, dependencies)
        run.was_called = True
        return args, kwargs

    def call_error(
        self, run: Run, error: BaseException, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> UnfillableParameter | None:
        """Return what to say when *error* is that of a call that did not fit, made by the function that caught it."""
        reason = why_uncallable(self.target, args, kwargs) if run.was_called and is_call_error(error) else None
        if reason is None:
            return None
        run.was_called = False
        if not self.options.get("inject", True):  # its author and its callers expect Python's own
            return None
        return UnfillableParameter("flow" if run.task is None else "task", self.name, reason)

    def inputs(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return these arguments by name, with the defaults of the others, and without what is injected."""
        try:
            bound = inspect.signature(self.target).bind_partial(*args, **kwargs)
        except ValueError:  # a builtin without a signature
            return {"*args": args, **kwargs}
        bound.apply_defaults()
        return {name: value for name, value in bound.arguments.items() if name not in NAMES and value is not INJECTED}

    @property
    def is_importable(self) -> bool:
        """Tell whether another process finds the function by its name, as pickle wants it."""
        function = self.target if self.decorated is None else self.decorated
        place: Any = sys.modules.get(getattr(function, "__module__", None) or "")
        for name in getattr(function, "__qualname__", "").split("."):
            place = getattr(place, name, None)
        return plain_function(place) is plain_function(function)

    def __reduce__(self) -> tuple[Any, ...]:
        state = (None, {"decorated": self.decorated, "new_run": self.new_run, "methods": self.methods})
        return _unpickled, (self.owner, self.target, self.options, self.name), state

    def _checked_tags(self, tags: Collection[str] | None) -> tuple[str, ...]:
        if tags is None:
            return ()
        wrong: list[object] = (
            [tags] if isinstance(tags, str | Mapping) else [tag for tag in tags if type(tag) is not str]
        )
        if wrong or len(tags) > _MOST_TAGS:
            culprit = brief_repr(wrong[0], 60) if wrong else f"{len(tags)} of them"
            raise ConfigurationError(f"{self.name!r}: tags must be a set of up to {_MOST_TAGS} texts, not {culprit}")
        return tuple(sorted({tag[:_TAG_LENGTH] for tag in tags}))

    def _checked_template(self, options: Mapping[str, Any]) -> str | None:
        keyword = "flow_run_name" if "flow_run_name" in options else "task_run_name"
        template: str | None = options.get(keyword)
        if template is None:
            return None
        import re  # noqa: PLC0415 only for templates
        import string  # noqa: PLC0415

        try:
            parts = [*string.Formatter().parse(template)]
            parts += [part for _, _, spec, _ in parts if spec for part in string.Formatter().parse(spec)]
            fields = [field for _, field, _, _ in parts if field is not None]
            for conversion in {conversion for *_, conversion in parts if conversion}:
                string.Formatter().convert_field("", conversion)
        except ValueError as error:
            raise ConfigurationError(f"{keyword}={template!r:.80} is no template: {error}") from None
        names = [re.split(r"[.\[]", field, maxsplit=1)[0] for field in fields]
        self._check_names(keyword, names)
        return template

    def _check_names(self, keyword: str, names: Sequence[str]) -> None:
        try:
            parameters: Collection[str] = inspect.signature(self.target).parameters
        except (TypeError, ValueError):  # some callables written in C have none
            parameters = ()
        unknown = next((bounded_name(name) for name in names if name not in parameters), None)
        if unknown is not None:
            from otelflow._core.text.hints import suggestion  # noqa: PLC0415 only for mistakes

            cure = suggestion(unknown, parameters)
            raise ConfigurationError(f"{keyword}: {self.name!r} has no parameter {unknown!r}{cure}")

    def name_of_run(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        """Return the name of the run with these arguments, redacted and bounded; or the template if they do not fit."""
        template = self.run_name or ""
        try:
            bound = inspect.signature(self.target).bind_partial(*args, **kwargs)
            bound.apply_defaults()
            values = {name: REDACTED if is_secret(name) else value for name, value in bound.arguments.items()}
            return shown_value(template.format(**values))[:_NAME_LENGTH]
        except BaseException as error:  # arguments that are missing; foreign __format__, which may raise anything
            if comes_from_outside(error):
                raise
            return shown_value(template)

    def recorded_parameters(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], run_name_key: str
    ) -> dict[str, Any]:
        """Return the attributes that are made of the arguments: captured parameters, the name of the run; and tags."""
        attributes: dict[str, Any] = self.captured_parameters(args, kwargs) if self.capture_parameters else {}
        if self.tags:
            attributes[semconv.RUN_TAGS] = self.tags
        if self.run_name is not None:
            attributes[run_name_key] = self.name_of_run(args, kwargs)
        return attributes

    def captured_parameters(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, str]:
        """Return the attributes of the parameters that the user wants recorded, redacted and bounded."""
        try:
            bound = inspect.signature(self.target).bind_partial(*args, **kwargs).arguments
        except (TypeError, ValueError):
            return {}
        capture = self.capture_parameters
        names = [name for name in bound if capture is True or (not isinstance(capture, bool) and name in capture)]
        return {
            semconv.RUN_PARAMETER.format(name=name): REDACTED if is_secret(name) else shown_value(bound[name])
            for name in names
            if name not in ("self", "cls")
        }


def _unpickled(owner: str, target: Callable[..., Any], options: Mapping[str, Any], name: str) -> Definition:
    definition = Definition(owner, target, options)
    definition.name = name
    return definition


_MARK: Final = "__otelflow_definition__"


def definition_of(function: Any) -> Definition | None:
    """Return what a decorator of ours knows of *function*, or None if none has made it."""
    definition = getattr(function, _MARK, None)
    # functools.wraps() copies the mark onto what another decorator makes of it.
    is_own = isinstance(definition, Definition) and definition.decorated is plain_function(function)
    return definition if is_own else None


def refuse_flow(owner: str, target: object) -> None:
    """Raise DecoratedTwice if *target* only sets a flow up: when *owner* calls it, nothing would run."""
    inner = definition_of(plain_function(target))
    if inner is not None and inner.owner == "@flow" and not inner.options.get("execute_on_call"):
        raise DecoratedTwice(owner, inner.owner, inner.name)


def text_of_name(name: object) -> str:
    """Return a name or an id as text: also of an Enum's member or a UUID; of None nothing."""
    if type(name) is str:
        return name
    if isinstance(name, enum.Enum):
        name = name.value
    return "" if name is None else safe_str(name, _NAME_LENGTH)


def shown_value(value: object) -> str:
    """Return a value as attributes show it: redacted and bounded."""
    return recorded(value, settings().value_limit)


def _kind(plain: Any) -> str:
    call = plain if inspect.isroutine(plain) else getattr(type(plain), "__call__", plain)  # noqa: B004
    flags = getattr(getattr(call, "__code__", None), "co_flags", 0)
    if inspect.iscoroutinefunction(call) or flags & inspect.CO_ITERABLE_COROUTINE:
        return Kind.COROUTINE
    if inspect.isasyncgenfunction(call):
        return Kind.ASYNC_GENERATOR
    return Kind.GENERATOR if inspect.isgeneratorfunction(call) else Kind.FUNCTION


def decorate(
    owner: str,
    options_type: type,
    target: Any,
    options: dict[str, Any],
    wrap: Callable[[Definition, dict[str, Any]], Any],
) -> Any:
    """Do what ``@flow`` and ``@task`` have in common; without *target* return what takes it.

    Raises UnknownKeyword, NotCallable, or ConfigurationError for a value that does not fit its keyword.
    """
    options = {
        name: text_of_name(value) if isinstance(value, enum.Enum) or type(value).__module__ == "uuid" else value
        for name, value in options.items()
    }
    check_keywords(owner, options, options_type)
    if target is None:
        return functools.partial(_decorate, owner, options, wrap)
    return _decorate(owner, options, wrap, target)


# What functools.wraps() copies, and what it does not, since no call of a function that takes whatever comes looks at it
_COPIED: Final = (*functools.WRAPPER_ASSIGNMENTS, "__defaults__", "__kwdefaults__")
# Of which types they must be: an object that stands for something far away answers whatever it is asked for.
_TYPES: Final[Mapping[str, Any]] = {
    "__name__": str,
    "__qualname__": str,
    "__annotations__": dict,
    "__type_params__": tuple,
    "__defaults__": tuple | None,
    "__kwdefaults__": dict | None,
}
# What functools.lru_cache() puts on its functions, and functools.wraps() does not copy
_OF_CACHES: Final = ("cache_info", "cache_clear", "cache_parameters")


def _decorate(
    owner: str, options: dict[str, Any], wrap: Callable[[Definition, dict[str, Any]], Any], target: Any
) -> Any:
    if isinstance(target, staticmethod | classmethod):
        return type(target)(_decorate(owner, options, wrap, target.__func__))
    if isinstance(target, type):
        raise NotCallable(owner, target)
    # It stays a plain function: libraries refuse or leak callable objects. The mark tells others what calling it does.
    definition = Definition(owner, target, options)
    inner = definition_of(plain_function(target))
    if inner is not None and (owner, inner.owner) != ("@flow", "@task"):
        raise DecoratedTwice(owner, inner.owner, inner.name)
    copied = [name for name in _COPIED if isinstance(getattr(target, name, None), _TYPES.get(name, object))]
    decorated = functools.wraps(target, copied)(wrap(definition, options))
    definition.decorated = decorated
    vars(decorated)[_MARK] = definition
    for name, method in definition.methods.items():
        method.__name__, method.__qualname__ = name, f"{decorated.__qualname__}.{name}"  # by which pickle finds it
        method.__module__ = decorated.__module__
        setattr(decorated, name, method)
    for name in _OF_CACHES:
        if hasattr(target, name):
            setattr(decorated, name, getattr(target, name))
    vars(decorated)["__otelflow__"] = owner.removeprefix("@")
    return decorated
