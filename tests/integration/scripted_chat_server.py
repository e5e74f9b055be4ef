"""An OpenAI-compatible chat server that does what a test tells it: a teacher that answers about texts of
the form "Fact NAME holds value VALUE.", and every way in which a server can go wrong.

Only the standard library is used.
"""

import http.server
import json
import re
import socket
import threading
import time

FACT = re.compile(r"Fact (\w+) holds value (\w+)\.")


def document(name, num_facts=3):
    """A text with facts of its own."""
    return " ".join(f"Fact {name}{i} holds value worth{name}{i}." for i in range(num_facts))


def between(text, tag):
    return text.split(f"<{tag}>\n")[1].split(f"\n</{tag}>")[0]


class Teacher:
    """Writes and judges rows. `at_first`: facts of a text that the first answer covers (None: all)."""

    def __init__(self, at_first=None, is_ever_satisfied=True):
        self.at_first = at_first
        self.is_ever_satisfied = is_ever_satisfied

    def answer(self, prompt):
        facts = FACT.findall(between(prompt, "text"))
        if '"complete"' in prompt:
            given = between(prompt, "version" if "<version>" in prompt else "questions")
            missing = [f"{name} holds {value}" for name, value in facts if value not in given]
            if not self.is_ever_satisfied:
                missing = missing or ["something else"]
            return json.dumps({"covered": [], "missing": missing, "wrong": [], "complete": not missing})
        is_first = "<questions>" not in prompt and "<attempt>" not in prompt
        if is_first and self.at_first is not None:
            facts = facts[: self.at_first]
        if '"paraphrase"' in prompt:
            return json.dumps({"paraphrase": " ".join(f"The value {v} belongs to fact {n}." for n, v in reversed(facts))})
        if not is_first:
            facts = [f for f in facts if f[1] not in between(prompt, "questions")] or [("extra", facts[0][1])]
        return json.dumps({"pairs": [{"question": f"Which value does {n} hold?", "answer": v} for n, v in facts]})


def completion(text, finish_reason="stop", tokens=(100, 20)):
    """The body of a response that answers with `text`."""
    return json.dumps({
        "object": "chat.completion", "model": "scripted",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}],
        "usage": {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)},
    }).encode()  # fmt: skip


class Response:
    """What is sent back: status, headers, body; after `delay` seconds; only `send_bytes` of the body, then
    the connection is closed."""

    def __init__(self, body=b"", status=200, content_type="application/json", delay=0, send_bytes=None, headers=()):
        self.body, self.status, self.content_type = body, status, content_type
        self.delay, self.send_bytes, self.headers = delay, send_bytes, dict(headers)


class Request:
    def __init__(self, number, body, headers):
        self.number = number  # from 0
        self.body = body
        self.headers = headers
        self.prompt = body["messages"][-1]["content"]


class ChatServer:
    """Serves respond(request) -> Response, text (an answer) or None (the teacher's answer) on a free port."""

    def __init__(self, respond=None, teacher=None, delay=0):
        self.respond = respond or (lambda request: None)
        self.teacher = teacher or Teacher()
        self.delay = delay
        self.requests = []
        self.num_open = self.most_open = 0  # requests that are being answered
        self.lock = threading.Lock()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # headers and body are two writes: the second would wait 40 ms

            def do_POST(self):
                outer.handle(self)

            def log_message(self, *arguments):
                pass

            def handle(self):
                try:
                    super().handle()
                except ConnectionResetError:
                    pass  # a client that was killed

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_address[1]}/v1"

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def handle(self, handler):
        with self.lock:
            self.num_open += 1
            self.most_open = max(self.most_open, self.num_open)
        try:
            try:
                response = self.make_response(handler)
            finally:
                with self.lock:  # before the client can ask again
                    self.num_open -= 1
            self.send(handler, response)
        except (BrokenPipeError, ConnectionResetError):
            pass  # a client that was killed

    def make_response(self, handler):
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        with self.lock:
            request = Request(len(self.requests), body, dict(handler.headers))
            request.path = handler.path
            self.requests.append(request)
        response = self.respond(request)
        if response is None:
            response = self.teacher.answer(request.prompt)
        if isinstance(response, str):
            response = Response(completion(response))
        time.sleep(response.delay or self.delay)
        return response

    @staticmethod
    def send(handler, response):
        handler.send_response(response.status)
        handler.send_header("Content-Type", response.content_type)
        handler.send_header("Content-Length", str(len(response.body)))
        for name, value in response.headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        if response.send_bytes is None:
            handler.wfile.write(response.body)
            return
        handler.wfile.write(response.body[: response.send_bytes])
        handler.wfile.flush()
        handler.connection.shutdown(socket.SHUT_RDWR)
        handler.close_connection = True
