"""Who hears about runs: subclasses of ``Listener``."""

from otelflow._listeners.listener import Listener

__all__ = ["Listener"]
