"""Compares load_tokenizer with Hugging Face tokenizers on many strings: every id and every decoded text.

    compare_tokenizers.py --program clara_tokenizer_compare [--folder FOLDER ...] [--model FILE ...] [--texts FOLDER ...]

Checks the tokenizer of every --folder, and BPE tokenizers that are trained here: byte-level ones with the
pre-tokenizers of SmolLM2, GPT-2, Llama 3, Qwen2 and o200k (Phi-4), WordPiece ones as BERT's, and ones of characters in the ways that
SentencePiece's vocabularies are written (Llama 2, Mistral, Gemma), some with added tokens of every flag. Every
--model, and models that are trained here, are SentencePiece's: compared with what transformers makes of them, and
with the module sentencepiece itself.
The strings are drawn from a fixed seed; --texts adds real text (JSON, JSONL, source code) to them. With
--time the speed of both is printed instead. Exit code 77 (skipped) where the module tokenizers is absent.
"""
import argparse
import io
import itertools
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"
try:
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from tokenizers import processors, trainers
except ImportError as error:
    print(f"skipped: the Python module tokenizers is not installed ({error})")
    raise SystemExit(77)

try:
    import sentencepiece
except ImportError:
    sentencepiece = None

from fetch_mistral_model import fetch_mistral_model  # noqa: E402

NUM_STRINGS = 10000  # of every --folder, every --model and every case of MAIN_CASES; the others get a fifth
MAIN_CASES = (
    "smollm2 cut", "gpt2", "llama3", "qwen2, flagged tokens", "o200k", "llama2", "metaspace first", "gemma",
    "sentencepiece", "word pieces, uncased", "word pieces, cased",
)
CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
LLAMA3 = CONTRACTIONS + (
    r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
CL100K = LLAMA3.replace("]?\\p{L}+", "]?+\\p{L}+").replace("]+[\\r\\n]*", "]++[\\r\\n]*")
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
O200K = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{CONTRACTIONS}?|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{CONTRACTIONS}?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# Short samples of many scripts: material for training and for strings.
SAMPLES = [
    "The quick brown fox can't jump; they'll say it's 3.14159 times slower, won't they? I'd've thought so.",
    "Zażółć gęślą jaźń. Příliš žluťoučký kůň úpěl ďábelské ódy. Ærøskøbing, Þórr, ßtraße, İstanbul, ŉ, ǅ.",
    "Съешь же ещё этих мягких французских булок, да выпей чаю. Їжак, ґанок, Ђорђе.",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. Ἐν ἀρχῇ ἦν ὁ λόγος, ᾗ ᾧ.",
    "דג סקרן שט בים מאוכזב ולפתע מצא חברה. בְּרֵאשִׁית בָּרָא אֱלֹהִים",
    "نص حكيم له سر قاطع وذو شأن عظيم مكتوب على ثوب أخضر. السَّلامُ عَلَيْكُم ١٢٣ پنج ۴۵۶",
    "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण। क्षत्रिय १२३ কমলা ফুল ৪৫ தமிழ் மொழி ௧ తెలుగు ಕನ್ನಡ മലയാളം",
    "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า ๑๒๓ ພາສາລາວ မြန်မာဘာသာ ភាសាខ្មែរ བོད་སྐད་ ქართული ენა հայերեն ትግርኛ ᏣᎳᎩ ᠮᠣᠩᠭᠣᠯ",
    "我能吞下玻璃而不伤身体。今天是2024年5月17日，天氣很好。３８％ 〇一二三",
    "いろはにほへと ちりぬるを。カタカナ ﾊﾝｶｸ ガギグ が。東京タワーは333メートル。",
    "키스의 고유조건은 입술끼리 만나야 하고 특별한 기술은 필요치 않다. 각각 ㄱㄴㄷ",
    "def merge(a: list[int], b=None) -> dict:\n    return {k: v for k, v in zip(a, b or [])}  # x != y\n",
    "#include <vector>\ntemplate <typename T> auto f(T&& t) -> decltype(t->x()) { return *t << 3 | 0xFFu; }\t\t//\r\n",
    "https://example.org/a/b_c?q=%20x&y=1#frag  mailto:someone@example.com  C:\\Temp\\file.txt /usr/lib/x.so.1",
    "| a | b |\n|---|---|\n| 1 | **2** |\n\n* item\n    - nested\n\n```json\n{\"k\": [1, 2.5e-3, null]}\n```\n",
    "∀x∈ℝ: ⌈x⌉ = −⌊−x⌋, α ∧ ¬β = ¬(¬α ∨ β), ∫₀^∞ e^{−x²}dx = √π⁄2 ½ ² ³ Ⅷ ① ㊿ ⒈",
    "ＦＵＬＬ ｗｉｄｔｈ ﬁ ﬂ ſt ﬆ Å Å Ω Ω K K é é ộ ộ ḍ̇ ḍ̇ 각 각 ｶﾞ",
]
EMOJI = [
    "😀", "👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪🇯🇵", "👨🏾‍🚀", "❤️", "☺️", "1️⃣", "🧑‍💻", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "🤷🏻‍♀️", "🫠", "🪿", "‼️", "©®™",
]
ODD = [
    "\0", "\x01\x02\x1b[31m", "\x7f", "\x85", "\xa0", "\xad", "\u1680", "\u180e", "\u2028", "\u2029", "\u200b",
    "\u200c", "\u200d", "\u2060", "\ufeff", "\ufffd", "\ufffe", "\U0010ffff", "\u3000", "\u202e", "\u0301", "\u0345",
    "\u0323\u0301", "\u1100\u1161\u11a8", "\ue000", "\u0149", "\u01c5", "\u1f88", "\u2160", "\U0001d400", "\u00df",
    "\u2581", "\u2581\u2581", " \u2581 ", "<0x0A>", "<0xE2>", "\u2582",
    "'\u017f", "'\u017f ", "'S", "'LL", "'\u212a", "\u1e9e", "\U00011935\U00011930", "\U00031350", "\U0002ebf0",
]


def texts_of_folder(folder):
    """Real text: string values of JSON and JSONL files, other text files as they are, in pieces."""
    def strings(value):
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            for item in value.values():
                yield from strings(item)
        elif isinstance(value, list):
            for item in value:
                yield from strings(item)

    for file in sorted(Path(folder).rglob("*")):
        if file.suffix not in (".json", ".jsonl", ".md", ".cc", ".h", ".py", ".txt") or not file.is_file():
            continue
        text = file.read_bytes()[:400_000].decode("utf-8", "ignore")
        if file.suffix == ".jsonl":
            for line in text.split("\n")[:300]:
                try:
                    yield from strings(json.loads(line))
                except ValueError:
                    pass
        elif file.suffix == ".json" and file.stat().st_size < 50_000_000:
            try:
                yield from itertools.islice(strings(json.loads(file.read_bytes())), 3000)
            except ValueError:
                pass
        else:
            yield from (text[i : i + 2000] for i in range(0, len(text), 2000))


def scalar(rng):
    """A random code point: any plane, or one of the busier blocks."""
    first, last = rng.choice([
        (0, 0x7F), (0x80, 0x24F), (0x250, 0x36F), (0x370, 0x1FFF), (0x2000, 0x2BFF), (0x2E80, 0x9FFF), (0xA000, 0xD7FF),
        (0xE000, 0xFFFF), (0x10000, 0x1FFFF), (0x20000, 0x323AF), (0, 0x10FFFF),
    ])
    while True:
        point = rng.randint(first, last)
        if not 0xD800 <= point <= 0xDFFF:
            return chr(point)


def make_strings(rng, count, real, tokens):
    """`count` strings that mix everything that tokenizers treat in a way of its own."""
    def piece():
        kind = rng.randrange(14)
        if kind == 0:
            return rng.choice(ODD)
        if kind == 1:
            return rng.choice(EMOJI)
        if kind == 2:
            return rng.choice([" ", "\n", "\t", "\r\n", "\u3000", "\xa0", " \n", "\n "]) * rng.choice([1, 1, 2, 3, 7, 40])
        if kind == 3:
            return "".join(rng.choice("0123456789") for _ in range(rng.choice([1, 2, 3, 4, 5, 9, 30])))
        if kind == 4:
            return "".join(scalar(rng) for _ in range(rng.randint(1, 12)))
        if kind == 5:
            return rng.choice("abXYéЖ字ا'!-_.") * rng.choice([1, 2, 5, 17, 60, 300])
        if kind in (6, 7) and tokens:
            token = rng.choice(tokens)
            change = rng.randrange(9)
            if change == 0:
                return token.upper()
            if change == 1:
                return token.title()
            if change == 2:
                return token[: rng.randint(0, len(token))]
            if change == 3:
                return token + token
            if change == 4:
                return rng.choice([" ", "\n", "  ", "\t", "\u3000 "]) + token + rng.choice([" ", "\n", "   ", "\t"])
            if change == 5:
                return rng.choice(["a", "_", "1", "é", ".", "\u0301", "\u200d", "Ⓐ", "²"]) + token
            if change == 6:
                return token + rng.choice(["a", "_", "1", "é", ".", "\u0301", "\u200d", "Ⓐ", "²"])
            return token
        if kind == 8:
            return chr(rng.randint(0x61, 0x7A)) + "".join(
                chr(rng.choice([rng.randint(0x300, 0x36F), rng.randint(0x591, 0x5BD), rng.randint(0x1AB0, 0x1ACE)]))
                for _ in range(rng.randint(1, 6))
            )
        source = rng.choice(real) if real and kind >= 10 else rng.choice(SAMPLES)
        start = rng.randrange(len(source)) if source else 0
        return source[start : start + rng.choice([3, 10, 40, 160])]

    strings = ["", *SAMPLES, *EMOJI, *ODD, *tokens, "".join(tokens), " ".join(tokens)]
    strings += [text[:500] for text in rng.sample(real, min(len(real), count // 4))]
    while len(strings) < count:
        strings.append("".join(piece() for _ in range(rng.choice([1, 1, 2, 3, 5, 8]))))
    strings += ["a" * 20000, " " * 20000 + "x", "\n" * 9999, "A" * 20000, "é" * 9000, "!" * 9000, "字" * 9000, "12" * 5000]
    strings += ["".join(map(chr, range(start, start + 0x100))) for start in (*range(0, 0xD800, 0x100), 0x1F300, 0x1F900)]
    return strings


def every_code_point():
    """Each code point after a letter and before a blank, many to a string: classes of every character."""
    points = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF and not 0xE000 <= c < 0xF900 and c < 0xF0000]
    unit = [f"a{chr(c)}{chr(c)}B{chr(c)} " for c in points]
    return ["".join(unit[i : i + 512]) for i in range(0, len(unit), 512)]


def trained(corpus, cut, normalizer=None, vocabulary=3000, special=("<|endoftext|>", "<|im_start|>", "<|im_end|>")):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = cut
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(corpus, trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=list(special), show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    ))
    return tokenizer


def split(pattern, behavior="isolated", invert=False):
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), behavior, invert), pre_tokenizers.ByteLevel(False, use_regex=False),
    ])


def add_flagged(tokenizer):
    """Added tokens with every flag, some special, some inside one another."""
    for special in (True, False):
        name = "s" if special else "n"
        tokenizer.add_tokens([AddedToken(f"<{name}:plain>", special=special, normalized=False)])
        for flag in ("lstrip", "rstrip", "single_word", "normalized"):
            tokenizer.add_tokens([AddedToken(f"<{name}:{flag}>", special=special, **{"normalized": False, flag: True})])
        tokenizer.add_tokens([
            AddedToken(f"<{name}:both>", special=special, lstrip=True, rstrip=True, normalized=False),
            AddedToken(f"{name}word", special=special, single_word=True, normalized=not special),
            AddedToken(f"{name}wordier", special=special, lstrip=True, single_word=True, normalized=False),
            AddedToken(f"caf\u00e9{name}", special=special, normalized=True),
            AddedToken(f"cafe\u0301{name}!", special=special, normalized=True),
            AddedToken(f"\u212b{name}", special=special, normalized=False),
        ])
    tokenizer.add_tokens([AddedToken("<s:plain><n:plain>", normalized=False), AddedToken("\n\n\n", normalized=False)])
    tokenizer.add_tokens([AddedToken("   ", normalized=False), AddedToken("<s:", normalized=False)])
    return tokenizer


def with_model_options(tokenizer, **options):
    """The same tokenizer with members of its model changed."""
    value = json.loads(tokenizer.to_str())
    value["model"].update(options)
    return Tokenizer.from_str(json.dumps(value))


def trained_cases(corpus):
    byte_level = pre_tokenizers.ByteLevel(False)
    smollm = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level])
    yield "smollm2 cut", trained(corpus, smollm)
    yield "smollm2 cut, flagged tokens", add_flagged(trained(corpus, smollm))
    yield "gpt2", trained(corpus, byte_level)
    yield "gpt2, prefix space", add_flagged(trained(corpus, pre_tokenizers.ByteLevel(True)))
    yield "gpt2, digits together", trained(corpus, pre_tokenizers.Sequence([pre_tokenizers.Digits(), byte_level]))
    llama = trained(corpus, split(LLAMA3))
    llama.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="<|im_start|> $A", special_tokens=[("<|im_start|>", 1)]),
    ])
    yield "llama3", llama
    # Fewer merges than tokens: whole words of the vocabulary that merging would not reach.
    merges = json.loads(llama.to_str())["model"]["merges"]
    partial = [m for i, m in enumerate(merges) if i % 7 != 3]
    yield "llama3, ignore_merges", with_model_options(llama, ignore_merges=True, merges=partial)
    yield "llama3, merges left out", with_model_options(llama, merges=partial)
    yield "qwen2", trained(corpus, split(QWEN2), normalizers.NFC())
    yield "qwen2, flagged tokens", add_flagged(trained(corpus, split(QWEN2), normalizers.NFC()))
    nested = normalizers.Sequence([normalizers.NFC()])
    yield "phi4 (cl100k, removed inverted)", trained(corpus, split(CL100K, "removed", True), nested)
    yield "o200k", trained(corpus, split(O200K))
    yield "o200k (removed inverted), flagged tokens", add_flagged(trained(corpus, split(O200K, "removed", True)))
    for behavior in ("removed", "merged_with_previous", "merged_with_next", "contiguous"):
        yield f"split {behavior}", trained(corpus, split(r"\s+|\d|[aeiou]", behavior), vocabulary=1000)
    parts = [pre_tokenizers.Split("--", "merged_with_next"), pre_tokenizers.Split("a", "isolated"), byte_level]
    yield "split at strings", trained(corpus, pre_tokenizers.Sequence(parts), vocabulary=1000)
    yield "no cut", trained([t[:40] for t in corpus], pre_tokenizers.ByteLevel(False, use_regex=False), vocabulary=1000)
    vocabulary = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet())[:200])}
    vocabulary["<unk>"] = 200
    lacking = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>", fuse_unk=True))
    lacking.pre_tokenizer, lacking.decoder = byte_level, decoders.ByteLevel()
    yield "bytes missing, unknown fused", lacking
    yield "bytes missing, unknown", with_model_options(lacking, fuse_unk=False)
    yield "bytes missing, left out", with_model_options(lacking, unk_token=None)


def word_piece(corpus, **options):
    """A BERT tokenizer; `options` are those of its normalizer."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(**options)
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(corpus, trainers.WordPieceTrainer(
        vocab_size=3000, special_tokens=special, show_progress=False, limit_alphabet=900))
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


def word_piece_cases(corpus):
    yield "word pieces, uncased", word_piece(corpus)
    yield "word pieces, uncased, flagged tokens", add_flagged(word_piece(corpus))
    yield "word pieces, cased", word_piece(corpus, lowercase=False)
    yield "word pieces, uncased with accents", word_piece(corpus, strip_accents=False)
    yield "word pieces, cased without accents", word_piece(corpus, lowercase=False, strip_accents=True)
    plain = word_piece(corpus, clean_text=False, handle_chinese_chars=False, lowercase=False)
    plain.decoder = decoders.WordPiece("##", cleanup=False)
    yield "word pieces, text as it is", plain
    yield "word pieces, short words", with_model_options(word_piece(corpus), max_input_chars_per_word=7)


BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def characters_json(corpus, vocabulary=3000, byte_fallback=True, changes=()):
    """tokenizer.json of a BPE of characters as SentencePiece's are: <unk>, <s>, </s>, bytes, then the pieces."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    # Runs of blanks are pieces, too.
    corpus = [*corpus, *[" " * n + "x" for n in (2, 3, 4, 8, 16) for _ in range(50)]]
    tokenizer.train_from_iterator(corpus, trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=["<unk>", "<s>", "</s>", *BYTES], show_progress=False, limit_alphabet=700,
    ))
    value = json.loads(tokenizer.to_str())
    value["added_tokens"] = value["added_tokens"][:3]
    blank = "\u2581"
    merges = value["model"]["merges"]
    vocab = value["model"]["vocab"]
    for count in (2, 4, 8):
        if blank * count not in vocab:
            vocab[blank * count] = len(vocab)
            merges.insert(0 if count == 2 else 1, [blank * (count // 2)] * 2)
    value["model"].update(byte_fallback=byte_fallback, fuse_unk=True, unk_token="<unk>")
    value["normalizer"] = json.loads(normalizers.Sequence([
        normalizers.Prepend(blank), normalizers.Replace(" ", blank),
    ]).__getstate__())
    value["pre_tokenizer"] = None
    value["decoder"] = json.loads(decoders.Sequence([
        decoders.Replace(blank, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0),
    ]).__getstate__())
    for path, change in changes:
        target = value
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] = change
    return value


def metaspace(scheme, split):
    return {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme, "split": split}


def character_cases(corpus):
    llama = characters_json(corpus)

    def with_changes(*changes):
        value = json.loads(json.dumps(llama))
        for path, change in changes:
            target = value
            for key in path[:-1]:
                target = target[key]
            target[path[-1]] = change
        return Tokenizer.from_str(json.dumps(value))

    yield "llama2", with_changes()
    yield "llama2, flagged tokens", add_flagged(with_changes())
    spaces = (["normalizer"], None)
    for scheme in ("first", "always", "never"):
        for split in (False, True):
            cut = (["pre_tokenizer"], metaspace(scheme, split))
            name = f"metaspace {scheme}" + (", split" if split else "")
            yield name, with_changes(spaces, cut)
            decoder = (["decoder"], {key: cut[1][key] for key in cut[1]})
            yield name + ", flagged tokens", add_flagged(with_changes(spaces, cut, decoder))
    blank_to_mark = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
    parts = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False}
    decoder = {"type": "Sequence", "decoders": llama["decoder"]["decoders"][:3]}
    yield "gemma", with_changes((["normalizer"], blank_to_mark), (["pre_tokenizer"], parts), (["decoder"], decoder))
    yield "llama2, ignore_merges", with_changes((["model", "ignore_merges"], True))
    fewer = [m for i, m in enumerate(llama["model"]["merges"]) if i % 7 != 3]
    yield "llama2, merges left out, ignore_merges", with_changes(
        (["model", "ignore_merges"], True), (["model", "merges"], fewer))
    # A merge over the border of two words.
    crossing = json.loads(json.dumps(llama))
    crossing["model"]["vocab"]["e\u2581"] = len(crossing["model"]["vocab"])
    crossing["model"]["merges"].insert(0, ["e", "\u2581"])
    yield "llama2, merges over words", Tokenizer.from_str(json.dumps(crossing))
    some_bytes = {t: i for i, t in enumerate(t for t in llama["model"]["vocab"] if t not in BYTES[0x90:0xE0])}
    for fuse in (True, False):
        value = json.loads(json.dumps(llama))
        value["model"].update(vocab=some_bytes, fuse_unk=fuse)
        yield f"llama2, bytes missing, fuse {fuse}", Tokenizer.from_str(json.dumps(value))
        yield f"llama2, no bytes, fuse {fuse}", with_changes(
            (["model", "byte_fallback"], False), (["model", "fuse_unk"], fuse))
    yield "llama2, no bytes, left out", with_changes((["model", "byte_fallback"], False), (["model", "unk_token"], None))
    regexes = {"type": "Sequence", "normalizers": [
        {"type": "NFC"}, {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "\u2581"}, blank_to_mark]}
    strip = {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"Regex": "[\u2581]"}, "content": " "}, {"type": "ByteFallback"},
        {"type": "Strip", "content": " ", "start": 2, "stop": 0}]}
    yield "replaced by pattern", with_changes((["normalizer"], regexes), (["decoder"], strip))


def as_transformers_converts(file, legacy, add_prefix_space=True):
    """The tokenizer that transformers' LlamaTokenizerFast has for a tokenizer.model without other files."""
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(file))
    count = pieces.get_piece_size()
    vocabulary = {pieces.id_to_piece(i): i for i in range(count)}
    score = [pieces.get_score(i) for i in range(count)]
    merges = []
    for piece, i in vocabulary.items():
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in vocabulary and right in vocabulary:
                merges.append((-score[i], -len(left), -len(right), i, vocabulary[left], vocabulary[right], left, right))
    merges.sort(key=lambda m: m[:3])
    tokenizer = Tokenizer(models.BPE(
        vocabulary, [m[6:] for m in merges], unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    blank = "\u2581"
    if legacy:
        prepend = [normalizers.Prepend(blank)] if add_prefix_space else []
        tokenizer.normalizer = normalizers.Sequence([*prepend, normalizers.Replace(" ", blank)])
    else:
        scheme = "first" if add_prefix_space else "never"
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(blank, prepend_scheme=scheme, split=False)
    strip = [decoders.Strip(" ", 1, 0)] if add_prefix_space else []
    tokenizer.decoder = decoders.Sequence([
        decoders.Replace(blank, " "), decoders.ByteFallback(), decoders.Fuse(), *strip])
    control = [pieces.id_to_piece(i) for i in range(count) if pieces.is_control(i)]
    names = dict.fromkeys([*control, "<s>", "</s>", "<unk>"])
    tokenizer.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in names])
    return tokenizer


def train_sentencepiece(corpus, file, vocabulary=3000):
    """Writes a small SentencePiece model with the settings of Llama's to `file`."""
    lines = sorted({line for text in corpus for line in text.replace("\0", "").split("\n") if line.strip()})
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, model_type="bpe", vocab_size=vocabulary, byte_fallback=True,
        character_coverage=0.995, normalization_rule_name="identity", remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True, split_digits=True, max_sentence_length=1 << 16, minloglevel=2,
    )
    Path(file).write_bytes(model.getvalue())


def sentencepiece_cases(files, scratch):
    """(name, folder, reference) of each model in the ways that tokenizer_config.json can ask for."""
    for name, file in files:
        for legacy in (True, False):
            for add_prefix_space in (True, False):
                folder = Path(scratch, f"{name}-{legacy}-{add_prefix_space}")
                folder.mkdir(parents=True)
                (folder / "tokenizer.model").write_bytes(file.read_bytes())
                (folder / "tokenizer_config.json").write_text(json.dumps({
                    "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "legacy": legacy,
                    "add_prefix_space": add_prefix_space,
                }))
                options = ("" if legacy else ", not legacy") + ("" if add_prefix_space else ", no prefix")
                yield name + options, folder, as_transformers_converts(file, legacy, add_prefix_space)


def compare_with_sentencepiece(program, name, folder, strings):
    """Prints and returns the number of texts that the module sentencepiece encodes otherwise."""
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    with tempfile.TemporaryDirectory() as scratch:
        write_requests(f"{scratch}/requests", strings, [])
        subprocess.run([program, folder, f"{scratch}/requests", f"{scratch}/replies"], check=True)
        found = Replies(f"{scratch}/replies")
    count = 0
    for text in strings:
        found.ids()
        got, expected = found.ids(), pieces.encode(text)
        if got != expected:
            count += 1
            if count <= 5:
                print(f"  {text[:200]!r}\n    expected {expected[:40]}\n    found    {got[:40]}")
    print(f"{name}, against sentencepiece {sentencepiece.__version__}: {len(strings)} strings: {count} differences",
          flush=True)
    return count


def write_requests(file, strings, id_lists):
    with open(file, "wb") as out:
        for text in strings:
            data = text.encode("utf-8")
            out.write(b"T" + struct.pack("<I", len(data)) + data)
        for ids in id_lists:
            out.write(b"I" + struct.pack(f"<I{len(ids)}I", len(ids), *ids))


class Replies:
    def __init__(self, file):
        self.data, self.at = Path(file).read_bytes(), 0

    def number(self):
        self.at += 4
        return struct.unpack_from("<I", self.data, self.at - 4)[0]

    def ids(self):
        count = self.number()
        self.at += 4 * count
        return list(struct.unpack_from(f"<{count}I", self.data, self.at - 4 * count))

    def text(self):
        count = self.number()
        self.at += count
        return self.data[self.at - count : self.at].decode("utf-8")


def compare(program, name, folder, reference, strings, rng):
    """Prints and returns the number of differences of one tokenizer."""
    reference.no_truncation()
    reference.no_padding()
    expected = []
    for as_text in (False, True):
        reference.encode_special_tokens = as_text
        expected.append([reference.encode(text, add_special_tokens=False).ids for text in strings])
    size = reference.get_vocab_size()
    id_lists = expected[0][:2000] + [
        [rng.randrange(size + 5) for _ in range(rng.choice([1, 2, 5, 20]))] for _ in range(3000)
    ]
    with tempfile.TemporaryDirectory() as scratch:
        requests, replies = f"{scratch}/requests", f"{scratch}/replies"
        write_requests(requests, strings, id_lists)
        subprocess.run([program, folder, requests, replies], check=True)
        found = Replies(replies)
    differences = []
    for i, text in enumerate(strings):
        for mode, ids in (("parse", expected[0][i]), ("as text", expected[1][i])):
            got = found.ids()
            if got != ids:
                differences.append(f"{mode}: {text[:200]!r}\n    expected {ids[:40]}\n    found    {got[:40]}")
    for ids in id_lists:
        for skip in (False, True):
            got, text = found.text(), reference.decode(ids, skip_special_tokens=skip)
            if got != text:
                differences.append(f"decode {ids[:40]}, skip {skip}: expected {text[:200]!r}, found {got[:200]!r}")
    tokens = sum(map(len, expected[0]))
    print(f"{name}: {len(strings)} strings, {tokens} tokens, {len(id_lists)} decodes: {len(differences)} differences",
          flush=True)
    for difference in differences[:5]:
        print("  " + difference)
    return len(differences)


def measure(program, folder, texts):
    """Prints the seconds of both for the same text in one thread."""
    reference = Tokenizer.from_file(str(folder / "tokenizer.json"))
    with tempfile.TemporaryDirectory() as scratch:
        write_requests(f"{scratch}/requests", texts, [])
        count = sum(len(reference.encode(text, add_special_tokens=False).ids) for text in texts[:100])
        start = time.perf_counter()
        count = sum(len(reference.encode(text, add_special_tokens=False).ids) for text in texts)
        theirs = time.perf_counter() - start
        out = subprocess.run([program, folder, f"{scratch}/requests", "--time", "1"], check=True, capture_output=True)
        ours, our_count = out.stdout.split()
    size = sum(len(text.encode()) for text in texts)
    assert int(our_count) == count
    print(f"{folder}: {size / 1e6:.2f} MB, {count} tokens: Hugging Face {theirs:.3f} s, clara {float(ours):.3f} s, "
          f"ratio {theirs / float(ours):.1f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True, help="clara_tokenizer_compare")
    parser.add_argument("--folder", type=Path, action="append", default=[], help="with tokenizer.json; may be absent")
    parser.add_argument("--texts", type=Path, action="append", default=[], help="folders of real text")
    parser.add_argument("--model", action="append", default=[], metavar="NAME=FILE", help="SentencePiece models")
    parser.add_argument("--fetch-mistral", metavar="FOLDER", help="get Mistral's model into this folder and check it")
    parser.add_argument("--only", default="", help="only the cases with this in their name")
    parser.add_argument("--strings", type=int, default=NUM_STRINGS,
                        help="a real tokenizer; a quarter of them texts as they are, where there are as many")
    parser.add_argument("--time", action="store_true")
    arguments = parser.parse_args()

    rng = random.Random(20240517)
    real = [text for folder in arguments.texts for text in texts_of_folder(folder) if text.strip()]
    rng.shuffle(real)
    print(f"{len(real)} real texts")
    folders = [folder for folder in arguments.folder if (folder / "tokenizer.json").exists()]
    if arguments.time:
        texts, size = [], 0
        for text in real:
            texts.append(text)
            size += len(text.encode())
            if size > 2_000_000:
                break
        for folder in folders:
            measure(arguments.program, folder, texts)
        return 0

    corpus = (SAMPLES + EMOJI) * 3 + [text[:2000] for text in real[:400]]
    points = every_code_point()
    differences = 0
    with tempfile.TemporaryDirectory() as scratch:
        cases = [(str(folder), folder, Tokenizer.from_file(str(folder / "tokenizer.json"))) for folder in folders]
        made = itertools.chain(trained_cases(corpus), character_cases(corpus), word_piece_cases(corpus))
        for i, (name, tokenizer) in enumerate(made):
            folder = Path(scratch, str(i))
            folder.mkdir()
            tokenizer.save(str(folder / "tokenizer.json"))
            cases.append((name, folder, tokenizer))
        models_given = [(name, Path(file)) for name, file in (model.split("=", 1) for model in arguments.model)]
        if arguments.fetch_mistral:
            if not sentencepiece:
                print("skipped: the Python module sentencepiece is not installed")
                return 77
            mistral, reason = fetch_mistral_model(arguments.fetch_mistral)
            if mistral is None:
                print(f"skipped: {reason}")
                return 77
            models_given.append(("mistral", mistral))
        if sentencepiece:
            trained_model = Path(scratch, "trained.model")
            train_sentencepiece(corpus, trained_model)
            cases += sentencepiece_cases([("sentencepiece", trained_model), *models_given], Path(scratch, "models"))
        else:
            print("left out: SentencePiece models, since the Python module sentencepiece is not installed")
        for name, folder, reference in cases:
            if arguments.only not in name:
                continue
            added = [token.content for token in reference.get_added_tokens_decoder().values()]
            is_main = name in MAIN_CASES or folder in folders or name.split(",")[0] in dict(models_given)
            count = arguments.strings if is_main else arguments.strings // 5
            strings = make_strings(rng, count, real, added)
            if is_main:
                strings += points
            differences += compare(arguments.program, name, folder, reference, strings, rng)
            if name in ("sentencepiece", *dict(models_given)):
                differences += compare_with_sentencepiece(arguments.program, name, folder, strings)
    print(f"{differences} differences in all")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
