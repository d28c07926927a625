"""Tables of characters as one normaliser, compared with replacing by hand."""

from __future__ import annotations

import random
import struct

import pytest

from optical.models.charsmap import compile_charsmap, normalizer_of

TABLE = {
    "\x01": "", "\t": " ", "\n": " ", "\r": " ", "\xa0": " ", "ª": "a", "ﬁ": "fi", "①": "1", "Å": "å",
    "\u0340": "\u0300", "ｶ": "カ", "ﷺ": "صلى الله", "ำ": "ํา", "𝐚": "a", "™": "TM", "e": "e",
}  # fmt: skip
AWKWARD = [
    "\u0301",
    "\u05b0",
    "\u064b",
    "\u0941",
    "\u200d",
    "\u200c",
    "\uff9e",
    "\u3099",
    "\ufe0f",
    "\u1ad0",
    "🏻",
    "ᄀ",
]


def by_hand(text: str) -> str:
    return "".join(TABLE.get(c, c) for c in text)


def test_every_character_is_replaced_alone_and_inside_a_text():
    normalizer = normalizer_of(TABLE)
    for character, text in TABLE.items():
        assert normalizer.normalize_str(character) == text
        assert normalizer.normalize_str(f"x{character}y") == f"x{text}y"


def test_what_follows_a_character_does_not_matter():
    """A grapheme of a replaced character and a mark keeps the mark, whatever Unicode calls the mark."""
    normalizer = normalizer_of(TABLE)
    marks = [chr(c) for c in range(1, 0x10000) if not 0xD800 <= c < 0xE000]
    wrong = [
        (c, m) for c in ("ª", "ﬁ", "\u0340", "ｶ") for m in marks if normalizer.normalize_str(c + m) != by_hand(c + m)
    ]
    assert wrong == []


def test_texts_at_random_with_marks_and_deleted_characters_at_either_end():
    normalizer, draw = normalizer_of(TABLE), random.Random(0)
    for _ in range(3000):
        text = "".join(draw.choice([*TABLE, *AWKWARD, *"abc "]) for _ in range(draw.randrange(1, 9)))
        if "\r\n" not in text:  # one grapheme: one space, of which runs are made anyway
            assert normalizer.normalize_str(text) == by_hand(text), [hex(ord(c)) for c in text]


def test_the_compiled_form_begins_with_the_length_of_its_trie():
    compiled = compile_charsmap({"a": "bc", "b": ""})
    (size,) = struct.unpack_from("<I", compiled)
    assert compiled[4 + size :] == b"\0bc\0"


def test_a_table_that_keeps_the_separator_is_refused():
    with pytest.raises(ValueError, match=r"U\+0001"):
        normalizer_of({"a": "b"})
