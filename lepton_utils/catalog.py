"""The table of the data sets: what each is, where it comes from, how it is verified.

A further set is a further row of `DATASETS`; `lepton_utils.datasets` loads and
downloads them.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from lepton_utils import chatterbot, converters, corpora, speech
from lepton_utils.cells import make_cells
from lepton_utils.scenes import make_scenes


@dataclass(frozen=True)
class Dataset:
    """One row of the table.

    Attributes:
        title: what it is, in a few words.
        origin: address of the page that describes it.
        licence: as its authors state it.
        shapes: name of an array -> (shape, dtype), of the whole set; the first is x,
            the second y.
        split: arrays -> bool array, True where an example is for testing.
        make: () -> arrays, for an embedded set; None for a public one.
        files: its local form: path below the data folder -> SHA-256.
        read: data folder -> arrays, from the local form.
        url: official address of the download.
        url_sha256: its SHA-256 where the authors publish one, else "".
        convert: (download, folder) -> None, writes the local form into the folder.
        digests: name of an array -> `digest` of what a download must hold exactly.
        counts: arrays -> counts of what a download may hold slightly more or less of.
        expected: those counts in the files named above.
        tolerance: float, largest relative difference of a count.
    """

    title: str
    origin: str
    licence: str
    shapes: dict
    split: Callable
    make: Callable | None = None
    files: dict = field(default_factory=dict)
    read: Callable | None = None
    url: str = ""
    url_sha256: str = ""
    convert: Callable | None = None
    digests: dict = field(default_factory=dict)
    counts: Callable | None = None
    expected: dict = field(default_factory=dict)
    tolerance: float = 0.0


def _make_cells():
    images, labels = make_cells()
    return {"images": images, "labels": labels}


def _make_scenes():
    images, objects = make_scenes()
    return {"images": images, "objects": objects}


def _load_digits():
    from sklearn.datasets import load_digits

    images, labels = load_digits().images, load_digits().target
    return {"images": images.astype(np.uint8), "labels": labels.astype(np.uint8)}


def _sentences(language, gap=""):
    """Make the reader of the tagged sentences of a language."""

    def read():
        from lepton_utils.datasets import embedded_file

        text = embedded_file(f"text/sentences_{language}.txt").read_text("utf8")
        return corpora.read_sentences(text.splitlines(), gap)

    return read


def _read_intents():
    from lepton_utils.datasets import embedded_file

    return corpora.read_intents(
        embedded_file("text/intents.tsv").read_text("utf8").splitlines()
    )


def _read_faq():
    from lepton_utils.datasets import embedded_file

    return corpora.read_faq(
        embedded_file("text/faq.tsv").read_text("utf8").splitlines()
    )


def _read_digits():
    from lepton_utils.datasets import embedded_file

    with embedded_file("speech/digits.npz").open("rb") as file:
        return speech.read_digits(file)


def _read_manual():
    from pydoc_data.topics import topics

    return corpora.follow("\n\n".join(topics[key] for key in sorted(topics)))


def _last_tenth(arrays):
    total = len(arrays["characters"]) + 1  # of the text; its first pairs are one fewer
    return np.arange(total - 1) >= int(0.9 * total)


def _last(count):
    """Split off the last examples, so many of them, for testing."""

    def split(arrays):
        total = len(next(iter(arrays.values())))
        return np.arange(total) >= total - count

    return split


def _every_tenth(arrays):
    return np.arange(len(arrays["labels"])) % 10 == 9


def _fifth_by_id(arrays):
    """Take every fifth example in the order of SHA-256(id), blind to the images."""
    hashes = [hashlib.sha256(name.encode()).hexdigest() for name in arrays["ids"]]
    test = np.zeros(len(hashes), bool)
    test[np.argsort(hashes)[::5]] = True
    return test


NUCLEI_SHA256 = "9d2b07338639f3f09753f06800db5dd0d5f09ce9799182dafffd944fe9e114b1"
NUCLEI_IMAGES = "1cdd082fd1c31e1abcb5ac60f8eebe143e893d94ef4d52c003a40f7a8c5a4621"
NUCLEI_IDS = "32bd3c1ac6d3f84b51c914249681d15d4903e599039a8515ef32714fee19f3e4"
FASHION_SHA256 = "a4349ee55a6249be7a5831a7f7680e62b5c70036eaed7f3fa99ac8d1f91aa338"
FASHION_IMAGES = "0eef9bc13ffd341fe1eae6212e969ea41ce2f91baff2fc304b9f3afd8c806d04"
FASHION_LABELS = "b6603a97a3f33f8bbe400dae97a01fe8c9c5acfc6826d67931faeecfc4fde5a6"
BCCD_SHA256 = "f00127b7296fb4e8cdfcfd32b384e9456939859bbb1259c2f15a234a27be33e2"
BCCD_OBJECTS = "e84ea646cfcf79c1a89746e1390356c9babca572edadc8c5db6b9dc81c43888e"
BCCD_IDS = "618993d50d2136fbe77a83432e5e0996cd8fd9a260ac5fc5980507cc73453f03"
UD_ZH_SHA256 = (
    "b5997f946bb9eccc5c16ecb99fb35a65e8c669fcc1b17c069e8a5d82466105b5",
    "53c9c23a44b9ffbc7ca634c1a4703b7020c0c59d8fa2a5ca2f08b965d0418aa9",
    "6434560122a2df7649d8fb3f9831094348b41ef934cf454ed3bf9a3971ff3c45",
)
UD_ZH_TAGGED = "66ec6b845198568f52306c529d57d62737f9ab735a2f0e8fca14997b3d7292f5"
UD_EN_SHA256 = (
    "20a2586d53dccf79b4510f999b9aaff4de05f9e963a22f18cb6bc565e1da7748",
    "46580d98463f55c801f3090dca033af457ee956b8f0033a7adea65845e0f4846",
    "f83210ab86cc8fb7e110a0bd340a5f04c6d17681f4cbe4826c883f409202ae82",
)
UD_EN_TAGGED = "50f2bc55f8175d986cad6489a0d2a28c23137e53e651a4be073c3da6206893a5"
SHAKESPEARE_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
SHAKESPEARE_TEXT = "3256f82291073e52ccebe998ddb0ffb88a055372e390e7c63df0e9db98af1b1d"
TREC_SHA256 = (
    "c8183fd8c2a5cc4a9a1c56548d7c6410a8b71ed7843df9ef1f0a05cd7cf2fb3e",
    "92a6a3cede5678b447ef5f1d7ec474134fcda211e6590e6fa627b4a2c68e4566",
)
TREC_TEXTS = "594e11a86fd895167b767b63677ddad53c1aeadabef7d03ddd60ca3cc82e1907"
TREC_LABELS = "49e19ed80c08376671d74bd06258bf1abe4033c3612754df47321fd7e437e1c7"
MR_SHA256 = "b8846c3bbd59241f901efdc58f7c515e4b280ab3561fd1858caa5aa48da95a8a"
MR_TEXTS = "d7ef71f9a0f00cb69cbded1e6105fe95874072087acfc11a565b49267fe0c7e2"
MR_LABELS = "eb5cb494aec0db1938b10e5709da6336cae7ba67f4a0f4e928ddfa42d92f1499"
CHATTERBOT_QUESTIONS = (
    "c1e0b0cd5c88fd6c605a118078468b87663ae741ee9875ddd021aea580fb80ef"
)
CHATTERBOT_ANSWERS = "4f8b498ca33939572a2c2d0b93bb18e4408871f8328be6a46a63eb91f4bdeb30"
FSDD_SHA256 = "005e7effa810271be22d7b8af382dfd756687fd1becc33f386c1a88c454c4ab6"
FSDD_WAVES = "e78e40e300d1324b7927d063ce77ccb8b61c506f2bf465088be1c8e6fc25efad"
FSDD_LABELS = "97a0ecf24a1469783c16dfce4816cc2a07162ea93a2e875957b8c76e5c6fbcce"
MULTI30K_SHA256 = (
    "d79cfa999dd4c51d2cb42499b6796d5a882c3a8a961923c25a898c90f8bbd56f",
    "726e39b2fa9eb9ffb6dc763fb35a179f80fae06ffc5d28b6ace5faa883de28a6",
    "14f7d25ddd868909a9213e361768460edcacdd6ab9d1e77b92560dc10c10dc28",
    "f0cba2f995189cf5770f29a8a9a537a3ad3f51657ad873405082ff6863a5e75a",
    "611d361c6334bc7246101d48097c13cf5c4413c5befc793cc629934359d532d9",
    "9204244e408ccb38d2a55cfcd344df15005fc42a07a6e55ca6c52b6ababb8cc8",
)
MULTI30K_SOURCES = "69e7da4d5f9b84eb491faf971d32ae03fb8bb798ea1f99fc24b15c8537badc69"
MULTI30K_TARGETS = "a7ed0f662145d8f23c30f30bb8a5231a376f93a1445928183af98b321d1918d3"
ML100K_SHA256 = "06416e597f82b7342361e41163890c81036900f418ad91315590814211dca490"
ML100K_PAIRS = "4918cd812d0eecef04696746cd26cdf582c661ae5af2d4561d848df40d30eeb0"
ML100K_RATINGS = "b0fb1ce514597290265dc2620b6e5bf8a3c612df54d77e46f6914eb659fdf9da"
ML1M_SHA256 = "a236ea1464b4c7386b252427ef0f000e2a0f0a3dd75c9d0db894c8cdcee13222"
ML1M_CANDIDATES = "05c891f674a22812ace39e85a26bb35833885ba77aa612cc35a353a95f30f068"

DATASETS = {
    "cells": Dataset(
        title="synthetic microscopy, stained and fluorescent",
        origin="lepton_utils/cells.py",
        licence="MIT, as the book's code",
        shapes={
            "images": ((1000, 128, 128, 3), "uint8"),
            "labels": ((1000, 128, 128), "uint8"),
        },
        split=_last(200),
        make=_make_cells,
    ),
    "nuclei": Dataset(
        title="fluorescent cell nuclei, 2018 Data Science Bowl, stage 1",
        origin="https://bbbc.broadinstitute.org/BBBC038",
        licence="CC0",
        shapes={
            "images": ((334, 256, 256, 3), "uint8"),
            "labels": ((334, 256, 256), "uint8"),
            "ids": ((334,), "<U64"),
        },
        split=_fifth_by_id,
        files={converters.NUCLEI_FILE: NUCLEI_SHA256},
        read=converters.read_nuclei,
        url="https://data.broadinstitute.org/bbbc/BBBC038/stage1_train.zip",
        convert=converters.convert_nuclei,
        digests={"ids": NUCLEI_IDS, "images": NUCLEI_IMAGES},
        counts=converters.count_nuclei,
        expected={"nuclei": 9543, "foreground pixels": 1682537},
        tolerance=0.05,
    ),
    "digits": Dataset(
        title="handwritten digits, scanned at 8 x 8, gray levels 0-16",
        origin="https://scikit-learn.org/stable/modules/generated/sklearn.datasets.load_digits.html",
        licence="CC BY 4.0 (UCI Machine Learning Repository, doi:10.24432/C50P49)",
        shapes={"images": ((1797, 8, 8), "uint8"), "labels": ((1797,), "uint8")},
        split=_last(359),
        make=_load_digits,
    ),
    "fashion_mnist": Dataset(
        title="articles of clothing in ten classes, 28 x 28, gray levels",
        origin="https://github.com/zalandoresearch/fashion-mnist",
        licence="MIT",
        shapes={"images": ((70000, 28, 28), "uint8"), "labels": ((70000,), "uint8")},
        split=_last(10000),
        files={converters.FASHION_FILE: FASHION_SHA256},
        read=converters.read_fashion,
        url="https://github.com/zalandoresearch/fashion-mnist/archive/refs/heads/"
        "master.zip",
        convert=converters.convert_fashion,
        digests={"images": FASHION_IMAGES, "labels": FASHION_LABELS},
    ),
    "scenes": Dataset(
        title="synthetic scenes with boxes: discs, squares, triangles",
        origin="lepton_utils/scenes.py",
        licence="MIT, as the book's code",
        shapes={
            "images": ((1500, 128, 128, 3), "uint8"),
            "objects": ((1500, 5, 5), "float32"),
        },
        split=_last(250),
        make=_make_scenes,
    ),
    "bccd": Dataset(
        title="blood cells under the microscope, with boxes, 640 x 480 halved",
        origin="https://github.com/Shenggan/BCCD_Dataset",
        licence="MIT",
        shapes={
            "images": ((364, 240, 320, 3), "uint8"),
            "objects": ((364, 30, 5), "float32"),
            "names": ((364,), "<U16"),
        },
        split=_last(72),
        files={converters.BCCD_FILE: BCCD_SHA256},
        read=converters.read_bccd,
        url="https://github.com/Shenggan/BCCD_Dataset/archive/refs/heads/master.zip",
        convert=converters.convert_bccd,
        digests={"objects": BCCD_OBJECTS, "names": BCCD_IDS},
        counts=converters.count_bccd,
        expected={"gray levels": 15345359040},
        tolerance=0.01,
    ),
    "sentences": Dataset(
        title="sentences of Chinese, segmented and tagged by hand",
        origin="data/text/sentences_zh.txt",
        licence="MIT, as the book's code",
        shapes={"texts": ((60,), "<U15"), "tagged": ((60,), "<U77")},
        split=_last(20),
        make=_sentences("zh"),
    ),
    "sentences_en": Dataset(
        title="the same sentences in English, tagged by hand",
        origin="data/text/sentences_en.txt",
        licence="MIT, as the book's code",
        shapes={"texts": ((60,), "<U64"), "tagged": ((60,), "<U125")},
        split=_last(20),
        make=_sentences("en", gap=" "),
    ),
    "ud_zh_gsd": Dataset(
        title="sentences of Wikipedia in traditional Chinese, segmented and tagged",
        origin="https://github.com/UniversalDependencies/UD_Chinese-GSD/tree/r1.4",
        licence="CC BY-NC-SA 4.0",
        shapes={"texts": ((4997,), "<U182"), "tagged": ((4997,), "<U819")},
        split=_last(500),
        files=dict(zip(corpora.UD_ZH_FILES.values(), UD_ZH_SHA256, strict=True)),
        read=lambda folder: corpora.read_treebank(folder, corpora.UD_ZH_FILES),
        url="https://github.com/UniversalDependencies/UD_Chinese-GSD/archive/refs/tags/"
        "r1.4.zip",
        convert=lambda archive, folder: corpora.convert_treebank(
            archive, folder, corpora.UD_ZH_FILES, "zh-ud-{part}.conllu"
        ),
        digests={"tagged": UD_ZH_TAGGED},
    ),
    "ud_en_ewt": Dataset(
        title="sentences of weblogs, mail, reviews and answers, tagged",
        origin="https://github.com/UniversalDependencies/UD_English-EWT",
        licence="CC BY-SA 4.0",
        shapes={"texts": ((16622,), "<U795"), "tagged": ((16622,), "<U1593")},
        split=_last(2077),
        files=dict(zip(corpora.UD_EN_FILES.values(), UD_EN_SHA256, strict=True)),
        read=lambda folder: corpora.read_treebank(folder, corpora.UD_EN_FILES, " "),
        url="https://github.com/UniversalDependencies/UD_English-EWT/archive/"
        "15d613d8447b3478787d4c278730a1e48a945efb.zip",
        convert=lambda archive, folder: corpora.convert_treebank(
            archive, folder, corpora.UD_EN_FILES, "en_ewt-ud-{part}.conllu"
        ),
        digests={"tagged": UD_EN_TAGGED},
    ),
    "manual": Dataset(
        title="the manual of Python's language, as help() shows it",
        origin="https://docs.python.org/3/reference/",
        licence="PSF License, part of Python",
        shapes={"characters": ((None,), "<U1"), "following": ((None,), "<U1")},
        split=_last_tenth,
        make=_read_manual,
    ),
    "tinyshakespeare": Dataset(
        title="plays of Shakespeare, one long text",
        origin="https://github.com/karpathy/char-rnn",
        licence="MIT",
        shapes={"characters": ((1115393,), "<U1"), "following": ((1115393,), "<U1")},
        split=_last_tenth,
        files={corpora.SHAKESPEARE_FILE: SHAKESPEARE_SHA256},
        read=corpora.read_shakespeare,
        url="https://github.com/karpathy/char-rnn/archive/"
        "6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e.zip",
        convert=corpora.convert_shakespeare,
        digests={"characters": SHAKESPEARE_TEXT},
    ),
    "intents": Dataset(
        title="what customers of a shop want: ten intents, English and Chinese",
        origin="data/text/intents.tsv",
        licence="MIT, as the book's code",
        shapes={"texts": ((800,), "<U80"), "labels": ((800,), "uint8")},
        split=lambda arrays: arrays["test"],
        make=_read_intents,
    ),
    "faq": Dataset(
        title="questions to a shop and their answers, English and Chinese",
        origin="data/text/faq.tsv",
        licence="MIT, as the book's code",
        shapes={"questions": ((540,), "<U65"), "answers": ((540,), "<U99")},
        split=lambda arrays: arrays["test"],
        make=_read_faq,
    ),
    "chatterbot_corpus": Dataset(
        title="small talk, questions and answers, English and Chinese",
        origin="https://github.com/gunthercox/chatterbot-corpus",
        licence="BSD-3-Clause",
        shapes={"questions": ((1360,), "<U131"), "answers": ((1360,), "<U970")},
        split=chatterbot.split_answers,
        files={
            f"{chatterbot.FOLDER}/{name}.yml": value
            for name, value in chatterbot.FILES.items()
        },
        read=chatterbot.read_pairs,
        url="https://github.com/gunthercox/chatterbot-corpus/archive/"
        "a01efece26661309b870af0251d96f94ee09fb19.zip",
        convert=chatterbot.convert_pairs,
        digests={"questions": CHATTERBOT_QUESTIONS, "answers": CHATTERBOT_ANSWERS},
    ),
    "trec": Dataset(
        title="questions by what they ask for: six classes",
        origin="https://cogcomp.seas.upenn.edu/Data/QA/QC/",
        licence="for research",
        shapes={"texts": ((5952,), "<U196"), "labels": ((5952,), "uint8")},
        split=_last(500),
        files=dict(zip(corpora.TREC_FILES.values(), TREC_SHA256, strict=True)),
        read=corpora.read_trec,
        url="https://github.com/harvardnlp/sent-conv-torch/archive/"
        "d61ded09c99c0199d8c5bca946cd65864de2b296.zip",
        convert=corpora.convert_trec,
        digests={"texts": TREC_TEXTS, "labels": TREC_LABELS},
    ),
    "mr": Dataset(
        title="sentences from film reviews, positive or negative",
        origin="https://www.cs.cornell.edu/people/pabo/movie-review-data/",
        licence="for research, as its authors offer it",
        shapes={"texts": ((10662,), "<U267"), "labels": ((10662,), "uint8")},
        split=_every_tenth,
        files={corpora.MR_FILE: MR_SHA256},
        read=corpora.read_mr,
        url="https://github.com/harvardnlp/sent-conv-torch/archive/"
        "d61ded09c99c0199d8c5bca946cd65864de2b296.zip",
        convert=corpora.convert_mr,
        digests={"texts": MR_TEXTS, "labels": MR_LABELS},
    ),
    "spoken_digits": Dataset(
        title="digits of English, Mandarin, Cantonese, spoken by a synthesizer",
        origin="tools/make_digits.py",
        licence="MIT, as the book's code",
        shapes={"waves": ((960, 7243), "int16"), "labels": ((960, 5), "int32")},
        split=lambda arrays: arrays["labels"][:, 1] >= 12,  # the last four voices
        make=_read_digits,
    ),
    "fsdd": Dataset(
        title="English digits spoken by six people, 8 kHz",
        origin="https://github.com/Jakobovski/free-spoken-digit-dataset",
        licence="CC BY-SA 4.0",
        shapes={"waves": ((3000, 18262), "int16"), "labels": ((3000, 5), "int32")},
        split=lambda arrays: arrays["labels"][:, 3] < 5,  # the official one, by take
        files={speech.FSDD_FILE: FSDD_SHA256},
        read=speech.read_fsdd,
        url="https://github.com/Jakobovski/free-spoken-digit-dataset/archive/"
        "26eb9aaf76e81b692f806f9140c2d2777410d7a1.zip",
        convert=speech.convert_fsdd,
        digests={"waves": FSDD_WAVES, "labels": FSDD_LABELS},
    ),
    "multi30k": Dataset(
        title="captions of photographs in English, translated into German",
        origin="https://github.com/multi30k/dataset",
        licence="none stated; the photographs for research and teaching",
        shapes={"sources": ((31014,), "<U205"), "targets": ((31014,), "<U254")},
        split=_last(1000),
        files=dict(zip(corpora.MULTI30K_FILES, MULTI30K_SHA256, strict=True)),
        read=corpora.read_multi30k,
        url="https://github.com/multi30k/dataset/archive/"
        "a3d2e0d26b56f3846f66a952536ffed4e401d05a.zip",
        convert=corpora.convert_multi30k,
        digests={"sources": MULTI30K_SOURCES, "targets": MULTI30K_TARGETS},
    ),
    "ml-100k": Dataset(
        title="MovieLens 100K: ratings of films, 1 to 5, with their time",
        origin="https://grouplens.org/datasets/movielens/100k/",
        licence="GroupLens: for research, no redistribution without permission",
        shapes={
            "pairs": ((100000, 2), "int32"),
            "ratings": ((100000,), "uint8"),
            "times": ((100000,), "int64"),
        },
        split=converters.split_ml100k,
        files={converters.ML100K_FILE: ML100K_SHA256},
        read=converters.read_ml100k,
        url="https://files.grouplens.org/datasets/movielens/ml-100k.zip",
        convert=converters.convert_ml100k,
        digests={"pairs": ML100K_PAIRS, "ratings": ML100K_RATINGS},
    ),
    "ml-1m": Dataset(
        title="MovieLens 1M: who rated what, one film a user left out (NCF split)",
        origin="https://github.com/hexiangnan/neural_collaborative_filtering",
        licence="GroupLens: for research, no redistribution without permission",
        shapes={
            "pairs": ((1598169, 2), "int32"),
            "labels": ((1598169,), "uint8"),
            "candidates": ((6040, 100), "int32"),
        },
        split=converters.split_ml1m,
        files={converters.ML1M_FILE: ML1M_SHA256},
        read=converters.read_ml1m,
        url="https://github.com/hexiangnan/neural_collaborative_filtering/archive/"
        "4aab159e81c44b062c091bdaed0ab54ac632371f.zip",
        convert=converters.convert_ml1m,
        digests={"candidates": ML1M_CANDIDATES},
        counts=converters.count_ml1m,
        expected={"training pairs": 994169, "users": 6040, "films": 3705},
    ),
}
