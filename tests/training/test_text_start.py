"""A text tower learnt from sentences and the vectors that another model gives them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from benchmarks import text_start
from clipcli.bundle.encoder import Model
from clipcli.bundle.spec import read_spec
from clipcli.errors import DataError
from tests.training.tiny import VIT
from trainer import architectures
from trainer.text_start import reduced

WORDS = ("cat", "dog", "boat", "tree", "house", "bicycle")
FORMS = ("a {}", "the {}", "a photo of a {}.", "two of {}", "{} and nothing else", "one more {} here")


def sentences(path: Path, *, numbers: int = 24, columns: tuple[str, str] = ("text", "vector")) -> Path:
    """Every word in every form; the vector is the word's own, with a little of the form's."""
    random = np.random.default_rng(0)
    of_words, of_forms = random.normal(size=(len(WORDS), numbers)), random.normal(size=(len(FORMS), numbers))
    texts = [form.replace("{}", word) for word in WORDS for form in FORMS]
    vectors = [word + 0.1 * form for word in of_words for form in of_forms]
    table = pa.table({columns[0]: texts, columns[1]: [vector.tolist() for vector in vectors]})
    pyarrow.parquet.write_table(table, path)
    return path


def test_what_is_reduced_keeps_the_directions_in_which_vectors_differ() -> None:
    random = np.random.default_rng(0)
    plane = random.normal(size=(50, 2)) @ random.normal(size=(2, 10))
    made = reduced(plane + 5.0 + 1e-3 * random.normal(size=(50, 10)), 2)
    centred = plane - plane.mean(axis=0)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    assert np.allclose(made @ made.T, unit @ unit.T, atol=0.02)
    assert np.allclose(np.linalg.norm(made, axis=1), 1)


def test_more_dimensions_than_numbers_is_refused() -> None:
    with pytest.raises(DataError, match="vectors of 3 numbers cannot fill an embedding of 16"):
        reduced(np.eye(3), 16)


def test_the_bundle_places_sentences_as_their_vectors_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(architectures.ARCHITECTURES, "tiny", VIT)
    file, bundle = sentences(tmp_path / "sentences.parquet"), tmp_path / "text-start"
    monkeypatch.setattr(
        "sys.argv",
        ["text_start", str(file), "--arch", "tiny", "--output", str(bundle), "--epochs", "60", "--batch-size", "12",
         "--vocabulary", "400"],
    )  # fmt: skip
    text_start.main()
    assert "mean cosine on sentences held out: " in capsys.readouterr().out
    assert read_spec(bundle).provenance["sentences"] == 36
    model = Model.load(bundle, device="cpu", precision="fp32")
    vectors = model.encode_texts([f"a {word}" for word in WORDS] + [f"the {word}" for word in WORDS])
    assert (np.argmax(vectors[:6] @ vectors[6:].T, axis=1) == np.arange(6)).all()


@pytest.mark.parametrize("columns", [("sentence", "vector"), ("text", "embedding")])
def test_other_columns_are_refused_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: tuple[str, str]
) -> None:
    file = sentences(tmp_path / "s.parquet", columns=columns)
    monkeypatch.setattr("sys.argv", ["text_start", str(file), "--output", str(tmp_path / "b")])
    with pytest.raises(SystemExit) as ended:
        text_start.main()
    assert ended.value.code == 1
    assert f"{file} is no Parquet file with the columns 'text' and 'vector'" in capsys.readouterr().err
