#!/usr/bin/env python3
"""Records tests/fixtures/data/prompt_ids.json: rows and the token ids that the Python reference makes of them.

Usage: record_prompt_ids.py REFERENCE_FOLDER OUTPUT.json (REFERENCE_FOLDER holds clara_reference.py and its requirements)
"""
import json
import sys
from pathlib import Path

BASE = Path(__file__).resolve().parents[2] / "fixtures" / "parity" / "llama" / "base"
SETTINGS = {"compression_rate": 6, "doc_max_tokens": 24, "top_k": 2}
MAX_SEQUENCE_TOKENS = {"scp": 180, "tune": 200, "joint": 170}
SHORT = "Marta Quill founded the Lantern Works in 1874."
LONG = SHORT + " The works made lamps, glass and signal mirrors for the coast road, and closed when the road was moved inland."
SCRIPTS = "Ελένη  said:\t“Привет, 世界” 👩🏽‍🚀\r\n\n— naïve café № 12345."


def rows():
    pair = {"data_type": "qa", "question": ["Who founded the Lantern Works?", "When?"], "answers": ["Marta Quill", "1874"]}
    scp = [
        {**pair, "docs": [SHORT]},
        {**pair, "docs": [LONG]},
        {**pair, "answers": ["  Marta Quill ", "\u2003 1874 \n\n"], "docs": [SCRIPTS]},
        {"question": ["What?"], "answers": ["A very long answer. " * 40], "docs": [SHORT]},
    ]
    for number in range(1, 14):
        scp.append({"data_type": "paraphrase", "instruction": number, "answers": ["\n Lamps were made there. "], "docs": [SHORT]})
    question = "Who founded the works that made lamps?"
    tune = [
        {"question": question, "answer": "Marta Quill", "docs": [SHORT]},
        {"question": SCRIPTS, "answer": " 1874\n", "docs": [LONG, SCRIPTS]},
    ]
    joint = [
        {"question": question, "answer": "Marta Quill", "docs": [SHORT, LONG, SCRIPTS], "pos_index": [1, 0]},
        {"question": question * 5, "answer": SCRIPTS, "docs": [SCRIPTS], "pos_index": []},
    ]
    return {"scp": scp, "tune": tune, "joint": joint}


def main(reference_folder, output):
    sys.path.insert(0, reference_folder)
    from clara_reference import ClaraReference

    reference = ClaraReference(BASE, max_sequence_tokens=MAX_SEQUENCE_TOKENS, **SETTINGS)
    cases = []
    for stage, stage_rows in rows().items():
        for row, example in zip(stage_rows, reference.prepare(stage, stage_rows)):
            cases.append({
                "stage": stage, "row": row, "documents": example.documents, "question": example.question,
                "tokens": example.tokens, "prompt_length": example.prompt_length, "positives": example.positives,
            })
    record = {
        **SETTINGS, "max_sequence_tokens": MAX_SEQUENCE_TOKENS, "base_vocab_rows": reference.vocabulary,
        "num_memory": reference.memory_tokens, "bos_id": reference.bos_id, "eos_id": reference.eos_id,
    }
    lines = ",\n  ".join(json.dumps(case, ensure_ascii=False) for case in cases)
    head = json.dumps(record)[:-1]
    Path(output).write_text(f'{head}, "cases": [\n  {lines}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
