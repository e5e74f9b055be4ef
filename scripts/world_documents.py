"""Writes what is known of one thing of the fictional world as a document, in varied wordings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import FrozenSet, List, Tuple

import world_relations as wr
from world_entities import Entity, Value, World
from world_names import Draw

MIN_WORDS = 20
MAX_WORDS = 140
# By the estimate below, which is off by a few tokens: this leaves room to 30, 200 and 64.
MIN_TOKENS = 34
MAX_TOKENS = {"full": 190, "short": 58}
_MAX_REMARKS = 2
_TARGET_TOKENS = {"full": (36, 180), "short": (36, 56)}


@dataclass(frozen=True)
class Document:
    entity: Entity
    text: str
    stated: Tuple[str, ...]  # keys of the entity's facts, in the order of telling
    remarks: Tuple[int, ...] = ()
    openings: FrozenSet[str] = frozenset()  # wordings used, so that a paraphrase can avoid them


_COMMON = frozenset(wr.ordinary_words())


def estimate_tokens(text: str) -> int:
    """About what a byte-level BPE of GPT-2's kind makes of it, digits one by one. The weights are
    fitted to SmolLM2's tokenizer: invented names cost more than ordinary words."""
    count = 0.0
    for word in text.split():
        core = word.strip(".,").lower()
        count += len(word) - len(core)
        if core.endswith("'s"):
            core = core[:-2]
            count += 1
        if core[:1].isdigit():
            count += len(core) + 1
        elif len(core) < 4:
            count += 1
        elif core in _COMMON:
            count += 1.4 if len(core) >= 7 else 1
        else:
            count += 0.6 + 0.38 * len(core)
    return round(count)


def capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def possessive_of(mention: str) -> str:
    return mention + ("'" if mention.endswith("s") else "'s")


def plain(value: Value) -> str:
    """A thing as sentences call it ("the Belmar Regatta"), any other value without an article."""
    return value.text if value.entity is None else value.mention


def fill(wording: str, subject: str, possessive: str, value: Value, verbs) -> str:
    """A wording with its placeholders filled in."""
    return wording.format(
        S=capitalised(subject), s=subject, o={"he": "him", "she": "her"}.get(subject, subject),
        P=capitalised(possessive), v=plain(value), V=capitalised(value.mention), av=value.mention,
        made=verbs[0], made_by=verbs[1],
    )  # fmt: skip


def verbs_of(world: World, entity: Entity, value: Value) -> Tuple[str, str]:
    """wrote/written, from the work that the fact is about."""
    if entity.kind == "work" or value.entity is None:
        return entity.verbs
    return world.entities[value.entity].verbs


class DocumentWriter:
    """Writes documents of a world's things; `length` is "full" or "short"."""

    def __init__(self, world: World, draw: Draw, length: str):
        self._world = world
        self._draw = draw
        self._length = length

    def write(self, entity: Entity) -> Document:
        """A document with some of the entity's facts, of a length drawn from the range allowed."""
        draw = self._draw
        least, most = _TARGET_TOKENS[self._length]
        target = draw.between(least, most)
        keys = draw.shuffled(entity.facts)
        num_facts = 2
        num_remarks = 0
        for _ in range(1000):
            remarks = tuple(draw.some(range(len(wr.REMARKS[entity.kind])), num_remarks))
            document = self._told(entity, keys[:num_facts], remarks, frozenset())
            size = estimate_tokens(document.text)
            if size > MAX_TOKENS[self._length] or len(document.text.split()) > MAX_WORDS:
                if num_remarks > 0:
                    num_remarks -= 1
                elif num_facts > 2:
                    num_facts -= 1
                target = 0
                keys = draw.shuffled(keys)
                continue
            is_long_enough = size >= max(MIN_TOKENS, target)
            if is_long_enough and len(document.text.split()) >= MIN_WORDS:
                return document
            if num_facts < len(keys):
                num_facts += 1
            elif num_remarks < _MAX_REMARKS:
                num_remarks += 1
            elif size >= MIN_TOKENS and len(document.text.split()) >= MIN_WORDS:
                return document
        raise ValueError(f"no document of the right length can be written about {entity.name}")

    def write_brief(self, entity: Entity, num_facts: int) -> Document:
        """A document of so few of the entity's facts, in as many sentences or fewer."""
        return self._told(entity, self._draw.shuffled(entity.facts)[:num_facts], (), frozenset())

    def paraphrase(self, document: Document) -> Document:
        """The same facts and remarks in another order and, as far as there are any, other words."""
        for _ in range(20):
            order = self._draw.shuffled(document.stated)
            if order != list(document.stated):
                break
        return self._told(document.entity, order, document.remarks, document.openings)

    def _told(
        self, entity: Entity, keys: List[str], remarks: Tuple[int, ...], avoid: FrozenSet[str]
    ) -> Document:
        draw = self._draw
        used = set()
        sentences, stated = [], []
        openers = [
            opener
            for opener in wr.OPENERS
            if opener[0] == entity.kind and opener[1] in keys and opener[2] in keys
        ]
        fresh = [opener for opener in openers if opener[3] not in avoid]
        rest = list(keys)
        after = None  # the value that the sentence before ended with
        if fresh and draw.chance(0.6):
            _, first, second, wording = draw.pick(fresh)
            values = (entity.facts[first], entity.facts[second])
            sentences.append(self._opening(entity, wording, values))
            used.add(wording)
            stated += [first, second]
            rest = [key for key in keys if key not in stated]
            after = max(values, key=lambda value: value.entity is not None)
        for key in rest:
            value = entity.facts[key]
            wordings = wr.RELATION[entity.kind, key].statements
            choice = [wording for wording in wordings if wording not in avoid] or wordings
            if not sentences:
                # The name comes first, so that a document is about one thing from its first words.
                leading = [w for w in choice if w.startswith(("{S}", "{P}"))]
                choice = leading or [w for w in wordings if w.startswith(("{S}", "{P}"))]
            wording = draw.pick(choice)
            used.add(wording)
            subject, possessive = self._reference(entity, not sentences, after)
            if not wording.startswith(("{S}", "{P}")) and subject == "it":
                subject, possessive = entity.mention, possessive_of(entity.mention)
            verbs = verbs_of(self._world, entity, value)
            sentences.append(fill(wording, subject, possessive, value, verbs))
            stated.append(key)
            after = value
        for number in remarks:
            wordings = wr.REMARKS[entity.kind][number]
            choice = [wording for wording in wordings if wording not in avoid] or wordings
            remark = draw.pick(choice)
            used.add(remark)
            sentences.insert(draw.between(1, len(sentences)), remark)
        return Document(entity, " ".join(sentences), tuple(stated), remarks, frozenset(used))

    @staticmethod
    def _opening(entity: Entity, wording: str, values: Tuple[Value, Value]) -> str:
        texts = [plain(value) for value in values]
        return wording.format(
            S=capitalised(entity.mention), s=entity.mention, v1=texts[0], v2=texts[1],
            av1=values[0].mention, av2=values[1].mention,
        )  # fmt: skip

    def _reference(self, entity: Entity, is_first: bool, after) -> Tuple[str, str]:
        """How the next sentence calls the entity. A pronoun must not point to the thing that the
        sentence before ended with."""
        full = (entity.mention, possessive_of(entity.mention))
        if is_first or self._draw.chance(0.2):
            return full
        named_kind = None
        if after is not None and after.entity is not None:
            named_kind = self._world.entities[after.entity].kind
        if entity.kind == "person":
            if named_kind == "person":
                return full
            return ("she", "her") if entity.is_female else ("he", "his")
        if named_kind == entity.kind:
            return full
        if named_kind is None and self._draw.chance(0.5):
            return ("it", "its")
        noun = self._draw.pick(
            {"town": ("the town",), "firm": ("the firm", "the company"), "work": ("the work",),
             "event": ("the event",)}[entity.kind]
        )  # fmt: skip
        return (noun, noun + "'s")
