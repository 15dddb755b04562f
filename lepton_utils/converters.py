"""Public data sets: from the official download to the local form, and on to arrays.

For each set one function that converts (download, folder), one that reads (folder),
and, where versions differ a little, one that counts (arrays). The table of the sets is
in `lepton_utils.datasets`.
"""

import io
import zipfile
import zlib
from collections import defaultdict
from pathlib import PurePosixPath

import numpy as np

NUCLEI_FILE = "dsb2018/dsb2018_256.npz"
MAX_MEMBER = 64 * 2**20  # bytes; a larger file inside an archive is refused

# What reading a damaged file may raise.
DAMAGE = (
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    LookupError,
    ArithmeticError,
    RuntimeError,
)

# nuclei: BBBC038, the images of 256 x 256 pixels


def read_nuclei(folder):
    """Read the local form: images, labels, ids."""
    with np.load(folder / NUCLEI_FILE, allow_pickle=False) as file:
        return dict(file)


def convert_nuclei(archive, folder, side=256):
    """Turn ID/images/ID.png and ID/masks/*.png into arrays; leave other sizes out."""
    found = {}
    with zipfile.ZipFile(archive) as file:
        for name, parts in sorted(_group_by_id(file).items()):
            image = _read_png(file, parts["images"][0], "RGB", side)
            if image is None:
                continue  # one of the images of other sizes, with its masks
            labels = np.zeros((side, side), np.uint8)
            for number, part in enumerate(sorted(parts["masks"]), start=1):
                mask = _read_png(file, part, "L", side)
                if mask is None:
                    raise ValueError(f"{part} in it is not as large as its image")
                labels[mask > 0] = number
            found[name] = image, labels
    if not found:
        raise ValueError(f"no images of {side} x {side} pixels in it")
    images, labels = map(np.stack, zip(*found.values(), strict=True))
    (folder / NUCLEI_FILE).parent.mkdir(parents=True)
    ids = np.array(list(found))
    np.savez_compressed(folder / NUCLEI_FILE, images=images, labels=labels, ids=ids)


def _group_by_id(file):
    """Sort the names in the archive into {id: {"images": [...], "masks": [...]}}."""
    groups = defaultdict(lambda: defaultdict(list))
    for name in file.namelist():
        path = PurePosixPath(name)
        if path.suffix == ".png" and len(path.parts) >= 3:
            groups[path.parts[-3]][path.parts[-2]].append(name)
    return groups


def _read_png(file, name, mode, side):
    """Decode one picture of the archive; None if its size is not side x side.

    The size is checked before a pixel is decoded: a decompression bomb stays packed.
    """
    from PIL import Image

    if file.getinfo(name).file_size > MAX_MEMBER:
        raise ValueError(f"{name} in it is larger than {MAX_MEMBER:,} bytes")
    data = io.BytesIO(file.read(name))
    try:
        with Image.open(data, formats=["PNG"]) as picture:
            if picture.size != (side, side):
                return None
            return np.asarray(picture.convert(mode))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{name} in it is not a readable PNG") from error


def count_nuclei(arrays):
    """Count nuclei and their pixels; corrected masks change both a little."""
    labels = arrays["labels"]
    return {
        "nuclei": sum(len(np.unique(label)) - 1 for label in labels),
        "foreground pixels": int(np.count_nonzero(labels)),
    }


# ml-100k: MovieLens, ratings with their time

ML100K_FILE = "ml-100k/u.data"


def read_ml100k(folder):
    """Read the local form: pairs (user, item) from 0, ratings 1-5, times in s."""
    table = np.loadtxt(folder / ML100K_FILE, dtype=np.int64, delimiter="\t", ndmin=2)
    user, item, rating, seconds = table.T
    return {
        "pairs": np.column_stack([user, item]).astype(np.int32) - 1,
        "ratings": rating.astype(np.uint8),
        "times": seconds,
    }


def split_ml100k(arrays):
    """Take the last fifth of the ratings by time, in the file's order where equal."""
    times = arrays["times"]
    test = np.zeros(len(times), bool)
    test[np.argsort(times, kind="stable")[len(times) - len(times) // 5 :]] = True
    return test


def convert_ml100k(archive, folder):
    """Take the table of ratings out of the archive, as it is."""
    with zipfile.ZipFile(archive) as file:
        if file.getinfo(ML100K_FILE).file_size > MAX_MEMBER:
            raise ValueError(f"{ML100K_FILE} in it is larger than {MAX_MEMBER:,} bytes")
        (folder / ML100K_FILE).parent.mkdir(parents=True)
        (folder / ML100K_FILE).write_bytes(file.read(ML100K_FILE))


# ml-1m: MovieLens, one film a user left out, as He et al. (2017) split it

ML1M_FILE = "ml-1m/ncf_ml1m_rebuilt.npz"
ML1M_ORIGINAL = "ml-1m.train.rating", "ml-1m.test.rating", "ml-1m.test.negative"


def read_ml1m(folder):
    """Read the local form: pairs (user, item) from 0, labels 1 where rated, else 0.

    The training pairs, all rated, in the order of their numbers; then for each user
    100 candidates: the film left out, and 99 that he or she did not rate.
    """
    with np.load(folder / ML1M_FILE, allow_pickle=False) as file:
        train = np.column_stack([file["train_user"], file["train_item"]])
        candidates = np.column_stack([file["test_item"], file["test_negatives"]])
    users = np.arange(len(candidates)).repeat(candidates.shape[1])
    test = np.column_stack([users, candidates.ravel()])
    labels = np.zeros(candidates.shape, np.uint8)
    labels[:, 0] = 1
    return {
        "pairs": np.r_[train[np.lexsort(train.T[::-1])], test].astype(np.int32),
        "labels": np.r_[np.ones(len(train), np.uint8), labels.ravel()],
        "candidates": candidates.astype(np.int32),
    }


def split_ml1m(arrays):
    """Take the candidates, which come after the training pairs."""
    first = len(arrays["pairs"]) - arrays["candidates"].size
    return np.arange(len(arrays["pairs"])) >= first


def count_ml1m(arrays):
    """Count the training pairs, and their users and films."""
    train = arrays["pairs"][: -arrays["candidates"].size]
    users, films = (len(np.unique(column)) for column in train.T)
    return {"training pairs": len(train), "users": users, "films": films}


def convert_ml1m(archive, folder):
    """Turn the three files Data/ml-1m.* of the authors' repository into arrays."""
    with zipfile.ZipFile(archive) as file:
        texts = [_read_text(file, name) for name in ML1M_ORIGINAL]
    train, test = (
        np.loadtxt(io.StringIO(text), np.int64, ndmin=2) for text in texts[:2]
    )
    numbers = [line.split("\t")[1:] for line in texts[2].splitlines() if line]
    if not np.array_equal(test[:, 0], np.arange(len(test))):
        raise ValueError("its test part does not hold each user once, in order")
    (folder / ML1M_FILE).parent.mkdir(parents=True)
    np.savez_compressed(
        folder / ML1M_FILE,
        train_user=train[:, 0],
        train_item=train[:, 1],
        test_item=test[:, 1],
        test_negatives=np.array(numbers, np.int64),
    )


def _read_text(file, name):
    """Read a text of the archive, in whichever folder it lies."""
    (path,) = [path for path in file.namelist() if path.endswith(f"/Data/{name}")]
    if file.getinfo(path).file_size > MAX_MEMBER:
        raise ValueError(f"{path} in it is larger than {MAX_MEMBER:,} bytes")
    return file.read(path).decode("ascii")
