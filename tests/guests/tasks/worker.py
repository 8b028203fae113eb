"""What does the tasks."""

import http.client
import json
import os
import time
from typing import Any


def work(count: str) -> None:
    while len([task for task in ask("GET", "/tasks") if task["done"]]) < int(count):
        for task in ask("GET", "/tasks"):
            if not task["done"]:
                ask("POST", f"/tasks/{task['id']}/done")
                print("done:", task["title"], flush=True)
        time.sleep(0.05)
    print("notices:", len(ask("GET", "/notices", os.environ["NOTICES"])))


def ask(method: str, path: str, address: str = "127.0.0.1:7777") -> Any:
    connection = http.client.HTTPConnection(address)
    try:
        connection.request(method, path)
        return json.load(connection.getresponse())
    finally:
        connection.close()
