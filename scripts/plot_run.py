#!/usr/bin/env python3
"""Draws the curves of training runs: metrics.jsonl of one or more run folders → PNG (and SVG).

    plot_run.py runs/scp                      into runs/scp/plots/
    plot_run.py runs/a runs/b --out compare   both in the same pictures, into compare/

Pictures: losses (loss and its terms), optimizer (learning rate, gradient norm), validation (all
that was validated), throughput (rows and tokens per second). A picture of which nothing was logged
is left out and said so. Needs matplotlib. Exit codes: 0 ok, 2 usage, 3 data.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections import defaultdict
from pathlib import Path
from typing import Dict, List, Tuple

Series = List[Tuple[float, float]]  # (step, value)
Run = Dict[str, Series]  # metric → series

TERMS = "terms"  # family of the loss's terms
DASHES = ("-", "--", ":", "-.")
COLOURS = ("#2563a8", "#d1662a", "#2f8f5b", "#8a4fae", "#b0894a", "#4a9aa8", "#c04a6b", "#6b6b6b")
NOT_LOSSES = (
    "epoch", "rows", "tokens", "answer_tokens", "micro_batches", "seconds", "data_wait_seconds",
    "learning_rate", "gradient_norm",
)  # fmt: skip
# Metric → title of its panel and unit of its axis; others are named by their key.
TITLES = {
    "loss": ("Training loss", "nats"),
    "cross_entropy": ("Cross-entropy of the answers", "nats a token"),
    "ce": ("Cross-entropy of the answers", "nats a token"),
    "alignment": ("Alignment loss, unweighted", "mean square"),
    "latent_token": ("Latent token loss (warm-up term)", "nats a token"),
    "learning_rate": ("Learning rate", ""),
    "gradient_norm": ("Gradient norm, before clipping", ""),
    "rows_per_second": ("Rows", "a second"),
    "tokens_per_second": ("Tokens", "a second"),
    "answer_tokens_per_second": ("Answer tokens", "a second"),
    "validation/loss": ("Validation loss", "nats a token"),
    "validation/latent_gap": ("Latent information gap", "nats a token"),
    "validation/alignment": ("Alignment loss", "mean square"),
    "validation/latent_cosine": ("Latent spread: mean cosine of pairs", "cosine"),
    "validation/latent_between_variance": (
        "Latent spread: variance between documents", "of total"),
}  # fmt: skip


class DataError(Exception):
    """What was expected, what was found, where."""


def read_run(folder: Path) -> Tuple[Run, List[str]]:
    """Metrics of a run folder (or of a metrics.jsonl), and warnings. A last line that was cut off,
    as a killed run leaves it, is no error."""
    path = folder if folder.is_file() else folder / "metrics.jsonl"
    if not path.is_file():
        raise DataError(f"{path}: expected the metrics of a run, found no such file; give the "
                        "output folder of a run")  # fmt: skip
    run: Run = defaultdict(list)
    warnings = []
    lines = path.read_bytes().split(b"\n")
    is_torn = bool(lines[-1].strip())  # a whole file ends with a line break
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line.decode("utf-8"))
            if not isinstance(row, dict) or not is_number(row.get("step")):
                raise ValueError("expected an object with a step")
        except ValueError as error:
            if number == len(lines) and is_torn:
                warnings.append(f"{path}:{number}: the last line was cut off; left out")
                continue
            raise DataError(f"{path}:{number}: expected one JSON object with a step, found "
                            f"{line[:60]!r} ({error})") from error  # fmt: skip
        for key, value in row.items():
            if key != "step" and is_number(value):
                run[key].append((float(row["step"]), float(value)))
    if not run:
        raise DataError(f"{path}: expected logged steps, found none; has the run finished its "
                        "first step?")  # fmt: skip
    return dict(run), warnings


def is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def group_of(key: str) -> str:
    """Which picture shows the metric; empty: none."""
    if key.startswith("validation/"):
        return "" if "/num_" in key else "validation"
    if key in ("learning_rate", "gradient_norm"):
        return "optimizer"
    if key.endswith("_per_second"):
        return "throughput"
    if key in NOT_LOSSES or key.endswith("_total"):
        return ""
    return "losses"


def family_of(key: str) -> str:
    """Metrics of one family share a panel: recall@1, recall@3, recall@5; the terms of a loss."""
    if key in ("cross_entropy", "ce") or key.startswith("weighted_"):
        return TERMS
    return key.split("@")[0]


def panels_of(runs: List[Run], group: str) -> List[List[str]]:
    """Metrics of each panel of a picture, the loss first."""
    keys = sorted({key for run in runs for key in run if group_of(key) == group})
    order = list(TITLES)
    keys.sort(key=lambda key: order.index(key) if key in order else len(order))
    families: Dict[str, List[str]] = {}
    for key in keys:
        families.setdefault(family_of(key), []).append(key)
    return [sorted(panel, key=cutoff_of) for panel in families.values()]


def cutoff_of(key: str) -> float:
    cutoff = key.split("@")[-1]
    return float(cutoff) if "@" in key and cutoff.isdigit() else 0.0


def smoothed(series: Series) -> Series:
    """Mean over the neighbours on both sides, a thirtieth of the steps in all: it does not lag."""
    half = max(1, len(series) // 60)
    result = []
    for i, (step, _) in enumerate(series):
        reach = min(half, i, len(series) - 1 - i)
        values = [value for _, value in series[i - reach : i + reach + 1]]
        result.append((step, sum(values) / len(values)))
    return result


def title_and_unit(panel: List[str]) -> Tuple[str, str]:
    family = family_of(panel[0])
    if family == TERMS and len(panel) > 1:
        return "Terms of the loss, as they enter it", "nats, logarithmic"
    if panel[0] in TITLES:
        return TITLES[panel[0]]
    name = family.split("/")[-1].replace("_", " ")
    unit = "mean over questions" if is_share(panel) else ""
    return name[:1].upper() + name[1:] + ("@k" if "@" in panel[0] else ""), unit


def is_share(panel: List[str]) -> bool:
    return family_of(panel[0]).split("/")[-1] in ("recall", "precision")


def metric_name(key: str) -> str:
    if "@" in key:
        return "@" + key.split("@")[-1]
    if key.startswith("weighted_"):
        return "λ · " + key[len("weighted_") :].replace("_", " ")
    return key.replace("_", "-" if key == "cross_entropy" else " ")


def draw_panel(axes, panel: List[str], runs: List[Run], names: List[str], ticker) -> None:
    """One curve a run and metric: raw values pale under their running mean where there are many.
    Runs differ in colour; where several metrics share the panel, these do, and runs in dashes."""
    num_curves = 0
    lowest = math.inf
    for j, (run, name) in enumerate(zip(runs, names)):
        for i, key in enumerate(panel):
            series = [(s, v) for s, v in run.get(key, []) if math.isfinite(v)]
            if not series:
                continue
            num_curves += 1
            lowest = min([lowest] + [value for _, value in series])
            parts = [metric_name(key)] if len(panel) > 1 else []
            parts += [name] if len(runs) > 1 else []
            is_shared = len(panel) > 1
            style = {
                "color": COLOURS[(i if is_shared else j) % len(COLOURS)],
                "linestyle": DASHES[(j if is_shared else j // len(COLOURS)) % len(DASHES)],
                "label": " · ".join(parts) or None,
            }
            if len(series) > 60 and key != "learning_rate":
                axes.plot(*zip(*series), color=style["color"], linewidth=0.7, alpha=0.25)
                series = smoothed(series)
            if len(series) <= 25:
                style.update(marker="o", markersize=3.5)
            axes.plot(*zip(*series), linewidth=1.7, **style)
    title, unit = title_and_unit(panel)
    axes.set_title(title, fontsize=10.5, loc="left")
    axes.set_xlabel("step", fontsize=9)
    if unit:
        axes.set_ylabel(unit, fontsize=9)
    axes.tick_params(labelsize=8.5)
    axes.grid(True, color="#e3e3e3", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.xaxis.set_major_locator(ticker.MaxNLocator(nbins=6, integer=True))
    axes.margins(x=0.02)
    if is_share(panel):
        axes.set_ylim(-0.03, 1.03)
    elif family_of(panel[0]) == TERMS and len(panel) > 1 and lowest > 0:
        axes.set_yscale("log")
    elif group_of(panel[0]) == "throughput" or panel[0] == "learning_rate":
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    if num_curves > 1:
        axes.legend(fontsize=8, frameon=False, loc="best")


def save_picture(figure, stem: Path, with_svg: bool) -> List[Path]:
    """Writes stem.png, and stem.svg where asked for, each whole or not at all."""
    written = []
    for suffix in (".png", ".svg") if with_svg else (".png",):
        path = stem.with_suffix(suffix)
        temporary = path.with_name(path.name + ".part")
        figure.savefig(temporary, format=suffix[1:], dpi=130)
        os.replace(temporary, path)
        written.append(path)
    return written


def draw(group: str, runs: List[Run], names: List[str], stem: Path, with_svg: bool) -> List[Path]:
    """Writes one picture; nothing where no run logged a metric of it."""
    from matplotlib import ticker
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = panels_of(runs, group)
    if not panels:
        return []
    num_columns = 2 if len(panels) in (2, 4) else min(len(panels), 3)
    num_lines = -(-len(panels) // num_columns)
    figure = Figure(figsize=(4.9 * num_columns + 0.3, 3.1 * num_lines + 0.5),
                    layout="constrained")  # fmt: skip
    FigureCanvasAgg(figure)
    grid = figure.subplots(num_lines, num_columns, squeeze=False).ravel()
    for axes, panel in zip(grid, panels):
        draw_panel(axes, panel, runs, names, ticker)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    figure.suptitle(f"{group.capitalize()} · {', '.join(names)}", fontsize=12, x=0.01, ha="left")
    return save_picture(figure, stem, with_svg)


def names_of(folders: List[Path]) -> List[str]:
    """The folders' last names, or as much of their paths as tells them apart."""
    paths = [(folder.parent if folder.is_file() else folder).resolve().parts for folder in folders]
    for length in range(1, max(len(parts) for parts in paths) + 1):
        names = ["/".join(parts[-length:]) for parts in paths]
        if len(set(names)) == len(names):
            return names
    raise DataError("expected different runs, found one of them twice")


def main(arguments: List[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="plot_run.py", description="Draws the curves of training runs from metrics.jsonl."
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN",
                        help="run folder; several are drawn into the same pictures")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="DIR",
                        help="folder for the pictures (default: plots in the first run folder)")
    parser.add_argument("--svg", action="store_true", help="also write SVG")
    settings = parser.parse_args(arguments)
    try:
        import matplotlib
    except ImportError:
        print("error: matplotlib is not installed in this Python; scripts/install_deps.sh puts it "
              "into .venv: run .venv/bin/python scripts/plot_run.py", file=sys.stderr)  # fmt: skip
        return 2
    matplotlib.rcParams["svg.hashsalt"] = "clara"
    try:
        names = names_of(settings.runs)
        runs = []
        for folder in settings.runs:
            run, warnings = read_run(folder)
            runs.append(run)
            for warning in warnings:
                print(f"warning: {warning}", file=sys.stderr)
        first = settings.runs[0].parent if settings.runs[0].is_file() else settings.runs[0]
        out = settings.out or first / "plots"
        out.mkdir(parents=True, exist_ok=True)
        for group in ("losses", "optimizer", "validation", "throughput"):
            written = draw(group, runs, names, out / group, settings.svg)
            for path in written:
                print(path)
            if not written:
                print(f"{group}: nothing was logged; no picture", file=sys.stderr)
    except (DataError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
