"""What does a user write: flows, tasks, and what is known of them before they run."""

from typing import TYPE_CHECKING

if not TYPE_CHECKING:  # a type checker would take any misspelt name for a module
    from functools import partial

    from otelflow._core.process.shutdown import late_module

    __getattr__ = partial(late_module, __name__)
