"""scripts/results.sh on a tiny base: the whole chain from published files to a report, and what it refuses."""
import json
import random
import subprocess
import unittest
from pathlib import Path

from program_case import (
    DATA, OK, PROJECT, TIMEOUT_SECONDS, TINY_BASE, USAGE, Outcome, ProgramCase, environment, program, read_jsonl, read_rows,
    snapshot, to_lines,
)  # fmt: skip

NUM_QUESTIONS = 10
TOWNS = ("Belmar", "Oskel", "Tolvek", "Ruskay", "Imber", "Sarn", "Wexley", "Corvo", "Lund", "Haverly")


def hotpot_rows():
    """Questions in HotpotQA's layout, each with its own person among ten."""
    draw = random.Random(5)
    people = [f"Mara {town}ek" for town in TOWNS]
    rows = []
    for i, person in enumerate(people):
        others = draw.sample([p for p in people if p != person], 9)
        context = [[name, [f"{name} was born in {TOWNS[people.index(name)]}."]] for name in [person, *others]]
        draw.shuffle(context)
        rows.append({"_id": str(i), "question": f"Where was {person} born?", "answer": TOWNS[i], "context": context,
                     "supporting_facts": [[person, 0]], "type": "bridge", "level": "easy"})  # fmt: skip
    return rows


class ResultsScriptTest(ProgramCase):
    def run_script(self, folder, *options):
        command = ["bash", str(PROJECT / "scripts/results.sh"), "--base", str(TINY_BASE), "--programs",
                   str(Path(program("clara-train")).parent), *options]  # fmt: skip
        done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=3 * TIMEOUT_SECONDS)  # fmt: skip
        return Outcome(done.returncode, done.stdout, done.stderr)

    def files(self, name):
        folder = self.root / name
        folder.mkdir()
        scp = read_rows("scp")
        (folder / "scp.jsonl").write_text(to_lines((scp * 120)[:116]), encoding="utf-8")
        (folder / "hotpot.json").write_text(json.dumps(hotpot_rows()), encoding="utf-8")
        return folder

    def test_published_files_become_a_report_and_a_second_run_finds_all_there(self):
        folder = self.files("whole")
        encoders = PROJECT / "tests/fixtures/retrieval"
        options = ("--scp-rows", "scp.jsonl", "--questions", "hotpot.json", "again.json", "--steps", "1,1,1", "--out", "out",
                   "--encoder", str(encoders / "mean"), "--reranker", str(encoders / "cross"))  # fmt: skip
        # The same passages under other questions, in another order.
        (folder / "again.json").write_text(json.dumps([{**row, "question": f"And {row['question']}", "_id": f"again{row['_id']}"}
                                                       for row in reversed(hotpot_rows())]), encoding="utf-8")  # fmt: skip
        outcome = self.run_script(folder, *options)
        self.assert_ended(outcome, OK)
        out = folder / "out"
        parts = {name: {row["id"] for row in read_jsonl(out / f"data/{name}.jsonl")}
                 for name in ("own", "joint_train", "joint_valid", "tune_train", "tune_valid")}  # fmt: skip
        self.assertEqual({name: len(ids) for name, ids in parts.items()},
                         {"own": 4, "joint_train": 15, "joint_valid": 1, "tune_train": 15, "tune_valid": 1})  # fmt: skip
        for stage in ("joint", "tune"):
            self.assertEqual(len(parts["own"] | parts[f"{stage}_train"] | parts[f"{stage}_valid"]), 2 * NUM_QUESTIONS)
        self.assertEqual(len(read_jsonl(out / "data/scp_questions.jsonl")), 16)
        passages = read_jsonl(out / "data/scp.jsonl")
        self.assertEqual(len(passages), NUM_QUESTIONS, "each passage once")
        self.assertTrue(all(row["answers"] == row["docs"] for row in passages))
        evaluations = sorted(path.parent.name for path in out.glob("eval/*/scores.json"))
        self.assertEqual(len(evaluations), 29)
        for name in ("report.html", "report.md"):
            self.assertTrue(list((out / "report").glob(name)), name)
        for benchmark in ("own", "corpus"):
            self.assertRegex(outcome.out, rf"(?m)^{benchmark}$")
        for method in ("no document", "tune, reranker", "text, dense index", "text, reranked index", "tune, supervised", "joint, latent index"):
            self.assertIn(method, outcome.out)
        looks = ("logit_lens_compressor", "logit_lens_query_reasoner", "latent_space", "gap", "paraphrase", "efficiency")
        self.assertTrue(all((out / f"analysis/{name}.json").is_file() for name in looks))
        refused = self.run_script(folder, *options[:-2])
        self.assert_refused(refused, USAGE, "reranker", "has results of other arguments")
        before = snapshot(out)
        again = self.run_script(folder, *options)
        self.assert_ended(again, OK)
        trained = {name: value for name, value in before.items() if name.endswith((".safetensors", "scores.json", ".jsonl"))}
        after = snapshot(out)
        self.assertEqual({name: after[name] for name in trained}, trained)

    def test_refusals_come_before_any_work(self):
        folder = self.files("refused")
        good = ("--scp-rows", "scp.jsonl", "--questions", "hotpot.json")
        for options, code, message in (
            ((), USAGE, "--scp-rows and --questions are needed"),
            ((*good, "--no-such-option", "1"), USAGE, "unknown option --no-such-option"),
            ((*good, "--out"), USAGE, "--out needs a value"),
            ((*good, "--steps", "1,2"), USAGE, "--steps: expected three numbers"),
            ((*good, "--rows", "many"), USAGE, "--rows: expected a number, found many"),
            (("--scp-rows", "absent.jsonl", "--questions", "hotpot.json"), DATA, "absent.jsonl: no such file"),
            ((*good, "--init-from", "absent"), DATA, "absent: expected a checkpoint's folder"),
            ((*good, "--encoder", "absent"), DATA, "absent: expected a model's folder"),
            ((*good, "--reranker", "absent"), DATA, "absent: expected a model's folder"),
        ):
            with self.subTest(options):
                outcome = self.run_script(folder, *options, *(("--out", "out") if "--out" not in options else ()))
                self.assert_ended(outcome, code)
                self.assert_told(outcome, message)
                self.assertFalse((folder / "out").exists())


if __name__ == "__main__":
    unittest.main()
