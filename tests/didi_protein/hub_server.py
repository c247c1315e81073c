"""The few answers of the Hugging Face hub that fetching a repository needs, on 127.0.0.1."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class _Handler(BaseHTTPRequestHandler):
    repositories: dict[str, Path]
    asked: list[str]

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        path = self.path.partition("?")[0].strip("/")
        for name, folder in self.repositories.items():
            if path in (f"api/models/{name}/revision/main", f"api/models/{name}"):
                files = sorted(file.name for file in folder.iterdir())
                listing = {
                    "id": name,
                    "sha": COMMIT,
                    "siblings": [{"rfilename": file} for file in files],
                }
                return self._send(json.dumps(listing).encode(), {}, body)
            if path.startswith(f"api/models/{name}/tree/"):
                tree = [
                    {
                        "type": "file",
                        "path": file.name,
                        "size": file.stat().st_size,
                        "oid": "0" * 40,
                    }
                    for file in sorted(folder.iterdir())
                ]
                return self._send(json.dumps(tree).encode(), {}, body)
            start = f"{name}/resolve/"
            if path.startswith(start):
                file = folder / path[len(start) :].partition("/")[2]
                if file.is_file():
                    self.asked += [file.name] if body else []
                    data = file.read_bytes()
                    tag = hashlib.sha1(data).hexdigest()
                    return self._send(data, {"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT}, body)
        return self._send(b"", {"X-Error-Code": "RepoNotFound"}, body, status=404)

    def _send(self, data: bytes, headers: dict[str, str], body: bool, status: int = 200) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *_: object) -> None: ...


@contextmanager
def serve_hub(repositories: dict[str, Path]) -> Iterator[tuple[str, list[str]]]:
    """Yield the hub's address and the list of files that were fetched from it."""
    asked: list[str] = []
    handler = type("Handler", (_Handler,), {"repositories": repositories, "asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
