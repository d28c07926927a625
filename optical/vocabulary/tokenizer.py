"""The student's tokenizer: the teacher's with whole words of X added, as an ordinary fast tokenizer.

Plain transformers loads it, with the same ids. Letters that the teacher cannot read are spelled in Latin.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import regex
from jaxtyping import Int
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers
from tokenizers.normalizers import Normalizer
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from optical.data.words import fold, is_latin, split_words
from optical.errors import DataError
from optical.vocabulary.choose_words import Words
from optical.vocabulary.name_prefixes import PREFIX
from optical.vocabulary.subwords import choose_pieces
from optical.vocabulary.token_ids import backend_of, model_ids, token_ids
from optical.vocabulary.word_boundaries import APART, INSIDE, JOINED, Boundaries, boundaries_of, set_boundaries

RARE_SCRIPT = 0.01  # share of distinct words below which a script is a guest in the language
ENGLISH_SHARE = 0.03  # English words that a piece may spell for each word of X that it spells
_KEPT = ("model_max_length", "padding_side", "truncation_side", "clean_up_tokenization_spaces", "model_input_names")
APOSTROPHES = "[’ʼ]"  # that are read as straight ones
_SIGN = regex.compile(r"[^\p{L}\p{M}\p{Nd}]")
_FOREIGN_LETTER = regex.compile(r"(?!\p{Latin})[\p{L}\p{M}]")


class Extension(NamedTuple):
    """A tokenizer with words of X, and where they are.

    Attributes:
        tokenizer: The base's, with pieces and words added; every id of the base means what it meant.
        ids: Word -> ids of its written forms.
        spelling: Word -> how the tokenizer's model sees it: normalised and romanised.
        pieces: Part of words (a suffix after ``##``) -> its id.
    """

    tokenizer: PreTrainedTokenizerFast
    ids: dict[str, list[int]]
    spelling: dict[str, str]
    pieces: dict[str, int]


def extend(
    base: PreTrainedTokenizerBase,
    words: Words,
    *,
    romanise: str,
    prefixes: bool = False,
    piece_types: int = 0,
    english: Iterable[str] = (),
    prompts: Sequence[str] = (),
) -> Extension:
    """The base tokenizer with whole words added, and for WordPiece the parts that words share.

    A word of Latin letters is matched after the base's normalisation (so case and accents fold as they do for
    English); a word of another script is matched as it is written. Each matches whole words only; everything else is
    left to the model's pieces: the base's, and where ``piece_types`` is set parts of words
    (:func:`optical.vocabulary.subwords.choose_pieces`) that English does not use.

    Args:
        base: A fast tokenizer; not changed.
        words: What to add.
        romanise: Letters of other scripts to spell in Latin wherever they are not part of an added word (see
            :func:`unread_letters`).
        prefixes: Leave out what stands before a capital within a word (:mod:`optical.vocabulary.name_prefixes`).
        piece_types: Words that must share a beginning to make it a piece; 0 adds no pieces, as do models other than
            WordPiece.
        english: Words, names above all, that the base's pieces should go on spelling as the English side does.
        prompts: What the encoder puts before its texts. Their words are left out of ``words``, and no new piece is part
            of them: a student reads its prompts by the teacher's tokens.

    Raises:
        DataError: The base is not a fast tokenizer, or its ids are not consecutive.
    """
    backend = backend_of(base)
    plain = backend.normalizer
    part = bool(boundaries_of(backend).space)
    straighten = any("'" in word for word in words.forms) if part else plain is not None
    if rules := _rules(plain, straighten, part, romanise, prefixes):
        backend.normalizer = normalizers.Sequence(rules + ([plain] if plain is not None else []))
    read = cache(partial(_read_as, full=backend.normalizer, plain=plain))
    in_prompts = {fold(read(word)) for prompt in prompts for word in split_words(prompt)}
    words = _beside(words, prompts, in_prompts, read)
    spelling = {word: read(word) for word in words.forms}
    pieces: list[str] = []
    if piece_types and isinstance(backend.model, models.WordPiece):
        seen = sorted(set(spelling.values()) - {""})
        pieces = choose_pieces(seen, set(backend.get_vocab()), min_types=piece_types)
        pieces = [piece for piece in pieces if not any(_is_part(fold(piece), word) for word in in_prompts)]
        pieces = _without_english(backend, pieces, seen, sorted(set(english) - words.forms.keys()))
        backend = _with_pieces(backend, pieces)
    boundaries = boundaries_of(backend)
    set_boundaries(backend, boundaries, list(words.forms))
    tokenizer = wrap(base, backend)
    added = words.forms if words.needed is None else _met(spelling, words.needed, read)
    appearances = {word: _appearances(word, words, read, boundaries, romanise) for word in added}
    at = _add(tokenizer, {s: raw for of_word in appearances.values() for s, raw in of_word.items()}, boundaries)
    known = tokenizer.get_vocab()
    if len(set(known.values())) != max(known.values()) + 1:
        raise DataError(
            f"the ids of the encoder's tokenizer ({len(base)} tokens) have gaps or repeat, so new tokens would take "
            'the place of old ones; save the encoder with consecutive ids, or set vocabulary.mode = "off"'
        )
    found = {word: [at[s] for s in surfaces if s in at] for word, surfaces in appearances.items()}
    ids = {word: of_word for word, of_word in found.items() if of_word}
    return Extension(tokenizer, ids, {w: spelling[w] for w in ids}, {p: known[p] for p in pieces})


def add_slot(tokenizer: Any, letter: str) -> list[int]:
    """Make a letter of no living language a token wherever it stands, in place.

    Args:
        tokenizer: Of an extension.
        letter: The slot.

    Returns:
        Its ids: one, or two where tokens contain the space before them.
    """
    contents = boundaries_of(tokenizer.backend_tokenizer).contents(letter, inside=True, first=True)
    tokenizer.add_tokens([AddedToken(content, normalized=True) for content in contents])
    return tokenizer.convert_tokens_to_ids(contents)


def replace(base: Any, texts: Sequence[str], size: int) -> PreTrainedTokenizerFast:
    """A tokenizer of the base's kind trained on X alone: the ablation that loses the teacher's names and numbers."""
    backend_of(base)
    return base.train_new_from_iterator((texts[k : k + 1000] for k in range(0, len(texts), 1000)), vocab_size=size)


def unread_letters(base: PreTrainedTokenizerBase, texts: Iterable[str]) -> str:
    """Letters of other scripts that the base tokenizer splits letter by letter, or does not know.

    A script is unread when the base makes more than two thirds as many tokens as there are letters in the words that
    use it (MiniLM on Devanagari), and read when it has pieces of its own (XLM-R on Devanagari). Scripts of fewer than
    one word in ``1 / RARE_SCRIPT`` are guests, not worth a rule a letter. Returns every unread letter and mark, sorted.
    """
    all_words = {w for text in texts for w in split_words(text)}
    by_script: dict[str, list[str]] = {}
    for word in sorted(w for w in all_words if _FOREIGN_LETTER.search(w)):
        by_script.setdefault(_script(word), []).append(word)
    unread: set[str] = set()
    for members in by_script.values():
        if len(members) < RARE_SCRIPT * len(all_words):
            continue
        pieces = token_ids(base, members[:2000])
        letters = sum(len(regex.findall(r"\p{L}", w)) for w in members[:2000])
        nothing: Any = base.unk_token_id
        unknown = any((row == nothing).any() for row in pieces)
        if unknown or sum(map(len, pieces)) > letters * 2 / 3:
            unread.update(c for w in members for c in w if _FOREIGN_LETTER.match(c))
    return "".join(sorted(unread))


def romanisation(letters: str) -> list[tuple[str, str]]:
    """Rules, as regular expressions applied in order, that spell the given letters in lower-case Latin.

    The spelling of each character is anyascii's, but for a few that English spells otherwise. Scripts with an
    inherent vowel (Devanagari and its relatives) need one rule more: a consonant carries "a" unless a vowel sign or a
    virama follows, or the word ends and the consonant stands alone (Modi's "Ram", but "Narendra").
    """
    rules, signs = [], "".join(c for c in letters if _is_vowel_sign(c))
    # The tokenizer may have decomposed the text, so signs of the same script outside the sample count too.
    block = "".join(
        sorted(
            {c for s in signs for c in map(chr, range(ord(s) & ~0x7F, (ord(s) & ~0x7F) + 0x80)) if _is_vowel_sign(c)}
        )
    )
    viramas = "".join(c for c in block if _is_virama(c))
    alone = rf"(?<![{viramas}])" if viramas else ""
    for letter in letters:
        latin = _latin(letter)
        if block and _has_inherent_vowel(letter):
            bare = regex.escape(letter)
            rules.append((rf"{bare}(?=[{block}])|{alone}{bare}(?![\p{{L}}\p{{M}}])", latin))
            rules.append((bare, latin + "a"))
        else:
            rules.append((regex.escape(letter), latin))
    # Signs last: the rules for consonants look at them.
    return sorted(rules, key=lambda rule: any(_is_vowel_sign(c) for c in rule[0][:1]))


def _read_as(form: str, full: Normalizer | None, plain: Normalizer | None) -> str:
    """A word as the tokenizer's model sees it; empty where it sees several words."""
    # The base's own normaliser is much faster than all the rules for unread letters, which no Latin word has.
    normalizer = plain if is_latin(form) else full
    surface = form if normalizer is None else normalizer.normalize_str(form)
    surface = surface.replace("▁", " ").strip(" " + APART + INSIDE)  # of a tokenizer that was extended before
    return "" if " " in surface else surface


def _met(spelling: Mapping[str, str], needed: Iterable[str], read: Callable[[str], str]) -> list[str]:
    """The words that an added token of theirs can find in some written words, whole or between their signs."""
    found: set[str] = set()
    for text in {fold(text) for word in needed for text in (word, read(word))}:
        ends = sorted({0, len(text), *(end for sign in _SIGN.finditer(text) for end in sign.span())})
        found.update(text[a:b] for a, b in combinations(ends, 2))
    return [word for word, spelled in spelling.items() if word in found or fold(spelled) in found]


def _appearances(
    word: str, words: Words, read: Callable[[str], str], boundaries: Boundaries, romanise: str
) -> dict[str, bool]:
    """Map each form in which the tokenizer meets a word to whether it is looked up in the raw text."""
    found = {}
    for form in words.forms[word]:
        raw = any(c in romanise for c in form) if boundaries.space else not is_latin(form)
        surface = form if raw else read(form)
        if not surface or " " in surface:
            continue
        if raw:
            found[surface] = True
        else:
            contents = boundaries.contents(surface, inside=form in words.inside, first=form in words.first)
            found |= dict.fromkeys(contents, False)
    return found


def _add(tokenizer: PreTrainedTokenizerFast, appearances: dict[str, bool], boundaries: Boundaries) -> dict[str, int]:
    """Add words to a tokenizer, in place, unless it reads them as one token already; appearance -> id."""
    vocab = tokenizer.get_vocab()
    known = {s: vocab[s] for s, raw in appearances.items() if s in vocab and (raw or not boundaries.space)}
    left: set[str] = set()
    if boundaries.space:
        after_space = [s for s, raw in appearances.items() if not raw and s.startswith(boundaries.space)]
        encoded = tokenizer.backend_tokenizer.encode_batch_fast(after_space, add_special_tokens=False)
        single = {s: e.ids[0] for s, e in zip(after_space, encoded, strict=True) if len(e.ids) == 1}
        single = {s: i for s, i in single.items() if i != tokenizer.unk_token_id}
        # Added without its space alone, the word would be found after the space too, and leave the space by itself.
        left = {INSIDE + s.removeprefix(boundaries.space) for s in single}
        known |= single
    new: list[Any] = [
        AddedToken(s, single_word=True, normalized=not raw, lstrip=raw and bool(boundaries.space))
        for s, raw in appearances.items()
        if s not in known and s not in left
    ]
    tokenizer.add_tokens(new)
    vocab = tokenizer.get_vocab()
    return known | {token.content: vocab[token.content] for token in new}


def _beside(words: Words, prompts: Sequence[str], in_prompts: set[str], read: Callable[[str], str]) -> Words:
    """The words without those of the prompts; the first one of a text may follow a prompt that ends without a space."""
    forms = {word: forms for word, forms in words.forms.items() if fold(read(word)) not in in_prompts}
    follows = words.first if any(not prompt[-1:].isspace() for prompt in prompts if prompt) else frozenset()
    return words._replace(forms=forms, inside=words.inside | follows)


def _is_part(piece: str, word: str) -> bool:
    """Whether WordPiece can find a piece in a word."""
    return piece.removeprefix("##") in word[1:] if piece.startswith("##") else word.startswith(piece)


def _without_english(
    backend: Tokenizer, pieces: Sequence[str], words: Sequence[str], english: Sequence[str]
) -> list[str]:
    """The pieces that spell words of X and hardly ever English ones: "muse" of "wamuseleti" would cut up Museveni."""
    whole = backend.get_vocab().keys()
    mine, theirs = ([word for word in side if word not in whole] for side in (words, english))
    texts, uses = [*mine, *theirs], np.zeros((0, 2), dtype=np.int64)
    again = np.arange(len(texts))
    for _ in range(2):  # once pieces are gone, others take their place
        uses = np.concatenate([uses, _uses(_with_pieces(backend, pieces), pieces, texts, again)])
        of_x = uses[:, 0] < len(mine)
        x, other = (np.bincount(uses[side, 1], minlength=len(pieces)) for side in (of_x, ~of_x))
        kept = other <= ENGLISH_SHARE * x
        again = np.unique(uses[~kept[uses[:, 1]], 0])
        uses = uses[~np.isin(uses[:, 0], again)]
        uses[:, 1] = (np.cumsum(kept) - 1)[uses[:, 1]]
        pieces = [piece for piece, stays in zip(pieces, kept, strict=True) if stays]
    return list(pieces)


def _uses(
    backend: Tokenizer, pieces: Sequence[str], words: Sequence[str], at: Int[np.ndarray, " n"]
) -> Int[np.ndarray, "u 2"]:
    """The words at some places that have some pieces, and these, by their numbers; each pair once."""
    number = {backend.token_to_id(piece): k for k, piece in enumerate(pieces)}
    read = model_ids(backend, [words[int(k)] for k in at])
    found = [(k, number[i]) for k, one in zip(at.tolist(), read, strict=True) for i in set(one) if i in number]
    return np.array(found, dtype=np.int64).reshape(-1, 2)


def _with_pieces(backend: Tokenizer, names: Sequence[str]) -> Tokenizer:
    """The tokenizer with new pieces after all its ids, those of its added tokens too; added words come after them."""
    state = json.loads(backend.to_str())
    vocab = state["model"]["vocab"]
    for token in sorted(state["added_tokens"], key=lambda token: token["id"]):
        vocab.setdefault(token["content"], token["id"])
    free = max(vocab.values()) + 1
    vocab.update({name: free + k for k, name in enumerate(names)})
    return Tokenizer.from_str(json.dumps(state))


def _rules(plain: Normalizer | None, straighten: bool, part: bool, romanise: str, prefixes: bool) -> list[Normalizer]:
    """The steps that have to come before a normaliser's own, and are not among them."""
    rules = [(APOSTROPHES, "'")] if straighten or romanise or prefixes else []
    rules += [(JOINED, " ")] if part else []
    rules = [rule for rule in rules if not _has(plain, rule[0])]  # one that was extended before has them
    rules += [(PREFIX, "")] if prefixes else []
    return [normalizers.Replace(Regex(pattern), new) for pattern, new in rules + romanisation(romanise)]


def _has(normalizer: Any, pattern: str) -> bool:
    return normalizer is not None and json.dumps(pattern, ensure_ascii=False) in normalizer.__getstate__().decode()


def wrap(base: PreTrainedTokenizerBase, backend: Tokenizer) -> PreTrainedTokenizerFast:
    """A generic fast tokenizer: the classes named after a model rebuild their own normaliser when they are loaded."""
    kept = {name: getattr(base, name) for name in _KEPT if getattr(base, name, None) is not None}
    special = {name: token for name, token in base.special_tokens_map.items() if isinstance(token, str)}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **special, **kept)


def _script(word: str) -> str:
    letter = next(c for c in word if _FOREIGN_LETTER.match(c))
    return unicodedata.name(letter, "UNKNOWN").split()[0]


def _is_vowel_sign(c: str) -> bool:
    return "VOWEL SIGN" in unicodedata.name(c, "") or _is_virama(c)


def _is_virama(c: str) -> bool:
    return unicodedata.name(c, "").endswith(("SIGN VIRAMA", "SIGN PULLI", "SIGN AL-LAKUNA"))


def _has_inherent_vowel(c: str) -> bool:
    """A consonant of a script that writes other vowels as signs."""
    latin = _latin(c)
    return unicodedata.category(c) == "Lo" and bool(latin) and latin[-1] not in "aeiou"


def _latin(c: str) -> str:
    """One character in lower-case Latin letters."""
    from anyascii import anyascii

    # The Unicode name of an Indic letter is its sound: scholars write c and s where names in English have ch and sh.
    sounds = {"LETTER CA": "ch", "LETTER CHA": "ch", "LETTER SHA": "sh", "LETTER SSA": "sh", "SIGN ANUSVARA": "n"}
    name = unicodedata.name(c, "")
    if unicodedata.category(c) in ("Lo", "Mc", "Mn"):
        for ending, sound in sounds.items():
            if name.endswith(ending):
                return sound
    return anyascii(c).lower().strip()
