#!/usr/bin/env python3
"""docs/reproduce.md, its commands and its tables: every training command passes --dry-run on rows in the published layout, and its
--plan fits 8 devices of 80 GB with what the page says; the whole runs with a tiny model; the hours are the arithmetic beside them.
"""

import re
import shutil
import stat
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
from program_case import OK, PROJECT, ProgramCase, environment, program, snapshot  # noqa: E402

PAGE = (PROJECT / "docs/reproduce.md").read_text(encoding="utf-8")
CONFIGS = sorted((PROJECT / "configs/paper").glob("*.yaml"))
ROWS = PROJECT / "tests/fixtures/paper"
TINY = {"mistral_7b": "mistral", "phi_4_mini": "phi3_longrope"}  # of tests/fixtures/parity: the same model_type
CONFIG_JSON = {"mistral_7b": "mistral-7b-instruct-v0.2", "phi_4_mini": "phi-4-mini-instruct"}  # of tests/fixtures/configs
TITLES = {"mistral_7b": "Mistral-7B", "phi_4_mini": "Phi-4-mini"}
RATES = (4, 16, 32, 64, 128, 256)
SETS = ("nq", "hotpotqa", "musique", "2wiki")
# Where a command stands for a run of days: no CUDA, no base model, no earlier run.
HERE = ("--set", "model.device=cpu", "--set", "model.dtype=float32", "--set", "trainer.num_threads=1")

# The arithmetic of the page's hours: matrix parameters and V·D of each base, rows of each stage and set (paper, tables 8 and 9).
MATRICES = {"mistral_7b": 6_979_321_856, "phi_4_mini": 3_221_225_472}
HEAD = {"mistral_7b": 32_000 * 4_096, "phi_4_mini": 200_064 * 3_072}
NUM_ROWS = {"scp": 5_966_291, "tune": 453_000, "nq": 58_622, "hotpotqa": 90_185, "musique": 168_745, "2wiki": 167_454}
SPEED = 8 * 396e12


def section(title):
    """The text below a heading of the page, up to the next of its level."""
    match = re.search(rf"(?ms)^## {re.escape(title)}$(.*?)(?=^## |\Z)", PAGE)
    if match is None:
        raise AssertionError(f"docs/reproduce.md has no section {title}")
    return match.group(1)


def script(title):
    """The one shell script of a section."""
    (text,) = re.findall(r"(?ms)^```bash\n(.*?)^```$", section(title))
    return text


def table(title):
    """Rows of a section's tables that begin with a base, as lists of cells."""
    lines = [line.strip("| ").split("|") for line in section(title).splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line] for line in lines]
    return [row for row in rows if row[0] in TITLES.values()]


def hours(backbone, rate, name):
    """Of a stage or of joint training on a set."""
    memory = 256 // rate
    frozen, answer = 0, 20
    if name == "scp":
        trained, answer = 99 + memory + 46 + memory + 174, 174
    elif name == "tune":
        trained = 5 * (259 + memory) + 5 * memory + 120
    else:
        trained, frozen = 19 + memory + 5 * memory + 120, 20 * (259 + memory)
    operations = MATRICES[backbone] * (4 * trained + 2 * frozen) + 4 * HEAD[backbone] * answer
    return NUM_ROWS[name] * operations / SPEED / 3600


class TrainCommand:
    """One clara-train command of the page."""

    def __init__(self, words):
        self.stage, self.words = words[1], words[2:]
        self.config = words[words.index("--config") + 1]
        self.backbone = re.fullmatch(r"configs/paper/(\w+?)_(?:scp|tune|joint)\.yaml", self.config).group(1)
        self.settings = dict(w.split("=", 1) for flag, w in zip(words, words[1:]) if flag == "--set")
        self.rate = int(self.settings["model.compression_rate"])
        self.output = words[words.index("--output") + 1]

    def name(self):
        rows = self.settings.get("data.train.0.path", "")
        return f"{self.stage} {self.backbone} {self.rate} {rows}"

    def looked_at(self, *options):
        """The same command with --dry-run or --plan, without the run that it starts from."""
        return [program("clara-train"), self.stage, *self.words, *HERE, "--set", "model.init_from=", *map(str, options)]


class PaperCase(ProgramCase):
    """A folder as the page describes it: configs/ and data/paper/, and programs of one's own in front of PATH."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = cls.root / cls.__name__
        published = cls.folder / "data/paper/published"
        published.mkdir(parents=True)
        (cls.folder / "configs").symlink_to(PROJECT / "configs")
        for name in ("pretraining", "instruction_tuning"):
            shutil.copy(ROWS / f"{name}.jsonl", published)
        for name in SETS:
            shutil.copy(ROWS / "e2e_training.jsonl", published / f"e2e_training_ours_{name}_with_pos.jsonl")
            for pos in ("no_pos", "with_pos"):
                shutil.copy(ROWS / "inst_eval.jsonl", published / f"inst_eval_{name}_{pos}.jsonl")
                shutil.copy(ROWS / f"e2e_eval_{pos}.jsonl", published / f"e2e_eval_ours_{name}_{pos}.jsonl")
        cls.shell(script("Data"))

    @classmethod
    def put_program(cls, name, text):
        """A program that the page's scripts find instead of this project's."""
        path = cls.folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)

    @classmethod
    def shell(cls, text, **variables):
        path = f"{cls.folder / 'bin'}:{environment()['PATH']}"
        done = subprocess.run(
            ["bash", "-c", text], cwd=cls.folder, env={**environment(), "PATH": path, **variables},
            capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        if done.returncode != OK:
            raise AssertionError(f"{text}\n--- stdout\n{done.stdout}\n--- stderr\n{done.stderr}")
        return done

    @classmethod
    def look(cls, command):
        done = subprocess.run(command, cwd=cls.folder, env=environment(), capture_output=True, text=True, check=False)
        if done.returncode != OK:
            raise AssertionError(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
        return done.stdout


class EveryCommandTest(PaperCase):
    """The training commands, written down by a program in clara-train's place."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # One command a line, words between tabs.
        cls.put_program("clara-train", "#!/bin/sh\n{ printf '%s\\t' clara-train \"$@\"; echo; } >> commands.txt\n")
        cls.shell(script("Training"))
        lines = (cls.folder / "commands.txt").read_text().splitlines()
        cls.commands = [TrainCommand(line.strip("\t").split("\t")) for line in lines]
        # What the two starts have in common is looked at once; a plan at its limits does not depend on the set either, and the retriever
        # reads the rows of joint training.
        cls.different = list({command.name(): command for command in cls.commands if cls.is_looked_at(command)}.values())
        cls.planned = list({(c.stage, c.backbone, c.rate): c for c in cls.commands}.values())

    @staticmethod
    def is_looked_at(command):
        return command.stage != "retriever" or "ours_nq_" in command.name()

    def test_every_stage_base_rate_set_and_start_is_trained_once(self):
        expected = set()
        for backbone in TINY:
            for rate in RATES:
                folder = f"runs/paper/{backbone}/{rate}"
                expected |= {("scp", f"{folder}/scp", None), ("tune", f"{folder}/tune", f"{folder}/scp/final")}
                expected |= {
                    (stage, f"{folder}/{stage}_{name}_from_{start}", f"{folder}/{start}/final")
                    for stage in ("joint", "retriever") for name in SETS for start in ("scp", "tune")
                }  # fmt: skip
        found = [(command.stage, command.output, command.settings.get("model.init_from")) for command in self.commands]
        self.assertEqual(len(found), len(set(found)))
        self.assertEqual(set(found), expected)
        self.assertEqual({command.config for command in self.commands}, {f"configs/paper/{path.name}" for path in CONFIGS})
        for command in self.commands:
            self.assertIn(f"runs/paper/{command.backbone}/{command.rate}/", command.output)
            if command.stage in ("joint", "retriever"):
                self.assertIn(f"_{re.search(r'ours_(.+)_with_pos', command.name()).group(1)}_from_", command.output)

    def test_every_command_passes_a_dry_run(self):
        for command in self.different:
            with self.subTest(command.name()):
                base = PROJECT / "tests/fixtures/parity" / TINY[command.backbone] / "base"
                shown = self.look(command.looked_at("--set", f"model.base={base}", "--dry-run"))
                numbers = dict(re.findall(r"(?m)^  ([a-z, ]+?)  +(\d+)\b", shown))
                rows = {"scp": 5, "tune": 2}.get(command.stage, 2)
                self.assertEqual((numbers["training rows"], numbers["validation rows"]), (str(rows), "1"), shown)
                self.assertEqual((numbers["bad rows"], numbers["bad validation rows"], numbers["steps"]), ("0", "0", "1"), shown)
                # All documents of the samples are shorter than 256 tokens: what a rate adds is its memory tokens.
                self.assertEqual(numbers["documents cut"], "0", shown)
                self.assertLess(256 // command.rate, int(numbers["longest document, tokens"]), shown)

    def test_every_plan_fits_the_devices_and_the_page_says_how(self):
        stages = ("scp", "tune", "joint", "retriever")
        page = {(row[0], int(row[1]), stage): row[2 + i] for row in table("Memory") for i, stage in enumerate(stages)}
        self.assertEqual(len(page), len(TINY) * len(RATES) * len(stages))
        for command in self.planned:
            with self.subTest(command.name()):
                base = PROJECT / "tests/fixtures/configs" / CONFIG_JSON[command.backbone]
                options = [program("clara-train"), command.stage, *command.words, "--set", "model.init_from="]
                shown = self.look([*options, "--set", f"model.base={base}", "--plan", "--num-gpus", "8"])
                self.assertRegex(shown, r"no tokenizer beside config\.json")
                self.assertRegex(shown, r"8 device\(s\)")
                self.assertRegex(shown, r"fits a device of 80 GB +yes")
                rows_of_a_device = 16 if command.stage in ("scp", "tune") else 4
                self.assertRegex(shown, rf"rows a step on one device +{rows_of_a_device} ")
                weights = {"mistral_7b": "14.48", "phi_4_mini": "7.67"}[command.backbone]
                self.assertRegex(shown, rf"base weights +{re.escape(weights)} GB")  # bfloat16
                total = re.search(r"total on the device +([0-9.]+) GB", shown).group(1)
                self.assertEqual(page[TITLES[command.backbone], command.rate, command.stage], total, shown)


class WholeRecipeTest(PaperCase):
    """Both scripts with a tiny model, one step a run."""

    BACKBONE, RATE = "mistral_7b", "256"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        base = PROJECT / "tests/fixtures/parity" / TINY[cls.BACKBONE] / "base"
        smaller = {
            "clara-train": [*HERE, "--set", f"model.base={base}", "--num-processes", "1", "--log-level", "warning"],
            "clara-eval": ["--device", "cpu", "--dtype", "float32", "--max-new-tokens", "2", "--num-processes", "1"],
        }
        for name, options in smaller.items():
            # An option that is given twice is an error: those of the page go.
            cls.put_program(
                name,
                f"#!{sys.executable}\nimport os, sys\nwords = sys.argv[1:]\n"
                "for flag in ('--num-processes', '--max-new-tokens'):\n"
                "    if flag in words:\n        del words[words.index(flag):words.index(flag) + 2]\n"
                f"options = [] if words[0] == 'report' else {options!r}\n"
                f"os.execv({program(name)!r}, [{name!r}, *words, *options])\n",
            )
        variables = {"BACKBONES": cls.BACKBONE, "RATES": cls.RATE, "SETS": "nq musique", "TEXT_RATE": cls.RATE}
        cls.variables = variables
        cls.shell(script("Training"), **variables)
        cls.shell(script("Evaluation"), **variables)
        cls.runs = cls.folder / "runs/paper" / cls.BACKBONE / cls.RATE

    def test_every_run_ends_and_is_evaluated_in_both_settings(self):
        joint = [f"{stage}_{name}_from_{start}" for stage in ("joint", "retriever") for name in ("nq", "musique")
                 for start in ("scp", "tune")]  # fmt: skip
        self.assertEqual({path.name for path in self.runs.iterdir() if path.is_dir()}, {"scp", "tune", *joint})
        for run in ("scp", "tune", *joint):
            self.assertTrue((self.runs / run / "final/clara.json").is_file(), run)
        for setting in ("normal", "oracle"):
            for run in joint:
                self.assertTrue((self.runs / run / "eval" / setting / "scores.json").is_file(), (run, setting))
            for name in ("nq", "musique"):
                for context in ("", "_text", "_none"):
                    self.assertTrue((self.runs / f"tune/eval/{name}_{setting}{context}/scores.json").is_file())
        report = (self.runs / "report.txt").read_text()
        self.assertGreaterEqual(len(report.splitlines()), 2 * len(joint) + 12, report)

    def test_what_is_done_is_passed_over(self):
        before = {run.name: snapshot(run / "final") for run in self.runs.iterdir() if run.is_dir()}
        self.shell(script("Training"), **self.variables)
        self.assertEqual({run.name: snapshot(run / "final") for run in self.runs.iterdir() if run.is_dir()}, before)


class ArithmeticTest(unittest.TestCase):
    def test_the_hours_are_the_arithmetic_beside_them(self):
        rows = table("Expected hours")
        self.assertEqual([(row[0], int(row[1])) for row in rows], [(t, r) for t in TITLES.values() for r in RATES])
        total = 0
        for row in rows:
            backbone = next(key for key, title in TITLES.items() if title == row[0])
            each = [hours(backbone, int(row[1]), name) for name in ("scp", "tune", *SETS)]
            whole = sum(each[:2]) + 2 * sum(each[2:])
            total += whole
            self.assertEqual(row[2:], [*(f"{value:.2f}" for value in each), f"{whole:.1f}"], row[:2])
        self.assertIn(f"Both bases at all rates: {total:.0f} hours of 8 GPUs", PAGE)


if __name__ == "__main__":
    unittest.main()
