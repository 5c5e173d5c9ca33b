"""`clip models pull`: a model from the hub, fetched whole, checked, and installed."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace as replace_fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clipcli.commands.bringing import ACTIVATIONS, Wishes, bring_in
from clipcli.commands.options import Format, FormatOption
from clipcli.errors import NetworkError, UsageError

if TYPE_CHECKING:
    from clipcli.bundle.hub.catalogue import Known
    from clipcli.bundle.hub.choosing import Choice
    from clipcli.bundle.hub.pulling import Address
    from clipcli.render.progress import Bar

_MB = 1_000_000


def known_names() -> list[str]:
    """What the tab key offers: the catalogue."""
    from clipcli.bundle.hub.catalogue import known_models

    return [known.name for known in known_models()]


def pull(
    source: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A known model by name, or any repository of the hub: hf:OWNER/REPO or hf:OWNER/REPO@REVISION.",
            autocompletion=known_names,
            show_default=False,
        ),
    ],
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What the model is called here. Default: as known, or as its repository.",
            show_default=False,
        ),
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(
            "--precision",
            metavar="fp32|fp16|int8",
            help="A variant to fetch; give several. Default: the most exact there is.",
            show_default=False,
        ),
    ] = None,
    logit_scale: Annotated[
        float | None,
        typer.Option(
            "--logit-scale",
            metavar="X",
            help="What cosines are multiplied with, where nobody says.",
            show_default=False,
        ),
    ] = None,
    logit_bias: Annotated[
        float | None,
        typer.Option(
            "--logit-bias", metavar="X", help="What is added afterwards; sigmoid models only.", show_default=False
        ),
    ] = None,
    activation: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(ACTIVATIONS),
            help="Of weights that do not say what they were trained with.",
            show_default=False,
        ),
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The vocabulary, where the repository has none.", show_default=False),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Never touch the network: only say whether it is installed.")
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an installed model of that name.")] = False,
    format: FormatOption = None,
) -> None:
    """Fetch a model from the hub and install it.

    Known models are listed by 'clip models list'. Graphs (ONNX) are used as they are; weights are made into graphs,
    which needs the extra 'train'. What has arrived is kept when a download breaks off, and the same command goes on
    from there. Every file is held against the digest the hub names. Installed models never ask the network again.
    HF_ENDPOINT names a mirror, HF_TOKEN opens private repositories, CLIP_OFFLINE=1 forbids the network.

    \b
      clip models pull clip-vit-b-32
      clip models pull siglip2-b-16-224 --precision int8 --name small
      clip models pull hf:immich-app/ViT-B-32__openai --logit-scale 100
    """
    from clipcli.bundle.hub.pulling import parse_address
    from clipcli.bundle.installed import check_new_name

    known = None if source.startswith("hf:") else _find(source)
    address = parse_address(f"hf:{known.repository}") if known else parse_address(source)
    chosen = check_new_name(name or (known.name if known else address.repository.partition("/")[2]))
    published = known.activation if known else None
    if published is not None and activation not in (None, published):
        raise UsageError(f"{source} was trained with {published}: leave out --activation")
    wishes = Wishes(
        name=chosen,
        activation=activation or published,
        activation_known=published is not None,
        tokenizer=tokenizer,
        logit_scale=logit_scale if logit_scale is not None or known is None else known.logit_scale,
        logit_bias=logit_bias,
        precisions=tuple(precision or ()),
        replace=replace,
    )
    if not replace and _is_installed(chosen, address):
        return
    _fetch_and_install(address, wishes, known, offline=offline, format=format)


def _find(name: str) -> Known:
    from clipcli.bundle.hub.catalogue import find_known

    return find_known(name)


def _is_installed(name: str, address: Address) -> bool:
    """Whether this very repository is installed under `name`, which is said. Raises UsageError for another model."""
    from clipcli.bundle.installed import models_folder
    from clipcli.bundle.spec import read_spec
    from clipcli.render.notes import say

    folder = models_folder() / name
    if not folder.exists():
        return False
    origin = read_spec(folder).provenance
    revision = str(origin.get("revision", ""))
    if origin.get("repository") != address.repository or not revision.startswith(address.revision or ""):
        raise UsageError(f"a model called {name!r} is already installed: give another --name, or --replace")
    say(f"{name} is installed already (--replace fetches it again)")
    return True


def _fetch_and_install(
    address: Address, wishes: Wishes, known: Known | None, *, offline: bool, format: Format | None
) -> None:
    from clipcli.bundle.hub.client import endpoint
    from clipcli.bundle.hub.pulling import pulled
    from clipcli.bundle.spec import MODEL_FILE
    from clipcli.commands.bringing import require_train
    from clipcli.render.notes import say
    from clipcli.render.progress import progress_bar

    _check_online(wishes, offline=offline)
    if known is not None and known.comes_as == "weights":
        require_train(f"{known.name}, which comes as weights,")
    say(f"asking {endpoint()} for {address.repository}")
    with ExitStack() as stack:
        with progress_bar(f"pulling {wishes.name}", unit="MB") as bar:
            fetching = pulled(
                address,
                precisions=wishes.precisions,
                logits_known=wishes.logit_scale is not None,
                offline=offline,
                ready=lambda choice: _ready(choice, wishes),
                progress=_Megabytes(bar),
            )
            try:
                got = stack.enter_context(fetching)
            except KeyboardInterrupt:
                say("what has arrived is kept: the same command goes on from there")
                raise
        provenance: dict[str, Any] = {"repository": address.repository, "revision": got.listing.commit}
        if known is not None and known.zero_shot_imagenet is not None:
            provenance["published"] = {"zero_shot_imagenet": known.zero_shot_imagenet, "source": known.zero_shot_from}
        if not (got.folder / MODEL_FILE).is_file():  # a bundle speaks for itself
            wishes = replace_fields(wishes, licence=(known.licence if known else None) or got.listing.licence)
        bring_in(got.folder, wishes, format=format, provenance=provenance)


def _check_online(wishes: Wishes, *, offline: bool) -> None:
    """Raises NetworkError where the person has forbidden the network: what is missing, and what works without it."""
    from clipcli.bundle.hub.client import check_online

    try:
        check_online(offline)
    except NetworkError as error:
        missing = "is to be fetched again" if wishes.replace else "is not installed"
        raise NetworkError(
            f"{wishes.name} {missing}: {error} ('clip models import PATH' installs a model that lies on this machine)"
        ) from None


def _ready(choice: Choice, wishes: Wishes) -> None:
    """Say what is coming, before it is.

    Raises MissingExtraError and UsageError rather than fetch what cannot be read here.
    """
    from clipcli.commands.bringing import require_train, require_words
    from clipcli.render.notes import say

    if choice.kind == "weights":
        require_train("a model that comes as weights")
        require_words((file.path for file in choice.files), wishes)
    if choice.logits_untold and wishes.logit_scale is None:
        raise UsageError(
            "the repository does not say its logit scale: give --logit-scale (its graphs leave it out; OpenAI's models "
            "have 100, those of sigmoids --logit-bias as well)"
        )
    if choice.kind != "bundle":
        say(f"{choice.size_bytes / _MB:,.1f} MB in {len(choice.files)} files")


class _Megabytes:
    """Bytes that come and go, on a bar that counts millions."""

    def __init__(self, bar: Bar) -> None:
        self._bar, self._bytes, self._shown = bar, 0, 0

    def begin(self, total_bytes: int) -> None:
        self._bar.set_total(-(-total_bytes // _MB))

    def moved(self, count_bytes: int) -> None:
        self._bytes += count_bytes
        steps = self._bytes // _MB - self._shown
        if steps:
            self._bar.advance(steps)
            self._shown += steps
