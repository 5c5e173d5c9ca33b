"""Cleaning of texts: plain ones go past `ftfy`, and come out as they would have."""

from __future__ import annotations

import html
import string
import subprocess
import sys

import ftfy
from hypothesis import given
from hypothesis import strategies as st

from clipcli.bundle.cleaning import clean


@given(st.text(alphabet=string.printable, max_size=60))
def test_what_is_not_mended_needed_no_mending(text: str) -> None:
    mended = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
    assert clean(text, "whitespace") == " ".join(mended.split())
    assert clean(text, "lower") == " ".join(mended.split()).lower()


def test_plain_words_do_not_load_it() -> None:
    line = (
        "import sys; from clipcli.bundle.cleaning import clean; clean('A car!', 'lower'); print('ftfy' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True)
    assert told.stdout == "False\n"
