"""Prompt templates for kinds of pictures, to be averaged in embedding space (Radford et al. 2021, section 3.1.4)."""

from __future__ import annotations

from clipcli.errors import UsageError

__all__ = ["BARE", "PHOTO", "TEMPLATE_SETS", "template_set"]

BARE = "{}"
PHOTO = "a photo of a {}."

TEMPLATE_SETS: dict[str, tuple[str, ...]] = {
    "photos": (
        "a photo of a {}.",
        "a photo of the {}.",
        "a picture of a {}.",
        "a close-up photo of a {}.",
        "this is a {}.",
        "there is a {} in the photo.",
        "a photo of a small {}.",
        "a photo of a large {}.",
        "a photo of one {}.",
        "a bright photo of a {}.",
    ),
    "textures": (
        "a close-up of a {} surface.",
        "a {} texture that fills the whole picture.",
        "a {} pattern, seen from above.",
        "material with a {} look.",
        "the surface feels {}.",
        "a photo of something {}.",
    ),
    "satellite": (
        "a satellite image of {}.",
        "an aerial view of {} from straight above.",
        "{} as seen from space.",
        "a map photo with {} in the middle.",
        "land that is used as {}, photographed from an aircraft.",
    ),
    "screenshots": (
        "a screenshot of {}.",
        "a computer screen that shows {}.",
        "a phone screen with {} open.",
        "a window of a program for {}.",
        "the user interface of {}.",
        "a web page about {}.",
    ),
    "handwriting": (
        "the handwritten {}.",
        'a scan of the handwritten character "{}".',
        'somebody wrote "{}" with a pen.',
        'ink on paper that reads "{}".',
        'a note in handwriting that says "{}".',
    ),
}


def template_set(name: str) -> tuple[str, ...]:
    """The templates of a set. Raises UsageError for a name that is none."""
    if name not in TEMPLATE_SETS:
        raise UsageError(f"there is no template set {name!r}; there are {', '.join(TEMPLATE_SETS)}")
    return TEMPLATE_SETS[name]
