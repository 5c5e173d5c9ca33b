"""Tokenizers of the peers: the original's vocabulary where open_clip brings it, and a learnt one of SigLIP's kind.

SigLIP's own vocabularies are on the hub only. What matters here is the same for a small one: no start marker, an end
marker, padding that the text tower sees.
"""

from __future__ import annotations

from typing import Any

import transformers
from open_clip.tokenizer import SimpleTokenizer
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

__all__ = ["clip_tokenizer_of_transformers", "learnt_tokenizer"]

SENTENCES = (
    "a photo of a cat on a sofa near the window",
    "two dogs are running through the snow in winter",
    "a man in a blue shirt is standing on a ladder cleaning a window",
    "a red motorcycle parked in front of a house",
    "children playing with a ball at the beach",
    "an aerial view of a city at night with many lights",
)


def clip_tokenizer_of_transformers() -> Any:
    """transformers' own tokenizer with the vocabulary that open_clip brings."""
    known = SimpleTokenizer()
    names = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocabulary = {names.get(entry, entry): number for entry, number in known.encoder.items()}
    merges = sorted(known.bpe_ranks, key=lambda pair: known.bpe_ranks[pair])
    return transformers.CLIPTokenizer(vocab=vocabulary, merges=[tuple(pair) for pair in merges])


def learnt_tokenizer() -> Any:
    """A unigram vocabulary of 400 entries at most, padded with its end marker, as the first SigLIP."""
    made = Tokenizer(models.Unigram())
    made.normalizer = normalizers.Sequence([normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()])
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    made.train_from_iterator(
        [line for line in SENTENCES for _ in range(3)],
        trainers.UnigramTrainer(vocab_size=400, special_tokens=special, unk_token="<unk>", show_progress=False),
    )
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="</s>", eos_token="</s>", unk_token="<unk>", padding_side="right"
    )
