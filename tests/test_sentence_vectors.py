"""The sentences that a text tower is learnt from before there are pictures."""

from __future__ import annotations

from benchmarks.sentence_vectors import TEMPLATES, corpus

CAPTIONS = ("Two dogs run on a beach .", "A cat sits .", "Nothing is named here .")
NAMES = ("dog", "cat", "beach", "sea lion", "fire truck", "kite")


def test_sentences_are_the_same_again_and_in_order_of_length() -> None:
    made = corpus(CAPTIONS, NAMES, ["an animal that barks"], seed=3)
    assert made == corpus(CAPTIONS, NAMES, ["an animal that barks"], seed=3)
    assert made != corpus(CAPTIONS, NAMES, ["an animal that barks"], seed=4)
    assert [len(text) for text in made] == sorted(len(text) for text in made)
    assert len(set(made)) == len(made)


def test_captions_names_and_definitions_are_all_there() -> None:
    made = set(corpus(CAPTIONS, NAMES, ["an animal that barks"], seed=0))
    assert {*CAPTIONS, "an animal that barks"} <= made
    assert {template.replace("{}", name) for name in NAMES for template in TEMPLATES} <= made


def test_things_are_replaced_by_others_in_the_same_number() -> None:
    texts: set[str] = set()
    for seed in range(60):
        texts.update(corpus(CAPTIONS[:1], NAMES, [], seed=seed))
    told = {text for text in texts if text.startswith("Two ") and text.endswith(".") and " run on a " in text}
    assert len(told) > 10
    assert all(text.split(" run on a ")[0].endswith("s") for text in told)
    assert {"Two sea lions run on a beach .", "Two kites run on a beach ."} & told


def test_a_caption_without_a_known_thing_stays_as_it_is() -> None:
    assert [text for text in corpus(CAPTIONS[2:], NAMES, [], seed=0) if "named" in text] == ["Nothing is named here ."]
