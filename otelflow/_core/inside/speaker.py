"""What a flow and a task have in common: they log."""

import logging


class Speaker:
    """Has a method for each level of a message."""

    def log_debug(self, message: object, task_run_id: str | None = None) -> None:
        """Record *message*, any object, as text at level DEBUG; *task_run_id* (str) names another task as its own.

        >>> Flow().log_debug("the cache is empty")
        """
        self._write_message(logging.DEBUG, message, task_run_id)

    def log_info(self, message: object, task_run_id: str | None = None) -> None:
        """Record *message*, any object, as text at level INFO; *task_run_id* (str) names another task as its own.

        >>> def greet(this_flow):
        ...     this_flow.log_info("hello")
        >>> otelflow.Flow().setup(greet).execute().log_messages()[-1]
        'hello'
        """
        self._write_message(logging.INFO, message, task_run_id)

    def log_warning(self, message: object, task_run_id: str | None = None) -> None:
        """Record *message*, any object, as text at level WARNING; *task_run_id* (str) names another task as its own.

        >>> Flow().log_warning("the cache is full")
        """
        self._write_message(logging.WARNING, message, task_run_id)

    def log_error(self, message: object, task_run_id: str | None = None) -> None:
        """Record *message*, any object, as text at level ERROR; *task_run_id* (str) names another task as its own.

        >>> Flow().log_error("the cache is gone")
        """
        self._write_message(logging.ERROR, message, task_run_id)

    def _write_message(self, level: int, message: object, task_run_id: str | None) -> None:
        raise NotImplementedError
