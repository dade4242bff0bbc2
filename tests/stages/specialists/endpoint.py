"""An OpenAI-compatible server on loopback with a tiny random language model, for the tests: prints its port,
then a line per request and a line per answer. Arguments: how many requests to refuse with 503 first, seconds to wait
before each answer, the port (0: a free one).

It stops after eight words; a request for fewer tokens is cut off, as the protocol says.
"""

from __future__ import annotations

import json
import sys
import time
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock

import torch
from transformers import GPT2Config, GPT2LMHeadModel

WORDS = 8
torch.manual_seed(0)
MODEL = GPT2LMHeadModel(
    GPT2Config(vocab_size=256, n_embd=16, n_layer=1, n_head=2, n_positions=512)
).eval()
LOCK = Lock()
failures = int(sys.argv[1])


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        global failures
        body = self.rfile.read(int(self.headers["Content-Length"]))
        request = json.loads(body)
        with LOCK:
            failures -= 1
            tell(f"request {self.headers.get('Authorization')}")
            if failures >= 0:
                return self.send_error(503)
            time.sleep(float(sys.argv[2]))
            reply = answer(request)
        data = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()
        tell(f"answer {reply['usage']['total_tokens']}")

    def log_message(self, *args: object) -> None:
        """Quiet: the test reads this program's output."""


def tell(line: str) -> None:
    """One write a line: those of several threads do not mix."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def answer(request: dict) -> dict:
    whole = json.dumps(request["messages"]).encode()
    prompt = whole[-300:]
    torch.manual_seed(zlib.crc32(whole))
    wanted = min(WORDS, request["max_tokens"])
    with torch.inference_mode():
        ids = MODEL.generate(
            torch.tensor([list(prompt)]), max_new_tokens=wanted, do_sample=True, pad_token_id=0
        )
    said = ids[0, len(prompt) :].tolist()
    return {
        "choices": [
            {
                "message": {"role": "assistant", "content": " ".join(f"word{i}" for i in said)},
                "finish_reason": "stop" if wanted == WORDS else "length",
            }
        ],
        "usage": {"total_tokens": len(prompt) + len(said)},
    }


server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[3])), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
