"""Data sets: one way to load them, one way to download the public ones.

A chapter runs on an embedded set, which is generated or lies in the package; under
another name it runs on the public set of the same task: `load` returns arrays of the
same kind. The table of the sets is in `lepton_utils.catalog`.
"""

import contextlib
import hashlib
import os
import sys
import tempfile
import warnings
from functools import lru_cache
from importlib import resources
from pathlib import Path

import numpy as np
import platformdirs

from lepton_utils import converters
from lepton_utils.catalog import DATASETS

TIMEOUT = (10, 30)  # s: to connect, and between two pieces of an answer
NOT_KEPT = "Nothing was kept; try again later"


class DataError(RuntimeError):
    """A data set is missing, damaged or out of reach; the message says what to do."""


def load(name):
    """Load a data set, split into training and test examples.

    A public set is looked for in the folder named by ``LEPTON_DATA``, then among what
    ``python -m lepton_utils fetch NAME`` downloaded; its files are verified by SHA-256.

    Args:
        name: str, one of

            - to segment: "cells" (embedded: 800 + 200 synthetic microscope images, 128
              x 128), "nuclei" (public: 267 + 67 fluorescence images, 256 x 256)
            - to detect: "scenes" (embedded: 1,250 + 250, 128 x 128), "bccd" (public:
              292 + 72 images of blood, 240 x 320; the official training list, then the
              87 of the validation list)
            - to classify: "digits" (embedded: 1,438 + 359, 8 x 8, gray levels 0-16),
              "fashion_mnist" (public: 60,000 + 10,000, 28 x 28)
            - to tag: "sentences" (embedded: 40 + 20 of Chinese), "sentences_en" (the
              same in English), "ud_zh_gsd" (public: 4,497 + 500 of Wikipedia in
              traditional Chinese), "ud_en_ewt" (public: 14,545 + 2,077 of the English
              web); the training list, then the 500 or 2,001 of the development list
            - to judge: "intents" (embedded: 560 + 240 messages to a shop, English and
              Chinese; ten intents in the order of their names), "mr" (public: 9,596 +
              1,066 sentences of reviews, 1 = positive), "trec" (public: 5,452 + 500
              questions about 0 a description, 1 an entity, 2 an abbreviation, 3 a
              person, 4 a place, 5 a number)
            - to answer: "faq" (embedded: 270 + 270 questions to a shop, English and
              Chinese; for testing 82 near the words of the first, 24 without an answer,
              82 x 2 in other words), "chatterbot_corpus" (public: 344 + 1,016 pairs
              of small talk)
            - to continue: "manual" (embedded: 460,000 to 520,000 characters of Python's
              own manual, which differs by version), "tinyshakespeare" (public: 1.1
              million); the last tenth for testing
            - to translate: "multi30k" (public: 30,014 + 1,000 captions, English and
              German; the last 1,014 for training are those of the validation list)
            - to hear: "spoken_digits" (embedded: 720 + 240 of a synthesizer, English,
              Mandarin, Cantonese; four voices are for testing), "fsdd" (public: 2,700 +
              300 of six speakers of English)
            - to recommend: "ml-100k" (public: 80,000 + 20,000 ratings of films, the
              later ones for testing), "ml-1m" (public: 994,169 rated films, and 100
              candidates for each of 6,040 users).

    Returns:
        ``(x_train, y_train), (x_test, y_test)``. To segment: images (n, height, width,
        3) uint8 and labels (n, height, width) uint8, 0 = background, 1 ... = the single
        cells. To detect: such images and objects (n, k, 5) float32, rows of top, left,
        bottom, right in px and class, -1 = no object. To classify: images (n, height,
        width) uint8 and labels (n,) uint8. To tag: strings, and for each a string
        "word/TAG word/TAG ...". To judge: strings and labels (n,) uint8. To answer:
        questions and answers, strings, "" if there is none. To continue:
        characters (n,) of "<U1" and the one that follows each. To translate: strings
        and strings. To hear: waves (n, longest) int16 at 8 kHz, zeros behind each, and
        labels (n, 5) int32: digit, voice, language (0 English, 1 Mandarin, 2
        Cantonese), take, samples. To recommend: pairs (n, 2) int32 of a user and a
        film, and ratings or labels (n,) uint8. The arrays are the caller's own.

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
