"""Who hears about runs: subclasses of ``Listener``."""

from otelflow.listeners._listener import Listener

__all__ = ["Listener"]
