"""The verb that looks at the machine: doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from optical.cli.app import bold, console, found, plain_command
from optical.files import vectors_cache


@plain_command
def doctor(
    cache: Annotated[Path | None, typer.Option("--cache", help="Folder of the teacher's vectors.")] = None,
) -> None:
    """Tell what this machine and installation have, and what is missing for which verb."""
    from optical.pipeline.doctor import examine

    facts = examine(cache or vectors_cache())
    found(**facts)
    for title, rows in _rows(facts).items():
        console.print(f"{bold(title)}")
        for name, text in rows.items():
            console.print(f"  {name:<22}{escape(text)}", highlight=False, soft_wrap=True)


def _rows(facts: dict[str, Any]) -> dict[str, dict[str, str]]:
    """The facts in words: title -> name -> text."""
    own = facts["processor"]
    said = own["instructions"] or {}
    has = ", ".join(name for name, there in said.items() if there) or ("none of these" if said else "unknown")
    lacks = ", ".join(name for name, there in said.items() if not there)
    allowed = "no limit" if own["quota"] is None else f"{own['quota']:g} cores"
    machine = {
        "processor": f"{own['name']}, {own['cores']} cores, {own['cores_allowed'] or own['cores']} for this process",
        "quota (cgroup)": allowed,
        "threads": f"{own['threads']}: {own['why_so_many_threads'] or 'all cores are free'}",
        "instructions": has + (f"; not {lacks}" if lacks else ""),
        "memory": "unknown" if own["memory"] is None else size(own["memory"]),
        "GPU": ", ".join(f"{one['name']}, {size(one['memory'])}" for one in facts["gpu"]) or "none that torch can use",
        "Java": facts["java"],
    }
    folders = {
        name: f"{one['path']}: {size(one['used'])}, {size(one['free'])} free" for name, one in facts["folders"].items()
    }
    lacking = {name: one for name, one in facts["extras"].items() if one["missing"]}
    missing = {
        name: f"{one['for']}: {', '.join(one['missing'])}; {one['install']}".removeprefix(": ")
        for name, one in lacking.items()
    }
    return {
        "Versions": facts["versions"],
        "Machine": machine,
        "Cache and disk": folders,
        "Missing": missing or {"nothing": "every extra is installed"},
    }


def size(count: float) -> str:
    """A number of bytes in words."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
