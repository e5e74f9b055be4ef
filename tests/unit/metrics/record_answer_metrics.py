#!/usr/bin/env python3
"""Records tests/fixtures/metrics/answer_metrics.json: scores of many answers by Python's own text functions.

A second statement of numerics section 9, with the rules of the HotpotQA evaluation script, sharing nothing with the C++ code.
Usage: record_answer_metrics.py OUTPUT.json (Python whose unicodedata is version 14.0.0: 3.11)
"""
import collections
import json
import random
import re
import string
import sys
import unicodedata

UNICODE_VERSION = "14.0.0"
FNV_OFFSET, FNV_PRIME, MASK = 0xCBF29CE484222325, 0x100000001B3, (1 << 64) - 1


def normalize(text):
    text = {"True": "yes", "False": "no"}.get(text, text).lower()
    text = "".join(c for c in text if c not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def f1(prediction, gold):
    p, g = normalize(prediction), normalize(gold)
    if p != g and {p, g} & {"yes", "no", "noanswer"}:
        return 0.0
    shared = sum((collections.Counter(p.split()) & collections.Counter(g.split())).values())
    if shared == 0:
        return 0.0
    precision, recall = shared / len(p.split()), shared / len(g.split())
    return 2 * precision * recall / (precision + recall)


def cover(prediction, gold):
    gold_tokens = normalize(gold).split()
    return bool(gold_tokens) and set(gold_tokens) <= set(normalize(prediction).split())


def contiguous(prediction, gold):
    p, g = normalize(prediction).split(), normalize(gold).split()
    return bool(g) and any(p[i:i + len(g)] == g for i in range(len(p) - len(g) + 1))


def scores(prediction, golds):
    rows = [(float(normalize(prediction) == normalize(gold)), f1(prediction, gold), float(cover(prediction, gold)),
             float(contiguous(prediction, gold))) for gold in golds]
    return {"first": rows[0], "best": [max(column) for column in zip(*rows)]}


# prediction, gold, further golds …
WRITTEN = [
    # Plain, articles, punctuation, white space.
    ("Paris", "Paris"), ("paris", "PARIS"), ("Paris.", "Paris"), ("Paris", "London"), ("the Paris", "Paris"),
    ("The Beatles", "Beatles"), ("A", "a"), ("the", ""), ("an apple a day", "apple day"), ("thea", "the a"),
    ("The Theatre", "theatre"), ("the-end", "theend"), ("the end", "theend"), ("a.b", "ab"), ("U.S.A.", "USA"),
    ("U.S.", "the US"), ("A.", "an"), ("a.", ""), ("a-", "the"), ("an_d", "and"), ("a_", "a"), ("_the_", "the"),
    ("  New   York\tCity\n", "New York City"), ("New York", "New York City"), ("New York City", "New York"),
    ("City of New York", "New York City"), ("York New", "New York"), ("new new york", "new york"),
    ("rock 'n' roll", "rock n roll"), ("it's", "its"), ("well-known", "well known"), ("well-known", "wellknown"),
    ("1,000", "1000"), ("1 000", "1000"), ("$5.00", "500"), ("50%", "50"), ("3.14", "314"), ("C++", "C"), ("C#", "c"),
    ("!!!", ""), ("...", "???"), ("", ""), ("", "x"), ("x", ""), (" ", ""), ("\n", " "), ("\"Hamlet\"", "Hamlet"),
    ("`code`", "code"), ("~tilde~", "tilde"), ("a|b", "ab"), ("{the}", "the"), ("[an] ox", "ox"), ("(the) ox", "ox"),
    ("AT&T", "att"), ("R&B", "r b"), ("Dr. No", "dr no"), ("No.", "no"), ("No. 5", "no 5"), ("#1", "1"),
    # yes, no, noanswer, True, False.
    ("yes", "yes"), ("Yes", "yes"), ("Yes.", "yes"), ("yes", "no"), ("no", "yes"), ("no", "no"), ("No!", "no"),
    ("yes it is", "yes"), ("yes", "yes it is"), ("no", "no way"), ("noanswer", "noanswer"), ("noanswer", "no answer"),
    ("no answer", "noanswer"), ("noanswer", "yes"), ("the yes", "yes"), ("True", "yes"), ("yes", "True"), ("False", "no"),
    ("False", "True"), ("True", "True"), ("true", "yes"), ("TRUE", "yes"), ("True.", "yes"), (" True", "yes"),
    ("True", "true"), ("False", "false"), ("False", "no", "nope"), ("It is True", "True"), ("True story", "yes"),
    ("yes yes", "yes"), ("yes", "yes yes"), ("y", "yes"), ("", "yes"), ("yes", ""), ("a yes", "the yes"),
    ("yes and no", "no"), ("yes or no", "yes"), ("no no", "no"), ("unknown", "noanswer"), ("no-answer", "noanswer"),
    # Repeated tokens.
    ("a a a", ""), ("b b b", "b"), ("b", "b b b"), ("b b c", "b c c"), ("Duran Duran", "Duran"), ("Duran", "Duran Duran"),
    ("Duran x Duran", "Duran Duran"), ("New York, New York", "New York"), ("x y x y", "x y"), ("x y x y", "y x"),
    ("x y x y", "x y x y"), ("x x y y", "x y x y"), ("x y x z", "x z"), ("p q p q r", "p q r"), ("to be or not to be", "to be"),
    # Cover.
    ("The answer is Paris, France.", "Paris"), ("The answer is Paris, France.", "France Paris"),
    ("Paris is the capital of France", "capital France"), ("It was built in 1889 by Gustave Eiffel", "Gustave Eiffel"),
    ("Gustave's Eiffel", "Gustave Eiffel"), ("parish", "Paris"), ("Paris", "Paris, France"), ("one two three", "two three"),
    ("one two three", "three two"), ("one two three", "two four"), ("anything", "the"), ("anything at all", "..."),
    ("one the two", "one two"), ("one two", "one a two"), ("a b c a b d", "a b d"), ("x y x y z", "x y z"),
    # Unicode: case.
    ("ÉCOLE", "école"), ("STRASSE", "straße"), ("Straße", "STRAßE"), ("ẞ", "ß"), ("İstanbul", "istanbul"),
    ("İstanbul", "i̇stanbul"), ("ISTANBUL", "ıstanbul"), ("ΟΔΥΣΣΕΥΣ", "οδυσσευς"), ("ΣΑΣ Σ", "σας σ"), ("ΑΣ.", "ας"),
    ("ΑΣΑ", "ασα"), ("Σ", "σ"), ("Α'Σ", "α'ς"), ("Α\u0301Σ", "α\u0301ς"), ("ΑΣ\u0301", "ας\u0301"), ("1Σ", "1σ"),
    ("ΑΣ1", "ας1"), ("Α.Σ", "ας"), ("ΑΣ.Β", "ασβ"), ("МОСКВА", "москва"), ("Ёлка", "ёлка"), ("ԵՐԵՎԱՆ", "երևան"), ("Ǆ", "ǆ"),
    ("ǅ", "ǆ"), ("ﬁ", "fi"), ("K", "k"), ("Å", "å"), ("Ω", "ω"), ("ⅣX", "ⅳx"), ("Ⓐ", "ⓐ"), ("ＡＢＣ", "ａｂｃ"), ("𐐀𐐁", "𐐨𐐩"),
    ("Ꭰ", "ꭰ"), ("Ა", "ა"), ("Ɐ", "ɐ"), ("ÀÖØÞ", "àöøþ"), ("Ÿ", "ÿ"), ("Ł", "ł"), ("Œuvre", "œuvre"), ("Ǉ", "ǉ"),
    # Unicode: white space.
    ("New\u00a0York", "New York"), ("a\u3000b", "b"), ("x\u2003y", "x y"), ("x\u200by", "xy"), ("x\u200by", "x y"),
    ("x\u0085y", "x y"), ("x\u2028y\u2029z", "x y z"), ("x\u001cy\u001fz", "x y z"), ("\u1680x\u205f", "x"),
    ("x\ufeffy", "x y"), ("x\u202fy", "x y"), ("x\u180ey", "x y"), ("x\u000by\u000cz", "x y z"), ("the\u00a0end", "end"),
    # Unicode: punctuation stays, and borders words.
    ("“Paris”", "Paris"), ("“Paris”", "“paris”"), ("«the»", "«»"), ("«the»", "« »"), ("a–b", "–b"), ("a–b", " –b"), ("the—end", "—end"),
    ("l’an", "l’"), ("l’an", "l’ "), ("don’t", "dont"), ("don’t", "don’t"), ("a…", "…"), ("¿a?", "¿"), ("a´", "´"), ("東京。", "東京"),
    ("a\u0301", "\u0301"), ("a\u0301b", "b"), ("e\u0301a", "e\u0301"), ("the²", "the²"), ("a½", "½"), ("a٣", "٣"), ("a€", "€"),
    ("€ a", "€"), ("a😀", "😀"), ("😀the😀", "😀 😀"), ("a\u200db", "b"), ("a\u200d", "\u200d"), ("a\u0000b", "b"), ("ªa", "ª"),
    ("a·b", "·b"), ("aʼb", "aʼb"), ("naïve", "naive"), ("é", "e\u0301"), ("\ufffd", "\ufffd"),
    # Other scripts.
    ("東京", "東京"), ("東京 都", "東京"), ("서울", "서울 특별시"), ("القاهرة", "القاهرة"), ("नई दिल्ली", "दिल्ली"), ("กรุงเทพ", "กรุงเทพ"),
    ("ירושלים", "ירושלים"), ("Київ", "київ"), ("Αθήνα", "αθήνα"), ("ஸ்ரீ", "ஸ்ரீ"), ("თბილისი", "თბილისი"), ("🇫🇷 France", "france"),
    # Several golds.
    ("Big Apple", "New York City", "the Big Apple"), ("NYC", "New York", "New York City"), ("New York City", "NYC", "New York"),
    ("no", "yes", "no"), ("yes", "noanswer", "True"), ("", "x", ""), ("x", "", "x"), ("one two", "two three", "one", "one two three"),
    ("b a n", "n", "b", "b n"), ("Barack Obama", "Obama", "Barack Hussein Obama", "President Obama"), ("the", "x", "a"),
    ("William", "Bill", "Will", "Willem"), ("1889", "March 1889", "1889."), ("x y z", "z y x", "y z", "x z"),
]


def drawn(seed, count):
    """Answers put together from few words, so that overlaps, orders and repetitions of every kind occur."""
    draw = random.Random(seed)
    words = ["a", "An", "the", "x", "y", "Y.", "z", "yes", "no", "É", "é", "Σ", "ΑΣ", "«a»", "1", "1,0", "", "-", "東", "noanswer"]
    spaces = [" ", "  ", "\u00a0", "-", ", ", "", "\u3000", "’"]

    def text(longest):
        return "".join(draw.choice(words) + draw.choice(spaces) for _ in range(draw.randrange(longest)))

    return [(text(9), *[text(6) for _ in range(draw.choice([1, 1, 2, 4]))]) for _ in range(count)]


def digest(texts):
    value = FNV_OFFSET
    for text in texts:
        for byte in text.encode():
            value = (value ^ byte) * FNV_PRIME & MASK
    return f"{value:016x}"


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    if unicodedata.unidata_version != UNICODE_VERSION:
        sys.exit(f"expected a Python with Unicode {UNICODE_VERSION}, found {unicodedata.unidata_version}")
    every = [chr(c) for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
    cases = [{"prediction": p, "golds": golds, "normalized": normalize(p), **scores(p, golds)}
             for p, *golds in WRITTEN + drawn(17, 300)]
    record = {
        "unicode_version": UNICODE_VERSION,
        "columns": ["exact_match", "f1", "cover_exact_match", "contiguous_cover_match"],
        "cases": cases,
        # FNV-1a over every code point: its lower case; its lower case and the sigma's in three surroundings; its class.
        "every_code_point": {
            "lower": digest(c.lower() for c in every),
            "sigma_after": digest((c + "Σ").lower() for c in every),
            "sigma_after_letter": digest(("A" + c + "Σ").lower() for c in every),
            "sigma_before": digest(("AΣ" + c).lower() for c in every),
            "space": digest("1" if c.isspace() else "0" for c in every),
            "word": digest("1" if re.match(r"\w", c) else "0" for c in every),
        },
    }
    with open(sys.argv[1], "w", encoding="ascii") as file:
        json.dump(record, file, indent=0)
        file.write("\n")
    print(f"{sys.argv[1]}: {len(cases)} cases")


if __name__ == "__main__":
    main()
