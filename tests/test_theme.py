"""The Sphinx extensions of _theme, on a book of one chapter."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "_theme"))

import bookassets  # noqa: E402
import bookpages  # noqa: E402

DOT = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5E"
    "rkJggg=="
)
PROSE = """# A chapter

What does it ask?

**You will build** something.

*You need* $x$ and a minute.

## A section

| | a |
|---|---|
| b | {measured}`nuclei iou .2f` |

$$ x^2 $$ (eq-square)

:::{exercise-start} Square
:label: ex-square
:::
Do it.

:::{exercise-end}
:::
"""
STATUS = {
    "seconds": 12.3,
    "peak_memory_mb": 812,
    "cores": 2,
    "date": "2026-11-23",
    "versions": {"keras": "3.15.1"},
}
RESULT = {
    "name": "nuclei",
    "source": "chapters/part/03_chapter.ipynb",
    "parameters": {"DATASET": "nuclei"},
    "metrics": {"iou": 0.81234, "baseline_iou": 0.7312, "images": 334},
    "seconds": 95.2,
    "peak_memory_mb": 1210,
    "cores": 2,
    "machine": "x86_64",
    "versions": {"keras": "3.15.1"},
    "date": "2026-11-23",
}
RUNS = """
[nuclei]
source = "chapters/part/03_chapter.ipynb"
parameters = {DATASET = "nuclei"}
published = [{metric = "iou", value = 0.73, what = "Otsu", source = "https://x.org/a"}]
[later]
source = "benchmarks/later.py"
published = [{metric = "rmse", value = 0.934, what = "SVD", source = "a README"}]
"""


def notebook():
    figure = {
        "output_type": "display_data",
        "data": {"image/png": DOT, "text/plain": "<Figure>"},
        "metadata": {
            "image/png": {
                "alt": "A gray dot",
                "caption": "A *dot*, see {eq}`eq-square`.",
            }
        },
    }
    code = {"cell_type": "code", "execution_count": 1, "metadata": {}, "source": "1"}
    prose = {"cell_type": "markdown", "metadata": {}, "source": PROSE}
    plain = figure | {"metadata": {}}
    return {
        "cells": [prose, code | {"outputs": [figure]}, code | {"outputs": [plain]}],
        "metadata": {"language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 4,
    }


def build(folder, project):
    """Build a book of one chapter, return the text of its pages by name."""
    chapters = folder / "chapters" / "part"
    chapters.mkdir(parents=True)
    (chapters / "03_chapter.ipynb").write_text(json.dumps(notebook()), encoding="utf8")
    (folder / "intro.md").write_text(
        "# Start\n\n```{benchmarks}\n```\n", encoding="utf8"
    )
    (folder / "_toc.yml").write_text(
        "{format: jb-book, root: intro, parts: [{caption: Part, numbered: true, "
        "chapters: [{file: chapters/part/03_chapter}]}]}",
        encoding="utf8",
    )
    shutil.copy(ROOT / "_config.yml", folder)
    (folder / "_theme").symlink_to(ROOT / "_theme")
    (folder / "references.bib").touch()
    (folder / "pyproject.toml").write_text(project, encoding="utf8")
    results = folder / "benchmarks" / "results"
    results.mkdir(parents=True)
    (results / "nuclei.json").write_text(json.dumps(RESULT), encoding="utf8")
    (folder / "benchmarks" / "runs.toml").write_text(RUNS, encoding="utf8")
    status = {"chapters/part/03_chapter": STATUS}
    (folder / "benchmarks" / "status.json").write_text(json.dumps(status))
    program = Path(sys.executable).with_name("jupyter-book")
    command = [program, "build", ".", "-W", "-n", "--keep-going"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    pages = (folder / "_build" / "html").rglob("*.html")
    return {page.stem: page.read_text(encoding="utf8") for page in pages}


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    return build(tmp_path_factory.mktemp("book"), "[project]\nname = 'x'\n")


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    address = "[project.urls]\nRepository = 'https://github.com/people/book/'\n"
    return build(tmp_path_factory.mktemp("published"), address)


def test_chapter_has_the_number_of_its_file(pages):
    assert '<span class="section-number">3. </span>A chapter' in pages["03_chapter"]
    assert '<span class="section-number">3.1. </span>A section' in pages["03_chapter"]
    assert "(3.1)" in pages["03_chapter"]  # the equation
    assert "Exercise 3.1" in pages["03_chapter"]


def test_figure_carries_its_words(pages):
    described = re.search(r"<figure.*?</figure>", pages["03_chapter"], re.S)[0]
    assert 'alt="A gray dot"' in described
    assert "Fig. 3.1" in described
    assert "A <em>dot</em>, see <a" in described


def test_image_without_words_stays_an_image(pages):
    assert pages["03_chapter"].count("<figure") == 1
    assert len(re.findall(r"<img[^>]*_images/", pages["03_chapter"])) == 2


def test_corner_of_a_table_is_no_header(pages):
    table = re.search(r"<table.*?</table>", pages["03_chapter"], re.S)[0]
    assert table.count("<th ") == 1
    assert "<td></td>" in table


def test_promise_is_framed(pages):
    framed = re.search(
        r'<div class="promise docutils.*?</div>', pages["03_chapter"], re.S
    )
    assert "You will build" in framed[0]
    assert "and a minute" in framed[0]
    assert "A section" not in framed[0]


def test_status_line(pages):
    line = "Runs in 12 s with 0.8 GB on 2 cores (2026-11-23, Keras 3.15.1)."
    assert line in pages["03_chapter"]
    assert bookpages.status_line({"seconds": 7.6, "date": "2026-11-23"}) == (
        "Runs in 8 s (2026-11-23)."
    )


def test_no_repository_no_links(pages):
    for text in pages.values():
        assert "colab" not in text
        assert "github.com" not in text


def test_repository_gives_links(published):
    place = "people/book/blob/main/chapters/part/03_chapter.ipynb"
    link = f'href="https://colab.research.google.com/github/{place}"'
    assert published["03_chapter"].count(link) == 1
    assert 'href="https://github.com/people/book"' in published["03_chapter"]
    assert "colab" not in published["intro"]


def test_pages_load_what_they_use(pages):
    assert "tex-chtml-full.js" in pages["03_chapter"]
    assert "tex-chtml-full.js" not in pages["intro"]
    for name, text in pages.items():
        assert "mermaid.js" not in text
        assert "fontawesome.js" not in text
        assert "thebe" not in text.replace("sphinx-thebe.css", "")
        assert ("searchindex.js" in text) == (name == "search")


def test_results_stand_beside_the_published_figures(pages):
    (table, later) = re.findall(r"<table.*?</table>", pages["intro"], re.S)
    assert cells(table)[1] == ["iou", "0.812", "0.731", "0.73", "Otsu: https://x.org/a"]
    assert cells(table)[2] == ["images", "334", "–", "–", ""]
    assert 'href="https://x.org/a"' in table
    assert cells(later)[1] == ["rmse", "–", "–", "0.934", "SVD: a README"]
    assert "95 s, peak memory 1.2 GB, 2 cores (x86_64), 2026-11-23" in pages["intro"]
    assert "not measured yet" in pages["intro"]


def test_a_figure_is_written_into_the_text(pages):
    table = re.search(r"<table.*?</table>", pages["03_chapter"], re.S)[0]
    assert cells(table)[1] == ["b", "0.81"]


def test_a_figure_that_was_not_measured_stops_the_build(tmp_path, monkeypatch):
    wrong = PROSE.replace("nuclei iou", "nuclei dice")
    monkeypatch.setitem(globals(), "PROSE", wrong)
    with pytest.raises(AssertionError, match="nuclei has no figure 'dice'; expected"):
        build(tmp_path, "[project]\nname = 'x'\n")


def cells(table):
    rows = re.findall(r"<tr.*?</tr>", table, re.S)
    return [
        [
            re.sub(r"<.*?>", "", cell).strip()
            for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.S)
        ]
        for row in rows
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0.81234, "0.812"), (334, "334"), (12345.0, "12,345"), (1.0, "1")],
)
def test_figures_are_rounded(value, text):
    assert bookpages.figure(value) == text


def test_vendored_files_exist():
    for name in (bookassets.MATHJAX, bookassets.MERMAID):
        assert (bookassets.THEME / "vendor" / name).is_file()
