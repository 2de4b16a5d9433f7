"""Ports of this machine for programs that must be told which one to listen on."""

import random
import socket

# Below those that the system gives to outgoing connections, one of which may take a port between the look and the use.
_FIRST, _LAST = 15_000, 32_000


def free_ports(count):
    """Return ports on which nothing listens now."""
    ports = set()
    for _ in range(1_000):
        port = random.randint(_FIRST, _LAST)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        ports.add(port)
        if len(ports) == count:
            return sorted(ports)
    raise OSError(f"no {count} free ports from {_FIRST} to {_LAST}")
