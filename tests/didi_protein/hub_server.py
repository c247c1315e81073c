"""The few answers of the Hugging Face hub that fetching a repository needs, on 127.0.0.1."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote


def commit_of(revision: str) -> str:
    return hashlib.sha1(revision.encode()).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    repositories: dict[str, Path]
    asked: list[str]

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        path = unquote(self.path.partition("?")[0]).strip("/")
        for key, folder in self.repositories.items():
            name, _, revision = key.partition("@")
            commit = commit_of(revision or "main")
            if path == f"api/models/{name}/revision/{revision or 'main'}":
                files = sorted(file.name for file in folder.iterdir())
                listing = {
                    "id": name,
                    "sha": commit,
                    "siblings": [{"rfilename": file} for file in files],
                }
                return self._send(json.dumps(listing).encode(), {}, body)
            if path.startswith(f"api/models/{name}/tree/{commit}"):
                tree = [
                    {
                        "type": "file",
                        "path": file.name,
                        "size": file.stat().st_size,
                        "oid": hashlib.sha1(file.read_bytes()).hexdigest(),
                    }
                    for file in sorted(folder.iterdir())
                ]
                return self._send(json.dumps(tree).encode(), {}, body)
            start = f"{name}/resolve/{commit}/"
            if path.startswith(start):
                file = folder / path[len(start) :]
                if file.is_file():
                    self.asked += [file.name] if body else []
                    data = file.read_bytes()
                    tag = hashlib.sha1(data).hexdigest()
                    return self._send(data, {"ETag": f'"{tag}"', "X-Repo-Commit": commit}, body)
        known = any(
            path.startswith(f"api/models/{key.partition('@')[0]}/") for key in self.repositories
        )
        code = "RevisionNotFound" if known else "RepoNotFound"
        return self._send(b"", {"X-Error-Code": code}, body, status=404)

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
    """Yield the hub's address and the list of files that were fetched from it.

    Args:
        repositories: folders by OWNER/NAME, or by OWNER/NAME@REVISION.
    """
    asked: list[str] = []
    handler = type("Handler", (_Handler,), {"repositories": repositories, "asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
