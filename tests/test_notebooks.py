"""Every chapter keeps the rules, and each rule is seen to catch what it forbids."""

import base64
import struct
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import gates  # noqa: E402
from notebook_form import chapters, normalize, read, stored_text  # noqa: E402

# ---------------------------------------------------------------- the real chapters


@pytest.mark.parametrize("path", chapters(), ids=lambda p: p.stem)
def test_chapter_keeps_every_rule(path):
    findings = [*gates.check_file(path), *gates.repeated_labels(ROOT, [path])]
    assert findings == []


# ---------------------------------------------------------------- a chapter that does

ALT = "A falling curve: the loss halves in three epochs."
CAPTION = "The loss falls with every epoch."


def png(width=704, size=100):
    """Return the first bytes of a PNG of a given width, padded to a size, in base64."""
    header = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR"
    image = header + struct.pack(">II", width, 10)
    return base64.b64encode(image.ljust(size, b"\0")).decode()


def figure(alt=ALT, caption=CAPTION, **kind):
    data = {"image/png": png(**kind), "text/plain": "<Figure>"}
    return nbformat.v4.new_output(
        "display_data", data, metadata={"image/png": {"alt": alt, "caption": caption}}
    )


def printed(text, name="stdout"):
    return nbformat.v4.new_output("stream", name=name, text=text + "\n")


def code(source, *outputs, tags=()):
    cell = nbformat.v4.new_code_cell(source, outputs=list(outputs))
    cell.metadata["tags"] = list(tags)
    return cell


def prose(source):
    return nbformat.v4.new_markdown_cell(source)


def exercise(name):
    check = f"lu.check({name}, cases=[((1,), 2)])"
    return [
        prose(f"### Exercise: {name}"),
        prose(f":::{{exercise-start}} {name}\n:label: ex-try-{name}\n:::\nWrite it."),
        code(f"def {name}(x): ...\n\n\n{check}", printed(f"{name}: not solved yet")),
        prose(":::{exercise-end}\n:::"),
        prose(f"### Solution: {name}"),
        prose(f":::{{solution-start}} ex-try-{name}\n:class: dropdown\n:::\nAdd 1."),
        code(
            f"def {name}(x): return x + 1\n\n\n{check}",
            printed(f"{name}: all 1 cases pass"),
        ),
        code(
            f"def {name}_minus(x): return x - 1",
            printed(f"{name}: 0 of 1 cases pass; {name}(1) gave 0, expected 2"),
        ),
        prose(":::{solution-end}\n:::"),
    ]


def chapter():
    """Return the cells of the smallest chapter that keeps every rule."""
    promise = "*You will build* one. *You will learn* two. *You need* a minute."
    return [
        prose("# A title\n\nWhich question?"),
        prose(promise),
        code("import lepton_utils as lu\n\nrng = lu.setup(seed=1)"),
        code('DATASET = "digits"\nBATCH_SIZE = 32  # fits', tags=["parameters"]),
        prose("## Training\n\n$$ a = b $$ (eq-try-one)"),
        code("loss = 0.5", printed("0.5"), tags=["nbval-ignore-output"]),
        code("lu.show(fig, caption=..., alt=...)", figure()),
        code(
            'BANDS = {"digits": (0.4, 0.6)}\nlow, high = BANDS[DATASET]\n'
            "assert low < loss < high"
        ),
        prose("## Summary\n\nOne and two."),
        prose("## Exercises"),
        *exercise("one"),
        *exercise("two"),
        *exercise("three"),
        prose("## References\n\n:::{bibliography}\n:::"),
    ]


def write(folder, cells, name="01_try.ipynb"):
    """Store cells as `run` would; return the path and the notebook."""
    folder = folder / "mathematics"
    folder.mkdir(exist_ok=True)
    nb = normalize(nbformat.v4.new_notebook(cells=cells), "mathematics")
    path = folder / name
    path.write_text(stored_text(nb), "utf8")
    return path, nb


def findings(path):
    return list(gates.check_file(path))


def test_smallest_chapter_keeps_every_rule(tmp_path):
    path, nb = write(tmp_path, chapter())
    nbformat.validate(nb)
    assert findings(path) == []
    assert gates.check([path]) == 0


# ---------------------------------------------------------------- planted violations

TRAINED, FIGURE, BAND = 5, 6, 7  # places in chapter()
STUB, SOLUTION, WRONG = 12, 16, 17  # in its first exercise


def change(place, **changes):
    """Return a function that changes one cell of a chapter."""

    def plant(cells):
        for name, value in changes.items():
            cells[place][name] = value

    return plant


def outputs(*given):
    return change(FIGURE, outputs=[*given, figure()])


def replace(old, new):
    """Return a function that replaces a text in all cells of a chapter."""

    def plant(cells):
        assert any(old in cell.source for cell in cells)
        for cell in cells:
            cell.source = cell.source.replace(old, new)

    return plant


def tagged(place, *tags):
    return change(place, metadata={"tags": list(tags)})


def html(kind, content="x"):
    return nbformat.v4.new_output("display_data", {kind: content})


def error():
    return nbformat.v4.new_output("error", ename="ValueError", evalue="x", traceback=[])


def delete(place):
    return lambda cells: cells.pop(place)


def insert(place, cell):
    return lambda cells: cells.insert(place, cell)


VIOLATIONS = {
    "41 lines": (change(FIGURE, source="x = 1\n" * 41), "has 41 lines"),
    "empty cell": (insert(5, code("")), "code cell is empty"),
    "stderr": (outputs(printed("hm", "stderr")), "stderr"),
    "error": (outputs(error()), "ends in ValueError"),
    "traceback": (
        outputs(printed("Traceback (most recent call last):")),
        "a traceback",
    ),
    "backspace": (outputs(printed("10%\b\b\b20%")), "a backspace"),
    "warning": (outputs(printed("x: DeprecationWarning: old")), "a warning"),
    "path": (outputs(printed("in /home/ada/book")), "an absolute path"),
    "windows path": (outputs(printed(r"in C:\book")), "an absolute path"),
    "address": (outputs(printed("<object at 0x7f3c2a10>")), "address of an object"),
    "step time": (outputs(printed("50/50 - 3ms/step")), "a time"),
    "seconds": (outputs(printed("took 12.3 s")), "a time"),
    "whole seconds": (outputs(printed("took 12 seconds")), "a time"),
    "version": (outputs(printed("TensorFlow 2.21.0")), "a version"),
    "svg": (outputs(html("image/svg+xml")), "image/svg+xml"),
    "widget": (
        outputs(html("application/vnd.jupyter.widget-view+json", {"model_id": "1"})),
        "widget",
    ),
    "html path": (outputs(html("text/html", "<b>/tmp/x</b>")), "an absolute path"),
    "large image": (
        change(FIGURE, outputs=[figure(size=121 * 1024)]),
        "the image has 121 KiB",
    ),
    "large file": (
        change(FIGURE, outputs=[figure(size=100 * 1024)] * 4),
        "the file has",
    ),
    "odd width": (change(FIGURE, outputs=[figure(width=700)]), "700 pixels wide"),
    "no alt": (change(FIGURE, outputs=[figure(alt="")]), "no alt text"),
    "short alt": (change(FIGURE, outputs=[figure(alt="A curve.")]), "no alt text"),
    "empty alt": (
        change(FIGURE, outputs=[figure(alt="Plot of the loss by epoch")]),
        "only announces",
    ),
    "no caption": (change(FIGURE, outputs=[figure(caption="")]), "no caption text"),
    "image in prose": (
        insert(5, prose("## S\n\n![](figure.png)")),
        "without an alt text",
    ),
    "no check cell": (delete(BAND), "no later cell checks"),
    "check cell above": (
        lambda cells: cells.insert(TRAINED, cells.pop(BAND)),
        "no later cell checks",
    ),
    "check without assert": (replace("assert ", ""), "no later cell checks"),
    "assert of a constant": (
        replace("assert low < loss < high", "assert BANDS"),
        "no later cell checks",
    ),
    "infinite band": (replace("(0.4, 0.6)", "(0.4, 1e999)"), "finite"),
    "computed band": (replace("(0.4, 0.6)", '(0.4, float("inf"))'), "finite"),
    "band upside down": (replace("(0.4, 0.6)", "(0.6, 0.4)"), "low < high"),
    "two titles": (insert(5, prose("# Another")), "2 headings of level 1"),
    "no title": (replace("# A title", "A title"), "0 headings of level 1"),
    "no summary": (replace("## Summary", "## The end"), "not all there"),
    "wrong order": (
        insert(2, prose("## References")),
        "not all there",
    ),
    "after references": (
        lambda cells: cells.append(prose("## More")),
        "'More' follows the references",
    ),
    "no promise": (replace("*You will learn*", "And"), "*You will learn*"),
    "other set-up": (
        replace("rng = lu.setup(seed=1)", "lu.setup(seed=1); x = 1"),
        "set-up cell",
    ),
    "no parameters": (tagged(3), "0 cells are tagged parameters"),
    "computed parameter": (
        replace("BATCH_SIZE = 32", "BATCH_SIZE = 4 * EIGHT"),
        "NAME = literal",
    ),
    "lower-case parameter": (replace("BATCH_SIZE = 32", "size = 32"), "NAME = literal"),
    "unknown tag": (tagged(TRAINED, "nbval-ignore-outputs"), "unknown tag"),
    "hidden cell": (tagged(FIGURE, "remove-cell"), "hides a cell"),
    "two exercises": (lambda cells: cells.__delitem__(slice(10, 19)), "2 exercises"),
    "no exercise label": (replace(":label: ex-try-one\n", ""), "no label"),
    "ungated exercise": (
        insert(5, prose("## S\n\n:::{exercise}\nThink.\n:::")),
        "an exercise without code",
    ),
    "solved stub": (
        change(STUB, outputs=[printed("one: all 1 cases pass")]),
        "the stub claims to be solved",
    ),
    "silent stub": (change(STUB, outputs=[]), "does not print 'not solved yet'"),
    "failing solution": (
        change(SOLUTION, outputs=[printed("one: 0 of 1 cases pass; x")]),
        "does not pass all cases",
    ),
    "passing wrong answer": (
        change(WRONG, outputs=[printed("one: all 1 cases pass")]),
        "no wrong answer fails",
    ),
    "open solution": (replace(":class: dropdown\n", ""), "not collapsed"),
    "no solution": (
        replace("{solution-start} ex-try-one", "{solution-start} ex-try-other"),
        "0 solutions of ex-try-one",
    ),
    "exercise not closed": (replace(":::{exercise-end}\n:::", "."), "not closed"),
    "solution not closed": (replace(":::{solution-end}\n:::", "."), "not closed"),
    "no exercise heading": (delete(10), "no heading of the exercise"),
    "no solution heading": (delete(14), "no heading of the solution"),
    "folded away": (insert(19, prose("Read on.")), "is folded away"),
    "unfolded": (
        lambda cells: cells.insert(16, prose("### Why")),
        "unfolds the rest",
    ),
    "path in prose": (replace("One and two.", "See /root/x."), "'/root/'"),
}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_violation_is_found(tmp_path, name):
    plant, expected = VIOLATIONS[name]
    cells = chapter()
    plant(cells)
    path, _ = write(tmp_path, cells)
    found = findings(path)
    assert any(expected in wrong for _, wrong, _ in found), found
    assert gates.check([path]) > 0


FORM = {
    "not run": (lambda nb: nb.cells[3].update(execution_count=None), "count None"),
    "out of order": (lambda nb: nb.cells[3].update(execution_count=9), "count 9"),
    "foreign metadata": (
        lambda nb: nb.metadata.update(widgets={}),
        "not in the stored form",
    ),
    "cell metadata": (
        lambda nb: nb.cells[4].metadata.update(collapsed=True),
        "not in the stored form",
    ),
    "open in Colab": (
        lambda nb: nb.metadata["colab"].update(collapsed_sections=[]),
        "not in the stored form",
    ),
    "other installer": (
        lambda nb: nb.cells[2].update(source="%pip install x"),
        "installer",
    ),
    "no installer": (lambda nb: nb.cells.pop(2), "installer"),
}


@pytest.mark.parametrize("name", FORM)
def test_other_form_is_found(tmp_path, name):
    plant, expected = FORM[name]
    path, nb = write(tmp_path, chapter())
    plant(nb)
    path.write_text(stored_text(nb), "utf8")
    assert any(expected in wrong for _, wrong, _ in findings(path))


def test_label_of_another_chapter_is_found(tmp_path):
    path, _ = write(tmp_path, chapter())
    other, _ = write(tmp_path, chapter(), "02_try.ipynb")
    found = [wrong for *_, wrong, _ in gates.repeated_labels(tmp_path, [path, other])]
    assert sum("eq-try-one" in wrong for wrong in found) == 2
    assert list(gates.repeated_labels(tmp_path, [path])) == []


# ---------------------------------------------------------------- the stored form


def test_normalizing_twice_is_normalizing_once(tmp_path):
    path, nb = write(tmp_path, chapter())
    before = stored_text(nb)
    assert stored_text(normalize(nb, "mathematics")) == before
    assert stored_text(read(path)) == before


def test_solutions_are_folded_in_jupyterlab_and_colab(tmp_path):
    _, nb = write(tmp_path, chapter())
    folded = [c for c in nb.cells if c.metadata.get("jp-MarkdownHeadingCollapsed")]
    assert [c.source for c in folded] == [
        "### Solution: one",
        "### Solution: two",
        "### Solution: three",
    ]
    assert nb.metadata["colab"]["collapsed_sections"] == [c.id for c in folded]
    assert all(c.metadata["id"] == c.id for c in folded)
