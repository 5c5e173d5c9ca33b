"""Freed memory that is kept: asked for of a C library that knows how, where nobody else has said otherwise."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from trainer.allocation import LARGE_PAGES, PERSONS, keep_freed_memory

FAULTS = """
import resource
import torch
from trainer.allocation import keep_freed_memory

def faults():
    for _ in range(20):  # now and then the heap grows by some blocks before it takes freed ones again
        torch.ones(10_000_000)  # 40 MB: more than glibc comes to keep by itself
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(10_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = faults()
assert keep_freed_memory()
print(before, faults())
"""


@pytest.fixture
def undecided(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment that says nothing of memory, and a process that is not changed for good."""
    for name in (*PERSONS, LARGE_PAGES):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's own")
def test_a_block_that_is_freed_and_taken_again_is_the_same_pages(undecided: pytest.MonkeyPatch) -> None:
    before, kept = map(int, subprocess.check_output([sys.executable, "-c", FAULTS], text=True).split())
    assert kept < before / 5


@pytest.mark.parametrize("name", PERSONS)
def test_what_a_person_has_said_of_memory_stands(undecided: pytest.MonkeyPatch, name: str) -> None:
    undecided.setenv(name, "1")
    undecided.setattr(ctypes, "CDLL", lambda _: pytest.fail("asked the C library"))
    assert not keep_freed_memory()


def test_other_systems_are_left_alone(undecided: pytest.MonkeyPatch) -> None:
    undecided.setattr(sys, "platform", "darwin")
    undecided.setattr(ctypes, "CDLL", lambda _: pytest.fail("asked the C library"))
    assert not keep_freed_memory()


def test_a_c_library_without_such_settings_is_no_error(undecided: pytest.MonkeyPatch) -> None:
    undecided.setattr(sys, "platform", "linux")
    undecided.setenv(LARGE_PAGES, "0")  # stays as it is
    undecided.setattr(ctypes, "CDLL", lambda _: object())
    assert not keep_freed_memory()
