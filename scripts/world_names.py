"""Random draws and invented names for the fictional world of make_world_data.py.

Every draw goes through random.Random.random(), whose sequence Python promises to keep from version
to version (shuffle, sample and choice carry no such promise), so that a seed means the same bytes
everywhere.
"""

from __future__ import annotations

import random

_ONSETS = (
    "B Br C Cl D Dr F Fl G Gl Gr H J K Kr L M N P Pl Pr R S Sk St T Th Tr V W Y Z".split()
)
_VOWELS = "a a e e i o o u".split()
_MIDDLES = "b d dr g k l ld lm ln lv m mb n nd ng nt r rb rd rk rm rn rt rv s sk st t v z".split()
_CODAS = "d k l ld m n nd ng r rd rk rn s sk st t th v x".split()
_FEMALE_ENDINGS = "a ena ia e ina elle is".split()
_MALE_ENDINGS = "o en an or ik us er".split()

# Letters that no name may hold: they would spell out something of this world.
_UNWANTED = (
    "jesus satan allah judas hitler stalin lenin nazi nig neg fag kik rape fuck shit cunt dick "
    "cock slut tit puss anus peni vagi porn"
).split()

# Of the names that could come near to an older one ("Belmar", "Belmor"), how many do.
_NEAR_SHARE = 0.35


def is_unwanted(text: str) -> bool:
    return any(letters in text for letters in _UNWANTED)


class Draw:
    """Random choices that depend on the seed and the name of their purpose alone."""

    def __init__(self, seed: int, purpose: str):
        self._random = random.Random(f"{seed}/{purpose}")

    def chance(self, probability: float) -> bool:
        return self._random.random() < probability

    def below(self, count: int) -> int:
        return int(self._random.random() * count)

    def between(self, least: int, most: int) -> int:
        return least + self.below(most - least + 1)

    def pick(self, items):
        return items[self.below(len(items))]

    def shuffled(self, items) -> list:
        result = list(items)
        for i in range(len(result) - 1, 0, -1):
            j = self.below(i + 1)
            result[i], result[j] = result[j], result[i]
        return result

    def some(self, items, count: int) -> list:
        return self.shuffled(items)[:count]


class NameMaker:
    """Invented names. No root is given twice; none is part of a root of another split."""

    def __init__(self, draw: Draw, ordinary_words):
        self._draw = draw
        self._ordinary_words = sorted(ordinary_words)
        self._owner = {}  # root in lower case → split
        self._parts = {}  # every part of 4 letters or more of a root → splits that have it
        self._roots = {}  # (split, purpose) → roots, in the order in which they were made
        self._first_names = {True: [], False: []}
        for is_female in (True, False):
            names = self._first_names[is_female]
            while len(names) < 90:
                name = self._first_name(is_female)
                if name not in self._first_names[True] and name not in self._first_names[False]:
                    names.append(name)

    def first_name(self, is_female: bool) -> str:
        """First names are few and shared by all splits, as in life."""
        return self._draw.pick(self._first_names[is_female])

    def root(self, split: str, purpose: str) -> str:
        """A name of one word; a third differ in one letter from an older one of their kind."""
        older = self._roots.setdefault((split, purpose), [])
        while True:
            is_near = bool(older) and self._draw.chance(_NEAR_SHARE)
            root = self._near(self._draw.pick(older)) if is_near else self._fresh()
            if self._is_free(root, split):
                break
        older.append(root)
        self._owner[root.lower()] = split
        for part in self._parts_of(root):
            self._parts.setdefault(part, set()).add(split)
        return root

    def _first_name(self, is_female: bool) -> str:
        draw = self._draw
        ending = draw.pick(_FEMALE_ENDINGS if is_female else _MALE_ENDINGS)
        name = draw.pick(_ONSETS) + draw.pick(_VOWELS) + draw.pick(_MIDDLES) + ending
        return self._first_name(is_female) if is_unwanted(name.lower()) else name

    def _fresh(self) -> str:
        draw = self._draw
        root = draw.pick(_ONSETS) + draw.pick(_VOWELS) + draw.pick(_MIDDLES) + draw.pick(_VOWELS)
        if draw.chance(0.3):
            root += draw.pick(_MIDDLES) + draw.pick(_VOWELS)
        return root + draw.pick(_CODAS) if draw.chance(0.8) else root

    def _near(self, root: str) -> str:
        places = [i for i in range(1, len(root)) if root[i] in "aeiou"]
        place = self._draw.pick(places)
        return root[:place] + self._draw.pick("aeiou") + root[place + 1 :]

    @staticmethod
    def _parts_of(root: str) -> list:
        text = root.lower()
        return [text[i:j] for i in range(len(text)) for j in range(i + 4, len(text) + 1)]

    def _is_free(self, root: str, split: str) -> bool:
        text = root.lower()
        if len(text) < 5 or text in self._owner or is_unwanted(text):
            return False
        if self._parts.get(text, set()) - {split}:
            return False
        if any(self._owner.get(part, split) != split for part in self._parts_of(root)):
            return False
        taken_words = self._first_names[True] + self._first_names[False] + self._ordinary_words
        return not any(text in word.lower() or word.lower() in text for word in taken_words)
