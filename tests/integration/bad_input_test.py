#!/usr/bin/env python3
"""clara-train given something wrong: the exit code, a message that says what, where and what to try, and
nothing lost or half-written. Each table row is one mistake; the folder of a refused run does not exist.
"""

import contextlib
import json
import os
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import unittest
from typing import Callable, NamedTuple, Optional

sys.dont_write_bytecode = True
from program_case import (  # noqa: E402
    DATA, NON_FINITE, OK, USAGE, Place, ProgramCase, files_below, read_jsonl, read_rows,
    read_safetensors, snapshot, to_lines, trained_tensors, write_safetensors,
)  # fmt: skip

UP = "model.layers.1.mlp.up_proj.weight"
NORM = "model.norm.weight"


class Mistake(NamedTuple):
    """One wrong thing and what the program must say about it."""

    name: str
    make: Callable[[Place], object]
    code: int
    fragments: tuple
    options: tuple = ()
    stage: Optional[str] = None  # of the command; None: of the place


def numbered(name):
    return re.sub(r"\W+", "_", name)


class MistakesCase(ProgramCase):
    """Runs tables of mistakes, each in a place of its own."""

    def check(self, mistakes, stage="scp", **popen):
        for mistake in mistakes:
            with self.subTest(mistake.name):
                place = self.place(f"{self.id().rsplit('.', 1)[-1]}_{numbered(mistake.name)}", stage)
                mistake.make(place)
                before = snapshot(place.folder)
                outcome = place.train(*mistake.options, stage=mistake.stage, **popen)
                self.assert_refused(outcome, mistake.code, *mistake.fragments)
                self.assertEqual(outcome.out, "")
                self.assertEqual(files_below(place / "run"), [], outcome)
                self.assertFalse((place / "run").exists(), f"an empty run folder was left\n{outcome}")
                self.assertEqual(snapshot(place.folder), before)


class ConfigTest(MistakesCase):
    """The config file and the command line."""

    def test_one_mistake(self):
        self.check([
            Mistake(
                "unknown key", lambda p: p.set(trainer__rows_per_stp=3), USAGE,
                ("config.yaml:", "trainer.rows_per_stp: unknown key (did you mean trainer.rows_per_step?)"),
            ),
            Mistake(
                "wrong type", lambda p: p.set(trainer__rows_per_step="many"), USAGE,
                ("config.yaml:13: trainer.rows_per_step: expected", "many"),
            ),
            Mistake(
                "out of range", lambda p: p.set(trainer__warmup_ratio=1.5), USAGE,
                ("trainer.warmup_ratio: expected", "[0, 1]", "1.5"),
            ),
            Mistake(
                "wrong choice", lambda p: p.set(trainer__schedule="linear"), USAGE,
                ("trainer.schedule: expected", "cosine", "constant", "linear"),
            ),
            Mistake(
                "rate that does not divide", lambda p: p.set(model__compression_rate=7), USAGE,
                ("model.compression_rate: expected a rate that divides", "64", "found 7"),
            ),
            Mistake(
                "missing required key", lambda p: p.set(model__base=None), USAGE,
                ("model.base: required key is missing",),
            ),
            Mistake(
                "key of another stage", lambda p: p.set(objective__num_selected=3), USAGE,
                ("objective.num_selected: not used by stage scp", "joint"),
            ),
            Mistake(
                "stage against the command", lambda p: p.set(stage="scp"), USAGE,
                ("config.yaml:", "stage: expected tune", "found scp"), stage="tune",
            ),
            Mistake(
                "no YAML", lambda p: p.write("config.yaml", "model: {base: [\n"), USAGE,
                ("config.yaml:", "no valid YAML"),
            ),
            Mistake(
                "empty file", lambda p: p.write("config.yaml", ""), USAGE,
                ("config.yaml: expected a mapping of sections", "empty file"),
            ),
            Mistake(
                "missing file", lambda p: (p / "config.yaml").unlink(), USAGE,
                ("config.yaml: expected a config file, found nothing", "--config"),
            ),
            Mistake(
                "folder in place of the file",
                lambda p: ((p / "config.yaml").unlink(), (p / "config.yaml").mkdir()), USAGE,
                ("config.yaml: expected a config file, found a folder",),
            ),
            Mistake(
                "longer than the model", lambda p: p.set(trainer__max_sequence_tokens=5000), USAGE,
                ("trainer.max_sequence_tokens", "5000", "4096", "max_position_embeddings"),
            ),
            Mistake(
                "longer than the model's window",
                lambda p: p.edit_base_config(model_type="mistral", sliding_window=500), USAGE,
                ("trainer.max_sequence_tokens", "512", "sliding window of 500 tokens", "set it to 500 or less"),
            ),
            Mistake(
                "documents longer than the model's window",
                lambda p: p.edit_base_config(model_type="mistral", sliding_window=70), USAGE,
                ("model.doc_max_tokens", "sliding window of 70 tokens", "or less"),
            ),
            Mistake(
                "target module that is none", lambda p: p.set(model__lora__target_modules=["w_proj"]),
                USAGE, ("w_proj", "q_proj"),
            ),
            Mistake(
                "chat format that is none", lambda p: p.set(model__chat_format="chatmk"), USAGE,
                ("chatmk", "chatml"),
            ),
            Mistake(
                "device that is not there", lambda p: p.set(model__device="cuda"), USAGE,
                ("model.device", "cuda", "cpu"),
            ),
        ])  # fmt: skip

    def test_all_mistakes_are_reported_at_once_in_the_order_of_the_file(self):
        place = self.place("several")
        place.write("config.yaml", "\n".join([
            "model:",
            "  base: base",
            "  compresion_rate: 8",
            "  lora: {rank: 0}",
            "data: {train: [train.jsonl]}",
            "trainer:",
            "  rows_per_step: lots",
            "  max_steps: 2",
            "  schedule: linear",
            "output: {folder: run, keep: 3}",
            "logging: {every_steps: 0}",
        ]))  # fmt: skip
        before = snapshot(place.folder)
        outcome = place.train("--set", "trainer.seed=-1", "--set", "trainer.sed=4")
        self.assert_refused(
            outcome, USAGE, "config.yaml:3: model.compresion_rate", "config.yaml:4: model.lora.rank",
            "config.yaml:7: trainer.rows_per_step", "config.yaml:9: trainer.schedule",
            "config.yaml:10: output.keep", "config.yaml:11: logging.every_steps",
            "--set trainer.seed", "--set trainer.sed",
        )  # fmt: skip
        self.assertEqual(outcome.err.count("error: "), 8, outcome)
        lines = [int(n) for n in re.findall(r"config\.yaml:(\d+)", outcome.err)]
        self.assertEqual(lines, sorted(lines))
        self.assertEqual(snapshot(place.folder), before)

    def test_the_command_line(self):
        self.check([
            Mistake("--set without value", lambda p: None, USAGE,
                    ("--set nonsense", "key.path=value"), ("--set", "nonsense")),
            Mistake("--set of an unknown key", lambda p: None, USAGE,
                    ("--set trainer.rows_per_stp", "did you mean trainer.rows_per_step?"),
                    ("--set", "trainer.rows_per_stp=3")),
            Mistake("--set of a wrong value", lambda p: None, USAGE,
                    ("--set trainer.max_steps", "expected", "few"), ("--set", "trainer.max_steps=few")),
            Mistake("unknown option", lambda p: None, USAGE, ("--dry-ran", "--help"), ("--dry-ran",)),
            Mistake("unknown subcommand", lambda p: None, USAGE, ("--help",), stage="pretrain"),
            Mistake("option without value", lambda p: None, USAGE, ("--output",), ("--output",)),
            Mistake("GPUs below one", lambda p: None, USAGE, ("--num-gpus",), ("--plan", "--num-gpus", "0")),
        ])  # fmt: skip

    def test_no_subcommand_and_no_config(self):
        place = self.place("bare")
        for command in ([place.command()[0]], place.command()[:2]):
            outcome = place.run(command)
            self.assert_refused(outcome, USAGE, "--help")

    def test_looking_refuses_what_training_refuses(self):
        for option in ("--print-config", "--plan", "--dry-run"):
            with self.subTest(option):
                place = self.place(f"looking{option}", trainer__rows_per_stp=3)
                self.assert_refused(place.train(option), USAGE, "did you mean trainer.rows_per_step?")


def reshape(name, shape):
    def change(header, data):
        header[name]["shape"] = shape

    return change


def drop(name):
    """Removes one tensor with its bytes."""

    def change(header, data):
        begin, end = header.pop(name)["data_offsets"]
        for entry in header.values():
            offsets = entry.get("data_offsets")
            if offsets and offsets[0] >= end:
                entry["data_offsets"] = [offset - (end - begin) for offset in offsets]
        return header, data[:begin] + data[end:]

    return change


def narrow_up(header, data):
    """up_proj as a model of another intermediate_size has it."""
    begin, end = header[UP]["data_offsets"]
    drop(UP)(header, data)
    rest = data[:begin] + data[end:]
    header[UP] = {"dtype": "F32", "shape": [88, 64], "data_offsets": [len(rest), len(rest) + 88 * 64 * 4]}
    return header, rest + bytes(88 * 64 * 4)


def with_value(name, value):
    def change(header, data):
        begin, _ = header[name]["data_offsets"]
        return header, data[:begin] + struct.pack("<f", value) + data[begin + 4 :]

    return change


def lie(change_offsets):
    """Alters the data_offsets of the last tensor."""

    def change(header, data):
        name = max((n for n in header if n != "__metadata__"), key=lambda n: header[n]["data_offsets"][1])
        header[name]["data_offsets"] = change_offsets(*header[name]["data_offsets"])

    return change


def weights_file(place):
    return place.own_base() / "model.safetensors"


def rewrite_weights(place, change):
    """change(content) of the bytes of model.safetensors."""
    path = weights_file(place)
    path.write_bytes(change(path.read_bytes()))


class BaseModelTest(MistakesCase):
    """The folder of the base model."""

    def test_files(self):
        self.check([
            Mistake("missing folder", lambda p: p.set(model__base="nowhere"), DATA,
                    ("nowhere: expected a folder with a Hugging Face model", "config.json")),
            Mistake("no config.json", lambda p: (p.own_base() / "config.json").unlink(), DATA,
                    ("base/config.json", "No such file")),
            Mistake("config.json cut", lambda p: os.truncate(p.own_base() / "config.json", 200), DATA,
                    ("base/config.json", "JSON", "damaged")),
            Mistake("no weights", lambda p: weights_file(p).unlink(), DATA, ("base", "safetensors")),
            Mistake("no tokenizer", lambda p: (p.own_base() / "tokenizer.json").unlink(), DATA,
                    ("base", "tokenizer.json")),
            Mistake("tokenizer.json cut", lambda p: os.truncate(p.own_base() / "tokenizer.json", 9000), DATA,
                    ("base/tokenizer.json", "JSON")),
            Mistake("tokenizer.json of another kind",
                    lambda p: (p.own_base() / "tokenizer.json").write_text('{"model": {"type": "Unigram"}}'),
                    DATA, ("base/tokenizer.json", "Unigram")),
        ])  # fmt: skip

    def test_config_json(self):
        def edit(**changes):
            return lambda place: place.edit_base_config(**changes)

        def refused(name, make, *fragments):
            return Mistake(name, make, DATA, ("base/config.json: ", *fragments))

        self.check([
            refused("family", edit(model_type="gpt2"), "model_type", '"gpt2" is not supported', "llama"),
            refused("activation", edit(hidden_act="gelu"), "hidden_act", "gelu", "silu"),
            refused("rope type", edit(rope_scaling={"rope_type": "yarn", "factor": 2.0}), "rope_type", "yarn",
                    "llama3"),
            refused("window that is no number", edit(model_type="mistral", sliding_window="wide"), "sliding_window"),
            refused("quantised", edit(quantization_config={"quant_method": "gptq"}), "quantization_config"),
            refused("experts", edit(num_local_experts=8), "num_local_experts"),
            refused("key-value heads", edit(num_key_value_heads=3), "num_key_value_heads", "4", "found 3"),
            refused("negative size", edit(hidden_size=-64), "hidden_size", "positive", "-64"),
            refused("text for a number", edit(rms_norm_eps="small"), "rms_norm_eps", "number", "small"),
            refused("missing size", edit(num_hidden_layers=None), "num_hidden_layers", "found nothing"),
        ])  # fmt: skip

    def test_tensors(self):
        def edit(change):
            return lambda place: place.edit_weights(change)

        self.check([
            Mistake("another intermediate_size", edit(narrow_up), DATA,
                    (f"tensor {UP}: expected [112, 64], found [88, 64] (config.json says intermediate_size 112)",)),
            Mistake("another hidden_size", lambda p: p.edit_base_config(hidden_size=128, head_dim=16), DATA,
                    ("tensor model.embed_tokens.weight: expected [1208, 128], found [1208, 64]", "config.json says",
                     "hidden_size 128")),
            Mistake("more layers", lambda p: p.edit_base_config(num_hidden_layers=3), DATA,
                    ("tensor model.layers.2.",)),
            Mistake("fewer layers", lambda p: p.edit_base_config(num_hidden_layers=1), DATA,
                    ("tensor model.layers.1.", "config.json")),
            Mistake("missing tensor", edit(drop(NORM)), DATA, ("base", f"tensor {NORM}")),
            Mistake("head of an untied model", lambda p: p.edit_base_config(tie_word_embeddings=False), DATA,
                    ("tensor lm_head.weight",)),
            Mistake("fewer rows than tokens", lambda p: p.edit_base_config(vocab_size=1000), DATA,
                    ("tensor model.embed_tokens.weight: expected [1000, 64]", "vocab_size 1000")),
        ])  # fmt: skip

    def test_safetensors_that_are_cut_or_lie(self):
        def edit(change):
            return lambda place: place.edit_weights(change)

        where = "base/model.safetensors: "
        self.check([
            Mistake("cut in the data", lambda p: os.truncate(weights_file(p), 200_000), DATA,
                    (where, "the file is cut off")),
            Mistake("cut in the header", lambda p: os.truncate(weights_file(p), 500), DATA,
                    (where + "header", "the file is cut off")),
            Mistake("cut in the length", lambda p: os.truncate(weights_file(p), 5), DATA,
                    (where + "header: expected at least 8 bytes, found 5",)),
            Mistake("empty", lambda p: os.truncate(weights_file(p), 0), DATA, (where, "found 0")),
            Mistake("huge header length",
                    lambda p: rewrite_weights(p, lambda c: struct.pack("<Q", 1 << 60) + c[8:]), DATA,
                    (where + "header", str(1 << 60))),
            Mistake("header that is no JSON", lambda p: rewrite_weights(p, lambda c: c[:20] + b"\0" + c[21:]), DATA,
                    (where + "header",)),
            Mistake("no safetensors at all", lambda p: weights_file(p).write_bytes(b"PK\3\4" * 100), DATA,
                    (where + "header",)),
            Mistake("Git LFS pointer",
                    lambda p: weights_file(p).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
                    DATA, (where, "git lfs pull")),
            Mistake("offset beyond the file", edit(lie(lambda b, e: [b + 10**9, e + 10**9])), DATA,
                    (where, "data_offsets")),
            Mistake("overlap", edit(lie(lambda b, e: [b - 64, e - 64])), DATA, (where, "overlap")),
            Mistake("backwards", edit(lie(lambda b, e: [e, b])), DATA, (where, "begin <= end")),
            Mistake("shape against bytes", edit(reshape(NORM, [65])), DATA,
                    (where + f"tensor {NORM}: expected 260 bytes", "found 256")),
            Mistake("shape beyond all numbers", edit(reshape(NORM, [2**62, 2**62])), DATA,
                    (where + f"tensor {NORM}",)),
            Mistake("unknown dtype", edit(lambda h, d: h[NORM].update(dtype="F99")), DATA,
                    (where + f"tensor {NORM}: dtype", "F99")),
            Mistake("bytes after the last tensor", lambda p: rewrite_weights(p, lambda c: c + bytes(16)), DATA,
                    (where, "after the last tensor")),
        ])  # fmt: skip

    def test_a_file_that_may_not_be_read(self):
        self.check([
            Mistake("weights", lambda p: weights_file(p).chmod(0), DATA, ("model.safetensors", "Permission denied")),
            Mistake("config", lambda p: (p / "config.yaml").chmod(0), USAGE, ("config.yaml", "permissions")),
            Mistake("rows", lambda p: (p.own_base(), (p / "train.jsonl").chmod(0)), DATA, ("train.jsonl", "Permission denied")),
        ], **self.as_ordinary_user())  # fmt: skip


class RecordsTest(MistakesCase):
    """Rows that are wrong from the start: every row is the same, so that the first one seen is wrong."""

    def rows(self, **changes):
        """All rows with these fields; None removes a field."""

        def make(place):
            def edit(rows):
                for row in rows:
                    row.update({k: v for k, v in changes.items() if v is not None})
                    for key in [k for k, v in changes.items() if v is None]:
                        row.pop(key, None)

            place.edit_rows(edit)

        return make

    def test_joint_rows(self):
        where = "train.jsonl:"
        self.check([
            Mistake("no documents", self.rows(docs=[]), DATA,
                    (where, "docs: expected 1 to 64 strings, found an empty list")),
            Mistake("more documents than the limit", self.rows(docs=["text"] * 65), DATA,
                    (where, "docs: expected 1 to 64 strings, found a list of 65")),
            Mistake("empty document", self.rows(docs=["text", ""]), DATA,
                    (where, "docs[1]: expected text, found an empty string")),
            Mistake("document of white space", self.rows(docs=[" \n\t"]), DATA, (where, "docs[0]", "white space")),
            Mistake("document that is no text", self.rows(docs=["text", 5]), DATA,
                    (where, "docs[1]: expected text, found the number 5")),
            Mistake("no question", self.rows(question=None), DATA, (where, "question: expected a string")),
            Mistake("empty answer", self.rows(answer=""), DATA, (where, "answer: expected a string")),
            Mistake("no answer", self.rows(answer=None, answers=None, golden_answers=None), DATA, (where, "answer:")),
            Mistake("positive that is none", self.rows(pos_index=[99]), DATA,
                    (where, "pos_index[0]: expected the number of a document from 0 to", "99")),
            Mistake("no JSON", lambda p: p.write("train.jsonl", ["{oops"] * 8), DATA,
                    (where, "invalid JSON")),
            Mistake("no object", lambda p: p.write("train.jsonl", ['"text"'] * 8), DATA,
                    (where, "expected one JSON object, found the string")),
            Mistake("an array in place of lines", lambda p: p.write("train.jsonl", "[" + to_lines(["{}"]) + "]"), DATA,
                    ("train.jsonl:1: expected one JSON object a line, found the start of a list", ".json")),
            Mistake("no UTF-8", lambda p: (p / "train.jsonl").write_bytes(b'{"question": "\xff"}\n' * 8), DATA,
                    (where, "UTF-8", "0xFF")),
            Mistake("no room for the prompt", lambda p: p.set(trainer__max_sequence_tokens=60), DATA,
                    (where, "expected a prompt of fewer than 60 tokens", "raise trainer.max_sequence_tokens")),
        ], stage="joint")  # fmt: skip

    def test_scp_rows(self):
        where = "train.jsonl:"
        self.check([
            Mistake("unknown type", self.rows(data_type="chat"), DATA, (where, "data_type", '"chat"', "paraphrase")),
            Mistake("two documents", self.rows(docs=["one", "two"]), DATA, (where, "docs", "a list of 2")),
            Mistake("unequal lists", self.rows(data_type="qa", question=["a", "b"], answers=["c"]), DATA,
                    (where, "answers", "(2)", "a list of 1")),
            Mistake("joint rows in place of scp", lambda p: p.write("train.jsonl", read_rows("joint")), DATA,
                    (where, "docs")),
        ])  # fmt: skip

    def test_files(self):
        self.check([
            Mistake("missing", lambda p: p.set(data__train=["nowhere.jsonl"]), DATA,
                    ("nowhere.jsonl: expected a file of records, found no such file",)),
            Mistake("empty", lambda p: p.write("train.jsonl", ""), DATA, ("train.jsonl: expected records",)),
            Mistake("folder", lambda p: p.set(data__train=["base"]), DATA, ("base: expected", ".jsonl")),
            Mistake("gzip that is none", lambda p: (p.write("train.jsonl.gz", "text"),
                                                    p.set(data__train=["train.jsonl.gz"])), DATA,
                    ("train.jsonl.gz", "gzip")),
            Mistake("missing validation", lambda p: p.set(data__validation=["nowhere.jsonl"]), DATA,
                    ("nowhere.jsonl", "no such file")),
            Mistake("weighted validation",
                    lambda p: p.set(data__validation=[{"path": "train.jsonl", "weight": 2.0}]), USAGE,
                    ("data.validation.0.weight: validation reads each row once", "max_rows")),
            Mistake("bad validation row",
                    lambda p: (p.write("valid.jsonl", [*read_rows("scp", 2), {"docs": []}]),
                               p.set(data__validation=["valid.jsonl"])), DATA,
                    ("valid.jsonl:3: docs",)),
        ])  # fmt: skip

    def test_a_dry_run_finds_every_bad_row(self):
        place = self.place("dry")
        place.edit_rows(lambda rows: (rows[4].update(docs=[]), rows[11].update(answers="text")) and rows)
        place.write("valid.jsonl", [*read_rows("scp", 2), {"docs": []}])
        # Which words are rare is counted in the rows that are good.
        place.set(data__validation=["valid.jsonl"], objective__latent_token_loss__weight=1,
                  objective__latent_token_loss__steps=1, objective__latent_token_loss__token_weights="idf")  # fmt: skip
        # Whichever row comes first in training, every bad one is found.
        for seed in range(4):
            place.set(data__shuffle_seed=seed)
            outcome = place.train("--dry-run")
            self.assert_refused(
                outcome, DATA, "train.jsonl:5: docs: expected", "found an empty list",
                "train.jsonl:12: answers: expected a list of strings", "valid.jsonl:3: docs",
            )  # fmt: skip
            self.assertRegex(outcome.out, r"bad rows +2\n")
            self.assertRegex(outcome.out, r"bad validation rows +1\n")
        skipped = place.train("--dry-run", "--on-bad-record", "skip")
        self.assert_ended(skipped)
        self.assertRegex(skipped.out, r"bad validation rows +1\n")
        self.assertFalse((place / "run").exists())

    def test_long_questions_are_cut_counted_and_reported(self):
        place = self.place("cut_question", "joint")
        place.edit_rows(lambda rows: [{**row, "question": "word " * 200} for row in rows])
        place.set(trainer__max_steps=1, trainer__rows_per_step=2, trainer__max_sequence_tokens=1024)
        dry = place.train("--dry-run")
        self.assert_ended(dry)
        self.assertRegex(dry.out, r"questions cut +[1-9]")
        outcome = place.train()
        self.assert_ended(outcome)
        self.assert_told(outcome, "2 questions were longer than model.doc_max_tokens")

    def test_long_documents_are_cut_counted_and_reported(self):
        place = self.place("cut")
        place.edit_rows(lambda rows: [{**row, "docs": [("word " * 500) if i % 4 == 0 else "Short text."]}
                                      for i, row in enumerate(rows)])  # fmt: skip
        dry = place.train("--dry-run")
        self.assert_ended(dry)
        self.assertRegex(dry.out, r"documents cut +4\n")
        place.set(trainer__max_steps=4)
        outcome = place.train()
        self.assert_ended(outcome)
        self.assertEqual(read_jsonl(place / "run/metrics.jsonl")[-1]["cut_documents_total"], 4)
        told = "4 documents were longer than model.doc_max_tokens and were cut"
        self.assert_told(outcome, told)
        self.assertIn(told, (place / "run/log.txt").read_text())


class LaterRowTest(ProgramCase):
    """A row that is wrong in the middle of training."""

    BAD_LINE = 9

    def broken(self, name, **changes):
        place = self.place(name, trainer__rows_per_step=1, trainer__max_steps=0, output__save_every_steps=0, **changes)
        lines = (place / "train.jsonl").read_text().splitlines()
        self.good = place / "train.jsonl", (place / "train.jsonl").read_text()
        line = lines[self.BAD_LINE - 1]
        # As long as before, so that the mended file is the one that the run would have had.
        lines[self.BAD_LINE - 1] = line.replace('"docs": ["', '"docs": 5 "')
        self.assertNotEqual(line, lines[self.BAD_LINE - 1])
        place.write("train.jsonl", "\n".join(lines) + "\n")
        return place

    def test_it_saves_a_checkpoint_and_stops_and_the_mended_run_goes_on(self):
        place = self.broken("stop")
        outcome = place.train()
        self.assert_refused(outcome, DATA, f"train.jsonl:{self.BAD_LINE}: ", "invalid JSON")
        steps = re.findall(r"scp step (\d+)/16", outcome.err)
        self.assertGreaterEqual(len(steps), 1, "the bad row came first: choose another BAD_LINE")
        (checkpoint,) = (place / "run/checkpoints").iterdir()
        self.assertEqual(checkpoint.name, f"step_{int(steps[-1]):06}")
        self.assert_told(outcome, f"run/checkpoints/{checkpoint.name}")
        self.assertFalse((place / "run/final").exists())
        self.assertIn(f"train.jsonl:{self.BAD_LINE}", (place / "run/log.txt").read_text())

        path, text = self.good
        path.write_text(text)
        # The file is another one than the checkpoint saw: whoever mended it says so.
        self.assert_refused(place.train("--resume", "auto"), USAGE, "file of data.train.0", "--allow-changes")
        self.assert_ended(place.train("--resume", "auto", "--allow-changes"))
        self.assert_ended(place.train("--output", "never_broken"))
        self.assert_same_tensors(place / "run/final", place / "never_broken/final")

    def test_skipping_counts_and_lists_it_once(self):
        for name, options in (
            ("by the config", ("--set", "data.on_bad_record=skip")),
            ("by the option", ("--on-bad-record", "skip")),
        ):
            with self.subTest(name):
                place = self.broken(numbered(name), trainer__num_epochs=2)
                outcome = place.train(*options)
                self.assert_ended(outcome)
                self.assertRegex(outcome.err, r"(?m)^1 bad row")
                self.assertEqual(outcome.err.count(f"train.jsonl:{self.BAD_LINE}: "), 1, outcome)
                rows = [r["rows"] for r in read_jsonl(place / "run/metrics.jsonl") if "rows" in r]
                self.assertEqual((len(rows), sum(rows)), (32, 30))

    def test_a_dry_run_that_skips_counts_and_succeeds(self):
        place = self.broken("dry", data__on_bad_record="skip")
        outcome = place.train("--dry-run")
        self.assert_ended(outcome)
        self.assertRegex(outcome.out, r"bad rows +1\n")
        self.assert_told(outcome, f"train.jsonl:{self.BAD_LINE}: ")

    def test_a_row_that_is_no_utf8_is_skipped_counted_and_named(self):
        place = self.place("no_utf8")
        lines = (place / "train.jsonl").read_bytes().split(b"\n")
        lines[self.BAD_LINE - 1] = lines[self.BAD_LINE - 1].replace(b'"docs": ["', b'"docs": ["\xe9')
        (place / "train.jsonl").write_bytes(b"\n".join(lines))
        refused = place.train("--dry-run")
        self.assert_refused(refused, DATA, f"train.jsonl:{self.BAD_LINE}: byte", "UTF-8", "0xE9")
        outcome = place.train("--dry-run", "--on-bad-record", "skip")
        self.assert_ended(outcome)
        self.assertRegex(outcome.out, r"bad rows +1\n")
        self.assert_told(outcome, f"train.jsonl:{self.BAD_LINE}: byte")

    def test_where_every_row_is_bad_skipping_does_not_hide_it(self):
        place = self.place("all_bad", data__on_bad_record="skip")
        place.write("train.jsonl", ["{oops"] * 8)
        outcome = place.train()
        self.assert_refused(outcome, DATA, "train.jsonl:", "every one")
        self.assertFalse((place / "run/final").exists())


class NonFiniteTest(ProgramCase):
    """Numbers that stop being numbers."""

    def test_a_weight_that_is_no_number(self):
        for value in (float("nan"), float("inf")):
            with self.subTest(value):
                place = self.place(f"weight_{value}")
                place.edit_weights(with_value(NORM, value))
                outcome = place.train()
                self.assert_refused(
                    outcome, NON_FINITE, "rank 0 of 1 stopped: non-finite loss at step 1", "train.jsonl:",
                    "no checkpoint",
                )  # fmt: skip
                self.assertEqual(trained_tensors(place / "run"), {})
                self.assertFalse((place / "run/final").exists())

    def test_a_loss_that_explodes_keeps_the_last_sound_checkpoint(self):
        place = self.place(
            "explodes", trainer__peak_learning_rate=1e30, trainer__warmup_ratio=0.0, trainer__max_steps=4,
        )  # fmt: skip
        outcome = place.train()
        step = len(re.findall(r"(?m)^scp step", outcome.err))
        self.assert_refused(
            outcome, NON_FINITE, f"non-finite loss at step {step + 1}",
            f"last checkpoint run/checkpoints/step_{step:06}",
        )  # fmt: skip
        for row in read_jsonl(place / "run/metrics.jsonl"):
            self.assertNotIn(None, row.values(), "a non-finite number was logged as one")
        self.assertFalse((place / "run/final").exists())


class InitFromTest(MistakesCase):
    """model.init_from: the checkpoint of an earlier stage."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        earlier = cls.place("earlier", "scp", trainer__max_steps=1)
        outcome = earlier.train()
        if outcome.code != OK:
            raise AssertionError(str(outcome))
        cls.final = earlier / "run/final"

    def with_copy(self, change, **changes):
        """init_from a copy of the earlier run's final/, altered by change(folder)."""

        def make(place):
            shutil.copytree(self.final, place / "earlier")
            change(place / "earlier")
            place.set(model__init_from="earlier", **changes)

        return make

    def test_other_lengths_with_as_many_memory_tokens(self):
        """A compressor that is trained learns them; a frozen one would read what it never has."""
        longer = {"model__init_from": str(self.final), "model__doc_max_tokens": 128, "model__compression_rate": 16}
        place = self.place("longer", "scp", trainer__max_steps=1, **longer)
        outcome = place.train()
        self.assert_ended(outcome)
        self.assert_told(outcome, "was trained on documents of 64 tokens, this config reads 128 into the same 8 memory")
        refused = self.place("longer_joint", "joint", **longer).train()
        self.assert_refused(refused, USAGE, "doc_max_tokens 64", "this config says 128")

    def test_a_checkpoint_that_does_not_fit(self):
        def same(folder):
            return None

        def drop_adapter_tensor(folder):
            path = folder / "adapters/generator/adapter_model.safetensors"
            header, data = read_safetensors(path)
            self.lost = max((n for n in header if n != "__metadata__"), key=lambda n: header[n]["data_offsets"])
            write_safetensors(path, *drop(self.lost)(header, data))

        def cut_adapter(folder):
            os.truncate(folder / "adapters/compressor/adapter_model.safetensors", 3000)

        def edit_description(folder, **changes):
            path = folder / "clara.json"
            path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

        self.check([
            Mistake("another compression rate", self.with_copy(same, model__compression_rate=16), USAGE,
                    ("model.init_from: earlier was trained with", "compression_rate", "8", "16")),
            Mistake("more memory tokens", self.with_copy(same, model__doc_max_tokens=128), USAGE,
                    ("model.init_from: earlier was trained with", "doc_max_tokens 64", "128")),
            Mistake("another rank", self.with_copy(same, model__lora__rank=8), USAGE,
                    ("model.init_from: earlier was trained with lora.rank 4, this config says 8",)),
            Mistake("another alpha", self.with_copy(same, model__lora__alpha=16), USAGE,
                    ("model.init_from: earlier was trained with lora.alpha 8", "16")),
            Mistake("other target modules", self.with_copy(same, model__lora__target_modules=["q_proj"]), USAGE,
                    ("model.init_from", "target_modules")),
            Mistake("missing folder", lambda p: p.set(model__init_from="nowhere"), DATA, ("nowhere",)),
            Mistake("no CLaRa folder", lambda p: p.set(model__init_from="base"), DATA,
                    ("base: expected a CLaRa checkpoint or final/ folder", "clara.json")),
            Mistake("no JSON", self.with_copy(lambda f: (f / "clara.json").write_text("{")), DATA,
                    ("earlier/clara.json", "damaged")),
            Mistake("newer format", self.with_copy(lambda f: edit_description(f, format_version=99)), DATA,
                    ("earlier/clara.json", "format version 99", "newer")),
            Mistake("adapter without a tensor", self.with_copy(drop_adapter_tensor), DATA,
                    ("earlier/adapters/generator/adapter_model.safetensors: tensor model.layers", "missing")),
            Mistake("adapter missing",
                    self.with_copy(lambda f: (f / "adapters/query_reasoner/adapter_model.safetensors").unlink()),
                    DATA, ("earlier/adapters/query_reasoner/adapter_model.safetensors", "not found")),
            Mistake("adapter cut", self.with_copy(cut_adapter), DATA,
                    ("earlier/adapters/compressor/adapter_model.safetensors", "cut off")),
            Mistake("memory rows missing", self.with_copy(lambda f: (f / "memory_tokens.safetensors").unlink()), DATA,
                    ("earlier/memory_tokens.safetensors", "not found")),
        ], stage="tune")  # fmt: skip

    def test_without_init_from_a_later_stage_warns(self):
        place = self.place("fresh", "tune", trainer__max_steps=1)
        outcome = place.train()
        self.assert_ended(outcome)
        self.assert_told(outcome, "warning: model.init_from is not set", "untrained compressor")


@contextlib.contextmanager
def small_disk(folder, kibibytes):
    """A file system of this size at `folder`; skips the test where it cannot be made."""
    folder.mkdir()
    if os.geteuid() != 0:
        raise unittest.SkipTest("only root can mount a small disk")
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kibibytes}k", "clara_test", folder], capture_output=True, text=True,
    )  # fmt: skip
    if made.returncode != 0:
        raise unittest.SkipTest(f"a small disk cannot be mounted: {made.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


class OutputTest(ProgramCase):
    """Where the run is to be written."""

    def test_a_folder_that_cannot_be_made(self):
        place = self.place("blocked")
        place.write("file", "kept\n")
        before = snapshot(place.folder)
        for output in ("file/run", "file"):
            with self.subTest(output):
                outcome = place.train("--output", output)
                self.assert_refused(outcome, DATA, f"{output}: the run folder cannot be", "--output")
                self.assertEqual(snapshot(place.folder), before)

    def test_a_folder_that_may_not_be_written(self):
        place = self.place("read_only")
        place.own_base()
        (place / "locked").mkdir(mode=0o555)
        outcome = place.train("--output", "locked/run", **self.as_ordinary_user())
        self.assert_refused(outcome, DATA, "locked/run: the run folder cannot be", "Permission denied")
        self.assertEqual(files_below(place / "locked"), [])

    def test_a_folder_that_holds_another_run_is_left_alone(self):
        place = self.place("taken")
        self.assert_ended(place.train())
        before = snapshot(place / "run")
        for changes in ((), ("--set", "trainer.seed=3"), ("--set", "output.keep_last=1")):
            outcome = place.train(*changes)
            self.assert_refused(outcome, USAGE, "run: already holds a run", "--resume auto", "--output")
            self.assertEqual(snapshot(place / "run"), before)

    def test_a_folder_with_other_files_keeps_them(self):
        place = self.place("shared")
        (place / "run").mkdir()
        place.write("run/notes.txt", "mine\n")
        self.assert_ended(place.train())
        self.assertEqual((place / "run/notes.txt").read_text(), "mine\n")

    def check_full(self, place, outcome, reason):
        self.assert_refused(outcome, DATA, "run/checkpoints/step_", reason)
        self.assertIn("could not be saved", outcome.err)
        kept = sorted(p.name for p in (place / "run/checkpoints").iterdir())
        self.assertGreaterEqual(len(kept), 1, outcome)
        self.assertEqual([name for name in kept if not name.startswith("step_")], [], "half-written")
        self.assert_told(outcome, f"run/checkpoints/{kept[-1]}")  # what is left to go on from
        self.assertFalse((place / "run/final").exists())
        return kept

    def test_a_full_disk_leaves_the_older_checkpoint_good(self):
        place = self.place("full", trainer__max_steps=8)
        with small_disk(place / "run", 1000):
            outcome = place.train()
            kept = self.check_full(place, outcome, "No space left on device")
            grown = ["mount", "-o", "remount,size=20000k", place / "run"]
            subprocess.run(grown, check=True)
            resumed = place.train("--resume", "auto")
            self.assert_ended(resumed)
            self.assert_told(resumed, f"resuming from run/checkpoints/{kept[-1]}")
            self.assert_ended(place.train("--output", "whole"))
            self.assert_same_tensors(place / "run/final", place / "whole/final")

    def test_a_write_that_fails_leaves_the_older_checkpoint_good(self):
        # A limit on the size of files, met by the optimizer's file once its checkpoint grows: no root needed.
        place = self.place("limited", trainer__max_steps=2)
        self.assert_ended(place.train("--output", "whole"))
        (place / "run").mkdir()
        shutil.copytree(place / "whole/checkpoints/step_000001", place / "run/checkpoints/step_000001")
        limit = (place / "whole/checkpoints/step_000001/optimizer.safetensors").stat().st_size - 1

        def limit_files():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        before = snapshot(place / "run/checkpoints/step_000001")
        outcome = place.train("--resume", "auto", preexec_fn=limit_files)
        self.assertEqual(self.check_full(place, outcome, "File too large"), ["step_000001"])
        self.assertEqual(snapshot(place / "run/checkpoints/step_000001"), before)
        self.assert_ended(place.train("--resume", "auto"))
        self.assert_same_tensors(place / "run/final", place / "whole/final")


if __name__ == "__main__":
    unittest.main()
