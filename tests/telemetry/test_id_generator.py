"""Ids from the randomness of the operating system."""

import os
import random
import threading

from otelflow._core.process import forks
from otelflow._telemetry.id_generator import SystemIdGenerator
from support.programs import python


def test_the_program_draws_the_same_numbers_as_untraced():
    ids = SystemIdGenerator()
    random.seed(42)
    untraced = random.random()

    random.seed(42)
    ids.generate_trace_id()

    assert random.random() == untraced


def test_no_id_comes_twice_from_any_thread():
    ids, drawn = SystemIdGenerator(), []

    threads = [
        threading.Thread(target=lambda: drawn.extend(ids.generate_span_id() for _ in range(2_000))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert len(set(drawn)) == len(drawn) == 16_000
    assert all(0 < number < 2**64 for number in drawn)
    assert 2**64 < ids.generate_trace_id() < 2**128


def test_processes_that_seed_alike_have_other_ids_unless_the_variable_names_the_sdk_s_own():
    source = """
    import random, otelflow
    random.seed(42)
    otelflow.configure()
    from opentelemetry import trace
    print(trace.get_tracer("x").start_span("x").get_span_context().trace_id)
    """
    ours = [python(source).stdout for _ in range(2)]
    the_sdk_s = [python(source, OTEL_PYTHON_ID_GENERATOR=" random ").stdout for _ in range(2)]

    assert len({*ours}) == 2
    assert len({*the_sdk_s}) == 1


def test_every_bit_comes_from_the_system_in_its_order_and_zero_is_no_id(monkeypatch):
    numbers = [0, 1, 2**64 - 1, 0x0123456789ABCDEF]
    blocks = []

    def urandom(size):
        blocks.append(size)
        return b"".join(number.to_bytes(8) for number in reversed(numbers)) if len(blocks) == 1 else bytes(7) + b"\x09"

    monkeypatch.setattr(os, "urandom", urandom)
    ids = SystemIdGenerator()

    assert ids.generate_span_id() == 1
    assert ids.generate_trace_id() == (2**64 - 1) << 64 | 0x0123456789ABCDEF
    assert ids.generate_span_id() == 9
    assert blocks == [8 * 256] * 2
    assert ids.is_trace_id_random()


def test_a_child_draws_its_own_numbers_also_of_a_fork_in_c(monkeypatch):
    ids = SystemIdGenerator()
    ids.generate_span_id()
    of_parent = set(ids._numbers)

    monkeypatch.setattr(forks.fork, "process_id", 0)
    monkeypatch.setattr(forks.fork, "page", forks._EMPTY)

    assert ids.generate_span_id() not in of_parent
    assert not of_parent & set(ids._numbers)
