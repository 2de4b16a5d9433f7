"""How one flow logs, prints and raises."""

from typing import Any

from otelflow._core.process.settings import RUN_SETTINGS, _checked, settings
from otelflow._core.text.hints import nearest, suggestion


class Flow_Run__Config:
    """How one flow logs, prints and raises; a field that is not given follows the process's settings.

    Raises ConfigurationError for an unknown field or a value that is no bool.
    """

    add_task_to_self: bool
    log_to_console: bool
    log_to_memory: bool
    logging_enabled: bool
    print_logs: bool
    print_none_return_value: bool
    print_finished_message: bool
    print_error_stack_trace: bool
    raise_flow_error: bool
    flow_data__capture_events: bool

    def __init__(self, **fields: bool) -> None:
        for name, value in fields.items():
            if name not in RUN_SETTINGS and not hasattr(type(self), name):
                _checked(name, value, type(self).__name__, RUN_SETTINGS)
            setattr(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        # A subclass may have attributes of its own, but not one that is a field misspelt.
        if name in RUN_SETTINGS or (type(self) is Flow_Run__Config and not name.startswith("_")):
            value = _checked(name, value, type(self).__name__, RUN_SETTINGS)
        elif not hasattr(type(self), name) and nearest(name, RUN_SETTINGS) is not None:
            _checked(name, value, type(self).__name__, RUN_SETTINGS)
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        if name not in RUN_SETTINGS:
            raise AttributeError(f"{type(self).__name__} has no field {name!r}{suggestion(name, RUN_SETTINGS)}")
        return getattr(settings(), name)

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({given})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Flow_Run__Config) and all(
            getattr(self, name) == getattr(other, name) for name in RUN_SETTINGS
        )

    __hash__ = object.__hash__
