"""Validate and convert the arguments of a call by their annotations, with pydantic."""

import functools
import inspect
import types
import typing
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Final

from otelflow._core.policies.policy import Body, name_of
from otelflow._core.runs.current import current_run
from otelflow._core.text.functions import plain_function
from otelflow._core.text.redaction import is_secret
from otelflow._core.text.safe_str import brief_repr
from otelflow._core.text.secret_values import REDACTED
from otelflow.errors import ConfigurationError, InvalidParameter, MissingExtra

_GATHERING: Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class _Parameters:
    """The parameters of one body. Raises ConfigurationError for an annotation that pydantic cannot use."""

    def __init__(self, body: Body) -> None:
        try:
            import pydantic  # noqa: PLC0415 optional, and takes longer than a small flow
        except ImportError:
            raise MissingExtra("validate") from None
        self._pydantic = pydantic
        self.name = name_of(body)
        self._signature = inspect.signature(body)
        function = plain_function(body)
        self._function: Any = function if inspect.isroutine(function) else type(function).__call__
        self._adapters: dict[str, Any] | None = None
        try:
            self._adapters = self._new_adapters()
        except NameError:  # of something that is defined below the function: the first call looks again
            return

    def _new_adapters(self) -> dict[str, Any]:
        try:
            hints = typing.get_type_hints(self._function, include_extras=True)
        except NameError:
            raise
        except Exception as error:  # noqa: BLE001 an annotation may be any expression
            raise ConfigurationError(
                f"{self.name!r}: validate_parameters cannot use its annotations: {type(error).__name__}: {error}"
            ) from None
        config = self._pydantic.ConfigDict(arbitrary_types_allowed=True)
        adapters: dict[str, Any] = {}
        for name in self._signature.parameters:
            if name in hints:
                try:
                    # In a tuple, because pydantic takes no settings for a dataclass or a model on its own.
                    in_tuple: Any = types.GenericAlias(tuple, (hints[name],))
                    with warnings.catch_warnings(action="ignore"):  # an annotation may be any object
                        adapters[name] = self._pydantic.TypeAdapter(in_tuple, config=config)
                except (self._pydantic.PydanticUserError, TypeError) as error:
                    reason = str(error).partition("\n")[0]
                    raise ConfigurationError(
                        f"{self.name!r}: validate_parameters cannot use the annotation of {name!r}: {reason}"
                    ) from None
        return adapters

    def converted(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments as their annotations say; what otelflow injects is left as it is."""
        if self._adapters is None:
            try:
                self._adapters = self._new_adapters()
            except NameError as error:
                raise ConfigurationError(f"{self.name!r}: validate_parameters: {error}, in an annotation") from None
        run = current_run()
        injected = set(kwargs) - set(kwargs if run is None else run.kwargs)
        bound = self._signature.bind(*args, **kwargs)
        for name, value in bound.arguments.items():
            adapter = self._adapters.get(name)
            if adapter is not None and name not in injected:
                bound.arguments[name] = self._converted_one(adapter, name, value, injected)
        return bound.args, bound.kwargs

    def _converted_one(self, adapter: Any, name: str, value: Any, injected: set[str]) -> Any:
        kind = self._signature.parameters[name].kind
        convert = functools.partial(self.convert, adapter)
        if kind not in _GATHERING:
            return convert(name, value)
        if kind is inspect.Parameter.VAR_POSITIONAL:
            return tuple(convert(name, item) for item in value)
        return {key: item if key in injected else convert(key, item) for key, item in value.items()}

    def convert(self, adapter: Any, name: str, value: Any) -> Any:
        """Return *value* as *adapter* converts it. Raises InvalidParameter that names the parameter."""
        try:
            return adapter.validate_python((value,))[0]
        except self._pydantic.ValidationError as error:
            run = current_run()
            if run is not None:
                run.was_called = False
            mistake = error.errors(include_url=False, include_input=False)[0]
            path = ".".join(str(part) for part in mistake["loc"][1:])
            reason = f"{f'at {path}, ' if path else ''}{mistake['msg'][:1].lower()}{mistake['msg'][1:]}"
            kind = "flow" if run is not None and run.task is None else "task"
            owner = None if run is None else run.task_name or run.flow_name
            culprit = REDACTED if is_secret(name) else brief_repr(value, 60)
            raise InvalidParameter(
                f"{kind} {owner or self.name!r} cannot be called: its parameter {name!r} is {culprit}: {reason}"
            ) from None


class Validation:
    """Converts arguments before everything else sees them; one that does not fit is a call that cannot be made."""

    #: A generator is called as any function is
    takes_generators: Final = True

    def is_wanted(self, options: Mapping[str, Any]) -> bool:
        """Tell whether arguments are to be validated."""
        return bool(options.get("validate_parameters"))

    def around(self, body: Body, options: Mapping[str, Any]) -> Body:
        """Return *body*, of any kind, called with what its annotations ask for."""
        parameters = _Parameters(body)

        @functools.wraps(body)
        def validated(*args: Any, **kwargs: Any) -> Any:
            args, kwargs = parameters.converted(args, kwargs)
            return body(*args, **kwargs)

        return validated

    around_async: Callable[["Validation", Body, Mapping[str, Any]], Body] = around


POLICY: Final = Validation()
