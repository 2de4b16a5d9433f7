"""Ids from the randomness of the operating system."""

import random
import threading

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
