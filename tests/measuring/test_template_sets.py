"""The sets of prompt templates that come with the program."""

from __future__ import annotations

import pytest

from clipcli.bundle.templates import fill
from clipcli.datasets.template_sets import TEMPLATE_SETS, template_set
from clipcli.errors import UsageError


def test_there_is_one_for_each_kind_of_picture() -> None:
    assert list(TEMPLATE_SETS) == ["photos", "textures", "satellite", "screenshots", "handwriting"]


@pytest.mark.parametrize("name", TEMPLATE_SETS)
def test_each_is_an_ensemble_of_sentences(name: str) -> None:
    templates = template_set(name)
    assert len(set(templates)) == len(templates) >= 5
    for template in templates:
        assert template.count("{}") == 1
        assert template.endswith(".")
        assert fill(template, "{odd}").count("{odd}") == 1


def test_a_name_that_is_none() -> None:
    with pytest.raises(UsageError, match="photos, textures"):
        template_set("tunes")
