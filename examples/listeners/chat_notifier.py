"""Post one message to a chat webhook for each flow that fails, without making the flow wait for it.

    CHAT_WEBHOOK=https://chat.example/hook python chat_notifier.py

Without the variable a webhook of this program's own takes the messages and shows them.
"""

import json
import os
import queue
import threading
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

from otelflow import Listener, add_listener, flow, remove_listener, task

FAILED = ("failure", "timeout", "error")


class ChatNotifier(Listener):
    """Hands each failed flow to a thread that posts it; at most a hundred wait, the rest is counted."""

    def __init__(self, webhook):
        self.webhook = webhook
        self.dropped = 0
        self._waiting = queue.Queue(100)
        self._thread = threading.Thread(target=self._post_all, daemon=True)
        self._thread.start()

    def on_flow_stop(self, event):
        data = event.event_data
        if (
            data.result not in FAILED or data.parent_run_id is not None
        ):  # a subflow's error reaches the flow that called it
            return
        try:
            self._waiting.put_nowait(
                f"{data.flow_name} {data.result} after {data.duration:.1f} s: {data.error_message}"
            )
        except queue.Full:
            self.dropped += 1

    def close(self):
        """Wait a few seconds for what is not posted yet."""
        self._waiting.put(None)
        self._thread.join(5)

    def _post_all(self):
        while (text := self._waiting.get()) is not None:
            body = json.dumps({"text": text}).encode()
            request = urllib.request.Request(self.webhook, body, {"Content-Type": "application/json"})  # noqa: S310 yours
            try:
                urllib.request.urlopen(request, timeout=2).close()  # noqa: S310
            except OSError:
                self.dropped += 1


@contextmanager
def webhook_of_our_own():
    class Show(BaseHTTPRequestHandler):
        def do_POST(self):
            message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            print(f"chat: {message['text']}")
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Show) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@task
def load(table):
    if table == "orders":
        raise ConnectionError(f"no route to the database of {table}, password=hunter2")
    return table


@flow
def nightly(table):
    return load(table)


def main(webhook):
    notifier = ChatNotifier(webhook)
    add_listener(notifier)
    for table in ("users", "orders"):
        try:
            nightly(table).execute()
        except ConnectionError:
            print(f"{table} failed; the chat knows")
    remove_listener(notifier)
    notifier.close()


if __name__ == "__main__":
    if "CHAT_WEBHOOK" in os.environ:
        main(os.environ["CHAT_WEBHOOK"])
    else:
        with webhook_of_our_own() as url:
            main(url)
