"""The ledgers of all processes of a program add up to what it did, and to what its collector took."""

import re
from collections import Counter

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from support.programs import python
from support.receivers import OtlpReceiver, spans_of

# Parent, forked children, threads, an event loop; what comes after the shutdown; and tasks that the collector refuses.
PROGRAM = """
    import asyncio, logging, multiprocessing, sys, threading
    import otelflow

    logging.basicConfig(level=logging.INFO, format="%(message)s")

    @otelflow.task(task_name="good")
    def work():
        pass

    @otelflow.task(task_name="bad")
    def work_in_vain():
        pass

    def work_much():
        for number in range(200):
            work()
            if number % 50 == 0:
                work_in_vain()

    async def work_on_a_loop():
        work_much()

    def everything():
        threads = [threading.Thread(target=work_much) for _ in range(3)]
        for thread in threads:
            thread.start()
        asyncio.run(work_on_a_loop())
        for thread in threads:
            thread.join()

    telemetry = otelflow.configure(service_name="many")
    everything()
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=everything) for _ in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    telemetry.shutdown()
    work()
    for account in telemetry.ledger:
        print(f"Telemetry: {account}", file=sys.stderr)
    """
LINE = re.compile(
    r"Telemetry: traces to [\w ]+: ([\d,]+) made, ([\d,]+) delivered(?:, ([\d,]+) waiting)?(?:, .* lost \((.*)\))?"
)


def ledgers_in(text):
    """Return made, delivered, waiting and the losses of each line in which a process tells of its traces."""
    for line in text.splitlines():
        match = LINE.search(line.split("; the last")[0])
        if match is not None:
            made, delivered, waiting = (int((number or "0").replace(",", "")) for number in match.groups()[:3])
            lost = [loss.split() for loss in (match[4] or "").split(", ") if loss]
            yield made, delivered, waiting, Counter({reason: int(count.replace(",", "")) for count, reason in lost})


@pytest.mark.parametrize("is_spooled", [False, True], ids=["queue", "spool"])
def test_what_each_process_says_adds_up_to_what_all_did_and_to_what_arrived(is_spooled):
    accepted = Counter()

    def answer(request):
        spans = spans_of([ExportTraceServiceRequest.FromString(request.body)])
        if any(span.name == "task bad" for span in spans):
            return 400
        accepted.update(span.span_id for span in spans)
        return 200

    with OtlpReceiver() as receiver:
        receiver.status = answer
        done = python(
            PROGRAM,
            options=("-W", "ignore"),
            OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
            OTEL_BSP_MAX_QUEUE_SIZE="64",
            OTEL_BSP_MAX_EXPORT_BATCH_SIZE="16",
            OTELFLOW_SPOOL="auto" if is_spooled else "off",
        )

    *_, before, after = ledgers = list(ledgers_in(done.stderr))
    assert len(ledgers) == 4, done.stderr
    assert (after[0], after[3]["after_shutdown"], before[3]["after_shutdown"]) == (before[0] + 1, 1, 0)
    of_processes = [*ledgers[:2], after]
    assert [made for made, *_ in of_processes] == [816, 816, 817]
    assert all(made == delivered + waiting + lost.total() for made, delivered, waiting, lost in of_processes)
    delivered, waiting = sum(ledger[1] for ledger in of_processes), sum(ledger[2] for ledger in of_processes)
    assert accepted.total() == len(accepted)
    assert delivered <= len(accepted) <= delivered + waiting, "what waits in the spool of one another may have sent"
    assert is_spooled or waiting == 0
    reasons = {"rejected"} if is_spooled else {"export_failed", "queue_full"}
    assert {reason for *_, lost in of_processes for reason in lost} <= reasons | {"after_shutdown"}
