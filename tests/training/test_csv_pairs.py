"""Tables of pairs as people write them: every delimiter, heading or none, and rows that are no pairs."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipcli.datasets.sources import Row, Source, read_source
from clipcli.errors import DataError
from tests.training.tiny import save_picture


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures `a.png`, `b.png`, `c.PNG` and `in/d.png`."""
    for number, name in enumerate(("a.png", "b.png", "c.PNG", "in/d.png")):
        save_picture(tmp_path / "pixels" / name.lower(), number)
        target = tmp_path / name
        target.parent.mkdir(exist_ok=True)
        (tmp_path / "pixels" / name.lower()).rename(target)
    return tmp_path


def read(folder: Path, text: str | bytes, name: str = "pairs.csv", **columns: str) -> Source:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_source(path, **columns)


def pairs(source: Source) -> list[tuple[str, str]]:
    """(file name, caption) of each row."""
    found = []
    for row in source.rows:
        assert isinstance(row.image, Path)
        assert row.label is None
        assert row.name == str(row.image)
        found.append((row.image.name, *row.captions))
    return [(name, caption) for name, caption in found]


PLAIN = [("a.png", "a dog"), ("b.png", "two cats")]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("heading", [True, False])
@pytest.mark.parametrize("name", ["pairs.csv", "pairs.TSV", "pairs.txt"])
def test_delimiter_and_heading_are_found_out(folder: Path, delimiter: str, heading: bool, name: str) -> None:
    lines = ["filepath,title"] * heading + ["a.png,a dog", "b.png,two cats"]
    assert pairs(read(folder, "\n".join(lines).replace(",", delimiter), name)) == PLAIN


@pytest.mark.parametrize(
    "text",
    [
        "image,caption\na.png,a dog\nb.png,two cats\n",
        "caption,image\na dog,a.png\ntwo cats,b.png\n",
        "Caption,Image\r\na dog,a.png\r\n\r\ntwo cats,b.png\r\n",
        "\ufeffimage,caption\na.png,a dog\nb.png,two cats\n",
        "\ufeffa.png,a dog\nb.png,two cats\n",
        ' image , caption \n"a.png","a dog"\n b.png ,"  two\n cats "\n',
        "id,url,file_name,description\n1,http://x/1,a.png,a dog\n2,http://x/2,b.png,two cats\n",
        "photo id,pic,what is seen\n1,a.png,a dog\n2,b.png,two cats\n",  # no name we know: by what the cells hold
        "photo id,pic,caption\n1,a.png,a dog\n2,b.png,two cats\n",
        "1,a.png,a dog\n2,b.png,two cats\n",
        "a dog,a.png\ntwo cats,b.png\n",
        "./a.png,a dog\nin/../b.png,two cats\n",
        "image_name| comment_number| comment\na.png| 0| a dog\nb.png| 1| two cats\n",
        "path,name,caption\na.png,A,a dog\nb.png,B,two cats\n",
    ],
)
def test_layouts(folder: Path, text: str) -> None:
    assert pairs(read(folder, text)) == PLAIN


@pytest.mark.parametrize(
    ("text", "caption"),
    [
        ('image,caption\na.png,"a dog, running"\n', "a dog, running"),
        ("image,caption\na.png,a dog, running, fast\n", "a dog, running, fast"),  # nobody put it in quotes
        ("image;caption\na.png;a dog, running\n", "a dog, running"),
        ("a.png,a dog; running\nb.png,a cat; asleep\n", "a dog; running"),
        ("a dog, running;a.png\na cat, asleep;b.png\n", "a dog, running"),
        ("image\tcaption\na.png\ta dog, running; fast\n", "a dog, running; fast"),
        ('image,caption\na.png,"he said ""hey"""\n', 'he said "hey"'),
        ('image,caption\na.png,a 5" pipe\n', 'a 5" pipe'),
        ("image,caption,\na.png,a dog,\n", "a dog"),
    ],
)
def test_delimiters_within_captions(folder: Path, text: str, caption: str) -> None:
    source = read(folder, text)
    assert pairs(source)[0] == ("a.png", caption)
    assert not source.refused


def test_absolute_paths_and_folders_beside_the_file(folder: Path, tmp_path: Path) -> None:
    source = read(folder, f"image,caption\n{folder / 'a.png'},a dog\nin/d.png,a fish\nc.PNG,a cat\n")
    assert [row.image for row in source.rows] == [folder / "a.png", folder / "in" / "d.png", folder / "c.PNG"]


def test_one_row_without_a_heading_is_a_row(folder: Path) -> None:
    assert pairs(read(folder, "a.png,a dog\n")) == PLAIN[:1]


@pytest.mark.parametrize("heading", ["label", "Class"])
def test_labels_are_labels(folder: Path, heading: str) -> None:
    source = read(folder, f'file,{heading}\na.png,dog\nb.png,"cat, house cat"\n')
    assert [row.label for row in source.rows] == ["dog", "cat, house cat"]
    assert [row.captions for row in source.rows] == [(), ()]


def test_a_caption_goes_before_a_label(folder: Path) -> None:
    assert pairs(read(folder, "file,label,caption\na.png,7,a dog\nb.png,8,two cats\n")) == PLAIN


def test_columns_can_be_named(folder: Path) -> None:
    text = "image,thumbnail,caption,alt\nb.png,a.png,no,a dog\na.png,b.png,no,two cats\n"
    assert pairs(read(folder, text, image_column="Thumbnail", text_column="ALT")) == PLAIN
    assert pairs(read(folder, text, text_column="alt"))[0] == ("b.png", "a dog")
    assert pairs(read(folder, text, image_column="thumbnail"))[0] == ("a.png", "no")


def test_a_column_of_texts_chosen_for_pictures_is_not_taken_for_texts(folder: Path) -> None:
    source = read(folder, "title,alt\na.png,a dog\nb.png,two cats\n", image_column="title")
    assert pairs(source) == PLAIN


def test_a_column_of_names_chosen_for_texts_is_not_taken_for_pictures(folder: Path) -> None:
    source = read(folder, "pic,filename\na.png,a dog\nb.png,two cats\n", text_column="filename")
    assert pairs(source) == PLAIN


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"text_column": "words"}, "no column 'words'; its first line is: image, caption"),
        ({"image_column": "x"}, "no column 'x'"),
        ({"image_column": "image", "text_column": "image"}, "cannot hold both picture and text"),
    ],
)
def test_columns_that_cannot_be(folder: Path, columns: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(folder, "image,caption\na.png,a dog\n", **columns)


@pytest.mark.parametrize("text", ["one,two\nthree,four\n", "a.png\nb.png\n", "just words\n", "a.png\n"])
def test_columns_that_cannot_be_told(folder: Path, text: str) -> None:
    with pytest.raises(DataError, match=r"cannot be told from .*name them with --image-column and --text-column"):
        read(folder, text)


def test_what_is_no_pair_is_set_aside_with_the_line_and_the_reason(folder: Path) -> None:
    source = read(
        folder,
        "image,caption\n"
        'a.png,"over\ntwo lines"\n'
        "gone.png,a ghost\n"
        "b.png,\n"
        "b.png\n"
        "in,a folder\n"
        ",nothing\n"
        f"{'x' * 300}.png,too long a name\n"
        "b\x00.png,no name at all\n"
        "b.png,  \n"
        "b.png,two cats\n",
    )
    assert pairs(source) == [("a.png", "over two lines"), ("b.png", "two cats")]
    assert [reason for _, reason in source.refused] == [
        "missing file",
        "empty caption",
        "too few columns",
        "missing file",
        "missing file",
        "missing file",
        "missing file",
        "empty caption",
    ]
    wheres = [where for where, _ in source.refused]
    assert wheres[:3] == ["pairs.csv line 4: gone.png", "pairs.csv line 5", "pairs.csv line 6"]


def test_a_row_with_cells_beyond_its_picture_is_set_aside(folder: Path) -> None:
    source = read(folder, "caption,image\na dog, running,a.png\ntwo cats,b.png\n")
    assert pairs(source) == [("b.png", "two cats")]
    assert source.refused == [("pairs.csv line 2", "too many columns")]


def test_a_short_row_does_not_hide_the_columns_of_the_others(folder: Path) -> None:
    source = read(folder, "pic,said\na.png,a dog\nb.png,two cats\nc.PNG\n")
    assert pairs(source) == PLAIN
    assert source.refused == [("pairs.csv line 4", "too few columns")]


def test_a_title_above_the_table_is_no_row(folder: Path) -> None:
    source = read(folder, "my dogs and cats\na dog,a.png\ntwo cats,b.png\n")
    assert pairs(source) == PLAIN


@pytest.mark.parametrize("raw", [b"image,caption\na.png,caf\xe9\n", "image,caption\na.png,a dog\n".encode("utf-16")])
def test_other_encodings(folder: Path, raw: bytes) -> None:
    with pytest.raises(DataError, match="cannot be read as a table in UTF-8"):
        read(folder, raw)


@pytest.mark.parametrize("text", ["", "\n\n", "\ufeff", " , \n,\n"])
def test_an_empty_file(folder: Path, text: str) -> None:
    with pytest.raises(DataError, match=r"pairs\.csv is empty"):
        read(folder, text)


def test_a_heading_alone_has_no_rows(folder: Path) -> None:
    assert read(folder, "image,caption\n") == Source(folder / "pairs.csv")


def test_a_cell_beyond_all_measure(folder: Path) -> None:
    with pytest.raises(DataError, match="cannot be read as a table"):
        read(folder, "image,caption\na.png," + "x" * 200_000)


captions = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(lambda text: text.split())


@given(st.lists(captions, min_size=1, max_size=4), st.sampled_from(",;\t|"))
def test_what_a_program_wrote_is_read(tmp_path: Path, texts: list[str], delimiter: str) -> None:
    path = tmp_path / "pairs.csv"
    save_picture(tmp_path / "a.png", 0)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(["image", "caption"])
        writer.writerows(["a.png", text] for text in texts)
    rows = read_source(path).rows
    assert [row.captions for row in rows] == [(" ".join(text.split()),) for text in texts]
    assert all(isinstance(row, Row) for row in rows)
