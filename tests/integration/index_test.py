"""clara-data index and clara-data candidates as a user runs them."""
import gzip
import json
import unittest

from program_case import DATA, USAGE, ProgramCase, program, read_jsonl

PASSAGES = [
    {"id": "p0", "title": "Mara Tolvek", "text": "Mara Tolvek is a miller. She is from Belmar."},
    {"id": "p1", "title": "Oskel Mills", "text": "Oskel Mills were founded by Mara Tolvek."},
    {"id": "p2", "title": "Belmar", "text": "Belmar is a town on the river Oskel."},
    {"id": "p3", "title": "Oskel", "text": "The Oskel is a river with mills."},
    {"id": "p4", "title": "Mara Tolvek", "text": "Mara Tolvek, is a miller; she is from BELMAR"},
    {"id": "p5", "title": "Zug", "text": "Nothing in common."},
]  # fmt: skip
QUESTION = {
    "id": "q1", "question": "Where was Mara Tolvek, the founder of Oskel Mills, born?", "answers": ["Belmar"],
    "docs": ["Oskel Mills\nOskel Mills were founded by Mara Tolvek.", "Zug\nOf the benchmark."],
    "pos_index": [0], "gold_docs": ["Mara Tolvek\nMara Tolvek is a miller. She is from Belmar."],
    "question_type": "bridge",
}  # fmt: skip


class IndexTest(ProgramCase):
    def data(self, place, *options):
        return place.run([program("clara-data"), *options])

    def indexed(self, name):
        place = self.place(name, stage="joint")
        place.write("corpus.jsonl", PASSAGES)
        place.write("questions.jsonl", [QUESTION, {"question": "Which river?", "answer": "Oskel"}])
        outcome = self.data(place, "index", "bm25", "--corpus", "corpus.jsonl", "--out", "index")
        self.assert_ended(outcome)
        self.assertEqual(outcome.out, "index\n")
        self.assertRegex(outcome.err, r"corpus.jsonl \(json\)\n(.*\n)*passages +6\n")
        return place

    def candidates(self, place, *options):
        return self.data(place, "candidates", "--data", "questions.jsonl", "--index", "index", *options)

    def test_normal_candidates_are_what_was_found(self):
        place = self.indexed("normal")
        outcome = self.candidates(place, "--out", "out.jsonl", "--top", "2")
        self.assert_ended(outcome)
        self.assertRegex(outcome.err, r"repeated texts left out +1\n")
        self.assertRegex(outcome.err, r"recall of gold documents +0.5000 +1.0000 +1.0000\n")
        rows = read_jsonl(place / "out.jsonl")
        self.assertEqual([row["question"] for row in rows], [QUESTION["question"], "Which river?"])
        self.assertEqual(rows[0]["docs"][0], QUESTION["docs"][0])
        self.assertEqual(len(rows[0]["docs"]), 2)
        self.assertEqual(rows[0]["question_type"], "bridge")
        gold = [QUESTION["docs"][0], QUESTION["gold_docs"][0]]
        found = [rows[0]["docs"][k] for k in rows[0]["pos_index"]]
        self.assertEqual(sorted(found + rows[0].get("gold_docs", [])), sorted(gold))
        self.assertEqual(rows[1]["pos_index"], [])

    def test_oracle_has_every_gold_document(self):
        place = self.indexed("oracle")
        for top in ("1", "2", "4"):
            outcome = self.candidates(place, "--out", "out.jsonl", "--top", top, "--oracle", "--force")
            self.assert_ended(outcome)
            row = read_jsonl(place / "out.jsonl")[0]
            self.assertEqual({row["docs"][k] for k in row["pos_index"]},
                             {QUESTION["docs"][0], QUESTION["gold_docs"][0]}, top)  # fmt: skip
            self.assertNotIn("gold_docs", row)
            self.assertEqual(len(row["docs"]), max(int(top), 2))

    def test_in_benchmark_keeps_the_records_documents(self):
        place = self.indexed("own")
        self.assert_ended(self.candidates(place, "--out", "out.jsonl", "--top", "3", "--in-benchmark"))
        row = read_jsonl(place / "out.jsonl")[0]
        self.assertEqual(row["docs"][:2], QUESTION["docs"])
        self.assertEqual(len(row["docs"]), 3)

    def test_hard_negatives_hold_no_answer(self):
        place = self.indexed("negatives")
        outcome = self.candidates(place, "--out", "out.jsonl.gz", "--hard-negatives", "2")
        self.assert_ended(outcome)
        with gzip.open(place / "out.jsonl.gz", "rt") as file:
            row = json.loads(file.readline())
        self.assertEqual(len(row["pos_index"]), 2)
        for k, text in enumerate(row["docs"]):
            if k not in row["pos_index"]:
                self.assertNotIn("belmar", text.lower())

    def test_the_candidates_train_and_are_evaluated(self):
        place = self.indexed("used")
        self.assert_ended(self.candidates(place, "--out", "train.jsonl", "--top", "4", "--oracle", "--force"))
        place.set(trainer__max_steps=1, objective__num_selected=2)
        self.assert_ended(place.train())
        outcome = place.eval("--run", "run", "--data", "train.jsonl", "--max-new-tokens", "2", "--device", "cpu")
        self.assert_ended(outcome)

    def test_what_is_refused(self):
        place = self.indexed("refused")
        bm25 = ("index", "bm25", "--corpus")
        self.assert_refused(self.data(place, *bm25, "absent.tsv", "--out", "x"), DATA, "absent.tsv: expected a file")
        self.assert_refused(self.data(place, *bm25, "corpus.jsonl", "--out", "index"), USAGE, "--force replaces it")
        self.assert_refused(self.data(place, *bm25, "corpus.jsonl", "--out", "x", "--b", "2"), USAGE, "from 0 to 1")
        place.write("twice.jsonl", [PASSAGES[0], PASSAGES[0]])
        self.assert_refused(self.data(place, *bm25, "twice.jsonl", "--out", "x"), DATA,
                            'found "p0" for passages 1 and 2')  # fmt: skip
        self.assertFalse((place / "x").exists())
        self.assert_refused(self.data(place, "index"), USAGE, "subcommand is required")
        self.assert_refused(self.candidates(place, "--out", "out.csv"), USAGE, ".jsonl.gz")
        self.assert_refused(self.candidates(place, "--out", "questions.jsonl"), USAGE, "another file")
        self.assert_refused(self.candidates(place, "--out", "o.jsonl", "--oracle", "--in-benchmark"), USAGE, "excludes")
        self.assert_refused(self.candidates(place, "--out", "o.jsonl", "--k1", "-1"), USAGE, "k1: expected")
        place.write("questions.jsonl", [{"question": 3, "answer": "a"}])
        self.assert_refused(self.candidates(place, "--out", "o.jsonl"), DATA,
                            "questions.jsonl:1: question: expected a string")  # fmt: skip
        content = (place / "index/postings").read_bytes()
        (place / "index/postings").write_bytes(content[:-1])
        self.assert_refused(self.candidates(place, "--out", "o.jsonl"), DATA, "index: expected postings with",
                            "build the index again")  # fmt: skip
        self.assertFalse((place / "o.jsonl").exists())


if __name__ == "__main__":
    unittest.main()
