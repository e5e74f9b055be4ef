"""Writes the files of torch.save that torch_file_test.cc reads, and what they hold (expected.json).

    python record_torch_files.py tests/fixtures/torch_files      (torch 2.11)
"""
import collections
import json
import pathlib
import sys

import torch


def numbers(dtype, *shape):
    count = torch.Size(shape).numel()
    values = torch.arange(count, dtype=torch.float64) - count // 2
    return (values / 4 if dtype.is_floating_point else values.abs()).to(dtype).reshape(shape)


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    wide = numbers(torch.float32, 4, 6)
    flat = collections.OrderedDict(
        float32=numbers(torch.float32, 2, 3), bfloat16=numbers(torch.bfloat16, 3, 2), float16=numbers(torch.float16, 5),
        float64=numbers(torch.float64, 2), int64=numbers(torch.int64, 3), int32=numbers(torch.int32, 2, 2),
        int16=numbers(torch.int16, 2), int8=numbers(torch.int8, 2), uint8=numbers(torch.uint8, 4),
        bool=torch.tensor([True, False, True]), scalar=torch.tensor(2.5), empty=torch.zeros(0, 4),
        transposed=wide.t(), columns=wide[:, 1:5:2], rows=wide[2:], parameter=torch.nn.Parameter(wide[0].clone()),
    )
    flat["gradient"] = (flat["parameter"] * 2)[1:3]  # requires_grad without being a leaf
    module = torch.nn.Linear(3, 2)  # its state_dict carries _metadata
    with torch.no_grad():
        module.weight.copy_(numbers(torch.float32, 2, 3))
        module.bias.copy_(numbers(torch.float32, 2))
    nested = {"first": dict(flat), "none": {}, "module": module.state_dict()}
    torch.save(flat, folder / "flat.pth")
    torch.save(nested, folder / "nested.pth")
    torch.save({"w": wide}, folder / "before_1_6.pth", _use_new_zipfile_serialization=False)
    expected = {
        "flat.pth": {"": flat},
        "nested.pth": nested,
    }
    (folder / "expected.json").write_text(json.dumps({
        file: {
            group: {
                name: {"dtype": str(t.dtype).removeprefix("torch."), "shape": list(t.shape),
                       "values": t.detach().to(torch.float64).flatten().tolist()}
                for name, t in tensors.items()
            } for group, tensors in groups.items()
        } for file, groups in expected.items()
    }, indent=1) + "\n")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
