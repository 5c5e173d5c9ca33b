"""docs/models.md says what was measured, of the model that ships, and its pictures are there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

import clipcli
from clipcli.bundle.spec import read_spec
from clipcli.commands.compared import FIELDS, SHOWN
from clipcli.render.made_files import check_replaceable
from docs.write_models import CHARTS, FIGURES, PAGE, page

ROOT = Path(clipcli.__file__).parent
FOUND = json.loads(FIGURES.read_text("utf-8"))
SHIPPED = read_spec(ROOT / "starter")


def test_the_page_is_current() -> None:
    assert PAGE.read_text("utf-8") == page(FOUND), "run `make docs`"


def test_every_record_is_one_of_the_command() -> None:
    assert {tuple(record) for record in FOUND["records"]} == {FIELDS}
    assert {record["figure"] for record in FOUND["records"]} <= set(SHOWN)


def test_it_is_about_the_model_that_ships() -> None:
    assert FOUND["identity"] == SHIPPED.identity, "another model ships: run `python -m docs.write_models --measure ...`"
    first = [record for record in FOUND["records"] if record["difference"] is None]
    assert {(record["model"], record["precision"]) for record in first} == {(SHIPPED.name, SHIPPED.default_precision)}
    for record in first:
        known = SHIPPED.metrics[Path(record["data"]).stem]
        names = {"top1": "top-1", "text_to_image_recall10": "text_to_image R@10"}
        if record["figure"] in names:
            assert record["value"] == pytest.approx(known[names[record["figure"]]], abs=0.002)


@pytest.mark.parametrize("name", CHARTS)
def test_its_pictures_are_there(name: str) -> None:
    assert name in PAGE.read_text("utf-8")
    with Image.open(PAGE.parent / name) as picture:
        assert picture.width >= 1500
    check_replaceable(PAGE.parent / name)  # known as ours, so that it is drawn over
