import gzip
import hashlib
import http.server
import io
import re
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pooch
import pytest
from PIL import Image

from lepton_utils import converters, datasets
from lepton_utils.__main__ import main
from lepton_utils.datasets import DATASETS, DataError, digest, fetch, load

ROOT = Path(__file__).parent.parent
COUNT, SIDE = 10, 256


def draw_nuclei():
    """A stand-in for the public set: images, label maps, ids in sorted order."""
    rng = np.random.default_rng(0)
    ids = sorted(hashlib.sha256(bytes([i])).hexdigest() for i in range(COUNT))
    labels = np.zeros((COUNT, SIDE, SIDE), np.uint8)
    labels[:, 10:40, 20:60], labels[:, 100:120, 5:25] = 1, 2
    gray = 40 * labels + rng.integers(0, 5, (COUNT, 1, 1), np.uint8)
    return np.repeat(gray[..., None], 3, axis=-1), labels, np.array(ids)


def write_png(archive, name, pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    archive.writestr(name, buffer.getvalue())


def zip_nuclei():
    """The stand-in as the official download has it, plus an image of another size."""
    images, labels, ids = draw_nuclei()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for image, label, name in zip(images, labels, ids, strict=True):
            opaque = np.full((SIDE, SIDE, 1), 255, np.uint8)
            rgba = np.concatenate([image, opaque], axis=-1)
            write_png(archive, f"{name}/images/{name}.png", rgba)
            for number in (1, 2):
                mask = np.uint8(255 * (label == number))
                write_png(archive, f"{name}/masks/{number}.png", mask)
        write_png(archive, "other/images/other.png", np.zeros((8, 9, 3), np.uint8))
        write_png(archive, "other/masks/1.png", np.zeros((8, 9), np.uint8))
    return buffer.getvalue()


def write_jpeg(archive, name, level, size=(640, 480)):
    buffer = io.BytesIO()
    Image.new("RGB", size, (level, 0, 9)).save(buffer, "JPEG")
    archive.writestr(name, buffer.getvalue())


def annotate(*objects):
    """An annotation with (name, xmin, ymin, xmax, ymax) for each object."""
    edges = "xmin", "ymin", "xmax", "ymax"
    text = ""
    for name, *box in objects:
        pairs = zip(edges, box, strict=False)
        inner = "".join(f"<{edge}>{value}</{edge}>" for edge, value in pairs)
        text += f"<object><name>{name}</name><bndbox>{inner}</bndbox></object>"
    return f"<annotation>{text}</annotation>"


def zip_bccd(size=(640, 480), second=None, top="BCCD_Dataset-master"):
    """Three blood images as the official archive has them, one for each list."""
    flat = "RBC", 9, 9, 9, 9
    texts = [annotate(("RBC", 10, 20, 30, 60), flat), annotate(("WBC", 2, 4, 6, 8))]
    texts.append(annotate(("Platelets", 0, 0, 7, 9), ("RBC", 1, 2, 3, 4)))
    texts[1] = second or texts[1]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(f"{top}/README.md", "# Blood")
        for i, part in enumerate(("test", "train", "val")):
            archive.writestr(f"{top}/BCCD/ImageSets/Main/{part}.txt", f"Blood_{i}\n")
            archive.writestr(f"{top}/BCCD/Annotations/Blood_{i}.xml", texts[i])
            write_jpeg(archive, f"{top}/BCCD/JPEGImages/Blood_{i}.jpg", 90 + i, size)
    return buffer.getvalue()


def zip_fashion(count=4):
    """Clothes as in the official archive: packed IDX files, their values 0 to 255."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for part, shift in ("train", 0), ("t10k", 50):
            images = np.arange(count, dtype=np.uint8).repeat(28 * 28) + np.uint8(shift)
            for name, header, values in (
                ("images-idx3-ubyte", 16, images.tobytes()),
                ("labels-idx1-ubyte", 8, bytes(range(count))),
            ):
                packed = gzip.compress(bytes(header) + values)
                archive.writestr(f"master/data/fashion/{part}-{name}.gz", packed)
    return buffer.getvalue()


ARCHIVE = zip_nuclei()
DAMAGED = ARCHIVE[:2000] + bytes(500) + ARCHIVE[2500:]


RATINGS = "2\t1\t5\t30\n1\t3\t4\t10\n1\t2\t1\t20\n3\t1\t2\t20\n2\t2\t3\t5\n"


def zip_texts(texts):
    """Zip a dict: name -> text."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in texts.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def ml1m_texts(first=0):
    """Three users, five films, one left out and two others each, as in the original."""
    folder = "neural_collaborative_filtering-0/Data/ml-1m."
    rows = {"train.rating": [(1, 2), (0, 4), (0, 1), (2, 3)]}
    rows["test.rating"] = [(first, 0), (1, 1), (2, 2)]
    texts = {
        folder + name: "".join(f"{u}\t{i}\t5\t978824268\n" for u, i in pairs)
        for name, pairs in rows.items()
    }
    others = "(0,0)\t2\t3\n(1,1)\t3\t4\n(2,2)\t0\t1\n"
    return texts | {folder + "test.negative": others}


class Handler(http.server.BaseHTTPRequestHandler):
    """Answer as the path says: well, not at all, or only in part."""

    def do_GET(self):
        getattr(self, "answer_" + self.path.strip("/"))()

    def answer(self, body, length=None, status=200):
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)

    def answer_good(self):
        self.answer(ARCHIVE, len(ARCHIVE))

    def answer_ml100k(self):
        self.answer(zip_texts({"ml-100k/u.data": RATINGS}))

    def answer_ml1m(self):
        self.answer(zip_texts(ml1m_texts()))

    def answer_ml1m_disorder(self):
        self.answer(zip_texts(ml1m_texts(first=1)))

    def answer_bccd(self):
        self.answer(zip_bccd())

    def answer_fashion(self):
        self.answer(zip_fashion())

    def answer_damaged(self):
        self.answer(DAMAGED, len(DAMAGED))

    def answer_page(self):
        self.answer(b"<html>moved</html>")

    def answer_missing(self):
        self.answer(b"", 0, status=404)

    def answer_truncated(self):
        self.answer(ARCHIVE[: len(ARCHIVE) // 2], len(ARCHIVE))

    def answer_truncated_unnoticed(self):
        self.answer(ARCHIVE[: len(ARCHIVE) // 2])

    def answer_silent(self):
        self.server.stopping.wait(5)

    def answer_silent_half_way(self):
        self.answer(ARCHIVE[: len(ARCHIVE) // 2], len(ARCHIVE))
        self.wfile.flush()
        self.server.stopping.wait(5)

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *arguments):
        """A client that hangs up is part of the tests."""


@pytest.fixture
def server():
    with Server(("127.0.0.1", 0), Handler) as server:
        server.stopping = threading.Event()
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.stopping.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LEPTON_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("LEPTON_DATA", raising=False)
    monkeypatch.setattr(datasets, "TIMEOUT", (9, 9))
    return tmp_path / "cache"


@pytest.fixture
def stand_in(monkeypatch, cache):
    """Return a function that puts the stand-in into the table, with changes."""
    images, labels, ids = draw_nuclei()
    arrays = {"images": images, "labels": labels, "ids": ids}
    row = replace(
        DATASETS["nuclei"],
        shapes={key: (array.shape, str(array.dtype)) for key, array in arrays.items()},
        digests={"images": digest(images), "ids": digest(ids)},
        expected=converters.count_nuclei(arrays),
    )

    def enter(**changes):
        monkeypatch.setitem(DATASETS, "nuclei", replace(row, **changes))

    return enter


def write_local(folder):
    """Write the stand-in's local form; return its SHA-256."""
    images, labels, ids = draw_nuclei()
    path = folder / converters.NUCLEI_FILE
    path.parent.mkdir(parents=True)
    np.savez_compressed(path, images=images, labels=labels, ids=ids)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def files_in(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


# load


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"one of cells, nuclei, .*ml-1m, got 'celsl'"):
        load("celsl")


def test_cells_are_split_800_to_200_and_belong_to_the_caller():
    (x_train, y_train), (x_test, y_test) = load("cells")
    assert x_train.shape == (800, 128, 128, 3) and x_test.shape == (200, 128, 128, 3)
    assert y_train.shape == (800, 128, 128) and y_test.shape == (200, 128, 128)
    assert {a.dtype for a in (x_train, y_train, x_test, y_test)} == {np.dtype("uint8")}
    before = x_train[0].copy()
    x_train[0] = 0
    assert np.array_equal(load("cells")[0][0][0], before)


def test_a_missing_set_names_the_command_and_the_folder(cache, monkeypatch):
    message = "python -m lepton_utils fetch nuclei.*LEPTON_DATA.*dsb2018_256.npz"
    with pytest.raises(DataError, match=message):
        load("nuclei")
    monkeypatch.setenv("LEPTON_DATA", "no_such_folder")
    with pytest.raises(DataError, match=r"LEPTON_DATA = .*no_such_folder"):
        load("nuclei")


def test_the_data_folder_is_used_before_the_cache(stand_in, cache, monkeypatch):
    stick = cache.parent / "stick"
    stand_in(files={converters.NUCLEI_FILE: write_local(stick)})
    write_local(cache)
    monkeypatch.setenv("LEPTON_DATA", str(stick))
    assert datasets.find_folder("nuclei") == stick
    (x_train, y_train), (x_test, y_test) = load("nuclei")
    assert len(x_train) == len(y_train) == 8 and len(x_test) == len(y_test) == 2
    monkeypatch.setenv("LEPTON_DATA", str(stick / "empty"))
    assert datasets.find_folder("nuclei") == cache


def test_a_changed_file_is_refused(stand_in, cache, monkeypatch):
    good = write_local(cache)
    stand_in(files={converters.NUCLEI_FILE: good})
    path = cache / converters.NUCLEI_FILE
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    got = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(DataError, match=f"{path}.*{got}, expected {good}"):
        load("nuclei")


def test_arrays_of_other_shapes_are_refused(stand_in, cache):
    shapes = {"images": ((9, 9), "uint8"), "labels": ((COUNT, SIDE, SIDE), "uint8")}
    stand_in(files={converters.NUCLEI_FILE: write_local(cache)}, shapes=shapes)
    message = r"images of nuclei: got \(10, 256, 256, 3\) uint8, expected \(9, 9\)"
    with pytest.raises(DataError, match=message):
        load("nuclei")


def test_the_split_depends_on_the_ids_alone():
    ids = np.array([hashlib.sha256(bytes([i])).hexdigest() for i in range(34)])
    test = DATASETS["nuclei"].split({"ids": ids})
    assert test.sum() == 7
    order = np.random.default_rng(0).permutation(34)
    again = DATASETS["nuclei"].split({"ids": ids[order]})
    assert set(ids[test]) == set(ids[order][again])


@pytest.mark.parametrize(
    ("name", "train", "test"),
    [
        ("nuclei", (267, 256, 256, 3), (67, 256, 256, 3)),
        ("bccd", (292, 240, 320, 3), (72, 240, 320, 3)),
        ("fashion_mnist", (60000, 28, 28), (10000, 28, 28)),
    ],
)
def test_the_public_sets_agree_with_the_table(name, train, test):
    entry, folder = DATASETS[name], datasets.find_folder(name)
    if folder is None:
        pytest.skip(f"{name} is not on this machine")
    (x_train, _), (x_test, _) = load(name)
    assert x_train.shape == train and x_test.shape == test
    datasets.verify(name, entry, entry.read(folder))


@pytest.mark.parametrize("name", DATASETS)
def test_every_row_is_complete(name):
    entry = DATASETS[name]
    assert entry.title and entry.origin and entry.licence and entry.shapes
    if entry.make is None:
        assert entry.url.startswith("https://") and entry.files
        assert entry.convert and entry.read and entry.digests
        assert all(
            re.fullmatch("[0-9a-f]{64}", value) for value in entry.files.values()
        )
        assert bool(entry.counts) == bool(entry.expected)


# fetch


def test_fetch_converts_verifies_and_stores(server, stand_in, cache, capfd):
    stand_in(url=f"{server}/good")
    assert fetch("nuclei") == cache
    assert files_in(cache) == ["dsb2018_256.npz", "dsb2018_256.npz.sha256"]
    images, labels, ids = draw_nuclei()
    arrays = converters.read_nuclei(cache)
    assert np.array_equal(arrays["images"], images)
    assert np.array_equal(arrays["labels"], labels)
    assert np.array_equal(arrays["ids"], ids)
    (x_train, _), (x_test, _) = load("nuclei")
    assert len(x_train) == 8 and len(x_test) == 2
    assert capfd.readouterr() == ("", "")  # a progress bar only on a terminal
    fetch("nuclei")
    path = cache / converters.NUCLEI_FILE
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(DataError, match="damaged or another version"):
        load("nuclei")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("missing", "the server answered 404"),
        ("truncated", "ended before the whole file had come"),
        ("truncated_unnoticed", "damaged or no longer what it was"),
        ("damaged", "damaged or no longer what it was"),
        ("page", r"File is not a zip file. 18 bytes came"),
        ("silent", r"no connection within 0.3 s or no data for 0.3 s"),
        ("silent_half_way", r"no connection within 0.3 s or no data for 0.3 s"),
    ],
)
def test_a_failed_download_leaves_what_was_there(
    server, stand_in, cache, monkeypatch, path, message
):
    stand_in(url=f"{server}/good")
    fetch("nuclei")
    before = (cache / converters.NUCLEI_FILE).read_bytes()
    stand_in(url=f"{server}/{path}")
    if "silent" in path:
        monkeypatch.setattr(datasets, "TIMEOUT", (0.3, 0.3))
    start = time.monotonic()
    with pytest.raises(DataError, match=message) as caught:
        fetch("nuclei")
    assert time.monotonic() - start < 4.5
    assert f"{server}/{path}" in str(caught.value)
    assert "Nothing was kept" in str(caught.value)
    assert files_in(cache) == ["dsb2018_256.npz", "dsb2018_256.npz.sha256"]
    assert (cache / converters.NUCLEI_FILE).read_bytes() == before
    load("nuclei")


def test_a_terminal_sees_a_progress_bar(server, stand_in, cache, monkeypatch, capfd):
    pytest.importorskip("tqdm")
    stand_in(url=f"{server}/good")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    fetch("nuclei")
    assert "100%" in capfd.readouterr().err


def test_offline_says_what_else_helps(stand_in, cache):
    with Server(("127.0.0.1", 0), Handler) as closed:
        port = closed.server_port
    stand_in(url=f"http://127.0.0.1:{port}/good")
    with pytest.raises(DataError, match=r"offline\?\)\. Nothing was kept.*LEPTON_DATA"):
        fetch("nuclei")
    assert files_in(cache) == []


def test_a_published_hash_is_compared(server, stand_in, cache):
    good = hashlib.sha256(ARCHIVE).hexdigest()
    stand_in(url=f"{server}/good", url_sha256=good)
    fetch("nuclei")
    stand_in(url=f"{server}/damaged", url_sha256=good)
    got = hashlib.sha256(DAMAGED).hexdigest()
    with pytest.raises(DataError, match=f"SHA-256 {got}, expected {good}"):
        fetch("nuclei")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"digests": {"images": "0" * 64}}, "images of nuclei .* expected 0000"),
        (
            {"expected": {"nuclei": 22, "foreground pixels": 16000}},
            "20 nuclei, exp.* 22",
        ),
        (
            {"shapes": {"images": ((1,), "uint8")}},
            r"images of nuclei: .*expected \(1,\)",
        ),
    ],
)
def test_other_contents_are_refused(server, stand_in, cache, changes, message):
    stand_in(url=f"{server}/good", **changes)
    with pytest.raises(DataError, match=message):
        fetch("nuclei")
    assert files_in(cache) == []


def test_counts_may_differ_within_the_tolerance(server, stand_in, cache):
    stand_in(url=f"{server}/good", expected={"nuclei": 21, "foreground pixels": 16100})
    fetch("nuclei")


def test_an_interrupted_download_leaves_nothing(server, stand_in, cache, monkeypatch):
    def interrupt(self, url, path, *_):
        Path(path).write_bytes(ARCHIVE[:100])
        raise KeyboardInterrupt

    stand_in(url=f"{server}/good")
    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", interrupt)
    assert main(["fetch", "nuclei"]) == 1
    assert files_in(cache) == []


def test_an_unwritable_cache_is_named(server, stand_in, cache, monkeypatch):
    cache.write_text("a file where a folder should be")
    stand_in(url=f"{server}/good")
    for folder in (cache, cache / "below"):
        monkeypatch.setenv("LEPTON_CACHE", str(folder))
        with pytest.raises(
            DataError, match=f"{folder} cannot be written.*LEPTON_CACHE"
        ):
            fetch("nuclei")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda z: write_png(z, "b/masks/2.png", np.zeros((8, 8), np.uint8)),
            "as large",
        ),
        (lambda z: z.writestr("b/masks/2.png", b"\x89PNG\r\n\x1a\n"), "not a readable"),
        (lambda z: z.writestr("c/masks/1.png", b""), "list index out of range"),
        (
            lambda z: z.writestr("b/masks/2.png", bytes(2**20)),
            "larger than 1,000 bytes",
        ),
    ],
)
def test_a_strange_archive_is_refused(tmp_path, monkeypatch, change, message):
    square = np.zeros((SIDE, SIDE), np.uint8)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        write_png(archive, "b/images/b.png", square)
        write_png(archive, "b/masks/1.png", square)
        change(archive)
    monkeypatch.setattr(converters, "MAX_MEMBER", 1000)
    with pytest.raises(converters.DAMAGE, match=message):
        converters.convert_nuclei(tmp_path / "a.zip", tmp_path)


def test_an_archive_without_images_of_the_size_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        write_png(archive, "b/images/b.png", np.zeros((8, 8), np.uint8))
    with pytest.raises(ValueError, match="no images of 256 x 256"):
        converters.convert_nuclei(tmp_path / "a.zip", tmp_path)


def test_the_digest_tells_values_shapes_and_types_apart():
    array = np.arange(6, dtype=np.uint8)
    others = [array + 1, array.reshape(2, 3), array.astype("int16"), array.astype(str)]
    assert len({digest(a) for a in [array, *others]}) == 5
    assert digest(array[::-1][::-1]) == digest(array)
    assert digest(array.astype(">i4")) == digest(array.astype("<i4"))


# MovieLens


def test_ratings_are_fetched_and_split_by_time(server, cache, monkeypatch):
    pairs = np.array([[1, 0], [0, 2], [0, 1], [2, 0], [1, 1]], np.int32)
    row = replace(
        DATASETS["ml-100k"],
        url=f"{server}/ml100k",
        shapes={"pairs": ((5, 2), "int32"), "ratings": ((5,), "uint8")},
        digests={"pairs": digest(pairs)},
    )
    monkeypatch.setitem(DATASETS, "ml-100k", row)
    fetch("ml-100k")
    (x_train, y_train), (x_test, y_test) = load("ml-100k")
    assert np.array_equal(x_train, pairs[1:]) and y_train.tolist() == [4, 1, 2, 3]
    assert x_test.tolist() == [[1, 0]] and y_test.tolist() == [5]
    monkeypatch.setitem(DATASETS, "ml-100k", replace(row, url=f"{server}/good"))
    with pytest.raises(DataError, match=r"u\.data"):
        fetch("ml-100k")


def test_left_out_films_are_fetched_with_their_others(server, cache, monkeypatch):
    candidates = np.array([[0, 2, 3], [1, 3, 4], [2, 0, 1]], np.int32)
    row = replace(
        DATASETS["ml-1m"],
        url=f"{server}/ml1m",
        shapes={"pairs": ((13, 2), "int32"), "labels": ((13,), "uint8")},
        digests={"candidates": digest(candidates)},
        expected={"training pairs": 4, "users": 3, "films": 4},
    )
    monkeypatch.setitem(DATASETS, "ml-1m", row)
    fetch("ml-1m")
    (x_train, y_train), (x_test, y_test) = load("ml-1m")
    assert x_train.tolist() == [[0, 1], [0, 4], [1, 2], [2, 3]] and y_train.all()
    assert np.array_equal(x_test[:, 1].reshape(3, 3), candidates)
    assert x_test[:, 0].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert y_test.reshape(3, 3).tolist() == [[1, 0, 0]] * 3
    for path, message in (("ml1m_disorder", "each user once"), ("good", "unpack")):
        changed = replace(row, url=f"{server}/{path}")
        monkeypatch.setitem(DATASETS, "ml-1m", changed)
        with pytest.raises(DataError, match=message):
            fetch("ml-1m")


@pytest.mark.parametrize(
    ("convert", "texts"),
    [
        (converters.convert_ml100k, {"ml-100k/u.data": RATINGS}),
        (converters.convert_ml1m, ml1m_texts()),
    ],
)
def test_a_huge_member_is_refused(tmp_path, monkeypatch, convert, texts):
    (tmp_path / "a.zip").write_bytes(zip_texts(texts))
    monkeypatch.setattr(converters, "MAX_MEMBER", 10)
    with pytest.raises(ValueError, match="larger than 10 bytes"):
        convert(tmp_path / "a.zip", tmp_path)


# Blood cells, clothes


def test_blood_cells_are_fetched_halved_in_the_official_order(
    server, cache, monkeypatch
):
    objects = np.zeros((3, 2, 5), np.float32)
    objects[..., 4] = -1
    objects[0, 0] = 2, 1, 4, 3, 1
    objects[1] = [0, 0, 4.5, 3.5, 2], [1, 0.5, 2, 1.5, 0]
    objects[2, 0] = 10, 5, 30, 15, 0
    names = np.array(["Blood_1", "Blood_2", "Blood_0"])
    row = replace(
        DATASETS["bccd"],
        url=f"{server}/bccd",
        shapes={
            "images": ((3, 240, 320, 3), "uint8"),
            "objects": ((3, 2, 5), "float32"),
        },
        digests={"objects": digest(objects), "names": digest(names)},
        counts=None,
        split=lambda arrays: np.array([False, False, True]),
    )
    monkeypatch.setitem(DATASETS, "bccd", row)
    fetch("bccd")
    (x_train, y_train), (x_test, y_test) = load("bccd")
    assert np.array_equal(y_train, objects[:2]) and np.array_equal(y_test, objects[2:])
    red = [int(image[0, 0, 0]) for image in (*x_train, *x_test)]
    assert np.allclose(red, [91, 92, 90], atol=3)
    assert "README.md" not in "".join(
        zipfile.ZipFile(cache / "bccd/bccd.zip").namelist()
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": (64, 48)}, r"has \(64, 48\) pixels"),
        ({"second": "<annotation>"}, "is not an annotation"),
        ({"second": annotate(("RBC",))}, "is not an annotation"),
        ({"second": annotate(("cat", 1, 1, 2, 2))}, "not in tuple"),
        ({"top": "BCCD_Dataset-master/more"}, None),
    ],
)
def test_strange_blood_cells_are_refused(tmp_path, changes, message):
    (tmp_path / "a.zip").write_bytes(zip_bccd(**changes))
    converters.convert_bccd(tmp_path / "a.zip", tmp_path)
    if message is None:
        assert len(converters.read_bccd(tmp_path)["images"]) == 3
        return
    with pytest.raises(ValueError, match=message):
        converters.read_bccd(tmp_path)


def test_clothes_are_fetched_in_an_order_that_no_file_sets(
    server, cache, monkeypatch, tmp_path
):
    monkeypatch.setattr(converters, "FASHION_PARTS", (("train", 4), ("t10k", 4)))
    row = replace(
        DATASETS["fashion_mnist"],
        url=f"{server}/fashion",
        shapes={"images": ((8, 28, 28), "uint8"), "labels": ((8,), "uint8")},
        split=lambda arrays: np.arange(8) >= 4,
        digests={},
    )
    monkeypatch.setitem(DATASETS, "fashion_mnist", row)
    fetch("fashion_mnist")
    (x_train, y_train), (x_test, y_test) = load("fashion_mnist")
    assert np.array_equal(x_train[:, 3, 4], y_train) and sorted(y_train) == [0, 1, 2, 3]
    assert np.array_equal(x_test[:, 3, 4], y_test + 50)
    path = tmp_path / "fashion_mnist" / "fashion_mnist.npz"
    path.parent.mkdir()
    turned = {
        f"x_{part}": x[::-1] for part, x in (("train", x_train), ("test", x_test))
    }
    turned |= {
        f"y_{part}": y[::-1] for part, y in (("train", y_train), ("test", y_test))
    }
    np.savez(path, **turned)
    assert np.array_equal(converters.read_fashion(tmp_path)["labels"][:4], y_train)
    (tmp_path / "a.zip").write_bytes(zip_fashion(count=3))
    with pytest.raises(ValueError, match="does not hold 3,136 values"):
        converters.convert_fashion(tmp_path / "a.zip", tmp_path / "new")


# command line


def test_the_command_line_explains_without_a_traceback(cache, stand_in, capsys):
    assert main(["fetch", "celsl"]) == 1
    assert "error: name must be one of cells, nuclei" in capsys.readouterr().err
    stand_in(url="http://127.0.0.1:9/closed")
    assert main(["fetch", "nuclei"]) == 1
    assert "cannot be reached" in capsys.readouterr().err


def test_the_command_line_fetches_and_lists(server, cache, stand_in, capsys):
    stand_in(url=f"{server}/good")
    assert main(["fetch", "nuclei"]) == 0
    assert f"nuclei is verified and stored in {cache}" in capsys.readouterr().out
    assert main(["fetch", "cells"]) == 0
    assert "needs no download" in capsys.readouterr().out
    assert main(["fetch"]) == 0
    assert re.search("cells +embedded.*\nnuclei +public", capsys.readouterr().out)


# files of data/


def test_an_embedded_file_is_found_in_a_checkout():
    assert datasets.embedded_file("README.md").read_text().startswith("# Data")
    with pytest.raises(ValueError, match=r"a file of data/, got 'none.csv'"):
        datasets.embedded_file("none.csv")


def test_an_embedded_file_is_found_in_a_wheel(tmp_path):
    source, wheels, installed = (
        tmp_path / name for name in ("source", "wheels", "site")
    )
    source.mkdir()
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    for name in ("lepton_utils", "data"):
        shutil.copytree(
            ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    command = [*pip, "--no-index", "--quiet", "--wheel-dir", wheels, source]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = wheels.iterdir()
    with zipfile.ZipFile(wheel) as archive:
        assert "lepton_utils/data/README.md" in archive.namelist()
        archive.extractall(installed)
    script = (
        "import lepton_utils.datasets as d; print(d.__file__); "
        "print(d.embedded_file('README.md').read_text(encoding='utf8'))"
    )
    output = subprocess.run(
        [sys.executable, "-c", script],
        cwd=installed,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert output.startswith(str(installed / "lepton_utils")) and "# Data" in output
