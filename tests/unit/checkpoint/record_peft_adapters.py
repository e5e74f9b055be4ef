"""Writes PEFT folders of many kinds for the base of tests/fixtures/parity/llama_tied, and the logits they give.

    python record_peft_adapters.py tests/fixtures/peft      (torch 2.11, transformers 4.57.1, peft 0.17.1)
"""
import pathlib
import sys

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

BASE = pathlib.Path(__file__).resolve().parents[3] / "tests/fixtures/parity/llama_tied/base"
IDS = [1, 40, 300, 7, 1100, 512, 9, 88]
CASES = {
    "list": {"r": 4, "lora_alpha": 6, "target_modules": ["q_proj", "v_proj", "down_proj"]},
    "all_linear_float16": {"r": 1, "lora_alpha": 3, "target_modules": "all-linear"},
    "pattern_rslora_bfloat16": {"r": 3, "lora_alpha": 5, "use_rslora": True,
                                "target_modules": r".*layers\.1\.(self_attn\.(k|o)_proj|mlp\.gate_proj)"},
    "pickled": {"r": 2, "lora_alpha": 2, "target_modules": ["up_proj"]},
}


def main(folder):
    logits = {}
    for name, settings in CASES.items():
        torch.manual_seed(len(name))
        base = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32)
        model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.05, **settings))
        dtype = {"float16": torch.float16, "bfloat16": torch.bfloat16}.get(name.split("_")[-1], torch.float32)
        with torch.no_grad():
            for key, parameter in model.named_parameters():
                if ".lora_" in key:
                    parameter.copy_((0.3 * torch.randn_like(parameter)).to(dtype))
        model.save_pretrained(folder / name, safe_serialization=name != "pickled")
        (folder / name / "README.md").unlink(missing_ok=True)
        config = folder / name / "adapter_config.json"
        config.write_text(config.read_text().replace(str(BASE), "base"))
        path = folder / name / "adapter_model.safetensors"
        if path.exists():
            tensors = {key: value.to(dtype) for key, value in load_file(path).items()}
            if name == "list":  # as a state dict of the model itself names them
                tensors = {key.replace(".weight", ".default.weight"): value for key, value in tensors.items()}
            save_file(tensors, path, {"format": "pt"})
            path.chmod(0o644)
        with torch.no_grad():
            logits[name] = model.eval()(input_ids=torch.tensor([IDS])).logits[0].clone()
        if name != "list":
            again = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32), folder / name)
            with torch.no_grad():
                assert torch.allclose(again.eval()(input_ids=torch.tensor([IDS])).logits[0], logits[name], atol=1e-6), name
    save_file({**logits, "ids": torch.tensor(IDS)}, folder / "expected.safetensors")
    (folder / "expected.safetensors").chmod(0o644)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
