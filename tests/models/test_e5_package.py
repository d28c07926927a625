"""Reading the file of 4-bit weights, compared with what the test wrote by the documented layout."""

from __future__ import annotations

import numpy as np
import pytest

from optical.errors import DataError
from optical.models.e5_package import read_package
from tests.models.e5_file import PIECES, TABLE, write_e5


def test_everything_that_was_written_is_read(tmp_path):
    written = write_e5(tmp_path / "e5.bin")
    sizes, pieces, tensors = read_package(tmp_path / "e5.bin")
    assert sizes[:7] == (32, 2, 4, 64, 64, 48, 2)
    assert sizes.epsilon == pytest.approx(1e-12)
    assert (pieces.texts, pieces.scores, pieces.table) == (PIECES, written.scores, TABLE)
    assert (pieces.bos, pieces.eos, pieces.pad, pieces.unk) == (0, 2, 1, 3)
    assert tensors.keys() == written.tensors.keys()
    for name, values in written.tensors.items():
        matrix = name == "emb.word" or (name.endswith(".w") and "ln" not in name)
        assert tensors[name].dtype == (np.float16 if matrix else np.float32)
        # float16 rounds the product of a scale and a small whole number by at most 2^-11 of it
        np.testing.assert_allclose(tensors[name].astype(float).ravel(), values.ravel(), rtol=2**-11 if matrix else 1e-7)
    assert tensors["l0.fo.w"].shape == (32, 64)
    assert tensors["emb.pos"].shape == (48, 32)


def test_a_file_that_is_cut_off_or_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "e5.bin"
    write_e5(path)
    whole = path.read_bytes()
    for size in (3, 50, 400, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"e5\.bin is damaged .*; reinstall"):
            read_package(path)
    path.write_bytes(b"E5S2" + whole[4:])
    with pytest.raises(DataError, match="not a weights file"):
        read_package(path)
