"""Predicting and writing texts token by token."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from trainer.captioner import Captioner
from trainer.config import TextConfig

START, END = 8, 9
TEXT = TextConfig(width=16, layers=2, heads=2, context_length=7, vocab_size=10)
TOKENS = torch.tensor([[START, 3, 5, 3, END, 0, 0], [START, 2, END, 0, 0, 0, 0]])
LENGTHS = torch.tensor([5, 3])


def made() -> tuple[Captioner, torch.Tensor]:
    torch.manual_seed(0)
    return Captioner(6, 4, TEXT, "gelu").eval(), torch.randn(2, 4, 6)


def test_a_token_is_predicted_from_those_before_it_and_from_the_picture() -> None:
    captioner, grid = made()
    before = captioner(TOKENS, grid)
    changed = TOKENS.clone()
    changed[:, 3] = 7
    after = captioner(changed, grid)
    assert torch.allclose(before[:, :3], after[:, :3], atol=1e-6)
    assert not torch.allclose(before[:, 3], after[:, 3], atol=1e-4)
    assert not torch.allclose(before[:, 0], captioner(TOKENS, grid.flip(0))[:, 0], atol=1e-4)


def test_the_loss_is_that_of_every_token_and_the_end_and_of_nothing_behind_it() -> None:
    captioner, grid = made()
    shares = F.log_softmax(captioner(TOKENS, grid), dim=2)
    pairs = [(row, place) for row, length in enumerate(LENGTHS.tolist()) for place in range(length - 1)]
    by_hand = -torch.stack([shares[row, place, TOKENS[row, place + 1]] for row, place in pairs]).mean()
    assert torch.allclose(captioner.loss(grid, TOKENS, LENGTHS), by_hand, rtol=1e-5)
    padded = TOKENS.clone()
    padded[1, 3:] = 4
    assert torch.allclose(captioner.loss(grid, padded, LENGTHS), by_hand, rtol=1e-5)


def test_scores_are_the_likelihoods_of_whole_texts() -> None:
    captioner, grid = made()
    scores = captioner.scores(grid, TOKENS, LENGTHS)
    for picture in range(2):
        for text in range(2):
            alone = captioner.token_losses(grid[picture : picture + 1], TOKENS[[text]], LENGTHS[[text]])
            assert torch.allclose(scores[picture, text], -alone.sum(), rtol=1e-5)


def test_what_was_learnt_is_written_and_tells_the_pictures_apart() -> None:
    captioner, grid = made()
    captioner.train()
    optimiser = torch.optim.Adam(captioner.parameters(), lr=0.01)
    for _ in range(80):
        optimiser.zero_grad()
        torch.autograd.backward(captioner.loss(grid, TOKENS, LENGTHS))
        optimiser.step()
    captioner.eval()
    with torch.inference_mode():
        assert captioner.write(grid, start_id=START, end_id=END) == [[3, 5, 3], [2]]
        assert captioner.scores(grid, TOKENS, LENGTHS).argmax(dim=1).tolist() == [0, 1]


def test_a_text_ends_where_the_context_does() -> None:
    captioner, grid = made()
    with torch.no_grad():
        captioner.token_embedding.weight[END] = 0.0
        captioner.ln_final.weight.zero_()
        captioner.ln_final.bias.copy_(captioner.token_embedding.weight[4])
    with torch.inference_mode():
        assert captioner.write(grid, start_id=START, end_id=END) == [[4] * 6, [4] * 6]
