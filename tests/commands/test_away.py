"""Results whose files are not there: found all the same, and said."""

from __future__ import annotations

from pathlib import Path

from tests.test_search import Search, bundle, library, own_library, own_photos, photos, search

__all__ = ["bundle", "library", "own_library", "own_photos", "photos", "search"]  # fixtures


def test_results_that_are_not_there_are_said(search: Search, own_library: Path, own_photos: Path) -> None:
    def told() -> str:
        result = search("red", "--db", own_library, "-k", "3")
        assert (result.exit_code, len(result.stdout.splitlines())) == (0, 4)
        return str(result.stderr)

    assert "not there" not in told()
    (own_photos / "red.png").unlink()
    assert "1 of these pictures is not there: deleted, moved, or on a disk not mounted" in told()
    own_photos.rename(own_photos.with_name("elsewhere"))
    assert f"3 of these pictures are not there: is {own_photos} on a disk not mounted, or has it moved?" in told()
    own_photos.mkdir()
    assert f"3 of these pictures are not there: is {own_photos} on a disk not mounted, or has it moved?" in told()
