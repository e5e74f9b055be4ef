"""What the campaigns share: places where every run has the same config, and the comparison of two run
folders, bit for bit.
"""

import struct
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))
from program_case import Place, read_jsonl, read_rows, snapshot  # noqa: E402

STEPS = 8
KEEP_LAST = 2


def make_place(folder, stage, **changes):
    """A place whose run saves at every step, validates, and keeps its best checkpoint. The run folder has
    the same name in each place, so that checkpoints of two places can be compared as they are."""
    place = Place(
        folder, stage, trainer__max_steps=STEPS, trainer__num_epochs=STEPS, trainer__rows_per_step=3,
        trainer__validate_every_steps=3, data__validation=["valid.jsonl"],
        output__save_every_steps=1, output__keep_last=KEEP_LAST,
        output__keep_best={"metric": "validation/loss", "mode": "min"}, **changes,
    )  # fmt: skip
    rows = read_rows("joint" if stage == "joint" else stage, 7)
    if stage == "joint":
        # Few candidates that come again in other rows: the latents of a resumed run are then encoded in
        # another company than those of the whole one.
        pool = [doc for row in rows[:3] for doc in row["docs"][:3]]
        for i, row in enumerate(rows):
            row["docs"] = [pool[(i * 2 + j) % len(pool)] for j in range(6)]
            row["pos_index"] = [0]
        place.set(objective__num_selected=2)
    place.write("train.jsonl", rows)
    place.write("valid.jsonl", rows[:2])
    return place


def read_event_steps(run):
    """(step, is a validation) of every TensorBoard event with scalars, in order; raises on a torn record."""
    found = []
    for path in sorted(run.glob("events.out.tfevents.*")):
        content, at = path.read_bytes(), 0
        while at < len(content):
            (length,) = struct.unpack_from("<Q", content, at)
            event = content[at + 12 : at + 12 + length]
            at += 16 + length
            if at > len(content):
                raise ValueError(f"{path}: torn")
            # wall time (key, eight bytes), then the step; the first record has a version instead
            if event[9:10] == b"\x10":
                step, shift = 0, 0
                for byte in event[10:]:
                    step |= (byte & 0x7F) << shift
                    shift += 7
                    if byte < 0x80:
                        break
                found.append((step, b"validation/" in event))
    return found


def without_times(rows):
    return [{key: value for key, value in row.items() if "second" not in key} for row in rows]


def differences(run, expected, ignored="\0"):
    """How a finished run's folder differs from the one of a run that nobody disturbed; empty: not at all.
    Files whose path begins with `ignored` do not count."""
    found = []
    for name in ("final", "checkpoints"):
        a, b = (
            {path: digest for path, digest in (snapshot(folder / name) or {}).items() if not path.startswith(ignored)}
            for folder in (run, expected)
        )
        for path in sorted(set(a) | set(b)):
            if a.get(path) != b.get(path):
                state = "differs" if path in a and path in b else "is extra" if path in a else "is missing"
                found.append(f"{name}/{path} {state}")
    a, b = (without_times(read_jsonl(folder / "metrics.jsonl")) for folder in (run, expected))
    if a != b:
        found.append(f"metrics.jsonl differs: steps {[r['step'] for r in a]}, expected {[r['step'] for r in b]}")
    a, b = read_event_steps(run), read_event_steps(expected)
    if a != b:
        found.append(f"events differ: {a}, expected {b}")
    return found
