#!/usr/bin/env python3
"""Laws of scripts/plot_run.py: python FILE. What draws is skipped where matplotlib is missing."""

import contextlib
import importlib.util
import io
import json
import struct
import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "scripts"))

import plot_run  # noqa: E402

HAS_MATPLOTLIB = importlib.util.find_spec("matplotlib") is not None
needs_matplotlib = unittest.skipUnless(
    HAS_MATPLOTLIB, "matplotlib is not installed in this Python (scripts/install_deps.sh)"
)
TRAINING = {
    "loss": 2.0, "cross_entropy": 1.9, "weighted_alignment": 0.1, "alignment": 1.0,
    "learning_rate": 1e-4, "gradient_norm": 3.0, "rows": 32, "seconds": 2.5, "epoch": 0.1,
    "rows_per_second": 12.0, "tokens_per_second": 900.0, "cut_documents_total": 3,
}  # fmt: skip
VALIDATION = {
    "validation/loss": 2.1, "validation/latent_gap": 0.2, "validation/recall@1": 0.2,
    "validation/recall@10": 0.9, "validation/recall@3": 0.5, "validation/num_with_positives": 60,
}  # fmt: skip


def png_size(path):
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n", path
    return struct.unpack(">II", data[16:24])


class PlotRun(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.root = Path(self.folder.name)

    def tearDown(self):
        self.folder.cleanup()

    def make_run(self, name, rows, tail=""):
        folder = self.root / name
        folder.mkdir(parents=True)
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "metrics.jsonl").write_text(text + tail, encoding="utf-8")
        return folder

    def whole_run(self, name, steps=8):
        rows = [{"step": 0, **VALIDATION}]
        rows += [{"step": i, **TRAINING, "loss": 3.0 / i} for i in range(1, steps + 1)]
        return self.make_run(name, rows + [{"step": steps, **VALIDATION}])

    def run_script(self, *arguments):
        printed, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(errors):
            code = plot_run.main([str(argument) for argument in arguments])
        return code, printed.getvalue(), errors.getvalue()

    # Reading ----------------------------------------------------------------------------------

    def test_series_hold_the_steps_at_which_a_metric_was_logged(self):
        run, warnings = plot_run.read_run(self.whole_run("scp", 3))
        self.assertEqual(warnings, [])
        self.assertEqual(run["loss"], [(1, 3.0), (2, 1.5), (3, 1.0)])
        self.assertEqual(run["validation/loss"], [(0, 2.1), (3, 2.1)])

    def test_a_torn_last_line_is_left_out_with_a_warning(self):
        for tail in ('{"step": 2, "lo', "{", '{"step": 2}x', '{"step": 2, "loss"'):
            folder = self.make_run(f"torn_{len(tail)}", [{"step": 1, "loss": 2.0}], tail)
            run, warnings = plot_run.read_run(folder)
            self.assertEqual(run, {"loss": [(1, 2.0)]})
            self.assertEqual(len(warnings), 1)
            self.assertIn("metrics.jsonl:2: the last line was cut off", warnings[0])

    def test_a_line_torn_inside_of_a_character_is_left_out_too(self):
        folder = self.make_run("torn", [{"step": 1, "loss": 2.0}])
        with open(folder / "metrics.jsonl", "ab") as file:
            file.write('{"step": 2, "é'.encode()[:-1])
        run, warnings = plot_run.read_run(folder)
        self.assertEqual((run, len(warnings)), ({"loss": [(1, 2.0)]}, 1))

    def test_a_bad_line_in_the_middle_is_an_error_with_its_place(self):
        for i, bad in enumerate(("{no", "[1, 2]", '{"loss": 1}', '{"step": "one"}')):
            folder = self.make_run(f"bad_{i}", [{"step": 1, "loss": 2}], bad + "\n")
            with self.assertRaisesRegex(plot_run.DataError, r"metrics.jsonl:2: expected one JSON"):
                plot_run.read_run(folder)

    def test_what_is_no_number_is_not_drawn(self):
        folder = self.make_run("mixed", [{"step": 1, "loss": 2.0, "note": "x", "flag": True}])
        self.assertEqual(plot_run.read_run(folder)[0], {"loss": [(1, 2.0)]})

    # Panels -----------------------------------------------------------------------------------

    def test_every_metric_has_its_picture_and_counters_have_none(self):
        run, _ = plot_run.read_run(self.whole_run("scp"))
        run["validation/brand_new"] = run["another_loss"] = [(1.0, 1.0)]
        panels = {
            group: plot_run.panels_of([run], group)
            for group in ("losses", "optimizer", "validation", "throughput")
        }
        self.assertEqual(
            panels,
            {
                "losses": [
                    ["loss"], ["cross_entropy", "weighted_alignment"], ["alignment"],
                    ["another_loss"],
                ],
                "optimizer": [["learning_rate"], ["gradient_norm"]],
                "validation": [
                    ["validation/loss"], ["validation/latent_gap"], ["validation/brand_new"],
                    ["validation/recall@1", "validation/recall@3", "validation/recall@10"],
                ],
                "throughput": [["rows_per_second"], ["tokens_per_second"]],
            },
        )  # fmt: skip

    def test_smoothing_keeps_constants_and_straight_lines(self):
        for slope in (0.0, 2.0):
            line = [(float(i), 1 + slope * i) for i in range(300)]
            for (_, mean), (_, value) in zip(plot_run.smoothed(line), line):
                self.assertAlmostEqual(mean, value)

    def test_names_are_as_long_as_it_takes_to_tell_runs_apart(self):
        paths = [Path("/x/a/scp"), Path("/x/b/scp")]
        self.assertEqual(plot_run.names_of(paths), ["a/scp", "b/scp"])
        self.assertEqual(plot_run.names_of([Path("/x/scp"), Path("/x/tune")]), ["scp", "tune"])
        with self.assertRaises(plot_run.DataError):
            plot_run.names_of([Path("/x/scp"), Path("/x/scp")])

    # Pictures ---------------------------------------------------------------------------------

    @needs_matplotlib
    def test_a_run_gets_its_pictures_in_its_own_folder(self):
        folder = self.whole_run("scp")
        code, printed, errors = self.run_script(folder)
        self.assertEqual((code, errors), (0, ""))
        names = ["losses.png", "optimizer.png", "throughput.png", "validation.png"]
        self.assertEqual(sorted(p.name for p in (folder / "plots").iterdir()), names)
        for name in names:
            self.assertIn(name, printed)
            width, height = png_size(folder / "plots" / name)
            self.assertGreater(min(width, height), 300)

    @needs_matplotlib
    def test_svg_is_written_on_request(self):
        folder = self.whole_run("scp")
        self.run_script(folder, "--svg")
        for path in (folder / "plots").glob("*.png"):
            self.assertIn("<svg", path.with_suffix(".svg").read_text(encoding="utf-8"))

    @needs_matplotlib
    def test_several_runs_share_the_pictures_and_one_may_lack_a_metric(self):
        one = self.whole_run("one")
        other = self.make_run("other", [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}])
        out = self.root / "both"
        code, _, _ = self.run_script(one, other, "--out", out)
        self.assertEqual(code, 0)
        self.assertTrue((out / "losses.png").is_file())
        self.assertFalse((one / "plots").exists())

    @needs_matplotlib
    def test_a_picture_without_metrics_is_left_out_and_said_so(self):
        folder = self.make_run("bare", [{"step": 1, "loss": 2.0}])
        code, _, errors = self.run_script(folder)
        self.assertEqual(code, 0)
        self.assertEqual([p.name for p in (folder / "plots").iterdir()], ["losses.png"])
        self.assertIn("validation: nothing was logged", errors)

    @needs_matplotlib
    def test_values_that_are_not_finite_or_zero_on_a_logarithmic_axis_do_not_stop_it(self):
        rows = [{"step": i, **TRAINING, "weighted_alignment": 0.0} for i in range(1, 100)]
        rows[5]["loss"] = float("nan")
        rows[6]["loss"] = float("inf")
        self.assertEqual(self.run_script(self.make_run("odd", rows))[0], 0)

    @needs_matplotlib
    def test_missing_and_empty_metrics_are_errors(self):
        code, _, errors = self.run_script(self.root / "nowhere")
        self.assertEqual(code, 3)
        self.assertIn("expected the metrics of a run, found no such file", errors)
        for name, rows in (("empty", []), ("steps_only", [{"step": 1}])):
            folder = self.make_run(name, rows)
            code, _, errors = self.run_script(folder)
            self.assertEqual(code, 3)
            self.assertIn("expected logged steps, found none", errors)
            self.assertFalse((folder / "plots").exists())

    @unittest.skipIf(HAS_MATPLOTLIB, "matplotlib is installed in this Python")
    def test_without_matplotlib_it_says_where_to_get_it(self):
        code, _, errors = self.run_script(self.whole_run("scp"))
        self.assertEqual(code, 2)
        self.assertIn("scripts/install_deps.sh", errors)


if __name__ == "__main__":
    unittest.main()
