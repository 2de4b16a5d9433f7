"""The programs that ``faults.py`` runs: each prints what it did as one line of JSON."""

# What each of them begins with: how telemetry is set up, and what it says of itself.
_HEAD = """
import asyncio, json, os, sys, time
began = time.perf_counter()
import otelflow

how = sys.argv[1]
telemetry = None
if how == "by hand":
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
elif how != "none":
    telemetry = otelflow.configure(service_name="faults")

@otelflow.task
def step(number):
    return number

def memory():
    # Megabytes that are in memory now
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

def report(**figures):
    if telemetry is not None:
        telemetry.shutdown()
        (account,) = telemetry.ledger
        figures |= {"made": account.total, "delivered": account.delivered, "waiting": account.waiting}
        figures |= {"lost": account.lost}
    print(json.dumps(figures), flush=True)
"""

# Its last statement says when it ended, on the clock of the system, which its parent can read, too.
EXIT = """
import sys, time
if sys.argv[1] != "none":
    import otelflow

    signals = {"events": "both", "metrics": "otlp"} if sys.argv[3] == "all signals" else {}
    otelflow.configure(service_name="faults", **signals)

    @otelflow.task
    def step(number):
        return number

    @otelflow.flow
    def work(this_flow):
        for number in range(int(sys.argv[2])):
            step(number)
            if number % 10 == 0:
                this_flow.log_info("ten more")

    work().execute()
print(time.time(), flush=True)
"""

# Four workers, each unit of work so many steps, and a coroutine that notices how long nobody else gets a turn.
LOOP = (
    _HEAD
    + """
seconds, steps, units, longest = float(sys.argv[2]), int(sys.argv[3]), 0, 0.0

@otelflow.task
async def unit():
    sum(range(steps))
    await asyncio.sleep(0)

async def worker(end):
    global units
    while time.perf_counter() < end:
        await unit()
        units += 1

async def watch(end):
    global longest
    before = time.perf_counter()
    while before < end:
        await asyncio.sleep(0)
        now = time.perf_counter()
        longest, before = max(longest, now - before), now

async def main():
    end = time.perf_counter() + seconds
    await asyncio.gather(watch(end), *(worker(end) for _ in range(4)))

asyncio.run(main())
report(units=units, longest=longest)
"""
)

FLOOD = (
    _HEAD
    + """
count = int(sys.argv[2])

@otelflow.flow
def flood():
    for number in range(min(count, 5_000)):  # what is made once is there
        step(number)
    before = peak = memory()
    begin = time.perf_counter()
    for number in range(count):
        step(number)
        if number % 1_000 == 0:
            peak = max(peak, memory())
    return time.perf_counter() - begin, max(peak, memory()) - before

seconds, growth = flood().execute().flow_return_value
report(seconds=seconds, growth=growth)
"""
)

STEADY = (
    _HEAD
    + """
seconds, rate = float(sys.argv[2]), float(sys.argv[3])
end, number = time.perf_counter() + seconds, 0
begin = time.perf_counter()
while time.perf_counter() < end:
    step(number)
    number += 1
    time.sleep(max(0.0, begin + number / rate - time.perf_counter()))
if telemetry is not None:
    for _ in range(40):  # what waits is sent when the collector is found to be back
        if telemetry.force_flush(2_000):
            break
        time.sleep(0.5)
report()
"""
)

# It says which flow has begun, and which tasks have ended, until it is killed.
KILLED = (
    _HEAD
    + """
from opentelemetry import trace

def span_id():
    return format(trace.get_current_span().get_span_context().span_id, "016x")

@otelflow.task
def named():
    return span_id()

@otelflow.flow
def endless():
    os.write(1, f"open {span_id()}\\n".encode())
    while True:
        os.write(1, f"ended {named()}\\n".encode())

endless().execute()
"""
)
