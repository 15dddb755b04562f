"""Data sets: one table, one way to load them, one way to download the public ones.

A chapter runs on an embedded set, which is generated or lies in the package; under
another name it runs on the public set of the same task: `load` returns arrays of the
same kind. A further set is a further row of `DATASETS`.
"""

import contextlib
import hashlib
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from pathlib import Path

import numpy as np
import platformdirs

from lepton_utils import converters
from lepton_utils.cells import make_cells

TIMEOUT = (10, 30)  # s: to connect, and between two pieces of an answer
NOT_KEPT = "Nothing was kept; try again later"


class DataError(RuntimeError):
    """A data set is missing, damaged or out of reach; the message says what to do."""


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


def load(name):
    """Load a data set, split into training and test examples.

    A public set is looked for in the folder named by ``LEPTON_DATA``, then among what
    ``python -m lepton_utils fetch NAME`` downloaded; its files are verified by SHA-256.

    Args:
        name: str, "cells" (embedded: 800 + 200 synthetic microscope images, 128 x 128)
            or "nuclei" (public: 267 + 67 fluorescence images of BBBC038, 256 x 256);
            "ml-100k" (public: 80,000 + 20,000 ratings of films, the later ones for
            testing), "ml-1m" (public: 994,169 rated films, and 100 candidates for each
            of 6,040 users).

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: images (n, height, width, 3) uint8 and
        labels (n, height, width) uint8 with 0 = background, 1 ... = the single cells;
        or pairs (n, 2) int32 of a user and a film, and ratings or labels (n,) uint8.
        The arrays are the caller's own.

    Raises:
        ValueError: if there is no such data set; the message lists those that exist.
        DataError: if its files are absent or not as expected; says what helps.
    """
    entry = find_entry(name)
    arrays = _generate(name) if entry.make else _read_local(name, entry)
    x, y = (arrays[key] for key in list(entry.shapes)[:2])
    test = entry.split(arrays)
    return (x[~test], y[~test]), (x[test], y[test])


def fetch(name):
    """Download a public data set from its official address into the cache.

    The download is converted to the local form and verified in a scratch folder, and
    moved into place only then: what was interrupted or damaged is never used.

    Args:
        name: str, name of a public data set.

    Returns:
        Path of the cache folder that now holds it; None if the set is embedded.

    Raises:
        ValueError: if there is no such data set.
        DataError: if it cannot be downloaded, stored, or is not what was expected.
    """
    entry = find_entry(name)
    if entry.make:
        return None
    cache = cache_folder()
    with _writable(cache), tempfile.TemporaryDirectory(dir=cache) as scratch:
        archive = _download(entry, Path(scratch) / "download")
        folder = Path(scratch) / "local"
        try:
            entry.convert(archive, folder)
            arrays = entry.read(folder)
        except converters.DAMAGE as error:
            raise DataError(
                f"the download of {name} is damaged or no longer what it was: {error}. "
                f"{archive.stat().st_size:,} bytes came from {entry.url}. {NOT_KEPT}"
            ) from error
        verify(name, entry, arrays)
        for file in entry.files:
            _install(folder / file, cache / file)
    return cache


def find_entry(name):
    """Look a data set up in the table; a ValueError lists the names that exist."""
    if name not in DATASETS:
        raise ValueError(f"name must be one of {', '.join(DATASETS)}, got {name!r}")
    return DATASETS[name]


def find_folder(name):
    """Say where `load` would take a data set from.

    Returns:
        "generated" for an embedded set, the Path of the folder for a public one, None
        if its files are neither below ``LEPTON_DATA`` nor in the cache.
    """
    entry = find_entry(name)
    if entry.make:
        return "generated"
    for folder in filter(None, (data_folder(), cache_folder())):
        if all((folder / file).is_file() for file in entry.files):
            return folder
    return None


def data_folder():
    """Folder named by ``LEPTON_DATA``, made absolute; None if it is not set."""
    given = os.environ.get("LEPTON_DATA")
    return Path(given).expanduser().absolute() if given else None


def cache_folder():
    """Folder for downloads: ``LEPTON_CACHE``, or the system's place for caches."""
    given = os.environ.get("LEPTON_CACHE")
    return (
        Path(given or platformdirs.user_cache_dir("lepton-book"))
        .expanduser()
        .absolute()
    )


def embedded_file(name):
    """Find a file of ``data/``: inside an installed wheel, else beside the package.

    Args:
        name: str, path below ``data/``.

    Returns:
        importlib.resources Traversable, with ``open``, ``read_text``, ``read_bytes``.

    Raises:
        ValueError: if there is no such file.
    """
    folder = resources.files("lepton_utils") / "data"
    if not folder.is_dir():
        folder = Path(__file__).resolve().parent.parent / "data"
    if not (folder / name).is_file():
        raise ValueError(f"name must be a file of data/, got {name!r}")
    return folder / name


def digest(array):
    """SHA-256 of an array: of its dtype, shape and values (text as UTF-8)."""
    array = np.asarray(array)
    if array.dtype.kind == "U":
        kind, values = "text", "\n".join(array.ravel()).encode()
    else:
        little = array.astype(array.dtype.newbyteorder("<"))
        kind, values = little.dtype.str, little.tobytes()
    return hashlib.sha256(f"{kind} {array.shape} ".encode() + values).hexdigest()


def verify(name, entry, arrays):
    """Compare a download with what the table says; raise DataError if it differs.

    Shapes, dtypes and digests must agree, counts within the tolerance of the row.
    """
    _check_shapes(name, entry, arrays)
    for key, expected in entry.digests.items():
        if (got := digest(arrays[key])) != expected:
            raise DataError(
                f"the {key} of {name} from {entry.url} have the digest {got}, "
                f"expected {expected}. {NOT_KEPT}"
            )
    for key, got in (entry.counts(arrays) if entry.counts else {}).items():
        expected = entry.expected[key]
        if abs(got - expected) > entry.tolerance * expected:
            raise DataError(
                f"{name} from {entry.url} has {got:,} {key}, expected {expected:,} "
                f"within {entry.tolerance:.0%}. {NOT_KEPT}"
            )


# Local files


@lru_cache(maxsize=1)
def _generate(name):
    return DATASETS[name].make()


def _read_local(name, entry):
    folder = find_folder(name)
    if folder is None:
        raise DataError(
            f"{name} is not on this machine. Run `python -m lepton_utils fetch {name}` "
            f"once (it needs a network), or set LEPTON_DATA to a folder that holds "
            f"{', '.join(entry.files)}. Looked in: LEPTON_DATA = "
            f"{data_folder() or 'not set'}; cache = {cache_folder()}"
        )
    for file, expected in entry.files.items():
        _check_sha256(name, folder / file, expected)
    try:
        arrays = entry.read(folder)
    except converters.DAMAGE as error:
        raise DataError(f"{name} in {folder} cannot be read: {error}") from error
    _check_shapes(name, entry, arrays)
    return arrays


def _check_sha256(name, path, expected):
    """Compare with the table, or with what `fetch` noted beside a file it wrote."""
    note = path.with_name(path.name + ".sha256")
    accepted = [expected, note.read_text().strip()] if note.is_file() else [expected]
    if (got := _sha256(path)) not in accepted:
        raise DataError(
            f"{path} is damaged or another version: SHA-256 {got}, expected "
            f"{' or '.join(accepted)}. Delete it, then run "
            f"`python -m lepton_utils fetch {name}` or copy the file again"
        )


def _check_shapes(name, entry, arrays):
    for key, (shape, dtype) in entry.shapes.items():
        array = arrays.get(key)
        got = "nothing" if array is None else f"{array.shape} {array.dtype}"
        if got != f"{shape} {dtype}":
            raise DataError(f"{key} of {name}: got {got}, expected {shape} {dtype}")


def _install(source, target):
    """Move a verified file into place and note its SHA-256 beside it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    note = source.with_name(source.name + ".sha256")
    note.write_text(_sha256(source) + "\n")
    os.replace(source, target)
    os.replace(note, target.with_name(note.name))


def _sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# Download


@contextlib.contextmanager
def _writable(cache):
    """Make the cache folder; turn any failure to write into a message."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise DataError(
            f"the cache folder {cache} cannot be written ({error.strerror or error}); "
            f"set LEPTON_CACHE to a folder that can, with enough space"
        ) from error


def _download(entry, path):
    """Download to a path in a scratch folder; return the path."""
    with warnings.catch_warnings():  # in a notebook, its progress bar misses widgets
        warnings.simplefilter("ignore")
        import pooch
    import requests

    pooch.get_logger().setLevel("WARNING")
    answers = []
    transfer = pooch.HTTPDownloader(
        timeout=TIMEOUT,
        chunk_size=2**16,
        progressbar=_wants_progress(),
        hooks={"response": lambda answer, **_: answers.append(answer)},
    )
    try:
        transfer(entry.url, str(path), None)
    except requests.exceptions.RequestException as error:
        raise DataError(_network_message(entry, error)) from error
    finally:
        for answer in answers:
            answer.close()  # pooch leaves that to the garbage collection
    got = _sha256(path)
    if entry.url_sha256 and got != entry.url_sha256:
        raise DataError(
            f"{entry.url} was damaged on its way or has changed: SHA-256 {got}, "
            f"expected {entry.url_sha256}. {NOT_KEPT}"
        )
    return path


def _network_message(entry, error):
    """Say what went wrong between here and the server, and what helps."""
    response = getattr(error, "response", None)
    text = str(error).lower()
    if response is not None:
        what = f"the server answered {response.status_code} {response.reason}"
    elif "timed out" in text:
        what = f"no connection within {TIMEOUT[0]} s or no data for {TIMEOUT[1]} s"
    elif "incompleteread" in text or "broken" in text or "reset" in text:
        what = "the connection ended before the whole file had come"
    else:
        what = "the server cannot be reached (is this machine offline?)"
    return (
        f"{entry.url}: {what}. {NOT_KEPT}, see {entry.origin}, or set LEPTON_DATA to a "
        f"folder that holds {', '.join(entry.files)}"
    )


def _wants_progress():
    with contextlib.suppress(ImportError):
        import tqdm  # noqa: F401  (pooch draws the bar with it)

        return sys.stderr.isatty()
    return False


# The table


def _make_cells():
    images, labels = make_cells()
    return {"images": images, "labels": labels}


def _last_fifth(arrays):
    count = len(arrays["images"])
    return np.arange(count) >= count - count // 5


def _fifth_by_id(arrays):
    """Take every fifth example in the order of SHA-256(id), blind to the images."""
    hashes = [hashlib.sha256(name.encode()).hexdigest() for name in arrays["ids"]]
    test = np.zeros(len(hashes), bool)
    test[np.argsort(hashes)[::5]] = True
    return test


NUCLEI_SHA256 = "9d2b07338639f3f09753f06800db5dd0d5f09ce9799182dafffd944fe9e114b1"
NUCLEI_IMAGES = "1cdd082fd1c31e1abcb5ac60f8eebe143e893d94ef4d52c003a40f7a8c5a4621"
NUCLEI_IDS = "32bd3c1ac6d3f84b51c914249681d15d4903e599039a8515ef32714fee19f3e4"
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
        split=_last_fifth,
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
