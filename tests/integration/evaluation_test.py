#!/usr/bin/env python3
"""clara-eval on a tiny trained model: evaluation under every setting and selection, scoring again, one
question, comparison tables, and what it refuses.
"""

import json
import os
import re
import shutil
import sys
import unittest

sys.dont_write_bytecode = True
from program_case import (  # noqa: E402
    DATA, OK, PROJECT, USAGE, ProgramCase, files_below, program, read_jsonl, read_rows, snapshot,
)  # fmt: skip

ENCODERS = {"dense": PROJECT / "tests/fixtures/retrieval/cls", "cross_encoder": PROJECT / "tests/fixtures/retrieval/cross"}
RESULT_FILES = ["predictions.jsonl", "report.md", "scores.json"]
SELECTORS = ("query_reasoner", "given", "bm25", "random", "all")
NUM_SELECTED = 2


class EvaluationCase(ProgramCase):
    """A place with evaluation rows and a joint run of one step (by the tune run before it)."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        common = {"objective__num_selected": NUM_SELECTED, "trainer__max_steps": 1}
        tuned = cls.place("tune", "tune", **common)
        cls.here = cls.place("joint", "joint", model__init_from=str(tuned / "run/final"), **common)
        for place in (tuned, cls.here):
            outcome = place.train()
            if outcome.code != OK:
                raise AssertionError(str(outcome))
        cls.rows = read_rows("evaluation")
        cls.here.write("evaluation.jsonl", cls.rows)

    def evaluate(self, *options, data="evaluation.jsonl"):
        return self.here.eval(
            "--run", "run", "--data", data, "--dtype", "float32", "--device", "cpu",
            "--max-new-tokens", 4, *options,
        )  # fmt: skip

    def scores(self, folder):
        return json.loads((self.here / folder / "scores.json").read_text())


class EvaluationTest(EvaluationCase):
    """What evaluation writes and prints."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folders, cls.outcomes = {}, {}
        for setting in ("normal", "oracle"):
            for select in SELECTORS:
                name = f"run/eval/records_{setting}" + ("" if select == "query_reasoner" else f"_{select}")
                cls.folders[setting, select] = name
                cls.outcomes[setting, select] = cls.evaluate(cls, "--setting", setting, "--select", select)

    def each(self):
        for key, folder in self.folders.items():
            with self.subTest(setting=key[0], select=key[1]):
                self.assert_ended(self.outcomes[key])
                yield *key, folder, read_jsonl(self.here / folder / "predictions.jsonl")

    def test_results_are_three_files_in_a_folder_named_after_the_settings(self):
        for setting, select, folder, _ in self.each():
            self.assertEqual(files_below(self.here / folder), RESULT_FILES)
            settings = self.scores(folder)["settings"]
            self.assertEqual((settings["setting"], settings["select"]), (setting, select))
            self.assertIn(f"{folder}/report.md", self.outcomes[setting, select].out)

    def test_every_row_is_answered_in_order(self):
        for _, _, _, predictions in self.each():
            self.assertEqual([p["id"] for p in predictions], [row["id"] for row in self.rows])
            self.assertEqual([p["question"] for p in predictions], [row["question"] for row in self.rows])
            self.assertTrue(all(isinstance(p["prediction"], str) for p in predictions))

    def test_encoders_rank_a_questions_own_documents_as_they_rank_a_corpus(self):
        self.here.write("one.jsonl", self.rows[:1])
        documents = self.rows[0]["docs"]
        self.assertEqual(len(set(documents)), len(documents))
        index = ("--corpus", "one.jsonl", "--encoder", str(ENCODERS["dense"]), "--out", "one_index", "--dtype", "float32")
        self.assert_ended(self.here.run([program("clara-data"), "index", "dense", *index]))
        for select, encoder in ENCODERS.items():
            rerank = ("--rerank", str(encoder)) if select == "cross_encoder" else ()
            found = f"found_{select}.jsonl"
            self.assert_ended(self.here.run([
                program("clara-data"), "candidates", "--data", "one.jsonl", "--index", "one_index", "--out", found,
                "--top", str(len(documents)), *rerank,
            ]))  # fmt: skip
            self.assert_ended(self.evaluate("--select", select, "--encoder", str(encoder), "--output", select,
                                            data="one.jsonl"))  # fmt: skip
            prediction = read_jsonl(self.here / select / "predictions.jsonl")[0]
            scores = [prediction["scores"][k] for k in prediction["ranking"]]
            self.assertEqual(scores, sorted(scores, reverse=True))
            self.assertGreater(scores[0] - scores[-1], 1e-3)
            # The same order but for rounding: other batches.
            order = read_jsonl(self.here / found)[0]["docs"]
            self.assertEqual(sorted(order), sorted(documents))
            theirs = [prediction["scores"][documents.index(text)] for text in order]
            for score, other in zip(scores, theirs):
                self.assertAlmostEqual(score, other, delta=1e-5, msg=select)
            self.assertEqual(prediction["selected"], prediction["ranking"][:NUM_SELECTED])
            self.assertEqual(self.scores(select)["settings"]["encoder"], str(encoder))
            self.assertIn(str(encoder), (self.here / select / "report.md").read_text())

    def test_before_joint_training_the_compressor_reads_the_questions(self):
        """Not the query reasoner that the checkpoint also holds: nothing has trained that one."""
        self.here.write("one.jsonl", self.rows[:1])
        documents = self.rows[0]["docs"]
        tuned = ("--checkpoint", "../tune/run/final")
        self.assert_ended(self.here.run([program("clara-data"), "index", "latent", "--corpus", "one.jsonl", *tuned, "--out",
                                         "tune_index", "--store", "float32", "--dtype", "float32"]))  # fmt: skip
        self.assert_ended(self.here.run([program("clara-data"), "candidates", "--data", "one.jsonl", "--index", "tune_index",
                                         "--out", "found_tune.jsonl", "--top", str(len(documents))]))  # fmt: skip
        outcome = self.here.eval(*tuned, "--data", "one.jsonl", "--dtype", "float32", "--select", "query_reasoner",
                                 "--max-new-tokens", 2, "--output", "tune_eval")  # fmt: skip
        self.assert_ended(outcome)
        self.assert_told(outcome, "no trained query reasoner; its compressor reads the questions")
        prediction = read_jsonl(self.here / "tune_eval/predictions.jsonl")[0]
        ranked = [documents[k] for k in prediction["ranking"]]
        self.assertEqual(ranked, read_jsonl(self.here / "found_tune.jsonl")[0]["docs"])

    def test_an_encoder_and_its_selector_belong_together(self):
        for options, code, message in (
            (("--select", "dense"), USAGE, "dense needs the folder of its encoder (--encoder)"),
            (("--select", "bm25", "--encoder", str(ENCODERS["dense"])), USAGE, "expected select dense or cross_encoder"),
            (("--select", "dense", "--encoder", "gone"), DATA, "gone: expected the folder of an encoder"),
            (("--select", "dense", "--encoder", "gone", "--num-processes", "2"), DATA, "gone: expected the folder of an encoder"),
            (("--select", "dense", "--encoder", str(ENCODERS["cross_encoder"]), "--num-processes", "2"), None, "pooling"),
            (("--context", "none", "--select", "dense", "--encoder", str(ENCODERS["dense"])), USAGE, "and documents, with it"),
            (("--select", "bm25", "--query-prefix", "query: "), USAGE, "expected select dense with them"),
            (("--select", "cross_encoder", "--encoder", str(ENCODERS["dense"])), DATA, "reranker"),
        ):
            with self.subTest(options):
                outcome = self.evaluate(*options, "--output", "refused")
                self.assertNotEqual(outcome.code, OK, outcome)
                if code is not None:  # of several ranks the one that is told first decides
                    self.assert_refused(outcome, code, message)
                self.assert_told(outcome, message)
                self.assertFalse((self.here / "refused").exists())

    def test_ranks_share_the_work_of_an_encoder(self):
        """And what goes before a question moves its scores."""
        dense = ("--select", "dense", "--encoder", str(ENCODERS["dense"]))
        self.assert_ended(self.evaluate(*dense, "--output", "alone"))
        self.assert_ended(self.evaluate(*dense, "--num-processes", "2", "--output", "shared"))
        self.assert_ended(self.evaluate(*dense, "--query-prefix", "the tower: ", "--output", "prefixed"))
        alone, shared, prefixed = (read_jsonl(self.here / name / "predictions.jsonl") for name in ("alone", "shared", "prefixed"))
        self.assertEqual([p["ranking"] for p in alone], [p["ranking"] for p in shared])
        self.assertNotEqual([p["scores"] for p in alone], [p["scores"] for p in prefixed])

    def test_the_selection_decides_which_documents_are_read(self):
        for setting, select, _, predictions in self.each():
            for prediction, row in zip(predictions, self.rows, strict=True):
                selected = prediction["selected"]
                self.assertEqual(len(set(selected)), len(selected))
                if select == "all":
                    self.assertEqual(sorted(selected), list(range(len(selected))))
                    self.assertGreaterEqual(len(selected), len(row["docs"]) if setting == "normal" else 1)
                    continue
                self.assertEqual(len(selected), min(NUM_SELECTED, len(row["docs"])))
                if select == "given":
                    self.assertEqual(selected, list(range(len(selected))))
                if select == "query_reasoner":
                    order = sorted(range(len(prediction["scores"])), key=lambda k: -prediction["scores"][k])
                    self.assertEqual(selected, order[: len(selected)])

    def test_the_oracle_has_every_gold_document(self):
        for setting, _, folder, _ in self.each():
            retrieval = self.scores(folder)["scores"]["retrieval"]
            self.assertGreater(retrieval["num_questions"], 0)
            if setting == "oracle":
                counts = self.scores(folder)["counts"]
                self.assertEqual(counts["num_rows"], len(self.rows))
                most = [p["num_gold"] for p in read_jsonl(self.here / folder / "predictions.jsonl")]
                found = [len(p["positives"]) for p in read_jsonl(self.here / folder / "predictions.jsonl")]
                self.assertEqual(found, most)

    def test_scoring_again_gives_the_same_numbers(self):
        for setting, select, folder, _ in self.each():
            again = self.here.eval("score", f"{folder}/predictions.jsonl", "--json")
            self.assert_ended(again)
            self.assertEqual(json.loads(again.out), self.scores(folder)["scores"])
            table = self.here.eval("score", f"{folder}/predictions.jsonl")
            self.assertTrue(self.outcomes[setting, select].out.startswith(table.out), table)

    def test_scores_are_those_of_the_predictions(self):
        # After one step no answer is right. Of these a third is the first gold answer, a third another one.
        self.assert_ended(self.outcomes["normal", "given"])
        predictions = read_jsonl(self.here / self.folders["normal", "given"] / "predictions.jsonl")
        for index, row in enumerate(predictions):
            right = f"The {row['answers'][0].upper()}."
            row["answers"].append("another name")
            row["prediction"] = (right, "another name", "qqq")[index % 3]
        num_first, num_other = len(predictions[0::3]), len(predictions[1::3])
        self.here.write("answered.jsonl", predictions)
        outcome = self.here.eval("score", "answered.jsonl", "--json")
        self.assert_ended(outcome)
        found = json.loads(outcome.out)
        self.assertEqual(found["num_questions"], len(self.rows))
        for name in ("exact_match", "f1", "cover_exact_match"):
            self.assertAlmostEqual(found["first"][name], num_first / len(predictions), msg=name)
            self.assertAlmostEqual(found["best"][name], (num_first + num_other) / len(predictions), msg=name)

    def test_no_score_of_an_untrained_model_is_out_of_range(self):
        for _, _, folder, _ in self.each():
            found = self.scores(folder)["scores"]
            self.assertEqual(found["num_questions"], len(self.rows))
            for name in ("exact_match", "f1"):
                self.assertLessEqual(0, found["first"][name])
                self.assertLessEqual(found["first"][name], found["best"][name])
                self.assertLessEqual(found["best"][name], 1)

    def test_the_same_evaluation_again_gives_the_same_predictions(self):
        folder = self.folders["normal", "random"]
        before = snapshot(self.here / folder / "predictions.jsonl")
        self.assert_ended(self.evaluate("--select", "random"))
        self.assertEqual(snapshot(self.here / folder / "predictions.jsonl"), before)
        self.assertEqual(files_below(self.here / folder), RESULT_FILES)

    def test_a_report_compares_runs_and_results(self):
        # Results of their own place: other tests evaluate into the run's folder too.
        for folder in self.folders.values():
            shutil.copytree(self.here / folder, self.here / "reported" / folder, dirs_exist_ok=True)
        outcome = self.here.eval("report", "reported/run", "--out", "report", "--resamples", 200)
        self.assert_ended(outcome)
        for name in ("run", "run (given)", "run (bm25)", "run (random)", "run (all)", "Normal", "Oracle"):
            self.assertIn(name, outcome.out)
        csv = (self.here / "report/report.csv").read_text().splitlines()
        self.assertEqual(len(csv), 1 + 9 * len(self.folders))
        self.assertTrue(all(line.endswith(",8") for line in csv[1:]), "the rate of the checkpoint is recorded")
        page = (self.here / "report/report.html").read_text()
        self.assertIn(json.dumps(self.rows[0]["docs"][0], ensure_ascii=False)[1:-1], page)
        one = self.here.eval("report", self.folders["oracle", "given"] + "/scores.json")
        self.assert_ended(one)
        self.assertIn("run (given)", one.out)

    def test_what_was_cut_or_left_out_is_counted(self):
        rows = [row | {"docs": [f"Fact {n}.{i}." for i in range(5)], "pos_index": [1]} for n, row in enumerate(self.rows[:4])]
        rows[0] |= {"docs": ["long " * 300, "longer " * 300, "longest " * 300]}
        rows[1]["question"] = "why " * 100
        rows[2]["question"] = "how " * 100
        rows[3]["docs"][0] = rows[2]["docs"][0]
        self.here.write("long.jsonl", rows)
        self.assert_ended(self.evaluate("--output", "long", data="long.jsonl"))
        counts = self.scores("long")["counts"]
        self.assertLessEqual(counts.pop("num_generated_tokens"), 4 * len(rows))
        self.assertEqual(counts, {
            "num_rows": 4, "num_candidates": 18, "num_cut_documents": 3, "num_cut_questions": 2,
            "num_shortened_prompts": 0, "num_encoded_documents": 17,
        })  # fmt: skip
        report = (self.here / "long/report.md").read_text()
        self.assertRegex(report, r"documents cut at the compressor's limit *\| *3\b")
        self.assertRegex(report, r"questions cut at the query reasoner's limit *\| *2\b")

    def test_the_text_baseline_runs_the_base_model(self):
        outcome = self.evaluate("--context", "text", "--max-rows", 2)
        self.assert_ended(outcome)
        self.assertEqual(len(read_jsonl(self.here / "run/eval/records_normal_text/predictions.jsonl")), 2)

    def test_a_generator_tuned_on_text_reads_text(self):
        tuned = self.place("text", "tune", objective__context="text", objective__num_selected=NUM_SELECTED,
                           trainer__max_steps=2, trainer__peak_learning_rate=0.05)  # fmt: skip
        self.assert_ended(tuned.train())
        self.assertEqual(json.loads((tuned / "run/final/clara.json").read_text())["context"], "text")
        tuned.write("evaluation.jsonl", self.rows)
        options = ("--data", "evaluation.jsonl", "--dtype", "float32", "--device", "cpu", "--max-new-tokens", 4)
        self.assert_ended(tuned.eval("--run", "run", *options))
        answers = [row["prediction"] for row in read_jsonl(tuned / "run/eval/records_normal/predictions.jsonl")]
        self.assert_ended(self.evaluate("--context", "text", "--select", "given", "--output", "base_text"))
        base = [row["prediction"] for row in read_jsonl(self.here / "base_text/predictions.jsonl")]
        self.assertNotEqual(answers, base, "the generator's adapter did not read the prompt")
        self.assert_ended(tuned.eval("report", "run"))
        self.assertNotIn("(text)", tuned.eval("report", "run").out)
        shown = self.here.run([program("clara-data"), "inspect", "--data", "evaluation.jsonl", "--row", "1", "--stage", "tune",
                               "--checkpoint", tuned / "run/final"])  # fmt: skip
        self.assert_ended(shown)
        self.assertIn("documents  as text in the prompt", shown.out)
        plan = tuned.train("--plan")
        self.assert_ended(plan)
        self.assertRegex(plan.out, r"documents a row +0 ")
        # Another set of trained tensors, whatever is allowed.
        resumed = tuned.train("--resume", "auto", "--allow-changes", "--set", "objective.context=none")
        self.assert_refused(resumed, USAGE, "objective.context")
        # Latents are still there for who asks for them.
        self.assert_ended(tuned.eval("--run", "run", *options, "--context", "latents", "--max-rows", 1))

    def test_a_published_benchmark_is_converted_and_evaluated(self):
        titles = ["Dune", "Arrakis", "Caladan"]
        row = {
            "_id": "5a8b", "question": "Which planet is Dune about?", "answer": "Arrakis", "type": "bridge",
            "level": "easy", "supporting_facts": [["Arrakis", 0]],
            "context": [[title, [f"{title} is a word.", " It has letters."]] for title in titles],
        }  # fmt: skip
        self.here.write("dev.json", "[" + json.dumps(row) + "]")
        outcome = self.evaluate("--benchmark", "hotpotqa", "--output", "published", data="dev.json")
        self.assert_ended(outcome)
        self.assertIn("1 of 1 rows are questions", outcome.err)
        folder = self.here / "published"
        self.assertEqual(files_below(folder), sorted([*RESULT_FILES, "records.jsonl"]))
        (prediction,) = read_jsonl(folder / "predictions.jsonl")
        self.assertEqual((prediction["id"], prediction["positives"]), ("5a8b", [1]))
        (record,) = read_jsonl(folder / "records.jsonl")
        self.assertEqual(len(record["docs"]), 3)
        refused = self.evaluate("--benchmark", "dpr", "--output", "other", data="dev.json")
        self.assert_refused(refused, DATA, "dev.json:1: answers")

    def test_ask_prints_only_the_answer(self):
        self.here.write("documents.txt", "The mill was built in 1807.\nIt burnt down in 1850.\nIt was rebuilt.\n")
        outcome = self.here.eval(
            "ask", "--checkpoint", "run/final", "--question", "When was the mill built?", "--docs",
            "documents.txt", "--max-new-tokens", 4, "--dtype", "float32",
        )  # fmt: skip
        self.assert_ended(outcome)
        self.assertEqual(len(re.findall(r"(?m)^document [0-2] \(score", outcome.err)), NUM_SELECTED)
        self.assertNotIn("document 0", outcome.out)
        self.assertTrue(outcome.out.endswith("\n"))

    def test_a_checkpoint_in_the_middle_of_a_run_can_be_evaluated(self):
        outcome = self.here.eval(
            "--checkpoint", "run/checkpoints/step_000001", "--data", "evaluation.jsonl", "--output", "middle",
            "--max-new-tokens", 4, "--dtype", "float32", "--max-rows", 3,
        )  # fmt: skip
        self.assert_ended(outcome)
        whole = read_jsonl(self.here / self.folders["normal", "query_reasoner"] / "predictions.jsonl")
        self.assertEqual(read_jsonl(self.here / "middle/predictions.jsonl"), whole[:3])


class EvaluationRefusalTest(EvaluationCase):
    """What evaluation refuses, leaving nothing behind."""

    def final_copy(self, name):
        shutil.copytree(self.here / "run/final", self.here / name)
        return self.here / name

    def refuse(self, code, fragments, *command):
        before = snapshot(self.here.folder)
        outcome = self.here.eval(*command)
        self.assert_refused(outcome, code, *fragments)
        self.assertEqual(outcome.out, "")
        self.assertEqual(snapshot(self.here.folder), before)

    def test_the_command_line(self):
        data = ("--data", "evaluation.jsonl")
        for name, code, fragments, command in (
            ("nothing", USAGE, ("--data", "--help"), ()),
            ("no model", USAGE, ("--run", "--checkpoint", "neither"), data),
            ("two models", USAGE, ("--run", "--checkpoint", "both"), (*data, "--run", "run", "--checkpoint", "run")),
            ("unknown selector", USAGE, ("--select", "best"), (*data, "--run", "run", "--select", "best")),
            ("unknown setting", USAGE, ("--setting", "gold"), (*data, "--run", "run", "--setting", "gold")),
            ("unknown option", USAGE, ("--help",), (*data, "--run", "run", "--beams", "4")),
            ("unknown command", USAGE, ("--help",), ("compare",)),
            ("question without documents", USAGE, ("--docs",),
             ("ask", "--checkpoint", "run/final", "--question", "Who?")),
        ):  # fmt: skip
            with self.subTest(name):
                self.refuse(code, fragments, *command)

    def test_the_model(self):
        data = ("--data", "evaluation.jsonl")
        description = self.final_copy("moved") / "clara.json"
        description.write_text(description.read_text().replace('"base": "base"', '"base": "gone"'))
        os.truncate(self.final_copy("cut") / "adapters/generator/adapter_model.safetensors", 3000)
        (self.final_copy("lacking") / "memory_tokens.safetensors").unlink()
        (self.here / "unfinished").mkdir(exist_ok=True)
        for name, code, fragments, command in (
            ("no such run", DATA, ("nowhere", "final/"), ("--run", "nowhere")),
            ("unfinished run", DATA, ("unfinished", "final/", "--checkpoint"), ("--run", "unfinished")),
            ("no checkpoint", DATA, ("base", "clara.json"), ("--checkpoint", "base", "--output", "out")),
            ("base moved away", DATA, ("gone", "--base"), ("--checkpoint", "moved", "--output", "out")),
            ("adapter cut", DATA, ("cut/adapters/generator", "cut off"), ("--checkpoint", "cut", "--output", "out")),
            ("no memory rows", DATA, ("lacking/memory_tokens.safetensors", "not found"),
             ("--checkpoint", "lacking", "--output", "out")),
        ):  # fmt: skip
            with self.subTest(name):
                self.refuse(code, fragments, *command, *data)
                self.assertFalse((self.here / "out").exists(), "an empty folder of results was left")
                shutil.rmtree(self.here / "out", ignore_errors=True)

    def test_the_records(self):
        good = [json.dumps(row) for row in self.rows]
        for name, rows, fragments in (
            ("bad JSON", [*good[:5], "{oops"], ("bad.jsonl:6: ", "invalid JSON")),
            ("no documents", [*good[:2], json.dumps({**self.rows[2], "docs": []})], ("bad.jsonl:3: docs: expected",)),
            ("no rows", [], ("bad.jsonl: expected records",)),
        ):
            with self.subTest(name):
                self.here.write("bad.jsonl", rows)
                self.refuse(DATA, fragments, "--run", "run", "--data", "bad.jsonl", "--output", "out")
                self.assertFalse((self.here / "out").exists(), "an empty folder of results was left")
                shutil.rmtree(self.here / "out", ignore_errors=True)
        self.refuse(DATA, ("nowhere.jsonl", "no such file"), "--run", "run", "--data", "nowhere.jsonl")

    def test_the_output_folder(self):
        self.here.write("file", "kept\n")
        self.refuse(DATA, ("file/out", "--output"), "--run", "run", "--data", "evaluation.jsonl", "--output", "file/out")
        self.assert_ended(self.evaluate("--max-rows", 2, "--output", "taken"))
        self.refuse(
            USAGE, ("taken/scores.json", "other settings", "--overwrite"), "--run", "run", "--data",
            "evaluation.jsonl", "--output", "taken", "--seed", "5",
        )  # fmt: skip
        self.assert_ended(self.evaluate("--max-rows", 3, "--output", "taken", "--overwrite"))
        self.assertEqual(len(read_jsonl(self.here / "taken/predictions.jsonl")), 3)

    def test_predictions_and_results(self):
        self.assert_ended(self.evaluate("--max-rows", 1, "--output", "scored"))
        (good,) = read_jsonl(self.here / "scored/predictions.jsonl")
        cut = json.dumps(good)[:-9]
        for name, rows, fragments in (
            ("cut line", [good, cut], ("p.jsonl:2: ", "JSON")),
            ("no prediction", [{k: v for k, v in good.items() if k != "prediction"}], ("p.jsonl:1: prediction",)),
            ("no answers", [{**good, "answers": []}], ("p.jsonl:1: answers",)),
            ("no rows", [], ("p.jsonl: expected at least one prediction",)),
        ):
            with self.subTest(name):
                self.here.write("p.jsonl", rows)
                self.refuse(DATA, fragments, "score", "p.jsonl")
        self.refuse(DATA, ("nowhere.jsonl",), "score", "nowhere.jsonl")
        self.refuse(DATA, ("nowhere",), "report", "nowhere")
        self.refuse(DATA, ("base",), "report", "base")
        self.here.write("scores.json", '{"format_version": 1}')
        self.refuse(DATA, ("scores.json", "settings"), "report", "scores.json")
        self.refuse(USAGE, ("NAME=DIR",), "report", "=scored")
        self.refuse(USAGE, ("baseline", "scored", "best"), "report", "scored", "--baseline", "best")
        self.refuse(USAGE, ("--width",), "report", "scored", "--width", "20")
        self.refuse(DATA, ("config.yaml", "--out"), "report", "scored", "--out", "config.yaml")

    def test_ask(self):
        self.here.write("empty.txt", "\n\n")
        ask = ("ask", "--checkpoint", "run/final")
        self.refuse(DATA, ("empty.txt: expected documents",), *ask, "--question", "Who?", "--docs", "empty.txt")
        self.refuse(DATA, ("nowhere.txt",), *ask, "--question", "Who?", "--docs", "nowhere.txt")
        self.refuse(DATA, ("question: expected text",), *ask, "--question", "", "--docs", "config.yaml")


if __name__ == "__main__":
    unittest.main()
