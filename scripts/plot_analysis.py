#!/usr/bin/env python3
"""Draws the results of clara-eval analyze: the files of its --output folder → PNG (and SVG) beside them.

    plot_analysis.py runs/joint/analysis
    plot_analysis.py with_alignment without_alignment --out pictures    latent spaces side by side

Pictures: logit_lens_<adapter> (top tokens at each memory position of the first questions), latent_space (documents'
latents and their texts' hidden states in the plane: t-SNE where scikit-learn is installed, else the first two principal
components, and the picture says which), paraphrase (ROUGE and names kept), gap (answer loss with own and with other latents),
efficiency (times by compression rate). What was not analysed is left out. Needs matplotlib and numpy. Exit codes: 0 ok, 2 usage, 3 data.
"""
from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from plot_run import DataError, save_picture  # noqa: E402

LATENT, TEXT = "#2563a8", "#d1662a"
MAX_QUESTIONS = 4
MAX_LENS_TOKENS = 6
SEED = 17


def read_json(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: expected what clara-eval analyze writes ({error})") from error


def new_figure(width: float, height: float):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def clean(axes) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(labelsize=8.5)


def shown(token: str) -> str:
    """Blanks visible, nothing that mathtext would read."""
    text = token.replace("\n", "⏎").replace("\t", "⇥").replace("$", r"\$")
    return "·" + text[1:] if text.startswith(" ") else text


def plot_lens(path: Path, stem: Path, with_svg: bool) -> list[Path]:
    result = read_json(path)
    questions = result["questions"][:MAX_QUESTIONS]
    if not questions:
        raise DataError(f"{path}: expected questions, found none")
    num_positions = len(questions[0]["positions"])
    num_top = min(MAX_LENS_TOKENS, len(questions[0]["positions"][0]))
    figure = new_figure(1.5 + 1.15 * num_positions, 0.6 + len(questions) * (0.75 + 0.27 * num_top))
    grid = figure.subplots(len(questions), 1, squeeze=False).ravel()
    for axes, question in zip(grid, questions):
        values = [[position[i]["probability"] for position in question["positions"]] for i in range(num_top)]
        axes.imshow(values, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for i in range(num_top):
            for m, position in enumerate(question["positions"]):
                token = position[i]
                axes.text(m, i, shown(token["text"])[:14], ha="center", va="center", fontsize=7.5,
                          color="white" if token["probability"] > 0.6 else "black")
        axes.set_title(question["question"].replace("$", r"\$")[:110], fontsize=9.5, loc="left")
        axes.set_yticks([])
        axes.set_xticks(range(num_positions), [str(m + 1) for m in range(num_positions)])
        clean(axes)
    grid[-1].set_xlabel("memory position (blue: probability; · stands for a blank)", fontsize=9)
    figure.suptitle(f"Logit lens, {result['adapter'].replace('_', ' ')}", fontsize=12, x=0.01, ha="left")
    return save_picture(figure, stem, with_svg)


def in_the_plane(vectors):
    """[2N, D] → [2N, 2] and the method's name."""
    import numpy

    num = len(vectors)
    try:
        from sklearn.manifold import TSNE
    except ImportError:
        centred = vectors - vectors.mean(0)
        _, _, axes = numpy.linalg.svd(centred, full_matrices=False)
        return centred @ axes[:2].T, "principal components (t-SNE needs scikit-learn)"
    perplexity = min(30.0, max(2.0, (num - 1) / 3))
    places = TSNE(2, perplexity=perplexity, init="pca", random_state=SEED).fit_transform(vectors)
    return places, f"t-SNE, perplexity {perplexity:.0f}"


def plot_latent_spaces(folders: list[Path], stem: Path, with_svg: bool) -> list[Path]:
    import numpy
    from safetensors.numpy import load_file

    figure = new_figure(5.2 * len(folders) + 0.3, 5.2)
    for axes, folder in zip(figure.subplots(1, len(folders), squeeze=False).ravel(), folders):
        tensors = load_file(folder / "latent_space.safetensors")
        numbers = read_json(folder / "latent_space.json")
        latents, texts = tensors["latents"], tensors["texts"]
        places, method = in_the_plane(numpy.concatenate([latents, texts]))
        a, b = places[:len(latents)], places[len(latents):]
        for start, end in zip(a, b):
            axes.plot(*zip(start, end), color="#bbbbbb", linewidth=0.5, zorder=1)
        axes.scatter(*a.T, s=14, color=LATENT, label="latents", zorder=2)
        axes.scatter(*b.T, s=14, color=TEXT, marker="^", label="hidden states of the text", zorder=2)
        axes.set_xticks([])
        axes.set_yticks([])
        name = folder.resolve().name if len(folders) > 1 else "Documents' latents and their texts"
        axes.set_title(f"{name}\ncosine with the own text {numbers['cosine_own_text']:.3f}, with others' "
                       f"{numbers['cosine_other_text']:.3f}; alignment {numbers['alignment']:.3g}", fontsize=9.5,
                       loc="left")
        axes.set_xlabel(method, fontsize=9)
        axes.legend(fontsize=8, frameon=False)
        clean(axes)
    return save_picture(figure, stem, with_svg)


def plot_paraphrases(path: Path, stem: Path, with_svg: bool) -> list[Path]:
    documents = read_json(path)["documents"]
    names = ["ROUGE-1", "ROUGE-2", "ROUGE-L", "names kept"]

    def means(side: str) -> list[float]:
        rows = [[d[side]["rouge_1"], d[side]["rouge_2"], d[side]["rouge_l"], d[f"{side}_name_recall"]]
                for d in documents]
        return [sum(column) / len(rows) for column in zip(*rows)]

    figure = new_figure(6, 3.4)
    axes = figure.subplots()
    for offset, side, label, colour in ((-0.2, "own", "from the own latents", LATENT),
                                        (0.2, "other", "from another document's", "#b8b8b8")):
        values = means(side)
        places = [i + offset for i in range(len(names))]
        axes.bar(places, values, 0.38, label=label, color=colour)
        for x, value in zip(places, values):
            axes.text(x, value + 0.012, f"{value:.2f}", ha="center", fontsize=8)
    axes.set_xticks(range(len(names)), names)
    axes.set_ylim(0, 1.1)
    axes.set_title(f"Paraphrases of {len(documents)} documents, against the documents", fontsize=10.5, loc="left")
    axes.legend(fontsize=8, frameon=False)
    clean(axes)
    return save_picture(figure, stem, with_svg)


def short_name(checkpoint: str) -> str:
    """runs/scp/final → scp; runs/scp/checkpoints/step_000100 → step_000100."""
    path = Path(checkpoint)
    return path.parent.name if path.name == "final" else path.name


def plot_gap(path: Path, stem: Path, with_svg: bool) -> list[Path]:
    rows = read_json(path)["checkpoints"]
    figure = new_figure(max(4.2, 1.6 + 1.3 * len(rows)), 3.6)
    axes = figure.subplots()
    for offset, name, label, colour in ((-0.2, "own_loss", "own latents", LATENT),
                                        (0.2, "other_loss", "another document's", "#b8b8b8")):
        places = [i + offset for i in range(len(rows))]
        means = [row[name]["mean"] for row in rows]
        ends = [[abs(row[name]["mean"] - row[name][end]) for row in rows] for end in ("low", "high")]
        axes.bar(places, means, 0.38, yerr=ends, capsize=3, error_kw={"linewidth": 1}, label=label, color=colour)
    labels = [f"{short_name(row['checkpoint'])}\nrate {row['compression_rate']}\ngap {row['gap']['mean']:.2f}" for row in rows]
    axes.set_xticks(range(len(rows)), labels)
    axes.set_ylabel("answer loss, nats a token", fontsize=9)
    axes.set_title("What is in the latents (95% intervals over rows)", fontsize=10.5, loc="left")
    axes.legend(fontsize=8, frameon=False)
    clean(axes)
    return save_picture(figure, stem, with_svg)


def plot_efficiency(path: Path, stem: Path, with_svg: bool) -> list[Path]:
    rows = sorted(read_json(path)["checkpoints"], key=lambda row: row["compression_rate"])
    labels = [f"rate {row['compression_rate']}\n{row['num_memory_tokens']} a document" for row in rows] + ["text"]
    figure = new_figure(9.5, 3.4)
    left, right = figure.subplots(1, 2)
    left.bar(range(len(rows)), [1e3 * row["compress_seconds"] for row in rows], color="#2f8f5b")
    left.set_xticks(range(len(rows)), labels[:-1])
    left.set_title("Compressing a document, once", fontsize=10.5, loc="left")
    left.set_ylabel("ms", fontsize=9)
    first = [1e3 * row["prefill_seconds"] for row in rows] + [1e3 * rows[0]["text_prefill_seconds"]]
    question = [1e3 * (row["question_seconds"] + row["rank_seconds"]) for row in rows] + [0]
    right.bar(range(len(first)), question, color="#8a4fae", label="question encoded, candidates ranked")
    right.bar(range(len(first)), first, bottom=question, color=LATENT, label="prompt to first token")
    right.set_xticks(range(len(first)), labels)
    right.set_title("A question, to the answer's first token", fontsize=10.5, loc="left")
    right.set_ylabel("ms", fontsize=9)
    right.legend(fontsize=8, frameon=False)
    for axes in (left, right):
        clean(axes)
    return save_picture(figure, stem, with_svg)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="plot_analysis.py", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="--output of clara-eval analyze")
    parser.add_argument("--out", type=Path, metavar="DIR", help="for the pictures (default: the first folder)")
    parser.add_argument("--svg", action="store_true", help="also write SVG")
    options = parser.parse_args(arguments)
    try:
        import matplotlib
    except ImportError:
        print("error: matplotlib is not installed in this Python; scripts/install_deps.sh puts it into .venv: run "
              ".venv/bin/python scripts/plot_analysis.py", file=sys.stderr)
        return 2
    matplotlib.rcParams["svg.hashsalt"] = "clara"
    out = options.out or options.folders[0]
    try:
        out.mkdir(parents=True, exist_ok=True)
        written = []
        several = len(options.folders) > 1
        for folder in options.folders:
            if not folder.is_dir():
                raise DataError(f"{folder}: expected the output folder of clara-eval analyze, found no such folder")
            prefix = f"{folder.resolve().name}_" if several else ""
            for path in sorted(folder.glob("logit_lens_*.json")):
                written += plot_lens(path, out / (prefix + path.stem), options.svg)
            for name, draw in (("paraphrase", plot_paraphrases), ("gap", plot_gap), ("efficiency", plot_efficiency)):
                if (folder / f"{name}.json").is_file():
                    written += draw(folder / f"{name}.json", out / (prefix + name), options.svg)
        spaces = [folder for folder in options.folders if (folder / "latent_space.json").is_file()]
        if spaces:
            written += plot_latent_spaces(spaces, out / "latent_space", options.svg)
        if not written:
            raise DataError(f"{options.folders[0]}: expected results of clara-eval analyze, found none")
        for path in written:
            print(path)
    except (DataError, OSError, KeyError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
