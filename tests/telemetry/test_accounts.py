"""The ledger of a whole program, and the line in which its end tells of it."""

import logging
import multiprocessing
import re
import socket

import pytest

from otelflow._core.process import process
from otelflow._core.process.ledger import Account
from otelflow._telemetry import accounts
from support.programs import python
from support.receivers import OtlpReceiver

PROGRAM = """
    import logging, os, sys
    import otelflow

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)

    @otelflow.task
    def work(number):
        return number

    @otelflow.flow
    def nightly(count):
        for number in range(count):
            work(number)

    def print_ledger(telemetry):
        for account in telemetry.ledger:
            assert account.total == account.delivered + account.waiting + account.lost
            print(account, flush=True)
    """


@pytest.fixture
def receiver():
    with OtlpReceiver() as receiver:
        yield receiver


@pytest.fixture
def dead_url():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{free.getsockname()[1]}"  # bound, and nobody listens


def lines_of(done, word="Telemetry: "):
    assert done.returncode == 0, done.stderr
    return [line for line in done.stderr.splitlines() if word in line]


def test_the_end_of_a_program_tells_of_everything_in_one_line_with_the_address_of_the_trace(receiver, tmp_path):
    done = python(
        PROGRAM,
        """
        telemetry = otelflow.configure(service_name="x", store="store", events="both", metrics="otlp")
        nightly(4).execute()
        """,
        cwd=tmp_path,
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
        OTELFLOW_TRACE_URL="http://jaeger/trace/{trace_id}",
    )

    (line,) = lines_of(done)
    trace_id = receiver.spans[0].trace_id.hex()
    metrics = len(receiver.metric_requests)
    assert len(receiver.spans) == 5
    assert line == (
        "INFO Telemetry: traces to the spool: 5 made, 5 delivered; "
        "traces to the store: 5 made, 5 delivered; "
        f"metrics to the OTLP endpoint: {metrics} made, {metrics} delivered; "
        f"the last trace is http://jaeger/trace/{trace_id}"
    )


def test_what_is_lost_is_a_warning_and_a_shutdown_is_told_once(dead_url):
    done = python(
        PROGRAM,
        """
        telemetry = otelflow.configure(service_name="x")
        nightly(2).execute()
        telemetry.shutdown()
        print_ledger(telemetry)
        """,
        OTEL_EXPORTER_OTLP_ENDPOINT=dead_url,
        OTELFLOW_SPOOL="off",
    )

    (line,) = lines_of(done)
    expected = "traces to OTLPSpanExporter: 3 made, 0 delivered, 3 lost (3 export_failed)"
    assert re.fullmatch(rf"WARNING Telemetry: {re.escape(expected)}; the last trace is [0-9a-f]{{32}}", line)
    assert done.stdout == expected + "\n"


def test_a_program_that_delivers_nothing_tells_nothing():
    done = python(PROGRAM, "otelflow.configure()\nnightly(2).execute()")

    assert lines_of(done, "") == []


def test_what_is_sampled_out_was_never_made(receiver):
    done = python(
        PROGRAM,
        """
        telemetry = otelflow.configure(service_name="x")
        nightly(2).execute()
        print_ledger(telemetry)
        """,
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
        OTEL_TRACES_SAMPLER="always_off",
    )

    assert done.stdout == "traces to the spool: 0 made, 0 delivered\n"
    assert lines_of(done) == []


@pytest.mark.parametrize(
    ("options", "ledger", "ledger_of_queue"),
    [
        ({"status": 503}, "7 made, 0 delivered, 7 waiting", "7 made, 0 delivered, 7 lost (7 export_failed)"),
        ({"status": 400}, "7 made, 0 delivered, 7 lost (7 rejected)", "7 made, 0 delivered, 7 lost (7 export_failed)"),
        # OTLP's partial success: two spans were rejected
        ({"body": b"\x0a\x02\x08\x02"}, *["7 made, 5 delivered, 2 lost (2 rejected)"] * 2),
    ],
    ids=["unavailable", "refused for good", "partly rejected"],
)
@pytest.mark.parametrize("spool", ["auto", "off"])
def test_what_an_endpoint_does_not_take_is_in_the_ledger(receiver, options, ledger, ledger_of_queue, spool):
    vars(receiver).update(options)

    done = python(
        PROGRAM,
        """
        telemetry = otelflow.configure(service_name="x")
        nightly(6).execute()
        telemetry.force_flush()
        print_ledger(telemetry)
        """,
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
        OTELFLOW_SPOOL=spool,
    )

    expected = f"OTLPSpanExporter: {ledger_of_queue}" if spool == "off" else f"the spool: {ledger}"
    assert done.stdout == f"traces to {expected}\n", done.stderr
    assert len(lines_of(done)) == 1


def test_each_exporter_has_an_account_of_its_own(receiver):
    done = python(
        PROGRAM,
        """
        telemetry = otelflow.configure(service_name="x")
        nightly(1).execute()
        telemetry.force_flush()
        print_ledger(telemetry)
        """,
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
        OTEL_TRACES_EXPORTER="otlp,otelflow_tree",
    )

    assert done.stdout.splitlines() == [
        "traces to the spool: 2 made, 2 delivered",
        "traces to TreeSpanExporter: 2 made, 2 delivered",
    ]


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
def test_a_forked_child_tells_of_its_own_and_its_parent_of_the_rest(receiver):
    done = python(
        PROGRAM,
        """
        import multiprocessing

        def in_child():
            nightly(6).execute()

        telemetry = otelflow.configure(service_name="x")
        nightly(2).execute()
        child = multiprocessing.get_context("fork").Process(target=in_child)
        child.start()
        child.join()
        """,
        options=("-W", "ignore"),
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
    )

    of_child, of_parent = lines_of(done)
    assert "the spool: 7 made, 7 delivered;" in of_child
    assert "the spool: 3 made, 3 delivered;" in of_parent
    assert len(receiver.spans) == 10


def test_what_waits_in_a_spool_is_delivered_by_the_next_process_and_told_by_neither_as_lost(receiver, tmp_path):
    receiver.status = 503
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTELFLOW_SPOOL_DIR": tmp_path / "spool"}
    body = "otelflow.configure(service_name='x')\nnightly(int(sys.argv[1])).execute()"

    first = python(PROGRAM, body, arguments=("9",), **variables)
    receiver.requests.clear()
    receiver.status = 200
    second = python(PROGRAM, body, arguments=("1",), **variables)

    assert "INFO Telemetry: traces to the spool: 10 made, 0 delivered, 10 waiting;" in lines_of(first)[0]
    assert "INFO Telemetry: traces to the spool: 2 made, 2 delivered;" in lines_of(second)[0]
    assert len(receiver.spans) == 12


def test_what_the_endpoint_refuses_of_another_process_is_not_in_this_one_s_account(receiver, tmp_path):
    receiver.status = 503
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTELFLOW_SPOOL_DIR": tmp_path / "spool"}
    body = "otelflow.configure(service_name='x')\nnightly(1).execute()"

    python(PROGRAM, body, **variables)
    receiver.status = 400
    second = python(PROGRAM, body, **variables)

    assert "the spool: 2 made, 0 delivered, 2 lost (2 rejected);" in lines_of(second)[0]


def test_a_handler_that_raises_keeps_no_program_from_its_end(receiver):
    done = python(
        PROGRAM,
        """
        class Broken(logging.Handler):
            def handle(self, record):
                if "Telemetry" in record.getMessage():
                    raise RuntimeError("no disk")

        telemetry = otelflow.configure(service_name="x")
        logging.getLogger().handlers[:] = [Broken()]
        nightly(1).execute()
        telemetry.shutdown()
        print("on")
        """,
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
    )

    assert (done.stdout, done.stderr) == ("on\n", "")


# The line itself


def ledger(delivered, lost=0):
    return (Account("traces", "Exporter", delivered + lost, delivered, {"export_failed": lost} if lost else {}),)


@pytest.fixture
def told(caplog):
    """The level and the text of each line that was told."""
    caplog.set_level(logging.INFO, "otelflow")
    return lambda: [(record.levelname, record.getMessage()) for record in caplog.records]


def test_a_line_comes_when_something_has_changed_and_is_a_warning_when_more_was_lost(told):
    for each in (ledger(0), ledger(1), ledger(1), ledger(2, 1), ledger(3, 1), ledger(3, 2)):
        accounts.tell(each)

    assert [level for level, _ in told()] == ["INFO", "WARNING", "INFO", "WARNING"]
    assert all(text.startswith("Telemetry: ") for _, text in told())
    assert "2 lost" in told()[-1][1]


def test_what_somebody_else_has_told_is_not_told_again(told):
    accounts.leave_out(ledger(1, 1))
    accounts.tell(ledger(1, 1))
    accounts.tell(ledger(2, 1))

    assert [level for level, _ in told()] == ["INFO"]


def test_the_last_ledger_that_is_named_is_told_at_the_end_and_none_after_a_reset(told):
    accounts.tell_at_end(lambda: ledger(1))
    accounts.tell_at_end(lambda: ledger(2))
    accounts._last_line.tell()
    accounts._last_line.tell()
    process.reset()
    accounts._last_line.tell()
    count = len(told())
    accounts.tell_at_end(lambda: ledger(2))
    accounts._last_line.tell()

    assert (count, len(told())) == (1, 2)


def test_a_forked_child_tells_of_what_it_has_done_also_if_that_is_the_same(told):
    accounts.tell(ledger(1, 1))
    process.begin_anew()
    accounts.tell(ledger(1, 1))

    assert [level for level, _ in told()] == ["WARNING", "WARNING"]


def test_a_provider_has_the_accounts_of_those_that_have_one():
    class Holder:
        def __init__(self, account):
            self.account = account

    provider = accounts.KeepsAccounts()
    before = provider.accounts
    for holder in (Holder(ledger(1)[0]), Holder("a user's own"), object(), Holder(ledger(2)[0])):
        provider.keep_account_of(holder)

    assert before == ()
    assert provider.accounts == ledger(1) + ledger(2)
