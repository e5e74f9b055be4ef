#!/usr/bin/env python3
"""Times clara-data index dense beside transformers: passages a second with the same encoder, text and threads.

The passages of --corpus (JSONL with id, title and text) are encoded in turn by clara-data (flat index, float32 vectors) and by
transformers as sentence-transformers runs it: sorted by length, batches of 32, padded to the longest. Loading is left
out on both sides (clara-data tells its encoding time). The fastest of --repeats counts. Run it with a Python that has
torch and transformers. Prints the ratio, and the smallest cosine between the vectors of both.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", type=Path, required=True, help="sentence-transformers folder of a BERT encoder")
    parser.add_argument("--corpus", type=Path, required=True, help="passages, JSONL")
    parser.add_argument("--program", default=PROJECT / "build/release/bin/clara-data", help="clara-data")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch", type=int, default=32, help="passages of a batch of transformers (default: 32)")
    parser.add_argument("--batch-tokens", type=int, default=2048, help="of clara-data")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModel, AutoTokenizer

    torch.set_num_threads(options.threads)
    rows = [json.loads(line) for line in options.corpus.open(encoding="utf-8")]
    texts = [f"{row['title']}\n{row['text']}" if row.get("title") else row["text"] for row in rows]
    cls = json.loads((options.encoder / "1_Pooling/config.json").read_text())["pooling_mode_cls_token"]
    limit = json.loads((options.encoder / "sentence_bert_config.json").read_text())["max_seq_length"]
    tokenizer = AutoTokenizer.from_pretrained(options.encoder)
    model = AutoModel.from_pretrained(options.encoder, dtype=torch.float32).eval()

    def reference():
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        out = torch.empty(len(texts), model.config.hidden_size)
        with torch.inference_mode():
            for first in range(0, len(order), options.batch):
                batch = order[first : first + options.batch]
                inputs = tokenizer([texts[i] for i in batch], padding=True, truncation=True, max_length=limit,
                                   return_tensors="pt")  # fmt: skip
                states = model(**inputs).last_hidden_state
                if cls:
                    pooled = states[:, 0]
                else:
                    mask = inputs["attention_mask"].unsqueeze(-1)
                    pooled = (states * mask).sum(1) / mask.sum(1)
                out[batch] = torch.nn.functional.normalize(pooled)
        return out

    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = [], []
        for repeat in range(options.repeats):
            index = Path(folder, str(repeat))
            command = [str(options.program), "index", "dense", "--corpus", str(options.corpus), "--encoder",
                       str(options.encoder), "--out", str(index), "--dtype", "float32", "--threads",
                       str(options.threads), "--batch-tokens", str(options.batch_tokens)]  # fmt: skip
            run = subprocess.run(command, capture_output=True, text=True)
            if run.returncode != 0:
                sys.exit(f"error: {' '.join(command)}\n{run.stderr}")
            ours.append(float(re.search(r"^encoded .* ([\d.]+) passages/s$", run.stderr, re.MULTILINE).group(1)))
            begin = time.perf_counter()
            vectors = reference()
            theirs.append(len(texts) / (time.perf_counter() - begin))
        found = torch.cat([load_file(path)["vectors"] for path in sorted(index.glob("vectors_*"))])
    print(f"{len(texts)} passages, {options.threads} threads")
    print(f"clara-data    {max(ours):8.1f} passages/s  ({', '.join(f'{v:.1f}' for v in ours)})")
    print(f"transformers  {max(theirs):8.1f} passages/s  ({', '.join(f'{v:.1f}' for v in theirs)})")
    print(f"ratio         {max(ours) / max(theirs):8.2f}")
    print(f"smallest cosine {(found * vectors).sum(1).min().item():.7f}, largest difference {(found - vectors).abs().max().item():.1e}")


if __name__ == "__main__":
    main()
