#!/usr/bin/env python3
"""Laws of scripts/bench_latent_search.py: python FILE. What draws is skipped where matplotlib is missing."""

import argparse
import importlib.util
import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "scripts"))

import bench_latent_search  # noqa: E402

needs_matplotlib = unittest.skipUnless(
    importlib.util.find_spec("matplotlib"),
    "matplotlib is not installed in this Python (scripts/install_deps.sh)",
)


def point(milliseconds, recall, **settings):
    return {"ms_median": milliseconds, "recall": recall, "nprobe": 0, "rescore": 0, "ef_search": 0, **settings}


class BenchLatentSearch(unittest.TestCase):
    def test_the_curve_has_the_points_that_nothing_beats(self):
        points = [point(3, 0.9), point(1, 0.5), point(2, 0.4), point(2, 0.8), point(4, 0.9), point(9, 1.0), point(1, 0.3)]
        curve = [(p["ms_median"], p["recall"]) for p in bench_latent_search.best_points(points)]
        self.assertEqual(curve, [(1, 0.5), (2, 0.8), (3, 0.9), (9, 1.0)])

    def test_a_point_is_named_by_what_it_was_searched_with(self):
        # The settings of an index have those of other kinds too.
        settings = point(1, 1, nprobe=8, rescore=3, ef_search=128)
        self.assertEqual(bench_latent_search.label("ivf", settings), "nprobe 8, rescore 3")
        self.assertEqual(bench_latent_search.label("hnsw", settings), "rescore 3, ef_search 128")
        self.assertEqual(bench_latent_search.label("flat", point(1, 1, ef_search=128)), "")

    @needs_matplotlib
    def test_the_picture_is_written(self):
        results = [{"kind": kind, "store": store, "passages": 9, "dimension": 4, "points": [point(1, 0.5), point(2, 1.0)]}
                   for store in ("bfloat16", "int8") for kind in ("flat", "ivf-pq")]  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            options = argparse.Namespace(store=["bfloat16", "int8"], threads=1, k=20, out=Path(folder), svg=True)
            written = bench_latent_search.draw(results, options)
            self.assertEqual([path.name for path in written], ["latent_search.png", "latent_search.svg"])
            self.assertTrue(written[0].read_bytes().startswith(b"\x89PNG"))


if __name__ == "__main__":
    unittest.main()
