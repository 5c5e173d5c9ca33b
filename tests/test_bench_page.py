"""What `make bench` measures becomes tables, a page and pictures; what is not measured again stays."""

from __future__ import annotations

import dataclasses
import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import bare_stages, torchvision_stub, vector_search
from benchmarks.cases import Row, Table, compared
from benchmarks.environments import PEERS, Peer, lacking
from benchmarks.measured import Part, of_this_machine, read_parts, write_parts
from benchmarks.page import grown, report
from benchmarks.parts import PARTS, Bench, parts_of
from benchmarks.ratios_figure import bars
from benchmarks.run import write
from benchmarks.stage_towers import quickest
from benchmarks.stages import Absent
from benchmarks.timing import Times
from benchmarks.training_beside import as_table

MACHINE = ("processor: a quick one, 2 usable cores", "memory: 24 GiB", "python: 3.11.7")


def searched(size: int, **seconds: float) -> Table:
    first = next(iter(seconds.values()))
    rows = tuple(
        Row(name=name, median=f"{taken * 1000:.0f} ms", value=taken, spread=0.01, ratio=taken / first)
        for name, taken in seconds.items()
    )
    return Table(title=f"Ten nearest of {size:,}", note="Made.", rows=rows, family="vectors", size=size)


def part(*tables: Table, **changes: object) -> Part:
    made = Part(
        date="2026-11-20",
        rounds="5 rounds",
        load="0.1",
        machine=MACHINE,
        peers=("rclip 3",),
        left_out=(),
        tables=tables,
    )
    return dataclasses.replace(made, **changes)


GROWING = (searched(100, faiss=1.0, clip=0.5), searched(1000, faiss=10.0, clip=2.0, usearch=4.0))


def test_the_page_shows_rates_ratios_and_who_is_missing() -> None:
    rows = compared({"floor": Times(seconds=(1.0,)), "clip": Times(seconds=(4.0,))}, count=100, unit="images/s")
    assert [(row.value, row.ratio, row.rate) for row in rows] == [(1.0, 1.0, "100 images/s"), (4.0, 4.0, "25 images/s")]
    parts = {
        "index": part(Table(title="Indexing", note="Made.", rows=rows)),
        "vectors": part(rounds="3 rounds", peers=("faiss 1", "rclip 3"), left_out=("usearch: no such thing",)),
    }
    page = report(parts, figures=[("Ratios", "benchmarks.png")])
    assert "![Ratios](benchmarks.png)" in page
    assert "- processor: a quick one, 2 usable cores\n" in page
    assert "- peers: rclip 3, faiss 1\n" in page
    assert "- index: 2026-11-20, 5 rounds, load before the start 0.1\n- vectors: 2026-11-20, 3 rounds" in page
    assert "- left out: usearch: no such thing\n" in page
    assert "## Indexing" in page
    assert "| clip | 4,000 ms | ±0 % | 4.00 | 25 images/s |" in page
    assert "How the cost grows" not in page


def test_the_page_shows_how_cost_grows() -> None:
    assert grown(reversed(GROWING), "vectors") == ([100, 1000], {"faiss": [1.0, 10.0], "clip": [0.5, 2.0]})
    assert grown(GROWING, "searching") == ([], {})
    page = report({"vectors": part(*GROWING)}, figures=[])
    # 9 s more for 900 vectors more: 1,000 s for 100,000
    assert "| faiss | 1,000 ms | 10,000 ms | 1,000,000 ms |" in page.split("## How the cost grows")[1]


def test_a_part_measured_again_replaces_its_own(tmp_path: Path) -> None:
    output = tmp_path / "page.md"
    write_parts({"vectors": part(*GROWING), "help": part(searched(1, rclip=1.0, clip=0.1))}, tmp_path / "page.json")
    parts = read_parts(output.with_suffix(".json"))
    assert parts["vectors"] == part(*GROWING)
    page = write(parts | {"help": part(searched(1, rclip=1.0, clip=0.2), date="2027-01-01")}, output)
    assert page == output.read_text("utf-8")
    assert "| clip | 200 ms |" in page
    assert "| clip | 2000 ms |" in page
    for picture in ("page.png", "page-growth.png"):
        assert f"]({picture})" in page
        with Image.open(tmp_path / picture) as opened:
            assert opened.width > 1000
    assert read_parts(tmp_path / "page.json")["help"].date == "2027-01-01"
    assert read_parts(tmp_path / "none.json") == {}


def test_figures_of_another_machine_do_not_stand_beside_these() -> None:
    newer = (*MACHINE[:2], "python: 3.12.1")
    kept, others = of_this_machine({"help": part(), "index": part(machine=("processor: old", *MACHINE[1:]))}, newer)
    assert (list(kept), others) == (["help"], ["index"])


def test_bars_are_of_programs_beside_the_first_of_their_table() -> None:
    own = Table(title="Starting", note="", rows=compared({"clip": Times(seconds=(1.0,))}))
    assert bars([GROWING[1], own]) == [("Ten nearest of 1,000: faiss = 1", [("clip", 5.0), ("usearch", 2.5)])]


def test_a_training_step_beside_the_peer() -> None:
    ratio = {"median": 2.0, "least": 1.5, "most": 2.5}
    pairs = ("fp32", "bf16", "each at its best", "our best to their fp32")
    rates = {"ours fp32": [16.0, 16.0, 8.0], "theirs fp32": [8.0, 8.0, 8.0]}
    table = as_table({"arch": "ViT-S/32", "batch": 32, "rates": rates} | dict.fromkeys(pairs, ratio))
    assert [(row.name, row.median, row.ratio) for row in table.rows] == [
        ("open_clip, fp32", "4,000 ms", 1.0),
        ("clip train, fp32", "2,000 ms", 0.5),
    ]
    assert table.rows[1].spread == 0.5
    assert "each at its best 2.00 (1.50 to 2.50)" in table.note


def test_the_batch_that_is_quickest() -> None:
    taken = {8: iter([9.0, 1.0, 5.0]), 16: iter([3.0, 2.0]), 32: iter([0.5, 4.0])}  # the very first is not counted
    assert quickest(lambda batch: next(taken[batch]), (8, 16, 32)) == 32


def test_ten_nearest_and_recall() -> None:
    rows = np.eye(12, dtype=np.float32)
    queries = np.linspace(1.0, 2.0, 12, dtype=np.float32)[None]
    right = vector_search.ten_best(rows, queries)
    assert right.tolist() == [[11, 10, 9, 8, 7, 6, 5, 4, 3, 2]]
    assert vector_search.recall([[2, 3, 4, 5, 6, 7, 8, 9, 0, 1]], right) == pytest.approx(0.8)


def test_searches_beside_peers_that_are_not_there(tmp_path: Path) -> None:
    """Ours and NumPy's are measured all the same, find what float64 finds, and the library is gone afterwards."""
    none = tmp_path / "none" / "python"
    (table,), peers, left_out = vector_search.compared_searches(tmp_path, none, rounds=1, sizes=(300,))
    assert [row.name for row in table.rows] == ["NumPy, product and partition", "clip, search of a library"]
    assert all(row.rate.startswith("recall 1.0000, ") for row in table.rows)
    assert all(row.value > 0 for row in table.rows)
    assert peers == []
    assert left_out == [
        f"{name}: {none} cannot be run (No such file or directory)"
        for name in ("faiss IndexFlatIP", "usearch, exact, f32", "usearch, exact, f16")
    ]
    assert list(tmp_path.iterdir()) == []


def test_a_part_without_its_peer_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    none = tmp_path / "none"
    bench = Bench(folder=tmp_path, rclip_python=none, peers=none, rounds=1, quick=True)
    parts = parts_of(bench)
    assert tuple(parts) == PARTS
    with pytest.raises(Absent, match="there is no"):
        parts["help"]()
    with pytest.raises(Absent, match="cannot be run"):
        parts["training"]()
    monkeypatch.setattr(bare_stages, "may_use_cuda", lambda: False)
    with pytest.raises(Absent, match="no GPU"):
        bare_stages.on_a_gpu(tmp_path, tmp_path, none, rounds=1)


def test_what_an_environment_lacks() -> None:
    there = Peer(environment="torch", name="numpy", version=np.__version__)
    older = dataclasses.replace(there, version="0.1")
    assert lacking(Path(sys.executable), [there, older]) == [older]
    with pytest.raises(ValueError, match="no environment"):
        Peer(environment="elsewhere", name="numpy", version="1")
    assert {peer.name for peer in PEERS if peer.bare} == {"timm", "open_clip_torch"}  # they ask for torchvision


def test_the_stand_in_has_names_and_no_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision_stub, "NAME", "no_such_vision")
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    assert torchvision_stub.stand_in()
    assert torchvision_stub.stand_in()  # once is enough
    assert sum(isinstance(finder, torchvision_stub._Finder) for finder in sys.meta_path) == 1
    try:
        transforms = importlib.import_module("no_such_vision.transforms")
        functional = importlib.import_module("no_such_vision.transforms.functional")
        assert transforms.functional is functional
        assert transforms.Resize is transforms.Resize
        assert len({functional.InterpolationMode.NEAREST, functional.InterpolationMode.BICUBIC}) == 2
        assert issubclass(type("Own", (transforms.Resize,), {}), transforms.Resize)
        with pytest.raises(RuntimeError, match="Resize of torchvision was used"):
            transforms.Resize(224)
    finally:
        for name in [name for name in sys.modules if name.startswith("no_such_vision")]:
            del sys.modules[name]
    monkeypatch.setattr(torchvision_stub, "NAME", "numpy")
    monkeypatch.setattr(
        sys, "meta_path", [one for one in sys.meta_path if not isinstance(one, torchvision_stub._Finder)]
    )
    assert not torchvision_stub.stand_in()  # a real one is left alone
