"""The objective of CLIP and of SigLIP on a batch: which text belongs to which picture.

Shapes: B pictures, T texts, D embedding.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.encoding import Encoder
from trainer.objectives import ALL, contrastive_loss, sigmoid_loss
from trainer.sampling import Batch
from trainer.step import Loss

__all__ = ["Matching"]


class Matching:
    """Contrastive where the model has no logit bias, else sigmoid; beside it, if asked, a classifier of the labels.

    A `FeatureObjective`: what is computed of one picture or text, and what of all of them together.
    """

    def __init__(self, encoder: Encoder, *, labels: int, label_loss: float) -> None:
        self.encoder, self.model, self.label_loss = encoder, encoder.model, label_loss
        self.label_head = nn.Linear(self.model.config.embedding_dim, max(1, labels)).to(encoder.compute.device)
        self.extra = nn.ModuleDict({"label_head": self.label_head})

    def loss(self, batch: Batch) -> Loss:
        return self.of_features(self.images(batch), self.texts(batch), batch, ALL, ALL)

    def images(self, batch: Batch, part: slice = slice(None)) -> Tensor:
        """(B, D) of the pictures in `part`, not normalised."""
        return self.encoder.images(batch.pixels[part])

    def texts(self, batch: Batch, part: slice = slice(None)) -> Tensor:
        """(T, D) of the texts in `part`, of length 1."""
        return self.encoder.texts(batch, part)

    def of_features(self, images: Tensor, texts: Tensor, batch: Batch, rows: slice, columns: slice) -> Loss:
        """The part that pictures `rows` and texts `columns` have in the loss of `images` (B, D) and `texts` (T, D)."""
        device = images.device
        positives = torch.from_numpy(batch.positives).to(device)
        ignored = None if batch.ignored is None else torch.from_numpy(batch.ignored).to(device)
        of_length_1, bias = F.normalize(images, dim=-1), self.model.logit_bias
        if bias is None:
            scale = self.model.clamped_logit_scale()
            loss = contrastive_loss(of_length_1, texts, scale, positives, ignored, rows, columns)
        else:
            scale = self.model.logit_scale.exp()
            loss = sigmoid_loss(of_length_1, texts, scale, bias, positives, ignored, rows)
        labelled = int((batch.labels >= 0).sum())
        if not self.label_loss or not labelled:
            return Loss(total=loss, shown=loss)
        logits = self.label_head(images[rows])
        labels = torch.from_numpy(batch.labels[rows]).to(device)
        if rows == ALL:
            of_labels = F.cross_entropy(logits, labels, ignore_index=-1)
        else:
            of_labels = F.cross_entropy(logits, labels, ignore_index=-1, reduction="sum") / labelled
        return Loss(total=loss + self.label_loss * of_labels, shown=loss)

    def after_update(self) -> None:
        if self.model.logit_bias is None:  # the limit is the paper's; sigmoid models have none
            self.model.clamp_logit_scale()
