"""What is handed out: the zip opens elsewhere without a server, the PDF is whole.

Both start from the built book: `make browser` builds it first.
"""

import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PUBLISH = ROOT / "tools" / "publish.py"


def load_publish():
    spec = importlib.util.spec_from_file_location("publish", PUBLISH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def publish(what, output):
    command = [sys.executable, str(PUBLISH), what, "--output", str(output)]
    return subprocess.run(command, capture_output=True, text=True, timeout=900)


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    if not (ROOT / "_build" / "html" / "index.html").exists():
        pytest.skip("the book is not built: make book")
    folder = tmp_path_factory.mktemp("stick")
    done = publish("zip", folder / "book.zip")
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(folder / "book.zip") as archive:
        archive.extractall(folder)
    return folder / "lepton-book"


def test_zip_holds_book_notebooks_data_and_wheel(unpacked):
    for name in ("START.txt", "book/index.html", "data/README.md", "requirements.txt"):
        assert (unpacked / name).is_file(), name
    stored = {path.name for path in (ROOT / "chapters").rglob("[0-9]*.ipynb")}
    assert {path.name for path in unpacked.rglob("*.ipynb")} >= stored
    (wheel,) = unpacked.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "lepton_utils/data/README.md" in names
    assert not list(unpacked.rglob("*checkpoint*"))


def test_zip_is_the_same_twice(unpacked, tmp_path):
    members = {"START.txt": "text", "a/b.txt": ROOT / "LICENSE"}
    module = load_publish()
    module._write_zip(tmp_path / "one.zip", members)
    module._write_zip(tmp_path / "two.zip", dict(reversed(members.items())))
    first, second = (tmp_path / name for name in ("one.zip", "two.zip"))
    assert first.read_bytes() == second.read_bytes()


def test_unpacked_book_opens_without_a_server(unpacked, browser):
    page = browser.new_page()
    faults, requests = [], []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    for path in [unpacked / "book" / "index.html", *chapter_pages(unpacked)]:
        page.goto(path.as_uri(), wait_until="load")
        page.wait_for_function(
            "!document.querySelector('.math') || "
            "document.querySelector('mjx-container')"
        )
    page.close()
    assert faults == []
    assert {url.split(":")[0] for url in requests} <= {"file", "data", "blob"}


def chapter_pages(folder):
    return sorted((folder / "book" / "chapters").rglob("[0-9]*.html"))[:2]


def test_pdf_has_bookmarks_page_numbers_and_nothing_clipped(tmp_path, browser):
    pypdf = pytest.importorskip("pypdf")
    done = publish("pdf", tmp_path / "book.pdf")
    assert done.returncode == 0, done.stdout + done.stderr  # names what is clipped
    reader = pypdf.PdfReader(tmp_path / "book.pdf")
    pages = len(reader.pages)
    titles = list(flat(reader.outline))
    assert pages > 20
    assert any("CNN: run, taken apart" in title for title in titles)
    assert f"{pages} / {pages}" in reader.pages[-1].extract_text()
    # Solutions are open on paper.
    assert any("cases pass" in page.extract_text() for page in reader.pages)


def flat(outline):
    for entry in outline:
        if isinstance(entry, list):
            yield from flat(entry)
        else:
            yield entry.title


def test_clipped_content_is_found(tmp_path, browser):
    module = load_publish()
    page = browser.new_page(viewport={"width": 680, "height": 800})
    wide = "<table><tr><td style='min-width:900px'>wide</td></tr></table>"
    page.set_content(f"<article><p>fits</p>{wide}</article>")
    assert page.evaluate(module.CLIPPED) == ["table: wide"]
    page.set_content("<article><table><tr><td>narrow</td></tr></table></article>")
    assert page.evaluate(module.CLIPPED) == []
    page.close()
