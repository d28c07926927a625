"""Download public bitext from the hub, as ``.tsv.gz`` files that :mod:`optical.data.bitext` reads.

The sentences are written as they come; ``read_bitext`` cleans them.
"""

from __future__ import annotations

import gzip
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from optical.data.bitext import Pair
from optical.data.words import tidy
from optical.errors import DataError
from optical.files import check_writable, file_written_whole

# Spoken and everyday language first, crawled and mined text last; the licences are those of the sources.
SETS = tuple(
    f"sentence-transformers/parallel-sentences-{name}"
    for name in (
        "talks",
        "tatoeba",
        "global-voices",
        "news-commentary",
        "opensubtitles",
        "europarl",
        "wikimatrix",
        "wikititles",
        "ccmatrix",
    )
)

_log = logging.getLogger(__name__)


def fetch_bitext(
    lang: str,
    folder: Path,
    *,
    limit: int = 100_000,
    sets: Sequence[str] = SETS,
    load: Callable[..., Iterable[Any]] | None = None,
) -> list[Path]:
    """Download public pairs of English and ``lang``, one ``<set>.tsv.gz`` for each set that has the language.

    Sets are streamed, so that ``limit`` bounds what is downloaded, and each file appears only when it is complete. A
    set that cannot be had is left out and logged; without a connection the rest is not tried, because each attempt
    waits for half a minute.

    Args:
        lang: Two-letter code as the hub has it, such as ``sw``; the configuration is ``en-<lang>``.
        folder: Where the files go; made when it is not there. Files that it wrote there before are replaced.
        limit: Rows of each set.
        sets: Names of data sets with the columns ``english`` and ``non_english``.
        load: In place of ``datasets.load_dataset``: called with the name, the configuration, ``split`` and
            ``streaming``, gives rows as dictionaries.

    Returns:
        The files written, in the order of ``sets``.

    Raises:
        DataError: When no set gave a pair, with the reason for each; or when a file cannot be written, or
            would replace one that this program did not write.
    """
    check_writable(folder, [_file_name(name) for name in sets])
    written: list[Path] = []
    reasons: dict[str, str] = {}
    for name in sets:
        try:
            pairs = list(_pairs(load or _load_dataset(), name, lang, limit))
        except DataError as error:
            reasons[name] = str(error)
            _log.warning("%s left out: %s", name, error)
            if isinstance(error.__cause__, ConnectionError):
                break
            continue
        written.append(_write(pairs, folder / _file_name(name)))
        _log.info("%s: %d pairs", name, len(pairs))
    if not written:
        listed = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        raise DataError(
            f"no public bitext of English and {lang} could be had: {listed or 'no set was named'}; check the network"
            f" and the language code (two letters, as in en-{lang}), or give bitext of your own, such as a .tsv file"
            f" with English<TAB>{lang} on each line"
        )
    return written


def _file_name(name: str) -> str:
    """Of what is fetched from a set."""
    return f"{name.rpartition('/')[2]}.tsv.gz"


def _load_dataset() -> Callable[..., Iterable[Any]]:
    from datasets import load_dataset

    return load_dataset


def _pairs(load: Callable[..., Iterable[Any]], name: str, lang: str, limit: int) -> Iterator[Pair]:
    """At most ``limit`` rows of a set, those without a side left out; a DataError with a short reason when none is."""
    found = False
    try:
        for row in islice(load(name, f"en-{lang}", split="train", streaming=True), limit):
            pair = Pair(tidy(row["english"] or ""), tidy(row["non_english"] or ""))
            if all(pair):
                found = True
                yield pair
    except KeyError as error:
        raise DataError(f"no column {error}") from error
    except Exception as error:  # the hub's client raises from four libraries, and each of them means: not to be had
        raise DataError(_short(error)) from error
    if not found:
        raise DataError("no row with both sides")


def _short(error: Exception) -> str:
    """The first line of a message; the hub's list of all configurations is left out."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0].partition(" Available: ")[0].rstrip(". ")
    return text if len(text) <= 160 else f"{text[:157]}..."


def _write(pairs: Iterable[Pair], path: Path) -> Path:
    """Write a compressed table, whole or not at all; equal pairs give equal bytes."""
    try:
        with (
            file_written_whole(path) as unfinished,
            unfinished.open("wb") as raw,
            gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed,
        ):
            for pair in pairs:
                packed.write(f"{pair.english}\t{pair.foreign}\n".encode())
    except OSError as error:
        raise DataError(
            f"cannot write ({error.strerror or error}): {path}; free some space or choose a folder that you may write"
            " to; files that were complete are untouched"
        ) from error
    return path
