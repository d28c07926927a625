"""Kinds of options: paths, devices, trackers, splits, addresses; what nobody can mean is refused."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from optical.limits import fault_of_path

_DEVICE = re.compile(r"(?:cpu|mps|cuda|xpu|hpu|npu|xla|mtia)(?::[0-9]{1,4})?")
_CODE = re.compile(r"[A-Za-z0-9]{1,8}(?:[-_][A-Za-z0-9]{1,8}){0,4}")  # of a language: sw, zh-Hans, pt_BR
REPORTS = {  # trackers that transformers knows -> the module that each needs
    "azure_ml": "azureml", "clearml": "clearml", "codecarbon": "codecarbon", "comet_ml": "comet_ml",
    "dagshub": "dagshub", "dvclive": "dvclive", "flyte": "flytekit", "kubeflow": "kubeflow", "mlflow": "mlflow",
    "neptune": "neptune", "swanlab": "swanlab", "tensorboard": "tensorboard", "trackio": "trackio", "wandb": "wandb",
}  # fmt: skip


def _whole(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("a whole number is wanted")
    return value


def _path(text: str) -> str:
    for part in text.split(","):
        if not part.isprintable():
            raise ValueError("a path without control characters is wanted")
        if part and (fault := fault_of_path(part.strip() or part)):
            raise ValueError(f"no path, {fault}")
    return text


def _device(text: str) -> str:
    if not _DEVICE.fullmatch(text):
        raise ValueError("no device of torch is called so; cpu, cuda, cuda:1, mps are")
    return text


def _report(text: str) -> str:
    if text not in (*REPORTS, "none", "all"):
        raise ValueError(f"none, all, or one of {', '.join(REPORTS)} is wanted")
    return text


def _split(text: str) -> str:
    if not re.fullmatch(r"[\w-]{1,100}", text):
        raise ValueError("a name of letters, digits, _ and - is wanted, as in the names of the files of judgements")
    return text


def _languages(lang: str) -> str:
    langs = [code.strip() for code in lang.split(",")]
    if not all(langs):
        raise ValueError("an empty language code; write one code, or several with a comma between: sw,so,tl")
    if wrong := [code for code in langs if not _CODE.fullmatch(code)]:
        raise ValueError(f"{wrong[0][:40]!r} is no language code; letters and digits, as in sw, zh-Hans, pt_BR")
    if twice := [code for code in langs if langs.count(code) > 1]:
        raise ValueError(f"{twice[0]} is there twice; name every language once")
    return ",".join(langs)


def _hub_id(text: str) -> str:
    if not re.fullmatch(r"(?:[\w.-]{1,96}/)?[\w-][\w.-]{0,95}", text) or ".." in text:
        raise ValueError("an address of a model hub is wanted, as me/swahili")
    return text


PathText = Annotated[str, AfterValidator(_path)]
"""A path, or several with commas between."""
Device = Annotated[str, AfterValidator(_device)]
Report = Annotated[str, AfterValidator(_report)]
Split = Annotated[str, AfterValidator(_split)]
HubId = Annotated[str, AfterValidator(_hub_id)]
Seed = Annotated[int, BeforeValidator(_whole)]
Languages = Annotated[str, AfterValidator(_languages)]
"""A language code, or several with commas between."""
