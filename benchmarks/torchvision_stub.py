"""A stand-in for torchvision: its names, for packages that import it and are not asked for what they need it for.

open_clip and timm name torchvision's transforms and data sets when they are imported. There is no build of it for a
torch of the CPU alone, and no picture is decoded or transformed by them here: only their towers and their loop run.

    python -m benchmarks.torchvision_stub MODULE [ARGUMENT ...]     # run a module that imports them
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any, NoReturn

__all__ = ["stand_in"]

NAME = "torchvision"


def stand_in() -> bool:
    """Whether the stand-in is used from now on: a real torchvision is left alone."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return True
    if find_spec(NAME) is not None:
        return False
    sys.meta_path.append(_Finder())
    return True


class _Name(type):
    """A class that has whatever attribute is asked for, the same one each time, and that cannot be used."""

    def __getattr__(cls, name: str) -> Any:
        return _made(cls, name)

    def __call__(cls, *_given: object, **_named: object) -> NoReturn:
        raise RuntimeError(f"{cls.__name__} of torchvision was used, and only its name is here")


class _Module(ModuleType):
    def __getattr__(self, name: str) -> Any:
        return _made(self, name)


def _made(owner: Any, name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    made = _Name(name, (), {})
    setattr(owner, name, made)
    return made


class _Finder(MetaPathFinder, Loader):
    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self, is_package=True) if fullname.partition(".")[0] == NAME else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is in it but a version, which transformers compares, and which is older than any it asks for."""
        vars(module)["__version__"] = "0.0"


if __name__ == "__main__":
    from benchmarks.torchvision_stub import stand_in as place  # the class of the module that others import

    place()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
