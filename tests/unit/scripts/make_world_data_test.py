#!/usr/bin/env python3
"""Laws of scripts/make_world_data.py, read off the files that it writes: python FILE.

The documents with their facts (documents.jsonl) are the key by which questions are checked; nothing
is taken from the generator's own bookkeeping but the wordings of yes/no questions.
"""

import collections
import contextlib
import io
import json
import re
import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
PROJECT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(PROJECT / "scripts"))

import make_world_data  # noqa: E402
import world_relations as wr  # noqa: E402
from world_documents import DocumentWriter  # noqa: E402
from world_entities import WorldBuilder  # noqa: E402
from world_names import Draw  # noqa: E402
from world_questions import Corpus  # noqa: E402

SMALL = [
    "--scp-rows=300", "--tune-rows=150", "--joint-rows=240", "--valid-rows=60", "--eval-rows=120",
    "--train-entities=500", "--heldout-entities=260",
]  # fmt: skip
FEW = [
    "--scp-rows=0", "--tune-rows=0", "--joint-rows=0", "--valid-rows=0", "--eval-rows=9",
    "--train-entities=60", "--heldout-entities=60",
]  # fmt: skip
TRAIN_FILES = ("scp_train.jsonl", "tune_train.jsonl", "joint_train.jsonl")
VALID_FILES = ("scp_valid.jsonl", "tune_valid.jsonl", "joint_valid.jsonl")
QUESTION_FILES = (
    "tune_train.jsonl", "tune_valid.jsonl", "joint_train.jsonl", "joint_valid.jsonl", "eval.jsonl",
)  # fmt: skip
TRAINED_QUESTIONS = ("tune_train.jsonl", "joint_train.jsonl")
ORDER_KEY = {kind: ordering[0] for kind, ordering in wr.ORDERINGS.items()}
THING_KEYS = {relation.key for relation in wr.RELATIONS if relation.phrases}


def run(*arguments):
    """Exit code, what was printed, error text."""
    printed, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(errors):
        try:
            code = make_world_data.main(list(arguments))
        except SystemExit as stop:
            code = stop.code
    return code, printed.getvalue(), errors.getvalue()


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def words(text):
    return re.findall(r"[^\W_]+", text.replace(",", "").lower())


def contains(text, part):
    """Whether the words of `part` stand one after another in `text`."""
    return f" {' '.join(words(part))} " in f" {' '.join(words(text))} "


def texts_of(row):
    """Every string of a row."""
    for value in row.values():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, str):
                yield item


def answers_of(row):
    return row["answers"] if "answers" in row else [row["answer"]]


class WorldData(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.root = Path(cls.folder.name)
        cls.data, cls.printed = {}, {}
        for length in ("full", "short"):
            out = cls.root / length
            code, printed, errors = run(
                f"--out={out}", f"--max-document-tokens-hint={length}", *SMALL
            )
            assert code == 0, errors
            cls.printed[length] = printed
            cls.data[length] = {path.name: read(path) for path in sorted(out.glob("*.jsonl"))}
        cls.files = cls.data["full"]
        cls.documents = {row["text"]: row for row in cls.files["documents.jsonl"]}

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def gold(self, row):
        return [self.documents[row["docs"][i]] for i in row["pos_index"]]

    def others(self, row):
        return [
            self.documents[text] for i, text in enumerate(row["docs"]) if i not in row["pos_index"]
        ]

    def question_rows(self, *types, names=QUESTION_FILES):
        rows = [
            row
            for name in names
            for row in self.files[name]
            if not types or row["question_type"] in types
        ]
        self.assertGreater(len(rows), 30)
        return rows

    # Files ------------------------------------------------------------------------------------

    def test_a_seed_means_the_same_bytes_and_another_seed_others(self):
        for seed, equal in ((17, True), (18, False)):
            again = self.root / f"again_{seed}"
            self.assertEqual(run(f"--out={again}", f"--seed={seed}", *SMALL)[0], 0)
            for path in sorted((self.root / "full").iterdir()):
                same = path.read_bytes() == (again / path.name).read_bytes()
                self.assertEqual(same, equal, path.name)

    def test_the_size_of_one_file_does_not_change_another(self):
        again = self.root / "fewer_scp"
        self.assertEqual(run(f"--out={again}", *SMALL, "--scp-rows=7", "--tune-rows=3")[0], 0)
        self.assertEqual(len(read(again / "scp_train.jsonl")), 7)
        for name in ("joint_train.jsonl", "eval.jsonl", "documents.jsonl"):
            self.assertEqual(
                (again / name).read_bytes(), (self.root / "full" / name).read_bytes(), name
            )

    def test_brief_documents_come_in_scp_training_rows_alone_and_every_row_asks_or_retells(self):
        brief = self.root / "brief"
        self.assertEqual(run(f"--out={brief}", *SMALL, "--brief-share=1")[0], 0)
        for path in sorted((self.root / "full").iterdir()):
            same = path.read_bytes() == (brief / path.name).read_bytes()
            self.assertEqual(same, path.name != "scp_train.jsonl", path.name)
        rows = read(brief / "scp_train.jsonl")
        lengths = sorted(len(row["docs"][0].split()) for row in rows)
        self.assertLess(lengths[len(rows) // 2], 20)  # half of them are shorter than any other
        copies = 0
        for row in rows:
            if row["data_type"] == "qa":
                self.assert_texts(row["question"], len(row["answers"]))
            else:
                self.assert_texts(row["answers"])
                copies += row["answers"] == row["docs"]
        paraphrases = sum(row["data_type"] == "paraphrase" for row in rows)
        self.assertLess(copies, 0.5 * paraphrases)  # 0.3 are asked for

    def test_told_documents_come_in_tune_and_joint_training_rows_alone(self):
        told = self.root / "told"
        self.assertEqual(run(f"--out={told}", *SMALL, "--tell-share=0.5")[0], 0)
        for path in sorted((self.root / "full").iterdir()):
            same = path.read_bytes() == (told / path.name).read_bytes()
            self.assertEqual(same, path.name not in TRAINED_QUESTIONS, path.name)
        for name in TRAINED_QUESTIONS:
            rows = read(told / name)
            types = collections.Counter(row["question_type"] for row in rows)
            self.assertEqual(types["bridge"] + types["comparison"], round(len(rows) * 0.4))
            self.assertAlmostEqual(types["tell"], types["one_hop"], delta=1)
            for row in rows:
                if row["question_type"] == "tell":
                    (index,) = row["pos_index"]
                    self.assertEqual(answers_of(row), [row["docs"][index]])
                    name_asked_for = self.documents[row["docs"][index]]["name"]
                    self.assertIn(name_asked_for, row["question"])

    def test_joint_training_may_have_a_world_of_its_own(self):
        out = self.root / "joint_world"
        code, printed, errors = run(f"--out={out}", *SMALL, "--joint-entities=300")
        self.assertEqual(code, 0, errors)
        self.assertIn("500 of training, 300 of joint training, 260 of validation", printed)
        for path in sorted((self.root / "full").iterdir()):
            same = path.read_bytes() == (out / path.name).read_bytes()
            self.assertEqual(
                same, path.name not in ("joint_train.jsonl", "documents.jsonl"), path.name
            )
        documents = read(out / "documents.jsonl")
        told = {row["text"] for row in documents if row["split"] == "joint"}
        self.assertEqual(len(told), 300)
        names = {row["name"] for row in documents if row["split"] == "joint"}
        others = {row["name"] for row in documents if row["split"] != "joint"}
        self.assertEqual(names & others, set())
        for row in read(out / "joint_train.jsonl"):
            self.assertLessEqual(set(row["docs"]), told)
        code, _, errors = run(f"--out={out}", *SMALL, "--joint-entities=3")
        self.assertEqual(code, 2)
        self.assertIn("--joint-entities: expected 0 or a whole number", errors)

    def test_the_samples_of_the_repository_are_made_by_the_generator(self):
        out = self.root / "samples"
        self.assertEqual(run(f"--out={out}", "--samples")[0], 0)
        committed = PROJECT / "data" / "samples"
        names = sorted(path.name for path in out.iterdir())
        self.assertEqual(names, sorted(path.name for path in committed.iterdir()))
        for name in names:
            self.assertEqual((out / name).read_bytes(), (committed / name).read_bytes(), name)

    def test_numbers_of_rows_are_those_asked_for(self):
        counts = {name: len(rows) for name, rows in self.files.items()}
        self.assertEqual(
            counts,
            {
                "scp_train.jsonl": 300, "tune_train.jsonl": 150, "joint_train.jsonl": 240,
                "scp_valid.jsonl": 60, "tune_valid.jsonl": 60, "joint_valid.jsonl": 60,
                "eval.jsonl": 120, "documents.jsonl": 500 + 260 + 260,
            },
        )  # fmt: skip

    def test_a_table_tells_what_was_written(self):
        self.assertRegex(self.printed["full"], r"(?m)^joint_train.jsonl +240 +\d+\.\d +\d+ +40%$")

    def test_bad_arguments_are_named(self):
        for argument, message in (
            ("--copy-share=1.5", "--copy-share: expected a number from 0 to 1, found 1.5"),
            ("--candidates=2", "--candidates: expected a whole number >= 5, found 2"),
            ("--train-entities=9", "--train-entities: expected a whole number >= 60, found 9"),
            ("--eval-rows=many", "--eval-rows: invalid whole number value: 'many'"),
        ):
            code, _, errors = run(f"--out={self.root / 'bad'}", argument)
            self.assertEqual(code, 2, argument)
            self.assertIn(message, errors)
        self.assertFalse((self.root / "bad").exists())

    def test_too_few_entities_for_the_candidates_or_questions_are_an_error(self):
        code, _, errors = run(f"--out={self.root / 'few'}", *FEW, "--candidates=64")
        self.assertEqual(code, 2)
        self.assertIn("ask for more entities", errors)

    def test_an_output_folder_that_cannot_be_made_is_an_error(self):
        file = self.root / "a_file"
        file.write_text("x")
        code, _, errors = run(f"--out={file / 'folder'}", *SMALL)
        self.assertEqual(code, 3)
        self.assertIn("cannot be written", errors)

    # Rows -------------------------------------------------------------------------------------

    def assert_text(self, value):
        self.assertIsInstance(value, str)
        self.assertTrue(value.strip())

    def assert_texts(self, value, count=None):
        self.assertIsInstance(value, list)
        self.assertTrue(value)
        if count is not None:
            self.assertEqual(len(value), count)
        for item in value:
            self.assert_text(item)

    def test_scp_rows_obey_the_record_format(self):
        for name in ("scp_train.jsonl", "scp_valid.jsonl"):
            for row in self.files[name]:
                self.assert_texts(row["docs"], 1)
                self.assert_texts(row["answers"])
                if row["data_type"] == "qa":
                    self.assert_texts(row["question"], len(row["answers"]))
                else:
                    self.assertEqual(row["data_type"], "paraphrase")
                    self.assertNotIn("question", row)

    def test_question_rows_obey_the_record_format(self):
        for name in QUESTION_FILES:
            for row in self.files[name]:
                self.assert_text(row["question"])
                self.assert_texts(row["docs"], 5 if name.startswith("tune") else 20)
                self.assertEqual(len(set(row["docs"])), len(row["docs"]))
                self.assert_texts(answers_of(row))
                self.assertEqual("answer" in row, name.startswith("tune"))
                self.assertEqual(len(set(row["pos_index"])), len(row["pos_index"]))
                for index in row["pos_index"]:
                    self.assertIn(index, range(len(row["docs"])))
                self.assertEqual(
                    len(row["pos_index"]), 1 if row["question_type"] == "one_hop" else 2
                )
        ids = [row["id"] for row in self.files["eval.jsonl"]]
        self.assertEqual(len(set(ids)), len(ids))

    def test_documents_keep_to_the_bounds_of_length_and_vary(self):
        for length, most_words in (("full", 140), ("short", 60)):
            files = self.data[length]
            rows = [row for name in files for row in files[name]]
            texts = {text for row in rows for text in row.get("docs", [])}
            texts |= {row["text"] for row in files["documents.jsonl"]}
            sizes = sorted(len(text.split()) for text in texts)
            self.assertGreaterEqual(sizes[0], 20)
            self.assertLessEqual(sizes[-1], most_words)
            self.assertGreater(sizes[-len(sizes) // 10], 1.4 * sizes[len(sizes) // 10])

    def test_documents_begin_with_their_thing_and_state_its_facts(self):
        for document in self.documents.values():
            text, name = document["text"], document["name"]
            self.assertTrue(text.startswith((name, "The " + name)), text)
            self.assertGreaterEqual(len(document["facts"]), 2)
            for value in document["facts"].values():
                self.assertIn(value, text)
            self.assertNotRegex(text, r"\b(by|to) (he|she)\b")
            self.assertNotIn("{", text)

    def test_wordings_of_a_fact_vary(self):
        patterns = collections.defaultdict(set)
        for document in self.documents.values():
            for key, value in document["facts"].items():
                for sentence in re.split(r"(?<=\.) ", document["text"]):
                    if value in sentence:
                        gap = sentence.replace(value, "#").replace(document["name"], "@")
                        patterns[document["kind"], key].add(gap)
        for relation in wr.RELATIONS:
            self.assertGreaterEqual(len(patterns[relation.kind, relation.key]), 3, relation.key)

    # SCP --------------------------------------------------------------------------------------

    def scp_rows(self, kind):
        return [row for row in self.files["scp_train.jsonl"] if row["data_type"] == kind]

    def test_scp_answers_stand_in_the_document_and_not_in_the_question(self):
        num_of_two = 0
        for row in self.scp_rows("qa"):
            for question, answer in zip(row["question"], row["answers"]):
                parts = [answer]
                if " and " in answer and re.match("What (are|were) the .* and the ", question):
                    num_of_two += 1
                    parts = min(
                        ([answer[: m.start()], answer[m.end() :]]
                         for m in re.finditer(" and ", answer)),
                        key=lambda pair: sum(part not in row["docs"][0] for part in pair),
                    )  # fmt: skip
                for part in parts:
                    self.assertIn(part, row["docs"][0], question)
                    self.assertFalse(contains(question, part), (question, part))
                self.assertRegex(question, r"^[A-Z].*\?$")
        self.assertGreater(num_of_two, 10)

    def test_complex_questions_join_two_facts_and_simple_ones_name_the_thing(self):
        simple = complex_ = 0
        for row in self.scp_rows("qa"):
            document = row["docs"][0]
            for question in row["question"]:
                starts = [i for i in range(3, len(document)) if document[:i] in question]
                named = bool(starts)
                pair = question.startswith(("What are the ", "What were the "))
                if named and not pair:
                    simple += 1
                else:
                    complex_ += 1
        self.assertGreater(simple, 300)
        self.assertGreater(complex_, 80)

    def test_paraphrases_hold_the_same_names_and_numbers_in_other_words(self):
        common = wr.ordinary_words()

        def particulars(text):
            found = re.findall(r"[A-Z][a-z]+|\d[\d,]*", text)
            return {f.rstrip(",") for f in found if f.lower() not in common and len(f) > 3}

        rewritten = [r for r in self.scp_rows("paraphrase") if r["answers"] != r["docs"]]
        self.assertGreater(len(rewritten), 50)
        for row in rewritten:
            for answer in row["answers"]:
                self.assertEqual(particulars(answer), particulars(row["docs"][0]))
                kept = set(answer.split(". ")) & set(row["docs"][0].split(". "))
                self.assertLessEqual(len(kept), len(row["docs"][0].split(". ")) // 2)

    def test_the_copy_share_is_kept(self):
        for share in (0.0, 0.3, 1.0):
            out = self.root / f"copy_{share}"
            run(f"--out={out}", *FEW, "--scp-rows=100", f"--copy-share={share}",
                "--paraphrase-share=0.5")  # fmt: skip
            rows = [r for r in read(out / "scp_train.jsonl") if r["data_type"] == "paraphrase"]
            self.assertEqual(len(rows), 50)
            copies = sum(row["answers"] == row["docs"] for row in rows)
            self.assertEqual(copies, round(50 * share))

    # Splits -----------------------------------------------------------------------------------

    def test_no_name_of_a_held_out_thing_is_in_a_training_row(self):
        def all_text(names):
            return "\n".join(t for name in names for row in self.files[name] for t in texts_of(row))

        names = collections.defaultdict(set)
        for document in self.documents.values():
            names[document["split"]].add(document["name"])
        self.assertEqual(set(names), {"train", "valid", "eval"})
        sides = {
            "train": all_text(TRAIN_FILES), "valid": all_text(VALID_FILES),
            "eval": all_text(["eval.jsonl"]),
        }  # fmt: skip
        for split, text in sides.items():
            # The names are really looked for where they must be …
            found = sum(name in text for name in names[split])
            self.assertGreater(found, 0.8 * len(names[split]), split)
            # … and found nowhere else, not even inside of another word.
            for other in names:
                if other != split:
                    self.assertEqual([name for name in names[other] if name in text], [])

    def test_families_towns_and_firms_of_different_splits_share_no_word(self):
        roots = collections.defaultdict(set)
        ordinary = wr.ordinary_words() | {word.lower() for word in wr.TOWN_PREFIXES}
        for document in self.documents.values():
            if document["kind"] in ("person", "town", "firm", "event"):
                parts = document["name"].split()
                parts = parts[1:] if document["kind"] == "person" else parts
                roots[document["split"]] |= {p for p in parts if p.lower() not in ordinary}
        for one, two in (("train", "valid"), ("train", "eval"), ("valid", "eval")):
            self.assertLessEqual(roots[one] & roots[two], {"&"})

    # Questions --------------------------------------------------------------------------------

    def test_no_answer_stands_in_its_question(self):
        for row in self.question_rows():
            for answer in answers_of(row):
                self.assertFalse(contains(row["question"], answer), answer)
            self.assertLessEqual(len(answers_of(row)[0].split()), 6)

    def test_questions_are_asked_once_in_a_file(self):
        for name in QUESTION_FILES:
            questions = [row["question"] for row in self.files[name]]
            self.assertEqual(len(set(questions)), len(questions), name)

    def test_a_one_hop_question_is_about_the_gold_document_which_holds_the_answer(self):
        num_described = 0
        for row in self.question_rows("one_hop"):
            (gold,) = self.gold(row)
            answer = answers_of(row)[0]
            self.assertIn(answer, gold["text"])
            self.assertIn(answer, list(gold["facts"].values()) + [gold["name"]])
            if gold["name"] not in row["question"]:
                num_described += 1
                said = [v for v in gold["facts"].values() if contains(row["question"], v)]
                self.assertGreaterEqual(len(said), 2, gold)
        self.assertGreater(num_described, 20)

    def test_no_distractor_of_a_one_hop_question_answers_it(self):
        for row in self.question_rows("one_hop"):
            (gold,) = self.gold(row)
            answer = answers_of(row)[0]
            said = {k: v for k, v in gold["facts"].items() if contains(row["question"], v)}
            is_named = gold["name"] in row["question"]
            for other in self.others(row):
                if other["name"] == answer:
                    self.assertFalse(self.is_reversed(gold, answer, other), row["question"])
                if not is_named and other["kind"] == gold["kind"]:
                    fits = all(other["facts"].get(k) == v for k, v in said.items())
                    self.assertFalse(fits, (row["question"], other["text"]))

    def test_a_bridge_question_needs_both_documents(self):
        for row in self.question_rows("bridge"):
            head, tail = self.gold(row)
            answer = answers_of(row)[0]
            self.assertIn(head["name"], row["question"])
            self.assertNotIn(tail["name"], row["question"])
            self.assertIn(tail["name"], head["facts"].values())
            self.assertIn(answer, tail["facts"].values())
            for alias in answers_of(row):
                self.assertFalse(contains(head["text"], alias), row["question"])
            self.assertNotIn(head["name"], tail["text"])

    def test_no_distractor_of_a_bridge_question_replaces_a_gold_document(self):
        for row in self.question_rows("bridge"):
            head, tail = self.gold(row)
            answer = answers_of(row)[0]
            for other in self.others(row):
                self.assertNotIn(other["name"], (head["name"], tail["name"]))
                if other["name"] == answer:
                    self.assertFalse(self.is_reversed(tail, answer, other), row["question"])

    def is_reversed(self, thing, value, other):
        """Whether `other`, the document of `value`, states a fact of `thing` from its own side."""
        keys = [key for key, text in thing["facts"].items() if text == value]
        backward = {wr.RELATION[thing["kind"], key].inverse_of for key in keys}
        return any(
            name == thing["name"]
            and (key in backward or wr.RELATION[other["kind"], key].inverse_of in keys)
            for key, name in other["facts"].items()
        )

    def test_a_comparison_needs_both_documents_and_its_answer_is_right(self):
        num_yes_no = num_ordered = 0
        for row in self.question_rows("comparison"):
            first, last = self.gold(row)
            question, answer = row["question"], answers_of(row)[0]
            self.assertEqual(first["kind"], last["kind"])
            for document in (first, last):
                self.assertIn(document["name"], question)
            if answer in ("yes", "no"):
                num_yes_no += 1
                keys = [
                    key
                    for kind, key, wording in wr.ALIKE
                    if kind == first["kind"] and question.endswith(wording.split("{b}")[1])
                ]
                self.assertEqual(len(keys), 1, question)
                same = first["facts"][keys[0]] == last["facts"][keys[0]]
                self.assertEqual(same, answer == "yes", question)
                continue
            num_ordered += 1
            years = [int(d["facts"][ORDER_KEY[d["kind"]]]) for d in (last, first)]
            wants_smaller = bool(re.search(r"\b(older|earlier) of\b", question))
            self.assertNotEqual(wants_smaller, bool(re.search(r"\b(younger|later) of\b", question)))
            self.assertEqual(years[0] < years[1], wants_smaller)
            self.assertIn(answer, last["facts"].values())
            for alias in answers_of(row):
                self.assertFalse(contains(first["text"], alias))
        self.assertGreater(num_yes_no, 10)
        self.assertGreater(num_ordered, 30)

    def test_short_cuts_are_refused_in_all_of_many_draws(self):
        draw = Draw(3, "many draws")
        world = WorldBuilder(3).build("train", 400)
        for person in world.of_kind("person"):  # "Where was the person who settled in Belmar born?"
            person.facts["residence"] = person.facts["birthplace"]
        writer = DocumentWriter(world, draw, "full")
        corpus = Corpus(world, [writer.write(entity) for entity in world.entities])
        counts = collections.Counter()
        for entity in corpus.world.entities * 8:
            for type_ in ("one_hop", "bridge", "comparison"):
                question = corpus.question(entity, type_, draw)
                if question is None:
                    continue
                counts[type_] += 1
                first = corpus.documents[question.gold[0]].text
                for answer in question.answers:
                    self.assertFalse(contains(question.text, answer), question)
                    if type_ != "one_hop":
                        self.assertFalse(contains(first, answer), question)
        self.assertGreater(min(counts.values()), 1000)

    # Candidates -------------------------------------------------------------------------------

    def looks_like(self, one, other):
        """Shares a word of the name but for one vowel, or one of the documents names the other or
        both name the same thing."""

        def pattern(document):
            found = set(document["name"].lower().split()) - {"the", "and", "&"}
            for word in sorted(found):
                vowels = [i for i, letter in enumerate(word) if letter in "aeiou"]
                found |= {word[:i] + "*" + word[i + 1 :] for i in vowels}
            return found

        def things(document):
            named = {v for k, v in document["facts"].items() if k in THING_KEYS}
            return named | {document["name"]}

        return bool(pattern(one) & pattern(other)) or bool(things(one) & things(other))

    def test_distractors_share_a_name_or_the_relation(self):
        of_candidates = ("joint_train.jsonl", "joint_valid.jsonl", "eval.jsonl")
        for row in self.question_rows(names=of_candidates):
            gold, others = self.gold(row), self.others(row)
            near = [o for o in others if any(self.looks_like(g, o) for g in gold)]
            self.assertGreaterEqual(len(near), len(others) // 4)
            for other in others:
                shared = [
                    g for g in gold
                    if g["kind"] == other["kind"] and set(g["facts"]) & set(other["facts"])
                ]  # fmt: skip
                self.assertTrue(shared or other in near, other["text"])

    def test_the_place_of_the_gold_document_is_drawn_uniformly(self):
        places = collections.Counter(
            index
            for name in ("joint_train.jsonl", "eval.jsonl", "joint_valid.jsonl")
            for row in self.files[name]
            for index in row["pos_index"]
        )
        expected = sum(places.values()) / 20
        chi_square = sum((places[i] - expected) ** 2 / expected for i in range(20))
        self.assertLess(chi_square, 43.8)  # 19 degrees of freedom, p = 0.001

    def test_types_of_questions_and_answers_are_mixed(self):
        rows = list(self.question_rows(names=("joint_train.jsonl",)))
        types = collections.Counter(row["question_type"] for row in rows)
        self.assertEqual(types["one_hop"], round(0.6 * len(rows)))
        self.assertGreater(types["bridge"], types["comparison"])
        self.assertGreater(types["comparison"], 20)
        kinds = {row["answer_kind"] for row in rows}
        self.assertLessEqual(
            {"category", "person", "town", "firm", "year", "number", "name", "yes_no"}, kinds
        )


if __name__ == "__main__":
    unittest.main()
