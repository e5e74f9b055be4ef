"""Places to train in on several ranks, ranks that a test starts and ends itself, and what is left of
them. Standard library only.
"""

import array
import ctypes
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "integration"))
from program_case import (  # noqa: E402
    ProgramCase, environment, read_jsonl, read_rows, read_safetensors,
)  # fmt: skip

DISTRIBUTED = 4
PR_SET_CHILD_SUBREAPER = 36
# Of the whole of a test's ranks; the limits that the tests are about are their own settings.
LIMIT_SECONDS = 300
LAUNCHER_VARIABLES = re.compile(
    r"^(RANK|WORLD_SIZE|LOCAL_RANK|LOCAL_WORLD_SIZE|MASTER_|TORCHELASTIC_|SLURM_|OMPI_|PMI_|MPI_|CLARA_LAUNCHER|CLARA_STORE)"
)


# What a launcher leaves behind becomes a child of this process, zombies too: nobody else clears it away.
ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def clean_environment(**variables):
    """That of the program tests, without what an outer launcher may have left."""
    kept = {k: v for k, v in environment().items() if not LAUNCHER_VARIABLES.match(k)}
    return {**kept, **{k: str(v) for k, v in variables.items()}}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def rank_variables(rank, size, port, **more):
    """What torchrun gives to a rank of one machine."""
    return {
        "RANK": rank, "WORLD_SIZE": size, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": size,
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, **more,
    }  # fmt: skip


def tensors(folder):
    """Every float32 tensor below a folder: name -> values."""
    found = {}
    for path in sorted(pathlib.Path(folder).rglob("*.safetensors")):
        header, data = read_safetensors(path)
        for name, entry in header.items():
            if name == "__metadata__" or entry["dtype"] != "F32":
                continue
            begin, end = entry["data_offsets"]
            values = array.array("f")
            values.frombytes(data[begin:end])
            found[f"{path.relative_to(folder)}:{name}"] = values
    return found


def largest_difference(found, expected):
    """Over all tensors: the largest difference relative to the tensor's largest value."""
    assert found.keys() == expected.keys() and expected
    largest = 0.0
    for name, values in expected.items():
        assert len(values) == len(found[name]), name
        scale = max(map(abs, values)) or 1.0
        difference = max(abs(a - b) for a, b in zip(found[name], values, strict=True))
        largest = max(largest, difference / scale)
    return largest


def step_rows(run):
    """The rows of metrics.jsonl that belong to steps."""
    return [row for row in read_jsonl(run / "metrics.jsonl") if "loss" in row]


class Ranks:
    """Processes of one group, each with a file for its stderr."""

    def __init__(self, place, size, *options, port=None, variables=None, folders=None, prefix=None):
        self.place = place
        self.processes = []
        self.logs = []
        port = port or free_port()
        for rank in range(size):
            log = place / f"stderr_{rank}.txt"
            more = (variables or {}).get(rank, {})
            env = clean_environment(**{**rank_variables(rank, size, port), **more})
            with log.open("w") as file:
                self.processes.append(subprocess.Popen(
                    [*((prefix or {}).get(rank, [])), *place.command(*options)],
                    cwd=(folders or {}).get(rank, place.folder), env=env,
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=file,
                ))  # fmt: skip
            self.logs.append(log)

    def wait(self, seconds=LIMIT_SECONDS):
        """Exit codes by rank; a rank that is left over is killed and reported as None."""
        end = time.monotonic() + seconds
        codes = []
        for process in self.processes:
            try:
                codes.append(process.wait(max(0.1, end - time.monotonic())))
            except subprocess.TimeoutExpired:
                codes.append(None)
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait()
        return codes

    def text(self, rank):
        return self.logs[rank].read_text(encoding="utf-8", errors="replace")


def children_of(process):
    """Process ids of the ranks that a launcher started, by rank."""
    ranks = {}
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text()
            if int(stat.rsplit(")", 1)[1].split()[1]) != process.pid:
                continue
            variables = dict(
                item.split("=", 1)
                for item in (entry / "environ").read_bytes().decode(errors="replace").split("\0")
                if "=" in item
            )
            ranks[int(variables["RANK"])] = int(entry.name)
        except (OSError, KeyError, ValueError):
            continue
    return ranks


def is_alive(process_id):
    """Whether a process is there and no zombie."""
    try:
        stat = pathlib.Path(f"/proc/{process_id}/stat").read_text()
    except OSError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] != "Z"


def left_over(ranks):
    """Process ids among a launcher's ranks that are still there, if only as zombies; the launcher has ended."""
    return [p for p in ranks.values() if pathlib.Path(f"/proc/{p}").exists()]


class RankCase(ProgramCase):
    """A test case whose places are made for several ranks."""

    @classmethod
    def rank_place(cls, name, stage="scp", rows=24, **changes):
        """Rows enough for several steps, no dropout: ranks would draw other masks than one process."""
        place = cls.place(
            name, stage,
            **{
                "model__lora__dropout": 0, "trainer__max_steps": 6, "trainer__num_epochs": 9,
                "output__save_every_steps": 1, "output__keep_last": 99,
                "parallel__timeout_seconds": 60, "logging__tensorboard": False, **changes,
            },
        )  # fmt: skip
        samples = read_rows({"scp": "scp", "tune": "tune", "joint": "joint"}[stage])
        place.write("train.jsonl", [samples[i % len(samples)] for i in range(rows)])
        return place

    def launch(self, place, *options, **popen):
        """clara-train in the background; its stderr goes to a file."""
        log = place / "launcher.txt"
        with log.open("w") as file:
            process = subprocess.Popen(
                [str(part) for part in place.command(*options)],
                cwd=place.folder, env=clean_environment(), stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=file, **popen,
            )  # fmt: skip
        self.addCleanup(lambda: process.poll() is None and (process.kill(), process.wait()))
        return process, log

    def wait_for_step(self, place, step, process=None, seconds=LIMIT_SECONDS):
        """Until metrics.jsonl has the step."""
        path, end = place / "run/metrics.jsonl", time.monotonic() + seconds
        while time.monotonic() < end:
            if path.exists():
                for line in path.read_text().splitlines():
                    try:
                        if json.loads(line)["step"] >= step:
                            return
                    except ValueError:
                        continue
            if process is not None and process.poll() is not None:
                self.fail(f"ended with {process.returncode} before step {step}")
            time.sleep(0.01)
        self.fail(f"step {step} did not come")

    def assert_close_runs(self, found, expected, tolerance=2e-4):
        """Losses and all trained tensors equal to rounding."""
        rows, wanted = step_rows(found), step_rows(expected)
        self.assertEqual([r["step"] for r in rows], [r["step"] for r in wanted])
        for row, other in zip(rows, wanted, strict=True):
            self.assertAlmostEqual(row["loss"] / other["loss"], 1, delta=2e-6, msg=str(row["step"]))
            for name in ("rows", "tokens", "answer_tokens"):
                self.assertEqual(row[name], other[name], row["step"])
        difference = largest_difference(tensors(found / "final"), tensors(expected / "final"))
        self.assertLess(difference, tolerance)


__all__ = [
    "DISTRIBUTED", "LIMIT_SECONDS", "RankCase", "Ranks", "children_of", "clean_environment",
    "free_port", "is_alive", "largest_difference", "left_over", "os", "rank_variables", "step_rows", "tensors",
]  # fmt: skip
