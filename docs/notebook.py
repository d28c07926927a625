# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Notebook: distil, search and align, in Python
#
# The steps of the [tutorial](tutorial.md) without a run folder: an English teacher, a few hundred Swahili sentence
# pairs, a student, and a search over English passages. About a minute on two cores.
# This is `docs/notebook.py`: open it in Jupyter with jupytext, or run it as a program from the top of a clone. A test
# runs it.

# %%
from pathlib import Path

import optical
from optical.data.bitext import read_bitext
from optical.data.collection import read_collection

sample = Path("data/sample/sw")

# %% [markdown]
# ## The data
# Sentences that say the same in English and Swahili; and English passages, with questions about them in both
# languages. Three topics of the sample are enough here.

# %%
topics = ["wild-animals", "farming", "markets-and-money"]
pairs = [pair for topic in topics for pair in read_bitext(str(sample / "bitext" / f"{topic}.tsv"), "sw").pairs]
print(len(pairs), "pairs, such as", tuple(pairs[0]))

# %%
collection = read_collection(sample / "collection", ["en", "sw"])
passages = [doc.full for doc in collection.docs if doc.id.startswith(tuple(topics))]
print(len(passages), "passages, such as", passages[0][:80])

# %% [markdown]
# ## The teacher, on Swahili
# It knows English only. The same question in both languages, and the passage that it finds:

# %%
from optical.models.load import load_encoder

teacher = load_encoder("all-MiniLM-L6-v2")
vectors = teacher.encode(passages)  # once, by the teacher; they never change


def best(encoder, question: str) -> str:
    """The first passage for a question."""
    return passages[int(encoder.similarity(encoder.encode([question]), vectors).argmax())]


for question in ("Who leads a herd of elephants?", "Nani anayeongoza kundi la tembo?"):
    print(question, "->", best(teacher, question)[:60])

# %% [markdown]
# ## Distil
# First every Swahili word of the bitext gets a row, mixed from the English pieces that it is aligned with; then a few
# steps of training pull sentences and their tokens to where the teacher puts the English side. Thirty steps are a
# taste; the default is 300.

# %%
student = optical.distill(
    teacher,
    bitext=pairs,
    lang="sw",
    documents=passages,
    training={"steps": 30, "batch_size": 24},
    progress=False,
)

# %% [markdown]
# ## Search
# The student reads the question, over the teacher's vectors of the passages.

# %%
print(best(student, "Nani anayeongoza kundi la tembo?")[:120])

# %% [markdown]
# ## Align
# The transport plan of the loss, by word: where the mass of each Swahili word goes. Nobody aligned these words by hand.

# %%
from optical.config.recipe import Recipe
from optical.data.bitext import Pair
from optical.pipeline.align import word_plans

pair = Pair("Who leads a herd of elephants?", "Nani anayeongoza kundi la tembo?")
plan = word_plans(Recipe(lang="sw"), teacher, {"student": student}, [pair])[0]["student"]
for word, shares in zip(plan.foreign, plan.shares(), strict=True):
    print(f"{word:>14} {shares.max():4.0%} {plan.english[int(shares.argmax())]}")

# %% [markdown]
# ## How good is it?
# The share of the questions about these topics whose passage comes first. The teacher on English questions is the
# ceiling.

# %%
ids = [doc.id for doc in collection.docs if doc.id.startswith(tuple(topics))]


answers = {judged.query_id: judged.doc_id for split in collection.qrels.values() for judged in split}


def first_right(encoder, lang: str) -> float:
    """Share of questions that find their passage first."""
    asked = [query for query in collection.queries[lang] if answers[query.id] in ids]
    nearest = encoder.similarity(encoder.encode([query.text for query in asked]), vectors).argmax(dim=1)
    return sum(ids[place] == answers[query.id] for query, place in zip(asked, nearest, strict=True)) / len(asked)


for name, encoder, lang in [
    ("ceiling", teacher, "en"),
    ("teacher as it is", teacher, "sw"),
    ("student", student, "sw"),
]:
    print(f"{name:18} {first_right(encoder, lang):.2f}")

# %% [markdown]
# ## Keep it
# `optical.distill(..., folder="my-student")` saves the student as an ordinary sentence-transformers folder, and
# `optical.load_student("my-student")` loads it with composed rows for words that it never saw.
