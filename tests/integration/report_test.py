#!/usr/bin/env python3
"""clara-eval report on made-up results and a recorded one: its files, and the page in a headless browser.

The browser is chromium (or google-chrome) of the PATH, or what CLARA_BROWSER names; without one these tests are
skipped.
"""

import csv
import html
import json
import os
import re
import shutil
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
from program_case import OK, PROJECT, ProgramCase, files_below  # noqa: E402

RECORDED = PROJECT / "tests/fixtures/results/before_documents"
HOSTILE = "</script><script>document.title='broken'</script><img src=x onerror=\"document.title='broken'\">&amp;"
NUM_QUESTIONS = 120  # three pages of the browser
NUM_CANDIDATES = 4


def find_browser():
    names = [os.environ.get("CLARA_BROWSER"), "chromium", "chromium-browser", "google-chrome"]
    return next((found for name in names if name and (found := shutil.which(name))), None)


BROWSER = find_browser()


def scores_file(benchmark, setting, rate, context):
    """scores.json; the means are those of the predictions, which the report reads."""
    means = {"exact_match": 0, "f1": 0, "cover_exact_match": 0, "contiguous_cover_match": 0}
    retrieval = {f"{name}@{k}": 0 for k in (1, 3, 5) for name in ("recall", "precision")}
    return {
        "format_version": 1,
        "settings": {
            "benchmark": benchmark, "setting": setting, "select": "query_reasoner", "context": context,
            "num_selected": 2, "max_new_tokens": 8, "max_sequence_tokens": 0, "max_rows": 0, "seed": 17,
            "max_batch_tokens": 8192,
        },
        "origin": {
            "checkpoint": "final", "stage": "joint", "step": 1, "base": "base", "data": "eval.jsonl",
            "dtype": "float32", "device": "cpu", "compression_rate": rate, "doc_max_tokens": 64,
        },
        "scores": {
            "num_questions": NUM_QUESTIONS, "first": means, "best": means,
            "retrieval": {**retrieval, "num_questions": NUM_QUESTIONS, "num_without_gold": 0},
        },
        "counts": {
            "num_rows": NUM_QUESTIONS, "num_candidates": 480, "num_cut_documents": 0, "num_cut_questions": 0,
            "num_shortened_prompts": 0, "num_encoded_documents": 0, "num_generated_tokens": 0,
        },
        "speed": {"total_seconds": 1, "encode_seconds": 1, "generate_seconds": 1},
    }  # fmt: skip


def prediction(number, is_right, top):
    """A row; `top` is the candidate that is ranked first."""
    ranking = [top] + [k for k in range(NUM_CANDIDATES) if k != top]
    subject = HOSTILE if number == 5 else f"bridge {number}"
    return {
        "row": number, "id": f"q{number}", "question": f"Who built {subject}?",
        "prediction": f"Builder {number}" if is_right else "nobody knows", "answers": [f"Builder {number}"],
        "selected": ranking[:2], "ranking": ranking, "scores": [0.9 if k == top else 0.5 - k / 10 for k in range(4)],
        "positives": [1], "num_gold": 1,
        "documents": [f"Bridge {number}, part {k}\nIt was built of {HOSTILE if number == 5 else 'stone'}." for k in range(4)],
    }  # fmt: skip


def write_result(folder, benchmark, setting, rate, rows, context="latents"):
    folder.mkdir(parents=True)
    (folder / "scores.json").write_text(json.dumps(scores_file(benchmark, setting, rate, context)))
    (folder / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


class ReportCase(ProgramCase):
    """Three methods on two settings; the first 40 questions tell x4 from x16, which answers no question right."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.here = cls.place("reports")
        for setting in ("normal", "oracle"):
            for name, rate, num_right, top in (("x4", 4, 40, 1), ("x16", 16, 0, 0), ("text", 4, 60, 1)):
                rows = [prediction(n, n < num_right, top) for n in range(NUM_QUESTIONS)]
                context = "text" if name == "text" else "latents"
                write_result(cls.here / name / "eval" / f"musique_{setting}", "musique", setting, rate, rows, context)
        (cls.here / "x4/metrics.jsonl").write_text('{"step":1,"loss":2.5}\n{"step":2,"loss":2.25}\n')
        cls.outcome = cls.here.eval(
            "report", "CLaRa 4x=x4", "CLaRa 16x=x16", "full text=text/eval/musique_normal",
            "--baseline", "CLaRa 16x", "--out", "report", "--resamples", 500,
        )  # fmt: skip
        if cls.outcome.code != OK:
            raise AssertionError(str(cls.outcome))
        cls.page = cls.here / "report/report.html"


class ReportFilesTest(ReportCase):
    """What the command prints and writes."""

    def test_the_files_are_named_and_whole(self):
        names = [
            "report.txt", "report.md", "report.csv", "report.html", "plots/recall_musique_normal.svg",
            "plots/recall_musique_oracle.svg", "plots/f1_by_rate_musique_normal.svg",
            "plots/f1_by_rate_musique_oracle.svg", "plots/training_loss.svg",
        ]  # fmt: skip
        self.assertEqual(self.outcome.out.splitlines()[-len(names) :], [f"report/{name}" for name in names])
        for name in names:
            self.assertGreater((self.here / "report" / name).stat().st_size, 100, name)
        self.assertEqual(files_below(self.here / "report"), sorted(names))

    def test_the_table_is_that_of_the_file_and_fits_the_terminal(self):
        text = (self.here / "report/report.txt").read_text()
        self.assertTrue(self.outcome.out.startswith(text))
        narrow = self.here.eval("report", "x4", "x16", "--width", 80, "--resamples", 50)
        self.assert_ended(narrow)
        for width, shown in ((120, text), (80, narrow.out)):
            self.assertLessEqual(max(map(len, shown.splitlines())), width)

    def test_the_csv_has_the_numbers_of_the_predictions(self):
        with open(self.here / "report/report.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        self.assertEqual(len(rows), 5 * 9)
        by_key = {(r["method"], r["setting"], r["metric"], r["protocol"]): r for r in rows}
        x4 = by_key["CLaRa 4x", "normal", "exact_match", "first"]
        self.assertAlmostEqual(float(x4["value"]), 40 / NUM_QUESTIONS, places=5)
        self.assertAlmostEqual(float(x4["difference"]), 40 / NUM_QUESTIONS, places=5)
        self.assertLess(float(x4["p"]), 0.05)
        self.assertLess(float(x4["lower"]), 40 / NUM_QUESTIONS)
        self.assertEqual((x4["n"], x4["n_paired"], x4["baseline"]), ("120", "120", "CLaRa 16x"))
        self.assertEqual(by_key["CLaRa 16x", "normal", "exact_match", "first"]["p"], "")
        self.assertEqual(float(by_key["full text", "normal", "recall@1", ""]["value"]), 1)

    def test_a_result_of_an_earlier_version_is_reported(self):
        outcome = self.here.eval("report", f"earlier={RECORDED}", "--out", "earlier", "--resamples", 50)
        self.assert_ended(outcome)
        self.assertRegex(outcome.out, r"(?m)^earlier +0\.00")
        self.assertIn("75.00", outcome.out)


@unittest.skipUnless(BROWSER, "no chromium or google-chrome was found (CLARA_BROWSER names one)")
class ReportPageTest(ReportCase):
    """The page as a browser shows it; filters come by the address."""

    def shown(self, page=None, **filters):
        """The document after its scripts ran."""
        address = (page or self.page).resolve().as_uri() + "#" + "&".join(f"{k}={v}" for k, v in filters.items())
        profile = self.root / "profile"
        command = [
            BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
            "--virtual-time-budget=3000", "--dump-dom", address,
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, timeout=120, env={**os.environ, "HOME": str(self.root)})
        self.assertEqual(done.returncode, 0, done.stderr.decode(errors="replace"))
        return done.stdout.decode()

    def questions(self, dom):
        """Texts of the list, without their marks."""
        (listed,) = re.findall(r'<ol id="questions">(.*?)</ol>', dom, re.DOTALL)
        return [html.unescape(text) for text in re.findall(r"<button[^>]*>(.*?)<span", listed, re.DOTALL)]

    def count(self, dom):
        return html.unescape(re.search(r'<p id="count"[^>]*>(.*?)</p>', dom).group(1))

    def test_tables_charts_and_the_first_question_are_shown(self):
        dom = self.shown()
        self.assertIn("<title>Comparison of methods</title>", dom)
        (table,) = re.findall(r'<table class="scores">(.*?)</table>', dom, re.DOTALL)
        for text in ("musique", "Normal", "Oracle", "CLaRa 16x", "33.33", "baseline", "p = 0.002 *"):
            self.assertIn(text, table)
        self.assertEqual(dom.count('class="chart"'), 5)
        self.assertEqual(self.count(dom), "240 questions")
        self.assertEqual(len(self.questions(dom)), 50)
        detail = dom[dom.index('<article id="detail"') :]
        for text in ("Who built bridge 0?", "Builder 0", "nobody knows", "Bridge 0, part 3", "gold", "0.900", "#1"):
            self.assertIn(text, detail)

    def test_filters_choose_questions(self):
        for filters, count in (
            ({"setting": "oracle"}, 120),
            ({"setting": "normal", "method": 0, "outcome": "right"}, 40),
            ({"setting": "normal", "method": 0, "outcome": "wrong"}, 80),
            ({"setting": "normal", "method": 1, "outcome": "right"}, 0),
            ({"setting": "normal", "differ": 1}, 60),
            ({"setting": "oracle", "differ": 1}, 40),
            ({"method": 2}, 120),
            ({"q": "bridge%20117"}, 2),
            ({"q": "Builder", "setting": "normal"}, 120),
            ({"benchmark": "musique"}, 240),
        ):
            with self.subTest(filters):
                dom = self.shown(**filters)
                expected = "240 questions" if count == 240 else f"{count} of 240 questions"
                self.assertEqual(self.count(dom), expected)
                self.assertEqual(len(self.questions(dom)), min(count, 50))
        self.assertIn("No question passes these filters.", self.shown(method=1, outcome="right"))

    def test_a_link_opens_a_question_on_its_page(self):
        dom = self.shown(setting="normal", at=107)
        self.assertEqual(self.questions(dom)[0], "Who built bridge 100?")
        self.assertEqual(len(self.questions(dom)), 20)
        self.assertIn('aria-current="true">Who built bridge 106?', dom)
        self.assertIn("101–120", dom)

    def after(self, script):
        """The document after a further script ran in it."""
        page = self.root / "acted.html"
        page.write_text(self.page.read_text().replace("</body>", f"<script>{script}</script></body>"))
        return self.shown(page, setting="normal")

    def test_keys_and_buttons_move_through_the_questions(self):
        press = "const press = (key) => document.body.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true}));"
        for script, number in (
            ("press('j'); press('j'); press('k');", 1),
            ("press('k');", 0),
            ("press(']'); press(']');", 100),
            ("press(']'); press('['); press('j');", 1),
            ("document.getElementById('later').click();", 50),
            ("document.querySelectorAll('#questions button')[7].click();", 7),
            ("press('/'); document.title = document.activeElement.id;", 0),
        ):
            with self.subTest(script):
                dom = self.after(press + script)
                self.assertIn(f'aria-current="true">Who built bridge {number}?', dom)
                self.assertEqual("<title>q</title>" in dom, "'/'" in script)
        dom = self.after(
            "const search = document.getElementById('q'); search.value = 'bridge 11';"
            "search.dispatchEvent(new Event('input', {bubbles: true}));"
        )
        self.assertEqual(self.count(dom), "11 of 240 questions")  # 11 and 110 to 119

    def test_the_reader_can_change_which_gold_answers_count(self):
        dom = self.after(
            "const choice = document.getElementById('protocol'); choice.value = 'best';"
            "choice.dispatchEvent(new Event('change'));"
        )
        self.assertIn("answers against the best of all gold answers", dom)

    def test_hostile_text_stays_text(self):
        dom = self.shown(setting="normal", at=6)
        self.assertIn("<title>Comparison of methods</title>", dom)
        self.assertEqual(self.questions(dom)[5], f"Who built {HOSTILE}?")
        self.assertNotIn("<img", dom)
        # The two scripts of the page, and no others.
        self.assertEqual(len(re.findall(r"<script", dom)), 2)


if __name__ == "__main__":
    unittest.main()
