"""Questions about the fictional world, their gold documents, and hard distractors, none of which
answers the question."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, FrozenSet, List, Optional, Tuple

import world_relations as wr
from world_documents import Document, capitalised, fill, verbs_of
from world_entities import Entity, Value, World, triple
from world_names import Draw

_DESCRIBED_SHARE = 0.3  # of one-hop questions: the thing is described instead of named
_YES_NO_SHARE = 0.3  # of comparison questions
_TELLING = ("What is known about {s}?", "What is told about {s}?", "Tell me about {s}.")
_NEAR_SHARE = 0.5  # of distractors: those that share a name; the rest share the relation
Facts = Tuple[Tuple[str, str], ...]  # (key, text of the value)

_EMPTY_WORDS = ("The", "the", "and", "&")


@dataclass(frozen=True)
class Question:
    text: str
    type: str  # one_hop, bridge, comparison, tell
    answer_kind: str
    answers: Tuple[str, ...]  # the answer, then its aliases
    # Ids of the things whose documents are needed; for a bridge in the order of the hops, for a
    # comparison the document that holds the answer is the last.
    gold: Tuple[int, ...]
    asked: Tuple[Tuple[str, str], ...]  # (kind, key) that the gold documents are needed for
    facts: FrozenSet[tuple]  # what no other candidate may state
    description: Tuple[str, Facts] = ("", ())  # kind and facts of a thing that is not named


def words_of(text: str) -> List[str]:
    """Lower-cased runs of letters and digits."""
    return "".join(c if c.isalnum() else " " for c in text.replace(",", "").lower()).split()


def contains(text: str, part: str) -> bool:
    """Whether the words of `part` stand one after another in `text`."""
    return f" {' '.join(words_of(part))} " in f" {' '.join(words_of(text))} "


def describe(entity: Entity, keys: List[str], draw: Draw) -> Tuple[str, Facts]:
    """A phrase like "the painter born in Belmar", and the facts that it says."""
    noun, said = entity.kind, []
    naming = {"person": "occupation", "work": "form"}.get(entity.kind)
    clues = []
    for key in keys:
        value = entity.facts[key]
        said.append((key, value.text))
        if key == naming:
            noun = value.text
        else:
            wording = draw.pick(wr.RELATION[entity.kind, key].clues)
            clues.append(fill(wording, "", "", value, entity.verbs))
    relative = ("who ", "whose ", "that ", "through which ", "where ")
    clues.sort(key=lambda clue: clue.startswith(relative))  # "born in Belmar who won …"
    are_relative = [clue.startswith(relative) for clue in clues]
    joint = " and " if len(set(are_relative)) == 1 else " "
    return f"the {noun} {joint.join(clues)}".rstrip(), tuple(said)


def ask(relation: wr.Relation, subject: str, verbs, draw: Draw) -> str:
    wording = draw.pick(relation.questions)
    return capitalised(wording.format(s=subject, made=verbs[0], made_by=verbs[1]))


def gives_answer_away(question: str, answers) -> bool:
    return any(contains(question, answer) for answer in answers)


class Corpus:
    """One document for each thing of a world, and the questions that they answer."""

    def __init__(self, world: World, documents: List[Document]):
        self.world = world
        self.documents = documents  # by entity id
        self._stated: List[FrozenSet[tuple]] = [
            frozenset(triple(world, document.entity, key) for key in document.stated)
            for document in documents
        ]
        self._having: Dict[tuple, List[int]] = {}  # (kind, key, value) → things, stated or not
        self._stating: Dict[Tuple[str, str], List[int]] = {}
        self._sharing: Dict[object, List[int]] = {}  # words of names, and things that are mentioned
        for document in documents:
            entity = document.entity
            for key, value in entity.facts.items():
                self._having.setdefault((entity.kind, key, value.text), []).append(entity.id)
            for key in document.stated:
                self._stating.setdefault((entity.kind, key), []).append(entity.id)
            for mark in self.marks(entity.id):
                self._sharing.setdefault(mark, []).append(entity.id)

    def marks(self, entity_id: int) -> List[object]:
        """What makes documents look alike: the words of the name, also with one vowel left open
        (Belmar and Belmor share "belm*r"), and the things that the document names."""
        document = self.documents[entity_id]
        marks: List[object] = [("thing", entity_id)]
        for word in document.entity.name.split():
            if word in _EMPTY_WORDS:
                continue
            text = word.lower()
            marks.append(("word", text))
            marks += [
                ("word", text[:i] + "*" + text[i + 1 :])
                for i in range(1, len(text))
                if len(text) >= 5 and text[i] in "aeiou"
            ]
        for key in document.stated:
            value = document.entity.facts[key]
            if value.entity is not None:
                marks.append(("thing", value.entity))
        return list(dict.fromkeys(marks))

    def is_stated(self, entity: Entity, key: str) -> bool:
        return key in self.documents[entity.id].stated

    def satisfies(self, entity_id: int, question: Question) -> bool:
        """Whether the document of this thing alone states a fact that the question is about, or is
        about another thing that fits the description."""
        if self._stated[entity_id] & question.facts:
            return True
        kind, said = question.description
        entity = self.world.entities[entity_id]
        return entity.kind == kind and all(
            key in entity.facts and entity.facts[key].text == value for key, value in said
        )

    # Questions ----------------------------------------------------------------------------------

    def question(self, entity: Entity, type_: str, draw: Draw) -> Optional[Question]:
        """A question that starts from this thing, or None where this draw led to none."""
        if type_ == "bridge":
            return self._bridge(entity, draw)
        if type_ == "comparison":
            if draw.chance(_YES_NO_SHARE):
                return self._yes_no(entity, draw)
            return self._ordered(entity, draw)
        if type_ == "tell":
            return self._tell(entity, draw)
        if draw.chance(_DESCRIBED_SHARE):
            return self._described(entity, draw)
        return self._named(entity, draw)

    def _named(self, entity: Entity, draw: Draw) -> Optional[Question]:
        key = draw.pick(self.documents[entity.id].stated)
        relation = wr.RELATION[entity.kind, key]
        value = entity.facts[key]
        text = ask(relation, entity.mention, verbs_of(self.world, entity, value), draw)
        fact = frozenset([triple(self.world, entity, key)])
        return self._checked(text, "one_hop", relation, value, (entity.id,), fact)

    def _tell(self, entity: Entity, draw: Draw) -> Question:
        """Asks for all that is known of a thing: the answer is its document."""
        document = self.documents[entity.id]
        text = draw.pick(_TELLING).format(s=entity.mention)
        asked = ((entity.kind, draw.pick(document.stated)),)
        return Question(
            text, "tell", "text", (document.text,), (entity.id,), asked, frozenset()
        )

    def _described(self, entity: Entity, draw: Draw) -> Optional[Question]:
        document = self.documents[entity.id]
        keys = draw.shuffled(document.stated)
        clues, asked = keys[:2], keys[2:]
        subject, said = describe(entity, clues, draw)
        if len(self._all_with(entity.kind, said)) > 1:
            return None
        if not asked or draw.chance(0.3):
            relation = wr.RELATION[entity.kind, clues[0]]
            value = Value(entity.name, entity.mention, entity.aliases, entity.id)
            verb = "was" if entity.kind in ("person", "event") else "is"
            text = f"What {verb} the name of {subject}?"
            kind = entity.kind
        else:
            relation = wr.RELATION[entity.kind, asked[0]]
            value = entity.facts[asked[0]]
            text = ask(relation, subject, verbs_of(self.world, entity, value), draw)
            kind = relation.answer_kind
        keys_used = clues if not asked else clues + asked[:1]
        facts = frozenset(triple(self.world, entity, key) for key in keys_used)
        question = self._checked(text, "one_hop", relation, value, (entity.id,), facts, kind)
        if question is None:
            return None
        return Question(**{**question.__dict__, "description": (entity.kind, said)})

    def _bridge(self, head: Entity, draw: Draw) -> Optional[Question]:
        world = self.world
        first_keys = [
            key
            for key in self.documents[head.id].stated
            if wr.RELATION[head.kind, key].phrases
        ]
        if not first_keys:
            return None
        first_key = draw.pick(first_keys)
        first = wr.RELATION[head.kind, first_key]
        middle = head.facts[first_key]
        tail = world.entities[middle.entity]
        second_key = draw.pick(self.documents[tail.id].stated)
        second = wr.RELATION[tail.kind, second_key]
        value = tail.facts[second_key]
        phrase = draw.pick(first.phrases).format(
            s=head.mention, made=verbs_of(world, head, middle)[0]
        )
        text = ask(second, phrase, verbs_of(world, tail, value), draw)
        facts = frozenset([triple(world, head, first_key), triple(world, tail, second_key)])
        head_text = self.documents[head.id].text
        # Both documents must be needed: the first lacks the answer, the second the question's name.
        is_short_cut = (
            len(facts) < 2
            or any(contains(head_text, answer) for answer in (value.text,) + value.aliases)
            or contains(self.documents[tail.id].text, head.name)
            or contains(text, tail.name)
        )
        if is_short_cut:
            return None
        asked = ((head.kind, first_key), (tail.kind, second_key))
        return self._checked(
            text, "bridge", second, value, (head.id, tail.id), facts, asked=asked
        )

    def _ordered(self, entity: Entity, draw: Draw) -> Optional[Question]:
        order_key, smaller, larger = wr.ORDERINGS[entity.kind]
        keys = [key for key in self.documents[entity.id].stated if key != order_key]
        if not self.is_stated(entity, order_key) or not keys:
            return None
        key = draw.pick(keys)
        others = [
            other
            for other in self._similar(entity, draw)
            if self.is_stated(other, order_key)
            and self.is_stated(other, key)
            and other.facts[order_key].text != entity.facts[order_key].text
            and other.facts[key].text != entity.facts[key].text
        ]
        if not others:
            return None
        other = others[0]
        pair = sorted((entity, other), key=lambda one: int(one.facts[order_key].text))
        wording = draw.pick((smaller, larger))
        answering, rest = pair if wording == smaller else pair[::-1]
        value = answering.facts[key]
        one, two = draw.shuffled(pair)
        subject = wording.format(a=one.mention, b=two.mention)
        verbs = verbs_of(self.world, answering, value)
        if verbs != verbs_of(self.world, rest, rest.facts[key]):
            verbs = ("created", "created")  # "painted" would tell which one is meant
        relation = wr.RELATION[entity.kind, key]
        text = ask(relation, subject, verbs, draw)
        if any(
            contains(self.documents[rest.id].text, answer)
            for answer in (value.text,) + value.aliases
        ):
            return None
        facts = frozenset(
            triple(self.world, thing, fact) for thing in pair for fact in (order_key, key)
        )
        asked = ((entity.kind, order_key), (entity.kind, key))
        gold = (rest.id, answering.id)
        return self._checked(text, "comparison", relation, value, gold, facts, asked=asked)

    def _yes_no(self, entity: Entity, draw: Draw) -> Optional[Question]:
        choices = [
            (key, wording)
            for kind, key, wording in wr.ALIKE
            if kind == entity.kind and self.is_stated(entity, key)
        ]
        if not choices:
            return None
        key, wording = draw.pick(choices)
        value = entity.facts[key]
        is_alike = draw.chance(0.5)
        pool = (
            [self.world.entities[i] for i in self._having[entity.kind, key, value.text]]
            if is_alike
            else self._similar(entity, draw)
        )
        others = [
            other
            for other in draw.shuffled(pool)
            if other is not entity
            and self.is_stated(other, key)
            and (other.facts[key].text == value.text) == is_alike
        ]
        if not others:
            return None
        pair = draw.shuffled((entity, others[0]))
        text = capitalised(wording.format(a=pair[0].mention, b=pair[1].mention))
        relation = wr.RELATION[entity.kind, key]
        answer = "yes" if is_alike else "no"
        facts = frozenset(triple(self.world, thing, key) for thing in pair)
        gold = tuple(thing.id for thing in pair)
        return self._checked(
            text, "comparison", relation, Value(answer, answer), gold, facts, "yes_no"
        )

    def _all_with(self, kind: str, said) -> List[int]:
        lists = [self._having[(kind, key, value)] for key, value in said]
        return [i for i in lists[0] if all(i in others for others in lists[1:])]

    def _similar(self, entity: Entity, draw: Draw) -> List[Entity]:
        """Things of the same kind, those that share a name or a thing first."""
        near = [i for mark in self.marks(entity.id) for i in self._sharing[mark]]
        near += draw.some(self._stating[entity.kind, self.documents[entity.id].stated[0]], 30)
        things = [self.world.entities[i] for i in dict.fromkeys(near) if i != entity.id]
        return [thing for thing in things if thing.kind == entity.kind]

    @staticmethod
    def _checked(
        text: str, type_: str, relation: wr.Relation, value: Value, gold: Tuple[int, ...],
        facts: FrozenSet[tuple], kind: str = "", asked=(),
    ) -> Optional[Question]:  # fmt: skip
        answers = (value.text,) + value.aliases
        if gives_answer_away(text, answers):
            return None
        asked = asked or ((relation.kind, relation.key),)
        return Question(text, type_, kind or relation.answer_kind, answers, gold, asked, facts)

    # Candidates ---------------------------------------------------------------------------------

    def distractors(self, question: Question, count: int, draw: Draw) -> List[int]:
        """Things whose documents share a name or the relation with the gold ones and yet say
        nothing that answers the question."""
        near = list(
            dict.fromkeys(
                i
                for gold in question.gold
                for mark in self.marks(gold)
                for i in self._sharing[mark]
            )
        )
        alike = list(
            dict.fromkeys(i for asked in question.asked for i in self._stating[asked])
        )
        chosen: List[int] = []

        def take(pool: List[int], most: int) -> None:
            for i in draw.shuffled(pool):
                if len(chosen) >= most:
                    return
                if i in question.gold or i in chosen or self.satisfies(i, question):
                    continue
                chosen.append(i)

        take(near, int(count * _NEAR_SHARE))
        take(alike, count)
        take(near, count)
        kinds = [kind for kind, _ in question.asked]
        take([thing.id for thing in self.world.entities if thing.kind in kinds], count)
        if len(chosen) < count:
            raise ValueError("too few documents for the candidates; ask for more entities")
        return chosen

    def candidates(self, question: Question, count: int, draw: Draw) -> Tuple[List[str], List[int]]:
        """Texts of the gold documents and distractors in random order, and where the gold are."""
        ids = list(question.gold)
        ids += self.distractors(question, count - len(ids), draw)
        order = draw.shuffled(ids)
        texts = [self.documents[i].text for i in order]
        return texts, [order.index(gold) for gold in question.gold]
