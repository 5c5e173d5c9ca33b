"""XMP side-cars: tags beside a picture, where darktable, digiKam and others read them. The picture is never touched.

A side-car of `boat.jpg` is called `boat.jpg.xmp`. Its labels are the bag `dc:subject` (XMP specification part 1, 8.4).
One that is there already is another program's work: labels it lacks are put into its bag, every other byte stays as it
is, nothing is ever taken out; and where that cannot be done safely it is refused.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from xml.parsers import expat
from xml.sax.saxutils import escape

__all__ = ["SidecarError", "merged_sidecar", "new_sidecar", "sidecar_labels", "write_sidecar"]

_RDF, _DC = "http://www.w3.org/1999/02/22-rdf-syntax-ns#", "http://purl.org/dc/elements/1.1/"
_ROOT, _DESCRIPTION, _SUBJECT = f"{_RDF} RDF", f"{_RDF} Description", f"{_DC} subject"
_BAGS = (f"{_RDF} Bag", f"{_RDF} Seq")
_ITEM = f"{_RDF} li"
_MAX_BYTES = 64_000_000
_TAG_NAME = re.compile(rb"</?\s*([^\s/>]+)")
_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_NEW = """<?xml version="1.0" encoding="UTF-8"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:dc="http://purl.org/dc/elements/1.1/">
   <dc:subject>
    <rdf:Bag>
{items}    </rdf:Bag>
   </dc:subject>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
"""


class SidecarError(Exception):
    """A side-car that is better left alone; the text says why."""


def new_sidecar(labels: Sequence[str]) -> bytes:
    """A side-car with these labels and nothing else."""
    items = "".join(f"     <rdf:li>{_text(label)}</rdf:li>\n" for label in dict.fromkeys(labels))
    return _NEW.format(items=items).encode("utf-8")


def sidecar_labels(data: bytes) -> list[str]:
    """The labels in a side-car. Raises SidecarError where it cannot be understood."""
    return _read(data).labels


def merged_sidecar(data: bytes, labels: Sequence[str]) -> bytes:
    """The side-car with the labels it lacked added; the same bytes where it lacks none. Raises SidecarError."""
    found = _read(data)
    missing = [label for label in dict.fromkeys(map(_clean, labels)) if label not in found.labels]
    if not missing:
        return data
    if found.bag_end is not None:
        merged = _into_bag(data, found.bag_begin, found.bag_end, missing)
    else:
        merged = _into_description(data, found, missing)
    if _read(merged).labels != [*found.labels, *missing]:  # whatever else a strange file may do
        raise SidecarError("its labels would not come out right")
    return merged


def write_sidecar(path: bytes, labels: Sequence[str]) -> str:
    """Write or complete a side-car, whole or not at all: `new`, `completed` or `unchanged`.

    Raises SidecarError where there is one that is better left alone, OSError.
    """
    if os.path.lexists(path):
        target = os.path.realpath(path)
        with open(target, "rb") as file:
            before = os.fstat(file.fileno())
            if before.st_size > _MAX_BYTES:
                raise SidecarError("it is too large for a side-car")
            data = file.read(_MAX_BYTES)
        merged = merged_sidecar(data, labels)
        if merged == data:
            return "unchanged"
        with _whole(target, merged) as partial:
            now = os.stat(target)
            if (now.st_ino, now.st_size, now.st_mtime_ns) != (before.st_ino, before.st_size, before.st_mtime_ns):
                raise SidecarError("another program has just written to it")
            os.chmod(partial, before.st_mode & 0o777)
            os.replace(partial, target)
        return "completed"
    with _whole(path, new_sidecar(labels)) as partial:
        os.chmod(partial, 0o644)
        try:
            os.link(partial, path)  # unlike a rename, never takes the place of a file
        except FileExistsError:
            raise SidecarError("another program has just made it") from None
        except OSError:  # a file system without hard links
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
            os.replace(partial, path)
    return "new"


@contextlib.contextmanager
def _whole(path: bytes, data: bytes) -> Iterator[bytes]:
    """The data under a temporary name beside `path`, synced; gone afterwards unless it was renamed."""
    handle, partial = tempfile.mkstemp(dir=os.path.dirname(path), prefix=b".writing-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield partial
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial)


class _Read:
    """What a walk through the file finds. Positions are bytes from its beginning."""

    def __init__(self, parser: expat.XMLParserType) -> None:
        self.labels: list[str] = []
        self.bag_end: int | None = None
        self.bag_begin = -1
        self.description: int | None = None  # where the first one begins
        self._parser = parser
        self._path: list[str] = []
        self._text: list[str] | None = None
        self._subjects = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        above = self._path[-1] if self._path else ""
        at = self._parser.CurrentByteIndex
        if name == _DESCRIPTION and above == _ROOT:
            if self.description is None:
                self.description = at
            if _SUBJECT in attributes:
                raise SidecarError("its dc:subject is no list")
        elif name == _SUBJECT and above == _DESCRIPTION:
            self._subjects += 1
        elif above == _SUBJECT and len(self._path) > 1 and self._path[-2] == _DESCRIPTION:
            if name not in _BAGS or self.bag_begin >= 0:
                raise SidecarError("its dc:subject is no list")
            self.bag_begin = at
        elif name == _ITEM and self._in_bag():
            self._text = []
        elif self._text is not None:
            raise SidecarError("its dc:subject has more in it than text")
        self._path.append(name)

    def end(self, name: str) -> None:
        self._path.pop()
        if name == _ITEM and self._text is not None and self._in_bag():
            self.labels.append("".join(self._text).strip())
            self._text = None
        elif name in _BAGS and self._path[-1:] == [_SUBJECT] and self.bag_begin >= 0 and self.bag_end is None:
            self.bag_end = self._parser.CurrentByteIndex

    def characters(self, text: str) -> None:
        if self._text is not None:
            self._text.append(text)

    def check(self) -> None:
        if self.description is None:
            raise SidecarError("it is no XMP side-car")
        if self._subjects > 1 or (self._subjects and self.bag_end is None):
            raise SidecarError("its dc:subject is no list")

    def _in_bag(self) -> bool:
        return self.bag_end is None and self._path[-2:-1] == [_SUBJECT] and self._path[-1] in _BAGS


def _read(data: bytes) -> _Read:
    if not data.strip():
        raise SidecarError("it is empty")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise SidecarError("it is not in UTF-8")
    parser = expat.ParserCreate(namespace_separator=" ")
    found = _Read(parser)

    def declared(version: str, encoding: str | None, standalone: int) -> None:  # noqa: ARG001 - expat's signature
        if encoding is not None and encoding.lower() not in ("utf-8", "us-ascii", "ascii"):
            raise SidecarError("it is not in UTF-8")

    def refuse(*about: object) -> None:  # noqa: ARG001
        raise SidecarError("it has a document type of its own")  # which could make its text mean anything

    parser.XmlDeclHandler = declared
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = found.start
    parser.EndElementHandler = found.end
    parser.CharacterDataHandler = found.characters
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise SidecarError(f"it is damaged ({error})") from None
    found.check()
    return found


def _into_bag(data: bytes, begin: int, at: int, labels: Sequence[str]) -> bytes:
    """`at` is where the end tag begins, or where <rdf:Bag/>, which has none, ends."""
    match = _TAG_NAME.match(data, begin)
    assert match is not None
    name = match[1]
    prefix, colon, _ = name.rpartition(b":")
    if not data.startswith(b"</", at):
        end = _end_of_tag(data, begin)
        opening = data[begin:end].removesuffix(b"/>").rstrip() + b">"
        return data[:begin] + opening + _items(labels, prefix + colon, b"") + b"</" + name + b">" + data[end:]
    before = data[:at].rstrip()
    blank = data[len(before) : at]
    indent = blank + b" " if b"\n" in blank else b""
    return before + _items(labels, prefix + colon, indent) + data[len(before) :]


def _into_description(data: bytes, found: _Read, labels: Sequence[str]) -> bytes:
    """A bag of its own at the beginning of the first description."""
    assert found.description is not None
    match = _TAG_NAME.match(data, found.description)
    end = _end_of_tag(data, found.description)
    assert match is not None
    own = b'<dc:subject xmlns:dc="%s"><rdf:Bag xmlns:rdf="%s">' % (_DC.encode(), _RDF.encode())
    own = b"\n   " + own + _items(labels, b"rdf:", b"\n    ") + b"\n   </rdf:Bag></dc:subject>"
    if data[end - 2 : end] == b"/>":
        return data[: end - 2].rstrip() + b">" + own + b"\n  </" + match[1] + b">" + data[end:]
    return data[:end] + own + data[end:]


def _end_of_tag(data: bytes, begin: int) -> int:
    """The position behind the `>` of the tag that begins there; one inside quotes does not count."""
    match = re.compile(rb"<(?:[^>\"']|\"[^\"]*\"|'[^']*')*>").match(data, begin)
    if match is None:
        raise SidecarError("it is damaged")
    return match.end()


def _items(labels: Sequence[str], prefix: bytes, indent: bytes) -> bytes:
    return b"".join(b"%s<%sli>%s</%sli>" % (indent, prefix, _text(label).encode("utf-8"), prefix) for label in labels)


def _clean(label: str) -> str:
    return _NOT_IN_XML.sub("\ufffd", label).strip()


def _text(label: str) -> str:
    return escape(_clean(label))
