#!/usr/bin/env python3
"""Times clara-data index bm25 and its search beside bm25s on the same passages and questions.

FILEs are records (clara-data convert): their documents are the passages, each text once, their questions the
queries. Where --passages asks for more than there are, halves of drawn passages are put together, so that new ones
have the words of old ones. Build: reading the JSONL file to an index on the disk, whole programs. Search: the best
--top passages of all questions; the time of a run with the questions --rounds times less that of a run with one
question, so that opening is not counted (bm25s: its retrieve call, questions already as tokens). Runs alternate;
the fastest of --repeats counts. Needs a Python with bm25s, named by --python.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
PEER = r"""
import json, re, sys, time
import bm25s
corpus, questions, top, threads, out = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
terms = lambda text: re.findall(r"[^\W_]+", text.lower())
begin = time.perf_counter()
rows = [json.loads(line) for line in open(corpus, encoding="utf-8")]
index = bm25s.BM25(method="lucene", k1=1.2, b=0.75)
index.index([terms(row["title"] + " " + row["text"]) for row in rows], show_progress=False)
index.save(out, corpus=rows)
built = time.perf_counter() - begin
queries = [terms(json.loads(line)["question"]) for line in open(questions, encoding="utf-8")]
index.retrieve(queries[:1], k=top, show_progress=False, n_threads=threads)
begin = time.perf_counter()
index.retrieve(queries, k=top, show_progress=False, n_threads=threads)
print(built, time.perf_counter() - begin)
"""


def passages_and_questions(files, count):
    documents, questions = {}, []
    for file in files:
        for line in open(file, encoding="utf-8"):
            row = json.loads(line)
            questions.append(row["question"])
            documents.update(dict.fromkeys(row["docs"]))
    parts = [d.split("\n", 1) if "\n" in d else ["", d] for d in documents]
    draw = random.Random(17)
    while len(parts) < count:
        a, b = draw.choice(parts)[1].split(), draw.choice(parts)[1].split()
        parts.append([draw.choice(parts)[0], " ".join(a[: len(a) // 2] + b[len(b) // 2 :])])
    return parts[:count] if count else parts, questions, len(documents)


def seconds(*command):
    begin = time.perf_counter()
    subprocess.run([str(part) for part in command], check=True, capture_output=True)
    return time.perf_counter() - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", metavar="FILE", nargs="+", help="records, .jsonl")
    parser.add_argument("--program", default=PROJECT / "build/release/bin/clara-data", help="clara-data")
    parser.add_argument("--python", default=sys.executable, help="a Python with bm25s")
    parser.add_argument("--passages", type=int, default=0, help="in the corpus (default: those of the files)")
    parser.add_argument("--rounds", type=int, default=5, help="times that each question is asked")
    parser.add_argument("--top", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()

    parts, questions, distinct = passages_and_questions(options.files, options.passages)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        corpus, asked, one = folder / "corpus.jsonl", folder / "asked.jsonl", folder / "one.jsonl"
        with open(corpus, "w", encoding="utf-8") as file:
            for i, (title, text) in enumerate(parts):
                file.write(json.dumps({"id": i, "title": title, "text": text or title}, ensure_ascii=False) + "\n")
        rows = [json.dumps({"question": q, "answer": "none"}, ensure_ascii=False) + "\n" for q in questions]
        asked.write_text("".join(rows * options.rounds), encoding="utf-8")
        one.write_text(rows[0], encoding="utf-8")
        build = (options.program, "index", "bm25", "--corpus", corpus, "--out", folder / "index", "--force")
        search = (options.program, "candidates", "--index", folder / "index", "--out", folder / "out.jsonl", "--force",
                  "--no-verify", "--top", options.top, "--threads", options.threads, "--data")  # fmt: skip
        peer = (options.python, "-c", PEER, corpus, asked, options.top, options.threads, folder / "bm25s")
        found = {"build": [], "search": [], "peer build": [], "peer search": []}
        for _ in range(options.repeats):
            found["build"].append(seconds(*build))
            found["search"].append(seconds(*search, asked) - seconds(*search, one))
            out = subprocess.run([str(p) for p in peer], check=True, capture_output=True, text=True).stdout.split()
            found["peer build"].append(float(out[-2]))
            found["peer search"].append(float(out[-1]))
        best = {name: min(times) for name, times in found.items()}
        size = sum(f.stat().st_size for f in (folder / "index").iterdir())
        num_queries = len(questions) * options.rounds
        print(f"{len(parts)} passages ({distinct} distinct in the files), {len(questions)} questions, {options.threads} threads")
        print(f"corpus {corpus.stat().st_size / 1e6:.1f} MB, index {size / 1e6:.1f} MB")
        for what, count in (("build", len(parts)), ("search", num_queries)):
            ours, theirs = count / best[what], count / best["peer " + what]
            print(f"{what:7} {ours:10.0f} /s   bm25s {theirs:10.0f} /s   ratio {ours / theirs:.2f}")
        for file in sorted((folder / "index").iterdir()):
            print(f"  {file.name:16} {file.stat().st_size / len(parts):8.1f} bytes a passage")


if __name__ == "__main__":
    main()
