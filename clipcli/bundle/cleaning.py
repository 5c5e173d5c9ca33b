"""What is done to a text before a model's tokenizer sees it: a `tokenizer.json` cannot say all of it.

The original release repairs broken encodings with `ftfy`, resolves HTML entities, joins white space and writes small
letters; OpenCLIP has two more forms of it. `model.json` names the one a model was trained with (`text_cleaning`).
"""

from __future__ import annotations

import string
from collections.abc import Callable

__all__ = ["CLEANINGS", "clean"]

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def clean(text: str, how: str) -> str:
    """`text` by the rule `how`, one of `CLEANINGS`."""
    return _RULES[how](text)


def _mended(text: str) -> str:
    if text.isascii() and text.isprintable() and "&" not in text:
        return text.strip()  # nothing in it to mend, and `ftfy` takes longer to import than a search to answer

    import html  # late, as `ftfy`: most texts and models do without

    import ftfy

    # Twice, as the original does: "&amp;amp;" is a common sight in scraped captions.
    return html.unescape(html.unescape(ftfy.fix_text(text))).strip()


def _joined(text: str) -> str:
    return " ".join(text.split())


def _canonical(text: str) -> str:
    """As big_vision prepares prompts for SigLIP: no ASCII punctuation, small letters, single spaces."""
    return _joined(_mended(text).replace("_", " ").translate(_NO_PUNCTUATION).lower())


_RULES: dict[str, Callable[[str], str]] = {
    "none": lambda text: text,
    "lower": lambda text: _joined(_mended(text)).lower(),
    "whitespace": lambda text: _joined(_mended(text)),
    "canonicalize": _canonical,
}
CLEANINGS = tuple(_RULES)
