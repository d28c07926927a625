"""The verb that looks into the caches: cache list, cache verify, cache prune."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from optical.cli.app import app, console, found, hint
from optical.cli.doctor import size
from optical.cli.help import panel_of
from optical.cli.output import with_output
from optical.files import vectors_cache

Folder = Annotated[
    Path | None,
    typer.Option("--cache", help="Folder of vectors.", show_default="OPTICAL_CACHE/vectors, runs/cache, the user's"),
]
verbs = typer.Typer(
    no_args_is_help=True,
    help="Look at the caches of vectors, texts of PDFs, BM25 and converted teachers, or remove what is not wanted.",
)
app.add_typer(verbs, name="cache", rich_help_panel=panel_of("cache"))


def _sub(verb):
    verbs.command(verb.__name__.rstrip("_"))(with_output(verb, hidden=False))
    return verb


@_sub
def list_(cache: Folder = None) -> None:
    """List what is kept: kind, teacher (its fingerprint), texts, size, last used."""
    from optical.pipeline.cache import kept

    folder = cache or vectors_cache()
    entries = kept(folder)
    found(folder=str(folder), entries=[{**one._asdict(), "path": str(one.path)} for one in entries])
    if not entries:
        console.print(f"nothing is kept in {escape(str(folder))} or in the user's cache", highlight=False)
    for one in entries:
        console.print(_line(one), highlight=False, soft_wrap=True)
    if entries:
        console.print(f"{len(entries)} entries, {size(sum(one.bytes for one in entries))}", highlight=False)


@_sub
def verify(cache: Folder = None) -> None:
    """Compare what is kept with the checksums that were noted when it was written."""
    from optical.pipeline import cache as caches

    told = caches.verified(caches.kept(cache or vectors_cache()))
    damages = {str(path): problem for path, problem in told.items() if problem}
    unsealed = [str(path) for path, problem in told.items() if problem is None]
    found(entries=len(told), damages=damages, not_sealed=unsealed)
    for path in unsealed:
        line = f"{path} is not sealed: an earlier version made it, which noted no checksums"
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    for problem in damages.values():
        console.print(problem, markup=False, highlight=False, soft_wrap=True)
    whole = len(told) - len(damages) - len(unsealed)
    also = f", {len(unsealed)} not sealed" if unsealed else ""
    console.print(f"{whole} of {len(told)} are as they were written{also}", highlight=False)
    if damages:
        raise typer.Exit(1)


@_sub
def prune(
    older_than: Annotated[
        str | None, typer.Option("--older-than", help="What was not used for so long, as 12h, 30d or 8w.")
    ] = None,
    keep_latest: Annotated[
        bool,
        typer.Option("--keep-latest", help="Earlier states: documents that are mostly in a collection used later."),
    ] = False,
    everything: Annotated[bool, typer.Option("--all", help="Everything.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    cache: Folder = None,
) -> None:
    """Remove what is kept, and can be made again; nothing that optical did not write.

    What a killed process left unfinished goes in any case.
    """
    if not (older_than or keep_latest or everything):
        raise typer.BadParameter("say what may go", param_hint="--older-than, --keep-latest, --all")
    from optical.pipeline import cache as caches

    entries = caches.kept(cache or vectors_cache())
    chosen = entries if everything else []
    if older_than:
        chosen = caches.older_than(entries, caches.seconds_of(older_than)) + chosen
    if keep_latest:
        chosen = caches.superseded(entries) + chosen
    chosen += caches.left_over(entries)
    chosen = list({one.path: one for one in chosen}.values())
    done = [caches.Pruned(one, 0) for one in chosen] if dry_run else caches.prune(chosen)
    found(removed=[{**one._asdict(), "path": str(one.path), "left": left} for one, left in done], dry_run=dry_run)
    for one, left in done:
        stay = f"; {left} files stay, optical did not write them" if left else ""
        console.print(_line(one) + stay, highlight=False, soft_wrap=True)
    total = size(sum(one.bytes for one in chosen))
    console.print(f"{len(done)} of {len(entries)} {'would go' if dry_run else 'removed'}, {total}", highlight=False)
    if dry_run and done:
        hint("without --dry-run they are removed")


def _line(one) -> str:
    day = time.strftime("%Y-%m-%d %H:%M", time.localtime(one.used))
    texts = "" if one.texts is None else f"{one.texts:,} texts"
    return f"{day}  {one.kind:<17}  {one.encoder[:16]:<16}  {texts:>16}  {size(one.bytes):>9}  {escape(str(one.path))}"
