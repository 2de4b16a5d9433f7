"""What goes when the last one that has it lets go of it, and waits for no garbage collector."""

import contextlib
import gc


@contextlib.contextmanager
def no_collector():
    """Collect what is garbage now, and none that is made inside."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
