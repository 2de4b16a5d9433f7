"""What happens inside a run: messages, artifacts and results, the journal that keeps them, the events made of them."""

from typing import TYPE_CHECKING

if not TYPE_CHECKING:  # a type checker would take any misspelt name for a module
    from functools import partial

    from otelflow._core.process.shutdown import late_module, load_before_end

    load_before_end(f"{__name__}.artifacts")
    __getattr__ = partial(late_module, __name__)
