"""Text for the chapters on language: from files to arrays of strings.

A tagged sentence is one string, "word/TAG word/TAG ...", its tags those of Universal
Dependencies; its text is a string of its own. The table of the sets is in
`lepton_utils.catalog`.
"""

import gzip
import zipfile

import numpy as np

from lepton_utils.converters import read_member

UD_ZH_FILES = {
    part: f"ud_zh_gsd/zh-ud-{part}-r1.4.conllu.gz" for part in ("train", "dev", "test")
}
MR_FILE = "sentence_classification/rt-polarity.all"


def join_words(tagged):
    """Text of a tagged sentence of Chinese: its words without spaces."""
    return "".join(pair.rpartition("/")[0] for pair in tagged.split(" "))


def read_sentences(lines):
    """Read tagged sentences, one a line: texts and tagged, arrays of strings."""
    tagged = [line.strip() for line in lines if line.strip()]
    return {
        "texts": np.array([join_words(line) for line in tagged]),
        "tagged": np.array(tagged),
    }


def read_ud_zh(folder):
    """Read the local form: texts and tagged sentences; train, dev, test."""
    tagged = []
    for name in UD_ZH_FILES.values():
        with gzip.open(folder / name, "rt", encoding="utf8") as file:
            tagged.extend(read_conllu(file))
    return read_sentences(tagged)


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


def convert_ud_zh(archive, folder):
    """Take the three files zh-ud-PART.conllu out of the archive and pack them."""
    with zipfile.ZipFile(archive) as file:
        for part, target in UD_ZH_FILES.items():
            text = _find(file, f"zh-ud-{part}.conllu")
            (folder / target).parent.mkdir(parents=True, exist_ok=True)
            (folder / target).write_bytes(gzip.compress(text, mtime=0))


def read_mr(folder):
    """Read the local form: sentences of reviews, labels 1 = positive."""
    lines = (folder / MR_FILE).read_text("latin-1").split("\n")
    pairs = [line.split(" ", 1) for line in lines if line]
    return {
        "texts": np.array([text.strip() for _, text in pairs]),
        "labels": np.array([int(label) for label, _ in pairs], np.uint8),
    }


def convert_mr(archive, folder):
    """Take data/rt-polarity.all out of the archive, as it is."""
    with zipfile.ZipFile(archive) as file:
        text = _find(file, "rt-polarity.all")
    (folder / MR_FILE).parent.mkdir(parents=True)
    (folder / MR_FILE).write_bytes(text)


def _find(file, name):
    """Read the one file of that name, in whichever folder it lies."""
    (path,) = [path for path in file.namelist() if path.rpartition("/")[2] == name]
    return read_member(file, path)
