"""The people, towns, firms, works and events of make_world_data.py, and the true facts about them.

Each split (train, valid, eval) is a world of its own: whatever one of its things is related to
belongs to the same split, so that no name of one split is needed in the texts of another.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, List, Optional, Tuple

import world_relations as wr
from world_names import Draw, NameMaker

# Of all things of a split.
KIND_SHARES = {"person": 0.46, "town": 0.10, "firm": 0.16, "work": 0.19, "event": 0.09}
MIN_ENTITIES = 60


@dataclass(frozen=True)
class Value:
    """The object of a fact. `text` is the answer and stands word for word in every document."""

    text: str
    mention: str  # inside of a sentence, with its article if it has one
    aliases: Tuple[str, ...] = ()
    entity: Optional[int] = None  # its id, where the value is a thing of the world


@dataclass
class Entity:
    id: int
    kind: str
    name: str
    mention: str  # inside of a sentence
    aliases: Tuple[str, ...] = ()
    is_female: bool = False
    verbs: Tuple[str, str] = ("created", "created")  # works: wrote, written
    facts: Dict[str, Value] = field(default_factory=dict)

    def as_value(self) -> Value:
        return Value(self.name, self.mention, self.aliases, self.id)


@dataclass
class World:
    split: str
    entities: List[Entity] = field(default_factory=list)

    def of_kind(self, kind: str) -> List[Entity]:
        return [entity for entity in self.entities if entity.kind == kind]


def with_article(text: str) -> str:
    return ("an " if text[0] in "aeio" else "a ") + text


def _indefinite(text: str) -> Value:
    return Value(text, with_article(text), (with_article(text),))


def _plain(text: str) -> Value:
    return Value(text, text)


def _honour(text: str) -> Value:
    return Value(text, "the " + text, ("the " + text,))


def _number(number: int) -> Value:
    text = f"{number:,}"
    return Value(text, text, (str(number),) if number >= 1000 else ())


class WorldBuilder:
    """Builds the worlds of all splits: names are unique across them."""

    def __init__(self, seed: int):
        self._seed = seed
        self._names = NameMaker(Draw(seed, "names"), wr.ordinary_words())
        self._taken_names = set()
        self._draw = Draw(seed, "unused until build")
        self._world = World("")

    def build(self, split: str, num_entities: int) -> World:
        self._draw = Draw(self._seed, "world/" + split)
        self._world = World(split)
        counts = {kind: max(4, round(share * num_entities)) for kind, share in KIND_SHARES.items()}
        counts["person"] += num_entities - sum(counts.values())
        self._add_towns(counts["town"])
        self._add_people(counts["person"], counts["work"])
        self._add_firms(counts["firm"])
        self._add_works(counts["work"])
        self._add_events(counts["event"])
        self._relate_people()
        self._relate_towns()
        return self._world

    # Names ------------------------------------------------------------------------------------

    def _unique_name(self, make) -> str:
        for _ in range(1000):
            name = make()
            if name not in self._taken_names:
                self._taken_names.add(name)
                return name
        raise ValueError("the world has no free names left; ask for fewer entities")

    def _add(self, kind: str, name: str, mention: str = "", aliases=()) -> Entity:
        entity = Entity(len(self._world.entities), kind, name, mention or name, tuple(aliases))
        self._world.entities.append(entity)
        return entity

    # Things -----------------------------------------------------------------------------------

    def _add_towns(self, count: int) -> None:
        draw, split = self._draw, self._world.split
        rivers = [self._names.root(split, "river") for _ in range(max(4, count // 3))]
        regions = [self._names.root(split, "region") for _ in range(max(4, count // 5))]
        names = []
        while len(names) < count:
            root = self._names.root(split, "town")
            if draw.chance(0.25):
                names += [prefix + " " + root for prefix in draw.some(wr.TOWN_PREFIXES, 2)]
            else:
                names.append(root)
        for name in names[:count]:
            town = self._add("town", name)
            river, region = draw.pick(rivers), draw.pick(regions)
            town.facts.update(
                region=Value(region, region),
                river=Value(river, river, (river + " River", "River " + river)),
                founding_year=_plain(str(draw.between(1103, 1748))),
                export=_plain(draw.pick(wr.EXPORTS)),
                landmark=_indefinite(draw.pick(wr.LANDMARKS)),
            )
            if draw.chance(0.7):
                town.facts["dish"] = _plain(draw.pick(wr.DISHES))
            if draw.chance(0.6):
                town.facts["arms"] = _indefinite(draw.pick(wr.ARMS))
            if draw.chance(0.7):
                town.facts["population"] = _number(1000 * draw.between(2, 95))

    def _add_people(self, count: int, num_creators: int) -> None:
        draw, split = self._draw, self._world.split
        towns = self._world.of_kind("town")
        people = []
        while len(people) < count:
            family = self._names.root(split, "family")
            home = draw.pick(towns)
            for _ in range(min(draw.between(2, 7), count - len(people))):
                is_female = draw.chance(0.5)
                name = self._unique_name(
                    lambda: self._names.first_name(is_female) + " " + family
                )
                person = self._add("person", name)
                person.is_female = is_female
                birthplace = home if draw.chance(0.4) else draw.pick(towns)
                person.facts["birthplace"] = birthplace.as_value()
                person.facts["birth_year"] = _plain(str(draw.between(1790, 1960)))
                people.append(person)
        creators = {person.id for person in draw.some(people, num_creators)}
        crafts = tuple(wr.CRAFTS)
        for person in people:
            occupation = draw.pick(crafts if person.id in creators else wr.OCCUPATIONS)
            person.facts["occupation"] = _indefinite(occupation)

    def _add_firms(self, count: int) -> None:
        draw, split = self._draw, self._world.split
        people, towns = self._world.of_kind("person"), self._world.of_kind("town")
        for founder in draw.some(people, count):
            family = founder.name.split()[-1]

            def make_name() -> str:
                if draw.chance(0.45):
                    return family + " " + draw.pick(("& Sons", "& Daughters", "Brothers"))
                root = family if draw.chance(0.2) else self._names.root(split, "firm")
                return root + " " + draw.pick(wr.FIRM_TYPES)

            name = self._unique_name(make_name)
            firm = self._add(
                "firm", name, aliases=(name.replace("&", "and"),) if "&" in name else ()
            )
            year = int(founder.facts["birth_year"].text) + draw.between(21, 50)
            firm.facts.update(
                headquarters=draw.pick(towns).as_value(),
                founder=founder.as_value(),
                founding_year=_plain(str(year)),
                product=_plain(draw.pick(wr.PRODUCTS)),
            )
            founder.facts["founded"] = firm.as_value()
            if draw.chance(0.6):
                firm.facts["employees"] = _number(draw.between(12, 950))
            if draw.chance(0.7):
                firm.facts["emblem"] = _indefinite(draw.pick(wr.EMBLEMS))
            if draw.chance(0.5):
                director = draw.pick([person for person in people if person is not founder])
                firm.facts["director"] = director.as_value()
            if draw.chance(0.5):
                firm.facts["first_customer"] = draw.pick(people).as_value()

    def _add_works(self, count: int) -> None:
        draw = self._draw
        people, towns = self._world.of_kind("person"), self._world.of_kind("town")
        firms = self._world.of_kind("firm")
        creators = [p for p in people if p.facts["occupation"].text in wr.CRAFTS]

        def make_title() -> str:
            if draw.chance(0.7):
                return f"The {draw.pick(wr.TITLE_ADJECTIVES)} {draw.pick(wr.TITLE_NOUNS)}"
            return f"The {draw.pick(wr.TITLE_NOUNS)} and the {draw.pick(wr.TITLE_NOUNS)}"

        for author in creators[:count]:
            title = self._unique_name(make_title)
            work = self._add("work", title, aliases=(title[len("The ") :],))
            form, made, made_by = wr.CRAFTS[author.facts["occupation"].text]
            work.verbs = (made, made_by)
            year = int(author.facts["birth_year"].text) + draw.between(20, 60)
            work.facts.update(
                form=_indefinite(form), author=author.as_value(), year=_plain(str(year))
            )
            author.facts["author_of"] = work.as_value()
            if draw.chance(0.75):
                work.facts["setting"] = draw.pick(towns).as_value()
            if draw.chance(0.85):
                work.facts["theme"] = _indefinite(draw.pick(wr.THEMES))
            if draw.chance(0.5):
                work.facts["patron"] = draw.pick(firms).as_value()
            if draw.chance(0.5):
                work.facts["kept_in"] = draw.pick(towns).as_value()
            if draw.chance(0.4):
                work.facts["award"] = _honour(draw.pick(wr.PRIZES))
            if draw.chance(0.5):
                work.facts["years_taken"] = _number(draw.between(2, 19))

    def _add_events(self, count: int) -> None:
        draw, split = self._draw, self._world.split
        people, towns = self._world.of_kind("person"), self._world.of_kind("town")
        firms = self._world.of_kind("firm")
        names = []
        while len(names) < count:
            root = self._names.root(split, "event")
            kinds = draw.some(wr.EVENT_TYPES, draw.between(1, 3))
            names += [root + " " + kind for kind in kinds]
        for name, winner in zip(names[:count], draw.some(people, count)):
            event = self._add("event", name, "the " + name, ("the " + name,))
            year = int(winner.facts["birth_year"].text) + draw.between(18, 60)
            event.facts.update(
                host=draw.pick(towns).as_value(),
                year=_plain(str(year)),
                winner=winner.as_value(),
                reward=_indefinite(draw.pick(wr.REWARDS)),
            )
            winner.facts["victory"] = event.as_value()
            if draw.chance(0.6):
                event.facts["sponsor"] = draw.pick(firms).as_value()
            if draw.chance(0.6):
                event.facts["entrants"] = _number(draw.between(14, 900))
            if draw.chance(0.5):
                opener = draw.pick([person for person in people if person is not winner])
                event.facts["opened_by"] = opener.as_value()
            if draw.chance(0.6):
                event.facts["mascot"] = _indefinite(draw.pick(wr.MASCOTS))

    def _relate_people(self) -> None:
        draw = self._draw
        people, firms = self._world.of_kind("person"), self._world.of_kind("firm")
        towns = self._world.of_kind("town")
        pairs = draw.shuffled(people)[: len(people) // 2]
        for first, second in zip(pairs[::2], pairs[1::2]):
            first.facts["spouse"] = second.as_value()
            second.facts["spouse"] = first.as_value()
        for person in people:
            if draw.chance(0.75):
                person.facts["employer"] = draw.pick(firms).as_value()
            if draw.chance(0.8):
                person.facts["hobby"] = _plain(draw.pick(wr.HOBBIES))
            if draw.chance(0.4):
                person.facts["residence"] = draw.pick(towns).as_value()
            if draw.chance(0.5):
                person.facts["collection"] = _plain(draw.pick(wr.COLLECTIONS))
            if draw.chance(0.6):
                person.facts["studied"] = _plain(draw.pick(wr.SUBJECTS))
            if draw.chance(0.45):
                person.facts["prize"] = _honour(draw.pick(wr.PRIZES))

    def _relate_towns(self) -> None:
        people = self._world.of_kind("person")
        for town in self._world.of_kind("town"):
            if self._draw.chance(0.7):
                town.facts["mayor"] = self._draw.pick(people).as_value()


def triple(world: World, entity: Entity, key: str) -> tuple:
    """A fact under one name, from whichever side it is told: founded by = founder of."""
    value = entity.facts[key]
    relation = wr.RELATION[entity.kind, key]
    if key == "spouse":
        return ("spouse", min(entity.id, value.entity), max(entity.id, value.entity))
    if relation.inverse_of is not None:
        other = world.entities[value.entity]
        return (other.kind + "." + relation.inverse_of, value.entity, entity.id)
    target = value.text if value.entity is None else value.entity
    return (entity.kind + "." + key, entity.id, target)
