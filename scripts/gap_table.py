#!/usr/bin/env python3
"""The latent information gap of variants, each trained from several seeds: what clara-eval analyze gap measured → table and picture.

    gap_table.py "rate 4=runs/rate_4/analysis" "rate 16=runs/rate_16/analysis" --title rates --out runs/report/gap_rates

Every folder has a gap.json of one variant, a checkpoint a seed, all on the same rows. A variant's loss and gap are over all its seeds'
rows together (nats a token); intervals are percentile bootstrap over rows, whose seeds stay together, so that they say how sure the
rows make the numbers; how much the seeds differ stands beside them. Writes OUT.md and OUT.png. Needs numpy; the picture matplotlib.
Exit codes: 0 ok, 2 usage, 3 data.
"""
from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from plot_run import DataError, save_picture  # noqa: E402

RESAMPLES = 10000
SEED = 17


class Variant:
    """Sums over the seeds of every row, [rows]: answer tokens, loss with own and with other latents."""

    def __init__(self, name: str, folder: Path):
        import numpy

        path = folder / "gap.json"
        self.name = name
        try:
            checkpoints = json.loads(path.read_text(encoding="utf-8"))["checkpoints"]
            self.places = [row["place"] for row in checkpoints[0]["rows"]]
            if any([row["place"] for row in checkpoint["rows"]] != self.places for checkpoint in checkpoints):
                raise DataError(f"{path}: expected the same rows of every checkpoint")
            self.tokens, self.own, self.other = (
                numpy.array([[row[key] for row in checkpoint["rows"]] for checkpoint in checkpoints], dtype=float).sum(0)
                for key in ("num_answer_tokens", "own_loss", "other_loss"))
            self.seed_gaps = [checkpoint["gap"]["mean"] for checkpoint in checkpoints]
        except (OSError, ValueError, KeyError, IndexError) as error:
            raise DataError(f"{path}: expected what clara-eval analyze gap writes ({error!r})") from error
        self.loss = self.interval(self.own)
        self.gap = self.interval(self.other - self.own)

    def interval(self, sums):
        """(mean, low, high) in nats a token."""
        import numpy

        picks = numpy.random.default_rng(SEED).integers(0, len(sums), (RESAMPLES, len(sums)))
        ratios = sums[picks].sum(1) / self.tokens[picks].sum(1)
        low, high = numpy.quantile(ratios, (0.025, 0.975))
        return sums.sum() / self.tokens.sum(), low, high


def shown(interval) -> str:
    return "{:.2f} ({:.2f}–{:.2f})".format(*interval)


def table(variants: list[Variant]) -> str:
    lines = ["| variant | seeds | rows | loss | gap | gap by seed |", "|---|--:|--:|--:|--:|---|"]
    for variant in variants:
        seeds = ", ".join(f"{gap:.2f}" for gap in variant.seed_gaps)
        lines.append(f"| {variant.name} | {len(variant.seed_gaps)} | {len(variant.places)} | {shown(variant.loss)} | "
                     f"{shown(variant.gap)} | {seeds} |")
    return "\n".join(lines) + "\n"


def draw(variants: list[Variant], title: str, stem: Path) -> list[Path]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.4 + 1.35 * len(variants), 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    places = range(len(variants))
    ends = [[v.gap[0] - v.gap[1] for v in variants], [v.gap[2] - v.gap[0] for v in variants]]
    axes.bar(places, [v.gap[0] for v in variants], 0.6, yerr=ends, capsize=4, color="#2563a8", error_kw={"linewidth": 1})
    for place, variant in enumerate(variants):
        axes.plot([place] * len(variant.seed_gaps), variant.seed_gaps, "o", color="#d1662a", markersize=4,
                  label="a seed" if place == 0 else None)
    axes.set_xticks(list(places), [v.name for v in variants], fontsize=8.5)
    axes.set_ylabel("latent information gap, nats a token", fontsize=9)
    axes.set_title(f"{title}, unseen entities (95% intervals over rows)", fontsize=10, loc="left")
    axes.legend(fontsize=8, frameon=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return save_picture(figure, stem, False)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="gap_table.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="+", metavar="NAME=FOLDER", help="--output of clara-eval analyze gap")
    parser.add_argument("--title", default="Variants", help="of the picture")
    parser.add_argument("--out", type=Path, required=True, metavar="STEM", help="STEM.md and STEM.png are written")
    options = parser.parse_args(arguments)
    pairs = [argument.partition("=") for argument in options.variants]
    if not all(name and folder for name, _, folder in pairs):
        parser.error("expected NAME=FOLDER")
    try:
        variants = [Variant(name, Path(folder)) for name, _, folder in pairs]
        if any(variant.places != variants[0].places for variant in variants):
            raise DataError("expected the same rows of every variant: compare what was measured on the same data")
        text = table(variants)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        markdown = options.out.with_suffix(".md")
        markdown.write_text(text, encoding="utf-8")
        print(f"{text}\n{markdown}")
        try:
            import matplotlib  # noqa: F401
        except ImportError:
            print("no picture: matplotlib is not installed in this Python (scripts/install_deps.sh)", file=sys.stderr)
        else:
            for path in draw(variants, options.title, options.out):
                print(path)
    except (DataError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
