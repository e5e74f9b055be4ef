#!/usr/bin/env python3
"""Laws of scripts/plot_report.py: python FILE. What draws is skipped where matplotlib is missing."""

import contextlib
import csv
import importlib.util
import io
import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "scripts"))

import plot_report  # noqa: E402

needs_matplotlib = unittest.skipUnless(
    importlib.util.find_spec("matplotlib"),
    "matplotlib is not installed in this Python (scripts/install_deps.sh)",
)
NORMAL = ("hotpotqa", "normal")


def row(method, metric, value, **changes):
    fields = {
        "method": method, "benchmark": "hotpotqa", "setting": "normal", "metric": metric,
        "protocol": "" if metric.startswith("recall") else "first", "value": value,
        "lower": value - 0.1, "upper": value + 0.1, "select": "query_reasoner",
        "context": "latents", "compression_rate": 16,
    }  # fmt: skip
    return {name: str(field) for name, field in {**fields, **changes}.items()}


def method(name, f1, rate, **changes):
    rows = [row(name, f"recall@{k}", 0.1 * k, compression_rate=rate, **changes) for k in (1, 3, 5)]
    for protocol, value in (("first", f1), ("best", f1 + 0.1)):
        rows.append(row(name, "f1", value, compression_rate=rate, protocol=protocol, **changes))
    return rows


class PlotReport(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)

    def write(self, rows):
        with open(self.root / "report.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=plot_report.COLUMNS)
            writer.writeheader()
            writer.writerows(rows)

    def run_script(self, *arguments):
        printed, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(errors):
            code = plot_report.main([str(self.root), *arguments])
        return code, printed.getvalue(), errors.getvalue()

    def test_rates_make_a_line_and_other_contexts_levels(self):
        self.write(
            method("x16", 0.3, 16) + method("x4", 0.5, 4) + method("text", 0.6, 4, context="text")
        )
        rows = plot_report.read_rows(self.root / "report.csv")
        lines, levels = plot_report.rate_lines(rows, NORMAL, "first")
        self.assertEqual([r["method"] for r in lines["query_reasoner"]], ["x4", "x16"])
        self.assertEqual([r["value"] for r in lines["query_reasoner"]], ["0.5", "0.3"])
        self.assertEqual(list(levels), ["text"])
        best, _ = plot_report.rate_lines(rows, NORMAL, "best")
        self.assertEqual([r["value"] for r in best["query_reasoner"]], ["0.6", "0.4"])
        self.assertEqual(list(plot_report.recall_lines(rows, NORMAL)), ["x16", "x4", "text"])

    def test_one_rate_is_no_line(self):
        self.write(method("a", 0.3, 16) + method("b", 0.4, 16))
        rows = plot_report.read_rows(self.root / "report.csv")
        self.assertEqual(plot_report.rate_lines(rows, NORMAL, "first"), ({}, {}))

    @needs_matplotlib
    def test_pictures_are_written_and_what_is_missing_is_told(self):
        without_interval = {"lower": "", "upper": ""}
        self.write(method("x16", 0.3, 16) + method("x4", 0.5, 4, **without_interval))
        code, printed, errors = self.run_script("--svg")
        self.assertEqual(code, 0, errors)
        names = ["recall.png", "recall.svg", "f1_by_rate.png", "f1_by_rate.svg"]
        self.assertEqual([Path(line).name for line in printed.splitlines()], names)
        self.assertEqual(sorted(p.name for p in (self.root / "plots").iterdir()), sorted(names))
        self.assertTrue((self.root / "plots/recall.png").read_bytes().startswith(b"\x89PNG"))
        self.write(method("x16", 0.3, 16))
        code, printed, errors = self.run_script()
        self.assertEqual(code, 0)
        self.assertIn("f1_by_rate: nothing to draw", errors)

    @needs_matplotlib
    def test_what_is_no_report_is_refused(self):
        code, _, errors = self.run_script()
        self.assertEqual(code, 3)
        self.assertIn("report.csv: expected the table", errors)
        (self.root / "report.csv").write_text("method,value\na,1\n")
        code, _, errors = self.run_script()
        self.assertEqual(code, 3)
        self.assertIn("report.csv:1: expected the columns", errors)
        self.write([{**row("a", "f1", 0.5), "value": "high"}])
        code, _, errors = self.run_script()
        self.assertEqual(code, 3)
        self.assertIn("report.csv:2: value: expected a number, found 'high'", errors)


if __name__ == "__main__":
    unittest.main()
