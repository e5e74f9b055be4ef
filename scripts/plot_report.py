#!/usr/bin/env python3
"""Draws the plots of a comparison as PNG (and SVG), from report.csv of clara-eval report --out DIR.

    plot_report.py report                     into report/plots/
    plot_report.py report --protocol best     F1 against the best of all gold answers

Pictures: recall (recall@k of each benchmark and setting), f1_by_rate (F1 by compression rate, where
methods that read latents have two rates or more). What there is nothing of is left out and said so.
Needs matplotlib. Exit codes: 0 ok, 2 usage, 3 data.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path
from typing import Dict, List, Tuple

sys.path.insert(0, str(Path(__file__).resolve().parent))
from plot_run import COLOURS, DASHES, DataError, save_picture  # noqa: E402

Row = Dict[str, str]
Place = Tuple[str, str]  # (benchmark, setting)

COLUMNS = (
    "method", "benchmark", "setting", "metric", "protocol", "value", "lower", "upper", "select",
    "context", "compression_rate",
)  # fmt: skip
CUTOFFS = (1, 3, 5)


def read_rows(path: Path) -> List[Row]:
    """Rows of report.csv that have the columns and numbers that are drawn."""
    if not path.is_file():
        raise DataError(f"{path}: expected the table of a comparison, found no such file; write it "
                        "with clara-eval report RUN... --out DIR")  # fmt: skip
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or [])]
        if missing:
            raise DataError(f"{path}:1: expected the columns of report.csv, found none named "
                            f"{', '.join(missing)}")  # fmt: skip
        rows = list(reader)
    for number, row in enumerate(rows, start=2):
        for name in ("value", "lower", "upper", "compression_rate"):
            try:
                float(row[name] or ("x" if name == "value" else 0))
            except (TypeError, ValueError):
                raise DataError(f"{path}:{number}: {name}: expected a number, found "
                                f"{row[name]!r}") from None  # fmt: skip
    return rows


def places_of(rows: List[Row]) -> List[Place]:
    """Benchmarks and settings in the file's order."""
    return list(dict.fromkeys((row["benchmark"], row["setting"]) for row in rows))


def recall_lines(rows: List[Row], place: Place) -> Dict[str, List[Row]]:
    """Method → its recall@1, 3, 5, of those that ranked candidates."""
    lines: Dict[str, List[Row]] = {}
    for cutoff in CUTOFFS:
        for row in rows:
            if (row["benchmark"], row["setting"]) == place and row["metric"] == f"recall@{cutoff}":
                lines.setdefault(row["method"], []).append(row)
    return lines


def rate_lines(
    rows: List[Row], place: Place, protocol: str
) -> Tuple[Dict[str, List[Row]], Dict[str, Row]]:
    """Selector → F1 by rate of the methods that read latents; method → F1 of the others. Both empty
    with fewer than two rates."""
    lines: Dict[str, List[Row]] = {}
    levels: Dict[str, Row] = {}
    for row in rows:
        if (row["benchmark"], row["setting"], row["metric"], row["protocol"]) != (
            *place, "f1", protocol,
        ):  # fmt: skip
            continue
        if row["context"] != "latents":
            levels[row["method"]] = row
        elif row["compression_rate"]:
            lines.setdefault(row["select"], []).append(row)
    for line in lines.values():
        line.sort(key=rate_of)
    if len({rate_of(row) for line in lines.values() for row in line}) < 2:
        return {}, {}
    return lines, levels


def rate_of(row: Row) -> float:
    return float(row["compression_rate"])


def percent(row: Row, name: str) -> float:
    return 100 * float(row[name])


def draw_line(axes, xs: List[float], line: List[Row], name: str, number: int) -> None:
    """Values with their intervals, where there are any."""
    values = [percent(row, "value") for row in line]
    errors = None
    if all(row["lower"] for row in line):
        errors = [
            [max(0.0, value - percent(row, "lower")) for value, row in zip(values, line)],
            [max(0.0, percent(row, "upper") - value) for value, row in zip(values, line)],
        ]
    axes.errorbar(xs, values, yerr=errors, label=name, color=COLOURS[number % len(COLOURS)],
                  linestyle=DASHES[number // len(COLOURS) % len(DASHES)], linewidth=1.7,
                  marker="o", markersize=4, elinewidth=1, capsize=2)  # fmt: skip


def draw_recall(axes, lines: Dict[str, List[Row]]) -> None:
    for number, (method, line) in enumerate(lines.items()):
        shift = (number - (len(lines) - 1) / 2) * min(0.08, 0.4 / len(lines))
        draw_line(axes, [cutoff + shift for cutoff in CUTOFFS], line, method, number)
    axes.set_xticks(CUTOFFS)
    axes.set_xlabel("first k candidates", fontsize=9)
    axes.set_ylabel("recall, percent", fontsize=9)
    axes.set_ylim(-3, 103)


def draw_rates(axes, lines: Dict[str, List[Row]], levels: Dict[str, Row]) -> None:
    for number, (select, line) in enumerate(lines.items()):
        draw_line(axes, [rate_of(row) for row in line], line, select.replace("_", " "), number)
    for number, (method, row) in enumerate(levels.items(), start=len(lines)):
        axes.axhline(percent(row, "value"), label=method, linestyle="--", linewidth=1.4,
                     color=COLOURS[number % len(COLOURS)])  # fmt: skip
    rates = sorted({rate_of(row) for line in lines.values() for row in line})
    axes.set_xscale("log", base=2)
    axes.set_xticks(rates, [f"{rate:g}×" for rate in rates])
    axes.minorticks_off()
    axes.set_xlabel("compression rate", fontsize=9)
    axes.set_ylabel("F1, percent", fontsize=9)


def draw_picture(panels, stem: Path, with_svg: bool) -> List[Path]:
    """One picture; `panels`: (title, what draws it into axes)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    num_columns = min(len(panels), 2)
    num_lines = -(-len(panels) // num_columns)
    figure = Figure(figsize=(5.2 * num_columns + 0.3, 3.4 * num_lines + 0.3), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(num_lines, num_columns, squeeze=False).ravel()
    for axes, (title, draw) in zip(grid, panels):
        draw(axes)
        axes.set_title(title, fontsize=10.5, loc="left")
        axes.tick_params(labelsize=8.5)
        axes.grid(True, axis="y", color="#e3e3e3", linewidth=0.8)
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        axes.legend(fontsize=8, frameon=False, loc="best")
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    return save_picture(figure, stem, with_svg)


def panels_of(rows: List[Row], protocol: str):
    """Picture → its panels."""
    recall, rates = [], []
    for place in places_of(rows):
        title = f"{place[0]}, {place[1].capitalize()}"
        lines = recall_lines(rows, place)
        if lines:
            recall.append((title, lambda axes, lines=lines: draw_recall(axes, lines)))
        lines, levels = rate_lines(rows, place, protocol)
        if lines:
            rates.append((title, lambda axes, a=lines, b=levels: draw_rates(axes, a, b)))
    return {"recall": recall, "f1_by_rate": rates}


def main(arguments: List[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="plot_report.py", description="Draws the plots of a comparison from its report.csv."
    )
    parser.add_argument("report", type=Path, metavar="DIR",
                        help="folder of clara-eval report --out")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="DIR",
                        help="folder for the pictures (default: plots in the report's folder)")
    parser.add_argument("--protocol", choices=("first", "best"), default="first",
                        help="which gold answers F1 counts")  # fmt: skip
    parser.add_argument("--svg", action="store_true", help="also write SVG")
    settings = parser.parse_args(arguments)
    try:
        import matplotlib
    except ImportError:
        print("error: matplotlib is not installed in this Python; scripts/install_deps.sh puts it "
              "into .venv: run .venv/bin/python scripts/plot_report.py", file=sys.stderr)  # fmt: skip
        return 2
    matplotlib.rcParams["svg.hashsalt"] = "clara"
    try:
        rows = read_rows(settings.report / "report.csv")
        out = settings.out or settings.report / "plots"
        out.mkdir(parents=True, exist_ok=True)
        for name, panels in panels_of(rows, settings.protocol).items():
            if not panels:
                print(f"{name}: nothing to draw; no picture", file=sys.stderr)
                continue
            for path in draw_picture(panels, out / name, settings.svg):
                print(path)
    except (DataError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
