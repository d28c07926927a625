"""Encode queries with an exported student, without torch: numpy, tokenizers and onnxruntime are enough.

It reads the folder that :mod:`optical.models.onnx_export` writes, and gives the vectors that the student gives.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from optical.errors import DataError
from optical.marker import check_sealed
from optical.models.query_words import QueryWords, Slotted, padded_compositions, read_seen_words

MANIFEST, TOKENIZER = "onnx.json", "tokenizer.json"  # optical.json marks an index
KIND = "onnx query encoder"
CHANGED = "run the same `optical export` again, or copy the folder again"
PACKAGES = ("onnx", "onnxscript", "onnxruntime")  # of the extra, which make the graphs
Precision = Literal["fp32", "int8"]
COMPOSED, WEIGHT = "composed_ids", "composed_weight"  # inputs of a student that composes unseen words
BATCH, BATCH_TOKENS = 64, 32_768  # texts, and tokens with padding, that go through the graph at once, longest first


class Manifest(NamedTuple):
    """Inputs and outputs of an exported graph, as its folder describes them.

    Attributes:
        graphs: Precision -> file, the preferred one last.
        inputs: Names of the graph's inputs, in their order.
        max_length: Tokens of a text that are read, special ones included.
        pad_id: Token id of padding.
        prefix: Put before every query.
        expansion: ``length``, ``id`` and ``attend`` of ColBERT's query expansion; None for other students.
        multi_vector: Whether each token keeps its vector.
        dimension: Of the vectors.
        truncation_side: The end of a longer text that is not read, ``right`` or ``left``.
    """

    graphs: dict[str, str]
    inputs: list[str]
    max_length: int
    pad_id: int
    prefix: str
    expansion: dict[str, Any] | None
    multi_vector: bool
    dimension: int
    truncation_side: str = "right"


class OnnxEncoder:
    """An exported student, ready to encode queries.

    >>> OnnxEncoder.load("runs/sw/onnx").encode(["Soko liko wapi?"])  # doctest: +SKIP
    """

    def __init__(self, session: Any, tokenizer: Any, manifest: Manifest, words: QueryWords | None = None) -> None:
        """Take parts that are already read; :meth:`load` reads them from a folder."""
        self.words = words
        self.session = session
        self.tokenizer = tokenizer
        self.manifest = manifest

    @classmethod
    def load(cls, folder: str | Path, threads: int = 1, precision: Precision | None = None) -> OnnxEncoder:
        """Read an exported student.

        Args:
            folder: As `optical export` leaves it.
            threads: Of onnxruntime inside one call; 1 serves most queries per core.
            precision: Which graph; default int8 where there is one.

        Raises:
            DataError: The folder is missing, no export or not as it was written, or onnxruntime is not installed.
        """
        manifest = read_manifest(Path(folder))
        check_sealed(Path(folder), CHANGED)
        chosen = precision or list(manifest.graphs)[-1]
        if chosen not in manifest.graphs:
            raise DataError(
                f"{folder} holds no {chosen} graph, only {', '.join(manifest.graphs)}; export again without --no-int8"
            )
        tokenizer = _tokenizer(Path(folder), manifest)
        seen = read_seen_words(Path(folder)) if COMPOSED in manifest.inputs else None
        words = QueryWords(seen, tokenizer) if seen else None
        return cls(_session(Path(folder) / manifest.graphs[chosen], threads), tokenizer, manifest, words)

    def encode(self, texts: Sequence[str]) -> Any:
        """Vectors of queries, in the order of the texts.

        Returns:
            Unit sentence vectors ``(n, e)``, float32; of a multi-vector student a list of n unit token matrices
            ``(n_i, d)``, as MaxSim takes them.
        """
        if isinstance(texts, str):
            raise ValueError(f"encode takes a list of texts; received the text {texts[:40]!r}; write [text]")
        slotted = self.words.slotted(texts) if self.words else Slotted(list(texts), *padded_compositions([]))
        if not slotted.ids.size:  # the graph wants a slot
            empty = np.zeros((len(texts), 1, 1))
            slotted = slotted._replace(ids=empty.astype(np.int64), weight=empty.astype(np.float32))
        ids = self._token_ids(slotted.texts)
        order = np.argsort([-len(row) for row in ids], kind="stable")
        rows: list[np.ndarray] = [np.zeros(0)] * len(ids)
        while len(order):
            together = min(BATCH, max(1, BATCH_TOKENS // max(1, len(ids[order[0]]))))
            batch, order = order[:together], order[together:]
            vectors, *mask = self.session.run(None, self._inputs([ids[i] for i in batch], slotted, batch))
            for place, i in enumerate(batch):
                rows[i] = vectors[place][mask[0][place].astype(bool)] if mask else vectors[place]
        if self.manifest.multi_vector:
            return rows
        return np.stack(rows) if rows else np.zeros((0, self.manifest.dimension), dtype=np.float32)

    def _token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        prefixed = [self.manifest.prefix + text for text in texts]
        return [encoding.ids for encoding in self.tokenizer.encode_batch(prefixed)]

    def _inputs(self, ids: Sequence[Sequence[int]], slotted: Slotted, batch: np.ndarray) -> dict[str, np.ndarray]:
        """One padded batch, the texts ``batch`` of ``slotted``, under the names of the graph's inputs."""
        m = self.manifest
        length = m.expansion["length"] if m.expansion else 1
        shape = (len(ids), max(length, *(len(row) for row in ids)))
        token_ids, real = np.full(shape, m.pad_id, dtype=np.int64), np.zeros(shape, dtype=bool)
        for k, row in enumerate(ids):
            token_ids[k, : len(row)] = row
            real[k, : len(row)] = True
        expanded = np.zeros_like(real)
        if m.expansion:
            expanded = ~real & (np.arange(shape[1]) < length)
            token_ids[expanded] = m.expansion["id"]
        attended = real | expanded if m.expansion and m.expansion["attend"] else real
        known = {
            "input_ids": token_ids,
            "attention_mask": attended.astype(np.int64),
            "token_type_ids": np.zeros_like(token_ids),
            "query_expansion_positions": expanded,
            COMPOSED: slotted.ids[batch],
            WEIGHT: slotted.weight[batch],
        }
        return {name: known[name] for name in m.inputs}


def check_installed() -> None:
    """Refuse a machine that cannot make the graphs.

    Raises:
        DataError: With the line that installs what is missing.
    """
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        raise DataError(f"{', '.join(missing)} not installed, which export needs; run pip install 'optical[onnx]'")


def read_manifest(folder: Path) -> Manifest:
    """Read what an export says about itself.

    Raises:
        DataError: The folder is missing, or no export, or its manifest is damaged.
    """
    remedy = "name a folder that `optical export` left"
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; {remedy}")
    path = folder / MANIFEST
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{folder}: no {MANIFEST}, so this is no exported student; {remedy}") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); the export is damaged: export again") from error
    if not isinstance(kept, dict) or kept.get("kind") != KIND:
        found = kept.get("kind") if isinstance(kept, dict) else type(kept).__name__
        raise DataError(f"{path} is not of an exported student: expected kind {KIND!r}, got {found!r}; {remedy}")
    kept = {**Manifest._field_defaults, **kept}
    if missing := [name for name in Manifest._fields if name not in kept]:
        raise DataError(f"{path} has no {missing[0]!r}; the export is damaged or of another version: export again")
    return Manifest(**{name: kept[name] for name in Manifest._fields})


def _session(path: Path, threads: int) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise DataError(
            "onnxruntime is not installed, which runs exported students; run pip install 'optical[onnx]', or only "
            "pip install onnxruntime"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3  # errors only
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise DataError(
            f"{path} cannot be run by onnxruntime {onnxruntime.__version__} ({str(error)[:200]}); export again, or "
            "take the version of onnxruntime that the export names"
        ) from error


def _tokenizer(folder: Path, manifest: Manifest) -> Any:
    path = folder / TOKENIZER
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise DataError("tokenizers is not installed; run pip install tokenizers") from error
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:
        raise DataError(f"{path} cannot be read ({error}); the export is damaged: export again") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(manifest.max_length, direction=manifest.truncation_side)
    return tokenizer
