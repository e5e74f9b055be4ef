#!/usr/bin/env python3
"""clara-train where all goes well: the four stages one after another, what a run leaves behind, looking
without writing, and going on after a stop or a damage.
"""

import json
import math
import os
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import sys
import threading
import unittest

sys.dont_write_bytecode = True
from program_case import (  # noqa: E402
    DATA, NUM_MEMORY, OK, STOPPED_BY_SIGINT, STOPPED_BY_SIGTERM, TIMEOUT_SECONDS, USAGE,
    VOCAB_ROWS, Outcome, ProgramCase, environment, files_below, read_jsonl, read_rows,
    read_safetensors, snapshot, trained_tensors,
)  # fmt: skip

ADAPTERS = ("compressor", "generator", "query_reasoner")
MODEL_FILES = {"clara.json", "memory_tokens.safetensors"} | {
    f"adapters/{name}/{file}"
    for name in ADAPTERS
    for file in ("adapter_config.json", "adapter_model.safetensors")
}
CHECKPOINT_FILES = MODEL_FILES | {"manifest.json", "optimizer.safetensors", "trainer_state.json"}
TOKENIZER_FILES = {
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja",
}  # fmt: skip
STAGES = ("scp", "tune", "joint", "retriever")
INIT_FROM = {"scp": None, "tune": "scp", "joint": "tune", "retriever": "tune"}
# Training changes these and no others.
TRAINED = {
    "scp": {"compressor", "generator", "memory"},
    "tune": {"compressor", "generator", "memory"},
    "joint": {"query_reasoner", "generator"},
    "retriever": {"query_reasoner"},
}


def step_lines(text):
    return re.findall(r"(?m)^\w+ step (\d+)/(\d+)  (.*)$", text)


def without_times(rows):
    """Metrics that do not depend on how fast the machine is."""
    return [{key: value for key, value in row.items() if "second" not in key} for row in rows]


def phase_table(outcome):
    """Seconds a step of each phase that a profile names."""
    return dict(re.findall(r"(?m)^  (\w+) +([0-9.]+) +[0-9.]+%", outcome.err))


def read_events(path):
    """Payloads of a TFRecord file; fails on a torn record."""
    content, payloads, place = path.read_bytes(), [], 0
    while place < len(content):
        (length,) = struct.unpack_from("<Q", content, place)
        payloads.append(content[place + 12 : place + 12 + length])
        place += 12 + length + 4
    assert place == len(content), f"{path}: torn"
    return payloads


class StagesTest(ProgramCase):
    """scp, tune, joint and the retriever baseline, each from the stage before."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.places, cls.outcomes = {}, {}
        for stage in STAGES:
            place = cls.place(stage, stage, trainer__validate_every_steps=1)
            before = INIT_FROM[stage]
            place.write("valid.jsonl", read_rows("scp" if stage == "scp" else "joint", 2))
            place.set(data__validation=["valid.jsonl"])
            if before:
                place.set(model__init_from=str(cls.places[before] / "run/final"))
            cls.places[stage], cls.outcomes[stage] = place, place.train()

    def each_stage(self):
        for stage in STAGES:
            with self.subTest(stage):
                self.assert_ended(self.outcomes[stage])
                yield stage, self.places[stage] / "run"

    def test_a_run_leaves_exactly_the_documented_files(self):
        for _, run in self.each_stage():
            files = set(files_below(run))
            (events,) = {name for name in files if name.startswith("events.out.tfevents.")}
            expected = {"config.yaml", "metrics.jsonl", "log.txt", events}
            expected |= {f"final/{name}" for name in MODEL_FILES | TOKENIZER_FILES}
            for step in ("step_000001", "step_000002"):
                expected |= {f"checkpoints/{step}/{name}" for name in CHECKPOINT_FILES}
            self.assertEqual(files, expected)

    def test_metrics_hold_one_object_a_step_and_one_a_validation(self):
        for stage, run in self.each_stage():
            rows = read_jsonl(run / "metrics.jsonl")
            validations = [row for row in rows if any(k.startswith("validation/") for k in row)]
            steps = [row for row in rows if row not in validations]
            self.assertEqual([row["step"] for row in steps], [1, 2])
            self.assertEqual([row["step"] for row in validations], [0, 1, 2])
            for row in rows:
                self.assertTrue(all(math.isfinite(value) for value in row.values()), row)
            wanted = {"loss", "learning_rate", "gradient_norm", "rows", "tokens", "rows_per_second", "data_wait_seconds"}
            if stage in ("joint", "retriever"):
                wanted.add("latent_wait_seconds")
            self.assertLessEqual(wanted, set(steps[0]))
            metric = {"scp": "latent_gap", "tune": "latent_gap"}.get(stage, "recall@5")
            self.assertIn(f"validation/{metric}", validations[0])

    def test_a_pipe_gets_one_line_a_step_with_the_logged_loss(self):
        for stage, run in self.each_stage():
            lines = step_lines(self.outcomes[stage].err)
            self.assertEqual([(step, total) for step, total, _ in lines], [("1", "2"), ("2", "2")])
            self.assertNotRegex(self.outcomes[stage].err, "[\r\x1b]")
            self.assertEqual(self.outcomes[stage].out, "")
            losses = [row["loss"] for row in read_jsonl(run / "metrics.jsonl") if "loss" in row]
            for (_, _, text), loss in zip(lines, losses, strict=True):
                self.assertIn(f"loss {loss:.4g}", text)

    def test_the_log_keeps_every_step(self):
        for _, run in self.each_stage():
            log = (run / "log.txt").read_text()
            self.assertEqual(re.findall(r"step (\d+)/2 ", log), ["1", "2"])

    def test_tensorboard_events_are_whole_and_name_the_loss(self):
        for _, run in self.each_stage():
            (path,) = run.glob("events.out.tfevents.*")
            events = read_events(path)
            self.assertGreaterEqual(len(events), 1 + 2 + 3)  # version, steps, validations
            self.assertEqual(sum(b"gradient_norm" in event for event in events), 2)

    def test_a_manifest_lists_every_file_with_its_size(self):
        for _, run in self.each_stage():
            folder = run / "checkpoints/step_000002"
            manifest = json.loads((folder / "manifest.json").read_text())
            sizes = {name: file["bytes"] for name, file in manifest["files"].items()}
            expected = CHECKPOINT_FILES - {"manifest.json"}
            self.assertEqual(sizes, {name: (folder / name).stat().st_size for name in expected})

    def test_final_holds_the_tensors_of_the_last_checkpoint(self):
        for _, run in self.each_stage():
            last = trained_tensors(run / "checkpoints/step_000002")
            del last["optimizer.safetensors"]
            self.assertEqual(trained_tensors(run / "final"), last)

    def test_each_stage_trains_what_it_says_and_keeps_the_rest(self):
        for stage, run in self.each_stage():
            before = INIT_FROM[stage]
            if before is None:
                continue
            old = trained_tensors(self.places[before] / "run/final")
            new = trained_tensors(run / "final")
            for part in (*ADAPTERS, "memory"):
                name = "memory_tokens.safetensors"
                if part != "memory":
                    name = f"adapters/{part}/adapter_model.safetensors"
                # The query reasoner of joint and retriever starts from the compressor.
                changed = new[name] != old[name]
                self.assertEqual(changed, part in TRAINED[stage], part)

    def test_rare_words_can_count_more_in_the_latent_token_loss(self):
        # Every row has the same document, so that each of its words is in all documents: their idf is the same, small and
        # positive, and the weighted mean is the plain one. With a document of its own a row's rare words weigh more.
        document, other = "the old mill by the water", "the old ferry by the water"
        losses = {}
        for name, documents in (("same", [document] * 8), ("unlike", [document] * 4 + [other] * 4)):
            for weights in ("uniform", "idf"):
                place = self.place(f"{name}_{weights}", trainer__max_steps=1, trainer__rows_per_step=8)
                place.write("train.jsonl", [{"question": ["Where?"], "answers": ["there"], "docs": [text]} for text in documents])
                place.set(objective__latent_token_loss__weight=1, objective__latent_token_loss__steps=1,
                          objective__latent_token_loss__target="document",
                          objective__latent_token_loss__token_weights=weights)  # fmt: skip
                self.assert_ended(place.train())
                losses[name, weights] = read_jsonl(place / "run/metrics.jsonl")[-1]["latent_token"]
        self.assertAlmostEqual(losses["same", "idf"], losses["same", "uniform"], places=4)
        self.assertNotAlmostEqual(losses["unlike", "idf"], losses["unlike", "uniform"], places=3)

    def test_the_exported_tokenizer_knows_the_added_tokens(self):
        names = [f"<MEM{j}>" for j in range(NUM_MEMORY)] + ["<AE>", "<ENC>", "<SEP>"]
        expected = {name: VOCAB_ROWS + i for i, name in enumerate(names)}
        for _, run in self.each_stage():
            tokens = json.loads((run / "final/tokenizer.json").read_text())["added_tokens"]
            added = {t["content"]: t["id"] for t in tokens if t["id"] >= VOCAB_ROWS}
            self.assertEqual(added, expected)
            decoder = json.loads((run / "final/tokenizer_config.json").read_text())
            for name, token_id in expected.items():
                entry = decoder["added_tokens_decoder"][str(token_id)]
                self.assertEqual((entry["content"], entry["special"]), (name, True))

    def test_final_describes_itself(self):
        for stage, run in self.each_stage():
            description = json.loads((run / "final/clara.json").read_text())
            wanted = {
                "stage": stage, "step": 2, "doc_max_tokens": 64, "compression_rate": 8,
                "num_memory_tokens": NUM_MEMORY,
            }  # fmt: skip
            self.assertEqual({key: description[key] for key in wanted}, wanted)
            self.assertEqual(description["lora"]["rank"], 4)
            header, _ = read_safetensors(run / "final/memory_tokens.safetensors")
            self.assertEqual(header["memory_rows"]["shape"], [NUM_MEMORY, 64])

    def test_the_config_of_a_run_resolves_to_itself(self):
        for stage, run in self.each_stage():
            place = self.places[stage]
            saved = (run / "config.yaml").read_text()
            first = place.train("--print-config")
            self.assert_ended(first)
            self.assertEqual(first.out, saved)
            again = place.train("--print-config", config="run/config.yaml")
            self.assertEqual((again.code, again.out, again.err), (OK, saved, ""))


class LogLevelTest(ProgramCase):
    def test_a_level_shows_what_is_at_least_as_grave_and_the_log_keeps_all(self):
        for level, shows_warning, shows_steps in (("info", True, True), ("warning", True, False),
                                                  ("error", False, False)):  # fmt: skip
            with self.subTest(level):
                place = self.place(f"level_{level}", "tune")  # without init_from: a warning
                outcome = place.train("--log-level", level)
                self.assert_ended(outcome)
                self.assertEqual("warning: model.init_from" in outcome.err, shows_warning, outcome)
                self.assertEqual(bool(step_lines(outcome.err)), shows_steps, outcome)
                log = (place / "run/log.txt").read_text()
                self.assertIn("warning: model.init_from", log)
                self.assertIn("step 2/2", log)
        refused = self.place("level_wrong").train("--log-level", "loud")
        self.assertEqual(refused.code, USAGE)
        self.assertIn("--log-level", refused.err)


class ProfileTest(ProgramCase):
    def test_a_profile_has_a_trace_and_a_table_by_phase(self):
        for stage, phases in {"scp": {"load", "compress", "generate", "loss", "backward", "reduce", "optimizer", "save"},
                              "joint": {"load", "compress", "query", "select", "generate", "loss", "backward"}}.items():
            with self.subTest(stage):
                place = self.place(f"profile_{stage}", stage, output__save_every_steps=1)
                outcome = place.train("--profile", "1")
                self.assert_ended(outcome)
                table = phase_table(outcome)
                self.assertLessEqual(phases | {"step", "other"}, set(table))
                # Phases do not overlap and leave nothing out.
                parts = sum(float(seconds) for name, seconds in table.items() if name != "step")
                self.assertAlmostEqual(parts, float(table["step"]), delta=0.05 * float(table["step"]) + 0.002)
                trace = json.loads((place / "run/profile/trace.json").read_text())
                names = {event.get("name") for event in trace["traceEvents"]}
                self.assertLessEqual({f"clara::{phase}" for phase in phases}, names)


    def test_a_validation_is_a_phase_of_its_own(self):
        def calls(place):
            outcome = place.train("--profile", "1")
            self.assert_ended(outcome)
            return dict(re.findall(r"(?m)^  (\w+) +[0-9.]+ +[0-9.]+% +([0-9.]+)$", outcome.err))

        without = calls(self.place("profile_plain", "joint"))
        place = self.place("profile_validated", "joint", trainer__validate_every_steps=1)
        place.write("valid.jsonl", read_rows("joint", 2))
        place.set(data__validation=["valid.jsonl"])
        validated = calls(place)
        self.assertEqual(validated["validate"], "1.0")
        # The passes of the validation are not counted as those of the step.
        for phase in ("compress", "query", "generate", "loss"):
            self.assertEqual(validated[phase], without[phase], phase)


class LookingTest(ProgramCase):
    """--dry-run, --plan and --print-config write nothing."""

    def setUp(self):
        self.here = self.place(self.id().rsplit(".", 1)[-1])

    def assert_nothing_written(self, *options, **more):
        before = snapshot(self.here.folder)
        outcome = self.here.train(*options, **more)
        self.assertEqual(snapshot(self.here.folder), before)
        self.assertFalse((self.here / "run").exists())
        return outcome

    def test_a_dry_run_counts_rows_and_writes_nothing(self):
        outcome = self.assert_nothing_written("--dry-run")
        self.assert_ended(outcome)
        for pattern in (r"nothing was written", r"training rows +16\n", r"bad rows +0\n", r"steps +2\n"):
            self.assertRegex(outcome.out, pattern)
        loss = float(re.search(r"loss of the longest row +(\S+)", outcome.out).group(1))
        self.assertTrue(0 < loss < 20, loss)

    def test_a_plan_needs_no_weights(self):
        with_weights = self.assert_nothing_written("--plan")
        self.assert_ended(with_weights)
        (self.here.own_base() / "model.safetensors").unlink()
        without = self.assert_nothing_written("--plan")
        self.assertEqual((without.code, without.out), (OK, with_weights.out), without)
        for word in ("parameters", "compressor adapter", "optimizer", "fits a device of 80 GB", "steps"):
            self.assertIn(word, without.out)

    def test_a_plan_of_a_config_json_alone_takes_every_row_at_its_limits(self):
        base = pathlib.Path(__file__).parents[1] / "fixtures" / "configs" / "mistral-7b-instruct-v0.2"
        outcome = self.assert_nothing_written("--plan", "--num-gpus", "2", "--set", f"model.base={base}")
        self.assert_ended(outcome)
        for pattern in (r", 2 device\(s\)", r"no tokenizer beside config\.json", r"base \(frozen\) +7\.24 G",
                        r"prompt and answer tokens a row +512 ", r"rows a step on one device +2 "):  # fmt: skip
            self.assertRegex(outcome.out, pattern)

    def test_print_config_shows_what_set_and_output_changed(self):
        outcome = self.assert_nothing_written(
            "--print-config", "--set", "trainer.seed=5", "--set", "data.max_rows=7", "--output", "elsewhere"
        )
        self.assert_ended(outcome)
        for line in ("seed: 5", "max_rows: 7", "folder: elsewhere", "stage: scp"):
            self.assertIn(f"  {line}\n" if line != "stage: scp" else f"{line}\n", outcome.out)

    def test_json_is_read_as_yaml_is(self):
        yaml = self.here.train("--print-config").out
        tree = {}
        for key, value in self.here.settings.items():
            *sections, name = key.split(".")
            node = tree
            for section in sections:
                node = node.setdefault(section, {})
            node[name] = value
        self.here.write("config.json", json.dumps(tree))
        self.assertEqual(self.here.train("--print-config", config="config.json").out, yaml)

    def test_help_and_version_go_to_stdout(self):
        for option, word in (("--help", "Train CLaRa"), ("--version", "clara-train ")):
            outcome = self.here.run([self.here.command()[0], option])
            self.assertEqual((outcome.code, outcome.err), (OK, ""))
            self.assertIn(word, outcome.out)
        options = self.here.run([self.here.command()[0], "scp", "--help"]).out
        self.assertIn("--log-level {error,warning,info}=info", options)


class ResumeTest(ProgramCase):
    """A run that was stopped goes on as if it had not been."""

    STEPS = 40
    SAVE_EVERY = 10

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.places = {}
        for stage in ("scp", "joint"):
            place = cls.place(
                stage, stage, trainer__max_steps=cls.STEPS, trainer__num_epochs=cls.STEPS,
                trainer__rows_per_step=2, output__save_every_steps=cls.SAVE_EVERY,
            )  # fmt: skip
            if stage == "joint":
                place.edit_rows(lambda rows: [{**row, "docs": row["docs"][:6], "pos_index": []} for row in rows])
            outcome = place.train("--output", "whole")
            if outcome.code != OK:
                raise AssertionError(str(outcome))
            cls.places[stage] = place
        cls.here = cls.places["scp"]

    def copy_of_the_run(self, newest=3):
        """The whole run's folder as it was after a stop: checkpoints up to step 10 · newest, no final/."""
        folder = self.here / self.id().rsplit(".", 1)[-1]
        shutil.copytree(self.here / "whole", folder)
        shutil.rmtree(folder / "final")
        for step in range(newest * self.SAVE_EVERY + self.SAVE_EVERY, self.STEPS + 1, self.SAVE_EVERY):
            shutil.rmtree(folder / f"checkpoints/step_{step:06}")
        return folder

    def damage(self, folder, step):
        path = folder / f"checkpoints/step_{step:06}/optimizer.safetensors"
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        return path

    def train_and_send(self, place, number, output):
        """Starts a run, and sends the signal once it has made two steps."""
        process = subprocess.Popen(
            place.command("--output", output), cwd=place.folder, env=environment(), text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        guard = threading.Timer(TIMEOUT_SECONDS, process.kill)
        guard.start()
        lines, is_sent = [], False
        for line in process.stderr:
            lines.append(line)
            if not is_sent and " step 2/" in line:
                process.send_signal(number)
                is_sent = True
        out = process.stdout.read()
        process.stdout.close()
        process.stderr.close()
        code = process.wait()
        guard.cancel()
        return Outcome(code, out, "".join(lines))

    def test_a_stopped_run_ends_with_the_tensors_of_one_that_was_not(self):
        for stage, number, code in (
            ("scp", signal.SIGTERM, STOPPED_BY_SIGTERM),
            ("joint", signal.SIGINT, STOPPED_BY_SIGINT),
        ):
            with self.subTest(stage, signal=number.name):
                place, output = self.places[stage], f"stopped_by_{number.name}"
                stopped = self.train_and_send(place, number, output)
                self.assert_ended(stopped, code)
                self.assert_told(stopped, "stopped by a signal after step", "--resume auto")
                step = int(re.search(r"after step (\d+)", stopped.err).group(1))
                self.assertTrue(2 <= step < self.STEPS, step)
                self.assertIn(f"checkpoints/step_{step:06}/manifest.json", files_below(place / output))
                self.assertFalse((place / output / "final").exists())

                resumed = place.train("--output", output, "--resume", "auto")
                self.assert_ended(resumed)
                self.assert_told(resumed, f"step_{step:06}")
                self.assertEqual(int(step_lines(resumed.err)[0][0]), step + 1)
                self.assert_same_tensors(place / output / "final", place / "whole/final")
                found = without_times(read_jsonl(place / output / "metrics.jsonl"))
                expected = without_times(read_jsonl(place / "whole/metrics.jsonl"))
                self.assertEqual([row["step"] for row in found], [row["step"] for row in expected])
                for row, wanted in zip(found, expected, strict=True):
                    self.assertEqual(row, wanted)

    def test_a_second_run_into_the_same_folder_is_refused(self):
        before = snapshot(self.here / "whole")
        outcome = self.here.train("--output", "whole")
        self.assert_refused(outcome, USAGE, "whole: already holds a run", "--resume auto", "--output")
        self.assertEqual(snapshot(self.here / "whole"), before)

    def test_resuming_a_finished_run_changes_nothing_trained(self):
        outcome = self.here.train("--output", "whole", "--resume", "auto")
        self.assert_ended(outcome)
        self.assertEqual(step_lines(outcome.err), [])
        last = trained_tensors(self.here / f"whole/checkpoints/step_{self.STEPS:06}")
        del last["optimizer.safetensors"]
        self.assertEqual(trained_tensors(self.here / "whole/final"), last)

    def test_resume_auto_without_a_run_starts_one(self):
        outcome = self.here.train("--output", "fresh", "--resume", "auto", "--set", "trainer.max_steps=1")
        self.assert_ended(outcome)
        self.assertTrue((self.here / "fresh/final/clara.json").is_file())

    def test_another_learning_rate_is_refused_by_name(self):
        folder = self.copy_of_the_run()
        before = snapshot(folder)
        outcome = self.here.train(
            "--output", folder.name, "--resume", "auto", "--set", "trainer.peak_learning_rate=0.5",
            "--set", "logging.every_steps=2",
        )  # fmt: skip
        self.assert_refused(
            outcome, USAGE, "trainer.peak_learning_rate", "0.001", "0.5", "step_000030",
            "logging.every_steps", "model.init_from",
        )  # fmt: skip
        refused, allowed = outcome.err.split("these differ and may")
        self.assertIn("trainer.peak_learning_rate", refused)
        self.assertIn("logging.every_steps", allowed)
        self.assertEqual(snapshot(folder), before)

    def test_settings_that_leave_the_update_alone_may_change(self):
        folder = self.copy_of_the_run()
        outcome = self.here.train(
            "--output", folder.name, "--resume", "auto", "--set", "logging.every_steps=2",
            "--set", "output.keep_last=1",
        )  # fmt: skip
        self.assert_ended(outcome)
        self.assert_same_tensors(folder / "final", self.here / "whole/final")
        self.assertEqual([p.name for p in (folder / "checkpoints").iterdir()], ["step_000040"])

    def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(self):
        folder = self.copy_of_the_run()
        self.damage(folder, 30)
        outcome = self.here.train("--output", folder.name, "--resume", "auto")
        self.assert_ended(outcome)
        self.assert_told(outcome, "warning:", "step_000030", "optimizer.safetensors", "checksum")
        self.assertEqual(step_lines(outcome.err)[0][0], "21")
        self.assert_same_tensors(folder / "final", self.here / "whole/final")

    def test_a_torn_checkpoint_is_passed_over(self):
        folder = self.copy_of_the_run()
        (folder / "checkpoints/step_000030/manifest.json").unlink()
        os.truncate(folder / "checkpoints/step_000020/memory_tokens.safetensors", 100)
        outcome = self.here.train("--output", folder.name, "--resume", "auto")
        self.assert_ended(outcome)
        self.assert_told(outcome, "manifest.json is missing", "memory_tokens.safetensors has 100 bytes")
        self.assertEqual(step_lines(outcome.err)[0][0], "11")
        self.assert_same_tensors(folder / "final", self.here / "whole/final")

    def test_where_every_checkpoint_is_damaged_the_run_is_not_thrown_away(self):
        folder = self.copy_of_the_run()
        for step in (10, 20, 30):
            self.damage(folder, step)
        before = snapshot(folder)
        outcome = self.here.train("--output", folder.name, "--resume", "auto")
        self.assert_refused(outcome, DATA, folder.name, "step_000010", "--output")
        after = snapshot(folder)
        after.pop("log.txt"), before.pop("log.txt")  # the warnings may be logged
        self.assertEqual(after, before)

    def test_a_checkpoint_can_be_named(self):
        folder = self.copy_of_the_run()
        outcome = self.here.train("--output", folder.name, "--resume", folder / "checkpoints/step_000020")
        self.assert_ended(outcome)
        self.assertEqual(step_lines(outcome.err)[0][0], "21")
        self.assert_same_tensors(folder / "final", self.here / "whole/final")

    def test_a_named_checkpoint_that_is_damaged_or_missing_is_refused(self):
        folder = self.copy_of_the_run()
        self.damage(folder, 30)
        before = snapshot(folder)
        for name, fragments in (
            ("step_000030", ("step_000030", "optimizer.safetensors", "checksum", "--resume auto")),
            ("step_000031", ("step_000031", "manifest.json is missing", "--resume auto")),
        ):
            with self.subTest(name):
                outcome = self.here.train("--output", folder.name, "--resume", folder / "checkpoints" / name)
                self.assert_refused(outcome, DATA, *fragments)
                self.assertEqual(snapshot(folder), before)

    def test_a_checkpoint_of_another_run_does_not_replace_the_run_of_a_folder(self):
        folder = self.copy_of_the_run()
        before = snapshot(folder)
        outcome = self.here.train(
            "--output", folder.name, "--resume", self.here / "whole/checkpoints/step_000020"
        )
        self.assert_refused(outcome, USAGE, folder.name, "already holds a run", "--output")
        self.assertEqual(snapshot(folder), before)


if __name__ == "__main__":
    unittest.main()
