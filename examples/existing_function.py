"""A function that exists already, as in a web service: each call becomes a trace, or a part of the request's."""

from wsgiref.util import setup_testing_defaults

import otelflow


def convert(amount: float, rate: float) -> float:  # from another package, left as it is
    return round(amount * rate, 2)


converted = otelflow.task(convert)


@otelflow.flow(flow_name="handle request")
def handle(path: str) -> str:
    amount = converted(float(path.strip("/")), rate=1.1)
    otelflow.get_run_logger().info("converted to %s", amount)
    return f"{amount}\n"


def application(environ, start_response):
    """Answer GET /12.5; run it with any WSGI server. An instrumented server's span becomes the flow's parent."""
    body = handle(environ["PATH_INFO"]).execute().flow_return_value
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body.encode()]


if __name__ == "__main__":
    otelflow.configure(service_name="exchange")
    environ = {"PATH_INFO": "/12.5"}
    setup_testing_defaults(environ)
    print(application(environ, lambda status, headers: print(status))[0].decode(), end="")
