"""clara-data chunk as a user runs it."""
import unittest

from program_case import DATA, USAGE, ProgramCase, program, read_jsonl, read_rows


class ChunkTest(ProgramCase):
    def chunk(self, place, *options):
        return place.run([program("clara-data"), "chunk", "--tokenizer", "base", *options])

    def long_rows(self, name):
        place = self.place(name, stage="joint")
        rows = read_rows("joint", 4)
        for row in rows:
            row["docs"][0] = "word " * 400 + "."
            row["pos_index"] = [0]
        place.write("train.jsonl", rows)
        return place

    def test_the_written_file_trains_without_a_cut(self):
        place = self.long_rows("chunk")
        outcome = self.chunk(place, "--data", "train.jsonl", "--output", "chunks.jsonl", "--max-tokens", "64")
        self.assert_ended(outcome)
        self.assertRegex(outcome.out, r"chunks.jsonl: 4 rows, \d+ documents became \d+ \(\d+ were split\)")
        rows = read_jsonl(place / "chunks.jsonl")
        self.assertGreater(len(rows[0]["pos_index"]), 2)
        for row in rows:
            for k, document in enumerate(row["docs"]):
                self.assertEqual(document.startswith("word word"), k in row["pos_index"])

    def test_chunks_as_rows_train_a_compressor(self):
        place = self.place("as_rows", stage="scp")
        outcome = self.chunk(place, "--data", "train.jsonl", "--output", "short.jsonl", "--max-tokens", "8", "--record", "scp")
        self.assert_ended(outcome)
        self.assertRegex(outcome.out, r"short.jsonl: \d+ rows, \d+ documents became \d+ ")
        rows = read_jsonl(place / "short.jsonl")
        self.assertGreater(len(rows), len(read_jsonl(place / "train.jsonl")))
        for row in rows:
            self.assertEqual((row["data_type"], row["docs"]), ("paraphrase", row["answers"]))
        self.assert_ended(place.train("--dry-run", "--set", "data.train=[short.jsonl]"))

    def test_what_is_refused(self):
        place = self.long_rows("refused")
        to = ("--output", "out.jsonl")
        self.assert_refused(self.chunk(place, "--data", "train.jsonl", *to, "--overlap", "200"), USAGE,
                            "overlap_tokens: expected 0 to half of max_tokens (128), found 200")  # fmt: skip
        self.assert_refused(self.chunk(place, "--data", "train.jsonl", "--output", "train.jsonl"), USAGE,
                            "another file than the one that is read")  # fmt: skip
        text = (place / "train.jsonl").read_bytes()
        (place / "bad.jsonl").write_bytes(text + b'{"question": "\xff"}\n')
        self.assert_refused(self.chunk(place, "--data", "bad.jsonl", *to), DATA, "bad.jsonl:5: byte", "0xFF")
        self.assertFalse((place / "out.jsonl").exists())
        outcome = self.chunk(place, "--data", "bad.jsonl", *to, "--on-bad-record", "skip")
        self.assert_ended(outcome)
        self.assert_told(outcome, "1 bad rows were left out", "bad.jsonl:5: byte")
        self.assertEqual(len(read_jsonl(place / "out.jsonl")), 4)


if __name__ == "__main__":
    unittest.main()
