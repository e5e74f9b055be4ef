"""clara-data convert as a user runs it."""
import gzip
import json
import unittest

from program_case import DATA, USAGE, ProgramCase, program, read_jsonl

HOTPOT = {
    "_id": "5a", "answer": "Belmar", "question": "Where was the founder of Oskel Mills born?",
    "supporting_facts": [["Oskel Mills", 0], ["Mara Tolvek", 1]],
    "context": [
        ["Tolvek", ["A family."]],
        ["Mara Tolvek", ["Mara Tolvek is a miller.", " She is from Belmar."]],
        ["Oskel Mills", ["Founded by Mara Tolvek."]],
    ],
    "type": "bridge", "level": "hard",
}  # fmt: skip
MUSIQUE = {
    "id": "2hop__1", "question": "Who?", "answer": "Hall", "answer_aliases": ["G. Hall"], "answerable": True,
    "paragraphs": [{"idx": 0, "title": "A", "paragraph_text": "text", "is_supporting": True}],
    "question_decomposition": [],
}  # fmt: skip


class ConvertTest(ProgramCase):
    def convert(self, place, *options):
        return place.run([program("clara-data"), "convert", *options])

    def files(self, name):
        """A folder with published files of two layouts."""
        place = self.place(name, stage="joint")
        (place / "hotpot.json").write_text(json.dumps([HOTPOT, HOTPOT], indent=1))
        with gzip.open(place / "musique.jsonl.gz", "wt") as file:
            file.write(json.dumps(MUSIQUE) + "\n" + json.dumps({**MUSIQUE, "answerable": False}) + "\n")
        return place

    def test_published_files_become_records(self):
        place = self.files("records")
        outcome = self.convert(place, "--data", "hotpot.json", "musique.jsonl.gz", "--out", "all.jsonl")
        self.assert_ended(outcome)
        self.assertEqual(outcome.out, "all.jsonl\n")
        self.assert_told(outcome, "hotpot.json (hotpotqa): 2 rows, 2 records", "(musique): 2 rows, 1 records")
        self.assertRegex(outcome.err, r"dropped: unanswerable +1\n")
        rows = read_jsonl(place / "all.jsonl")
        self.assertEqual(rows[0], {
            "id": "5a", "question": HOTPOT["question"], "answers": ["Belmar"],
            "docs": ["Tolvek\nA family.", "Mara Tolvek\nMara Tolvek is a miller. She is from Belmar.",
                     "Oskel Mills\nFounded by Mara Tolvek."],
            "pos_index": [1, 2], "supporting_titles": ["Oskel Mills", "Mara Tolvek"], "question_type": "bridge",
        })  # fmt: skip
        self.assertEqual(rows[2]["answers"], ["Hall", "G. Hall"])

    def test_the_records_train_and_are_evaluated(self):
        place = self.files("used")
        self.assert_ended(self.convert(place, "--data", "hotpot.json", "--out", "train.jsonl", "--force"))
        place.set(trainer__max_steps=1, objective__num_selected=2)
        self.assert_ended(place.train())
        outcome = place.eval("--run", "run", "--data", "train.jsonl", "--max-new-tokens", "2", "--device", "cpu")
        self.assert_ended(outcome)

    def test_standard_output_gz_and_tune_records(self):
        place = self.files("outputs")
        outcome = self.convert(place, "--data", "hotpot.json", "--out", "-", "--max-rows", "1")
        self.assert_ended(outcome)
        self.assertEqual([json.loads(line)["id"] for line in outcome.out.splitlines()], ["5a"])
        options = ("--record", "tune", "--max-documents", "2", "--document-format", "ml_clara")
        self.assert_ended(self.convert(place, "--data", "hotpot.json", "--out", "tune.jsonl.gz", *options))
        with gzip.open(place / "tune.jsonl.gz", "rt") as file:
            rows = [json.loads(line) for line in file]
        self.assertEqual(len(rows), 2)
        self.assertEqual(rows[0]["docs"][1], "This a document about Oskel Mills. \n Founded by Mara Tolvek.")
        self.assertEqual(rows[0]["pos_index"], [0, 1])

    def test_long_passages_become_chunks(self):
        place = self.files("chunks")
        row = json.loads(json.dumps(HOTPOT))
        row["context"][1][1] = ["word " * 200 + "."]
        (place / "long.jsonl").write_text(json.dumps(row) + "\n")
        options = ("--data", "long.jsonl", "--out", "out.jsonl", "--doc-max-tokens", "64")
        self.assert_refused(self.convert(place, *options), USAGE, "--doc-max-tokens and --tokenizer together")
        self.assert_ended(self.convert(place, *options, "--tokenizer", "base"))
        row = read_jsonl(place / "out.jsonl")[0]
        self.assertGreater(len(row["pos_index"]), 3)
        for k in row["pos_index"][:-1]:
            self.assertTrue(row["docs"][k].startswith("Mara Tolvek\nword"))

    def test_a_file_that_is_cut_off(self):
        place = self.files("cut")
        text = json.dumps([HOTPOT, HOTPOT, HOTPOT])
        (place / "cut.json").write_text(text[:-200])
        options = ("--data", "cut.json", "--out", "out.jsonl")
        self.assert_refused(self.convert(place, *options), DATA, f"cut.json: byte {len(text) - 200}: expected",
                            "in record 3", "--keep-complete converts the whole rows before it")  # fmt: skip
        self.assertFalse((place / "out.jsonl").exists())
        outcome = self.convert(place, *options, "--keep-complete")
        self.assert_ended(outcome)
        self.assert_told(outcome, "2 rows, 2 records", "only its whole rows: ", "in record 3")
        self.assertEqual(len(read_jsonl(place / "out.jsonl")), 2)

    def test_what_is_refused(self):
        place = self.files("refused")
        before = sorted(path.name for path in place.folder.iterdir())
        to = ("--out", "out.jsonl")
        self.assert_refused(self.convert(place, "--data", "absent.json", *to), DATA, "absent.json: expected a file")
        self.assert_refused(self.convert(place, "--data", "hotpot.json", *to, "--format", "dpr"), DATA,
                            "hotpot.json:1: answers: expected a list of strings, found no such field",
                            "(the row starts at byte 3)")  # fmt: skip
        self.assert_refused(self.convert(place, "--data", "hotpot.json", *to, "--format", "hotpot"), USAGE, "hotpotqa")
        self.assert_refused(self.convert(place, "--data", "train.jsonl", "--out", "train.jsonl"), USAGE,
                            "another file than one that is read")  # fmt: skip
        self.assert_refused(self.convert(place, "--data", "hotpot.json", "--out", "train.jsonl"), USAGE,
                            "is there already; --force replaces it")  # fmt: skip
        self.assert_refused(self.convert(place, "--data", "hotpot.json", "--out", "out.csv"), USAGE, ".jsonl.gz")
        self.assertEqual(sorted(path.name for path in place.folder.iterdir()), before)

    def test_bad_rows_stop_or_are_listed(self):
        place = self.files("bad")
        lines = [json.dumps(HOTPOT), json.dumps({**HOTPOT, "question": 3}), '{"question": "\\ud83d"}']
        (place / "bad.jsonl").write_text("\n".join(lines) + "\n")
        options = ("--data", "bad.jsonl", "--out", "out.jsonl")
        self.assert_refused(self.convert(place, *options), DATA,
                            "bad.jsonl:2: question: expected a string, found the number 3")  # fmt: skip
        self.assertFalse((place / "out.jsonl").exists())
        outcome = self.convert(place, *options, "--on-bad-record", "skip")
        self.assert_ended(outcome)
        self.assert_told(outcome, "bad.jsonl:2: question", "bad.jsonl:3: ", "(--on-bad-record skip)")
        self.assertEqual(len(read_jsonl(place / "out.jsonl")), 1)


if __name__ == "__main__":
    unittest.main()
