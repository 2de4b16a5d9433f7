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


def ports_in_a_row(count):
    """The first of *count* ports on which nothing listens."""
    for _ in range(100):
        (first,) = free_ports(1)
        if not any(is_taken(port) for port in range(first + 1, first + count)):
            return first
    raise OSError(f"no {count} free ports in a row")


def is_taken(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
