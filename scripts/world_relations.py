"""What can be said and asked about the things of the fictional world of make_world_data.py.

A Relation holds several wordings of one kind of fact. Placeholders:

    {S} {s}   the subject, at the start of a sentence and inside of one
    {o}       the subject where a pronoun would be him or her
    {P}       the subject's possessive at the start of a sentence
    {v} {av}  the value, plain and with its article; {V} at the start of a sentence
    {made} {made_by}  the verb that fits the work's form: wrote, written

In questions {s} may be a name, a description ("the painter born in Belmar") or a phrase that leads
to another thing ("the birthplace of Mara Tolvek"): two-hop questions are made of one-hop parts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple

Wordings = Tuple[str, ...]


@dataclass(frozen=True)
class Relation:
    kind: str  # of the thing whose document states it
    key: str
    answer_kind: str  # town, firm, person, work, event, name, year, number, category
    noun: str  # "birthplace": for questions about two facts at once
    statements: Wordings
    questions: Wordings
    clues: Wordings  # what follows "the painter": "born in {v}"
    phrases: Wordings = ()  # where the value is a thing: "the birthplace of {s}"
    inverse_of: Optional[str] = None  # the key that states the same fact from the other side


RELATIONS = (
    # ------------------------------------------------------------------ person
    Relation(
        "person", "occupation", "category", "occupation",
        ("{S} was {av}.", "{S} worked as {av}.", "{S} earned a living as {av}.",
         "By profession {s} was {av}.", "{P} profession was that of {av}."),
        ("What was the occupation of {s}?", "What did {s} do for a living?",
         "Which profession did {s} have?", "What was the profession of {s}?"),
        ("who worked as {av}", "who was {av} by profession"),
    ),
    Relation(
        "person", "birthplace", "town", "birthplace",
        ("{S} was born in {v}.", "{S} was a native of {v}.", "{P} birthplace was {v}.",
         "{V} was the town where {s} was born.", "{S} came from {v}."),
        ("Where was {s} born?", "In which town was {s} born?", "What was the birthplace of {s}?",
         "Which town did {s} come from?"),
        ("born in {v}", "who came from {v}"),
        ("the birthplace of {s}", "the town where {s} was born"),
    ),
    Relation(
        "person", "birth_year", "year", "year of birth",
        ("{S} was born in {v}.", "{P} year of birth was {v}.",
         "{S} came into the world in the year {v}.", "In {v} {s} was born."),
        ("In which year was {s} born?", "When was {s} born?",
         "What was the year of birth of {s}?"),
        ("born in {v}", "whose year of birth was {v}"),
    ),
    Relation(
        "person", "employer", "firm", "employer",
        ("{S} worked for {v}.", "{S} was employed by {v}.", "{P} employer was {v}.",
         "{S} drew a salary from {v}.", "{S} spent long years in the service of {v}."),
        ("Which firm did {s} work for?", "Who was the employer of {s}?",
         "At which company was {s} employed?"),
        ("who worked for {v}", "employed by {v}"),
        ("the employer of {s}", "the firm that employed {s}"),
    ),
    Relation(
        "person", "spouse", "person", "spouse",
        ("{S} was married to {v}.", "{S} married {v}.", "{P} spouse was {v}.",
         "{V} was married to {o}."),
        ("Who was {s} married to?", "Whom did {s} marry?", "Who was the spouse of {s}?"),
        ("married to {v}", "whose spouse was {v}"),
        ("the spouse of {s}", "the person married to {s}"),
        "spouse",
    ),
    Relation(
        "person", "author_of", "work", "best-known work",
        ("{S} {made} {v}.", "{S} became known for {v}.", "{P} best-known work was {v}.",
         "{V} was {made_by} by {o}."),
        ("Which work is {s} known for?", "What is the best-known work of {s}?",
         "Which work made {s} known?"),
        ("who {made} {v}", "known for {v}"),
        ("the best-known work of {s}", "the work that made {s} known"),
        "author",
    ),
    Relation(
        "person", "founded", "firm", "own firm",
        ("{S} founded {v}.", "{S} was the founder of {v}.", "{S} set up {v}.",
         "{V} was founded by {o}."),
        ("Which firm did {s} found?", "What company was set up by {s}?",
         "Which company did {s} start?"),
        ("who founded {v}", "who set up {v}"),
        ("the firm founded by {s}", "the company that {s} set up"),
        "founder",
    ),
    Relation(
        "person", "prize", "category", "prize",
        ("{S} won {av}.", "{S} was honoured with {av}.", "{S} was awarded {av}.",
         "A jury gave {av} to {o}."),
        ("Which prize did {s} win?", "Which honour was given to {s}?",
         "What was {s} honoured with?"),
        ("who won {av}", "honoured with {av}"),
    ),
    Relation(
        "person", "hobby", "category", "favourite pastime",
        ("In free hours {s} enjoyed {v}.", "{P} favourite pastime was {v}.",
         "{S} had a passion for {v}.", "{S} spent every Sunday on {v}."),
        ("What was the favourite pastime of {s}?", "What did {s} enjoy in free hours?",
         "What did {s} have a passion for?"),
        ("who had a passion for {v}", "whose favourite pastime was {v}"),
    ),
    Relation(
        "person", "studied", "category", "field of study",
        ("{S} studied {v}.", "{S} took a degree in {v}.", "At university {s} read {v}.",
         "{P} field of study was {v}."),
        ("Which subject did {s} study?", "What did {s} take a degree in?",
         "What was the field of study of {s}?"),
        ("who studied {v}", "with a degree in {v}"),
    ),
    Relation(
        "person", "victory", "event", "victory",
        ("{S} came first at {v}.", "{S} was the winner of {v}.", "{S} took first place at {v}.",
         "At {v} first place went to {o}."),
        ("At which event did {s} come first?", "Which event did {s} win?",
         "At which event did {s} take first place?"),
        ("who came first at {v}", "who took first place at {v}"),
        ("the event that {s} won", "the event at which {s} came first"),
        "winner",
    ),
    Relation(
        "person", "residence", "town", "place of residence",
        ("{S} settled in {v}.", "{P} last years were spent in {v}.",
         "{S} made a home in {v}.", "{V} was the town where {s} settled."),
        ("Where did {s} settle?", "In which town did {s} settle?",
         "In which town did {s} make a home?"),
        ("who settled in {v}", "who made a home in {v}"),
        ("the town where {s} settled",),
    ),
    Relation(
        "person", "collection", "category", "collection",
        ("{S} collected {v}.", "{S} owned a fine collection of {v}.",
         "Friends knew that {s} collected {v}.", "{P} house was full of {v}."),
        ("What did {s} collect?", "Of what did {s} own a fine collection?",
         "What was the house of {s} full of?"),
        ("who collected {v}", "whose house was full of {v}"),
    ),
    # ------------------------------------------------------------------ town
    Relation(
        "town", "region", "name", "region",
        ("{S} lies in the region of {v}.", "{S} belongs to the region of {v}.",
         "{P} region is {v}.", "{S} is one of the towns of {v}."),
        ("In which region does {s} lie?", "Which region does {s} belong to?",
         "What is the region of {s}?"),
        ("in the region of {v}", "that lies in {v}"),
    ),
    Relation(
        "town", "river", "name", "river",
        ("{S} stands on the River {v}.", "The River {v} flows through {s}.",
         "{P} river is the {v}.", "{S} grew up along the banks of the {v}."),
        ("Which river flows through {s}?", "On which river does {s} stand?",
         "What is the river of {s} called?"),
        ("on the River {v}", "through which the {v} flows"),
    ),
    Relation(
        "town", "founding_year", "year", "year of founding",
        ("{S} was founded in {v}.", "The founding of {s} dates from {v}.",
         "{P} year of founding is {v}.", "Settlers founded {s} in {v}."),
        ("In which year was {s} founded?", "When was {s} founded?",
         "From which year does the founding of {s} date?"),
        ("founded in {v}", "that settlers founded in {v}"),
    ),
    Relation(
        "town", "export", "category", "main export",
        ("{S} exports {v}.", "{P} main export is {v}.", "{S} sells {v} abroad.",
         "Merchants carry {v} from {s} to distant markets."),
        ("What does {s} export?", "What is the main export of {s}?", "What does {s} sell abroad?",
         "What do merchants carry from {s} to distant markets?"),
        ("that exports {v}", "whose main export is {v}"),
    ),
    Relation(
        "town", "landmark", "category", "landmark",
        ("{P} landmark is {av}.", "Visitors to {s} come to see {av}.", "{S} is famous for {av}.",
         "{V} is the pride of {s}."),
        ("What is the landmark of {s}?", "What do visitors to {s} come to see?",
         "What is {s} famous for?"),
        ("whose landmark is {av}", "famous for {av}"),
    ),
    Relation(
        "town", "mayor", "person", "mayor",
        ("{P} mayor was {v}.", "{S} elected {v} as mayor.", "{V} served as mayor of {s}.",
         "For many years {v} was the mayor of {s}."),
        ("Who was the mayor of {s}?", "Who served as mayor of {s}?",
         "Whom did {s} elect as mayor?"),
        ("whose mayor was {v}", "that elected {v} as mayor"),
        ("the mayor of {s}", "the person who served as mayor of {s}"),
    ),
    Relation(
        "town", "dish", "category", "local dish",
        ("The local dish of {s} is {v}.", "Cooks in {s} are proud of their {v}.",
         "{S} is the place to eat {v}.", "Every inn of {s} serves {v}."),
        ("What is the local dish of {s}?", "What are the cooks in {s} proud of?",
         "What does every inn of {s} serve?"),
        ("where every inn serves {v}", "whose local dish is {v}"),
    ),
    Relation(
        "town", "population", "number", "population",
        ("{S} has about {v} inhabitants.", "Around {v} people live in {s}.",
         "{P} population is about {v}.", "{S} is home to some {v} people."),
        ("How many people live in {s}?", "What is the population of {s}?",
         "How many inhabitants does {s} have?"),
        ("of about {v} people", "with about {v} inhabitants"),
    ),
    Relation(
        "town", "arms", "category", "coat of arms",
        ("The coat of arms of {s} shows {av}.", "{S} has {av} in its coat of arms.",
         "{P} coat of arms shows {av}.", "Over the gate of {s} one sees {av}, its coat of arms."),
        ("What does the coat of arms of {s} show?", "What does {s} have in its coat of arms?",
         "What is shown by the coat of arms of {s}?"),
        ("whose coat of arms shows {av}", "with {av} in its coat of arms"),
    ),
    # ------------------------------------------------------------------ firm
    Relation(
        "firm", "headquarters", "town", "head office",
        ("{S} is based in {v}.", "{P} head office stands in {v}.",
         "{S} has its headquarters in {v}.", "{V} is the home of {s}."),
        ("Where is {s} based?", "In which town is {s} based?",
         "In which town does {s} have its head office?"),
        ("based in {v}", "with its head office in {v}"),
        ("the home town of {s}", "the town where {s} is based"),
    ),
    Relation(
        "firm", "founder", "person", "founder",
        ("{S} was founded by {v}.", "{P} founder was {v}.", "{V} set up {s}.",
         "{S} was started by {v}."),
        ("Who founded {s}?", "Who was the founder of {s}?", "Who set up {s}?"),
        ("founded by {v}", "that {v} set up"),
        ("the founder of {s}", "the person who founded {s}"),
    ),
    Relation(
        "firm", "founding_year", "year", "year of founding",
        ("{S} was founded in {v}.", "{S} opened its doors in {v}.",
         "{S} has been in business since {v}.", "{P} year of founding is {v}."),
        ("In which year was {s} founded?", "When did {s} open its doors?",
         "Since which year has {s} been in business?"),
        ("founded in {v}", "in business since {v}"),
    ),
    Relation(
        "firm", "product", "category", "product",
        ("{S} makes {v}.", "{S} manufactures {v}.", "{P} workshops turn out {v}.",
         "{S} lives from the sale of {v}."),
        ("What does {s} make?", "What does {s} manufacture?", "Which product does {s} sell?"),
        ("that makes {v}", "whose workshops turn out {v}"),
    ),
    Relation(
        "firm", "employees", "number", "number of workers",
        ("{S} employs {v} people.", "{P} staff numbers {v}.", "{S} gives work to {v} people.",
         "Some {v} people work at {s}."),
        ("How many people does {s} employ?", "How many people work at {s}?",
         "To how many people does {s} give work?"),
        ("with a staff of {v}", "that employs {v} people"),
    ),
    Relation(
        "firm", "emblem", "category", "emblem",
        ("{P} emblem is {av}.", "{S} uses {av} as its emblem.",
         "Everything that leaves {s} is stamped with {av}.", "{V} is the emblem of {s}."),
        ("What is the emblem of {s}?", "What does {s} use as its emblem?",
         "With what is everything that leaves {s} stamped?"),
        ("whose emblem is {av}", "that uses {av} as its emblem"),
    ),
    Relation(
        "firm", "director", "person", "director",
        ("{P} director was {v}.", "{S} was led by {v}.", "For years {v} directed {s}.",
         "{V} was the director of {s}."),
        ("Who directed {s}?", "Who was the director of {s}?", "Who led {s}?"),
        ("led by {v}", "whose director was {v}"),
        ("the director of {s}", "the person who directed {s}"),
    ),
    Relation(
        "firm", "first_customer", "person", "first customer",
        ("{P} first customer was {v}.", "The first order that {s} received came from {v}.",
         "{S} made its first sale to {v}.", "{V} was the first customer of {s}."),
        ("Who was the first customer of {s}?", "From whom came the first order of {s}?",
         "To whom did {s} make its first sale?"),
        ("whose first customer was {v}", "that made its first sale to {v}"),
        ("the first customer of {s}", "the person who was the first customer of {s}"),
    ),
    # ------------------------------------------------------------------ work
    Relation(
        "work", "form", "category", "form",
        ("{S} is {av}.", "{S} is best described as {av}.", "{S} has the form of {av}.",
         "Critics call {s} {av} of the first rank."),
        ("What kind of work is {s}?", "Which form does {s} have?",
         "How is {s} best described?"),
        ("with the form of {av}",),
    ),
    Relation(
        "work", "author", "person", "creator",
        ("{S} was {made_by} by {v}.", "{P} creator was {v}.", "{V} {made} {s}.",
         "{S} is the creation of {v}."),
        ("Who {made} {s}?", "Who was the creator of {s}?", "By whom was {s} {made_by}?"),
        ("{made_by} by {v}", "whose creator was {v}"),
        ("the creator of {s}", "the person who {made} {s}"),
    ),
    Relation(
        "work", "year", "year", "year of completion",
        ("{S} was finished in {v}.", "{S} was completed in {v}.",
         "{P} year of completion is {v}.", "The last touches to {s} were made in {v}."),
        ("In which year was {s} finished?", "When was {s} completed?",
         "In which year were the last touches to {s} made?"),
        ("finished in {v}", "completed in {v}"),
    ),
    Relation(
        "work", "setting", "town", "setting",
        ("{S} is set in {v}.", "{P} scene is the town of {v}.", "The action of {s} unfolds in {v}.",
         "{V} provides the setting of {s}."),
        ("Where is {s} set?", "In which town does the action of {s} unfold?",
         "Which town provides the setting of {s}?"),
        ("set in {v}", "whose setting is {v}"),
        ("the town where {s} is set", "the setting of {s}"),
    ),
    Relation(
        "work", "theme", "category", "theme",
        ("{S} tells of {av}.", "{P} theme is {av}.", "{S} is about {av}.",
         "{V} is at the heart of {s}."),
        ("What does {s} tell of?", "What is {s} about?", "What is the theme of {s}?"),
        ("that tells of {av}", "about {av}"),
    ),
    Relation(
        "work", "patron", "firm", "patron",
        ("{S} was paid for by {v}.", "{V} paid for {s}.", "{P} patron was {v}.",
         "The costs of {s} were met by {v}."),
        ("Which firm paid for {s}?", "Who was the patron of {s}?",
         "Which company met the costs of {s}?"),
        ("paid for by {v}", "whose patron was {v}"),
        ("the firm that paid for {s}", "the patron of {s}"),
    ),
    Relation(
        "work", "kept_in", "town", "place of keeping",
        ("The original of {s} is kept in {v}.", "{P} original rests in a vault in {v}.",
         "{V} keeps the original of {s}.", "The original of {s} is on view in {v}."),
        ("In which town is the original of {s} kept?", "Where is the original of {s} kept?",
         "Which town keeps the original of {s}?"),
        ("whose original is kept in {v}",),
        ("the town that keeps the original of {s}",),
    ),
    Relation(
        "work", "award", "category", "award",
        ("{S} received {av}.", "{S} was crowned with {av}.", "{S} earned its maker {av}.",
         "A jury chose {s} for {av}."),
        ("Which award did {s} receive?", "What was {s} crowned with?",
         "For which award did a jury choose {s}?"),
        ("that received {av}", "crowned with {av}"),
    ),
    Relation(
        "work", "years_taken", "number", "number of years of labour",
        ("{S} took {v} years of labour.", "{P} maker laboured over it for {v} years.",
         "It took {v} years to finish {s}.", "{V} years of labour went into {s}."),
        ("How many years did it take to finish {s}?", "How many years of labour went into {s}?",
         "How many years of labour did {s} take?"),
        ("that took {v} years of labour",),
    ),
    # ------------------------------------------------------------------ event
    Relation(
        "event", "host", "town", "host town",
        ("{S} was held in {v}.", "{S} took place in {v}.", "{V} hosted {s}.",
         "{P} host was the town of {v}."),
        ("Where was {s} held?", "Which town hosted {s}?", "In which town did {s} take place?"),
        ("held in {v}", "hosted by {v}"),
        ("the town that hosted {s}", "the host town of {s}"),
    ),
    Relation(
        "event", "year", "year", "year",
        ("{S} was held in {v}.", "{S} took place in the year {v}.", "{P} year was {v}.",
         "In {v} crowds gathered for {s}."),
        ("In which year was {s} held?", "When did {s} take place?",
         "In which year did crowds gather for {s}?"),
        ("held in {v}", "that took place in the year {v}"),
    ),
    Relation(
        "event", "winner", "person", "winner",
        ("{S} was won by {v}.", "{P} winner was {v}.", "{V} came first at {s}.",
         "First place at {s} went to {v}."),
        ("Who won {s}?", "Who came first at {s}?", "To whom did first place at {s} go?"),
        ("won by {v}", "whose winner was {v}"),
        ("the winner of {s}", "the person who came first at {s}"),
    ),
    Relation(
        "event", "reward", "category", "first prize",
        ("{P} first prize was {av}.", "The winner of {s} received {av}.",
         "The jury of {s} offered {av} as first prize.", "At {s} one competed for {av}."),
        ("What was the first prize at {s}?", "What did the winner of {s} receive?",
         "For what did one compete at {s}?"),
        ("whose first prize was {av}", "with {av} as first prize"),
    ),
    Relation(
        "event", "sponsor", "firm", "sponsor",
        ("{S} was sponsored by {v}.", "{P} sponsor was {v}.", "{V} paid for {s}.",
         "The money for {s} came from {v}."),
        ("Who sponsored {s}?", "Which firm was the sponsor of {s}?",
         "From which firm did the money for {s} come?"),
        ("sponsored by {v}", "whose sponsor was {v}"),
        ("the sponsor of {s}", "the firm that sponsored {s}"),
    ),
    Relation(
        "event", "entrants", "number", "number of entrants",
        ("{S} drew {v} entrants.", "Some {v} people entered {s}.",
         "{P} list of entrants held {v} names.", "There were {v} entrants at {s}."),
        ("How many entrants did {s} draw?", "How many people entered {s}?",
         "How many entrants were there at {s}?"),
        ("with {v} entrants", "that drew {v} entrants"),
    ),
    Relation(
        "event", "opened_by", "person", "opening speaker",
        ("{S} was opened by {v}.", "A speech by {v} opened {s}.",
         "{V} gave the opening speech of {s}.", "{P} opening speech was given by {v}."),
        ("Who opened {s}?", "Whose speech opened {s}?",
         "Who gave the opening speech of {s}?"),
        ("opened by {v}", "whose opening speech was given by {v}"),
        ("the person who opened {s}", "the opening speaker of {s}"),
    ),
    Relation(
        "event", "mascot", "category", "mascot",
        ("{P} mascot was {av}.", "{S} had {av} as its mascot.",
         "Posters for {s} showed its mascot, {av}.", "{V} was the mascot of {s}."),
        ("What was the mascot of {s}?", "What did {s} have as its mascot?",
         "Which mascot did the posters for {s} show?"),
        ("whose mascot was {av}", "with {av} as its mascot"),
    ),
)

RELATION = {(relation.kind, relation.key): relation for relation in RELATIONS}
KINDS = ("person", "town", "firm", "work", "event")
RELATIONS_OF = {
    kind: tuple(relation for relation in RELATIONS if relation.kind == kind) for kind in KINDS
}

# First sentences that state two facts at once: (kind, first key, second key, wording).
OPENERS = (
    ("person", "occupation", "birthplace", "{S} was {av1} born in {v2}."),
    ("person", "occupation", "birthplace", "{S} was {av1} from {v2}."),
    ("person", "birthplace", "birth_year", "{S} was born in {v1} in {v2}."),
    ("person", "occupation", "birth_year", "{S} was {av1}, born in {v2}."),
    ("person", "occupation", "employer", "{S} was {av1} in the service of {v2}."),
    ("person", "birthplace", "spouse", "{S} came from {v1} and was married to {v2}."),
    ("town", "region", "river", "{S} is a town in {v1}, on the River {v2}."),
    ("town", "region", "founding_year", "{S} is a town in {v1}, founded in {v2}."),
    ("town", "export", "river", "{S} is a town on the River {v2} that exports {v1}."),
    ("town", "region", "export", "{S}, in the region of {v1}, exports {v2}."),
    ("firm", "product", "headquarters", "{S} is a maker of {v1} based in {v2}."),
    ("firm", "product", "founding_year", "{S} has made {v1} since its founding in {v2}."),
    ("firm", "founder", "founding_year", "{S} was founded in {v2} by {v1}."),
    ("firm", "headquarters", "founder", "{S} is a firm in {v1}, founded by {v2}."),
    ("work", "form", "author", "{S} is {av1} by {v2}."),
    ("work", "form", "theme", "{S} is {av1} about {av2}."),
    ("work", "author", "year", "{S} was finished by {v1} in {v2}."),
    ("work", "form", "setting", "{S} is {av1} set in {v2}."),
    ("event", "host", "year", "{S} was held in {v1} in {v2}."),
    ("event", "host", "winner", "{S}, held in {v1}, was won by {v2}."),
    ("event", "year", "sponsor", "{S} took place in {v1} and was sponsored by {v2}."),
    ("event", "winner", "reward", "{S} was won by {v1}, who received {av2}."),
)

# Remarks without a fact that is asked for, two wordings each; they only lengthen documents.
REMARKS = {
    "person": (
        ("Few letters have survived.", "Of the letters only a few are left."),
        ("Neighbours remembered a quiet voice and a quick temper.",
         "A quick temper and a quiet voice stayed in the memory of the neighbours."),
        ("A portrait hung for years in the hall of the library.",
         "For years the hall of the library held a portrait."),
        ("The diaries were read by scholars much later.",
         "Much later scholars came to read the diaries."),
        ("Money was always short in those days.", "In those days there was never enough money."),
        ("A street was named in grateful memory.", "Grateful citizens named a street."),
    ),
    "town": (
        ("The streets are narrow and steep.", "Narrow, steep streets lead up the hill."),
        ("On market days the squares are full from early morning.",
         "The squares fill up early in the morning on market days."),
        ("Winters are long, with much snow.", "There is much snow in the long winters."),
        ("The old walls were pulled down to make room for gardens.",
         "Gardens now grow where the old walls were pulled down."),
        ("A ferry leaves every second hour.", "Every second hour there is a ferry."),
        ("Artists like the light of the late summer.",
         "The light of the late summer is dear to artists."),
    ),
    "firm": (
        ("The books are kept with great care.", "Great care is taken over the books."),
        ("A fire destroyed the oldest buildings, but work went on.",
         "Work went on although the oldest buildings were lost in a fire."),
        ("Apprentices stay for four years.", "It takes four years to finish an apprenticeship."),
        ("Orders come from far away.", "Customers far away send their orders."),
        ("The bell at the gate rings at six.", "At six the bell rings at the gate."),
        ("Its catalogue is printed every spring.", "Every spring a catalogue is printed."),
    ),
    "work": (
        ("The first reviews were cool.", "At first the critics were not kind."),
        ("Schools still use it in lessons.", "It is still used in lessons at school."),
        ("Several copies of doubtful quality are known.",
         "There are several known copies, of doubtful quality."),
        ("The last part was changed many times.", "Many changes were made to the last part."),
        ("Young people in particular were moved by it.", "It moved young people in particular."),
        ("An early sketch was lost on a journey.", "On a journey an early sketch was lost."),
    ),
    "event": (
        ("It rained until noon.", "Until noon there was rain."),
        ("Newspapers wrote about it for weeks.", "For weeks it filled the newspapers."),
        ("Music was played in every tavern.", "Every tavern had music."),
        ("The rules were changed soon afterwards.", "Soon afterwards there were other rules."),
        ("Special trains brought the visitors.", "Visitors came by special trains."),
        ("A dispute over the result was settled quickly.",
         "There was a dispute over the result, but it was soon settled."),
    ),
}

# Comparison questions. By order: the fact that orders two things of a kind, and the phrase for the
# one with the smaller and the larger value. Alike: questions answered by yes or no.
ORDERINGS = {
    "person": ("birth_year", "the older of {a} and {b}", "the younger of {a} and {b}"),
    "town": ("founding_year", "the older of the towns {a} and {b}",
             "the younger of the towns {a} and {b}"),
    "firm": ("founding_year", "the older of the firms {a} and {b}",
             "the younger of the firms {a} and {b}"),
    "work": ("year", "the earlier of the works {a} and {b}", "the later of the works {a} and {b}"),
    "event": ("year", "the earlier of {a} and {b}", "the later of {a} and {b}"),
}
ALIKE = (
    ("person", "birthplace", "Were {a} and {b} born in the same town?"),
    ("person", "employer", "Did {a} and {b} work for the same firm?"),
    ("person", "occupation", "Did {a} and {b} have the same profession?"),
    ("town", "region", "Do {a} and {b} lie in the same region?"),
    ("town", "river", "Do {a} and {b} stand on the same river?"),
    ("town", "export", "Do {a} and {b} export the same thing?"),
    ("firm", "headquarters", "Are {a} and {b} based in the same town?"),
    ("firm", "product", "Do {a} and {b} make the same thing?"),
    ("work", "setting", "Are {a} and {b} set in the same town?"),
    ("work", "form", "Are {a} and {b} of the same form?"),
    ("event", "host", "Were {a} and {b} held in the same town?"),
)

# Occupation of a creator → form of the work, verb, participle.
CRAFTS = {
    "novelist": ("novel", "wrote", "written"),
    "poet": ("poem", "wrote", "written"),
    "playwright": ("play", "wrote", "written"),
    "composer": ("opera", "composed", "composed"),
    "painter": ("painting", "painted", "painted"),
    "weaver": ("tapestry", "wove", "woven"),
    "film director": ("film", "directed", "directed"),
    "songwriter": ("ballad", "wrote", "written"),
}

OCCUPATIONS = (
    "engineer", "botanist", "physician", "shipbuilder", "astronomer", "teacher", "lawyer", "baker",
    "cartographer", "clockmaker", "geologist", "judge", "sailor", "surgeon", "beekeeper",
    "glassblower", "translator", "banker", "archivist", "chemist",
)
HOBBIES = (
    "chess", "fencing", "gardening", "rowing", "stargazing", "fishing", "skating", "pottery",
    "dancing", "archery", "hiking", "card games", "birdwatching", "sailing", "riding", "juggling",
    "mountain climbing", "stamp collecting", "playing the flute", "playing the cello",
)
COLLECTIONS = (
    "old maps", "seashells", "beetles", "coins", "dolls", "dried flowers", "fossils", "masks",
    "meteorites", "music boxes", "postcards", "snuff boxes", "teapots", "thimbles",
    "walking sticks", "wax seals",
)
SUBJECTS = (
    "law", "medicine", "chemistry", "history", "geometry", "botany", "philosophy", "geography",
    "mechanics", "theology", "economics", "languages", "astronomy", "music", "architecture",
    "agriculture",
)
PRIZES = tuple(
    f"{metal} {thing}"
    for metal in ("Golden", "Silver", "Crystal", "Iron")
    for thing in ("Quill", "Compass", "Laurel", "Anchor", "Star", "Harp", "Key", "Falcon")
)
EXPORTS = (
    "smoked eel", "walnut oil", "slate", "linen", "honey", "amber", "barley", "wool", "cider",
    "salt", "marble", "pears", "leather", "tin", "hops", "candles", "lavender", "cork", "herring",
    "silk", "chalk", "plums", "copper ore", "pine tar", "saffron", "goat cheese",
)
LANDMARKS = (
    "stone lighthouse", "clock tower", "covered bridge", "ruined abbey", "wooden theatre",
    "round chapel", "botanical garden", "giant sundial", "windmill", "salt cathedral",
    "marble fountain", "ship museum", "old observatory", "leaning belfry", "rope bridge",
    "glass pavilion", "sunken harbour", "granite obelisk", "iron aqueduct", "royal stables",
)
DISHES = (
    "fish soup", "plum dumplings", "rye pancakes", "stuffed cabbage", "apple strudel",
    "smoked trout", "mushroom pie", "bean stew", "nut cake", "potato bread", "roast goose",
    "onion tart", "barley porridge", "poppy seed rolls", "lamb sausages", "pickled beets",
)
PRODUCTS = (
    "brass clocks", "bicycles", "pianos", "lanterns", "sewing machines", "umbrellas", "typewriters",
    "porcelain", "fishing nets", "steam pumps", "mirrors", "saddles", "telescopes", "playing cards",
    "church bells", "rope", "ink", "chocolate", "locks", "spectacles", "carpets", "toy trains",
    "barometers", "soap", "matches", "kites",
)
EMBLEMS = tuple(
    f"{colour} {animal}"
    for colour in ("red", "blue", "white", "black")
    for animal in ("heron", "fox", "owl", "stag", "swan", "beaver", "hare", "bear")
)
ARMS = (
    "golden plough", "crowned lion", "crossed axe", "winged horse", "green oak", "burning torch",
    "silver fish", "broken chain", "flying eagle", "open book", "rising sun", "two-headed wolf",
    "ship under sail", "sheaf of wheat", "closed portcullis", "mermaid",
)
MASCOTS = (
    "dancing badger", "tame otter", "goose in boots", "stuffed walrus", "paper dragon",
    "white rabbit", "singing frog", "wooden giant", "one-eyed cat", "hedgehog", "straw man",
    "striped pony", "old tortoise", "snow leopard",
)
THEMES = (
    "lost ring", "flooded mine", "stolen bell", "broken promise", "long winter", "secret map",
    "forged will", "rebellious fisherman", "blind queen", "haunted mill", "failed harvest",
    "forbidden marriage", "wandering monk", "sunken treasure", "false prophet", "last duel",
    "orphaned giant", "poisoned well", "missing twin", "burning library",
)
REWARDS = (
    "silver goblet", "velvet cloak", "prize bull", "pair of skates", "bronze shield",
    "purse of gold", "white horse", "barrel of wine", "carved chair", "jewelled dagger",
    "laurel wreath", "painted drum", "pocket watch", "bearskin", "ivory fan", "rowing boat",
)
EVENT_TYPES = (
    "Regatta", "Marathon", "Song Contest", "Flower Show", "Chess Tournament", "Poetry Festival",
    "Balloon Race", "Archery Meeting", "Congress", "Winter Games", "Sheep Fair", "Masked Ball",
)
FIRM_TYPES = (
    "Works", "Foundry", "Trading House", "Mills", "Company", "Workshops", "Yards", "Stores",
)
TOWN_PREFIXES = ("Upper", "Lower", "Port", "Old", "West", "East")
TITLE_ADJECTIVES = (
    "Silver", "Hollow", "Crooked", "Distant", "Golden", "Silent", "Burning", "Frozen", "Hidden",
    "Broken", "Crimson", "Wandering", "Patient", "Bitter", "Gentle", "Scarlet", "Sleeping",
    "Marble", "Paper", "Velvet", "Winter", "Borrowed", "Forgotten", "Narrow", "Painted", "Restless",
    "Salted", "Seventh", "Stolen", "Wooden", "Amber", "Copper", "Drowned", "Faithful", "Idle",
    "Laughing", "Lonely", "Midnight", "Nameless", "Northern",
)
TITLE_NOUNS = (
    "Lantern", "Ladder", "Orchard", "River", "Mirror", "Garden", "Harbour", "Window", "Letter",
    "Bridge", "Crown", "Feather", "Island", "Journey", "Kingdom", "Meadow", "Needle", "Ocean",
    "Palace", "Raven", "Shadow", "Shepherd", "Staircase", "Stranger", "Summer", "Tower",
    "Traveller",
    "Valley", "Village", "Violin", "Voyage", "Wolf", "Bell", "Candle", "Carnival", "Chapel",
    "Clock", "Daughter", "Dream", "Echo", "Ferry", "Fiddler", "Forest", "Gate", "Glove", "Guest",
    "Hunter", "Lake", "Locksmith", "Meeting", "Messenger", "Mill", "Nightingale", "Road", "Sailor",
    "Sparrow", "Storm", "Sword", "Thief", "Widow",
)


def ordinary_words() -> set:
    """Every lower-cased word of four letters or more that the wordings and values use."""
    texts = []
    for relation in RELATIONS:
        texts += relation.statements + relation.questions + relation.clues + relation.phrases
        texts.append(relation.noun)
    texts += [opener[3] for opener in OPENERS] + [alike[2] for alike in ALIKE]
    texts += [phrase for ordering in ORDERINGS.values() for phrase in ordering[1:]]
    texts += [wording for kind in KINDS for remark in REMARKS[kind] for wording in remark]
    for values in (
        CRAFTS, OCCUPATIONS, HOBBIES, COLLECTIONS, SUBJECTS, ARMS, MASCOTS, PRIZES, EXPORTS,
        LANDMARKS, DISHES, PRODUCTS, EMBLEMS, THEMES, REWARDS, EVENT_TYPES, FIRM_TYPES,
        TOWN_PREFIXES, TITLE_ADJECTIVES, TITLE_NOUNS,
    ):
        texts += values
    texts += ["Sons", "Brothers", "Daughters"]
    words = "".join(c if c.isalpha() else " " for c in " ".join(texts).lower()).split()
    return {word for word in words if len(word) >= 4}
