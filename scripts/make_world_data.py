#!/usr/bin/env python3
"""Makes the quickstart's data: documents and questions about a small fictional world.

People, towns, firms, works and events with invented names are related to each other, told in short
documents in varied words, and asked about. Everything follows from the seed: the same bytes in
every run, on every machine. Written into the output folder (the formats: data/README.md):

    scp_train.jsonl    scp_valid.jsonl     one document: simple and complex questions, paraphrases
    tune_train.jsonl   tune_valid.jsonl    a question with its gold and other documents
    joint_train.jsonl  joint_valid.jsonl   a question with shuffled candidates, most of them hard
    eval.jsonl                             the same, with aliases of the answers
    documents.jsonl                        the document of every thing, by split, with its facts

Training, validation and evaluation (with --joint-entities joint training, too) are about different
worlds: no name of a thing of one is in the rows of another. Python standard library only. Exit
codes: 0 ok, 2 usage, 3 output.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Dict, Iterable, Iterator, List, Tuple

sys.dont_write_bytecode = True

import world_relations as wr  # noqa: E402
from world_documents import Document, DocumentWriter, verbs_of  # noqa: E402
from world_entities import MIN_ENTITIES, WorldBuilder  # noqa: E402
from world_names import Draw  # noqa: E402
from world_questions import Corpus, ask, describe, gives_answer_away  # noqa: E402

_SAMPLE_ENTITIES = 240
_BRIDGE_SHARE = 0.65  # of two-hop questions; the others compare


def share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, found {text}")
    return value


def count_from(least: int):
    def parse(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"expected a whole number >= {least}, found {text}")
        return value

    parse.__name__ = "whole number"
    return parse


def parse_arguments(arguments: List[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make_world_data.py",
        description="Makes the quickstart's data: documents and questions about a fictional world.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="output folder, made if missing")
    add("--seed", type=int, default=17, metavar="N", help="everything follows from it")
    add("--scp-rows", type=count_from(0), default=6000, metavar="N", help="training rows")
    add("--tune-rows", type=count_from(0), default=1500, metavar="N", help="training rows")
    add("--joint-rows", type=count_from(0), default=1500, metavar="N", help="training rows")
    add("--valid-rows", type=count_from(0), default=200, metavar="N",
        help="rows of each validation file")  # fmt: skip
    add("--eval-rows", type=count_from(0), default=200, metavar="N", help="evaluation rows")
    add("--train-entities", type=count_from(MIN_ENTITIES), default=3000, metavar="N",
        help="things, each with its document, in the world of training")  # fmt: skip
    add("--heldout-entities", type=count_from(MIN_ENTITIES), default=400, metavar="N",
        help="things in the world of validation, and again in that of evaluation")  # fmt: skip
    add("--joint-entities", type=count_from(0), default=0, metavar="N",
        help="things in a world of its own for joint training: the fewer, the sooner the latents "
        "of all its documents are kept; 0: the world of training")  # fmt: skip
    add("--max-document-tokens-hint", choices=("full", "short"), default="full",
        help="full: documents of 30 to 200 tokens of a GPT-2-like tokenizer; short: up to about "
        "64, for recipes that must learn in minutes")  # fmt: skip
    add("--candidates", type=count_from(5), default=20, metavar="K",
        help="documents of a joint and an evaluation row")  # fmt: skip
    add("--tune-documents", type=count_from(2), default=5, metavar="S",
        help="documents of a tune row")  # fmt: skip
    add("--paraphrase-share", type=share, default=0.35, metavar="X", help="of the scp rows")
    add("--complex-share", type=share, default=0.3, metavar="X",
        help="of the other scp rows: questions that need two facts")  # fmt: skip
    add("--copy-share", type=share, default=0.3, metavar="X",
        help="of the paraphrase rows: the answer is the document itself")  # fmt: skip
    add("--brief-share", type=share, default=0.0, metavar="X",
        help="of the scp training rows: documents of a sentence or two, which a model learns to "
        "read sooner")  # fmt: skip
    add("--pairs", type=count_from(1), default=5, metavar="N",
        help="questions of an scp row at most")  # fmt: skip
    add("--two-hop-share", type=share, default=0.4, metavar="X",
        help="of the tune, joint and evaluation rows")  # fmt: skip
    add("--tell-share", type=share, default=0.0, metavar="X",
        help="of the other tune and joint training rows: all that is known of a thing is asked "
        "for, and the answer is its document, which teaches more a row than a word or two")  # fmt: skip
    add("--samples", action="store_true",
        help="write the small files of data/samples instead: a few rows of each kind, of worlds of "
        f"{_SAMPLE_ENTITIES} things")  # fmt: skip
    settings = parser.parse_args(arguments)
    if 0 < settings.joint_entities < MIN_ENTITIES:
        parser.error(f"argument --joint-entities: expected 0 or a whole number >= {MIN_ENTITIES}")
    if settings.samples:
        settings.train_entities = settings.heldout_entities = _SAMPLE_ENTITIES
    return settings


class SplitRows:
    """The rows that can be made from one split of the world."""

    def __init__(self, settings: argparse.Namespace, builder: WorldBuilder, split: str, size: int):
        self._settings = settings
        self._split = split
        world = builder.build(split, size)
        writer = self._writer(world, "documents")
        self.corpus = Corpus(world, [writer.write(entity) for entity in world.entities])

    def scp(self, num_rows: int, brief_share: float = 0.0) -> Iterator[dict]:
        """Every row tells of a thing anew; the things come up in turn."""
        settings, draw = self._settings, self._draw("scp")
        world = self.corpus.world
        writer = self._writer(world, "scp documents")
        entities = draw.shuffled(world.entities)
        num_paraphrases = round(num_rows * settings.paraphrase_share)
        num_copies = round(num_paraphrases * settings.copy_share)
        num_complex = round((num_rows - num_paraphrases) * settings.complex_share)
        kinds = ["copy"] * num_copies + ["paraphrase"] * (num_paraphrases - num_copies)
        kinds += ["complex"] * num_complex
        kinds += ["simple"] * (num_rows - len(kinds))
        for i, kind in enumerate(draw.shuffled(kinds)):
            entity = entities[i % len(entities)]
            if brief_share > 0 and draw.chance(brief_share):
                # Of a single fact some can be told in one way only.
                num_facts = 2 if kind == "paraphrase" else draw.between(1, 2)
                document = writer.write_brief(entity, num_facts)
            else:
                document = writer.write(entity)
            if kind in ("copy", "paraphrase"):
                versions = [document.text]
                if kind == "paraphrase":
                    told = (writer.paraphrase(document).text for _ in range(draw.between(1, 2)))
                    versions = list(dict.fromkeys(told))
                yield {"data_type": "paraphrase", "docs": [document.text], "answers": versions}
                continue
            is_complex = kind == "complex" and len(document.stated) > 1
            make_pairs = self._complex_pairs if is_complex else self._simple_pairs
            pairs = make_pairs(document, draw)[: settings.pairs]
            if not pairs:
                raise ValueError(f"nothing can be asked of the document: {document.text}")
            yield {
                "data_type": "qa",
                "question": [question for question, _ in pairs],
                "answers": [answer for _, answer in pairs],
                "docs": [document.text],
            }

    def questions(
        self, purpose: str, num_rows: int, num_documents: int, tell_share: float = 0.0
    ) -> Iterator[dict]:
        """Rows with `question`, `docs`, `answers`, `pos_index` and what kind of question it is."""
        draw = self._draw(purpose)
        entities = self.corpus.world.entities
        asked = set()
        queue: List = []
        num_two_hop = round(num_rows * self._settings.two_hop_share) if num_documents >= 3 else 0
        num_bridges = round(num_two_hop * _BRIDGE_SHARE)
        types = ["bridge"] * num_bridges + ["comparison"] * (num_two_hop - num_bridges)
        types += ["tell"] * round((num_rows - num_two_hop) * tell_share)
        types += ["one_hop"] * (num_rows - len(types))
        for type_ in draw.shuffled(types):
            for _ in range(10000):
                queue = queue or draw.shuffled(entities)
                question = self.corpus.question(queue.pop(), type_, draw)
                if question is not None and question.text not in asked:
                    break
            else:
                raise ValueError(
                    f"the {self._split} world has too few different questions for {num_rows} "
                    f"{purpose} rows; ask for more entities or fewer rows"
                )
            asked.add(question.text)
            documents, positives = self.corpus.candidates(question, num_documents, draw)
            yield {
                "question": question.text,
                "docs": documents,
                "answers": list(question.answers),
                "pos_index": positives,
                "question_type": question.type,
                "answer_kind": question.answer_kind,
            }

    def documents(self) -> Iterator[dict]:
        for document in self.corpus.documents:
            entity = document.entity
            facts = {key: entity.facts[key].text for key in document.stated}
            yield {
                "split": self._split,
                "kind": entity.kind,
                "name": entity.name,
                "text": document.text,
                "facts": facts,
            }

    def _draw(self, purpose: str) -> Draw:
        return Draw(self._settings.seed, f"{self._split}/{purpose}")

    def _writer(self, world, purpose: str) -> DocumentWriter:
        return DocumentWriter(
            world, self._draw(purpose), self._settings.max_document_tokens_hint
        )

    def _simple_pairs(self, document: Document, draw: Draw) -> List[Tuple[str, str]]:
        entity, world = document.entity, self.corpus.world
        pairs = []
        for key in draw.shuffled(document.stated):
            value = entity.facts[key]
            verbs = verbs_of(world, entity, value)
            question = ask(wr.RELATION[entity.kind, key], entity.mention, verbs, draw)
            if not gives_answer_away(question, [value.text]):
                pairs.append((question, value.text))
        return pairs

    def _complex_pairs(self, document: Document, draw: Draw) -> List[Tuple[str, str]]:
        """Two facts a question: both are asked for, or one describes what the other is asked of."""
        entity, world = document.entity, self.corpus.world
        pairs: Dict[str, str] = {}
        for _ in range(200):
            if len(pairs) >= min(self._settings.pairs, 3):
                break
            first, second = draw.some(document.stated, 2)
            value, other = entity.facts[first], entity.facts[second]
            if draw.chance(0.4):
                nouns = [wr.RELATION[entity.kind, key].noun for key in (first, second)]
                verb = "were" if entity.kind in ("person", "event") else "are"
                question = f"What {verb} the {nouns[0]} and the {nouns[1]} of {entity.mention}?"
                answer, parts = f"{value.text} and {other.text}", (value.text, other.text)
            else:
                subject, _ = describe(entity, [second], draw)
                if subject == f"the {other.text}":  # "the painter" alone describes too little
                    continue
                relation = wr.RELATION[entity.kind, first]
                question = ask(relation, subject, verbs_of(world, entity, value), draw)
                answer, parts = value.text, (value.text,)
            if not gives_answer_away(question, parts):
                pairs.setdefault(question, answer)
        return list(pairs.items()) or self._simple_pairs(document, draw)


def only(row: dict, *fields: str) -> dict:
    return {field: row[field] for field in fields}


def tune_row(row: dict) -> dict:
    answer = {"question": row["question"], "docs": row["docs"], "answer": row["answers"][0]}
    return {**answer, **only(row, "pos_index", "question_type", "answer_kind")}


def files(settings: argparse.Namespace) -> Iterator[Tuple[str, Iterable[dict]]]:
    """Name and rows of every file."""
    builder = WorldBuilder(settings.seed)
    train = SplitRows(settings, builder, "train", settings.train_entities)
    valid = SplitRows(settings, builder, "valid", settings.heldout_entities)
    test = SplitRows(settings, builder, "eval", settings.heldout_entities)
    splits = [train, valid, test]
    joint = train
    if settings.joint_entities:
        joint = SplitRows(settings, builder, "joint", settings.joint_entities)
        splits.append(joint)
    small, large = settings.tune_documents, settings.candidates

    def tune(split: SplitRows, num_rows: int, tell_share: float = 0.0):
        return [tune_row(row) for row in split.questions("tune", num_rows, small, tell_share)]

    def evaluation(num_rows: int):
        rows = test.questions("evaluation", num_rows, large)
        return [{"id": f"world-{i:04d}", **row} for i, row in enumerate(rows, start=1)]

    if settings.samples:
        yield "scp.jsonl", train.scp(16)
        yield "tune.jsonl", tune(train, 8)
        yield "joint.jsonl", train.questions("joint", 8, large)
        yield "evaluation.jsonl", evaluation(8)
        return
    yield "scp_train.jsonl", train.scp(settings.scp_rows, settings.brief_share)
    yield "scp_valid.jsonl", valid.scp(settings.valid_rows)
    tell_share = settings.tell_share
    yield "tune_train.jsonl", tune(train, settings.tune_rows, tell_share)
    yield "tune_valid.jsonl", tune(valid, settings.valid_rows)
    joint_train = joint.questions("joint", settings.joint_rows, large, tell_share)
    yield "joint_train.jsonl", joint_train
    yield "joint_valid.jsonl", valid.questions("joint", settings.valid_rows, large)
    yield "eval.jsonl", evaluation(settings.eval_rows)
    documents = [row for split in splits for row in split.documents()]
    yield "documents.jsonl", documents


def write_rows(path: Path, rows: List[dict]) -> None:
    """The file appears whole or not at all."""
    temporary = path.with_name(path.name + ".part")
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    try:
        temporary.write_bytes(text.encode("utf-8"))
        os.replace(temporary, path)
    finally:
        if temporary.exists():
            temporary.unlink()


def summary(name: str, rows: List[dict]) -> Tuple[str, ...]:
    texts = [text for row in rows for text in (row["docs"] if "docs" in row else [row["text"]])]
    mean = sum(len(text.split()) for text in texts) / max(len(texts), 1)
    two_hop = [row for row in rows if row.get("question_type") in ("bridge", "comparison")]
    share_text = f"{len(two_hop) / len(rows):.0%}" if rows and "question_type" in rows[0] else "-"
    return name, f"{len(rows):,}", f"{mean:.1f}", f"{len(set(texts)):,}", share_text


def print_table(lines: List[Tuple[str, ...]]) -> None:
    header = ("file", "rows", "words/document", "distinct documents", "two-hop")
    widths = [max(len(line[i]) for line in [header] + lines) for i in range(len(header))]
    for line in [header] + lines:
        cells = [line[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:])]
        print("  ".join(cells).rstrip())


def main(arguments: List[str]) -> int:
    settings = parse_arguments(arguments)
    try:
        settings.out.mkdir(parents=True, exist_ok=True)
        lines = []
        for name, rows in files(settings):
            rows = list(rows)
            write_rows(settings.out / name, rows)
            lines.append(summary(name, rows))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {settings.out}: cannot be written: {error}", file=sys.stderr)
        return 3
    print_table(lines)
    if not settings.samples:
        of_joint = f"{settings.joint_entities:,} of joint training, "
        print(
            f"things: {settings.train_entities:,} of training, "
            f"{of_joint if settings.joint_entities else ''}{settings.heldout_entities:,} of "
            f"validation, {settings.heldout_entities:,} of evaluation; seed {settings.seed}; "
            f"{settings.max_document_tokens_hint} documents"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
