"""A run to a model hub and back.

There the student is at the top with its card, so that its address loads it; recipe, manifest, measures and, where it
is asked for, the index lie beside it, and :func:`pull_run` puts them where a run has them. Sentences of the bitext,
documents and names of folders of this machine stay here.
"""

from __future__ import annotations

import json
import os
import shutil
import tomllib
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from optical.config.recipe import Recipe, load_recipe, write_recipe
from optical.errors import DataError
from optical.files import check_place, strict_json, write_text, written_whole
from optical.marker import MARKER, entries
from optical.models.hub import SECONDS
from optical.pipeline.card import current, named
from optical.pipeline.run_folder import SEARCHED, check_read
from optical.pipeline.verify import FILES, MANIFEST, note_files, read_manifest, sealed

RECIPE = "recipe.toml"
OF_A_RUN = (RECIPE, MANIFEST, "evaluation/*", "index/*", "index-*/*")  # all else at the hub is the student's
REPLACED = (*OF_A_RUN, "*.json", "*.safetensors", "[0-9]_*/*", "*.model", "vocab.txt", "merges.txt")  # when pushed anew


def check_pushed(recipe: Recipe, address: str) -> None:
    """Refuse a run that is not finished, or an address that no hub has.

    Raises:
        DataError: It says what is missing.
    """
    _check_address(address)
    for name in ("student", MANIFEST):
        if not (recipe.folder / name).exists():
            raise DataError(f"{recipe.folder / name} is missing; name a run that `optical distill` finished")


def contents(recipe: Recipe, address: str, *, with_index: bool = False, licence: str | None = None) -> dict[str, Any]:
    """Collect what is sent of a finished run: place at the hub -> a file, or its bytes where it is changed.

    Folder names of this machine are cut off paths, and penalties against hubness switched off, since they need
    sentences of the bitext.

    Args:
        recipe: Of the run.
        address: ``user/name``, which the lines of use in the card load.
        with_index: Also its indexes.
        licence: Of the card; see :func:`optical.pipeline.card.named`.
    """
    check_read(recipe, *(SEARCHED if with_index else ()), "evaluation")
    run = recipe.folder
    found: dict[str, Any] = _files(run / "student", "")
    for folder in sorted(run.glob("index")) + sorted(run.glob("index-*")) if with_index else []:
        found |= _files(folder, f"{folder.name}/")
        found |= {
            f"{folder.name}/{one.relative_to(folder).as_posix()}": _json(one) for one in folder.rglob("optical.json")
        }
    for file in sorted(run.glob("evaluation/*/*")):
        if file.name in ("results.json", "table.md"):
            found[file.relative_to(run).as_posix()] = file
    card = named(current(recipe), address, licence)
    for path in filter(None, (recipe.teacher, recipe.student)):
        card = card.replace(path, _without_folders(path))
    found["README.md"] = card.encode()
    made = read_manifest(run)
    found[MANIFEST] = sealed(_without_folders({name: one for name, one in made.items() if name != FILES})).encode()
    kept = _without_folders(tomllib.loads((run / RECIPE).read_text(encoding="utf-8")))
    for name in ("out", "cache", "device"):
        kept.pop(name, None)
    kept.setdefault("search", {})["hubness"] = "none"
    found[RECIPE] = write_recipe(Recipe.model_validate(kept)).encode()
    return found


def push_run(
    address: str, sent: Mapping[str, Any], *, public: bool = False, say: Callable[[str], None] = lambda _: None
) -> str:
    """Send a run to the hub in one commit, all of it or nothing; what is gone since an earlier push goes.

    Args:
        address: ``user/name``; made where it is not there, private unless ``public``. Who may see one that is there
            stays as it is.
        sent: See :func:`contents`.
        public: Let everybody see it.
        say: Told what is sent.

    Returns:
        Where it can be seen.

    Raises:
        DataError: No token, no network, no right, or something else is at that address.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

    _check_address(address)
    if get_token() is None:
        raise DataError(
            "no token of the model hub, so nothing was sent; make one with the right to write in your settings there, "
            "then set HF_TOKEN, or run `hf auth login`"
        )
    api = HfApi()
    try:
        there = {one.rfilename for one in api.model_info(address, timeout=SECONDS).siblings or []}
    except RepositoryNotFoundError:
        there = set()
    except Exception as error:
        raise _unasked(address, error) from error
    if there - {".gitattributes", "README.md"} and not {RECIPE, MANIFEST} <= there:
        raise DataError(f"{address} holds something that optical did not send; name another repository")
    gone = [name for name in sorted(there - set(sent)) if any(fnmatchcase(name, one) for one in REPLACED)]
    say(f"sending {described(sent)} to {address}" + (f", removing {', '.join(gone)}" if gone else ""))
    adding = [CommitOperationAdd(name, one if isinstance(one, bytes) else str(one)) for name, one in sent.items()]
    removing = [CommitOperationDelete(name) for name in gone]
    try:
        made = api.create_repo(address, private=not public, exist_ok=True)
        api.create_commit(address, [*adding, *removing], commit_message="A student of optical")
    except HfHubHTTPError as error:
        raise DataError(f"the hub does not take {address}: {_first_line(error)}; nothing was sent") from error
    except Exception as error:
        raise _unasked(address, error) from error
    return str(made)


def pull_run(address: str, out: Path, say: Callable[[str], None] = lambda _: None) -> Recipe:
    """Fetch a run from the hub into a new folder, whole or not at all; its documents are not in it.

    Raises:
        DataError: Nothing of the name, no run there, no network, or a folder that holds something.
    """
    check_pulled(address, out)
    fetched = _fetch(address, say)
    parts: dict[str, list[str]] = {}
    for name in sorted(one.relative_to(fetched).as_posix() for one in fetched.rglob("*") if one.is_file()):
        own = any(fnmatchcase(name, pattern) for pattern in OF_A_RUN)
        if own and "/" in name:
            parts.setdefault(name.rpartition("/")[0], []).append(name.rpartition("/")[2])
        elif not own and name != ".gitattributes":
            parts.setdefault("student", []).append(name)
    recipe = of_a_stranger(load_recipe(fetched / RECIPE))
    with written_whole(out) as run:
        for part, names in parts.items():  # each has a marker of its own, as the jobs of a run write it
            with written_whole(run / part, sealed=part.startswith("index")) as folder:
                for name in names:
                    (folder / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(fetched / ("" if part == "student" else part) / name, folder / name)
        write_text(run / MANIFEST, (fetched / MANIFEST).read_text(encoding="utf-8"))
        write_text(run / RECIPE, write_recipe(recipe))
        note_files(run, [name for name in entries(run) if not name.endswith("/")])
    return recipe.model_copy(update={"out": str(out)})


def of_a_stranger(recipe: Recipe) -> Recipe:
    """The recipe without what would write to places of somebody else's choice, or report to them."""
    training = recipe.training.model_copy(update={"report_to": "none", "hub_model_id": None})
    return recipe.model_copy(update={"out": None, "cache": None, "device": None, "training": training})


def _fetch(address: str, say: Callable[[str], None]) -> Path:
    """Folder in the hub's cache with all files of a repository; what is there already is not fetched again."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

    try:
        there = {one.rfilename for one in HfApi().model_info(address, timeout=SECONDS).siblings or []}
        if {RECIPE, MANIFEST, "modules.json"} <= there:
            say(f"fetching {len(there)} files of {address}")
            return Path(snapshot_download(address))
    except RepositoryNotFoundError as error:
        raise DataError(
            f"{address}: the hub has no such model, or it is private and HF_TOKEN is of somebody else; check the name, "
            "or run `hf auth login`"
        ) from error
    except HfHubHTTPError as error:
        raise DataError(f"the hub does not give {address}: {_first_line(error)}") from error
    except Exception as error:  # whatever the HTTP library of the day raises without a network
        raise _unasked(address, error) from error
    raise DataError(f"{address} is no run that `optical push` sent: {RECIPE} or {MANIFEST} is not there")


def check_pulled(address: str, out: Path) -> None:
    """Refuse an address that no hub has, or a folder that holds something.

    Raises:
        DataError: It says which.
    """
    _check_address(address)
    check_place(out)
    if os.path.lexists(out) and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} is there and holds something; name another folder with --out, or move it away")


def described(sent: Mapping[str, Any]) -> str:
    """Count the files and say how large they are together."""
    size = sum(len(one) if isinstance(one, bytes) else one.stat().st_size for one in sent.values())
    return f"{len(sent)} files, {size / 1e6:,.1f} MB"


def _check_address(address: str) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(address)
    except HFValidationError as error:
        raise DataError(f"{address!r} is no address of a model hub; write user/name, as in me/swahili") from error
    if "/" not in address:
        raise DataError(f"{address!r} does not say whose it is; write user/name, as in me/{address}")


def _files(folder: Path, place: str) -> dict[str, Any]:
    """Place at the hub -> file, for every file of a folder."""
    found = sorted(file for file in folder.rglob("*") if file.is_file() and file.name != MARKER)
    return {place + file.relative_to(folder).as_posix(): file for file in found}


def _json(file: Path) -> bytes:
    """A JSON file without the names of folders."""
    return strict_json(_without_folders(json.loads(file.read_bytes()))).encode()


def _without_folders(value: Any) -> Any:
    """Cut the folders off every path of this machine, in texts and in the names of entries."""
    if isinstance(value, dict):
        return {_without_folders(name): _without_folders(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_without_folders(one) for one in value]
    if isinstance(value, str) and any(part.strip().startswith(("/", "~")) for part in value.split(",")):
        return ",".join(
            Path(part.strip()).name if part.strip().startswith(("/", "~")) else part for part in value.split(",")
        )
    return value


def _unasked(address: str, error: Exception) -> DataError:
    return DataError(
        f"the model hub cannot be asked for {address} ({type(error).__name__}: {_first_line(error)}); connect to a "
        "network and try again"
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:160].rstrip(".")
