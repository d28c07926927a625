"""Shared fixtures: tiny encoders built from config, so that no test needs a download."""

from __future__ import annotations

import copy
import functools
import gc
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("OPTICAL_THREADS", "1")  # whatever else this machine does

import pytest
import torch

from tests.postgres import postgres  # noqa: F401 - a fixture, which all modules share from here

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

CACHE = tempfile.TemporaryDirectory(prefix="optical-cache-")  # of this process and those that it starts
os.environ["OPTICAL_CACHE"] = CACHE.name
ENGLISH = (
    "i drink water . the children read books . where is the market ? the farmer plants maize . she cooks rice . "
    "the cow gives milk . who built this house ? the teacher writes a letter . rain falls in april . we sell fish . "
    "the river is long . the doctor helps the sick . a dog guards the door . they sing songs . the moon shines ."
)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """As ``--dist loadfile``, but one process takes all that compares exported graphs: exporting takes seconds."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "onnx" if file.endswith(("test_onnx_export.py", "test_onnx_encoder.py", "test_export.py")) else file

    return ByFile(config, log)


@pytest.fixture(autouse=True)
def _same_numbers_every_time():
    torch.manual_seed(0)
    torch.set_num_threads(1)


def word_pieces(text: str = ENGLISH) -> list[str]:
    """A WordPiece vocabulary: special tokens, letters alone and inside words, and the words of a text."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789'.,?!-"
    words = sorted({w for w in text.split() if len(w) > 1})
    return ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{c}" for c in letters[:36]), *words]


def bert(folder, *, dim: int = 32, layers: int = 2, text: str = ENGLISH, positions: int = 64):
    """A random two-layer BERT with its own lower-casing tokenizer, as a SentenceTransformer; its files in a folder."""
    made = _bert(dim, layers, text, positions)
    shutil.copytree(made.folder.name, folder, dirs_exist_ok=True)
    torch.set_rng_state(made.after)
    return copy.deepcopy(made.encoder)


class Made(NamedTuple):
    """An encoder that is made once and copied, its files, and how torch's random numbers go on after it."""

    folder: tempfile.TemporaryDirectory
    encoder: SentenceTransformer
    after: torch.Tensor


@functools.cache
def _bert(dim: int, layers: int, text: str, positions: int) -> Made:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling
    from transformers import BertConfig, BertModel, BertTokenizer

    folder = tempfile.TemporaryDirectory()
    vocabulary = Path(folder.name, "vocab.txt")
    vocabulary.write_text("\n".join(word_pieces(text)), encoding="utf-8")
    tokenizer = BertTokenizer(str(vocabulary), do_lower_case=True, model_max_length=positions)
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=dim, num_hidden_layers=layers, num_attention_heads=4,
        intermediate_size=2 * dim, max_position_embeddings=positions, initializer_range=0.3,
    )  # fmt: skip
    BertModel(config, add_pooling_layer=False).save_pretrained(folder.name)
    tokenizer.save_pretrained(folder.name)
    modules = [Transformer(folder.name), Pooling(dim), Normalize()]
    encoder = SentenceTransformer(modules=modules, device="cpu")
    return Made(folder, encoder, torch.get_rng_state())


@pytest.fixture(scope="session", autouse=True)
def _template_of_model_cards_compiled_once():
    """Every checkpoint has a card, and the library compiles its template anew for each."""
    import jinja2

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jinja2.Environment, "compile", functools.lru_cache(jinja2.Environment.compile))
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_test_cuts_the_power():
    """What a killed process wrote stays; a disk that is waited for takes 9 ms a file here, which was half a minute."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="module", autouse=True)
def _what_is_imported_is_not_searched_for_garbage():
    """A training collects garbage twice, and with torch and transformers in the heap that was half of its time."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def with_bfloat16(monkeypatch):
    """A processor that says it has bfloat16: a tiny model is quick enough in it on any."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """Bitext and a collection on disk, with the sixth question among the bitext."""
    from tests.chain import write_data

    return write_data(tmp_path_factory.mktemp("data") / "sample")


@pytest.fixture(scope="session")
def run(tmp_path_factory, data):
    """The recipe of a finished run, its report, and what it said; who changes its files puts them back."""
    from tests.chain import MUCH_TO_LEARN, recipe_of, uncased
    from tests.runs import distilled

    folder = tmp_path_factory.mktemp("chain")
    torch.manual_seed(0)
    uncased(folder / "made").save(str(folder / "teacher"))
    recipe, said = recipe_of(folder, data, folder / "teacher", **MUCH_TO_LEARN), []
    return recipe, distilled(recipe, said.append, progress=False), said


@pytest.fixture
def teacher(tmp_path):
    """A tiny single-vector encoder."""
    return bert(tmp_path / "bert")


@pytest.fixture
def student(tmp_path):
    """Another start than the teacher's, so that there is something to learn."""
    model = bert(tmp_path / "student")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model
