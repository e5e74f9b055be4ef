#!/usr/bin/env python3
"""Records what Hugging Face transformers computes with the real SmolLM2, for the C++ parity test.

    python record_smollm2_expected.py --model models/smollm2-135m [--out tests/parity/smollm2]

Needs torch 2.11.0, transformers 4.57.1, tokenizers 0.22.2 and safetensors; the model folder is the
one that scripts/fetch_smollm2.py writes (bfloat16 weights; everything is computed in float32,
attention "eager"). Every prompt runs alone, in a batch of one, without padding: position t of a row
is token t, and all mask values are 1.

expected.json
    model_sha256          of model.safetensors; equal to files["model.safetensors"] in the model
                          folder's source.json
    versions              of the packages that computed the values
    logit_columns [64]    vocabulary ids of the recorded columns of logits
    prompts               a list of
        name              prefix of the tensors below
        text              the text whose encoding is input_ids (control tokens in it are parsed)
        input_ids [T]
        positions [P]     where hidden states and logits are recorded
        top_ids [P][20]   ids of the 20 largest logits, largest first
        greedy_ids        greedy continuation through the end token (2), at most 24 tokens
        greedy_min_lead   the smallest lead of a chosen token's logit over the second one
    tokenizer             a list of {text, ids, ids_as_text}: encoded without added BOS or EOS; ids
                          parses control tokens in the text, ids_as_text takes them as ordinary text
                          (encode_special_tokens of tokenizers)
    float32_error         largest |float32 − float64| of the same computation, by tensor: the
                          rounding that any correct float32 implementation may show

expected.safetensors, float32, for each prompt
    <name>.hidden         [P, 576]  hidden states after the final norm at `positions`
    <name>.hidden_norm    [T]       their Euclidean norms at all positions
    <name>.top_logits     [P, 20]   logits of top_ids
    <name>.column_logits  [P, 64]   logits of logit_columns
    <name>.logsumexp      [T]       log Σ_v exp(logit_v) at all positions
    <name>.nll            [T-1]     negative log-likelihood of token t+1 given tokens 0..t
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
from pathlib import Path

import tokenizers
import torch
import transformers
from safetensors.torch import save_file

NUM_TOP = 20
NUM_COLUMNS = 64
NUM_GREEDY = 24

SYSTEM = (
    "<|im_start|>system\n"
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
)
PROMPTS = {
    "short": "The capital of France is",
    "chat": SYSTEM + "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n"
    "<|im_start|>assistant\n",
    "mixed": "On 17 March 2024 the café sold 1305 croissants at €2.75 each.\n\n"
    "def total(n, price):\n    return n * price  # 3588.75\n\nПривет, 世界! 🙂\tEnd.",
    "grounded": SYSTEM + "<|im_start|>user\nAnswer the question from the passage.\n"
    "Passage: The lighthouse of Orvel Point was drawn in 1871 by Mara Tislet, whose "
    "brother Edo ran the harbour office. After the storm of 1880 its lamp was moved to "
    "the chapel, and the tower served as a store for nets until the railway came.\n"
    "Question: Who drew the lighthouse of Orvel Point?<|im_end|>\n"
    "<|im_start|>assistant\n",
}
TOKENIZER_TEXTS = [
    "",
    " ",
    "   ",
    "\n\n\n",
    "Hello, world!",
    "Hello  world",
    " leading and trailing ",
    "12345 67.89 1e-10",
    "a1b22c333",
    "don't we'll I'M",
    "naïve façade Ångström",
    "Привет, 世界",
    "日本語のテキスト",
    "مرحبا",
    "🙂👩‍👩‍👧‍👦🇫🇷",
    "½ ² Ⅷ १२३ ٣",
    "tabs\tand\r\nreturns",
    "x = [i**2 for i in range(10)]",
    "https://example.org/a?b=1&c=%20",
    "\u0000\u0001\u007f",
    "e\u0301 \u00a0\u2003\u200b",
    "<|im_start|>user\nhi<|im_end|>",
    "<|endoftext|><repo_name>a/b<file_sep>",
    "<|im_start |>",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "CamelCaseAndsnake_case-and.kebab",
]


def record_positions(length: int) -> list[int]:
    """The first two, the last two and up to four between, evenly spread."""
    spread = [round(index * (length - 1) / 7) for index in range(8)]
    return sorted({0, 1, length - 2, length - 1, *spread[1:-1][:6]})


def run(model, input_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Hidden states after the final norm [T, 576] and logits [T, V] of one row."""
    with torch.no_grad():
        hidden = model.model(input_ids=input_ids[None]).last_hidden_state[0]
        return hidden, model.lm_head(hidden)


def summarise(
    hidden: torch.Tensor,
    logits: torch.Tensor,
    ids: torch.Tensor,
    positions: list[int],
    top_ids: torch.Tensor,
    columns: list[int],
) -> dict[str, torch.Tensor]:
    logsumexp = logits.logsumexp(-1)
    return {
        "hidden": hidden[positions],
        "hidden_norm": hidden.norm(dim=-1),
        "top_logits": logits[positions].gather(1, top_ids),
        "column_logits": logits[positions][:, columns],
        "logsumexp": logsumexp,
        "nll": logsumexp[:-1] - logits[:-1].gather(1, ids[1:, None])[:, 0],
    }


def greedy(model, input_ids: torch.Tensor) -> tuple[list[int], float]:
    """Without a cache: every token comes from one plain forward pass over all before it."""
    ids, min_lead = input_ids, float("inf")
    for _ in range(NUM_GREEDY):
        best = run(model, ids)[1][-1].topk(2)
        min_lead = min(min_lead, (best.values[0] - best.values[1]).item())
        ids = torch.cat([ids, best.indices[:1]])
        if ids[-1].item() == model.config.eos_token_id:
            break
    return ids[len(input_ids) :].tolist(), min_lead


def tokenizer_cases(path: Path) -> list[dict[str, object]]:
    tokenizer = tokenizers.Tokenizer.from_file(str(path))
    cases = []
    for text in [*TOKENIZER_TEXTS, *PROMPTS.values()]:
        tokenizer.encode_special_tokens = False
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        tokenizer.encode_special_tokens = True
        cases.append(
            {
                "text": text,
                "ids": ids,
                "ids_as_text": tokenizer.encode(text, add_special_tokens=False).ids,
            }
        )
    return cases


def dump(content: dict[str, object]) -> str:
    """JSON with lists of numbers on one line."""
    lines = []
    for key, value in content.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            rows = ",\n    ".join(json.dumps(row, ensure_ascii=True) for row in value)
            lines.append(f'  "{key}": [\n    {rows}\n  ]')
        else:
            lines.append(f'  "{key}": {json.dumps(value)}')
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent)
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    load = transformers.AutoModelForCausalLM.from_pretrained
    model = load(arguments.model, dtype=torch.float32, attn_implementation="eager").eval()
    exact = load(arguments.model, dtype=torch.float64, attn_implementation="eager").eval()
    tokenizer = tokenizers.Tokenizer.from_file(str(arguments.model / "tokenizer.json"))
    vocabulary = model.config.vocab_size
    # Spread over the whole vocabulary, first and last row included.
    columns = [round(index * (vocabulary - 1) / (NUM_COLUMNS - 1)) for index in range(NUM_COLUMNS)]

    tensors: dict[str, torch.Tensor] = {}
    prompts: list[dict[str, object]] = []
    float32_error: dict[str, float] = {}
    for name, text in PROMPTS.items():
        ids = torch.tensor(tokenizer.encode(text, add_special_tokens=False).ids)
        positions = record_positions(len(ids))
        hidden, logits = run(model, ids)
        top_ids = logits[positions].topk(NUM_TOP).indices
        values = summarise(hidden, logits, ids, positions, top_ids, columns)
        exact_values = summarise(*run(exact, ids), ids, positions, top_ids, columns)
        for key, value in values.items():
            tensors[f"{name}.{key}"] = value.contiguous()
            error = (value.double() - exact_values[key]).abs().max().item()
            float32_error[key] = max(float32_error.get(key, 0.0), error)
        greedy_ids, min_lead = greedy(model, ids)
        prompts.append(
            {
                "name": name,
                "text": text,
                "input_ids": ids.tolist(),
                "positions": positions,
                "top_ids": top_ids.tolist(),
                "greedy_ids": greedy_ids,
                "greedy_min_lead": round(min_lead, 4),
            }
        )
        answer = tokenizer.decode(greedy_ids)
        print(f"{name}: {len(ids)} tokens, greedy: {answer!r} (smallest lead {min_lead:.4f})")

    weights = (arguments.model / "model.safetensors").read_bytes()
    arguments.out.mkdir(parents=True, exist_ok=True)
    save_file(tensors, arguments.out / "expected.safetensors")
    (arguments.out / "expected.safetensors").chmod(0o644)
    (arguments.out / "expected.json").write_text(
        dump(
            {
                "model": "SmolLM2-135M-Instruct, written by scripts/fetch_smollm2.py",
                "model_sha256": hashlib.sha256(weights).hexdigest(),
                "versions": {
                    "python": platform.python_version(),
                    "torch": torch.__version__.split("+")[0],
                    "transformers": transformers.__version__,
                    "tokenizers": tokenizers.__version__,
                },
                "compute_dtype": "float32",
                "logit_columns": columns,
                "float32_error": {
                    key: float(f"{value:.3g}") for key, value in float32_error.items()
                },
                "prompts": prompts,
                "tokenizer": tokenizer_cases(arguments.model / "tokenizer.json"),
            }
        ),
        encoding="utf-8",
    )
    print("float32 error:", {key: f"{value:.2e}" for key, value in float32_error.items()})


if __name__ == "__main__":
    main()
