"""`clip browse`: the library as a page in the browser."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import typer

from clipcli.commands.options import (
    Device,
    DeviceOption,
    LibraryOption,
    ModelOption,
    Precision,
    PrecisionOption,
)
from clipcli.errors import MissingExtraError

if TYPE_CHECKING:
    from clipcli.browse.model_in_use import ModelInUse
    from clipcli.library.store import Library

THIS_MACHINE = "127.0.0.1"


def browse(
    host: Annotated[
        str,
        typer.Option(
            "--host",
            metavar="ADDRESS",
            help="Where to listen. Anything but this machine itself lets others in who have the token that is printed, "
            "unencrypted.",
        ),
    ] = THIS_MACHINE,
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            metavar="N",
            min=0,
            max=65535,
            help="The port; 0 takes any that is free. Default: 8732, or any where that is in use.",
            show_default=False,
        ),
    ] = None,
    open_browser: Annotated[
        bool | None,
        typer.Option(
            "--open/--no-open",
            help="Open the browser, or only print the address. Default: open it, unless the address has a token.",
            show_default=False,
        ),
    ] = None,
    db: LibraryOption = None,
    model: ModelOption = None,
    device: DeviceOption = Device.auto,
    precision: PrecisionOption = Precision.auto,
) -> None:
    """Look through the library in the browser: search, filter, tag, review duplicates, see a map.

    The page is served by this program to this machine alone, and asks nobody else for anything. It changes tags and
    decisions about duplicates, and deletes no file. Ctrl-C ends it.

    \b
      clip browse
      clip browse --port 9000 --no-open
    """
    missing = [name for name in ("starlette", "uvicorn") if find_spec(name) is None]
    if missing:
        raise MissingExtraError("ui", "the page in the browser")
    import platformdirs

    from clipcli.browse.serving import bind, serve
    from clipcli.library.location import find_library
    from clipcli.library.store import Library
    from clipcli.render.notes import say, write_text
    from clipcli.render.text import short_path
    from clipcli.render.viewer import open_address

    file = find_library(db)
    Library.open(file).close()  # before a port is taken
    bound = bind(host, port)

    def open_model(library: Library) -> ModelInUse | None:
        from clipcli.browse.model_in_use import ModelInUse
        from clipcli.commands.opening import open_model_of

        chosen = open_model_of(library, model, device=device, precision=precision)
        return None if chosen is None else ModelInUse(model=chosen.model, stored_precision=chosen.stored_precision)

    def ready() -> None:
        say(f"{short_path(bytes(file))} is at the address below; Ctrl-C ends it")
        if bound.door.token is not None:
            say("whoever has this address can see and tag all of it; the connection is not encrypted")
        write_text(f"{bound.address}\n")
        # A token is for the person's eyes: how a browser was started can be read by everybody on this machine.
        wanted = bound.door.token is None if open_browser is None else open_browser
        if wanted and bound.door.token is not None:
            say("with --open whoever uses this machine can see the token while the browser starts")
        if wanted and not open_address(bound.address):
            say("no browser can be opened here; open the address yourself")

    thumbs = platformdirs.user_cache_path("clip", appauthor=False) / "thumbnails"
    serve(file, open_model, bound, thumbs=thumbs, on_ready=ready)
