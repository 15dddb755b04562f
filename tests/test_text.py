"""Tokens by their properties and against jieba; corpora read and fetched."""

import csv
import gzip
import re
import tempfile
import zipfile
from collections import Counter
from itertools import pairwise
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from lepton_utils import catalog, chatterbot, converters, corpora, datasets, text

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
FEW = st.text("ab 分词é\n👩‍🔬_.7", max_size=40)
CONLLU = """\
# text = 他們 去了。
1\t他們\t他\tPRON\t_
2-3\t去了\t_\t_\t_
2\t去\t去\tVERB\t_
3\t了\t了\tAUX\t_
4\t。\t。\tPUNCT\t_

1\t1/2\t_\tNUM\t_
"""


# Words


def test_words_numbers_and_signs():
    got = text.tokenize("It's 3.5 GB, isn't it? (l'été) https://a.org/b?c=1 x_y")
    expected = "it's|3.5|gb|,|isn't|it|?|(|l'été|)|https://a.org/b?c=1|x|_|y"
    assert got == expected.split("|")
    assert text.tokenize("") == text.tokenize(" \n\t") == []


@given(ANY_TEXT)
def test_no_character_but_space_is_dropped(sentence):
    kept = "".join(sentence.lower().split())
    assert "".join("".join(text.tokenize(sentence)).split()) == kept


# Chinese


def test_segmentation_agrees_with_jieba(tmp_path):
    jieba = pytest.importorskip("jieba")
    jieba.setLogLevel("ERROR")
    tokenizer = jieba.Tokenizer()
    tokenizer.tmp_dir = str(tmp_path)
    (x_train, _), (x_test, _) = datasets.load("sentences")
    sentences = [
        *x_train,
        *x_test,
        "他来到了网易杭研大厦",
        "这是一个伸手不见五指的黑夜",
    ]
    for sentence in map(str, sentences):
        assert text.segment(sentence) == tokenizer.lcut(sentence, HMM=False)


@given(FEW)
def test_words_join_to_the_text(sentence):
    words = text.segment(sentence, {"分词": 2, "a": 5, "ab": 1})
    assert "".join(words) == sentence


def test_segmentation_of_little():
    assert text.segment("") == []
    assert text.segment("龘龘") == ["龘", "龘"]
    assert text.segment("abab", {"ab": 1, "a": 1, "b": 1}) == ["ab", "ab"]
    assert text.segment("abab", {"ab": 1, "a": 1, "b": 1}, longest=1) == list("abab")
    with pytest.raises(ValueError, match="counts must hold at least one word, got 0"):
        text.segment("a", {})


# Byte pairs


@given(ANY_TEXT | FEW)
def test_byte_pairs_lose_nothing(sentence):
    table = text.vocabulary(MERGES)
    symbols = text.encode(sentence, MERGES)
    assert text.decode(symbols, table) == sentence
    assert len(symbols) <= len(sentence.encode())


@settings(deadline=None)
@given(FEW, st.integers(0, 30))
def test_training_is_counting_again(sentence, num_merges):
    pieces, expected = text.cut_pieces(sentence), {}
    got = text.train_bpe(pieces, num_merges)
    for new in range(256, 256 + num_merges):
        pairs = Counter()
        for symbols, count in pieces.items():
            for pair in pairwise(symbols):
                pairs[pair] += count
        if not pairs:
            break
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        expected[best] = new
        pieces = Counter(
            {text.merge(symbols, best, new): n for symbols, n in pieces.items()}
        )
    assert got == expected


def test_the_example_of_its_authors():
    words = {"low": 5, "lower": 2, "newest": 6, "widest": 3}
    merges = text.train_bpe({tuple(w.encode()): n for w, n in words.items()}, 4)
    table = text.vocabulary(merges)
    assert [table[symbol] for symbol in merges.values()] == [
        b"st",
        b"est",
        b"ow",
        b"low",
    ]


def test_bad_symbols_are_named():
    with pytest.raises(ValueError, match="symbols must be in the table, got 999"):
        text.decode([65, 999], text.vocabulary({}))
    with pytest.raises(ValueError, match="num_merges must be at least 0, got -1"):
        text.train_bpe({}, -1)
    with pytest.raises(UnicodeEncodeError):
        text.encode("\ud83d", {})
    assert text.decode(text.encode("词", {})[:2], text.vocabulary({})) == "\ufffd"


MERGES = text.train_bpe(text.cut_pieces("分词 a b ab ab, éé 分词 ab__ 77 " * 3), 20)


# Sampling


@given(st.lists(st.floats(-30, 30), min_size=1, max_size=8), st.floats(0.1, 5))
def test_sampling_is_the_softmax_unless_it_is_cut(logits, temperature):
    p = text.sampling_probabilities(logits, temperature)
    assert np.allclose(p, softmax(np.array(logits) / temperature))
    cut = text.sampling_probabilities(logits, temperature, top_k=2, top_p=0.5)
    assert np.isclose(cut.sum(), 1) and np.count_nonzero(cut) <= 2
    assert cut[np.argmax(logits)] >= p.max() - 1e-12


def test_sampling_keeps_the_fewest_that_suffice():
    logits = np.log([[0.1, 0.5, 0.3, 0.1], [0.25, 0.25, 0.25, 0.25]])
    p = text.sampling_probabilities(logits, top_p=0.8)
    assert np.allclose(p, [[0, 0.625, 0.375, 0], [0.25, 0.25, 0.25, 0.25]])
    p = text.sampling_probabilities(logits, top_k=1)
    assert np.allclose(p, [[0, 1, 0, 0], [1, 0, 0, 0]])
    assert np.allclose(text.sampling_probabilities([-np.inf, 0, 0]), [0, 0.5, 0.5])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0], 0), "temperature must be > 0, got 0"),
        (([0], 1, 0), "top_k must be at least 1, got 0"),
        (([0], 1, None, 1.5), r"top_p must be in \(0, 1\], got 1.5"),
        (([],), "logits need a finite maximum each"),
        (([-np.inf],), "logits need a finite maximum each"),
    ],
)
def test_bad_sampling_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        text.sampling_probabilities(*arguments)


# Text in pieces


def test_copied_runs_are_marked():
    marks = [False, True, True, True, False]
    assert text.find_copied("xabcy", "zabc", 3).tolist() == marks
    assert text.find_copied(np.array([9, 1, 2, 3, 9]), [1, 2, 3], 3).tolist() == marks
    assert not text.find_copied("ab", "ab", 3).any()
    with pytest.raises(ValueError, match="length must be at least 1, got 0"):
        text.find_copied("a", "a", 0)


def test_lanes_go_on_where_they_ended():
    x, y = text.lanes(np.arange(26), num_lanes=2, length=4)
    assert x.tolist() == [
        [0, 1, 2, 3],
        [12, 13, 14, 15],
        [4, 5, 6, 7],
        [16, 17, 18, 19],
        [8, 9, 10, 11],
        [20, 21, 22, 23],
    ]
    assert (y == x + 1).all()
    with pytest.raises(ValueError, match="2 lanes of 4 need 9 symbols, got 8"):
        text.lanes(np.arange(8), 2, 4)


@given(st.lists(st.integers(0, 2), min_size=4, max_size=30), st.integers(0, 3))
def test_witten_bell_is_the_recursion(numbers, order):
    def probability(history, symbol):
        places = [i for i in range(len(numbers) - len(history)) if fits(history, i)]
        followers = Counter(numbers[i + len(history)] for i in places)
        shorter = probability(history[1:], symbol) if history else 1 / 3
        if not followers:
            return shorter
        kinds = len(followers)
        return (followers[symbol] + kinds * shorter) / (followers.total() + kinds)

    def fits(history, i):
        return numbers[i : i + len(history)] == history

    history = numbers[len(numbers) - order :]
    expected = [probability(history, symbol) for symbol in range(3)]
    got = [
        text.witten_bell(np.array(numbers), np.array([symbol]), order, 3)
        for symbol in range(3)
    ]
    assert np.allclose([p[0] for p, _ in got], expected)
    assert np.isclose(sum(expected), 1)
    seen = sum(fits(history, i) for i in range(len(numbers) - order))
    assert [n[0] for _, n in got] == [seen] * 3


def test_bad_counts_are_named():
    with pytest.raises(ValueError, match="known must have over 3 symbols, got 3"):
        text.witten_bell(np.zeros(3, int), np.zeros(1, int), 3, 2)
    with pytest.raises(ValueError, match="order 9 is too long for 100 symbols"):
        text.witten_bell(np.zeros(20, int), np.zeros(1, int), 9, 100)
    with pytest.raises(ValueError, match="numbers must be 0 to 2, got 3 to 3"):
        text.witten_bell(np.zeros(4, int), np.array([3]), 1, 3)


# Corpora


def test_conllu_becomes_pairs():
    sentences = corpora.read_conllu(CONLLU.splitlines(keepends=True))
    assert sentences == ["他們/PRON 去/VERB 了/AUX 。/PUNCT", "1/2/NUM"]
    arrays = corpora.read_sentences([*sentences, "\n"])
    assert arrays["texts"].tolist() == ["他們去了。", "1/2"]
    spaced = corpora.read_sentences(sentences, gap=" ")
    assert spaced["texts"].tolist() == ["他們 去 了 。", "1/2"]


@pytest.mark.parametrize(("name", "gap"), [("sentences", ""), ("sentences_en", " ")])
def test_our_sentences_are_tagged(name, gap):
    tags = {"ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "NOUN", "NUM", "PART", "PRON"}
    tags |= {"INTJ", "PROPN", "PUNCT", "SCONJ", "VERB"}
    (x_train, y_train), (x_test, y_test) = datasets.load(name)
    assert (len(x_train), len(x_test)) == (40, 20)
    for sentence, tagged in zip([*x_train, *x_test], [*y_train, *y_test], strict=True):
        pairs = [pair.rpartition("/") for pair in tagged.split(" ")]
        assert all(word and tag in tags for word, _, tag in pairs)
        assert gap.join(word for word, _, _ in pairs) == sentence


def test_intents_are_balanced_and_never_repeated():
    (x_train, y_train), (x_test, y_test) = datasets.load("intents")
    assert np.bincount(y_train).tolist() == [56] * 10
    assert np.bincount(y_test).tolist() == [24] * 10
    assert len({message.lower() for message in [*x_train, *x_test]}) == 800
    names = ["cancel_order", "change_address", "complaint", "greeting", "human"]
    lines = ["intent\tlanguage\tpart\ttext", "outside\ten\toutside\tsing"]
    lines += [f'{name}\ten\ttest\t"{name}' for name in reversed(names)]
    arrays = corpora.read_intents(lines)
    assert arrays["labels"].tolist() == [4, 3, 2, 1, 0] and all(arrays["test"])
    assert arrays["texts"][0] == '"human'


def test_the_questions_have_answers_and_never_repeat():
    (x_train, y_train), (x_test, y_test) = datasets.load("faq")
    assert (len(x_train), len(x_test)) == (270, 270)
    assert len({question.lower() for question in [*x_train, *x_test]}) == 540
    assert len(set(y_train)) == 83 and set(y_test) == set(y_train)
    assert [y for y in y_train if not y] == [""] * 24 == y_test[82:106].tolist()
    assert all(y_test[:82]) and all(y_test[106:]) and all(y_train[:246])
    lines = ["topic\tlanguage\tpart\ttext", "a\ten\tfar\tfar", "a\ten\tanswer\tyes"]
    arrays = corpora.read_faq([*lines, "outside\ten\tnear\twho", "a\ten\ttrain\tok?"])
    assert arrays["questions"].tolist() == ["ok?", "who", "far"]
    assert arrays["answers"].tolist() == ["yes", "", "yes"]
    assert arrays["test"].tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("name", "key", "fields"),
    [
        ("customers", ("act", "part"), {"order", "product"}),
        ("replies", ("kind", "use"), {"number", "product", "price"}),
    ],
)
def test_what_is_said_is_there_in_both_languages(name, key, fields):
    lines = datasets.embedded_file(f"text/{name}.tsv").read_text("utf8").splitlines()
    rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    count = {
        language: Counter(
            tuple(row[k] for k in key) for row in rows if row["language"] == language
        )
        for language in ("en", "zh")
    }
    assert count["en"] == count["zh"] and count["en"].total() * 2 == len(rows)
    found = {field for row in rows for field in re.findall(r"{(\w+)}", row["text"])}
    assert found >= fields and all(row["text"] == row["text"].strip() for row in rows)
    assert found <= fields | {"ordered", "delivered"}


SMALL_TALK = """\
categories:
- a
conversations:
- - Hi!
  - Hello
  - How are you?
- - ｈｉ
  - hello.
- - "Hi"
  - "Yes"
- no list
- - alone
- - 1
  - hello
"""


def test_small_talk_is_converted_and_read(tmp_path, monkeypatch):
    monkeypatch.setattr(chatterbot, "FILES", {"english/a": "", "chinese/a": ""})
    names = [f"chatterbot_corpus/data/{name}.yml" for name in chatterbot.FILES]
    archive = zip_files(tmp_path, dict.fromkeys(names, SMALL_TALK))
    chatterbot.convert_pairs(archive, tmp_path)
    arrays = chatterbot.read_pairs(tmp_path)
    assert arrays["questions"].tolist() == ["Hi!", "Hi", "1"] * 2
    assert arrays["answers"].tolist() == ["Hello", "Yes", "hello"] * 2
    test = chatterbot.split_answers(arrays)
    assert test.tolist() == [False, True, False] * 2  # answers 0, 1, 0
    path = tmp_path / "chatterbot_corpus" / "english" / "a.yml"
    for content, message in (("- a", "must have conv"), ("{", "a.yml is no YAML")):
        path.write_text(content)
        with pytest.raises(ValueError, match=message):
            chatterbot.read_pairs(tmp_path)


def test_a_text_is_continued_by_its_next_character():
    (x_train, y_train), (x_test, y_test) = datasets.load("manual")
    manual = "".join([*x_train, *x_test, y_test[-1]])
    assert manual == "\n\n".join(topics[key] for key in sorted(topics))
    assert "".join(y_train) == manual[1 : len(y_train) + 1]
    assert len(x_train) == int(0.9 * len(manual))


def zip_files(folder, files):
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(f"top/{name}", content)
    return folder / "a.zip"


@pytest.mark.parametrize(
    ("name", "files", "member"),
    [
        ("ud_zh_gsd", corpora.UD_ZH_FILES, "zh-ud-{part}.conllu"),
        ("ud_en_ewt", corpora.UD_EN_FILES, "en_ewt-ud-{part}.conllu"),
    ],
)
def test_a_treebank_is_converted(tmp_path, name, files, member):
    parts = {member.format(part=part): CONLLU for part in files}
    catalog.DATASETS[name].convert(zip_files(tmp_path, parts), tmp_path)
    assert (
        catalog.DATASETS[name].read(tmp_path)["tagged"].tolist()[::2]
        == ["他們/PRON 去/VERB 了/AUX 。/PUNCT"] * 3
    )
    assert gzip.decompress((tmp_path / files["dev"]).read_bytes()).decode() == CONLLU


def test_reviews_and_questions_are_converted(tmp_path):
    reviews = "1 good\x85 film .\n0 bad film\n".encode("latin-1")
    corpora.convert_mr(zip_files(tmp_path, {"data/rt-polarity.all": reviews}), tmp_path)
    arrays = corpora.read_mr(tmp_path)
    assert arrays["texts"].tolist() == ["good\x85 film .", "bad film"]
    assert arrays["labels"].tolist() == [1, 0] and arrays["labels"].dtype == np.uint8
    questions = {"data/TREC.train.all": "4 Where ?\n", "data/TREC.test.all": "3 Who ?"}
    corpora.convert_trec(zip_files(tmp_path, questions), tmp_path)
    assert corpora.read_trec(tmp_path)["texts"].tolist() == ["Where ?", "Who ?"]


def test_captions_are_converted_pair_by_pair(tmp_path):
    files = {
        f"data/task1/raw/{name.rpartition('/')[2]}": gzip.compress(
            f"{name[9:]} 1 \n\u2028{name[-5:-3]} 2\n".encode()
        )
        for name in corpora.MULTI30K_FILES
    }
    corpora.convert_multi30k(zip_files(tmp_path, files), tmp_path)
    arrays = corpora.read_multi30k(tmp_path)
    assert arrays["sources"].tolist()[::2] == [
        f"{part}.en.gz 1" for part in ("train", "val", "test_2016_flickr")
    ]
    assert arrays["targets"].tolist()[1::2] == ["de 2"] * 3


def test_one_of_several_files_of_a_name_is_found_by_its_folder(tmp_path):
    names = ("data/tinyshakespeare/input.txt", "data/other/input.txt")
    archive = zip_files(tmp_path, {name: name[5:9] for name in names})
    corpora.convert_shakespeare(archive, tmp_path)
    arrays = corpora.read_shakespeare(tmp_path)
    assert "".join(arrays["characters"]) + arrays["following"][-1] == "tiny"


def test_an_archive_that_lacks_a_file_is_refused():
    with tempfile.TemporaryDirectory() as folder:
        archive = zip_files(Path(folder), {"README": "nothing"})
        names = "mr trec tinyshakespeare ud_zh_gsd ud_en_ewt chatterbot_corpus"
        names += " multi30k"
        for name in names.split():
            with pytest.raises(converters.DAMAGE, match="unpack"):
                catalog.DATASETS[name].convert(archive, Path(folder) / name)
