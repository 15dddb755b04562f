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
