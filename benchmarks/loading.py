"""Does loading starve the step: an epoch of batches without compute, beside the training rate of small models.

    python -m benchmarks.loading --data FOLDER [--pictures 3000] [--rounds 5] [--side 1024]

Photographs of flickr8k-train are written three times, as Parquet, as a CSV beside files, and as WebDataset shards. Of
each, `trainer.data.prepare_data` and `BatchMaker` make all the batches of an epoch, as a run does it: once with every
decoded picture kept in memory (a run's usual state after the first look at the data), and once with none kept, so that
every picture is decoded again each time it is drawn (data larger than memory). In turns with each of them, in the same
process, a step of each model is taken on a batch that is there already. `--side` enlarges the photographs first, to
what cameras make. What is printed: pictures a second, medians over the rounds, the first look included, and how many
times the rate of the fastest model that is. On a machine that is busy with other work the rates of processor time tell
more: how many pictures are got ready by the processor time that one step's picture takes.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import torch
from PIL import Image

from clipcli.bundle.spec import Preprocess
from clipcli.bundle.tokenizer import Tokenizer
from trainer.architectures import architecture
from trainer.data import Data, prepare_data
from trainer.device import choose_compute
from trainer.loop import Fit
from trainer.options import TrainOptions
from trainer.record import Silent
from trainer.row_plan import RowPlan
from trainer.run import CLIP_MEAN, CLIP_STD
from trainer.sampling import WORKERS, BatchMaker
from trainer.towers import Clip
from trainer.tuning import train_mode
from trainer.vocabulary import learn_vocabulary

MODELS = ("ViT-nano-64/8", "RN-nano-64-bag", "RN-nano-64")  # the fewest parameters, the fastest, the usual one
BATCH = 256
WANTED = 3.0  # times the training rate
SHARD = 1_000  # pictures
NO_CACHE = 1  # MiB: next to nothing


@dataclass(frozen=True, kw_only=True, slots=True)
class Photo:
    name: str
    content: bytes
    captions: list[str]


def photographs(data: Path, count: int, side: int) -> list[Photo]:
    """As they are, or as JPEGs with the shorter side enlarged to `side` pixels."""
    table = pyarrow.parquet.read_table(data / "flickr8k-train.parquet")
    found = []
    for row in table.to_pylist()[:count]:
        content, ending = row["image"], "webp"
        if side:
            picture = Image.open(io.BytesIO(content)).convert("RGB")
            scale = side / min(picture.size)
            file = io.BytesIO()
            picture.resize((round(picture.width * scale), round(picture.height * scale))).save(file, "JPEG", quality=85)
            content, ending = file.getvalue(), "jpg"
        found.append(Photo(name=f"{Path(row['name']).stem}.{ending}", content=content, captions=row["captions"]))
    return found


def as_parquet(photos: list[Photo], folder: Path) -> Path:
    columns = {"image": [photo.content for photo in photos], "captions": [photo.captions for photo in photos]}
    pyarrow.parquet.write_table(pa.table(columns), folder / "pairs.parquet", compression="zstd")
    return folder / "pairs.parquet"


def as_csv(photos: list[Photo], folder: Path) -> Path:
    lines = ["image\tcaption"]
    for photo in photos:
        (folder / photo.name).write_bytes(photo.content)
        lines += [f"{photo.name}\t{caption}" for caption in photo.captions]
    (folder / "pairs.tsv").write_text("\n".join(lines) + "\n", "utf-8")
    return folder / "pairs.tsv"


def as_shards(photos: list[Photo], folder: Path) -> Path:
    count = -(-len(photos) // SHARD)
    for number in range(count):
        with tarfile.open(folder / f"pairs-{number:03d}.tar", "w") as tar:
            for photo in photos[number * SHARD : (number + 1) * SHARD]:
                texts = json.dumps({"captions": photo.captions}).encode()
                for name, content in ((photo.name, photo.content), (f"{Path(photo.name).stem}.json", texts)):
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    return folder / (f"pairs-{{000..{count - 1:03d}}}.tar" if count > 1 else "pairs-000.tar")


FORMATS: dict[str, Callable[[list[Photo], Path], Path]] = {
    "Parquet": as_parquet,
    "CSV": as_csv,
    "WebDataset": as_shards,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    """Pictures a second of the clock, and of processor time in all threads."""

    wall: float
    processor: float


class Clock:
    """Both times from now on."""

    def __init__(self) -> None:
        self.wall, self.processor = time.perf_counter(), time.process_time()

    def rate(self, pictures: int) -> Rate:
        return Rate(
            wall=pictures / (time.perf_counter() - self.wall),
            processor=pictures / (time.process_time() - self.processor),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Loader:
    """A source as a run reads it."""

    maker: BatchMaker
    first_look: Rate  # from the file until training could begin

    def epoch(self) -> Rate:
        """Of an epoch's batches taken as fast as they come."""
        steps = self.maker.plan.steps_per_epoch
        clock = Clock()
        with self.maker.stream(0, steps) as batches:
            for _ in batches:
                pass
        return clock.rate(steps * BATCH)


def opened(source: Path, words: Tokenizer | None, *, keep: bool, pictures: int) -> tuple[Loader, Tokenizer]:
    options = TrainOptions(data=(str(source),), arch=MODELS[0], crop_min=0.6, cache_mb=0 if keep else NO_CACHE)
    preprocess = Preprocess(image_size=64, mean=CLIP_MEAN, std=CLIP_STD)
    clock = Clock()
    data = prepare_data(options, preprocess, begin=Silent().begin, summarise=Silent().summary)
    first_look = clock.rate(pictures)
    words = words or learnt(data)
    maker = BatchMaker(
        rows=data.rows,
        plan=RowPlan(data.groups, (), BATCH, 0),
        store=data.store,
        tokenise=words,
        end_id=words.end_id,
        templates=options.templates,
        same_text="positive",
        crop_min=options.crop_min,
        flip=True,
        seed=0,
    )
    return Loader(maker=maker, first_look=first_look), words


def learnt(data: Data) -> Tokenizer:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "tokenizer.json"
        path.write_text(learn_vocabulary(data.texts(("{}",)), max_size=8000).to_str(), "utf-8")
        return Tokenizer.load(path, architecture(MODELS[0]).text.context_length)


class Trained:
    """A model on a batch made beforehand."""

    def __init__(self, name: str, maker: BatchMaker, words: Tokenizer, folder: Path) -> None:
        options = TrainOptions(data=("made",), arch=name, log_every_steps=0, device="cpu")
        config = architecture(name)
        config = replace(config, text=replace(config.text, vocab_size=words.end_id + 1))
        self.batch = maker.make(0)
        self.fit = Fit(
            model=Clip(config),
            options=options,
            maker=maker,
            sets=[],
            preprocess=maker.store.preprocess,
            compute=choose_compute(options),
            run=folder,
            reporter=Silent(),
        )
        train_mode(self.fit.model, freeze_batch_norm=False)

    def step(self) -> Rate:
        clock = Clock()
        self.fit.update(self.batch, 1e-4)
        return clock.rate(BATCH)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of flickr8k-train.parquet")
    parser.add_argument("--pictures", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--side", type=int, default=0, help="enlarge the shorter side to so many pixels, as JPEG")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        measure(photographs(given.data, given.pictures, given.side), given.rounds, Path(name))


def measure(photos: list[Photo], rounds: int, folder: Path) -> None:
    words: Tokenizer | None = None
    loaders: dict[str, Loader] = {}
    for format, write in FORMATS.items():
        (folder / format).mkdir()
        source = write(photos, folder / format)
        for keep in (True, False):
            what = f"{format}, {'kept in memory' if keep else 'decoded each time'}"
            loaders[what], words = opened(source, words, keep=keep, pictures=len(photos))
            print(f"{what}: first look {loaders[what].first_look}", flush=True)
    assert words is not None
    some = next(iter(loaders.values())).maker
    models = {name: Trained(name, some, words, folder) for name in MODELS}
    training: dict[str, list[Rate]] = {name: [] for name in MODELS}
    loading: dict[str, list[Rate]] = {what: [] for what in loaders}
    for trained in models.values():
        trained.step()  # the first one is slower
    for _ in range(rounds):
        for what, loader in loaders.items():
            for name, trained in models.items():
                training[name].append(trained.step())
            loading[what].append(loader.epoch())
    print(f"torch's threads: {torch.get_num_threads()}; cores: {os.cpu_count()}; threads that load: {WORKERS}")
    for name, rates in training.items():
        print(f"{name}: trains on {middle(rates):.0f} pictures/s, {middle(rates, 'processor'):.0f} by processor time")
    fastest = max(middle(rates) for rates in training.values())
    cheapest = max(middle(rates, "processor") for rates in training.values())
    print("| source | pictures/s | least to most | times the fastest model | by processor time |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for what, rates in loading.items():
        spread = f"{min(rate.wall for rate in rates):,.0f} to {max(rate.wall for rate in rates):,.0f}"
        ratio, processor = middle(rates) / fastest, middle(rates, "processor") / cheapest
        print(f"| {what} | {middle(rates):,.0f} | {spread} | {ratio:.1f} | {processor:.1f} |")
    least = min(middle(rates) for rates in loading.values()) / fastest
    verdict = "reached" if least >= WANTED else "not reached"
    print(f"wanted: {WANTED:g} times the fastest model; {verdict}, the slowest source has {least:.1f}")


def middle(rates: list[Rate], which: str = "wall") -> float:
    return statistics.median(float(getattr(rate, which)) for rate in rates)


if __name__ == "__main__":
    main()
