"""The model card of a student: what it was made of, how it is used, what it reached and what it does not do.

It is ``README.md`` in the student's folder, with metadata as model hubs read them. ``distill`` writes it; ``evaluate``
writes its measures anew, between two marks, so that what someone else wrote into it stays.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from optical.config.recipe import Recipe
from optical.errors import DataError, visible
from optical.evaluation.tables import Table, as_markdown, markdown
from optical.files import write_text
from optical.models.packaged_teachers import HUB_IDS
from optical.pipeline.run_folder import check_results
from optical.version import __version__

TEMPLATE = Path(__file__).with_name("card.md")
BEGIN, END = "<!-- measures: begin -->", "<!-- measures: end -->"
LIBRARYS_OWN = "**License:** Unknown"  # in the cards that sentence-transformers writes
STUDENT = re.compile(r'(?<=^student = )(\w+)\("[^"\n]*"\)', re.MULTILINE)
NOT_MEASURED = (
    "Nothing was measured: there were no judged questions in the language. Ask questions whose answers you know before "
    "you rely on this model."
)


def write_card(recipe: Recipe, say: Callable[[str], None] = lambda _: None) -> None:
    """Write the card of a run's student whole, in place of the one that the library wrote; its manifest is read."""
    _write(recipe, card(recipe), say)


def write_measures(recipe: Recipe, say: Callable[[str], None] = lambda _: None) -> None:
    """Put the latest measures of a run into its card; a card without a place for them is left as it is, and that said.

    That of an older run, which the library wrote, is written anew.
    """
    text = current(recipe)
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if begin and end:
        _write(recipe, head + measures(recipe) + tail, say)
    else:
        say(f"{recipe.folder / 'student' / 'README.md'} has no place for measures ({BEGIN} to {END}), none are put in")


def current(recipe: Recipe) -> str:
    """The card of a run as it is; written anew where there is none but the library's own, of an older run."""
    file = recipe.folder / "student" / "README.md"
    text = file.read_text(encoding="utf-8") if file.is_file() else LIBRARYS_OWN
    return card(recipe) if LIBRARYS_OWN in text else text


def _write(recipe: Recipe, text: str, say: Callable[[str], None]) -> None:
    try:
        write_text(recipe.folder / "student" / "README.md", text)
    except DataError as error:  # measures are not lost for it
        say(f"no model card: {error}")


def card(recipe: Recipe) -> str:
    """The text of the card of a finished run."""
    from huggingface_hub import ModelCard

    made = _json(recipe.folder / "manifest.json")
    languages = " and ".join([", ".join(recipe.langs[:-1]), recipe.langs[-1]] if recipe.langs[1:] else recipe.langs)
    words = {
        "title": as_markdown(f"{recipe.folder.resolve().name}: {languages} questions, English documents"),
        "languages": languages,
        "teacher": _in_code(recipe.teacher),
        "start": _in_code(recipe.student or ""),
        "version": made.get("optical", __version__),
        "made": made,
        "usage": usage(recipe),
        "composes": made.get("transplant", {}).get("composes"),
        "sources": _sources(made),
        "lists": ", ".join(
            f"`{_in_code(path)}`" for kind in ("dictionary", "word_lists") for path in _files(made.get(kind))
        ),
        "measures": measures(recipe),
        "limits": [as_markdown(limit) for limit in _limits(recipe, made)],
    }
    return ModelCard.from_template(
        _metadata(recipe), template_str=TEMPLATE.read_text(encoding="utf-8"), **words
    ).content


def _in_code(name: str) -> str:
    """A name as it may stand between backticks."""
    return " ".join(visible(name).splitlines()).replace("`", "'")


def named(text: str, address: str, licence: str | None = None) -> str:
    """A card for whoever downloads the student: loaded by its address on the hub, and under a licence.

    Args:
        text: Of the card.
        address: ``user/name``.
        licence: Identifier of a licence, ``cc-by-4.0``; None leaves what the card has.
    """
    from huggingface_hub import ModelCard

    shown = ModelCard(STUDENT.sub(rf'\1("{address}")', text))
    if licence:
        data: Any = shown.data
        data.license, data.license_name, data.license_link = licence, None, None
    return shown.content


def measures(recipe: Recipe) -> str:
    """The tables of every collection that the run's own student was measured on, between the two marks."""
    tables = []
    made = _json(recipe.folder / "manifest.json")
    for file in sorted(recipe.folder.glob("evaluation/*/results.json")):
        own = check_results(recipe, file, _json(file), made)
        if own and (table := file.with_name("table.md")).is_file():
            tables.append(table.read_text(encoding="utf-8").strip())
    return "\n\n".join([BEGIN, *(tables or [NOT_MEASURED]), END])


def usage(recipe: Recipe) -> str:
    """Lines of Python that compare a question with a document, each read by its own model."""
    own = _json(recipe.folder / "student" / "config_sentence_transformers.json")
    late = own.get("model_type") == "MultiVectorEncoder"
    kind = "MultiVectorEncoder" if late else "SentenceTransformer"
    name = HUB_IDS.get(recipe.teacher, recipe.teacher)
    prompt = recipe.teacher_prompts.document
    if prompt is None and recipe.student is None:  # the student has the teacher's
        prompt = own.get("prompts", {}).get("document")
    said = f", prompt={json.dumps(prompt, ensure_ascii=False)}" if prompt else ""
    imports, teacher = [f"from sentence_transformers import {kind}"], f"{kind}({json.dumps(name)})"
    if "," in name:
        imports.insert(0, "from optical.models.load import load_towers")
        teacher = f"load_towers({json.dumps(name)}).documents"
    if recipe.late_interaction:
        imports.insert(0, "from optical.models.encoders import as_multi_vector")
        plain = "SentenceTransformer" if "," not in name else ""
        teacher = f"as_multi_vector({teacher.replace(kind, plain) if plain else teacher})"
        imports[-1] += f", {plain}" if plain else ""
    return "\n".join([
        *imports, "",
        f'student = {kind}({json.dumps(str(recipe.home / "student"))})',
        f"teacher = {teacher}",
        f'questions, documents = ["a question in {recipe.langs[0]}"], ["An English document."]',
        f"print(student.similarity(student.encode_query(questions), teacher.encode_document(documents{said})))",
    ])  # fmt: skip


def _metadata(recipe: Recipe) -> Any:
    from huggingface_hub import ModelCardData

    codes = [code for lang in (*recipe.langs, "en") if re.fullmatch("[a-z]{2,3}", code := re.split("[-_]", lang)[0])]
    late = _json(recipe.folder / "student" / "config_sentence_transformers.json").get("model_type")
    kind = ["ColBERT", "multi-vector"] if late == "MultiVectorEncoder" else ["feature-extraction"]
    return ModelCardData(
        language=list(dict.fromkeys(codes)),
        license="other",
        license_name="see-the-card",
        license_link="README.md",
        library_name="sentence-transformers",
        pipeline_tag="sentence-similarity",
        tags=["sentence-transformers", "sentence-similarity", *kind, "cross-lingual-retrieval", "optical"],
        base_model=_hub_ids(recipe.student or recipe.teacher),
    )


def _hub_ids(names: str) -> list[str] | None:
    """Those of one or two models that the hub may have; a folder of this machine is none."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    found = []
    for name in names.split(","):
        address = HUB_IDS.get(name, name)
        try:
            validate_repo_id(address)
        except HFValidationError:
            continue
        found += [] if Path(name).is_dir() or "/" not in address else [address]
    return found or None


def _sources(made: Mapping[str, Any]) -> str:
    head = ["language", "source", "licence", "SHA-256 of its files", "pairs", "weight"]
    rows = [
        (one["lang"], one["name"], one["licence"] or "not stated", f"`{one['checksum'][:16]}`", f"{one['pairs']:,}",
         f"{one['weight']:g}")
        for one in made.get("text", {}).get("sources", [])
    ]  # fmt: skip
    return markdown(Table("", head, rows, left=4)) if rows else "not recorded: the run is older than the record"


def _files(read: Any) -> list[str]:
    """Names of the files of a fact of the manifest, which is a mapping of paths or of languages to such."""
    return sorted({Path(path).name for path in read}) if isinstance(read, dict) else []


def _limits(recipe: Recipe, made: Mapping[str, Any]) -> list[str]:
    from optical.models.save import notes_of

    words, dev = made.get("transplant", {}), made.get("development", {})
    found = [
        "Not measured unless a table above says so: other collections, subjects and kinds of text than those, other "
        "seeds, misspelt questions, questions that mix languages, documents that are not English.",
        "As all encoders it repeats what its teacher and its sentence pairs take for granted about people and things; "
        "that was not examined.",
    ]
    if "tokens_per_word_after" in words:
        found.append(
            f"A word in {recipe.lang} takes {words['tokens_per_word_after']} tokens on sentences that the vocabulary "
            f"was not made from ({words['tokens_per_word_before']} by the teacher's own). Words that the sentence "
            "pairs never had are guessed from their spelling or fall into pieces: expect less of questions about them."
        )
    if dev.get("share") == 0:
        found.append(
            "Training did not raise the development score, so this model is the teacher with words of the language "
            "added."
        )
    if any(str(one["path"]).startswith("data/sample/") for one in made.get("text", {}).get("sources", [])):
        found.append(
            "The sentence pairs are the small sample that optical comes with, whose Swahili no native speaker has "
            "checked: a model to try things with, not one to rely on."
        )
    cut = [f"{one['cut']} of {one['texts']} documents of {name}" for name, one in _cut(made)]
    found += [f"Documents that are longer than the teacher reads were cut: {', '.join(cut)}."] if cut else []
    return [*found, *notes_of(recipe.folder / "student")]


def _cut(made: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(name, one) for name, one in made.get("reading", {}).items() if one and one.get("cut")]


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except ValueError as error:
        raise DataError(f"{file} is damaged ({error}); make it again, or copy the folder again") from error
    return found if isinstance(found, dict) else {}
