#!/usr/bin/env python3
"""What a run leaves in final/ opened by transformers and PEFT gives what our program computes: final/adapters/* on
the base as peft.PeftModel, final/ as AutoTokenizer, against the tensors of clara-data inspect --dump. So do both kinds
of clara-data export: a merged model as AutoModelForCausalLM, the official layout by torch.load.

Needs torch, transformers, peft and safetensors in the Python that runs it; exit code 77 without them.
"""

import json
import sys
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "integration"))
try:
    import torch
    from peft import PeftModel
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM, AutoTokenizer
except ImportError as error:
    print(f"skipped: {error}; CLARA_PEFT_PYTHON names a Python with torch, transformers, peft and safetensors")
    sys.exit(77)
import program_case  # noqa: E402
from program_case import NUM_MEMORY, OK, PROJECT, VOCAB_ROWS, ProgramCase, program  # noqa: E402

ROW = 2
# float32 on both sides, other kernels.
TOLERANCE = 2e-4
# What an adapter must change at least, so that a PEFT model without it could not pass.
EFFECT = 1e-2
FIRST_MEMORY = VOCAB_ROWS
ENC = VOCAB_ROWS + NUM_MEMORY + 1
OFFICIAL_NAMES = {
    "compressor": "encoder_adapter", "query_reasoner": "query_reasoner_adapter", "generator": "decoder_adapter",
}  # fmt: skip
ADDED = [f"<MEM{i}>" for i in range(NUM_MEMORY)] + ["<AE>", "<ENC>", "<SEP>"]


def distance(found, expected):
    return ((found - expected).abs().max() / expected.abs().max()).item()


class PeftExportTest(ProgramCase):
    family = "llama_tied"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        usual, program_case.TINY_BASE = program_case.TINY_BASE, PROJECT / "tests/fixtures/parity" / cls.family / "base"
        cls.addClassCleanup(setattr, program_case, "TINY_BASE", usual)
        torch.set_num_threads(1)
        # Rates at which two steps move every adapter visibly.
        settings = {"trainer__peak_learning_rate": 2e-2, "objective__num_selected": 3}
        tuned = cls.place("tune", "tune", **settings)
        cls.here = cls.place("joint", "joint", model__init_from=str(tuned / "run/final"), **settings)
        inspect = [
            program("clara-data"), "inspect", "--data", "train.jsonl", "--row", ROW, "--checkpoint", "run/final",
            "--dump", "dump.safetensors", "--device", "cpu",
        ]  # fmt: skip
        for run in (tuned.train, cls.here.train, lambda: cls.here.run(inspect)):
            outcome = run()
            if outcome.code != OK:
                raise AssertionError(str(outcome))
        cls.final = cls.here / "run/final"
        cls.dump = {name.removeprefix("joint."): t for name, t in load_file(cls.here / "dump.safetensors").items()}
        added = load_file(cls.final / "memory_tokens.safetensors")
        cls.added_rows = torch.cat([added["memory_rows"], added["fixed_rows"]])

    def base(self):
        return AutoModelForCausalLM.from_pretrained(self.here / "base", dtype=torch.float32).eval()

    def with_adapter(self, name):
        return PeftModel.from_pretrained(self.base(), self.final / "adapters" / name).eval()

    def embed(self, model, ids):
        rows = torch.cat([model.get_input_embeddings().weight, self.added_rows])
        return rows[ids]

    def states(self, model, embeddings):
        """After the final norm, [L, D]."""
        with torch.no_grad():
            output = model(inputs_embeds=embeddings.unsqueeze(0), output_hidden_states=True)
        return output.hidden_states[-1][0]

    def latents_of(self, model, ids, mask):
        """[M, D] of a document or question as the dump has it."""
        ids = ids[: int(mask.sum())]
        self.assertEqual(ids[-NUM_MEMORY:].tolist(), list(range(FIRST_MEMORY, FIRST_MEMORY + NUM_MEMORY)))
        return self.states(model, self.embed(model, ids))[-NUM_MEMORY:]

    def assert_close(self, found, expected):
        self.assertEqual((found.dtype, found.shape), (expected.dtype, expected.shape))
        self.assertLess(distance(found, expected), TOLERANCE)

    def encodings_of(self, name, part):
        """What the adapter makes of the rows of a part, and what the base does without it."""
        ids, masks = self.dump[f"{part}.input_ids"], self.dump[f"{part}.attention_mask"]
        model = self.with_adapter(name)
        found = torch.stack([self.latents_of(model, i, m) for i, m in zip(ids, masks, strict=True)])
        with model.disable_adapter():
            plain = torch.stack([self.latents_of(model, i, m) for i, m in zip(ids, masks, strict=True)])
        return found, plain

    def test_the_compressor_gives_the_latents(self):
        found, plain = self.encodings_of("compressor", "documents")
        self.assert_close(found, self.dump["latents"])
        self.assertGreater(distance(plain, found), EFFECT)

    def test_the_query_reasoner_gives_the_question_vector_and_the_scores(self):
        found, plain = self.encodings_of("query_reasoner", "questions")
        self.assert_close(found.flatten(1), self.dump["query_vectors"])
        self.assertGreater(distance(plain, found), EFFECT)
        scores = torch.cosine_similarity(found.flatten(1), self.dump["latents"].flatten(1))
        self.assert_close(scores, self.dump["scores.0"])

    def test_the_generator_gives_the_logits_of_every_answer_token(self):
        model = self.with_adapter("generator")
        ids, labels = self.dump["generator.input_ids"][0], self.dump["generator.labels"][0]
        places = (ids >= FIRST_MEMORY) & (ids < FIRST_MEMORY + NUM_MEMORY)
        embeddings = self.embed(model, ids).clone()
        embeddings[places] = self.dump["latents"][self.dump["indices.0"]].flatten(0, 1)
        predicts = (labels != -100).nonzero().flatten() - 1

        def logits_of():
            states = self.states(model, embeddings)[predicts]
            return states @ torch.cat([model.get_output_embeddings().weight, self.added_rows]).T

        with torch.no_grad():
            found = logits_of()
            with model.disable_adapter():
                plain = logits_of()
        self.assert_close(found, self.dump["logits"])
        self.assertGreater(distance(plain, found), EFFECT)
        losses = torch.nn.functional.cross_entropy(found, labels[predicts + 1], reduction="none")
        self.assert_close(losses, self.dump["nll"])

    def test_the_tokenizer_of_final_has_the_added_tokens_and_gives_the_ids(self):
        tokenizer = AutoTokenizer.from_pretrained(self.final)
        self.assertEqual(tokenizer.convert_tokens_to_ids(ADDED), list(range(VOCAB_ROWS, VOCAB_ROWS + len(ADDED))))
        self.assertEqual(len(tokenizer), VOCAB_ROWS + len(ADDED))
        for token, number in zip(ADDED, range(VOCAB_ROWS, VOCAB_ROWS + len(ADDED)), strict=True):
            self.assertEqual(tokenizer(f"a{token}b", add_special_tokens=False)["input_ids"].count(number), 1)
        row = json.loads((self.here / "train.jsonl").read_text(encoding="utf-8").splitlines()[ROW - 1])
        text = tokenizer(row["question"], add_special_tokens=False)["input_ids"]
        ids = self.dump["questions.input_ids"][0].tolist()
        memory = range(FIRST_MEMORY, FIRST_MEMORY + NUM_MEMORY)
        self.assertEqual(ids, [ENC, tokenizer.bos_token_id, *text, tokenizer.eos_token_id, *memory])
        # The answer with its end of turn is the last that the generator reads.
        generator = self.dump["generator.input_ids"][0]
        answer = generator[self.dump["generator.labels"][0] != -100].tolist()
        self.assertIn(row["answers"][0], tokenizer.decode(answer, skip_special_tokens=False))

    def export(self, output, *options):
        outcome = self.here.run(
            [program("clara-data"), "export", "--checkpoint", "run/final", "--output", output, *options]
        )
        self.assert_ended(outcome)
        return self.here / output

    def test_a_merged_model_gives_the_logits_of_the_adapter(self):
        ids = torch.arange(7, 47).unsqueeze(0)
        for name in OFFICIAL_NAMES:
            with self.subTest(name), torch.no_grad():
                folder = self.export(f"merged_{name}", "--merge", name)
                merged, loading = AutoModelForCausalLM.from_pretrained(
                    folder, dtype=torch.float32, output_loading_info=True
                )
                self.assertFalse(loading["missing_keys"] or loading["unexpected_keys"], loading)
                found = merged.eval()(ids).logits
                self.assert_close(found, self.with_adapter(name)(ids).logits)
                self.assertGreater(distance(self.base()(ids).logits, found), EFFECT)
                tokenizer = AutoTokenizer.from_pretrained(folder)
                self.assertEqual(len(tokenizer), len(AutoTokenizer.from_pretrained(self.here / "base")))

    def test_the_official_layout_holds_every_tensor(self):
        folder = self.export("official", "--format", "official")
        adapters = torch.load(folder / "adapters.pth", weights_only=True)
        self.assertEqual(set(adapters), set(OFFICIAL_NAMES.values()))
        for name, official in OFFICIAL_NAMES.items():
            trained = load_file(self.final / "adapters" / name / "adapter_model.safetensors")
            settings = json.loads((self.final / "adapters" / name / "adapter_config.json").read_text())
            # That code takes alpha to be twice the rank.
            factor = settings["lora_alpha"] / settings["r"] / 2
            found = {key: t for key, t in adapters[official].items() if ".lora_" in key}
            self.assertEqual(set(found), {key.removeprefix("base_model.model.") for key in trained})
            for key, tensor in found.items():
                expected = trained[f"base_model.model.{key}"] * (factor if "lora_B" in key else 1)
                self.assertTrue(torch.equal(tensor.float(), expected), (name, key))
        rows = torch.load(folder / "decoder_first_last_layers.pth", weights_only=True)["model.embed_tokens.weight"]
        self.assertTrue(torch.equal(rows[-len(ADDED):].float(), self.added_rows))
        base = self.base().get_input_embeddings().weight[: len(rows) - len(ADDED)]
        self.assertTrue(torch.equal(rows[: len(base)].float(), base.to(rows.dtype).float()))


class FusedPeftExportTest(PeftExportTest):
    """Fused projections, LongRoPE, an output head of its own."""

    family = "phi3_longrope"


if __name__ == "__main__":
    unittest.main()
