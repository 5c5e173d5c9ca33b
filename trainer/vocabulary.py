"""A byte-pair vocabulary of one's own, learnt from the training texts (Sennrich et al. 2016; Radford et al. 2021, 2.4).

Lower-cased, on bytes, so that every text can be spelt. At most 49,152 entries, as the paper; where the texts are few,
no merge that was seen only once is kept, and the vocabulary ends sooner: at about 8,000 for some thousand captions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from clipcli.errors import DataError

__all__ = ["END_TOKEN", "MAX_VOCABULARY", "START_TOKEN", "learn_vocabulary", "lengths_when_learnt"]

START_TOKEN = "<|startoftext|>"
END_TOKEN = "<|endoftext|>"
MAX_VOCABULARY = 49_152
SAMPLE = 50_000  # texts, a second's work: enough to tell how long they become


def learn_vocabulary(texts: Iterable[str], *, max_size: int = MAX_VOCABULARY) -> Tokenizer:
    """A tokenizer in the Hugging Face format whose two markers have the largest ids, the end marker last.

    Text towers find the end of a text by the largest id, so the order of the markers is part of the format.

    Raises:
        DataError: the texts hold no words at all.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip(), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=max_size - 2,  # room for the markers
            min_frequency=2,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    if tokenizer.get_vocab_size() <= len(pre_tokenizers.ByteLevel.alphabet()):
        raise DataError("the texts are too few to learn a vocabulary from: no two letters stand together twice")
    tokenizer.add_special_tokens([START_TOKEN, END_TOKEN])
    start, end = tokenizer.token_to_id(START_TOKEN), tokenizer.token_to_id(END_TOKEN)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START_TOKEN} $A {END_TOKEN}", special_tokens=[(START_TOKEN, start), (END_TOKEN, end)]
    )
    return tokenizer


def lengths_when_learnt(
    texts: Sequence[str], *, max_size: int = MAX_VOCABULARY
) -> Callable[[Sequence[str]], list[int]] | None:
    """Counts a text's tokens, markers included, in a vocabulary learnt from `texts`, or from the first of very many.

    None where they are too few to learn one from.
    """
    try:
        vocabulary = learn_vocabulary(texts[:SAMPLE], max_size=max_size)
    except DataError:
        return None
    return lambda asked: [len(encoding.ids) for encoding in vocabulary.encode_batch(list(asked))]
