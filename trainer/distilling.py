"""Learning from another model, or from soft labels, beside the pairs themselves.

Similarities: the student's shares of the texts of a batch for a picture, and of the pictures for a text, are to be
those of the teacher (Hinton et al. 2015, "Distilling the Knowledge in a Neural Network"; for CLIP: Wu et al. 2023,
"TinyCLIP", affinity mimicking). Features: a linear map of the student's vectors is to point where the teacher's do.
Soft labels: a linear map of the image features is to give their probabilities, or to point where their vectors do. The
maps are dropped at the end.

Shapes: B pictures, T texts, D the student's embedding, E the teacher's, K numbers of a soft label.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.matching import Matching
from trainer.objectives import ALL
from trainer.options import TrainOptions
from trainer.processes import Processes
from trainer.sampling import Batch
from trainer.soft_labels import SoftLabels
from trainer.step import Loss
from trainer.teacher import Teacher

__all__ = ["Distilling", "feature_loss", "similarity_loss"]


class Distilling:
    """A `FeatureObjective`: `Matching`, and what a teacher or soft labels add to it. Shown is the loss of the pairs."""

    def __init__(
        self,
        matching: Matching,
        options: TrainOptions,
        *,
        teacher: Teacher | None,
        soft: SoftLabels | None,
        processes: Processes,
    ) -> None:
        self.matching, self.options, self.processes, self.soft = matching, options, processes, soft
        self.scale = teacher.logit_scale if teacher is not None else 1.0
        width = matching.model.config.embedding_dim
        maps: dict[str, nn.Module] = {}
        if teacher is not None:
            maps = {name: nn.Linear(width, teacher.embedding_dim, bias=False) for name in ("image_map", "text_map")}
        if soft is not None:
            maps["soft_map"] = nn.Linear(width, soft.width)
        self.maps = nn.ModuleDict(maps).to(matching.encoder.compute.device)
        self.extra = nn.ModuleDict({"matching": matching.extra, "maps": self.maps})

    def loss(self, batch: Batch) -> Loss:
        return self.of_features(self.images(batch), self.texts(batch), batch, ALL, ALL)

    def images(self, batch: Batch, part: slice = slice(None)) -> Tensor:
        return self.matching.images(batch, part)

    def texts(self, batch: Batch, part: slice = slice(None)) -> Tensor:
        return self.matching.texts(batch, part)

    def of_features(self, images: Tensor, texts: Tensor, batch: Batch, rows: slice, columns: slice) -> Loss:
        """As `Matching`: the part that pictures `rows` and texts `columns` have."""
        loss = self.matching.of_features(images, texts, batch, rows, columns)
        total = loss.total
        if batch.teacher_texts is not None:
            total = total + self._of_teacher(images, texts, batch, rows, columns)
        if self.soft is not None and batch.soft is not None:
            wanted = torch.from_numpy(batch.soft).to(images.device)
            total = total + self.options.soft_weight * self._of_soft(images, wanted, rows)
        return Loss(total=total, shown=loss.shown)

    def after_update(self) -> None:
        self.matching.after_update()

    def _of_teacher(self, images: Tensor, texts: Tensor, batch: Batch, rows: slice, columns: slice) -> Tensor:
        assert batch.teacher_images is not None
        assert batch.teacher_texts is not None
        own = torch.from_numpy(batch.teacher_images).to(images)  # the pictures of this process
        taught_images = self.processes.gather(own, len(batch.positives)).detach()  # (B, E)
        taught_texts = torch.from_numpy(batch.teacher_texts).to(texts)  # (T, E)
        unit, found = F.normalize(images, dim=-1), images.new_zeros(())
        model = self.matching.model
        if self.options.distill_weight:
            scale = model.logit_scale.exp() if model.logit_bias is not None else model.clamped_logit_scale()
            student = scale * unit @ texts.T
            teacher = self.scale * taught_images @ taught_texts.T
            found = found + self.options.distill_weight * similarity_loss(
                student, teacher, temperature=self.options.distill_temperature, rows=rows, columns=columns
            )
        if self.options.distill_features:
            of_images = feature_loss(self.maps["image_map"](unit[rows]), taught_images[rows], of=len(images))
            of_texts = feature_loss(self.maps["text_map"](texts[columns]), taught_texts[columns], of=len(texts))
            found = found + self.options.distill_features * (of_images + of_texts) / 2
        return found

    def _of_soft(self, images: Tensor, wanted: Tensor, rows: slice) -> Tensor:
        """The part of pictures `rows` in the mean over the pictures of the batch that have a soft label."""
        assert self.soft is not None
        told = ~wanted.isnan().any(dim=1)  # (B,)
        count = int(told.sum())
        here = told[rows]
        if not count:
            return images.new_zeros(())
        given = self.maps["soft_map"](images[rows][here])
        if not self.soft.probabilities:
            return feature_loss(given, wanted[rows][here], of=count)
        return -(wanted[rows][here].to(given) * F.log_softmax(given, dim=1)).sum() / count


def similarity_loss(
    student: Tensor,  # (B, T) logits
    teacher: Tensor,  # (B, T) logits
    *,
    temperature: float,
    rows: slice = ALL,
    columns: slice = ALL,
) -> Tensor:
    """Kullback-Leibler divergence of the student's shares from the teacher's, mean over pictures and over texts.

    At a `temperature` above 1 shares are more even, and the loss is multiplied by its square, which keeps gradients as
    large (Hinton et al. 2015, section 2). `rows` and `columns` choose pictures and texts whose part is wanted.
    """
    one = _divergence(student[rows], teacher[rows], temperature) / len(student)
    other = _divergence(student.T[columns], teacher.T[columns], temperature) / student.shape[1]
    return temperature**2 * (one + other) / 2


def _divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    wanted = F.log_softmax(teacher / temperature, dim=1)
    return F.kl_div(F.log_softmax(student / temperature, dim=1), wanted, reduction="sum", log_target=True)


def feature_loss(mapped: Tensor, taught: Tensor, *, of: int) -> Tensor:
    """1 - cosine, (N, E) each, as the part of these N in a mean over `of`."""
    return (1 - F.cosine_similarity(mapped, taught.to(mapped), dim=-1)).sum() / of
