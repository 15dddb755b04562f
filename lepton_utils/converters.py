"""Public data sets: from the official download to the local form, and on to arrays.

For each set one function that converts (download, folder), one that reads (folder),
and, where versions differ a little, one that counts (arrays). The table of the sets is
in `lepton_utils.catalog`.
"""

import gzip
import hashlib
import io
import zipfile
import zlib
from collections import defaultdict
from pathlib import PurePosixPath
from xml.etree import ElementTree

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

    data = io.BytesIO(read_member(file, name))
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
        table = read_member(file, ML100K_FILE)
    (folder / ML100K_FILE).parent.mkdir(parents=True)
    (folder / ML100K_FILE).write_bytes(table)


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
    return read_member(file, path).decode("ascii")


# bccd: blood cells with boxes

BCCD_FILE = "bccd/bccd.zip"
BCCD_NAMES = "RBC", "WBC", "Platelets"
BCCD_SIZE = 640, 480  # px, width and height of every image


def read_bccd(folder):
    """Read the local form at half size: images, objects, names; train, val, test.

    An object is a row top, left, bottom, right (px of the halved image) and class, an
    index into `BCCD_NAMES`; rows without an object are 0, 0, 0, 0, -1. Boxes without
    area (there are two) are left out.
    """
    with zipfile.ZipFile(folder / BCCD_FILE) as file:
        lists = [f"BCCD/ImageSets/Main/{part}.txt" for part in ("train", "val", "test")]
        names = [n for part in lists for n in read_member(file, part).decode().split()]
        images = [_halve(file, f"BCCD/JPEGImages/{name}.jpg") for name in names]
        found = [_read_boxes(file, f"BCCD/Annotations/{name}.xml") for name in names]
    objects = np.zeros((len(names), max(map(len, found)), 5), np.float32)
    objects[..., 4] = -1
    for rows, boxes in zip(objects, found, strict=True):
        rows[: len(boxes)] = boxes
    return {"images": np.stack(images), "objects": objects, "names": np.array(names)}


def _halve(file, name):
    """Decode one photograph, each pixel the mean of 2 x 2."""
    from PIL import Image

    try:
        with Image.open(
            io.BytesIO(read_member(file, name)), formats=["JPEG"]
        ) as picture:
            if picture.size != BCCD_SIZE:
                raise ValueError(f"{name} in it has {picture.size} pixels")
            return np.asarray(picture.convert("RGB").reduce(2))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{name} in it is not a readable JPEG") from error


def _read_boxes(file, name):
    """Read the rows of one annotation (Pascal VOC), halved."""
    rows = []
    try:
        for found in ElementTree.fromstring(read_member(file, name)).iter("object"):
            label = BCCD_NAMES.index(found.findtext("name"))
            edges = "ymin", "xmin", "ymax", "xmax"
            box = [float(found.findtext(f"bndbox/{edge}")) / 2 for edge in edges]
            if box[0] < box[2] and box[1] < box[3]:
                rows.append([*box, label])
    except (ElementTree.ParseError, TypeError) as error:
        raise ValueError(f"{name} in it is not an annotation: {error}") from error
    return rows


def count_bccd(arrays):
    """Add up the levels of all pixels; another JPEG decoder differs in the last bit."""
    return {"gray levels": int(arrays["images"].sum(dtype=np.int64))}


def convert_bccd(archive, folder):
    """Keep lists, photographs and annotations of the repository's BCCD folder."""
    (folder / BCCD_FILE).parent.mkdir(parents=True)
    with (
        zipfile.ZipFile(archive) as old,
        zipfile.ZipFile(folder / BCCD_FILE, "w") as new,
    ):
        for name in old.namelist():
            path = PurePosixPath(name)
            if "BCCD" in path.parts and path.suffix in (".txt", ".jpg", ".xml"):
                kept = path.parts[path.parts.index("BCCD") :]
                new.writestr("/".join(kept), read_member(old, name))


# fashion_mnist: articles of clothing

FASHION_FILE = "fashion_mnist/fashion_mnist.npz"
FASHION_PARTS = (("train", 60000), ("t10k", 10000))


def read_fashion(folder):
    """Read the local form: images and labels, those for testing last.

    Each part is put in the order of the SHA-256 of its images: as good as shuffled, and
    the same whatever the order in the file.
    """
    images, labels = [], []
    with np.load(folder / FASHION_FILE, allow_pickle=False) as file:
        for part in "train", "test":
            x, y = file[f"x_{part}"], file[f"y_{part}"].astype(np.uint8)
            pairs = zip(x, y, strict=True)
            keys = [(hashlib.sha256(image).digest(), label) for image, label in pairs]
            order = sorted(range(len(x)), key=keys.__getitem__)
            images.append(x[order])
            labels.append(y[order])
    return {"images": np.concatenate(images), "labels": np.concatenate(labels)}


def convert_fashion(archive, folder):
    """Turn data/fashion/*.gz of the authors' repository (IDX files) into arrays."""
    arrays = {}
    with zipfile.ZipFile(archive) as file:
        for (part, count), key in zip(FASHION_PARTS, ("train", "test"), strict=True):
            x = _read_idx(file, f"{part}-images-idx3-ubyte.gz", 16, count * 28 * 28)
            arrays[f"x_{key}"] = x.reshape(count, 28, 28)
            arrays[f"y_{key}"] = _read_idx(
                file, f"{part}-labels-idx1-ubyte.gz", 8, count
            )
    (folder / FASHION_FILE).parent.mkdir(parents=True)
    np.savez_compressed(folder / FASHION_FILE, **arrays)


def _read_idx(file, name, header, size):
    """Unpack one IDX file of bytes, in whichever folder it lies; skip its header."""
    (path,) = [path for path in file.namelist() if path.endswith(f"/{name}")]
    with gzip.open(io.BytesIO(read_member(file, path))) as packed:
        values = packed.read(header + size + 1)
    if len(values) != header + size:
        raise ValueError(f"{path} in it does not hold {size:,} values")
    return np.frombuffer(values, np.uint8, offset=header)


def read_member(file, name):
    """Read one file of the archive, unless it is huge."""
    if file.getinfo(name).file_size > MAX_MEMBER:
        raise ValueError(f"{name} in it is larger than {MAX_MEMBER:,} bytes")
    return file.read(name)
