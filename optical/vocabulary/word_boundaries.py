"""Spaces before added words, for tokenizers whose pieces contain the space.

SentencePiece (Unigram: XLM-R, E5, BGE-M3) writes the space as U+2581, byte-level BPE (ModernBERT, Qwen) as U+0120. An
added token that left it out would leave a space alone before the word, and one after the word. So an added word
contains its space, and the normaliser separates each word from the one before it, because an added token that matches
whole words only must not follow a letter. The text between added words is cut into the same pieces as before.

A word that is written right after a sign, as in "Je,nani", would be another one. It is read as after a space: every
third of AfriQA's Swahili questions has such a word, which fell into pieces (experiments/LOG.md, 2026-12-01).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import regex
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.decoders import Decoder
from tokenizers.normalizers import Normalizer
from tokenizers.pre_tokenizers import PreTokenizer

from optical.errors import DataError

SPACE = "▁"
# Private characters that no text holds.
APART = "\U0010fffd"  # before the space of a word, and at the start of a text (byte-level)
INSIDE = "\U0010fffc"  # begins the content of an added word that follows no space; normalised away
# Where a word follows a sign that ends or opens a phrase. Stops and hyphens are left out: they are parts of names.
JOINED = r"(?<=[,;:!?…()\[\]{}\"“”„«»/–—])(?=[\p{L}\p{M}])"
_JOINED = regex.compile(JOINED)
PROBES = 1000  # words that are tokenized before and after, to see that no piece changes


class Boundaries(NamedTuple):
    """Changes that a tokenizer needs so that added words can contain the space before them.

    Attributes:
        space: What an added word that follows a space begins with; empty where pieces hold no spaces (WordPiece).
        starts_with_space: Whether the first word of a text is read as if a space stood before it.
        normalizer: Replaces the tokenizer's own, as do the next two.
        pre_tokenizer: Splits where the normaliser has set words apart.
        decoder: Leaves out what the normaliser put in.
    """

    space: str
    starts_with_space: bool
    normalizer: Normalizer | None
    pre_tokenizer: PreTokenizer | None
    decoder: Decoder | None

    def contents(self, word: str, *, inside: bool, first: bool) -> list[str]:
        """The added tokens of a normalised word: after a space, and where it has been seen without one.

        Args:
            word: As the tokenizer's model sees it.
            inside: Whether it stands right after something other than a space, as in ``(maji``.
            first: Whether it begins a text.
        """
        if not self.space:
            return [word]
        if inside and not (self.space == " " and _spells_bytes(word)):
            return [self.space + word, INSIDE + word]
        if first and not self.starts_with_space:
            return [self.space + word, (APART if self.space == " " else INSIDE) + word]
        return [self.space + word]


def boundaries_of(backend: Tokenizer) -> Boundaries:
    """Find the changes that set words apart in a tokenizer, which is itself left as it is.

    Raises:
        DataError: A Unigram tokenizer that does not split at spaces.
    """
    splits = _pre_tokenizers(backend.pre_tokenizer)
    if set_before := _boundaries_set(backend, splits):
        return set_before
    if isinstance(backend.model, models.Unigram):
        return _sentencepiece(backend, splits)
    if any(split["type"] == "ByteLevel" for split in splits):
        return _byte_level(backend, splits)
    return Boundaries("", True, backend.normalizer, backend.pre_tokenizer, backend.decoder)


def set_boundaries(backend: Tokenizer, boundaries: Boundaries, words: Sequence[str]) -> None:
    """Change a tokenizer in place, so that words can be added; texts have the same pieces before and after.

    Args:
        backend: Of which the boundaries were taken.
        boundaries: See :func:`boundaries_of`.
        words: Some words of X, to try it on.

    Raises:
        DataError: Texts of these words would be cut into other pieces.
    """
    if not boundaries.space:
        return
    probes = _probes(words[:PROBES])
    before = _ids(backend, probes)
    # The properties take None, which the stubs do not know.
    changed: Any = backend
    changed.normalizer, changed.pre_tokenizer = boundaries.normalizer, boundaries.pre_tokenizer
    changed.decoder = boundaries.decoder
    if _ids(backend, probes) != before:
        raise _no_room(f"its {type(backend.model).__name__} pieces cross spaces, or it splits text in a way of its own")


def parted(text: str) -> str:
    """A text with a space between a sign and the word written to it: what :data:`JOINED` does in a normaliser."""
    return _JOINED.sub(" ", text)


def piece_texts(backend: Tokenizer, tokens: Iterable[str]) -> list[str]:
    """The text of each token, without the space before it; parts of characters are left out."""
    if not any(split["type"] == "ByteLevel" for split in _pre_tokenizers(backend.pre_tokenizer)):
        return [token.lstrip(SPACE + INSIDE) for token in tokens]
    spell = decoders.ByteLevel()
    return [spell.decode([token]).replace("\ufffd", "").lstrip(" " + APART + INSIDE) for token in tokens]


def _boundaries_set(backend: Tokenizer, splits: list[dict[str, Any]]) -> Boundaries | None:
    """The boundaries of a tokenizer that was extended before, which need no change; None of another."""
    step: Any = backend.normalizer
    state = "" if step is None else json.dumps(json.loads(step.__getstate__()), ensure_ascii=False)
    split = splits[0].get("pattern", {}).get("String") if splits and splits[0]["type"] == "Split" else None
    if INSIDE not in state or split not in (" ", APART):
        return None
    space, prefixed = SPACE if split == " " else " ", '"Prepend"' in state
    return Boundaries(space, prefixed, backend.normalizer, backend.pre_tokenizer, backend.decoder)


def _sentencepiece(backend: Tokenizer, splits: list[dict[str, Any]]) -> Boundaries:
    kinds = [split["type"] for split in splits]
    if kinds not in (["Metaspace"], ["WhitespaceSplit", "Metaspace"]) or splits[-1]["replacement"] != SPACE:
        raise _no_room(f"a Unigram model after {' and '.join(kinds) or 'no split at all'}")
    prefixed = splits[-1]["prepend_scheme"] != "never"
    steps = [backend.normalizer] if backend.normalizer is not None else []
    before_word = f"[ {SPACE}]"
    if kinds[0] == "WhitespaceSplit":
        steps += [normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
        before_word = f" {SPACE}?|{SPACE}"
    # The plain space that a word is set apart with goes when the text is split.
    steps.append(normalizers.Replace(Regex(before_word), f" {SPACE}"))
    if prefixed:
        # One at the start of the text, unless there is one; none before a word that follows no space.
        steps += [normalizers.Prepend(SPACE), normalizers.Replace(Regex(rf"\A{SPACE}(?= {SPACE})"), "")]
    steps += [normalizers.Replace(Regex(rf"\A {SPACE}"), SPACE), normalizers.Replace(Regex(rf"\A{SPACE}?{INSIDE}"), "")]
    split = pre_tokenizers.Split(" ", "removed")
    return Boundaries(SPACE, prefixed, normalizers.Sequence(steps), split, _decoder(backend, INSIDE, before=True))


def _byte_level(backend: Tokenizer, splits: list[dict[str, Any]]) -> Boundaries:
    prefixed = len(splits) == 1 and splits[0]["add_prefix_space"]
    steps = [backend.normalizer] if backend.normalizer is not None else []
    rest: Any = backend.pre_tokenizer
    if prefixed:
        steps += [normalizers.Prepend(" "), normalizers.Replace(Regex(r"\A (?= )"), "")]
        rest = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=splits[0]["use_regex"])
    # Every split of byte-level models ends before the one space that stands between a word and what comes before it.
    steps += [
        normalizers.Replace(Regex(r"(?<=\S) (?=[\p{L}\p{M}])"), f"{APART} "),
        normalizers.Replace(Regex(r"\A(?=[\p{L}\p{M}])"), APART),
        normalizers.Replace(Regex(rf"\A ?{INSIDE}"), ""),
    ]
    split = pre_tokenizers.Sequence([pre_tokenizers.Split(APART, "removed"), rest])
    return Boundaries(" ", prefixed, normalizers.Sequence(steps), split, _decoder(backend, APART, before=False))


def _decoder(backend: Tokenizer, mark: str, *, before: bool) -> Decoder | None:
    """The tokenizer's decoder, and the removal of a mark: before it, or after it where bytes become characters."""
    if backend.decoder is None:
        return None
    steps = [decoders.Replace(mark, ""), backend.decoder]
    return decoders.Sequence(steps if before else steps[::-1])


def _spells_bytes(word: str) -> bool:
    """Whether a word that follows no space would be decoded as if its letters stood for bytes ("été" is one)."""
    return not word.isascii() and set(word) <= set(pre_tokenizers.ByteLevel.alphabet())


def _pre_tokenizers(pre_tokenizer: PreTokenizer | None) -> list[dict[str, Any]]:
    """The steps of a pre-tokenizer, as in a tokenizer's JSON."""
    if pre_tokenizer is None:
        return []
    step: Any = pre_tokenizer
    state = json.loads(step.__getstate__())
    todo, steps = [state], []
    while todo:
        one = todo.pop(0)
        if one["type"] == "Sequence":
            todo = one["pretokenizers"] + todo
        else:
            steps.append(one)
    return steps


def _probes(words: Sequence[str]) -> list[str]:
    """Texts with every kind of boundary between words."""
    ends = (" ", ", ", " (", "-", ")  ", "... '", "' ", "\n", " 12 ", "", "/", '."')
    texts = ["", " ", " a  b "]
    for k in range(0, len(words), len(ends)):
        texts.append("".join(w + end for w, end in zip(words[k : k + len(ends)], ends, strict=False)))
    return texts


def _ids(backend: Tokenizer, texts: list[str]) -> list[list[int]]:
    return [encoding.ids for encoding in backend.encode_batch_fast(texts, add_special_tokens=False)]


def _no_room(what: str) -> DataError:
    return DataError(
        f"no words can be added to the encoder's tokenizer ({what}); use another encoder, or set vocabulary.mode to "
        '"trim" or "off"'
    )
