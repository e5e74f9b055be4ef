"""clara-data index dense as a user runs it, with the tiny encoder of tests/fixtures/retrieval."""
import gzip
import json
import shutil
import signal
import subprocess
import time
import unittest

from program_case import DATA, OK, PROJECT, STOPPED_BY_SIGTERM, USAGE, ProgramCase, environment, program, snapshot

ENCODER = PROJECT / "tests/fixtures/retrieval/cls"


def passages(count, first=0):
    return [{"id": str(i), "title": "Eiffel Tower", "text": f"the tower of paris number {i}"}
            for i in range(first, first + count)]  # fmt: skip


class IndexDenseTest(ProgramCase):
    def corpus(self, name, count=400):
        place = self.place(name)
        place.write("a.jsonl", passages(count))
        with gzip.open(place / "b.jsonl.gz", "wt") as file:
            file.write('{"contents": "paris is the capital of france"}\n')
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
            self.assert_told(outcome, "passages    401\n", "dimension   24\n", shown, "passages/s")
            manifest = json.loads((place / kind / "manifest.json").read_text())
            self.assertEqual((manifest["vectors"], manifest["dimension"]), (401, 24))
            self.assertEqual("index.faiss" in manifest["files"], kind != "flat")

    def test_a_second_run_encodes_nothing_and_keeps_the_files(self):
        place = self.corpus("again")
        self.assert_ended(place.run(self.command("--shard-passages", "150")))
        before = snapshot(place / "index")
        outcome = place.run(self.command("--shard-passages", "150"))
        self.assert_ended(outcome)
        self.assert_told(outcome, "passages    401 (0 encoded now)")
        self.assertEqual(snapshot(place / "index"), before)

    def test_killed_runs_go_on_to_the_same_index(self):
        place = self.corpus("killed", 6000)
        options = ("--shard-passages", "200", "--kind", "ivf")
        self.assert_ended(place.run(self.command(*options, out="whole")))
        for number in (signal.SIGTERM, signal.SIGKILL):
            run = subprocess.Popen(self.command(*options), cwd=place.folder, env=environment(),
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
            wanted = len(list((place / "index").glob("vectors_*"))) + 2 if (place / "index").exists() else 2
            while run.poll() is None and len(list((place / "index").glob("vectors_*.safetensors"))) < wanted:
                time.sleep(0.002)
            run.send_signal(number)
            _, err = run.communicate(timeout=120)
            if number == signal.SIGTERM and run.returncode != OK:
                self.assertEqual(run.returncode, STOPPED_BY_SIGTERM, err)
                self.assertIn(b"of 6001 passages; the same command goes on", err)
        outcome = place.run(self.command(*options))
        self.assert_ended(outcome)
        kept = {name: value for name, value in snapshot(place / "index").items() if ".tmp" not in name}
        self.assertEqual(kept, snapshot(place / "whole"))

    def test_a_changed_corpus_or_encoder_is_refused(self):
        place = self.corpus("changed")
        self.assert_ended(place.run(self.command()))
        place.write("a.jsonl", passages(400, first=1))
        self.assert_refused(place.run(self.command()), DATA, "another corpus", "--force")
        outcome = place.run(self.command("--force"))
        self.assert_ended(outcome)
        self.assert_told(outcome, "passages    401\n")
        self.assert_refused(place.run(self.command("--pooling", "mean")), DATA, "another encoder")
        self.assert_refused(place.run(self.command("--dtype", "float32")), DATA, "other settings")

    def test_bad_input(self):
        place = self.corpus("bad")
        encoder = place / "encoder"
        shutil.copytree(ENCODER, encoder)
        config = json.loads((encoder / "config.json").read_text())
        (encoder / "config.json").write_text(json.dumps({**config, "model_type": "xlm-roberta"}))
        self.assert_refused(place.run(self.command(encoder=encoder)), DATA, "model_type", "xlm-roberta", "not supported")
        self.assert_refused(place.run(self.command(encoder="nowhere")), DATA, "nowhere")
        self.assert_refused(place.run(self.command("--max-tokens", "65")), USAGE, "64 positions")
        self.assert_refused(place.run(self.command("--kind", "ivf-pq", "--pq-bytes", "7")), USAGE, "pq_bytes", "24")
        self.assert_refused(place.run(self.command("--kind", "tree")), USAGE, "--kind")
        place.write("a.jsonl", '{"title": "x", "text": "y"}\n{"title": "x"}\n')
        self.assert_refused(place.run(self.command()), DATA, "a.jsonl:2: text: expected the passage's text")
        place.write("a.jsonl", "nothing\n")
        self.assert_refused(place.run(self.command()), DATA, "a.jsonl")


if __name__ == "__main__":
    unittest.main()
