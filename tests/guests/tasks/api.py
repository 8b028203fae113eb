"""The task API: http.server of the standard library, and a dict."""

import http.client
import json
import os
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

TASKS: dict[int, dict[str, Any]] = {}


def tell(text: str) -> None:
    """Tell the service that wants to hear of tasks."""
    connection = http.client.HTTPConnection(os.environ["NOTICES"])
    try:
        connection.request("POST", "/notices", text.encode())
        connection.getresponse().read()
    finally:
        connection.close()


class Api(BaseHTTPRequestHandler):
    timeout = 2  # seconds: one client at a time is served, and none may hold the others up

    def do_GET(self) -> None:
        if self.path == "/health":
            self.send_response(204)
            self.end_headers()
        elif self.path == "/tasks":
            self.answer(200, list(TASKS.values()))
        else:
            self.answer(404, {"error": "GET /tasks or /health"})

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers["content-length"] or 0)).decode()
        match self.path.split("/")[1:]:
            case ["tasks"]:
                task = {"id": len(TASKS) + 1, "title": text, "done": False}
                TASKS[len(TASKS) + 1] = task
                print("new task:", text, flush=True)
                self.answer(201, task)
            case ["tasks", number, "done"] if number.isdecimal() and int(number) in TASKS:
                task = TASKS[int(number)]
                task["done"] = True
                tell(f"done: {task['title']}")
                self.answer(200, task)
            case _:
                self.answer(404, {"error": "POST /tasks or /tasks/NUMBER/done"})

    def answer(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def serve() -> None:
    with HTTPServer(("127.0.0.1", 7777), Api) as server:
        server.serve_forever()
