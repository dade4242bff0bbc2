"""An OpenAI-compatible server on loopback, for the tests.

It prints its port, then a line per request and a line per answer. An answer has eight random words,
the same ones for the same request; a request for fewer tokens is cut off, as the protocol says.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock

WORDS = 8
PROMPT_TOKENS = 300
LOCK = Lock()

parser = argparse.ArgumentParser()
parser.add_argument("--failures", type=int, default=0, help="number of first requests to refuse")
parser.add_argument("--status", type=int, default=503, help="status of the refusals")
parser.add_argument("--code", default="", help="OpenAI's error code in the refusals")
parser.add_argument("--retry-after", default="", help="header of the refusals")
parser.add_argument("--wait", type=float, default=0.0, help="seconds before each answer")
parser.add_argument("--port", type=int, default=0, help="0: a free one")
parser.add_argument("--reply", default="", help="JSON of every answer, in place of the model's")
settings = parser.parse_args()
failures = settings.failures


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        global failures
        body = self.rfile.read(int(self.headers["Content-Length"]))
        request = json.loads(body)
        with LOCK:
            failures -= 1
            report(f"request {self.headers.get('Authorization')}")
            if failures >= 0:
                return self.refuse()
            time.sleep(settings.wait)
            if settings.reply:
                return self.reply(200, json.loads(settings.reply))
            completion = answer(request)
        self.reply(200, completion)
        report(f"answer {completion['usage']['total_tokens']}")

    def refuse(self) -> None:
        headers = {"Retry-After": settings.retry_after} if settings.retry_after else {}
        error = {"message": "refused", "code": settings.code or None}
        self.reply(settings.status, {"error": error}, headers)

    def reply(self, status: int, content: dict, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def log_message(self, *args: object) -> None:
        """Quiet: the test reads this program's output."""


def report(line: str) -> None:
    """One write a line: those of several threads do not mix."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def answer(request: dict) -> dict:
    seed = zlib.crc32(json.dumps(request["messages"]).encode())
    wanted = min(WORDS, request["max_tokens"])
    words = random.Random(seed).choices(range(256), k=wanted)
    return {
        "choices": [
            {
                "message": {"role": "assistant", "content": " ".join(f"word{i}" for i in words)},
                "finish_reason": "stop" if wanted == WORDS else "length",
            }
        ],
        "usage": {"total_tokens": PROMPT_TOKENS + len(words)},
    }


server = ThreadingHTTPServer(("127.0.0.1", settings.port), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
