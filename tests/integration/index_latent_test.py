"""clara-data index latent, candidates from it, and clara-eval on these: retrieval and answering over a whole corpus, as a user
runs it, with a tiny trained model."""
import json
import shutil
import signal
import subprocess
import time
import unittest

from program_case import (
    DATA, OK, STOPPED_BY_SIGTERM, USAGE, ProgramCase, environment, program, read_jsonl, read_rows, snapshot,
)  # fmt: skip

NUM_SELECTED = 2


class IndexLatentTest(ProgramCase):
    """A joint run of one step (by the tune run before it), another tune run, and records whose documents are the corpus."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        common = {"objective__num_selected": NUM_SELECTED, "trainer__max_steps": 1}
        tuned = cls.place("tune", "tune", **common)
        other = cls.place("other", "tune", trainer__seed=99, **common)
        cls.here = cls.place("joint", "joint", model__init_from=str(tuned / "run/final"), **common)
        for place in (tuned, other, cls.here):
            outcome = place.train()
            if outcome.code != OK:
                raise AssertionError(str(outcome))
        cls.rows = read_rows("evaluation")
        cls.here.write("evaluation.jsonl", cls.rows)
        cls.here.write("questions.jsonl", [
            {key: value for key, value in row.items() if key not in ("docs", "pos_index")}
            | {"gold_docs": [row["docs"][k] for k in row["pos_index"]]} for row in cls.rows
        ])  # fmt: skip
        cls.documents = {document for row in cls.rows for document in row["docs"]}

    def index(self, *options, out="index", checkpoint="run", corpus="evaluation.jsonl"):
        return [program("clara-data"), "index", "latent", "--corpus", corpus, "--checkpoint", str(checkpoint),
                "--device", "cpu", "--dtype", "float32", "--out", out, "--threads", "1", *options]  # fmt: skip

    def candidates(self, *options, index="index"):
        return self.here.run([program("clara-data"), "candidates", "--data", "questions.jsonl", "--index", index, "--out",
                              "candidates.jsonl", "--force", *options])  # fmt: skip

    def evaluate(self, *options):
        return self.here.eval("--run", "run", "--data", "candidates.jsonl", "--dtype", "float32", "--device", "cpu",
                              "--max-new-tokens", 4, "--output", "full_corpus", "--overwrite", *options)  # fmt: skip

    def test_the_whole_corpus_is_searched_and_read(self):
        outcome = self.here.run(self.index("--store", "float32", "--force"))
        self.assert_ended(outcome)
        self.assertEqual(outcome.out, "index\n")
        self.assertRegex(outcome.err, rf"encoded +{len(self.documents)} passages in .*, [0-9.]+ passages/s\n")
        self.assertRegex(outcome.err, r"size +[0-9.]+ [KM]iB\n")
        self.assertRegex(outcome.err, r"\n[0-9]+ passages of this run were longer than 64 tokens and were cut")
        manifest = json.loads((self.here / "index/index.json").read_text())
        self.assertEqual((manifest["kind"], manifest["names"]["stage"]), ("latent", "joint"))
        self.assertEqual(manifest["names"]["checkpoint"], str((self.here / "run/final").resolve()))

        outcome = self.candidates("--top", "8")
        self.assert_ended(outcome)
        self.assertNotIn("warning", outcome.err)
        self.assertRegex(outcome.err, rf"records written +{len(self.rows)}\n")
        rows = read_jsonl(self.here / "candidates.jsonl")
        self.assertTrue(all(len(row["docs"]) == 8 and set(row["docs"]) <= self.documents for row in rows))

        self.assert_ended(self.evaluate())
        for row, prediction in zip(rows, read_jsonl(self.here / "full_corpus/predictions.jsonl"), strict=True):
            # What the index ranks is what the model ranks: the candidates come in the order in which it puts them.
            scores = prediction["scores"]
            for better, worse in zip(scores, scores[1:]):
                self.assertGreaterEqual(better, worse - 1e-5, scores)
            self.assertEqual(len(prediction["selected"]), NUM_SELECTED)
            self.assertEqual(prediction["documents"], row["docs"])
            # Gold documents that the index did not find count against it.
            self.assertEqual(prediction["num_gold"], len(row["pos_index"]) + len(row.get("gold_docs", [])))
        scores = json.loads((self.here / "full_corpus/scores.json").read_text())
        self.assertEqual(scores["scores"]["retrieval"]["num_questions"], len(self.rows))

    def test_every_kind_and_type_is_built_and_summed_up(self):
        number = r"[01]\.[0-9]{4}"
        for options, shown in (
            (("--kind", "ivf", "--nlist", "3", "--nprobe", "3", "--store", "int8"), "ivf, nlist 3, nprobe 3"),
            (("--kind", "ivf-pq", "--nlist", "2", "--pq-bits", "4", "--pq-bytes", "8", "--reduce", "16", "--opq"),
             "ivf-pq of 16 components"),
            (("--kind", "hnsw", "--store", "float16"), "hnsw, links 32"),
        ):  # fmt: skip
            outcome = self.here.run(self.index(*options, "--force", out="kinds"))
            self.assert_ended(outcome)
            self.assert_told(outcome, shown)
            self.assertRegex(outcome.err, rf"recall +{number} of the exact 20 nearest of [0-9]+ passages\n")
            self.assert_ended(self.candidates("--top", "3", index="kinds"))
            self.assertTrue(all(len(row["docs"]) == 3 for row in read_jsonl(self.here / "candidates.jsonl")))
        outcome = self.here.run(self.index("--kind", "ivf", "--recall-queries", "0", "--force", "--store", "float16", out="kinds"))
        self.assert_ended(outcome)
        self.assert_told(outcome, "vectors of before")  # hnsw's
        self.assertNotIn("recall", outcome.err)
        self.assert_ended(self.candidates("--nprobe", "1", index="kinds"))
        self.assert_refused(self.candidates("--ef-search", "9", index="kinds"), USAGE, "ef_search: expected an index")

    def test_killed_runs_go_on_to_the_same_index(self):
        place = self.here
        place.write("corpus.jsonl", [{"id": i, "title": "Tower", "text": f"number {i} of the towers by the water"}
                                     for i in range(1500)])  # fmt: skip
        command = lambda out: self.index("--shard-passages", "50", "--batch-tokens", "1000", out=out, corpus="corpus.jsonl")
        self.assert_ended(place.run(command("whole")))
        unfinished = place / ".parts.unfinished"
        num_interrupted = 0
        for number in (signal.SIGTERM, signal.SIGKILL):
            run = subprocess.Popen(command("parts"), cwd=place.folder, env=environment(), stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)  # fmt: skip
            wanted = len(list(unfinished.glob("vectors_*"))) + 2
            while run.poll() is None and len(list(unfinished.glob("vectors_*"))) < wanted:
                time.sleep(0.002)
            run.send_signal(number)
            _, err = run.communicate(timeout=120)
            num_interrupted += run.returncode != OK
            if number == signal.SIGTERM and run.returncode != OK:
                self.assertEqual(run.returncode, STOPPED_BY_SIGTERM, err)
                self.assertRegex(err, b"with the vectors of [0-9]+ passages; the same command goes on")
        self.assertGreaterEqual(num_interrupted, 1)
        if not (place / "parts").exists():
            outcome = place.run(command("parts"))
            self.assert_ended(outcome)
            self.assertRegex(outcome.err, r"kept +[0-9]+ vectors of before\n")
        self.assertEqual(snapshot(place / "parts"), snapshot(place / "whole"))
        self.assertFalse(unfinished.exists())

    def test_the_checkpoint_must_have_the_compressor_of_the_index(self):
        self.assert_ended(self.here.run(self.index("--force", out="owned")))
        self.assert_ended(self.candidates("--checkpoint", "run/final", index="owned"))
        # The compressor was frozen in joint training: the tune run has the same one, but no query reasoner yet.
        outcome = self.candidates("--checkpoint", "../tune/run", index="owned")
        self.assert_ended(outcome)
        self.assert_told(outcome, "warning: the checkpoint has no trained query reasoner")
        outcome = self.candidates("--checkpoint", "../other/run", index="owned")
        self.assert_refused(outcome, DATA, "other/run/final: expected the checkpoint that owned was built with",
                            str(self.here / "run/final"), "--checkpoint names another folder")  # fmt: skip
        shutil.copytree(self.here / "base", self.here / "other_base")
        with open(self.here / "other_base/tokenizer.json", "a") as tokenizer:
            tokenizer.write("\n")
        outcome = self.candidates("--base", "other_base", index="owned")
        self.assert_refused(outcome, DATA, "base: built with", "other_base", "--base another base and tokenizer")
        self.assert_refused(self.candidates("--dtype", "bfloat16", index="owned"), USAGE, "dtype: expected float32")
        self.assert_refused(self.candidates("--encoder", "x", index="owned"), USAGE, "encoder: expected an index of another")
        manifest = self.here / "owned/index.json"
        text = manifest.read_text()
        manifest.write_text(text.replace("/run/final", "/gone/final"))
        self.assert_refused(self.candidates(index="owned"), DATA, "gone/final", "--checkpoint names where it is")
        manifest.write_text(text)
        shard = self.here / "owned/vectors_000000.safetensors"
        content = bytearray(shard.read_bytes())
        content[-1] ^= 1
        shard.write_bytes(content)
        self.assert_refused(self.candidates(index="owned"), DATA, "vectors_000000.safetensors", "checksum")
        self.assert_ended(self.candidates("--no-verify", index="owned"))

    def test_bad_input(self):
        for options, code, told in (
            (("--num-devices", "2"), USAGE, "num_devices: expected 1 on the CPU"),
            (("--store", "int4"), USAGE, "--store"),
            (("--kind", "ivf-pq", "--pq-bytes", "7"), USAGE, "pq_bytes"),
            (("--kind", "flat", "--reduce", "8"), USAGE, "reduced_dimension: expected another kind"),
        ):  # fmt: skip
            self.assert_refused(self.here.run(self.index(*options, out="bad")), code, told)
        self.assert_refused(self.here.run(self.index(checkpoint="nowhere", out="bad")), DATA, "nowhere")
        self.assert_refused(self.here.run(self.index("--base", "nowhere", out="bad")), DATA, "nowhere", "--base")
        self.assert_refused(self.here.run(self.index(corpus="gone.jsonl", out="bad")), DATA, "gone.jsonl")
        shutil.copytree(self.here / "run/final", self.here / "damaged")
        (self.here / "damaged/adapters/compressor/adapter_model.safetensors").write_bytes(b"torn")
        self.assert_refused(self.here.run(self.index(checkpoint="damaged", out="bad")), DATA, "damaged/adapters/compressor")
        self.assertFalse((self.here / "bad").exists() or (self.here / ".bad.unfinished").exists())
        self.assert_ended(self.here.run([program("clara-data"), "index", "bm25", "--corpus", "evaluation.jsonl", "--out",
                                         "terms", "--force"]))  # fmt: skip
        for option, value in (("--checkpoint", "run"), ("--dtype", "float32"), ("--device", "cpu"), ("--base", "base")):
            self.assert_refused(self.candidates(option, value, index="terms"), USAGE,
                                f"{option}: expected an index of the kind latent", "kind bm25")  # fmt: skip


if __name__ == "__main__":
    unittest.main()
