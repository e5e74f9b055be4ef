#!/usr/bin/env python3
"""Records tests/fixtures/metrics/rouge.json: ROUGE of made-up pairs of texts by Google's rouge_score 0.1.2, without stemmer.

Usage: record_rouge.py OUTPUT.json (a Python with rouge-score)
"""
import json
import random
import sys

from rouge_score import rouge_scorer

WORDS = ("the river of Marrow flows by old towns , where 3 mills stood in 1866 ; it's a well-known place_name for "
         "fishing and painters don't leave it before noon").split()
EDGES = [["", ""], ["", "a word"], ["a word", ""], ["one", "one"], ["one", "two"], ["Same Words here.", "same words HERE"],
         ["a b c d", "d c b a"], ["x x x x", "x x"], ["under_score", "under score"], ["don't", "don t"], ["3.5 km", "35 km"],
         ["...", "!!!"]]


def edited(words, draw):
    out = []
    for word in words:
        roll = draw.random()
        if roll < 0.15:
            continue
        out.append(draw.choice(WORDS) if roll < 0.3 else word)
        if roll > 0.95:
            out.append(draw.choice(WORDS))
    if draw.random() < 0.3:
        cut = draw.randrange(len(out) + 1)
        out = out[cut:] + out[:cut]
    return out


def main():
    draw = random.Random(5)
    pairs = list(EDGES)
    for _ in range(60):
        words = [draw.choice(WORDS) for _ in range(draw.randrange(1, 40))]
        pairs.append([" ".join(edited(words, draw)), " ".join(words)])
    scorer = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=False)
    rows = []
    for candidate, reference in pairs:
        scores = scorer.score(reference, candidate)
        rows.append({"candidate": candidate, "reference": reference,
                     **{name: scores[name].fmeasure for name in ("rouge1", "rouge2", "rougeL")}})
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        file.write("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")


if __name__ == "__main__":
    main()
