"""What a flow and a task have in common: they log, and are values like others to pydantic."""

import logging
from typing import Any


class LogMethods:
    """Has a method for each level of a message."""

    def log_debug(self, message: object, task_run_id: str | None = None) -> None:
        """Record *message*, any object, as text at level DEBUG; *task_run_id* (str) names another task as its own.

        >>> Flow().log_debug("the cache is empty")
        """
        self.__otelflow_write__(logging.DEBUG, message, task_run_id)

    def log_info(self, message: object, task_run_id: str | None = None) -> None:
        """Record *message*, any object, as text at level INFO; *task_run_id* (str) names another task as its own.

        >>> def greet(this_flow):
        ...     this_flow.log_info("hello")
        >>> otelflow.Flow().setup(greet).execute().log_messages()[-1]
        'hello'
        """
        self.__otelflow_write__(logging.INFO, message, task_run_id)

    def log_warning(self, message: object, task_run_id: str | None = None) -> None:
        """Record *message*, any object, as text at level WARNING; *task_run_id* (str) names another task as its own.

        >>> Flow().log_warning("the cache is full")
        """
        self.__otelflow_write__(logging.WARNING, message, task_run_id)

    def log_error(self, message: object, task_run_id: str | None = None) -> None:
        """Record *message*, any object, as text at level ERROR; *task_run_id* (str) names another task as its own.

        >>> Flow().log_error("the cache is gone")
        """
        self.__otelflow_write__(logging.ERROR, message, task_run_id)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Tell pydantic to take a flow or task as it is, and to write it as JSON in the words of its ``repr()``."""
        if getattr(cls, "__is_pydantic_dataclass__", False):  # it says itself of what it is made
            return handler(source)
        words = {"type": "function-plain", "function": repr, "when_used": "json"}
        return {"type": "is-instance", "cls": cls, "serialization": words}

    @classmethod
    def __get_pydantic_json_schema__(cls, *_: object) -> dict[str, str]:
        return {"type": "string", "title": cls.__name__}

    def __otelflow_write__(self, level: int, message: object, task_run_id: str | None) -> None:
        raise NotImplementedError
