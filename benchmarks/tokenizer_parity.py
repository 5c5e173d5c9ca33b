"""Our tokenizers against the peers' on 20,000 strings: `python -m benchmarks.tokenizer_parity PHOTOS`.

PHOTOS is a Parquet file with captions. A row of numbers that differs anywhere counts. Needs open_clip_torch and
transformers.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from open_clip.tokenizer import HFTokenizer, SimpleTokenizer, default_bpe

from benchmarks.peer_tokenizers import clip_tokenizer_of_transformers, learnt_tokenizer
from clipcli.bundle.tokenizer import Tokenizer
from trainer.reading.vocabulary import OPENCLIP_MARKERS, clip_tokenizer, read_merges

COUNT = 20_000
WORDS = """
a photo of the cat, dog's they'll WE'VE I'M café naïve Ünïcödé straße ΣΊΣΥΦΟΣ İstanbul ſ'ſ don't rock'n'roll 'S 'LL
&amp; &lt;b&gt; &amp;amp; &#233; &#x1F600; &nbsp; &copy &hearts; é à à ﬁne ２０２４ Ⅷ ½ №5 3.14 1,000 x² 10km/h
schön â€œquotedâ€\x9d Ã©tÃ© ðŸ˜€ … — – ‘quote’ “quote” #tag @user http://example.org/?a=b&c=d <b>bold</b>
_under_score_ <start_of_text> <end_of_text> <|startoftext|> <|endoftext|> !!<end_of_text>
"""


def strings(captions: list[str]) -> Iterator[tuple[str, str]]:
    """(kind, text), as many as wanted."""
    chance = random.Random(7)
    words = WORDS.split()
    control = [chr(number) for number in (*range(0x21), *range(0x7F, 0xA1))]
    entities = ["&", "&#", "&#x", "amp;", "lt;", "38;", "x41;", "quot", ";", "b", "é", " "]
    kinds: dict[str, Callable[[], str]] = {
        "caption": lambda: chance.choice(captions),
        "changed caption": lambda: chance.choice([str.upper, str.title, str.swapcase])(chance.choice(captions)),
        "words": lambda: chance.choice([" ", "", "  ", "\t", "\n"]).join(chance.choices(words, k=chance.randint(1, 8))),
        "emoji": lambda: "".join(chr(chance.randint(0x1F300, 0x1FAFF)) for _ in range(chance.randint(1, 6)))
        + chance.choice(["", "\u200d", "\ufe0f", " ok"]),
        "CJK": lambda: "".join(
            chr(chance.choice([chance.randint(0x4E00, 0x9FFF), chance.randint(0x3040, 0x30FF), 0x3000, 0xAC00]))
            for _ in range(chance.randint(1, 20))
        ),
        "control": lambda: "".join(chance.choice(["a", " ", chance.choice(control)]) for _ in range(12)),
        "entities": lambda: "".join(chance.choices(entities, k=10)),
        "long": lambda: " ".join(chance.choices(captions, k=chance.randint(5, 40))),
        "any": lambda: "".join(_any(chance) for _ in range(chance.randint(0, 25))),
    }  # fmt: skip
    names = list(kinds)
    for number in range(COUNT):
        kind = names[number % len(names)]
        yield kind, kinds[kind]()


def _any(chance: random.Random) -> str:
    """Any assigned character."""
    while True:
        letter = chr(chance.choice([chance.randint(0, 0x24FF), chance.randint(0, 0xFFFF), chance.randint(0, 0x1FFFF)]))
        if unicodedata.category(letter) not in ("Cn", "Cs", "Co"):
            return letter


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photos", type=Path)
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(parser.parse_args().photos, columns=["captions"])
    captions = [caption for row in table["captions"] for caption in row.as_py()]
    given = list(strings(captions))
    texts = [text for _, text in given]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "tokenizer.json").write_bytes(clip_tokenizer(read_merges(Path(default_bpe())), OPENCLIP_MARKERS))
        _compare("OpenCLIP", given, SimpleTokenizer()(texts).numpy(), Tokenizer.load(place, 77, cleaning="lower"))
        peer = clip_tokenizer_of_transformers()
        peer.save_pretrained(folder)
        rows = peer(texts, padding="max_length", max_length=77, truncation=True, return_tensors="np").input_ids
        _compare("transformers", given, rows, Tokenizer.load(place, 77, pad_id=peer.pad_token_id))
        learnt_tokenizer().save_pretrained(folder)
        rows = HFTokenizer(folder, context_length=64, clean="canonicalize")(texts).numpy()
        _compare("OpenCLIP SigLIP", given, rows, Tokenizer.load(place, 64, cleaning="canonicalize", pad_id=1))


def _compare(name: str, given: list[tuple[str, str]], theirs: object, ours: Tokenizer) -> None:
    rows = ours([text for _, text in given])
    wrong = (rows != theirs).any(axis=1).nonzero()[0]
    kinds = Counter(given[place][0] for place in wrong)
    print(f"{name}: {len(wrong)} of {len(given)} differ {dict(kinds) or ''}", flush=True)
    for place in wrong[:12]:
        print("   ", ascii(given[place][1]))


if __name__ == "__main__":
    main()
