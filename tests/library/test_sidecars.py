"""XMP side-cars: what other programs can read, and that nothing of theirs is ever lost."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from clipcli.library import sidecars
from clipcli.library.sidecars import SidecarError, merged_sidecar, new_sidecar, sidecar_labels, write_sidecar

RDF, DC = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}", "{http://purl.org/dc/elements/1.1/}"
LABELS = st.text(st.characters(exclude_categories=("Cs", "Cc", "Cn", "Zs", "Zl", "Zp")), min_size=1, max_size=8).filter(
    lambda text: "\ufffe" not in text and "\uffff" not in text
)

DARKTABLE = """<?xml version="1.0" encoding="UTF-8"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 4.4.0-Exiv2">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:darktable="http://darktable.sf.net/"
    xmlns:dc="http://purl.org/dc/elements/1.1/"
   xmp:Rating="3"
   darktable:history_end="11">
   <darktable:history>
    <rdf:Seq>
     <rdf:li
      darktable:num="0"
      darktable:params="gz02eJx&gt;"/>
    </rdf:Seq>
   </darktable:history>
   <!-- not mine -->
   <dc:subject>
    <rdf:Bag>
     <rdf:li>sea</rdf:li>
     <rdf:li>R&amp;B &lt;live&gt;</rdf:li>
    </rdf:Bag>
   </dc:subject>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
"""
LIGHTROOM = (  # one line, an attribute for everything, no labels yet, another prefix for rdf
    "\ufeff<?xpacket begin='\ufeff' id='W5M0MpCehiHzreSzNTczkc9d'?><x:xmpmeta xmlns:x='adobe:ns:meta/'>"
    "<R:RDF xmlns:R='http://www.w3.org/1999/02/22-rdf-syntax-ns#'><R:Description R:about='' "
    "xmlns:crs='http://ns.adobe.com/camera-raw-settings/1.0/' crs:Exposure='>0.5' /></R:RDF></x:xmpmeta>"
    "<?xpacket end='w'?>"
)
EMPTY_BAG = new_sidecar([]).replace(b"<rdf:Bag>\n    </rdf:Bag>", b"<rdf:Bag />")


def labels_of(data: bytes) -> list[str]:
    """As another program reads them."""
    root = ElementTree.fromstring(data)
    return [item.text or "" for item in root.iterfind(f".//{RDF}Description/{DC}subject/*/{RDF}li")]


def everything_else(data: bytes) -> list[str]:
    """The whole document but the bag of labels, in a form that does not care about prefixes."""
    root = ElementTree.fromstring(data)
    for description in root.iter(f"{RDF}Description"):
        for subject in description.findall(f"{DC}subject"):
            description.remove(subject)
        if not len(description):
            description.text = None
    return [f"{one.tag} {sorted(one.attrib.items())} {(one.text or '').strip()}" for one in root.iter()]


@given(labels=st.lists(LABELS, max_size=5))
def test_a_new_one_reads_back(labels: list[str]) -> None:
    data = new_sidecar(labels)
    assert labels_of(data) == list(dict.fromkeys(labels))
    assert sidecar_labels(data) == labels_of(data)


@pytest.mark.parametrize("foreign", [DARKTABLE.encode(), LIGHTROOM.encode(), EMPTY_BAG, new_sidecar(["a"])])
@given(labels=st.lists(LABELS, max_size=4), again=st.lists(LABELS, max_size=2))
def test_another_program_s_stays_as_it_is(foreign: bytes, labels: list[str], again: list[str]) -> None:
    data = foreign
    for added in (labels, again, labels):
        before = labels_of(data)
        merged = merged_sidecar(data, added)
        new = [label for label in dict.fromkeys(added) if label not in before]
        assert labels_of(merged) == before + new
        assert everything_else(merged) == everything_else(foreign)
        if not new:
            assert merged == data
        data = merged


def test_every_other_byte_stays() -> None:
    data = DARKTABLE.encode()
    merged = merged_sidecar(data, ["sea", "boat"])
    line = b"     <rdf:li>boat</rdf:li>\n"
    at = merged.index(line)
    assert merged[:at] + merged[at + len(line) :] == data
    assert merged[at + len(line) :].startswith(b"    </rdf:Bag>")


@given(data=st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace")))
def test_nonsense_is_refused(data: bytes) -> None:
    with pytest.raises(SidecarError):
        merged_sidecar(data, ["a"])


@given(at=st.integers(0, len(DARKTABLE.encode()) - 1), byte=st.integers(0, 255))
def test_a_damaged_one_is_refused_or_still_whole(at: int, byte: int) -> None:
    data = bytearray(DARKTABLE.encode())
    assume(data[at] != byte)
    data[at] = byte
    try:
        merged = merged_sidecar(bytes(data), ["boat"])
    except SidecarError:
        return
    assert labels_of(merged)[-1] == "boat"
    assert everything_else(merged) == everything_else(bytes(data))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("</rdf:Bag>", "</rdf:Alt>"), "is damaged"),
        (("UTF-8", "ISO-8859-1"), "not in UTF-8"),
        (("<x:xmpmeta", '<!DOCTYPE x [<!ENTITY a "b">]><x:xmpmeta'), "document type"),
        (("http://www.w3.org/1999/02/22-rdf-syntax-ns#", "http://example.org/"), "no XMP side-car"),
        (("<rdf:li>sea</rdf:li>", "<rdf:li><b>sea</b></rdf:li>"), "more in it than text"),
        (('x:xmptk="XMP Core 4.4.0-Exiv2"', ""), ""),
    ],
)
def test_which_ones_are_refused(change: tuple[str, str], why: str) -> None:
    data = DARKTABLE.replace(*change).encode()
    if not why:
        assert labels_of(merged_sidecar(data, ["boat"])) == ["sea", "R&B <live>", "boat"]
        return
    with pytest.raises(SidecarError, match=why):
        merged_sidecar(data, ["boat"])


@pytest.mark.parametrize(
    "subject",
    [
        "<dc:subject>sea</dc:subject>",
        "<dc:subject/>",
        "<dc:subject><rdf:Alt><rdf:li>sea</rdf:li></rdf:Alt></dc:subject>",
        "<dc:subject><rdf:Bag/></dc:subject><dc:subject><rdf:Bag/></dc:subject>",
        "<dc:subject><rdf:Bag/><rdf:Bag/></dc:subject>",
    ],
)
def test_a_subject_that_is_no_list(subject: str) -> None:
    begin, end = DARKTABLE.index("<dc:subject>"), DARKTABLE.index("</dc:subject>") + len("</dc:subject>")
    with pytest.raises(SidecarError, match="no list"):
        merged_sidecar((DARKTABLE[:begin] + subject + DARKTABLE[end:]).encode(), ["boat"])


def test_utf_16_is_refused() -> None:
    with pytest.raises(SidecarError, match="not in UTF-8"):
        merged_sidecar(DARKTABLE.encode("utf-16"), ["boat"])


def test_what_xml_cannot_hold_is_replaced() -> None:
    assert labels_of(new_sidecar(["a\x07b"])) == ["a\ufffdb"]


def test_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "boat.jpg.xmp"
    name = os.fsencode(path)
    assert write_sidecar(name, ["a"]) == "new"
    assert write_sidecar(name, ["a"]) == "unchanged"
    path.chmod(0o600)
    assert write_sidecar(name, ["b", "a"]) == "completed"
    assert labels_of(path.read_bytes()) == ["a", "b"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (tmp_path / "link.xmp").symlink_to(path)
    assert write_sidecar(os.fsencode(tmp_path / "link.xmp"), ["c"]) == "completed"
    assert (tmp_path / "link.xmp").is_symlink()
    assert labels_of(path.read_bytes()) == ["a", "b", "c"]
    path.write_bytes(b"mine")
    with pytest.raises(SidecarError):
        write_sidecar(name, ["a"])
    assert path.read_bytes() == b"mine"
    monkeypatch.setattr(sidecars, "_MAX_BYTES", 3)
    with pytest.raises(SidecarError, match="too large"):
        write_sidecar(name, ["a"])
    assert sorted(each.name for each in tmp_path.iterdir()) == ["boat.jpg.xmp", "link.xmp"]


def test_one_that_changes_meanwhile_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "boat.jpg.xmp"
    path.write_text(DARKTABLE)
    merge = merged_sidecar

    def slowly(data: bytes, labels: list[str]) -> bytes:
        path.write_text(DARKTABLE + " ")
        return merge(data, labels)

    monkeypatch.setattr(sidecars, "merged_sidecar", slowly)
    with pytest.raises(SidecarError, match="another program"):
        write_sidecar(os.fsencode(path), ["boat"])
    assert path.read_text() == DARKTABLE + " "
    assert [each.name for each in tmp_path.iterdir()] == ["boat.jpg.xmp"]
