"""What is wrong with data before a step is taken: each fault by a name, with examples and what is done about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from clipcli.datasets.rows import Row
from trainer.defaults import BY_PAIRS, RATE
from trainer.options import TrainOptions

__all__ = ["Finding", "diagnose", "set_aside", "small_validation"]

EXAMPLES = 3
LETTERS = 3  # a caption of fewer says next to nothing
REPEATED = 0.2  # share of pictures whose caption stands at another picture as well, from which it is worth a word
FEW_TEXTS = 50  # rows for each distinct caption, from which captions are rather classes
TOKENS_A_LETTER = 0.75  # English has about 0.25; from here on a text is spelt almost byte by byte
UNEVEN = 20  # times the rows of the rarest class
RATE_TOO_HIGH = 20  # times the default
FEW_PICTURES = 50  # to measure on: see `trainer.validation.FEW`


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One kind of fault: how often, where for example, and what training does about it."""

    name: str
    count: int
    what: str
    then: str
    examples: tuple[str, ...] = ()


def diagnose(
    rows: Sequence[Row],
    used: Sequence[int],
    held: Sequence[int],
    digests: Mapping[int, bytes],
    options: TrainOptions,
    *,
    lengths: Callable[[Sequence[str]], list[int]] | None = None,
    context: int = 0,
) -> list[Finding]:
    """Faults of the rows `used` to train beside those `held` to measure on; `digests` has the content of pictures.

    `lengths` counts a text's tokens with both markers, in the start model's vocabulary or in one learnt from these
    texts, and is None where none can be learnt; `context` is how many the model reads.
    """
    found = [
        *_texts(rows, used),
        *_pictures(rows, used, held, digests),
        *(_spelling(rows, used, lengths, context, given=options.start is not None) if lengths is not None else ()),
        *_classes(rows, used),
        *_rate(options),
    ]
    return [finding for finding in found if finding.count]


def set_aside(refused: Sequence[tuple[str, str]]) -> list[Finding]:
    """A finding for each reason why rows cannot be used."""
    places: dict[str, list[str]] = {}
    for where, reason in refused:
        places.setdefault(reason.split(" (")[0], []).append(where)
    return [_finding(reason, where, "rows cannot be used", "they are left out") for reason, where in places.items()]


def small_validation(pictures: int) -> list[Finding]:
    if not 0 < pictures < FEW_PICTURES:
        return []
    what = f"pictures are held out: recall@10 is {min(100.0, 1000 / pictures):.0f} % by luck alone"
    return [Finding(name="small validation", count=pictures, what=what, then="figures are shown, and say little")]


def _finding(name: str, where: Sequence[str], what: str, then: str) -> Finding:
    return Finding(name=name, count=len(where), what=what, then=then, examples=tuple(where[:EXAMPLES]))


def _texts(rows: Sequence[Row], used: Sequence[int]) -> list[Finding]:
    said = [(number, text) for number in used for text in rows[number].captions]
    short = [f"{rows[n].name}: {text}" for n, text in said if sum(map(str.isalnum, text)) < LETTERS]
    found = [_finding("near-empty caption", short, "captions say next to nothing", "they are trained on all the same")]
    pictures: dict[str, set[object]] = {}
    for number, text in said:
        pictures.setdefault(text.casefold(), set()).add(rows[number].image)
    if said and len(pictures) * FEW_TEXTS <= len(said):
        what = f"rows with {len(pictures)} distinct captions: no more can be told apart than that"
        then = "equal captions of a batch belong to all its pictures (--same-text)"
        return [*found, Finding(name="few captions", count=len(said), what=what, then=then, examples=_some(pictures))]
    again = {text: None for text, of in pictures.items() if len(of) > 1}
    repeated = [number for number, text in said if text.casefold() in again]
    if len(repeated) > REPEATED * len(said):
        then = "equal captions of a batch belong to all its pictures (--same-text)"
        what = "captions stand at other pictures as well"
        duplicate = Finding(name="duplicate caption", count=len(repeated), what=what, then=then, examples=_some(again))
        found.append(duplicate)
    return found


def _some(texts: Mapping[str, object]) -> tuple[str, ...]:
    return tuple(texts)[:EXAMPLES]


def _pictures(
    rows: Sequence[Row], used: Sequence[int], held: Sequence[int], digests: Mapping[int, bytes]
) -> list[Finding]:
    files: dict[bytes, dict[object, str]] = {}
    for number in used:
        if number in digests:
            files.setdefault(digests[number], {}).setdefault(rows[number].image, rows[number].name)
    copies = [" = ".join(list(names.values())[:2]) for names in files.values() if len(names) > 1]
    leaked = {digests[n]: rows[n].name for n in held if n in digests and digests[n] in files}
    return [
        _finding("duplicate picture", copies, "pictures are there under several names", "each is trained on"),
        _finding(
            "picture on both sides",
            list(leaked.values()),
            "pictures to check with are also trained on",
            "figures will flatter the model",
        ),
    ]


def _spelling(
    rows: Sequence[Row],
    used: Sequence[int],
    lengths: Callable[[Sequence[str]], list[int]],
    context: int,
    *,
    given: bool,  # whether the vocabulary is the start model's: one learnt from the texts spells what they have
) -> list[Finding]:
    texts = list(dict.fromkeys(text for number in used for text in rows[number].captions))
    counted = list(zip(texts, lengths(texts), strict=True))
    long = [text for text, tokens in counted if tokens > context]
    strange = [
        text
        for text, tokens in counted
        if given and (letters := sum(map(str.isalnum, text))) >= 8 and tokens - 2 > TOKENS_A_LETTER * letters
    ]
    # What the vocabulary cannot spell is long for that reason.
    spelt = [text for text in long if text not in set(strange)]
    return [
        _finding("long caption", spelt, f"captions are longer than the {context} tokens read", "the rest is cut off"),
        _finding(
            "strange alphabet",
            strange,
            "captions are in a language or alphabet that the model's vocabulary can only spell byte by byte",
            "they are trained on, and little is learnt from them; --scratch learns a vocabulary",
        ),
    ]


def _classes(rows: Sequence[Row], used: Sequence[int]) -> list[Finding]:
    counts = Counter(label for number in used if (label := rows[number].label)).most_common()
    if len(counts) < 2 or counts[0][1] < UNEVEN * counts[-1][1]:
        return []
    (most, many), (least, few) = counts[0], counts[-1]
    what = f"times as many pictures of {most!r} ({many:,}) as of {least!r} ({few:,})"
    then = "rows are drawn as they are"
    return [Finding(name="uneven classes", count=many // few, what=what, then=then, examples=(most, least))]


def _rate(options: TrainOptions) -> list[Finding]:
    usual = BY_PAIRS[0][1]["lr"] * RATE[options.tune]
    if options.start is None or "lr" in options.by_pairs or options.lr < RATE_TOO_HIGH * usual:
        return []
    times = round(options.lr / usual)
    what = f"times the usual learning rate of fine-tuning ({options.lr:g}, not {usual:g}) undoes what the model knows"
    return [Finding(name="high learning rate", count=times, what=what, then="it is used as given (--lr)")]
