"""What a flow and a task have in common: they log."""

import logging


class Speaker:
    """Has a method for each level of a message."""

    def log_debug(self, message: object, task_run_id: str | None = None) -> None:
        """Record *message* at level DEBUG."""
        self._write_message(logging.DEBUG, message, task_run_id)

    def log_info(self, message: object, task_run_id: str | None = None) -> None:
        """Record *message* at level INFO."""
        self._write_message(logging.INFO, message, task_run_id)

    def log_warning(self, message: object, task_run_id: str | None = None) -> None:
        """Record *message* at level WARNING."""
        self._write_message(logging.WARNING, message, task_run_id)

    def log_error(self, message: object, task_run_id: str | None = None) -> None:
        """Record *message* at level ERROR."""
        self._write_message(logging.ERROR, message, task_run_id)

    def _write_message(self, level: int, message: object, task_run_id: str | None) -> None:
        raise NotImplementedError
