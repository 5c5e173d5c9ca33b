"""`--html`: one page that needs nothing else, whatever the files are called."""

from __future__ import annotations

import base64
import errno
import io
import os
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

import numpy as np
import pytest
from PIL import Image

from clipcli.errors import ClipError, ImageError, LibraryLockedError, NotFoundError, UsageError
from clipcli.photos.thumbnails import encode, small_picture
from clipcli.render import html_page
from clipcli.render.gallery import Gallery, Section, Tile
from clipcli.render.html_page import check_page, page_side, write_page
from tests.pictures.conftest import SIZES, drawn

HOSTILE = [
    b"<script>alert(1)</script>.jpg",
    b'" onerror="alert(1)" x=".jpg',
    b"' onmouseover='alert(1).jpg",
    b"javascript:alert(1).jpg",
    b"&lt;b&gt; &amp; %3Cscript%3E.jpg",
    b"]]><!-- --> </style><style>*{display:none}.jpg",
    "‮gpj.exe ‏ 日本語 🐈".encode(),
    b"\xff\xfe not utf-8.jpg",
    b"a b#c?d;e%00.jpg",
    b"\x1b[2J\r\n.jpg",
]


class Read(HTMLParser):
    """Every tag with its attributes, and the text in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.inside: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        self.inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.inside and self.inside.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "style" not in self.inside:
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


def as_webp(picture: Image.Image, quality: int) -> bytes:
    return encode(picture, quality=quality)


def gallery(paths: list[bytes], **more: str) -> Gallery:
    tiles = tuple(
        Tile(path=path, figures=(str(rank), "0.312"), detail="2017-07-14") for rank, path in enumerate(paths, 1)
    )
    return Gallery(title=more.pop("title", "red"), sections=(Section(tiles=tiles, **more),) if tiles else ())


def written(shown: Gallery, pictures: list[Image.Image | ImageError], folder: Path) -> Read:
    write_page(shown, pictures, folder / "page.html", encode=as_webp)
    return Read((folder / "page.html").read_text("utf-8"))


def test_the_pictures_are_inside_and_the_links_lead_to_the_files(photos: Path, tmp_path: Path) -> None:
    paths = [os.fsencode(path) for path in sorted(photos.iterdir())]
    pictures = [small_picture(os.fsdecode(path), long_side=page_side(5)) for path in paths]
    page = written(gallery(paths, heading="cats"), list(pictures), tmp_path)
    shown = page.all("img")
    assert len(shown) == len(SIZES)
    for attributes, picture in zip(shown, pictures, strict=True):
        kind, _, data = attributes["src"].partition(",")
        assert kind == "data:image/webp;base64"
        inside = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
        assert (str(inside.width), str(inside.height)) == (attributes["width"], attributes["height"])
        difference = np.asarray(inside.convert("RGB"), dtype=np.float32) - np.asarray(picture, dtype=np.float32)
        assert np.abs(difference).mean() < 4
    assert [unquote_to_bytes(urlsplit(link["href"]).path) for link in page.all("a")] == paths
    assert "cats" in page.words
    assert page.all("html") == [{"lang": "en"}]
    # An upright picture stays upright: this one lies on its side in the file.
    green = shown[[path.endswith(b"green.jpg") for path in paths].index(True)]
    assert int(green["height"]) > int(green["width"])


@pytest.mark.skipif(sys.platform == "win32", reason="such names cannot be there")
def test_hostile_names_are_text_and_nothing_else(tmp_path: Path) -> None:
    paths = [b"/photos/" + name for name in HOSTILE]
    hostile = "</title><script>alert(1)</script>"
    shown = Gallery(title=hostile, sections=gallery(paths, heading=hostile).sections, remark=hostile, nothing=hostile)
    reasons = [ImageError(f"{hostile} {number}") for number in range(len(paths))]
    page = written(shown, list(reasons), tmp_path)
    plain = Read("")
    write_page(
        gallery([b"/a/b.jpg"] * len(paths), heading="h"),
        [ImageError("x")] * len(paths),
        tmp_path / "p.html",
        encode=as_webp,
    )
    plain = Read((tmp_path / "p.html").read_text("utf-8"))
    # The same tags with the same attributes as with harmless names, but for the paragraph of the remark.
    tags = [(tag, sorted(attributes)) for tag, attributes in page.tags if tag != "p"]
    assert tags == [(tag, sorted(attributes)) for tag, attributes in plain.tags]
    assert [link["href"].startswith("file:///photos/") for link in page.all("a")] == [True] * len(paths)
    assert [unquote_to_bytes(urlsplit(link["href"]).path) for link in page.all("a")] == paths
    text = (tmp_path / "page.html").read_text("utf-8")
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e]", text)
    assert "日本語 🐈" in text


def test_nothing_is_fetched_and_nothing_runs(photos: Path, tmp_path: Path) -> None:
    picture = small_picture(photos / "red.png", long_side=64)
    page = written(gallery([b"/a.jpg"]), [picture], tmp_path)
    assert page.all("script") == page.all("link") == page.all("iframe") == []
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert not re.search(r"url\(|@import|https?:", (tmp_path / "page.html").read_text("utf-8"))
    policy = next(each["content"] for each in page.all("meta") if each.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "script" not in policy


def luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("which", [0, 1], ids=["light", "dark"])
def test_letters_stand_out_in_light_and_dark(which: int) -> None:
    """WCAG 2.1, 1.4.3: 4.5 to 1 between letters and what is behind them."""
    block = re.findall(r":root \{([^}]*)\}", html_page._STYLE)[which]
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block))
    for ink in ("ink", "faint", "link", "mark"):
        for paper in ("paper", "tile"):
            lights = sorted((luminance(colours[ink]), luminance(colours[paper])))
            assert (lights[1] + 0.05) / (lights[0] + 0.05) >= 4.5, (ink, paper)


def test_what_cannot_be_read_is_a_named_frame(tmp_path: Path) -> None:
    page = written(gallery([b"/photos/broken.jpg"]), [ImageError("the file is cut short")], tmp_path)
    assert "cannot be read: the file is cut short" in page.words
    assert "photos/broken.jpg" in page.words  # many folders have a picture of that name
    assert any("missing" in each.get("class", "") for each in page.all("span"))


def test_nothing_found_says_so(tmp_path: Path) -> None:
    page = written(Gallery(title="red", sections=(), nothing="no picture scores 0.9 or more"), [], tmp_path)
    assert "no picture scores 0.9 or more" in page.words


def test_500_pictures_of_pure_noise_stay_below_10_megabytes(tmp_path: Path) -> None:
    """The hardest there is for a codec; photographs come to 4 MB."""
    random = np.random.default_rng(0)
    side = page_side(500)
    some = [Image.fromarray(random.integers(0, 256, (side * 3 // 4, side, 3), dtype=np.uint8)) for _ in range(4)]
    paths = [b"/photos/%0200d.jpg" % number for number in range(500)]
    known: dict[tuple[bytes, int], bytes] = {}

    def once(picture: Image.Image, quality: int) -> bytes:
        """500 different ones take a minute to encode; four tell as much."""
        key = picture.resize((8, 8)).tobytes(), quality
        return known[key] if key in known else known.setdefault(key, as_webp(picture, quality))

    shown = (some[number % 4] for number in range(500))
    assert write_page(gallery(paths), shown, tmp_path / "page.html", encode=once) == 500
    assert (tmp_path / "page.html").stat().st_size < 10_000_000


def test_there_is_an_end_to_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html_page, "MOST_ON_A_PAGE", 3)
    picture = drawn((200, 0, 0), (8, 6))
    assert write_page(gallery([b"/a.jpg"] * 5), [picture] * 5, tmp_path / "page.html", encode=as_webp) == 3
    assert len(Read((tmp_path / "page.html").read_text("utf-8")).all("img")) == 3


def test_only_a_page_of_ours_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    check_page(page)
    written(gallery([b"/a.jpg"]), [drawn((0, 0, 200), (8, 6))], tmp_path)
    check_page(page)
    (tmp_path / "mine.html").write_text("<p>by hand</p>")
    with pytest.raises(UsageError, match="was not made by clip"):
        check_page(tmp_path / "mine.html")
    with pytest.raises(UsageError, match=r"ends in \.html"):
        check_page(tmp_path / "photo.jpg")
    with pytest.raises(NotFoundError, match="no such folder"):
        check_page(tmp_path / "gone" / "page.html")
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(UsageError, match="cannot be replaced"):
        check_page(tmp_path / "folder.html")
    (tmp_path / "empty.html").touch()
    check_page(tmp_path / "empty.html")


@pytest.mark.parametrize(
    ("number", "raised"),
    [(errno.EIO, ClipError), (errno.EACCES, LibraryLockedError), (errno.EROFS, LibraryLockedError)],
)
def test_a_page_is_whole_or_not_there(number: int, raised: type[ClipError], tmp_path: Path) -> None:
    written(gallery([b"/a.jpg"]), [drawn((0, 0, 200), (8, 6))], tmp_path)
    before = (tmp_path / "page.html").read_bytes()

    def fails(picture: Image.Image, quality: int) -> bytes:
        raise OSError(number, "the disk went away")

    with pytest.raises(ClipError, match=r"page\.html cannot be written: the disk went away") as found:
        write_page(gallery([b"/a.jpg"]), [drawn((9, 9, 9), (8, 6))], tmp_path / "page.html", encode=fails)
    assert type(found.value) is raised
    assert (tmp_path / "page.html").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page.html"]
