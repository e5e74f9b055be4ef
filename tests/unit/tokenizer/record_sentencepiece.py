"""Writes sentencepiece.model and sentencepiece.json into tests/fixtures/tokenizer: a tiny model, and its ids.

    record_sentencepiece.py     needs the Python modules sentencepiece and tokenizers

The model is trained with the settings of Llama 2's (BPE, byte fallback, a blank in front of every text, white space
kept). The ids are those of the tokenizer that transformers' LlamaTokenizerFast makes of such a model, with "legacy"
and without, special tokens parsed and as text.
"""
import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "parity" / "tokenizer"))
from compare_tokenizers import SAMPLES, as_transformers_converts, train_sentencepiece  # noqa: E402

TEXTS = [
    "", " ", "   ", "the", " the", "  the quick  fox ", "\n", "the\n\nfox", "\u2581", "\u2581the \u2581\u2581", "<s>", "</s>the",
    "the</s>", "the </s> fox", "</s> the</s></s>", "<unk>the<unk>", "<0x0A>", "na\u00efve caf\u00e9 \u5b57 \U0001f600", "12345 3.14",
    "\0\x01\x7f", "a\u0301 \u200d\ufeff", "It's don't", "tab\tand\r\nline", *SAMPLES[:6],
]


def main():
    folder = HERE.parents[1] / "fixtures" / "tokenizer"
    file = folder / "sentencepiece.model"
    train_sentencepiece([*SAMPLES[:1] * 3, SAMPLES[11], SAMPLES[13]], file, vocabulary=400)
    cases = []
    for legacy in (True, False):
        tokenizer = as_transformers_converts(file, legacy)
        case = {"legacy": legacy, "parse": [], "as_text": [], "decoded": [], "decoded_skip": []}
        for text in TEXTS:
            for key, as_text in (("parse", False), ("as_text", True)):
                tokenizer.encode_special_tokens = as_text
                case[key].append(tokenizer.encode(text, add_special_tokens=False).ids)
            ids = case["parse"][-1]
            case["decoded"].append(tokenizer.decode(ids, skip_special_tokens=False))
            case["decoded_skip"].append(tokenizer.decode(ids, skip_special_tokens=True))
        cases.append(case)
    text = json.dumps({"texts": TEXTS, "cases": cases}, ensure_ascii=True)
    (folder / "sentencepiece.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
