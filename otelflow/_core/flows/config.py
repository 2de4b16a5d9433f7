"""How one flow logs, prints and raises."""

from typing import TYPE_CHECKING, Any

from otelflow._core.process.settings import check, settings
from otelflow._core.process.settings_table import RUN_SETTINGS, RunSettings

if TYPE_CHECKING:
    _Fields = RunSettings  # as a type it has each of them; an object has those that were given
else:
    _Fields = object


class Flow_Run__Config(_Fields):
    """How one flow logs, prints and raises; a field that is not given follows the process's settings.

    *fields* are bools; ``otelflow config`` lists them with what each means:

    ``add_task_to_self`` ``log_to_console`` ``log_to_memory`` ``logging_enabled`` ``print_logs``
    ``print_none_return_value`` ``print_finished_message`` ``print_error_stack_trace`` ``raise_flow_error``
    ``flow_data__capture_events``

    Raises ConfigurationError for an unknown field or a value that is no bool.

    >>> from otelflow import Flow_Run__Config
    >>> Flow_Run__Config(raise_flow_error=False).raise_flow_error
    False
    """

    __annotations__ = dict(RunSettings.__annotations__)

    def __init__(self, **fields: bool) -> None:
        for name, value in fields.items():
            if name not in RUN_SETTINGS and not hasattr(type(self), name):
                check(name, value, type(self).__name__, RUN_SETTINGS)
            setattr(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        # A subclass may have attributes of its own, but not one that is a field misspelt.
        if name in RUN_SETTINGS or (type(self) is Flow_Run__Config and not name.startswith("_")):
            value = check(name, value, type(self).__name__, RUN_SETTINGS)
        elif not hasattr(type(self), name):
            from otelflow._core.text.hints import nearest  # noqa: PLC0415 only for mistakes

            if nearest(name, RUN_SETTINGS) is not None:
                check(name, value, type(self).__name__, RUN_SETTINGS)
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        if name not in RUN_SETTINGS:
            from otelflow._core.text.hints import suggestion  # noqa: PLC0415 only for mistakes

            raise AttributeError(f"{type(self).__name__} has no field {name!r}{suggestion(name, RUN_SETTINGS)}")
        return getattr(settings(), name)

    def json(self) -> dict[str, bool]:
        """Return each field with its value, or what the process has set where it has none, in a dict.

        >>> Flow_Run__Config(print_logs=True).json()["print_logs"]
        True
        """
        return {name: getattr(self, name) for name in RUN_SETTINGS}

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({values})"

    def __eq__(self, config: object) -> bool:
        return isinstance(config, Flow_Run__Config) and all(
            getattr(self, name) == getattr(config, name) for name in RUN_SETTINGS
        )

    __hash__ = object.__hash__
