#!/usr/bin/env python3
"""Writes the seeds of the corpora: small sound inputs, and near misses. What fuzzing found is added beside
them, named found_*."""

import gzip
import json
import struct
from pathlib import Path

CORPUS = Path(__file__).resolve().parent / "corpus"


def safetensors(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
SAFETENSORS = {
    "one": safetensors({"a": F32}, bytes(8)),
    "two": safetensors(
        {"__metadata__": {"format": "pt"}, "a": F32,
         "b": {"dtype": "BF16", "shape": [1, 2], "data_offsets": [8, 12]}}, bytes(12)),
    "scalar": safetensors({"a": {"dtype": "I64", "shape": [], "data_offsets": [0, 8]}}, bytes(8)),
    "empty": safetensors({}),
    "huge_shape": safetensors({"a": {"dtype": "F64", "shape": [1 << 62, 8], "data_offsets": [0, 8]}}, bytes(8)),
    "overlap": safetensors({"a": F32, "b": F32}, bytes(8)),
    "long_header": safetensors({"a": F32}, bytes(8), length=1 << 63),
    "no_json": safetensors(b"{{{", bytes(8)),
}  # fmt: skip

QA = {"question": "who?", "docs": ["a", "b"], "answers": ["c"], "pos_index": [1], "id": 3, "gold_docs": ["b"]}
SCP = {"data_type": "qa", "docs": ["d"], "question": ["q"], "answers": ["a"]}
PARAPHRASE = {"data_type": "paraphrase", "docs": ["d"], "answers": ["x", "y"], "instruction": 3}


def line(value):
    return json.dumps(value).encode()


RECORDS = {
    "scp": b"\0" + line(SCP),
    "paraphrase": b"\0" + line(PARAPHRASE),
    "qa": b"\1" + line(QA),
    "jsonl": b"\2" + b"\n".join([line(QA), b"", line(SCP)]),
    "json_array": b"\3[" + b" , ".join([line(QA), line(PARAPHRASE)]) + b"]",
    "gzip": b"\4" + gzip.compress(line(QA) + b"\n" + line(QA) + b"\n", mtime=0),
    "limited": b"\5" + b"\xef\xbb\xbf" + b"\r\n".join([line(QA)] * 3),
    "escapes": b"\1" + rb'{"question":"\ud83d\ude00\u0000","docs":["\n"],"answer":"a"}',
    "deep": b"\1" + b'{"x":' + b"[" * 300 + b"]" * 300 + b"}",
}

HOTPOT = {
    "_id": "h", "answer": "c", "question": "q?", "supporting_facts": [["T", 0], ["U", 9]], "type": "bridge",
    "context": [["T", ["a.", " b."]], ["T", ["c"]], ["V", []]],
}
MUSIQUE = {
    "id": "m", "question": "q?", "answer": "a", "answer_aliases": ["b", "a"], "answerable": False,
    "paragraphs": [{"idx": 0, "title": "T", "paragraph_text": "t", "is_supporting": True}],
    "question_decomposition": [{"id": 1, "question": "q", "answer": "a", "paragraph_support_idx": None}],
}
NQ = {
    "example_id": -(1 << 63), "question_text": "q", "document_text": "T <P> a b </P>",
    "document_url": "u?title=A_%C3%A9&amp;x", "long_answer_candidates": [
        {"start_token": 1, "end_token": 5, "top_level": True}],
    "annotations": [{"annotation_id": (1 << 64) - 1, "yes_no_answer": "NO", "short_answers": [
        {"start_token": 2, "end_token": 4}], "long_answer": {"start_token": 1, "end_token": 5, "candidate_index": 0}}],
}
NQ_RAW = {
    **{k: v for k, v in NQ.items() if k != "document_text"}, "document_title": "A",
    "document_tokens": [{"token": t, "html_token": t[0] == "<"} for t in NQ["document_text"].split(" ")],
}
DPR = {
    "question": "q", "answers": ["a"], "positive_ctxs": [{"title": "T", "text": "t", "score": 1000, "passage_id": "1"}],
    "negative_ctxs": [{"title": "N", "text": "n", "score": 0.5, "passage_id": 2}],
    "hard_negative_ctxs": [{"title": "N", "text": "n", "score": 1e9, "passage_id": 2}],
}
KILT = {"id": "k", "input": "q", "output": [{"answer": "a"}, {"provenance": [{"title": "T"}]}]}
FLASHRAG = {
    "id": "f", "question": "q", "golden_answers": ["a"], "metadata": {
        "type": "t", "context": {"title": ["T"], "content": [["s"]]}, "supporting_facts": {"title": ["T"], "sent_id": [0]}},
}
CTXS = {"question": "q", "answers": ["a"], "ctxs": [{"title": "T", "text": "t", "isgold": True}]}
# The first byte is the layout's number; behind them: lines, an array, a cut array, gzip.
BENCHMARKS = {
    "hotpotqa": b"\0" + line(HOTPOT),
    "2wiki": b"\1" + line({**HOTPOT, "evidences": [["T", "r", "U"]], "answer_id": None}),
    "musique": b"\2" + line(MUSIQUE),
    "nq": b"\3" + line(NQ),
    "nq_raw": b"\3" + line(NQ_RAW),
    "nq_open": b"\4" + line({"question": "q", "answer": ["a", "b"]}),
    "dpr": b"\5" + line(DPR),
    "kilt": b"\6" + line(KILT),
    "flashrag": b"\7" + line(FLASHRAG),
    "ctxs": b"\x08" + line(CTXS),
    "ml_clara": b"\x09" + b"\n".join([line(QA), line(SCP), line(PARAPHRASE)]),
    "lines": b"\x0a" + b"\n".join([line(HOTPOT), b"", line(MUSIQUE)])[:-9],
    "array": b"\x0b[" + b",\n".join([line(HOTPOT), b"{}", line(HOTPOT)]) + b"]",
    "objects": b"\x0b" + json.dumps(NQ, indent=1).encode() * 2,
    "cut": b"\x0c[" + b",".join([line(DPR), line(DPR)])[:-20],
    "gzip": b"\x0d" + gzip.compress(line(KILT) * 3, mtime=0)[:-6],
    "surrogate": b"\0" + line(HOTPOT).replace(b"q?", rb"\udc00"),
    "not_utf8": b"\0" + line(HOTPOT).replace(b"q?", b"\xed\xa0\x80"),
}

TOKENIZER = {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "added_tokens": [{
        "id": 3, "content": "<s>", "single_word": False, "lstrip": False, "rstrip": True,
        "normalized": False, "special": True,
    }],
    "normalizer": {"type": "NFC"},
    "pre_tokenizer": {
        "type": "Sequence",
        "pretokenizers": [
            {"type": "Digits", "individual_digits": True},
            {"type": "Split", "pattern": {"Regex": " ?\\p{L}+|\\s+"}, "behavior": "Isolated", "invert": False},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        ],
    },
    "post_processor": None,
    "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
    "model": {
        "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
        "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
        "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"],
    },
}  # fmt: skip


def tokenizer(**changes):
    return json.dumps({**TOKENIZER, **changes}).encode()


TOKENIZERS = {
    "sound": tokenizer(),
    "pairs": tokenizer(model={**TOKENIZER["model"], "merges": [["a", "b"]]}),
    "ignore_merges": tokenizer(model={**TOKENIZER["model"], "ignore_merges": True}),
    "plain": tokenizer(normalizer=None, pre_tokenizer=TOKENIZER["pre_tokenizer"]["pretokenizers"][2]),
    "negative_id": tokenizer(model={**TOKENIZER["model"], "vocab": {"a": -1}, "merges": []}),
    "huge_id": tokenizer(model={**TOKENIZER["model"], "vocab": {"a": 2147483647}, "merges": []}),
    "wrong_regex": tokenizer(
        pre_tokenizer={"type": "Split", "pattern": {"Regex": "(a"}, "behavior": "Isolated", "invert": False}
    ),
}

CONFIG = """stage: joint
model: {base: b, lora: {rank: 4, target_modules: [q_proj]}}
data:
  train: [{path: t.jsonl, weight: 0.5}, u.jsonl]
trainer: {rows_per_micro_batch: auto, adam_betas: [0.9, 0.95], seed: 18446744073709551615}
output: {folder: "run", keep_best: {metric: validation/loss, mode: min}}
"""
CONFIGS = {
    "sound": CONFIG.encode(),
    "json": json.dumps({"stage": "scp", "model": {"base": "\U0001f600"}, "data": {"train": ["t"]},
                        "output": {"folder": "o"}}).encode(),
    "anchors": b"stage: scp\nmodel: &m {base: b}\ndata: *m\n",
    "unknown": b"stage: scp\nmodle: {}\ntrainer: {seed: -1}\n",
    "two_documents": b"a: 1\n---\nb: 2\n",
    "torn": b"model: {base: [",
    "assignment": b"trainer.adam_betas.1=0.5",
    "deep": b"a: " + b"[" * 300 + b"]" * 300,
}  # fmt: skip

MANIFEST = {"format_version": 1, "files": {"a/b.json": {"bytes": 3, "xxh3_128": "0" * 32}}}
PROGRESS = {
    "format_version": 1, "step": 3, "total_steps": 9, "epoch": 0, "position": 4, "is_validation_due": False,
    "best": {"metric": "m", "value": 0.5, "step": 2}, "counters": {"x": 1}, "config": "stage: scp\n",
    "inputs": {"file of data.train.0": "3 rows"},
}  # fmt: skip
MANIFESTS = {
    "manifest": line(MANIFEST),
    "progress": line(PROGRESS),
    "leaves": line({**MANIFEST, "files": {"../x": {"bytes": 1, "xxh3_128": ""}}}),
    "newer": line({**MANIFEST, "format_version": 2}),
    "negative": line({**PROGRESS, "step": -1}),
    "huge": line({**PROGRESS, "step": 1 << 63}),
    "null_best": line({**PROGRESS, "best": None}),
}


def main():
    for folder, inputs in (
        ("safetensors", SAFETENSORS), ("records", RECORDS), ("benchmarks", BENCHMARKS), ("tokenizer", TOKENIZERS), ("config", CONFIGS),
        ("manifest", MANIFESTS),
    ):  # fmt: skip
        (CORPUS / folder).mkdir(parents=True, exist_ok=True)
        for name, content in inputs.items():
            (CORPUS / folder / f"seed_{name}").write_bytes(content)


if __name__ == "__main__":
    main()
