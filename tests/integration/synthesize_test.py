"""clara-data synthesize against a scripted chat server: the loop of writing and judging, a server that
misbehaves in every way, kills and stops at any moment."""

import gzip
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import threading
import time
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
from program_case import (  # noqa: E402
    DATA, OK, STOPPED_BY_SIGTERM, TIMEOUT_SECONDS, USAGE, Outcome, ProgramCase, environment, program, read_jsonl, snapshot,
)  # fmt: skip
from scripted_chat_server import ChatServer, Response, Teacher, completion, document  # noqa: E402

SERVER = 6  # exit code
KEY = "sk-test-51-secret-of-the-teacher"
KINDS = ("simple_qa", "complex_qa", "paraphrase")
QUICK = ("--back-off", "0.01")


def run_environment(**changes):
    return {**environment(), "no_proxy": "127.0.0.1", "OPENAI_API_KEY": KEY, **changes}


class SynthesizeCase(ProgramCase):
    def setUp(self):
        self.here = self.place(self.id().rsplit(".", 1)[-1])
        self.texts = [document(name) for name in ("ada", "bor", "cis")]
        self.here.write("documents.jsonl", [{"text": text} for text in self.texts])

    def serve(self, respond=None, teacher=None, delay=0):
        server = ChatServer(respond, teacher, delay)
        self.addCleanup(server.close)
        return server

    def command(self, server, *options, output="out", data="documents.jsonl", model="scripted"):
        url = server if isinstance(server, str) else server.url
        return [program("clara-data"), "synthesize", "--data", data, "--output", output, "--base-url", url,
                "--model", model, *QUICK, *map(str, options)]  # fmt: skip

    def run_command(self, command, **changes):
        done = subprocess.run(
            command, cwd=self.here.folder, env=run_environment(**changes), capture_output=True,
            stdin=subprocess.DEVNULL, timeout=TIMEOUT_SECONDS,
        )  # fmt: skip
        return Outcome(done.returncode, *(text.decode("utf-8", "replace") for text in (done.stdout, done.stderr)))

    def synthesize(self, server, *options, **names):
        changes = names.pop("changes", {})
        return self.run_command(self.command(server, *options, **names), **changes)

    def start(self, server, *options, **names):
        # Without restore_signals Python leaves SIGXFSZ ignored: a file that is too large is then an error.
        return subprocess.Popen(
            self.command(server, *options, **names), cwd=self.here.folder, env=run_environment(), text=True,
            restore_signals=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def rows(self, output="out"):
        return read_jsonl(self.here / output / "rows.jsonl")

    def summary(self, output="out"):
        return json.loads((self.here / output / "summary.json").read_text())

    def assert_each_row_once(self, texts=None, kinds=KINDS, output="out"):
        found = sorted((row["docs"][0], row["kind"]) for row in self.rows(output))
        self.assertEqual(found, sorted((text, kind) for text in (texts or self.texts) for kind in kinds))


class LoopTest(SynthesizeCase):
    def test_rows_of_every_kind_that_training_reads(self):
        server = self.serve()
        outcome = self.synthesize(server, "--price-per-million-in", 2, "--price-per-million-out", 10)
        self.assert_ended(outcome)
        self.assertEqual(outcome.out, "out/rows.jsonl\n")
        self.assert_each_row_once()
        rows = {row["kind"]: row for row in self.rows() if row["docs"] == [self.texts[0]]}
        self.assertEqual(rows["simple_qa"]["data_type"], "qa")
        self.assertEqual(rows["simple_qa"]["question"][0], "Which value does ada0 hold?")
        self.assertEqual(rows["simple_qa"]["answers"], ["worthada0", "worthada1", "worthada2"])
        self.assertEqual(rows["paraphrase"]["data_type"], "paraphrase")
        self.assertEqual(len(rows["paraphrase"]["answers"]), 1)
        # 3 documents × 3 kinds × (written, judged), at 100 and 20 tokens.
        summary = self.summary()
        self.assertEqual((summary["answers"], summary["prompt_tokens"], summary["completion_tokens"]), (18, 1800, 360))
        self.assertAlmostEqual(summary["cost"], 0.0072)
        self.assertEqual(summary["kinds"]["simple_qa"], {"kept": 3, "pairs": 9, "rounds": {"1": 3}, "dropped": {}})
        self.assertTrue(summary["is_complete"])
        self.assertRegex(outcome.err, r"(?m)^simple_qa +3 +0 +9 +1:3$")
        self.assertRegex(outcome.err, r"(?m)^cost +0\.0072$")
        self.here.set(data__train=["out/rows.jsonl"], trainer__max_steps=1)
        self.assert_ended(self.here.train())

    def test_what_is_sent(self):
        server = self.serve()
        self.assert_ended(self.synthesize(server, "--kinds", "simple_qa", "--max-documents", 1, "--temperature", 0.5))
        written, judged = server.requests
        self.assertEqual(written.path, "/v1/chat/completions")
        self.assertEqual(written.headers["Authorization"], f"Bearer {KEY}")
        self.assertEqual([m["role"] for m in written.body["messages"]], ["system", "user"])
        self.assertIn(self.texts[0], written.prompt)
        self.assertEqual((written.body["model"], written.body["temperature"], written.body["max_tokens"]), ("scripted", 0.5, 1024))
        self.assertEqual(judged.body["temperature"], 0)
        schema = written.body["response_format"]["json_schema"]
        self.assertEqual((schema["name"], schema["strict"]), ("question_answer_pairs", True))
        self.assertIn("1. Question: Which value does ada0 hold?\n   Answer: worthada0", judged.prompt)

    def test_missing_facts_are_written_in_a_second_round(self):
        server = self.serve(teacher=Teacher(at_first=2))
        self.assert_ended(self.synthesize(server))
        self.assert_each_row_once()
        for kind in KINDS:
            self.assertEqual(self.summary()["kinds"][kind]["rounds"], {"2": 3}, kind)
        more = [r.prompt for r in server.requests if "Not asked for yet" in r.prompt]
        self.assertEqual(len(more), 3)
        self.assertTrue(all("- ada2 holds worthada2" in p for p in more if "ada0" in p))
        simple = next(row for row in self.rows() if row["kind"] == "simple_qa")
        self.assertEqual(len(simple["question"]), 3)

    def test_a_teacher_that_is_never_satisfied_drops_the_row_after_max_rounds(self):
        server = self.serve(teacher=Teacher(is_ever_satisfied=False))
        outcome = self.synthesize(server, "--kinds", "paraphrase", "--max-rounds", 3)
        self.assert_ended(outcome)
        self.assertEqual(self.rows(), [])
        self.assertEqual(self.summary()["kinds"]["paraphrase"]["dropped"], {"coverage incomplete": 3})
        self.assertEqual(len(server.requests), 3 * 3 * 2)
        self.assertRegex(outcome.err, r"(?m)^dropped, paraphrase: coverage incomplete +3$")
        # What was given up is not asked about again.
        self.assert_ended(self.synthesize(server, "--kinds", "paraphrase", "--max-rounds", 3))
        self.assertEqual(len(server.requests), 18)

    def test_answers_that_are_no_json_and_pairs_that_are_no_good(self):
        def respond(request):
            if "ada" in request.prompt:
                return "I would rather talk about something else."
            if '"complete"' in request.prompt or "bor" not in request.prompt:
                return None
            good = {"question": "Which value does bor0 hold?", "answer": "worthbor0"}
            bad = [{"question": "Does bor0 hold worthbor0 today?", "answer": "worthbor0"},
                   {"question": "Who is the king of elsewhere?", "answer": "Ferdinand"},
                   {"question": "Which value does, bor0 hold", "answer": "worthbor0"},
                   {"question": "Is it?", "answer": " "}, {"question": "number", "answer": 7}]  # fmt: skip
            if "<questions>" in request.prompt:
                return None
            return "Here you are:\n```json\n[" + ", ".join(map(json.dumps, [good, *bad])) + ",]\n```\nGood luck!"

        server = self.serve(respond)
        self.assert_ended(self.synthesize(server, "--kinds", "simple_qa", "--max-rounds", 2))
        summary = self.summary()
        self.assertEqual(summary["kinds"]["simple_qa"]["dropped"], {"malformed answer": 1})
        self.assertEqual(summary["refused_by_checks"], {
            "answer in the question": 1, "answer not in the document": 1, "empty": 1, "malformed pair": 1,
            "question repeated": 1,
        })  # fmt: skip
        self.assert_each_row_once(self.texts[1:], ("simple_qa",))

    def test_documents_of_every_form_each_once(self):
        with gzip.open(self.here / "packed.jsonl.gz", "wt") as file:
            file.write(json.dumps({"title": "A title", "contents": self.texts[0]}) + "\n")
        self.here.write("records.jsonl", [{"docs": self.texts[:2]}, {"text": self.texts[1]}, {"text": "too short"}])
        self.here.write("plain.txt", f"{self.texts[2]}\n\n\n{document('dor')}\nwith a second line\n")
        command = self.command(self.serve(), "--kinds", "paraphrase", data="packed.jsonl.gz")
        command[command.index("packed.jsonl.gz") :][:1] = []
        command[3:4] = ["packed.jsonl.gz", "records.jsonl", "plain.txt"]
        self.assert_ended(self.run_command(command))
        titled, second = f"A title\n{self.texts[0]}", f"{document('dor')}\nwith a second line"
        self.assert_each_row_once([titled, *self.texts, second], ("paraphrase",))
        documents = self.summary()["documents"]
        self.assertEqual((documents["asked_about"], documents["repeated"], documents["too_short"]), (5, 1, 1))

    def test_no_more_requests_are_open_than_concurrency_says(self):
        self.here.write("documents.jsonl", [{"text": document(f"n{i}x")} for i in range(8)])
        server = self.serve(delay=0.1)
        outcome = self.synthesize(server, "--kinds", "simple_qa", "--concurrency", 3)
        self.assert_ended(outcome)
        self.assertLessEqual(server.most_open, 3)
        self.assertGreater(server.most_open, 1)
        self.assertRegex(outcome.err, r"[0-9.]+ documents/s, [0-9]+ rows kept, 0 dropped, [0-9]+ \+ [0-9]+ tokens")

    def test_memory_does_not_grow_with_the_documents(self):
        server = self.serve()
        filler = "Nothing else of note is told here. " * 230  # 8 KB

        def peak_bytes(count):
            name = f"of_{count}"
            self.here.write(f"{name}.jsonl", [{"text": f"{document(f'n{i}x')} {filler}"} for i in range(count)])
            command = self.command(server, "--kinds", "simple_qa", "--concurrency", 4, output=name, data=f"{name}.jsonl")
            with (self.here / f"{name}.txt").open("w") as log:
                process = subprocess.Popen(command, cwd=self.here.folder, env=run_environment(), stdin=subprocess.DEVNULL,
                                           stdout=log, stderr=log)  # fmt: skip
            peak = 0
            while process.poll() is None:  # ru_maxrss would count this process, which forked it
                status = Path(f"/proc/{process.pid}/status").read_text()
                peak = max(peak, *(1024 * int(kilobytes) for kilobytes in re.findall(r"VmHWM:\s+(\d+) kB", status)), 0)
                time.sleep(0.01)
            self.assertEqual(process.returncode, OK, (self.here / f"{name}.txt").read_text())
            self.assertEqual(len(self.rows(name)), count)
            return peak

        if b"__asan_init" in Path(program("clara-data")).read_bytes():
            self.skipTest("AddressSanitizer keeps what was freed")
        few = peak_bytes(100)
        # 12 MB more of documents, and twice that of prompts.
        self.assertLess(peak_bytes(1600) - few, 6e6)

    def test_shards_have_every_document_once(self):
        texts = [document(f"n{i}x") for i in range(12)]
        self.here.write("documents.jsonl", [{"text": text} for text in texts])
        server = self.serve()
        found = []
        runs = [self.start(server, "--kinds", "simple_qa", "--shard", f"{shard}/3") for shard in (1, 2, 3)]
        for shard, run in enumerate(runs, 1):
            _, err = run.communicate(timeout=TIMEOUT_SECONDS)
            self.assertEqual(run.returncode, OK, err)
            found += [row["docs"][0] for row in self.rows(f"out/shard-{shard}-of-3")]
        self.assertEqual(sorted(found), sorted(texts))


class MisbehavingServerTest(SynthesizeCase):
    def test_whatever_goes_wrong_for_a_while_every_row_is_made(self):
        good = completion("{}")
        failures = [
            Response(good, delay=1.6),
            Response(b"{]"),
            Response(b'{"error": {"message": "slow down"}}', status=429, headers={"Retry-After": "1"}),
            Response(b'{"error": "sorry"}', status=500),
            Response(good, send_bytes=len(good) // 2),
            Response(good, send_bytes=0),
            Response(completion("caf\u00e9").replace(b"caf\\u00e9", "caf\u00e9".encode("latin-1"))),
            Response(b" " * 300_000 + good),
            Response(b"<html><body>Welcome</body></html>", content_type="text/html"),
            Response(b"<html><body>Bad gateway</body></html>", status=502, content_type="text/html"),
            Response(b'{"choices": []}'),
            Response(b'{"choices": [{"message": null}]}'),
            Response(good, headers={"Content-Encoding": "gzip"}),
            Response(b"", status=503),
        ]
        server = self.serve(lambda request: failures[request.number] if request.number < len(failures) else None)
        outcome = self.synthesize(server, "--timeout", 1.2, "--max-response-bytes", 200_000, "--max-retries", 20,
                                  "--concurrency", 4)  # fmt: skip
        self.assert_ended(outcome)
        self.assert_each_row_once()
        self.assertEqual(self.summary()["this_run"]["sent_again"], {
            "HTTP 429": 1, "HTTP 500": 1, "HTTP 502": 1, "HTTP 503": 1, "connection broken": 3, "no JSON": 2,
            "no UTF-8": 1, "no choices": 1, "no message": 1, "response too large": 1, "timeout": 1,
        })  # fmt: skip
        self.assertEqual(len(server.requests), 18 + len(failures))

    def test_a_retry_after_is_kept_to(self):
        times = []

        def respond(request):
            times.append(time.monotonic())
            return Response(b"{}", status=429, headers={"Retry-After": "1"}) if request.number == 0 else None

        self.assert_ended(self.synthesize(self.serve(respond), "--kinds", "simple_qa", "--concurrency", 1))
        self.assertGreaterEqual(times[1] - times[0], 0.95)

    def test_a_server_without_response_format_is_asked_in_the_forms_it_takes(self):
        def respond(request):
            form = request.body.get("response_format")
            if form is None:
                return None
            told = {"error": {"message": f"response_format {form['type']}: unsupported", "type": "invalid_request_error"}}
            return Response(json.dumps(told).encode(), status=400)

        server = self.serve(respond)
        outcome = self.synthesize(server, "--concurrency", 1)
        self.assert_ended(outcome)
        self.assert_each_row_once()
        forms = [request.body.get("response_format", {}) for request in server.requests]
        self.assertEqual([(f.get("type"), "schema" in f) for f in forms[:4]],
                         [("json_schema", False), ("json_object", True), ("json_object", False), (None, False)])  # fmt: skip
        self.assertEqual(len(forms), 18 + 3)
        self.assert_told(outcome, "going on with json_object (", "going on with text (")

    def test_parameters_that_a_server_does_not_take_are_left_out(self):
        def respond(request):
            for name in ("max_tokens", "seed", "temperature"):
                if name in request.body:
                    message = "use max_completion_tokens" if name == "max_tokens" else f"{name} is not supported"
                    return Response(json.dumps({"error": {"message": message, "param": name}}).encode(), status=400)
            return None

        server = self.serve(respond)
        self.assert_ended(self.synthesize(server, "--concurrency", 1, "--kinds", "simple_qa"))
        self.assertEqual(server.requests[-1].body["max_completion_tokens"], 1024)
        self.assertEqual(len(server.requests), 6 + 3)

    def test_what_no_retry_can_mend_ends_the_run_at_once(self):
        for status, body in (
            (401, {"error": {"message": f"Incorrect API key provided: {KEY}"}}),
            (403, {"error": "forbidden"}),
            (404, {"error": {"message": "The model `scripted` does not exist", "code": "model_not_found"}}),
            (400, {"error": {"message": "no such model", "code": "model_not_found"}}),
            (429, {"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}),
        ):
            with self.subTest(status=status):
                server = self.serve(lambda request: Response(json.dumps(body).encode(), status=status))
                outcome = self.synthesize(server, "--concurrency", 1, output=f"out{status}")
                self.assert_refused(outcome, SERVER, f"model scripted: HTTP {status}: ")
                self.assertEqual(len(server.requests), 1)
                self.assertEqual(outcome.err.count("error: "), 1, outcome)
                self.assertNotIn(KEY, outcome.err)

    def test_a_redirect_is_not_followed(self):
        server = self.serve(lambda request: Response(status=302, headers={"Location": "http://127.0.0.1:1/elsewhere"}))
        self.assert_refused(self.synthesize(server), SERVER, "points to http://127.0.0.1:1/elsewhere", "base URL")

    def test_a_server_that_is_not_there(self):
        server = ChatServer()
        url = server.url
        server.close()
        texts = [{"text": document(f"n{i}x")} for i in range(20)]
        self.here.write("documents.jsonl", texts)
        outcome = self.synthesize(url, "--max-retries", 1)
        self.assert_refused(outcome, SERVER, "requests in a row got no answer", "127.0.0.1", "no request was answered")

    def test_a_row_that_the_server_refuses_is_dropped_and_one_it_fails_on_is_left_to_the_next_run(self):
        def respond(request):
            if "ada" in request.prompt:
                return Response(b'{"error": {"message": "maximum context length is 16 tokens"}}', status=400)
            return Response(b"", status=500) if "bor" in request.prompt else None

        server = self.serve(respond)
        options = ("--kinds", "simple_qa", "--max-retries", 2)
        outcome = self.synthesize(server, *options)
        self.assert_refused(outcome, SERVER, "1 rows got no answer and are left to the next run", "HTTP 500")
        self.assertEqual(self.summary()["kinds"]["simple_qa"]["dropped"], {"refused by the server": 1})
        self.assertFalse(self.summary()["is_complete"])
        self.assertEqual(len(server.requests), 1 + 3 + 2)
        server.respond = lambda request: None
        self.assert_ended(self.synthesize(server, *options))
        self.assert_each_row_once(self.texts[1:], ("simple_qa",))
        self.assertEqual(len(server.requests), 6 + 2)

    def test_the_key_is_nowhere(self):
        """Not in files, output or arguments, although the server says it in answers and errors."""
        def respond(request):
            if request.number == 0:
                return Response(f'{{"error": "key {KEY}"}}'.encode(), status=500)
            if "bor" in request.prompt and "<questions>" not in request.prompt and '"paraphrase"' not in request.prompt:
                pair = {"question": f"Which value does bor0 of {KEY} hold?", "answer": "worthbor0"}
                return json.dumps({"pairs": [pair]})
            return None

        self.here.write("key.txt", KEY + "\n")
        server = self.serve(respond, delay=0.05)
        process = self.start(server, "--api-key-file", "key.txt", "--max-rounds", 3)
        arguments = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        out, err = process.communicate(timeout=TIMEOUT_SECONDS)
        self.assertEqual(process.returncode, OK, err)
        self.assertTrue(all(r.headers["Authorization"] == f"Bearer {KEY}" for r in server.requests))
        files = [path for path in (self.here / "out").rglob("*") if path.is_file()]
        self.assertGreaterEqual(len(files), 4)
        for content in [out.encode(), err.encode(), arguments, *(path.read_bytes() for path in files)]:
            self.assertNotIn(KEY.encode(), content)
        self.assertIn("of [key] hold?", (self.here / "out/rows.jsonl").read_text())

    def test_keys_and_urls_that_are_refused(self):
        server = self.serve()
        self.assert_refused(self.synthesize(server, "--api-key-file", "absent"), DATA, "absent")
        outcome = self.synthesize(server, changes={"OPENAI_API_KEY": "two words of secret"})
        self.assert_refused(outcome, USAGE, "API key: expected printable ASCII")
        self.assertNotIn("secret", outcome.err)
        outcome = self.synthesize("http://user:password@127.0.0.1/v1")
        self.assert_refused(outcome, USAGE, "without user and password")
        self.assertNotIn("password@", outcome.err)
        self.assert_refused(self.synthesize("ftp://127.0.0.1"), USAGE, "starts with http:// or https://")
        self.assertEqual(server.requests, [])


class InterruptedTest(SynthesizeCase):
    NUM_DOCUMENTS = 10
    CONCURRENCY = 4

    def setUp(self):
        super().setUp()
        self.texts = [document(f"n{i}x") for i in range(self.NUM_DOCUMENTS)]
        self.here.write("documents.jsonl", [{"text": text} for text in self.texts])

    def test_kills_at_any_moment_lose_nothing_and_double_nothing(self):
        # Two rounds of writing and judging for each row.
        server = self.serve(teacher=Teacher(at_first=2), delay=0.02)
        moments = random.Random(7)
        num_kills = 0
        while True:
            process = self.start(server, "--concurrency", self.CONCURRENCY)
            # At some number of requests, and then between none and the time of one request later: however long
            # the program takes to start, every run gets somewhere.
            enough = len(server.requests) + moments.randint(1, 12)
            while process.poll() is None and len(server.requests) < enough:
                time.sleep(0.002)
            time.sleep(moments.uniform(0, 0.03))
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                num_kills += 1
            _, err = process.communicate(timeout=TIMEOUT_SECONDS)
            if process.returncode == OK:
                break
            self.assertEqual(process.returncode, -signal.SIGKILL, err)
            self.assertLess(num_kills, 200)
        self.assertGreaterEqual(num_kills, 3)
        self.assert_each_row_once()
        needed = self.NUM_DOCUMENTS * len(KINDS) * 4
        self.assertGreaterEqual(len(server.requests), needed)
        self.assertLessEqual(len(server.requests), needed + num_kills * self.CONCURRENCY)
        summary = self.summary()
        self.assertEqual(summary["answers"], needed)
        self.assertEqual(summary["prompt_tokens"], 100 * needed)
        for kind in KINDS:
            self.assertEqual(summary["kinds"][kind]["rounds"], {"2": self.NUM_DOCUMENTS})
        before = len(server.requests)
        self.assert_ended(self.synthesize(server, "--concurrency", self.CONCURRENCY))
        self.assertEqual(len(server.requests), before)

    def test_torn_ends_of_the_files_are_mended(self):
        server = self.serve()
        self.assert_ended(self.synthesize(server))
        num_requests = len(server.requests)
        rows = (self.here / "out/rows.jsonl").read_bytes()
        journal = (self.here / "out/journal.jsonl").read_bytes()
        lines = journal.splitlines(keepends=True)
        row_lines = rows.splitlines(keepends=True)
        # (rows, journal, requests to come): a torn row without its line; a line torn; the row lost with the
        # line kept, as after a power failure.
        for case, (kept_rows, kept_journal, num_more) in {
            "torn row": (b"".join(row_lines[:-1]) + row_lines[-1][:9], b"".join(lines[:-1]), 0),
            "row without line": (rows, b"".join(lines[:-1]), 0),
            "torn line": (rows, b"".join(lines[:-1]) + lines[-1][:20], 0),
            "lost row": (b"".join(row_lines[:-2]), journal, 0),
            "torn answer": (b"".join(row_lines[:-1]), b"".join(lines[:-2]) + lines[-2][:-7], 1),
        }.items():
            with self.subTest(case):
                (self.here / "out/rows.jsonl").write_bytes(kept_rows)
                (self.here / "out/journal.jsonl").write_bytes(kept_journal)
                self.assert_ended(self.synthesize(server))
                self.assert_each_row_once()
                self.assertEqual(len(server.requests) - num_requests, num_more)
                num_requests = len(server.requests)
                self.assertEqual(self.summary()["kinds"]["simple_qa"]["kept"], self.NUM_DOCUMENTS)
                again = self.synthesize(server)
                self.assert_ended(again)
                self.assert_each_row_once()
                self.assertEqual(len(server.requests), num_requests)
        (self.here / "out/journal.jsonl").write_bytes(b"no line\n" + journal)
        self.assert_refused(self.synthesize(server), DATA, "journal.jsonl:1: expected a line that this program wrote")

    def test_a_stop_ends_soon_with_everything_good(self):
        server = self.serve(delay=0.1)
        process = self.start(server, "--concurrency", 2)
        while len(server.requests) < 6 and process.poll() is None:
            time.sleep(0.02)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=TIMEOUT_SECONDS)
        self.assertEqual(process.returncode, STOPPED_BY_SIGTERM, err)
        self.assertLess(time.monotonic() - began, 30)
        self.assertIn("stopped by a signal", err)
        self.assertFalse(self.summary()["is_complete"])
        num_stopped = len(server.requests)
        self.assertLess(num_stopped, 60)
        self.assert_ended(self.synthesize(server, "--concurrency", 2))
        self.assert_each_row_once()
        # What was under way had been waited for.
        self.assertEqual(len(server.requests), self.NUM_DOCUMENTS * len(KINDS) * 2)

    def test_a_full_disk_is_told_and_nothing_is_torn(self):
        """A limit of the size of files stands for a full disk."""
        server = self.serve(delay=0.02)
        process = self.start(server, "--concurrency", 2)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (4000, resource.RLIM_INFINITY))
        out, err = process.communicate(timeout=TIMEOUT_SECONDS)
        self.assert_refused(Outcome(process.returncode, out, err), DATA, "cannot be written: File too large", "make room")
        for name in ("rows.jsonl", "journal.jsonl"):
            content = (self.here / "out" / name).read_bytes()
            self.assertTrue(content == b"" or content.endswith(b"\n"))
            read_jsonl(self.here / "out" / name)
        self.assert_ended(self.synthesize(server, "--concurrency", 2))
        self.assert_each_row_once()

    def test_other_settings_or_prompts_and_a_second_process_are_refused(self):
        may_answer = threading.Event()
        server = self.serve(lambda request: may_answer.wait(TIMEOUT_SECONDS) and None)
        process = self.start(server, "--concurrency", 1)
        while not server.requests and process.poll() is None:
            time.sleep(0.02)
        self.assert_refused(self.synthesize(server), DATA, "another process is using this folder", "--output")
        may_answer.set()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=TIMEOUT_SECONDS)
        before = snapshot(self.here / "out")
        outcome = self.synthesize(server, "--num-pairs", 3, "--kinds", "simple_qa", model="other")
        self.assert_refused(outcome, USAGE, "was begun with other settings", "num_pairs: 5 -> 3",
                            'model: "scripted" -> "other"', "kinds: ")  # fmt: skip
        prompts = self.here / "prompts"
        subprocess.run(["cp", "-r", Path(__file__).resolve().parents[2] / "configs/synthesis", prompts], check=True)
        with open(prompts / "paraphrase.txt", "a") as file:
            file.write("\nTake your time.\n")
        self.assert_refused(self.synthesize(server, "--prompts", "prompts"), USAGE, "prompts: ")
        (prompts / "simple_qa.txt").write_text("Write {num_pairs} about {documents}")
        (prompts / "verify_questions.txt").unlink()
        self.assert_refused(self.synthesize(server, "--prompts", "prompts", output="new"), USAGE,
                            "found {documents}", "expected {document}, found none", "verify_questions.txt")  # fmt: skip
        self.assertEqual(snapshot(self.here / "out"), before)

    def test_bad_rows_stop_or_are_listed(self):
        self.here.write("documents.jsonl", [{"text": self.texts[0]}, {"nothing": 1}, "no json", {"text": self.texts[1]}])
        server = self.serve()
        self.assert_refused(self.synthesize(server), DATA, "documents.jsonl:2: expected a document in text, contents")
        self.assert_ended(self.synthesize(server, "--on-bad-record", "skip"))
        self.assert_each_row_once(self.texts[:2])
        self.assertEqual(self.summary()["documents"]["bad_rows"], 2)
        self.assert_refused(self.synthesize(server, data="absent.jsonl"), DATA, "absent.jsonl: expected a file")


@unittest.skipUnless(os.environ.get("CLARA_CHAT_SERVER"),
                     "CLARA_CHAT_SERVER=URL names no OpenAI-compatible server (CLARA_CHAT_MODEL: its model)")  # fmt: skip
class RealServerTest(SynthesizeCase):
    def test_a_real_server_is_understood(self):
        """The protocol, not the quality: every row ends, kept or dropped for a reason."""
        outcome = self.synthesize(os.environ["CLARA_CHAT_SERVER"], "--max-rounds", 2, "--max-documents", 3,
                                  "--max-answer-tokens", 64,
                                  model=os.environ.get("CLARA_CHAT_MODEL", "default"))  # fmt: skip
        self.assert_ended(outcome)
        summary = self.summary()
        ended = [kind["kept"] + sum(kind["dropped"].values()) for kind in summary["kinds"].values()]
        self.assertEqual(ended, [3, 3, 3])
        self.assertGreater(summary["completion_tokens"], 0)


if __name__ == "__main__":
    unittest.main()
