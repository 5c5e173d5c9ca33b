"""The words of a text, and predicting them, against plain arithmetic."""

from __future__ import annotations

import math

import torch

from trainer.bag_of_words import WordBag, word_shares

TOKENS = torch.tensor([[8, 3, 5, 3, 9, 7], [8, 9, 0, 0, 0, 0], [8, 2, 9, 9, 9, 9]])
LENGTHS = torch.tensor([5, 2, 3])


def test_words_are_the_entries_between_the_markers_and_each_counts_once() -> None:
    shares = word_shares(TOKENS, LENGTHS, 10)
    wanted = torch.zeros(3, 10)
    wanted[0, [3, 5]] = 0.5
    wanted[2, 2] = 1.0
    assert torch.equal(shares, wanted)


def test_a_fresh_classifier_that_knows_nothing_loses_the_logarithm_of_the_vocabulary() -> None:
    bag = WordBag(4, 10)
    torch.nn.init.zeros_(bag.words.weight)
    torch.nn.init.zeros_(bag.words.bias)
    loss = bag.loss(torch.randn(3, 4), word_shares(TOKENS, LENGTHS, 10))
    assert math.isclose(loss.item(), math.log(10), rel_tol=1e-6)  # the text without words is not in the mean


def test_the_class_whose_words_are_likely_scores_highest() -> None:
    bag = WordBag(10, 10)
    with torch.no_grad():
        bag.words.weight.copy_(torch.eye(10))
        bag.words.bias.zero_()
    shares = word_shares(TOKENS[[0, 2]], LENGTHS[[0, 2]], 10)
    features = torch.zeros(2, 10)
    features[0, [3, 5]] = 3.0
    features[1, 2] = 3.0
    scores = bag.scores(features, shares)
    assert scores.argmax(dim=1).tolist() == [0, 1]
    by_hand = torch.log_softmax(features[0], dim=0)[[3, 5]].mean()
    assert math.isclose(scores[0, 0].item(), by_hand.item(), rel_tol=1e-6)


def test_words_are_learnt_from_features() -> None:
    torch.manual_seed(0)
    bag, shares = WordBag(4, 10), word_shares(TOKENS[[0, 2]], LENGTHS[[0, 2]], 10)
    features = torch.eye(4)[:2]
    optimiser = torch.optim.Adam(bag.parameters(), lr=0.1)
    for _ in range(100):
        optimiser.zero_grad()
        loss = bag.loss(features, shares)
        torch.autograd.backward(loss)
        optimiser.step()
    floor = math.log(2) / 2  # of two equal words one cannot have a share of more than a half
    assert floor <= loss.item() < floor + 0.05
