"""Words added to tokenizers whose pieces contain the space: the same pieces around them, and text that comes back."""

from __future__ import annotations

import random

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from optical.errors import DataError
from optical.vocabulary.choose_words import choose_words
from optical.vocabulary.tokenizer import extend
from optical.vocabulary.word_boundaries import parted, piece_texts
from tests.chain import QWEN
from tests.vocabulary.conftest import byte_level, unigram, wrapped

FOREIGN = ["Mtoto anakunywa maji ya mto.", "(maji) ya mto-mto", "Ng'ombe wa Dàda", "été 'été' नदी"]


def metaspace(scheme: str, *, after_spaces: bool) -> PreTrainedTokenizerFast:
    tokenizer = unigram()
    step = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    tokenizer.backend_tokenizer.pre_tokenizer = (
        pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), step]) if after_spaces else step
    )
    return tokenizer


def prefixed() -> PreTrainedTokenizerFast:
    tokenizer = byte_level()
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    return tokenizer


KINDS = {
    "unigram": unigram,
    "unigram split at spaces": lambda: metaspace("always", after_spaces=True),
    "unigram without a first space": lambda: metaspace("never", after_spaces=False),
    "byte-level": byte_level,
    "byte-level with a first space": prefixed,
    "byte-level of Qwen": lambda: byte_level(QWEN),
}


@pytest.fixture(params=list(KINDS))
def base(request) -> PreTrainedTokenizerFast:
    return KINDS[request.param]()


def extended(base) -> PreTrainedTokenizerFast:
    return extend(base, choose_words(FOREIGN, [""] * len(FOREIGN)), romanise="").tokenizer


def read(tokenizer, text: str) -> list[str]:
    """Return what the tokens of a text spell, without spaces."""
    tokens = tokenizer.convert_ids_to_tokens(tokenizer(text, add_special_tokens=False)["input_ids"])
    return [t for t in piece_texts(tokenizer.backend_tokenizer, tokens) if t]


def test_a_word_is_one_token_in_the_middle_at_the_start_and_after_a_sign(base):
    tokenizer = extended(base)
    assert read(tokenizer, "Mtoto anakunywa maji.") == ["Mtoto", "anakunywa", "maji", "."]
    assert read(tokenizer, "x (maji) नदी") == ["x", "(", "maji", ")", "नदी"]
    assert read(tokenizer, "été ya ng'ombe Ng’ombe été") == ["été", "ya", "ng'ombe", "Ng'ombe", "été"]


def test_a_word_costs_no_token_for_the_space_before_or_after_it(base):
    """An added token without its space left one alone before the word, and put one before the full stop."""
    tokenizer = extended(base)
    for text, tokens in (("Mtoto anakunywa maji.", 4), ("Mtoto is anakunywa maji, who", 6)):
        assert len(tokenizer(text, add_special_tokens=False)["input_ids"]) == tokens


def test_text_comes_back(base):
    tokenizer = extended(base)
    for text in ("who (maji) ya mto-mto, Mtoto?", "the milk of Dàda is maji. 'été'", "Ng'ombe ya नदी", "été"):
        assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]).strip() == parted(text)


def test_case_is_the_teachers(base):
    tokenizer = extended(base)
    first, second = (tokenizer(f"who {w}", add_special_tokens=False)["input_ids"][-1] for w in ("Mtoto", "mtoto"))
    assert first != second
    assert len(read(tokenizer, "who MTOTO")) > 2  # never seen so


def test_no_word_is_found_inside_a_longer_one(base):
    tokenizer = extended(base)
    for text in ("majix xmaji maji1 1maji maji_ya mtomaji", "été\u0301 éété"):
        assert tokenizer(text)["input_ids"] == base(text)["input_ids"]


def test_text_without_added_words_has_the_same_ids(base):
    """Random strings of pieces, letters, signs and every kind of space."""
    tokenizer, rng = extended(base), random.Random(0)
    parts = ["the", "water", "Milk", "drinks", "ana", "x", "1986", " ", " ", "  ", "\n", "\t", "\u00a0", ",", "(", "-"]
    parts += ["'s", "'", '."', "é", "日本", "▁", "?!", "\r\n", "e\u0301"]
    for _ in range(2000):
        text = "".join(rng.choices(parts, k=rng.randint(0, 12)))
        assert tokenizer(text)["input_ids"] == base(parted(text))["input_ids"], text


def test_a_word_written_to_a_sign_is_read_as_after_a_space(base):
    tokenizer = extended(base)
    assert read(tokenizer, "x ya,mto,ya") == ["x", "ya", ",", "mto", ",", "ya"]
    for joined, apart in (
        ("Je,Mtoto", "Je, Mtoto"), ("who?anakunywa", "who? anakunywa"), ("«ya»:Dàda", "« ya»: Dàda"), ("(नदी", "( नदी")
    ):  # fmt: skip
        assert parted(joined) == apart
        assert tokenizer(joined)["input_ids"] == tokenizer(apart)["input_ids"]
        assert tokenizer(joined)["input_ids"] != base(joined)["input_ids"]
    for text in ("U.S.A-team", "3,5 l", "who.the", "the-water", "'s ,'", "x , "):
        assert parted(text) == text
        assert tokenizer(text)["input_ids"] == base(text)["input_ids"]


def test_a_tokenizer_that_is_extended_again_parts_words_once(base):
    again = extend(extended(base), choose_words(["zaidi,mto"], [""]), romanise="").tokenizer
    assert read(again, "zaidi,zaidi") == ["zaidi", ",", "zaidi"]
    assert again.backend_tokenizer.to_str().count("»/–—]") == 1


def test_special_tokens_in_the_text_stay(base):
    tokenizer = extended(base)
    for text in (f"{base.sep_token}maji the", f"the {base.pad_token} water{base.sep_token}."):
        ours, theirs = tokenizer(text)["input_ids"], base(text)["input_ids"]
        assert [i for i in ours if i in base.all_special_ids] == [i for i in theirs if i in base.all_special_ids]
    assert tokenizer(f"the {base.pad_token} water")["input_ids"] == base(f"the {base.pad_token} water")["input_ids"]


def test_reloaded_by_plain_transformers_with_the_same_ids(base, tmp_path):
    tokenizer = extended(base)
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    texts = [*FOREIGN, "who (maji) maji-maji नदी, été ng’ombe", ""]
    assert again(texts)["input_ids"] == tokenizer(texts)["input_ids"]
    assert again.get_vocab() == tokenizer.get_vocab()


def test_a_word_that_is_a_piece_already_keeps_its_id(base):
    extension = extend(base, choose_words(["dog na milk (milk"], [""]), romanise="")
    for word in ("dog", "milk"):
        piece = base(f"x {word}", add_special_tokens=False)["input_ids"][-1]
        assert extension.ids[word][0] == piece
        ours, theirs = (tok(f"x {word}", add_special_tokens=False)["input_ids"] for tok in (extension.tokenizer, base))
        assert ours == theirs


def test_words_of_a_romanised_script_are_matched_as_written(base):
    extension = extend(base, choose_words(["नदी का"], [""]), romanise="नदीका")
    assert read(extension.tokenizer, "x नदी the") == ["x", "नदी", "the"]
    ids = extension.tokenizer("x नदी the", add_special_tokens=False)["input_ids"]
    assert len(ids) == 1 + len(base("x the", add_special_tokens=False)["input_ids"])  # none for a space
    assert extension.tokenizer("the काna")["input_ids"] == base("the kana")["input_ids"]


def test_apostrophes_of_english_stay_where_no_word_has_one(base):
    tokenizer = extend(base, choose_words(["maji"], [""]), romanise="").tokenizer
    assert tokenizer("the dog’s milk")["input_ids"] == base("the dog’s milk")["input_ids"]


@pytest.mark.parametrize("split", [None, pre_tokenizers.Punctuation()])
def test_a_tokenizer_that_reads_across_spaces_is_refused(split):
    tokenizer = unigram()
    tokenizer.backend_tokenizer.pre_tokenizer = split
    with pytest.raises(DataError, match="no words can be added"):
        extended(tokenizer)


def test_a_tokenizer_whose_pieces_would_change_is_refused():
    """Pieces of two words, which a split before each word takes apart."""
    backend = Tokenizer(models.Unigram([("<unk>", 0.0), ("▁", -3.0), *((c, -5.0) for c in "majitox()-,.'/12"),
                                        ("▁maji▁mto", -1.0), ("▁mto▁maji", -1.0)], unk_id=0))  # fmt: skip
    backend.pre_tokenizer = pre_tokenizers.Metaspace(split=False)
    base = wrapped(backend, unk_token="<unk>")
    with pytest.raises(DataError, match="no words can be added"):
        extend(base, choose_words(["maji mto"], [""]), romanise="")
