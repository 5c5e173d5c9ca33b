"""The gradient of a loss that compares all rows of a large batch, without holding the towers' work on all in memory.

Features are computed in chunks and kept without what led to them; the loss of all of them gives a gradient per
feature; then each chunk is computed once more and passes its gradient on to the towers (Gao et al. 2021, "Scaling Deep
Contrastive Learning Batch Size under Memory Limited Setup", GradCache). Several processes do the same with a share
each: features are gathered, and each process compares its own pictures with all texts, its own texts with all pictures
(Radford et al. 2021, section 2.5). Neither changes the gradient: the towers draw no random numbers.

Shapes: B pictures, T texts, D embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from clipcli.errors import UsageError
from trainer.processes import Processes
from trainer.sampling import Batch
from trainer.step import Gradient, Loss, Objective, plain_gradient

__all__ = ["FeatureObjective", "SharedGradient", "choose_gradient", "has_batch_statistics"]


class FeatureObjective(Objective, Protocol):
    """An objective in two halves: features, which may be computed in parts, and the loss of all of them."""

    def images(self, batch: Batch, part: slice = slice(None)) -> Tensor:
        """(B', D) of the pictures `part` of those that this process has."""

    def texts(self, batch: Batch, part: slice = slice(None)) -> Tensor:
        """(T', D) of the texts `part` of all texts of the batch."""

    def of_features(self, images: Tensor, texts: Tensor, batch: Batch, rows: slice, columns: slice) -> Loss:
        """The part of the loss that the pictures `rows` and the texts `columns` have; the parts add up to the whole."""


class SharedGradient:
    """A `Gradient` in chunks of `chunk_size` rows (0 is all at once), with a share of the batch for each process."""

    def __init__(
        self, model: nn.Module, parameters: Iterable[nn.Parameter], *, chunk_size: int, processes: Processes
    ) -> None:
        self.model, self.parameters = model, list(parameters)
        self.chunk_size, self.processes = chunk_size, processes

    def __call__(self, objective: Objective, batch: Batch, scale: Callable[[Tensor], Tensor]) -> Loss:
        features = as_features(objective)
        texts = self.processes.own(len(batch.tokens))
        image_parts = self._chunks(0, len(batch.pixels))
        text_parts = self._chunks(texts.start, texts.stop)
        own_images = self._first_pass(lambda part: features.images(batch, part), image_parts)
        own_texts = self._first_pass(lambda part: features.texts(batch, part), text_parts)
        loss = features.of_features(
            self.processes.gather(own_images, len(batch.positives)),
            self.processes.gather(own_texts, len(batch.tokens)),
            batch,
            self.processes.own(len(batch.positives)),
            texts,
        )
        whole = torch.stack([loss.total.detach(), loss.shown.detach()])
        self.processes.add_up([whole])
        found = Loss(total=whole[0], shown=whole[1])
        torch.autograd.backward(scale(loss.total))
        if self.chunk_size:
            _second_pass(lambda part: features.images(batch, part), image_parts, own_images)
            _second_pass(lambda part: features.texts(batch, part), text_parts, own_texts)
        if self.processes.world > 1:
            for parameter in self.parameters:  # a parameter no row of this process touched still takes part in the sum
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
            self.processes.add_up(parameter.grad for parameter in self.parameters if parameter.grad is not None)
            self._share_statistics()
        return found

    def _share_statistics(self) -> None:
        """Running statistics become the mean of what the processes saw, so that all of them have the same."""
        if has_batch_statistics(self.model):
            buffers = [buffer for buffer in self.model.buffers() if buffer.is_floating_point()]
            self.processes.add_up(buffers)
            for buffer in buffers:
                buffer.div_(self.processes.world)

    def _chunks(self, start: int, stop: int) -> list[slice]:
        """At least one, though it may be empty."""
        size = self.chunk_size or max(1, stop - start)
        return [slice(at, min(at + size, stop)) for at in range(start, max(stop, start + 1), size)]

    def _first_pass(self, encode: Callable[[slice], Tensor], parts: list[slice]) -> Tensor:
        if not self.chunk_size:
            return encode(parts[0])
        with torch.no_grad(), _statistics_kept(self.model):
            return torch.cat([encode(part) for part in parts]).requires_grad_()


def _second_pass(encode: Callable[[slice], Tensor], parts: list[slice], features: Tensor) -> None:
    if features.grad is None:  # nothing was learnt from them
        return
    gradients = torch.split(features.grad, [part.stop - part.start for part in parts])
    for part, gradient in zip(parts, gradients, strict=True):
        again = encode(part)
        if not again.requires_grad:  # the whole tower is frozen
            return
        torch.autograd.backward(again, gradient)


@contextmanager
def _statistics_kept(model: nn.Module) -> Iterator[None]:
    """Running statistics move in the second pass only, once a step as ever."""
    before = {name: buffer.clone() for name, buffer in model.named_buffers()} if has_batch_statistics(model) else {}
    yield
    for name, buffer in model.named_buffers():
        if name in before:
            buffer.copy_(before[name])


def has_batch_statistics(model: nn.Module) -> bool:
    """Whether a picture's features depend on the other pictures: batch norm that is not frozen."""
    return any(isinstance(part, nn.modules.batchnorm._BatchNorm) and part.training for part in model.modules())


def as_features(objective: Objective) -> FeatureObjective:
    """Raises UsageError where the objective does not come in two halves."""
    if not hasattr(objective, "of_features"):
        raise UsageError("chunk_size and several processes go with the objectives contrastive and sigmoid only")
    return cast(FeatureObjective, objective)


def choose_gradient(
    model: nn.Module,
    objective: Objective,
    parameters: Iterable[nn.Parameter],
    *,
    chunk_size: int,
    processes: Processes,
) -> Gradient:
    """All at once where nothing else is asked for.

    Raises:
        UsageError: the objective cannot be computed in parts.
    """
    if not chunk_size and processes.world == 1:
        return plain_gradient
    as_features(objective)
    return SharedGradient(model, parameters, chunk_size=chunk_size, processes=processes)
