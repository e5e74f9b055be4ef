"""What the integration tests share: a folder with a tiny base model, records and a config, in which the
programs run as a user runs them, and the questions that every test asks afterwards.

CLARA_TRAIN, CLARA_EVAL and CLARA_DATA name the programs. Only the standard library is used.
"""

import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import NamedTuple

sys.dont_write_bytecode = True
PROJECT = Path(__file__).resolve().parents[2]
TINY_BASE = PROJECT / "tests/fixtures/parity/llama_tied/base"
SAMPLES = PROJECT / "data/samples"
VOCAB_ROWS = 1208  # of the tiny base
NUM_MEMORY = 8  # 64 tokens at a compression rate of 8
TIMEOUT_SECONDS = 300

# Exit codes (the programs' contract with scripts).
OK, USAGE, DATA, NON_FINITE = 0, 2, 3, 5
STOPPED_BY_SIGINT, STOPPED_BY_SIGTERM = 130, 143

SETTINGS = {
    "model.base": "base",
    "model.compression_rate": 8,
    "model.doc_max_tokens": 64,
    "model.lora.rank": 4,
    "model.lora.alpha": 8,
    "model.dtype": "float32",
    "model.device": "cpu",
    "data.train": ["train.jsonl"],
    "trainer.rows_per_step": 4,
    "trainer.max_steps": 2,
    "trainer.peak_learning_rate": 1e-3,
    "trainer.max_sequence_tokens": 512,
    "trainer.num_threads": 1,
    "output.folder": "run",
    "output.save_every_steps": 1,
    "output.keep_last": 9,
}
SAMPLE_OF_STAGE = {"scp": "scp", "tune": "tune", "joint": "joint", "retriever": "joint"}


class Outcome(NamedTuple):
    """How a program ended and what it wrote."""

    code: int
    out: str
    err: str

    def __str__(self):
        return f"exit code {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


def program(name):
    """Path of clara-train, clara-eval or clara-data."""
    variable = name.upper().replace("-", "_")
    if variable not in os.environ:
        raise RuntimeError(f"{variable}: expected the path of {name} in the environment")
    return os.environ[variable]


def environment(num_threads=1):
    """One thread for each program: the model is tiny, and results must not depend on the machine."""
    return {**os.environ, "OMP_NUM_THREADS": str(num_threads), "LC_ALL": "C.UTF-8"}


def read_rows(sample, count=None):
    """Records of data/samples."""
    lines = (SAMPLES / f"{sample}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines[:count]]


def to_lines(rows):
    """JSONL; a row that is a string is written as it is."""
    return "".join((r if isinstance(r, str) else json.dumps(r, ensure_ascii=False)) + "\n" for r in rows)


def read_jsonl(path):
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def to_yaml(settings):
    """Dotted keys as YAML with a key a line; values in flow style."""
    tree = {}
    for key, value in settings.items():
        *sections, name = key.split(".")
        node = tree
        for section in sections:
            node = node.setdefault(section, {})
        node[name] = value

    def render(node, indent):
        text = ""
        for name, value in node.items():
            if isinstance(value, dict) and indent < 4:
                text += " " * indent + f"{name}:\n" + render(value, indent + 2)
            else:
                text += " " * indent + f"{name}: {json.dumps(value)}\n"
        return text

    return render(tree, 0)


def snapshot(path):
    """Every file below a folder (or the file itself) with its checksum; None if there is nothing."""
    path = Path(path)
    if not path.exists():
        return None
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return {str(f.relative_to(path)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def files_below(path):
    return sorted(snapshot(path) or {})


def trained_tensors(folder):
    """Checksums of all that training changes, of a checkpoint or final/."""
    return {name: value for name, value in snapshot(folder).items() if name.endswith(".safetensors")}


def read_safetensors(path):
    """Header (a dict) and data (bytes) of a safetensors file."""
    content = Path(path).read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def write_safetensors(path, header, data, length=None):
    """A file with this header; `length` lies about the header's length."""
    text = json.dumps(header).encode()
    Path(path).write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)


class Place:
    """A folder to work in: base/ (a link to the tiny base model), train.jsonl and the settings of a stage."""

    def __init__(self, folder, stage="scp", **changes):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        self.stage = stage
        (self.folder / "base").symlink_to(TINY_BASE)
        self.write("train.jsonl", read_rows(SAMPLE_OF_STAGE[stage]))
        self.settings = dict(SETTINGS)
        self.set(**changes)

    def __truediv__(self, name):
        return self.folder / name

    def set(self, **changes):
        """model__base="x" sets model.base; None removes the key."""
        for key, value in changes.items():
            self.settings[key.replace("__", ".")] = value
            if value is None:
                del self.settings[key.replace("__", ".")]
        self.write("config.yaml", to_yaml(self.settings))

    def environment(self):
        return environment(self.settings["trainer.num_threads"])

    def write(self, name, content):
        """Text as it is, a list as JSONL."""
        text = content if isinstance(content, str) else to_lines(content)
        (self.folder / name).write_text(text, encoding="utf-8")

    def edit_rows(self, change):
        """change(rows) edits or returns the training rows."""
        rows = read_rows(SAMPLE_OF_STAGE[self.stage])
        self.write("train.jsonl", change(rows) or rows)

    def own_base(self):
        """base/ as a copy that may be altered."""
        base = self.folder / "base"
        if base.is_symlink():
            base.unlink()
            shutil.copytree(TINY_BASE, base)
            for path in base.iterdir():
                path.chmod(0o644)
        return base

    def edit_base_config(self, **changes):
        path = self.own_base() / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    def edit_weights(self, change):
        """change(header, data) edits the header, or returns what write_safetensors shall write."""
        path = self.own_base() / "model.safetensors"
        header, data = read_safetensors(path)
        write_safetensors(path, *(change(header, data) or (header, data)))

    def command(self, *options, stage=None, config="config.yaml"):
        return [program("clara-train"), stage or self.stage, "--config", config, *map(str, options)]

    def train(self, *options, stage=None, config="config.yaml", **popen):
        return self.run(self.command(*options, stage=stage, config=config), **popen)

    def eval(self, *options):
        return self.run([program("clara-eval"), *map(str, options)])

    def run(self, command, **popen):
        done = subprocess.run(
            [str(part) for part in command], cwd=self.folder, env=self.environment(),
            capture_output=True, stdin=subprocess.DEVNULL, timeout=TIMEOUT_SECONDS, **popen,
        )  # fmt: skip
        out, err = (text.decode("utf-8", errors="replace") for text in (done.stdout, done.stderr))
        return Outcome(done.returncode, out, err)


class ProgramCase(unittest.TestCase):
    """A test case with places of its own."""

    maxDiff = None

    @classmethod
    def setUpClass(cls):
        holder = tempfile.TemporaryDirectory(prefix="clara_test_")
        cls.addClassCleanup(holder.cleanup)
        cls.root = Path(holder.name)
        cls.root.chmod(0o755)  # also for the user that as_ordinary_user names

    @classmethod
    def place(cls, name, stage="scp", **changes):
        return Place(cls.root / name, stage, **changes)

    def as_ordinary_user(self):
        """Arguments of subprocess.run that take root's rights away; skips where that cannot be done."""
        if os.geteuid() != 0:
            return {}
        nobody = {"user": 65534, "group": 65534, "extra_groups": []}
        try:
            probe = [program("clara-train"), "--version"]
            done = subprocess.run(probe, capture_output=True, cwd=self.root, **nobody)
        except OSError as error:
            self.skipTest(f"root cannot run the programs as another user: {error}")
        if done.returncode != 0:
            self.skipTest("only root can run the programs here")
        return nobody

    def assert_ended(self, outcome, code=OK):
        self.assertEqual(outcome.code, code, outcome)

    def assert_told(self, outcome, *fragments):
        for fragment in fragments:
            self.assertIn(fragment, outcome.err, outcome)

    def assert_refused(self, outcome, code, *fragments):
        """The code and all that the message must say; nothing that only a programmer understands."""
        self.assert_ended(outcome, code)
        self.assertRegex(outcome.err, r"(?m)^error: ", outcome)
        self.assertNotIn("internal:", outcome.err, outcome)
        self.assertNotIn("json.exception", outcome.err, outcome)
        self.assertNotIn("\ufffd", outcome.err, f"the message is no UTF-8: {outcome}")
        self.assert_told(outcome, *fragments)

    def assert_same_tensors(self, folder, expected):
        self.assertEqual(trained_tensors(folder), trained_tensors(expected))
        self.assertGreater(len(trained_tensors(folder)), 3)
