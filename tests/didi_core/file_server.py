"""A small HTTP server on 127.0.0.1 that serves bytes, and misbehaves as told."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        return chosen.getsockname()[1]


@dataclass
class Behaviour:
    """What is served, and how; `requests` collects the Range header of each request."""

    content: bytes
    knows_ranges: bool = True
    cut_after: list[int] = field(default_factory=list)
    """Close the connection after so many bytes: one entry for each of the first answers."""
    states_length: bool = True
    status: int | None = None
    requests: list[str | None] = field(default_factory=list)
    url: str = ""


class _Handler(BaseHTTPRequestHandler):
    behaviour: Behaviour

    def do_GET(self) -> None:
        told = self.behaviour
        asked = self.headers.get("Range")
        told.requests.append(asked)
        if told.status is not None:
            self.send_error(told.status)
            return
        match = re.fullmatch(r"bytes=(\d+)-", asked or "")
        first = int(match[1]) if match and told.knows_ranges else 0
        total = len(told.content)
        if first >= total:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{total}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if first else 200)
        if told.states_length:
            self.send_header("Content-Length", str(total - first))
        if first:
            self.send_header("Content-Range", f"bytes {first}-{total - 1}/{total}")
        self.end_headers()
        stop = first + told.cut_after.pop(0) if told.cut_after else total
        self.wfile.write(told.content[first:stop])

    def log_message(self, *_: object) -> None: ...


@contextmanager
def serve(behaviour: Behaviour, name: str = "data.bin") -> Iterator[Behaviour]:
    """Serve until the block ends; `behaviour.url` is where."""
    handler = type("Handler", (_Handler,), {"behaviour": behaviour})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        behaviour.url = f"http://127.0.0.1:{server.server_port}/files/{name}?download=1"
        try:
            yield behaviour
        finally:
            server.shutdown()
