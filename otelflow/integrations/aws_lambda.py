"""AWS Lambda: each invocation is a flow, in the trace of who has sent its event, and is delivered before it ends."""

import contextlib
import functools
import os
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from opentelemetry import trace

from otelflow import Flow_Run__Config, continue_trace, flow, force_flush, semconv
from otelflow.errors import ConfigurationError

__all__ = ["flow_handler"]

R = TypeVar("R")

_XRAY_VARIABLE: Final = "_X_AMZN_TRACE_ID"
_XRAY_HEADER: Final = "x-amzn-trace-id"
#: Milliseconds that Lambda lets an invocation take
_LONGEST_INVOCATION: Final = 900_000
#: Milliseconds that are left to the answer itself
_TIME_TO_ANSWER: Final = 200


def flow_handler(handler: Callable[[Any, Any], R], *, flush_millis: int = 2_000) -> Callable[[Any, Any], R]:
    """Make each call of *handler* a flow, which is delivered before the call returns: Lambda freezes what goes on.

    *handler* (a function of event and context, or an object that is called as one) is called as ever. The flow bears
    the handler's name, or that of its class, and goes on in the trace of the event's headers (of API Gateway, a load
    balancer, a function URL), or of its message attributes (of SQS and SNS, if one message came alone), or, where
    ``OTEL_PROPAGATORS`` holds ``xray``, of X-Ray. *flush_millis* (int, milliseconds): how long the answer may wait for
    delivery, unless the invocation has less time left.

    Call ``otelflow.configure()`` where the module is imported, once for many invocations.

    Returns a function of event and context, which raises what the handler raises. Raises ConfigurationError for
    *flush_millis* that is no such time.

    >>> from otelflow.integrations.aws_lambda import flow_handler
    >>> @flow_handler
    ... def handler(event, context):
    ...     return {"statusCode": 200}
    >>> handler({"headers": {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}}, None)
    {'statusCode': 200}
    """
    millis: Any = flush_millis  # whatever was given
    if not isinstance(millis, int | float) or isinstance(millis, bool) or not 0 <= millis <= _LONGEST_INVOCATION:
        kinds = f"a number of milliseconds from 0 to {_LONGEST_INVOCATION}"
        raise ConfigurationError(f"flow_handler: flush_millis must be {kinds}, not {flush_millis!r:.60}")
    config = Flow_Run__Config(raise_flow_error=True)  # Lambda retries what fails

    @flow(flow_name=getattr(handler, "__name__", type(handler).__name__), flow_config=config, execute_on_call=True)
    def run(event: Any, context: Any) -> R:
        request_id = getattr(context, "aws_request_id", None)
        if request_id:
            trace.get_current_span().set_attribute(semconv.JOB_ID, str(request_id))
        return handler(event, context)

    @functools.wraps(handler)
    def handle(event: Any, context: Any) -> R:
        try:
            with continue_trace(_headers_of(event)):
                return run(event, context)
        finally:
            left: float = _LONGEST_INVOCATION
            with contextlib.suppress(Exception):  # what a test hands over for a context may be anything
                left = float(context.get_remaining_time_in_millis())
            # Lambda ends an invocation whose time is over, with an error.
            force_flush(int(max(0, min(millis, left - _TIME_TO_ANSWER))))

    return handle


def _headers_of(event: Any) -> dict[str, str]:
    """Return the texts that came with *event*; one invocation has one parent, and so many messages have none."""
    headers: dict[str, str] = {}
    event = event if isinstance(event, Mapping) else {}
    records = event.get("Records")
    if isinstance(records, list) and len(records) == 1 and isinstance(records[0], Mapping):
        of_sns = records[0].get("Sns")
        message = of_sns if isinstance(of_sns, Mapping) else records[0]
        attributes = message.get("messageAttributes") or message.get("MessageAttributes")
        for name, value in attributes.items() if isinstance(attributes, Mapping) else ():
            text = value.get("stringValue") or value.get("Value") if isinstance(value, Mapping) else None
            headers[str(name).lower()] = str(text or "")
    event_headers = event.get("headers")
    if isinstance(event_headers, Mapping):
        headers.update({str(name).lower(): value for name, value in event_headers.items() if isinstance(value, str)})
    lists = event.get("multiValueHeaders")  # all that some load balancers send
    for name, values in lists.items() if isinstance(lists, Mapping) else ():
        if isinstance(values, list):
            headers[str(name).lower()] = ",".join(map(str, values))
    if os.environ.get(_XRAY_VARIABLE):
        # It wins: the header of a gateway that is not traced names no parent.
        headers[_XRAY_HEADER] = os.environ[_XRAY_VARIABLE]
    return headers
