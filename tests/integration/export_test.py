#!/usr/bin/env python3
"""Models to and from other programs on a tiny base: clara-data export, official checkpoints and PEFT folders
as what training and evaluation start from, and what of them is refused.
"""

import json
import shutil
import sys
import unittest

sys.dont_write_bytecode = True
from program_case import (  # noqa: E402
    DATA, OK, PROJECT, USAGE, ProgramCase, files_below, program, read_jsonl, read_rows, read_safetensors,
)  # fmt: skip

OFFICIAL = PROJECT / "tests/fixtures/official/pretraining"  # of the tiny base; one <MEM> for 4 positions
PEFT = PROJECT / "tests/fixtures/peft"
OFFICIAL_SETTINGS = {
    "model__compression_rate": 16, "model__lora__rank": 2, "model__lora__alpha": 4,
    "data__document_format": "ml_clara", "trainer__max_steps": 1,
}  # fmt: skip


class ExportTest(ProgramCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.here = cls.place("run", trainer__max_steps=1)
        outcome = cls.here.train()
        if outcome.code != OK:
            raise AssertionError(str(outcome))
        cls.here.write("evaluation.jsonl", read_rows("evaluation", 2))

    def export(self, *options, output):
        return self.here.run([program("clara-data"), "export", "--output", output, *map(str, options)])

    def predictions(self, checkpoint, output):
        outcome = self.here.eval(
            "--checkpoint", checkpoint, "--base", "base", "--data", "evaluation.jsonl", "--output", output,
            "--dtype", "float32", "--device", "cpu", "--max-new-tokens", 4, "--select", "given", "--num-selected", 1,
        )  # fmt: skip
        self.assert_ended(outcome)
        return [{k: v for k, v in row.items() if k != "seconds"} for row in
                read_jsonl(self.here / output / "predictions.jsonl")]

    def test_the_official_layout_answers_as_the_run(self):
        outcome = self.export("--checkpoint", "run/final", "--format", "official", output="official")
        self.assert_ended(outcome)
        self.assertEqual(outcome.out, "official\n")
        self.assertEqual(
            files_below(self.here / "official"),
            ["adapters.pth", "config.json", "decoder_first_last_layers.pth"],
        )
        config = json.loads((self.here / "official/config.json").read_text())
        self.assertEqual(config["doc_max_length"] // config["compr_rate"], 8)
        self.assertEqual(config["lora_r"], 4)
        self.assertEqual(self.predictions("official", "of_official"), self.predictions("run/final", "of_run"))

    def test_a_smaller_folder_starts_the_next_stage(self):
        outcome = self.export("--checkpoint", "run/final", "--format", "clara", "--dtype", "bfloat16", "--adapters",
                              "compressor,generator", output="small")  # fmt: skip
        self.assert_ended(outcome)
        adapter = "adapters/{}/adapter_model.safetensors"
        self.assertNotIn(adapter.format("query_reasoner"), files_below(self.here / "small"))
        header, _ = read_safetensors(self.here / "small" / adapter.format("generator"))
        self.assertEqual({entry["dtype"] for name, entry in header.items() if name != "__metadata__"}, {"BF16"})
        tuned = self.place("of_small", "joint", trainer__max_steps=1, model__init_from=str(self.here / "small"))
        self.assert_ended(tuned.train())
        tuned.set(objective__query_reasoner_init="checkpoint", output__folder="other")
        self.assert_refused(tuned.train(), USAGE, "query_reasoner_init", "compressor")
        self.predictions("small", "of_small_eval")

    def test_a_merged_model_is_a_plain_model(self):
        outcome = self.export(
            "--checkpoint", "run/final", "--merge", "compressor", "--max-shard-bytes", 200000, output="merged"
        )
        self.assert_ended(outcome)
        files = files_below(self.here / "merged")
        self.assertIn("model.safetensors.index.json", files)
        self.assertIn("tokenizer.json", files)
        index = json.loads((self.here / "merged/model.safetensors.index.json").read_text())
        names = {}
        for file in set(index["weight_map"].values()):
            header, _ = read_safetensors(self.here / "merged" / file)
            header.pop("__metadata__")
            names.update(dict.fromkeys(header, file))
        self.assertEqual(names, index["weight_map"])
        base, _ = read_safetensors(self.here / "base/model.safetensors")
        self.assertEqual(set(names), set(base) - {"__metadata__"})
        # It is a base model like any other.
        trained = self.place("on_merged", trainer__max_steps=1, model__base=str(self.here / "merged"))
        self.assert_ended(trained.train())

    def test_wrong_exports_are_refused(self):
        for code, fragments, options in (
            (USAGE, ("--merge ADAPTER", "--format official", "neither"), ("--checkpoint", "run/final")),
            (USAGE, ("both",), ("--checkpoint", "run/final", "--merge", "generator", "--format", "official")),
            (USAGE, ("float32",), ("--checkpoint", "run/final", "--format", "official", "--dtype", "bfloat16")),
            (USAGE, ("--adapters", "clara"), ("--checkpoint", "run/final", "--merge", "generator", "--adapters", "generator")),
            (USAGE, ("--base",), ("--checkpoint", PEFT / "list", "--merge", "generator")),
            (DATA, ("clara.json",), ("--checkpoint", "base", "--merge", "generator")),
            (DATA, ("--base",), ("--checkpoint", OFFICIAL, "--merge", "generator")),
        ):
            with self.subTest(options):
                self.assert_refused(self.export(*options, output="refused"), code, *fragments)
                self.assertFalse((self.here / "refused").exists())
        (self.here / "full").mkdir()
        (self.here / "full/file").write_text("x")
        self.assert_refused(
            self.export("--checkpoint", "run/final", "--merge", "generator", output="full"), DATA, "empty folder"
        )

    def test_a_peft_folder_is_merged(self):
        outcome = self.export("--checkpoint", PEFT / "pickled", "--merge", "generator", "--base", "base", output="peft")
        self.assert_ended(outcome)
        merged, merged_data = read_safetensors(self.here / "peft/model.safetensors")
        base, base_data = read_safetensors(self.here / "base/model.safetensors")

        def data(header, content, name):
            begin, end = header[name]["data_offsets"]
            return content[begin:end]

        changed = {n for n in base if n != "__metadata__" and data(base, base_data, n) != data(merged, merged_data, n)}
        self.assertEqual(changed, {f"model.layers.{i}.mlp.up_proj.weight" for i in range(2)})


class ImportTest(ProgramCase):
    def test_training_goes_on_from_an_official_checkpoint(self):
        here = self.place("official", "tune", model__init_from=str(OFFICIAL), **OFFICIAL_SETTINGS)
        self.assert_ended(here.train())
        header, _ = read_safetensors(here / "run/final/memory_tokens.safetensors")
        self.assertEqual(header["memory_rows"]["shape"], [1, 64], "the row stays shared")
        self.assert_ended(here.train("--resume", "auto", "--set", "trainer.max_steps=1"))
        tuned = self.place("after", "joint", model__init_from=str(here / "run/final"), **OFFICIAL_SETTINGS)
        self.assert_ended(tuned.train())

    def test_an_official_checkpoint_of_other_settings_is_refused(self):
        here = self.place("other_settings", "tune", model__init_from=str(OFFICIAL), **OFFICIAL_SETTINGS)
        here.set(model__lora__rank=4)
        self.assert_refused(here.train(), USAGE, "model.init_from", "lora.rank 2", "4")
        here.set(model__lora__rank=2, model__compression_rate=8)
        self.assert_refused(here.train(), USAGE, "compression_rate 16", "8")

    def test_a_hostile_checkpoint_is_refused(self):
        folder = self.root / "hostile"
        shutil.copytree(OFFICIAL, folder)
        (folder / "adapters.pth").write_bytes(b"\x80\x02cos\nsystem\n(X\x02\x00\x00\x00idtR.")
        here = self.place("hostile_run", "tune", model__init_from=str(folder), **OFFICIAL_SETTINGS)
        self.assert_refused(here.train(), DATA, "adapters.pth", "nothing of it was run")

    def test_adapters_start_from_peft_folders_of_other_ranks(self):
        here = self.place(
            "peft", "joint", trainer__max_steps=1, model__adapters__compressor=str(PEFT / "list"),
            model__adapters__generator=str(PEFT / "pattern_rslora_bfloat16"),
        )  # fmt: skip
        outcome = here.train()
        self.assert_ended(outcome)
        self.assert_told(outcome, "compressor: starts from", "rank 4, alpha 6", "generator: starts from", "rank 3")
        self.assertNotIn("untrained compressor", outcome.err)
        ranks = {
            name: json.loads((here / f"run/final/adapters/{name}/adapter_config.json").read_text())["r"]
            for name in ("compressor", "query_reasoner", "generator")
        }
        self.assertEqual(ranks, {"compressor": 4, "query_reasoner": 4, "generator": 3})
        # Its checkpoints are resumed and evaluated with these shapes.
        self.assert_ended(here.train("--resume", "auto"))
        here.write("evaluation.jsonl", read_rows("evaluation", 1))
        self.assert_ended(here.eval(
            "--run", "run", "--data", "evaluation.jsonl", "--dtype", "float32", "--max-new-tokens", 2,
        ))  # fmt: skip

    def test_one_peft_folder_starts_all_adapters(self):
        here = self.place("one", model__init_from=str(PEFT / "list"), trainer__max_steps=1)
        outcome = here.train()
        self.assert_ended(outcome)
        for name in ("compressor", "query_reasoner", "generator"):
            self.assert_told(outcome, f"{name}: starts from {PEFT / 'list'}")

    def test_a_peft_folder_that_cannot_be_used_is_refused_by_key(self):
        folder = self.root / "dora"
        shutil.copytree(PEFT / "list", folder)
        path = folder / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "use_dora": True}))
        here = self.place("dora_run", model__adapters__generator=str(folder))
        self.assert_refused(here.train(), DATA, "adapter_config.json: use_dora")
        self.assertFalse((here / "run").exists())
        here.set(model__adapters__generator=str(self.root / "absent"))
        self.assert_refused(here.train(), DATA, "absent", "adapter_config.json")
        evaluated = here.eval("--checkpoint", PEFT / "list", "--data", "train.jsonl", "--output", "out")
        self.assert_refused(evaluated, DATA, "PEFT", "model.adapters")


if __name__ == "__main__":
    unittest.main()
