"""clara-data index dense, and candidates from it, as a user runs them, with the tiny encoders of tests/fixtures/retrieval."""
import gzip
import json
import shutil
import signal
import subprocess
import time
import unittest

from program_case import (
    DATA, OK, PROJECT, STOPPED_BY_SIGTERM, USAGE, ProgramCase, environment, program, read_jsonl, snapshot,
)  # fmt: skip

ENCODER = PROJECT / "tests/fixtures/retrieval/cls"
CROSS_ENCODER = PROJECT / "tests/fixtures/retrieval/cross"


def passages(count, first=0):
    return [{"id": str(i), "title": "Eiffel Tower", "text": f"the tower of paris number {i}"}
            for i in range(first, first + count)]  # fmt: skip


class IndexDenseTest(ProgramCase):
    def corpus(self, name, count=400):
        place = self.place(name)
        place.write("a.jsonl", passages(count))
        with gzip.open(place / "b.jsonl.gz", "wt") as file:
            file.write('{"id": "b", "contents": "paris is the capital of france"}\n')
        return place

    def command(self, *options, encoder=ENCODER, out="index"):
        return [program("clara-data"), "index", "dense", "--corpus", "a.jsonl", "b.jsonl.gz", "--encoder", str(encoder),
                "--out", out, *options]  # fmt: skip

    def test_every_kind_is_built_and_summed_up(self):
        place = self.corpus("kinds")
        for kind, options, shown in (
            ("flat", (), "flat"), ("ivf", ("--nlist", "5", "--nprobe", "2"), "ivf, nlist 5, nprobe 2"),
            ("ivf-pq", ("--pq-bytes", "6", "--pq-bits", "5", "--opq", "--rescore", "3"), "6 codes of 5 bits, OPQ, rescore 3"),
            ("hnsw", ("--hnsw-links", "8", "--ef-search", "20"), "hnsw, links 8, ef 20"),
        ):  # fmt: skip
            outcome = place.run(self.command("--kind", kind, *options, out=kind))
            self.assert_ended(outcome)
            self.assertEqual(outcome.out, kind + "\n")
            self.assertRegex(outcome.err, r"b.jsonl.gz \(json\)\nrows read +401\npassages +401\n")
            self.assertRegex(outcome.err, r"encoded +401 passages in .*, [0-9.]+ passages/s\n")
            self.assert_told(outcome, "dimension   24\n", shown)
            manifest = json.loads((place / kind / "index.json").read_text())
            self.assertEqual(manifest["kind"], "dense")
            self.assertEqual(manifest["counts"], {"passages": 401, "dimension": 24})
            self.assertEqual("index.faiss" in manifest["files"], kind != "flat")

    def test_another_kind_takes_the_vectors_over(self):
        place = self.corpus("again")
        self.assert_ended(place.run(self.command("--shard-passages", "150")))
        before = snapshot(place / "index")
        self.assert_refused(place.run(self.command("--shard-passages", "150")), USAGE, "--force replaces it")
        self.assertEqual(snapshot(place / "index"), before)
        outcome = place.run(self.command("--shard-passages", "150", "--kind", "hnsw", "--force"))
        self.assert_ended(outcome)
        self.assert_told(outcome, "kept        401 vectors of before\n")
        self.assertNotIn("encoded", outcome.err)
        after = snapshot(place / "index")
        self.assertEqual({name: after.get(name, "") for name in before if name != "index.json"},
                         {name: value for name, value in before.items() if name != "index.json"})  # fmt: skip
        self.assertIn("index.faiss", after)

    def test_passages_that_are_cut_are_counted(self):
        place = self.corpus("cut", 20)
        long = passages(3, first=20)
        for passage in long:
            passage["text"] = "the tower of paris by the water " * 40
        place.write("a.jsonl", passages(20) + long)
        outcome = place.run(self.command("--max-tokens", "32"))
        self.assert_ended(outcome)
        self.assert_told(outcome, "3 passages of this run were longer than the 32 tokens that the encoder reads and were cut\n")
        outcome = place.run(self.command("--max-tokens", "32", "--kind", "hnsw", "--force"))  # the vectors are there
        self.assert_ended(outcome)
        self.assertNotIn("were cut", outcome.err)

    def test_killed_runs_go_on_to_the_same_index(self):
        place = self.corpus("killed", 6000)
        unfinished = place / ".index.unfinished"
        options = ("--shard-passages", "200", "--kind", "ivf")
        self.assert_ended(place.run(self.command(*options, out="whole")))
        for number in (signal.SIGTERM, signal.SIGKILL):
            run = subprocess.Popen(self.command(*options), cwd=place.folder, env=environment(),
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
            wanted = len(list(unfinished.glob("vectors_*"))) + 2
            while run.poll() is None and len(list(unfinished.glob("vectors_*"))) < wanted:
                time.sleep(0.002)
            run.send_signal(number)
            _, err = run.communicate(timeout=120)
            if number == signal.SIGTERM and run.returncode != OK:
                self.assertEqual(run.returncode, STOPPED_BY_SIGTERM, err)
                self.assertRegex(err, b"with the vectors of [0-9]+ passages; the same command goes on")
            self.assertFalse((place / "index").exists() and unfinished.exists())
        if not (place / "index").exists():
            outcome = place.run(self.command(*options))
            self.assert_ended(outcome)
            self.assertRegex(outcome.err, r"kept +[0-9]+ vectors of before\n")
        self.assertEqual(snapshot(place / "index"), snapshot(place / "whole"))
        self.assertFalse(unfinished.exists())

    def test_candidates_of_a_dense_index(self):
        place = self.corpus("candidates")
        place.write("questions.jsonl", [
            {"question": "the tower of paris number 7", "answer": "7", "supporting_titles": ["Eiffel Tower"]},
            {"question": "What is the capital of france?", "answer": "paris",
             "gold_docs": ["paris is the capital of france"]},
        ])  # fmt: skip
        for kind in ("flat", "hnsw"):
            self.assert_ended(place.run(self.command("--kind", kind, out=kind)))
        candidates = (program("clara-data"), "candidates", "--data", "questions.jsonl", "--top", "5", "--force", "--out",
                      "out.jsonl", "--index")  # fmt: skip
        outcome = place.run([*candidates, "flat"])
        self.assert_ended(outcome)
        self.assertRegex(outcome.err, r"records written +2\n")
        rows = read_jsonl(place / "out.jsonl")
        self.assertEqual([len(row["docs"]) for row in rows], [5, 5])
        self.assertEqual(rows[0]["pos_index"], [0, 1, 2, 3, 4])
        self.assert_ended(place.run([*candidates, "hnsw", "--ef-search", "400", "--oracle"]))
        row = read_jsonl(place / "out.jsonl")[1]
        self.assertEqual([row["docs"][k] for k in row["pos_index"]], ["paris is the capital of france"])

        reranked = (*candidates, "flat", "--rerank", str(CROSS_ENCODER), "--rerank-depth")
        self.assert_ended(place.run([*reranked, "5"]))
        other = read_jsonl(place / "out.jsonl")
        for before, after in zip(rows, other):
            self.assertEqual(sorted(before["docs"]), sorted(after["docs"]))
        self.assertNotEqual(rows[0]["docs"], other[0]["docs"])
        self.assert_refused(place.run([*reranked, "4"]), USAGE, "--rerank-depth: expected at least the 5")
        self.assert_refused(place.run([*candidates, "flat", "--rerank", str(ENCODER)]), DATA, "reranker")
        self.assert_refused(place.run([*candidates, "flat", "--k1", "1"]), USAGE, "k1: expected an index of another kind")
        self.assert_refused(place.run([*candidates, "flat", "--nprobe", "3"]), USAGE, "nprobe: expected another kind")
        self.assert_refused(place.run([*candidates, "flat", "--encoder", str(CROSS_ENCODER)]), DATA, "cross")
        self.assert_refused(place.run([*candidates, "flat", "--encoder", "gone"]), DATA, "gone", "--encoder")

    def test_unfinished_work_of_another_source_is_refused(self):
        place = self.corpus("changed", 6000)
        run = subprocess.Popen(self.command("--shard-passages", "200"), cwd=place.folder, env=environment(),
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        while run.poll() is None and not (place / ".index.unfinished/vectors_000000.safetensors").exists():
            time.sleep(0.002)
        run.kill()
        run.wait(timeout=120)
        self.assertFalse((place / "index").exists())
        place.write("a.jsonl", passages(400, first=1))
        self.assert_refused(place.run(self.command("--shard-passages", "200")), DATA, "another corpus", "--force")
        outcome = place.run(self.command("--shard-passages", "200", "--force"))
        self.assert_ended(outcome)
        self.assertRegex(outcome.err, r"encoded +401 passages")

    def test_bad_input(self):
        place = self.corpus("bad")
        encoder = place / "encoder"
        shutil.copytree(ENCODER, encoder)
        config = json.loads((encoder / "config.json").read_text())
        (encoder / "config.json").write_text(json.dumps({**config, "model_type": "roberta"}))
        self.assert_refused(place.run(self.command(encoder=encoder)), DATA, "model_type", "roberta", "not supported")
        self.assert_refused(place.run(self.command(encoder="nowhere")), DATA, "nowhere")
        self.assert_refused(place.run(self.command("--max-tokens", "65")), USAGE, "64 positions")
        self.assert_refused(place.run(self.command("--kind", "ivf-pq", "--pq-bytes", "7")), USAGE, "pq_bytes", "24")
        self.assert_refused(place.run(self.command("--kind", "tree")), USAGE, "--kind")
        self.assert_refused(place.run(self.command("--nlist", "4")), USAGE, "nlist: expected another kind")
        place.write("a.jsonl", '{"id": 1, "title": "x", "text": "y"}\n{"id": 2, "title": "x"}\n')
        self.assert_refused(place.run(self.command()), DATA, "a.jsonl:2: text: expected a string")
        place.write("a.jsonl", "nothing\n")
        self.assert_refused(place.run(self.command()), DATA, "a.jsonl")
        self.assertFalse((place / "index").exists() or (place / ".index.unfinished").exists())


if __name__ == "__main__":
    unittest.main()
