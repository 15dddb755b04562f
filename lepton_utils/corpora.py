"""Text for the chapters on language: from files to arrays of strings.

A tagged sentence is one string, "word/TAG word/TAG ...", its tags those of Universal
Dependencies; its text is a string of its own. The table of the sets is in
`lepton_utils.catalog`.
"""

import csv
import gzip
import zipfile

import numpy as np

from lepton_utils.converters import read_member

PARTS = ("train", "dev", "test")
UD_ZH_FILES = {part: f"ud_zh_gsd/zh-ud-{part}-r1.4.conllu.gz" for part in PARTS}
UD_EN_FILES = {part: f"ud_en_ewt/en_ewt-ud-{part}.conllu.gz" for part in PARTS}
SHAKESPEARE_FILE = "tinyshakespeare/input.txt"
TREC_FILES = {
    part: f"sentence_classification/TREC.{part}.all" for part in ("train", "test")
}
MR_FILE = "sentence_classification/rt-polarity.all"
MULTI30K_FILES = [
    f"multi30k/{part}.{language}.gz"
    for part in ("train", "val", "test_2016_flickr")
    for language in ("en", "de")
]


def read_sentences(lines, gap=""):
    """Read tagged sentences, one a line: texts and tagged, arrays of strings.

    In a text, the words stand with the gap between them: "" for Chinese.
    """
    tagged = [line.strip() for line in lines if line.strip()]
    words = [[pair.rpartition("/")[0] for pair in line.split(" ")] for line in tagged]
    return {
        "texts": np.array([gap.join(sentence) for sentence in words]),
        "tagged": np.array(tagged),
    }


def read_treebank(folder, files, gap=""):
    """Read the local form: texts and tagged sentences; train, dev, test."""
    tagged = []
    for name in files.values():
        with gzip.open(folder / name, "rt", encoding="utf8") as file:
            tagged.extend(read_conllu(file))
    return read_sentences(tagged, gap)


def read_conllu(lines):
    """Read sentences of the format CoNLL-U, each as "word/TAG word/TAG ..."."""
    sentences, pairs = [], []
    for line in lines:
        columns = line.rstrip("\n").split("\t")
        if columns[0].isdecimal():  # neither a comment nor a contraction
            word, tag = columns[1], columns[3]
            pairs.append(f"{word.replace(' ', '')}/{tag}")
        elif not line.strip() and pairs:
            sentences.append(" ".join(pairs))
            pairs = []
    return [*sentences, " ".join(pairs)] if pairs else sentences


def convert_treebank(archive, folder, files, name):
    """Take the files of three parts, named by a pattern, out of an archive; pack them.

    Args:
        archive: Path of the zip file.
        folder: Path of the local form.
        files: dict, part -> path below the folder.
        name: str with {part} in it, name of a file in the archive.
    """
    with zipfile.ZipFile(archive) as file:
        for part, target in files.items():
            text = find_member(file, name.format(part=part))
            (folder / target).parent.mkdir(parents=True, exist_ok=True)
            (folder / target).write_bytes(gzip.compress(text, mtime=0))


def follow(text):
    """Pair each character of a text with the one that follows it."""
    characters = np.array(list(text))
    return {"characters": characters[:-1], "following": characters[1:]}


def read_shakespeare(folder):
    """Read the local form: characters, and the one that follows each."""
    return follow((folder / SHAKESPEARE_FILE).read_text("ascii"))


def convert_shakespeare(archive, folder):
    """Take data/tinyshakespeare/input.txt out of the archive, as it is."""
    with zipfile.ZipFile(archive) as file:
        text = find_member(file, "tinyshakespeare/input.txt")
    store(folder / SHAKESPEARE_FILE, text)


def read_intents(lines):
    """Read messages of a shop, a table with tabs: texts, labels, test (bool).

    Labels count the sorted names of the intents; those "outside" of them are left out.
    """
    table = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    rows = [row for row in table if row["part"] != "outside"]
    names = sorted({row["intent"] for row in rows})
    return {
        "texts": np.array([row["text"] for row in rows]),
        "labels": np.array([names.index(row["intent"]) for row in rows], np.uint8),
        "test": np.array([row["part"] == "test" for row in rows]),
    }


def read_faq(lines):
    """Read questions to a shop and answers, a table with tabs: a pair a row.

    The order is train, then near and far questions for testing, in each those "outside"
    of all answers last; their answer is "".
    """
    table = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    parts, rows = ("train", "near", "far"), list(table)
    found = {
        (r["topic"], r["language"]): r["text"] for r in rows if r["part"] not in parts
    }
    asked = [row for row in rows if row["part"] in parts]
    asked.sort(key=lambda row: (parts.index(row["part"]), row["topic"] == "outside"))
    return {
        "questions": np.array([row["text"] for row in asked]),
        "answers": np.array(
            [found.get((row["topic"], row["language"]), "") for row in asked]
        ),
        "test": np.array([row["part"] != "train" for row in asked]),
    }


def read_mr(folder):
    """Read the local form: sentences of reviews, labels 1 = positive."""
    return read_labeled([folder / MR_FILE])


def convert_mr(archive, folder):
    """Take data/rt-polarity.all out of the archive, as it is."""
    with zipfile.ZipFile(archive) as file:
        store(folder / MR_FILE, find_member(file, "rt-polarity.all"))


def read_trec(folder):
    """Read the local form: questions, labels 0-5; train, then test."""
    return read_labeled([folder / name for name in TREC_FILES.values()])


def convert_trec(archive, folder):
    """Take data/TREC.train.all and data/TREC.test.all out of the archive."""
    with zipfile.ZipFile(archive) as file:
        for name in TREC_FILES.values():
            store(folder / name, find_member(file, name.rpartition("/")[2]))


def read_multi30k(folder):
    """Read the local form: captions in English, in German; train, val, test."""
    lines = {"en": [], "de": []}
    for name in MULTI30K_FILES:
        text = gzip.decompress((folder / name).read_bytes()).decode("utf8")
        lines[name[-5:-3]] += [line.strip() for line in text[:-1].split("\n")]
    return {"sources": np.array(lines["en"]), "targets": np.array(lines["de"])}


def convert_multi30k(archive, folder):
    """Take six files of data/task1/raw out of the archive, as they are."""
    with zipfile.ZipFile(archive) as file:
        for name in MULTI30K_FILES:
            path = f"task1/raw/{name.rpartition('/')[2]}"
            store(folder / name, find_member(file, path))


def read_labeled(paths):
    """Read files of lines "label text": texts and labels."""
    lines = [line for path in paths for line in path.read_text("latin-1").split("\n")]
    pairs = [line.split(" ", 1) for line in lines if line]
    return {
        "texts": np.array([text.strip() for _, text in pairs]),
        "labels": np.array([int(label) for label, _ in pairs], np.uint8),
    }


def store(path, content):
    """Write bytes to a path, and make its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def find_member(file, name):
    """Read the one file whose path ends so, in whichever folder it lies."""
    (path,) = [path for path in file.namelist() if f"/{path}".endswith(f"/{name}")]
    return read_member(file, path)
