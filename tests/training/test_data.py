"""From sources to rows: the split, the summary, and data that nothing can be learnt from."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipcli.bundle.preprocess import resize_and_crop
from clipcli.errors import ClipError, DataError, NotFoundError
from clipcli.photos.decode import open_image
from tests.training.tiny import PREPROCESS, SIDE, Told, options, save_picture, write_classes, write_pairs
from trainer.data import Data, prepare_data


def prepare(*sources: Path, told: Told | None = None, **chosen: Any) -> Data:
    told = told or Told()
    return prepare_data(options(sources, **chosen), PREPROCESS, begin=told.begin, summarise=told.summary)


def refused(*sources: Path, **chosen: Any) -> tuple[DataError, Told]:
    told = Told()
    with pytest.raises(DataError) as caught:
        prepare(*sources, told=told, **chosen)
    assert caught.value.exit_code == 12
    return caught.value, told


def held_out(data: Data) -> set[str]:
    used = {number for group in data.groups for number in group}
    return {row.name for number, row in enumerate(data.rows) if number not in used}


def trained_on(data: Data) -> set[str]:
    return {data.rows[number].name for group in data.groups for number in group}


def test_every_pair_is_trained_on_or_held_out(tmp_path: Path) -> None:
    told = Told()
    data = prepare(write_pairs(tmp_path, 60), told=told, validation_share=0.2)
    assert not held_out(data) & trained_on(data)
    assert len(held_out(data) | trained_on(data)) == 60
    (summary,) = told.summaries
    assert (summary.pairs, summary.pictures, summary.labels) == (60, 60, 0)
    assert summary.training == len(trained_on(data)) == summary.captions
    assert summary.validation == len(held_out(data)) == len(data.sets[0].pixels)
    assert 6 <= summary.validation <= 20  # 12 expected
    assert told.bars["reading pictures"] == [60, 60]
    assert told.bars["reading validation"] == [summary.validation] * 2


def test_another_seed_holds_out_others(tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path, 40)
    assert held_out(prepare(pairs, seed=1)) != held_out(prepare(pairs, seed=2))
    assert held_out(prepare(pairs, seed=1)) == held_out(prepare(pairs, seed=1))


def test_held_out_pictures_stay_so_when_rows_are_added_or_files_are_renamed(tmp_path: Path) -> None:
    few = held_out(prepare(write_pairs(tmp_path, 60), validation_share=0.2))
    many = prepare(write_pairs(tmp_path, 200), validation_share=0.2)
    first = {row.name for row in many.rows[:60]}
    assert held_out(many) & first == few
    assert len(held_out(many)) > len(few)
    moved = tmp_path / "moved"
    for number in range(60):
        target = moved / f"{number % 7}" / f"{number}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(tmp_path / "pictures" / f"{number:03d}.png", target)
    lines = [f"{number % 7}/{number}.png,thing {number}" for number in reversed(range(60))]
    (moved / "pairs.csv").write_text("\n".join(["image,caption", *lines]), "utf-8")
    again = held_out(prepare(moved / "pairs.csv", validation_share=0.2))
    assert {int(Path(name).stem) for name in again} == {int(Path(name).stem) for name in few}


def test_rows_of_one_picture_stay_together(tmp_path: Path) -> None:
    """Several captions, another spelling of the path, a copy under another name."""
    write_pairs(tmp_path, 20)
    lines = ["image,caption"]
    for number in range(20):
        shutil.copyfile(tmp_path / "pictures" / f"{number:03d}.png", tmp_path / f"copy-{number}.png")
        spellings = [f"pictures/{number:03d}.png", f"pictures/../pictures/{number:03d}.png", f"copy-{number}.png"]
        lines += [f"{path},said {number} {place}" for place, path in enumerate(spellings * 2)]
    (tmp_path / "many.csv").write_text("\n".join(lines), "utf-8")
    data = prepare(tmp_path / "many.csv", validation_share=0.3)
    numbers = [
        {int(row.captions[0].split()[1]) for row in data.rows if (row.name in names)}
        for names in (trained_on(data), held_out(data))
    ]
    assert not numbers[0] & numbers[1]
    assert len(numbers[0] | numbers[1]) == 20
    assert data.summary.pictures == 20
    assert all(len(captions) in (2, 4, 6) for captions in data.sets[0].captions)  # a copy is its own picture there


def test_files_of_the_same_name_in_different_folders_are_different_pictures(tmp_path: Path) -> None:
    """`robin/1.png` and `wren/1.png`, as cameras and downloads name them."""
    folder = write_classes(tmp_path / "classes", 8)
    data = prepare(folder)
    assert data.summary.validation == 2
    assert data.summary.training == 30


def test_the_limit_and_the_least(tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path, 60)
    assert len(held_out(prepare(pairs, validation_share=0.5, validation_limit=5))) == 5
    assert len(held_out(prepare(pairs, validation_share=0.001))) == 2
    lines = [f"pictures/00{number % 4}.png,thing {number}" for number in range(12)]
    (tmp_path / "few.csv").write_text("\n".join(["image,caption", *lines]), "utf-8")
    for seed in range(6):  # never more than half of the pictures, however the dice fall
        assert len(held_out(prepare(tmp_path / "few.csv", validation_share=0.5, seed=seed))) == 2


def test_a_validation_picture_has_all_its_captions_and_looks_as_at_inference(tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path, 12)
    dev = tmp_path / "dev.csv"
    save_picture(tmp_path / "large.png", 3, (90, 50))
    dev.write_text("image,caption\nlarge.png,one\npictures/001.png,other\nlarge.png,two\n", "utf-8")
    data = prepare(pairs, validation=(str(dev),))
    (found,) = data.sets
    assert (found.name, found.captions, found.labels) == ("dev", (("one", "two"), ("other",)), (None, None))
    expected = np.asarray(resize_and_crop(open_image(tmp_path / "large.png"), PREPROCESS))
    assert (found.pixels[0] == expected).all()
    assert found.pixels.shape == (2, SIDE, SIDE, 3)
    assert data.summary.training == 12


def test_validation_files_are_looked_at_as_well(tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path, 12)
    save_picture(tmp_path / "new.png", 100)
    (tmp_path / "bad.png").write_bytes(b"no picture")
    dev = tmp_path / "dev.csv"
    dev.write_text(
        "image,caption\nnew.png,one\ngone.png,two\nbad.png,three\nbad.png,four\npictures/001.png,five\n", "utf-8"
    )
    summary = prepare(pairs, validation=(str(dev),)).summary
    assert summary.reasons() == [
        ("unreadable picture (not-an-image)", 2, str(tmp_path / "bad.png")),
        ("missing file", 1, "dev.csv line 3: gone.png"),
    ]
    assert summary.validation == 2
    assert summary.notes == ["1 of the pictures to check with is also trained on: the figures will flatter the model"]


def test_validation_sets_of_one_name_keep_their_figures_apart(tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path, 12)
    sets = [write_pairs(tmp_path / name, 3, name="dev.csv") for name in ("one", "other")]
    data = prepare(pairs, validation=tuple(map(str, sets)))
    assert [each.name for each in data.sets] == ["dev", "dev-2"]


def test_what_is_set_aside_is_told_with_an_example(tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path, 20)
    (tmp_path / "pictures" / "003.png").write_bytes(b"")
    (tmp_path / "pictures" / "004.png").write_bytes(b"text")
    content = (tmp_path / "pictures" / "005.png").read_bytes()
    (tmp_path / "pictures" / "005.png").write_bytes(content[:60])
    (tmp_path / "pictures" / "006.png").unlink()
    (tmp_path / "pictures" / "007.png").unlink()
    told = Told()
    data = prepare(pairs, told=told, max_broken=0.2)
    reasons = told.summaries[0].reasons()
    assert {reason: (count, Path(example.split()[-1]).name) for reason, count, example in reasons} == {
        "missing file": (2, "006.png"),
        "unreadable picture (empty)": (1, "003.png"),
        "unreadable picture (not-an-image)": (1, "004.png"),
        "unreadable picture (truncated)": (1, "005.png"),
    }
    assert reasons[0][0] == "missing file"  # the commonest first
    assert told.summaries[0].pairs == 15
    assert not {"003.png", "004.png", "005.png"} & {Path(name).name for name in trained_on(data)}


def test_sources_keep_their_own_groups(tmp_path: Path) -> None:
    one, other = write_pairs(tmp_path / "one", 12), write_classes(tmp_path / "other", 4)
    data = prepare(one, other, weights=(1.0, 3.0))
    first, second = data.groups
    assert {data.rows[number].label for number in first} == {None}
    assert None not in {data.rows[number].label for number in second}
    assert len(first) + len(second) == data.summary.training


def test_texts_for_the_vocabulary(tmp_path: Path) -> None:
    data = prepare(write_pairs(tmp_path / "one", 12), write_classes(tmp_path / "other", 4))
    texts = list(data.texts(("a {} here", "{}")))
    assert sorted(texts)[:2] == ["a blue field here"] * 2
    assert texts.count("red field") == 2
    captions = {caption for row in data.rows for caption in row.captions}
    held = {caption for captions in data.sets[0].captions for caption in captions}
    assert captions & set(texts) == captions - held  # what is held out is not learnt from


@pytest.mark.parametrize(("count", "words"), [(0, "0 usable pairs"), (1, "1 usable pair,"), (7, "7 usable pairs")])
def test_too_few_pairs(tmp_path: Path, count: int, words: str) -> None:
    error, told = refused(write_pairs(tmp_path, count))
    assert str(error).startswith(f"pairs.csv: {words}")
    assert "at least 8 are needed" in str(error)
    assert told.summaries[0].pairs == told.summaries[0].training == count


def test_all_unreadable(tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path, 10)
    for path in (tmp_path / "pictures").iterdir():
        path.write_bytes(b"no")
    error, told = refused(pairs)
    assert "0 usable pairs" in str(error)
    assert told.summaries[0].reasons()[0][:2] == ("unreadable picture (not-an-image)", 10)


def test_one_text_for_all(tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path, 12)
    lines = [f"pictures/{number:03d}.png,{'A Dog' if number % 2 else 'a dog'}" for number in range(12)]
    pairs.write_text("\n".join(["image,caption", *lines]), "utf-8")
    error, told = refused(pairs)
    assert str(error) == "pairs.csv: all pictures have the same text, so there is nothing to tell apart"
    assert told.summaries[0].training == 10


def test_one_class(tmp_path: Path) -> None:
    for number in range(12):
        save_picture(tmp_path / "classes" / "dog" / f"{number}.png", number)
    error, told = refused(tmp_path / "classes")
    assert "the same text" in str(error)
    assert told.summaries[0].labels == 1


@pytest.mark.parametrize(("pictures", "words"), [(1, "all pairs show the same picture"), (3, "3 different pictures")])
def test_too_few_pictures(tmp_path: Path, pictures: int, words: str) -> None:
    pairs = write_pairs(tmp_path, pictures)
    lines = [f"pictures/{number % pictures:03d}.png,thing {number}" for number in range(20)]
    pairs.write_text("\n".join(["image,caption", *lines]), "utf-8")
    error, told = refused(pairs)
    assert words in str(error)
    assert told.summaries


def test_a_source_with_a_weight_that_has_nothing(tmp_path: Path) -> None:
    empty = tmp_path / "empty.csv"
    empty.write_text("image,caption\ngone.png,x\n", "utf-8")
    error, told = refused(write_pairs(tmp_path, 12), empty, weights=(1.0, 1.0))
    assert str(error) == "pairs.csv, empty.csv: a source with a weight has no usable pairs"
    assert told.summaries
    assert len(prepare(write_pairs(tmp_path, 12), empty).groups) == 1


def test_validation_with_nothing_in_it(tmp_path: Path) -> None:
    empty = tmp_path / "dev.csv"
    empty.write_text("image,caption\ngone.png,x\n", "utf-8")
    error, told = refused(write_pairs(tmp_path, 12), validation=(str(empty),))
    assert str(error) == "dev: no usable pairs to check with"
    assert told.summaries


def test_labels_that_are_numbers_are_remarked_upon(tmp_path: Path) -> None:
    folder = tmp_path / "classes"
    for number in range(12):
        save_picture(folder / f"{number % 3}" / f"{number}.png", number)
    (note,) = prepare(folder).summary.notes
    assert note.startswith("the labels are numbers, as 0: ")
    save_picture(folder / "seven" / "1.png", 30)
    assert prepare(folder).summary.notes == []


def test_a_source_that_does_not_exist(tmp_path: Path) -> None:
    told = Told()
    with pytest.raises(NotFoundError):
        prepare(tmp_path / "gone.csv", told=told)
    assert not told.summaries
    assert issubclass(NotFoundError, ClipError)
