"""Writes checkpoints in the layout of apple/ml-clara for the bases of tests/fixtures/parity, with what they compute.

    python record_official_checkpoints.py tests/fixtures/official      (torch 2.11, transformers 4.57.1, peft 0.17.1)

Each folder: config.json, adapters.pth and, in one of them, decoder_first_last_layers.pth as that code's save_pretrained
writes them, and expected.safetensors: every tensor under this project's names in float32, the latents of a document and
the logits that answer a question over it.
"""
import json
import pathlib
import sys

import torch
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

BASES = pathlib.Path(__file__).resolve().parents[3] / "tests/fixtures/parity"
ROLES = {"encoder_adapter": "compressor", "decoder_adapter": "generator", "query_reasoner_adapter": "query_reasoner"}
DOCUMENT = "The tower of Alba was built in 1871."


def record(folder, *, base, adapters, different, dtype, rows_in_adapters, rows_file, config):
    torch.manual_seed(len(base))
    folder.mkdir(parents=True, exist_ok=True)
    config = {"decoder_model_name": f"nowhere/{base}", "doc_max_length": 64, "compr_rate": 16, "quantization": "no",
              "sep": True, "lora": True, "lora_r": 2, "kbtc_training": False, "optimize_mem_tokens": True,
              "different_mem_tokens": different, "compr_model_name": None, "ae_mode": "token", **config}
    memory_count = config["doc_max_length"] // config["compr_rate"]
    tokenizer = AutoTokenizer.from_pretrained(BASES / base / "base")
    num_base = len(tokenizer)
    memory = [f"<MEM{i}>" for i in range(memory_count)] if different else ["<MEM>"]
    kept = tokenizer.special_tokens_map.get("additional_special_tokens", [])
    tokenizer.add_special_tokens({"additional_special_tokens": kept + memory + ["<AE>", "<ENC>", "<SEP>"]})
    model = AutoModelForCausalLM.from_pretrained(BASES / base / "base", dtype=torch.float32)
    lora = LoraConfig(task_type="CAUSAL_LM", r=2, lora_alpha=4, target_modules="all-linear", lora_dropout=0.1)
    for name in adapters:
        model.add_adapter(lora, name)
    model.resize_token_embeddings(len(tokenizer))
    tied = model.config.tie_word_embeddings
    with torch.no_grad():  # values that a checkpoint in `dtype` holds exactly
        for name, parameter in model.named_parameters():
            if ".lora_" in name:
                parameter.copy_((0.2 * torch.randn_like(parameter)).to(dtype))
        for weight in [model.get_input_embeddings().weight] + ([] if tied else [model.get_output_embeddings().weight]):
            weight[num_base:] = (0.3 * torch.randn_like(weight[num_base:])).to(dtype)

    states = {name: get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=rows_in_adapters)
              for name in adapters}
    shared = {}  # one storage for a tensor that stands in several dicts, as in that code

    def saved(tensor):
        return shared.setdefault(tensor.data_ptr(), tensor.to(dtype) if tensor.dtype != dtype else tensor.cpu())

    torch.save({name: {key: saved(value) for key, value in state.items()} for name, state in states.items()},
               folder / "adapters.pth")
    if rows_file:
        rows = {key: saved(value) if dtype != torch.float32 else value.cpu() for key, value in model.named_parameters()
                if "lm_head.weight" in key or "embed_tokens.weight" in key}
        torch.save(rows, folder / "decoder_first_last_layers.pth")
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")

    expected = {}
    for name, state in states.items():
        for key, value in state.items():
            if ".lora_" in key:
                expected[f"{ROLES[name]}/base_model.model.{key}"] = value.detach().float().clone()
    embedding = model.get_input_embeddings().weight.detach()
    memory_ids = tokenizer.convert_tokens_to_ids(memory)
    fixed_ids = tokenizer.convert_tokens_to_ids(["<AE>", "<ENC>", "<SEP>"])
    expected["memory_rows"], expected["fixed_rows"] = embedding[memory_ids].clone(), embedding[fixed_ids].clone()
    if not tied:
        expected["head_rows"] = model.get_output_embeddings().weight.detach()[memory_ids + fixed_ids].clone()

    ids = tokenizer.encode(DOCUMENT, add_special_tokens=False)
    places = memory_ids * (1 if different else memory_count)
    document = torch.tensor([[fixed_ids[1], tokenizer.bos_token_id, *ids, tokenizer.eos_token_id, *places]])
    model.eval()
    with torch.no_grad():
        model.set_adapter("encoder_adapter")
        hidden = model(input_ids=document, output_hidden_states=True).hidden_states[-1]
        latents = hidden[:, -memory_count:]
        # A prompt: the document's memory tokens, <SEP>, and some text of it.
        prompt = torch.tensor([[tokenizer.bos_token_id, *places, fixed_ids[2], *ids[:4]]])
        embeds = model.get_input_embeddings()(prompt)
        embeds[:, 1 : 1 + memory_count] = latents
        model.set_adapter("decoder_adapter")
        logits = model(inputs_embeds=embeds).logits
    expected["document_text_ids"] = torch.tensor(ids)
    expected["latents"], expected["logits"] = latents[0].clone(), logits[0].clone()
    save_file({key: value.contiguous() for key, value in expected.items()}, folder / "expected.safetensors")


def main(folder):
    record(folder / "end_to_end", base="llama", adapters=list(ROLES), different=True, dtype=torch.bfloat16,
           rows_in_adapters=True, rows_file=True, config={"training_stage": "stage2", "generation_top_k": 2})
    record(folder / "pretraining", base="llama_tied", adapters=["decoder_adapter", "encoder_adapter"], different=False,
           dtype=torch.float32, rows_in_adapters=False, rows_file=True,
           config={"training_stage": "stage1", "generation_top_k": 1, "sep": False})


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
