"""A table of characters and their replacements as a normaliser of ``tokenizers``, in one pass over the text.

The compiled form is SentencePiece's, a double-array trie of UTF-8 bytes (Aoe 1989; Darts), which
``tokenizers.normalizers.Precompiled`` reads: thousands of single rules would take milliseconds a text.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from tokenizers import Regex, normalizers

_BLOCK = 256  # units of a node: one for each byte that may follow
_HAS_LEAF = 1 << 8
_IS_LEAF = 1 << 31
_MAX_OFFSET = 1 << 21
_SEPARATOR = "\x01"


def normalizer_of(table: Mapping[str, str]) -> normalizers.Normalizer:
    """A normaliser that replaces each character of a table by its text, whatever stands next to it.

    ``Precompiled`` looks up graphemes of at most five bytes as a whole, by their beginning: of a replaced character
    with an accent it would drop the accent. So a control character, which ends a grapheme, is put behind a replaced
    character where one beyond ASCII follows, and the table removes it again.

    Args:
        table: Character -> replacement; U+0001 has to be among them, with the empty text.
    """
    if table.get(_SEPARATOR) != "":
        raise ValueError("the table does not remove U+0001")
    short = "".join(rf"\x{{{ord(c):X}}}" for c in sorted(table) if len(c.encode()) < 4)
    separate = normalizers.Replace(Regex(rf"(?=[^\x00-\x7F])(?<=[{short}])"), _SEPARATOR)
    return normalizers.Sequence([separate, normalizers.Precompiled(compile_charsmap(table))])


def compile_charsmap(table: Mapping[str, str]) -> bytes:
    """A table in SentencePiece's compiled form: length of the trie in bytes, the trie, the replacements.

    Args:
        table: Single character -> replacement, without U+0000 in either.
    """
    texts, starts = bytearray(), {}
    for text in sorted(set(table.values())):
        starts[text] = len(texts)
        texts += text.encode() + b"\0"
    trie = _trie({character.encode(): starts[text] for character, text in table.items()})
    return struct.pack(f"<I{len(trie)}I", 4 * len(trie), *trie) + bytes(texts)


def _trie(values: Mapping[bytes, int]) -> Sequence[int]:
    """Units of a double-array trie: key -> value, where no key is the beginning of another.

    A unit holds the byte that leads to it (bits 0 to 7), whether a key ends there (bit 8) and the XOR of its place
    with the first place of its block of children (from bit 10); the child by byte b is at place XOR b. A leaf holds
    its value, with bit 31 set. Each node has a block to itself, which is roomy and needs no search for gaps.
    """
    nodes = {key[:length]: 0 for key in sorted(values) for length in range(len(key))}
    for number, node in enumerate(nodes, 1):
        nodes[node] = number * _BLOCK
    leaves = (len(nodes) + 1) * _BLOCK
    units = [0] * (leaves + len(values) + -len(values) % _BLOCK)
    if len(units) > _MAX_OFFSET:
        raise ValueError(f"a table of {len(values)} characters is too large to be compiled")
    units[0] = nodes[b""] << 10
    for node, block in nodes.items():
        if node:
            place = nodes[node[:-1]] ^ node[-1]
            units[place] = (place ^ block) << 10 | node[-1]
    for leaf, (key, value) in enumerate(values.items(), leaves):
        place = nodes[key[:-1]] ^ key[-1]
        units[place] = (place ^ leaf) << 10 | _HAS_LEAF | key[-1]
        units[leaf] = _IS_LEAF | value
    return units
