"""ECS's agent on loopback, as far as task protection goes."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class EcsAgent(ThreadingHTTPServer):
    """Remembers what it was asked for; ``answer`` is status and body of what it says, None for the right thing."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/api/task"
        self.asked: list[dict[str, Any]] = []
        self.answer: tuple[int, dict[str, Any]] | None = None


class _Handler(BaseHTTPRequestHandler):
    server: EcsAgent

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_PUT(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        right = self.path == "/api/task/task-protection/v1/state"
        self.server.asked.append(body)
        status, answer = self.server.answer or (200, {"protection": body})
        self.send_response(status if right else 404)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())
