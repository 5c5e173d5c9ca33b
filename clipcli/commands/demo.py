"""`clip demo`: the whole thing on a handful of photographs, for somebody who has just installed it."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clipcli.commands.options import Device, DeviceOption, ModelOption, Precision, PrecisionOption
from clipcli.commands.query import Query, Term, query_vector
from clipcli.errors import MissingExtraError, NotFoundError, UsageError

if TYPE_CHECKING:
    from clipcli.bundle.encoder import Model
    from clipcli.library.store import Library

# Photographs that lie inside the wheel of scikit-image; others of its collection would have to be downloaded.
PHOTOGRAPHS = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "horse.png",
    "hubble_deep_field.jpg",
    "moon.png",
    "motorcycle_left.png",
    "motorcycle_right.png",
    "page.png",
    "rocket.jpg",
)
# In words that the shipped model learnt: what it cannot know, it cannot show.
PHRASES = ("a red motorcycle", "a cup of espresso")
LOOKED_LIKE = "motorcycle_left.png"
SHOWN = 3
CLASSIFIED = ("coffee.png", "motorcycle_left.png", "camera.png")
FIGURE = "matrix.png"
LABELS = ("espresso", "motorcycle", "person")
# A sentence for each photograph of the figure, in the order of its columns.
SENTENCES = {
    "astronaut.png": "a woman in an orange suit",
    "chelsea.png": "the face of a tabby cat",
    "coffee.png": "a cup of espresso",
    "horse.png": "a horse",
    "motorcycle_right.png": "a red motorcycle in a garage",
    "rocket.jpg": "a rocket lit up at night",
    "page.png": "black letters on white paper",
    "camera.png": "a photographer outdoors",
}


def demo(
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="Where the photographs, their library and the figure go. Default: a folder in your cache.",
            show_default=False,
        ),
    ] = None,
    model: ModelOption = None,
    device: DeviceOption = Device.auto,
    precision: PrecisionOption = Precision.auto,
) -> None:
    """See it work on a handful of photographs.

    Takes the photographs that come with scikit-image, makes a library of them in a folder of its own, searches it by
    words and by a picture, classifies a few of them, and draws some of them against sentences. Nothing is downloaded.
    Needs the extra 'demo'.
    """
    from clipcli.bundle.installed import find_model
    from clipcli.bundle.placing import check_writable
    from clipcli.commands.opening import mention_starter, model_and_device, open_model
    from clipcli.render.notes import counted, write_text
    from clipcli.render.tables import write_heading, write_link

    photographs = _shipped()
    folder = (output or _own_folder()).absolute()
    _check_free(folder)
    check_writable(folder)
    if model is None:
        mention_starter(find_model(None), always=True)
    loaded = open_model(model, device=device, precision=precision)
    asked = _options(model, device, precision)
    library, seconds = _make_library(folder, photographs, loaded)
    with library:
        write_text(
            f"{counted(len(photographs), 'photograph')} embedded in {seconds:.1f} s by {model_and_device(loaded)}.\n"
            f"Each command below is one to type, in the folder {folder}\n"
        )
        for phrase in PHRASES:
            write_heading(f"$ clip search {phrase} -k {SHOWN}{asked}")
            _search(library, loaded, Query(terms=(Term(what=phrase),)))
        write_heading(f"$ clip search photos/{LOOKED_LIKE} -k {SHOWN}{asked}")
        _search(library, loaded, Query(terms=(Term(what=folder / "photos" / LOOKED_LIKE),)))
    pictures = " ".join(f"photos/{name}" for name in CLASSIFIED)
    write_heading(f"$ clip classify {pictures} {' '.join(f'-l {shlex.quote(label)}' for label in LABELS)}{asked}")
    _classify(folder, loaded)
    columns = " ".join(f"photos/{name}" for name in SENTENCES)
    rows = " ".join(f"-t {shlex.quote(said)}" for said in SENTENCES.values())
    write_heading(f"$ clip matrix {columns} {rows} -o {FIGURE}{asked}")
    _draw(folder, loaded)
    write_link("drawn: ", os.fsencode(folder / FIGURE))
    clip = shlex.quote(_program())
    write_heading("Go on in the folder of the demo, which has a library of its own:")
    write_text(f"  cd {shlex.quote(str(folder))}\n  {clip} search a woman in an orange suit{asked}\n")
    write_heading("Pictures of your own go into your own library; leave the demo's folder first:")
    write_text(f"  cd ~\n  {clip} embed ~/Pictures\n")


def _options(model: str | None, device: Device, precision: Precision) -> str:
    """The options of this run as they are to be typed in the demo's folder; nothing where all are the usual ones."""
    from clipcli.bundle.installed import find_model

    options = ""
    if model is not None:
        folder = find_model(model)
        is_path = folder.resolve() == Path(model).expanduser().resolve()
        options += f" -m {shlex.quote(str(folder.absolute()) if is_path else model)}"
    if device is not Device.auto:
        options += f" --device {device.value}"
    return options + (f" --precision {precision.value}" if precision is not Precision.auto else "")


def _shipped() -> list[Path]:
    """The photographs, from inside scikit-image, which is found but not imported. Raises MissingExtraError."""
    from importlib.util import find_spec

    package = find_spec("skimage")
    if package is None or package.origin is None or find_spec("matplotlib") is None:
        raise MissingExtraError("demo", "the demo")
    data = Path(package.origin).parent / "data"
    found = [data / name for name in PHOTOGRAPHS if (data / name).is_file()]
    needed = {*SENTENCES, *CLASSIFIED, LOOKED_LIKE}
    if missing := sorted(needed - {path.name for path in found}):
        raise NotFoundError(f"this version of scikit-image comes without {missing[0]}; the demo needs another one")
    return found


def _check_free(folder: Path) -> None:
    """A folder with anything else in it is somebody's: its pictures would be found as well. Raises UsageError."""
    photos = folder / "photos"
    others = [path for path in _entries(folder) if path.name not in ("photos", FIGURE, ".clip")]
    others += [path for path in _entries(photos) if path.name not in PHOTOGRAPHS]
    if others:
        raise UsageError(
            f"{folder} has other files in it ({others[0].relative_to(folder)}); give --output a new folder"
        )


def _entries(folder: Path) -> list[Path]:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is not a folder; give --output another name")
    return sorted(folder.iterdir()) if folder.exists() else []


def _program() -> str:
    """What to type for this program: its name where the shell would find it, else where it lies."""
    started = Path(sys.argv[0])
    found = shutil.which(started.name)
    if found is not None and Path(found).resolve() == started.resolve():
        return started.name
    return str(started.absolute()) if started.exists() else "clip"


def _own_folder() -> Path:
    """Kept, so that a person can go on with it; in the cache, so that nobody has to clean it up."""
    import platformdirs

    return platformdirs.user_cache_path("clip", appauthor=False) / "demo"


def _make_library(folder: Path, photographs: Sequence[Path], model: Model) -> tuple[Library, float]:
    """The library of the copied photographs, open for reading, and the seconds it took. Only what is new is done."""
    from clipcli.library.indexing import IndexOptions, Progress, index_folders
    from clipcli.library.location import FILE_NAME, FOLDER_NAME
    from clipcli.library.run_lock import RunLock
    from clipcli.library.store import Library
    from clipcli.render.progress import progress_bar

    photos = folder / "photos"
    photos.mkdir(parents=True, exist_ok=True)
    for photograph in photographs:
        copy = photos / photograph.name
        if not copy.exists() or copy.stat().st_size != photograph.stat().st_size:
            shutil.copyfile(photograph, copy)
    path = folder / FOLDER_NAME / FILE_NAME
    path.parent.mkdir(exist_ok=True)
    with progress_bar("Embedding", unit="photographs") as bar:
        done = 0

        def show(progress: Progress) -> None:
            nonlocal done
            if progress.phase == "embed":
                bar.set_total(progress.total)
                bar.advance(progress.done - done)
                done = progress.done

        with RunLock(path), Library.open(path, write=True, create=True) as library:
            report = index_folders(library, [os.fsencode(photos)], model, IndexOptions(), show)
    return Library.open(path), report.seconds


def _search(library: Library, model: Model, query: Query) -> None:
    from clipcli.commands.results import write_hits
    from clipcli.library.search import nearest

    vector = query_vector(model, query)
    write_hits(nearest(library, vector, identity=model.identity, precision=model.precision, k=SHOWN))


def _classify(folder: Path, model: Model) -> None:
    from clipcli.bundle.templates import class_prototypes
    from clipcli.commands.judging import Tally, judge, write_judged
    from clipcli.commands.pictures import Skipped, embed_pictures

    prototypes = class_prototypes(model, LABELS, model.spec.templates)  # (C, D)
    batches = embed_pictures(model, [os.fsencode(folder / "photos" / name) for name in CLASSIFIED], Skipped())
    write_judged(list(judge(batches, prototypes, LABELS, model, len(LABELS), frozenset(), Tally())))


def _draw(folder: Path, model: Model) -> None:
    from clipcli.commands.matrix import draw_files
    from clipcli.commands.pictures import Skipped

    paths = [os.fsencode(folder / "photos" / name) for name in SENTENCES]
    draw_files(model, paths, list(SENTENCES.values()), folder / FIGURE, Skipped())
