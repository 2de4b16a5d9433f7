"""In which framework? One file for each: its requests, jobs and messages are runs in the trace of their caller.

Written on public names alone: what they do, a program can do for a framework that is not here.
"""

__all__: list[str] = []
