"""The rules that a stored notebook can break, each a function that yields findings.

A finding is ``(cell, what is wrong, what to do)``, the cell counted from 1, or None
where the whole file is meant. CONTRIBUTING.md states the rules; tests/test_notebooks.py
plants one violation of each.
"""

import ast
import base64
import copy
import math
import re
import struct
from collections import Counter

from exercise_gates import exercises
from notebook_form import (
    HEADING,
    INSTALLER_START,
    ROOT,
    all_headings,
    all_outputs,
    chapters,
    code_cells,
    installer,
    normalize,
    read,
    stored_text,
    text_of,
)

MAX_LINES = 40
MAX_FILE = 500 * 1024  # bytes
MAX_IMAGE = 120 * 1024
WIDTHS = (704, 1056)  # pixels: lu.FIGURE and lu.WIDE at 110 dots per inch
TAGS = {"parameters", "remove-cell", "nbval-ignore-output"} | {
    "hide-input",
    "hide-output",
    "hide-cell",
    "remove-input",
}
FORMATS = {"text/plain", "text/html", "text/latex", "text/markdown", "image/png"}
SECTIONS = ["Summary", "Exercises", "References"]
PROMISE = ["You will build", "You will learn", "You need"]
SETUP = re.compile(r"import lepton_utils as lu\n\n(rng = )?lu\.setup\(seed=\d+\)")

PATHS = (
    r"(?<![\w.:/])/(?:home|root|tmp|work|usr|opt|var|mnt|Users|private)/|\b[A-Z]:\\\w"
)
UNSTABLE = {
    "a backspace": "\x08",
    "a traceback": r"Traceback \(most recent call last\)",
    "a warning": r"\b[A-Z]\w*Warning\b|^WARNING\b",
    "an absolute path": PATHS,
    "the address of an object": r"\bat 0x[0-9a-fA-F]{4,}",
    "a time": r"\b\d+(\.\d+)? ?(ms|us|µs|ns|s)/\w+"
    r"|\b\d+\.\d+ ?(s|ms|us|µs|ns|sec|seconds|min|minutes)\b(?!/)"
    r"|\b\d+ ?(ms|us|µs|ns|seconds)\b",
    "a version": r"(?i)\b(tensorflow|keras|numpy|scipy|scikit-\w+|matplotlib"
    r"|python|jax|torch)\W{0,3}(version\W{0,3})?v?\d+\.\d+\.\d+"
    r"|\bversion\W{0,3}\d+\.\d+",
}


def check(paths, root=ROOT):
    """Print what breaks a rule; return the number of findings."""
    findings = [
        (path, *finding) for path in paths for finding in check_file(path, root)
    ]
    findings += list(repeated_labels(root, paths))
    findings.sort(key=lambda finding: (str(finding[0]), finding[1] or 0))
    for path, cell, wrong, remedy in findings:
        place = f"{path}: cell {cell}" if cell else f"{path}"
        print(f"{place}: {wrong} -> {remedy}")
    if not findings:
        print(f"{len(paths)} notebooks keep every rule")
    return len(findings)


def check_file(path, root=ROOT):
    """Yield the findings in one file, except labels that other files use too."""
    text, part = path.read_text("utf8"), path.resolve().parent.name
    if len(text.encode()) > MAX_FILE:
        size = len(text.encode()) // 1024
        yield (
            None,
            f"the file has {size} KiB",
            "show fewer or smaller figures (500 KiB)",
        )
    nb = read(path)
    if not any(cell.execution_count for _, cell in code_cells(nb)):
        yield None, "was never run", RUN_IT
        return
    yield from stored_form(nb, text, part, root)
    for gate in GATES:
        yield from gate(nb, part)


# ---------------------------------------------------------------- form


def stored_form(nb, text, part, root):
    """Look for what `normalize` would change."""
    normal = normalize(copy.deepcopy(nb), part, root)
    code = [cell for cell in nb.cells if cell.cell_type == "code"]
    if not code or code[0].source != installer(part, root):
        yield None, "the first code cell is not the installer cell", RUN_IT
    elif stored_text(normal) != text:
        pairs = enumerate(zip(normal.cells, nb.cells, strict=False), 1)
        differing = [number for number, (a, b) in pairs if a != b]
        yield (differing or [None])[0], "not in the stored form", RUN_IT


RUN_IT = "python tools/notebooks.py run FILE"


def executed(nb, part):
    """Look for code cells that were not run, or not in order."""
    for expected, (number, cell) in enumerate(code_cells(nb), 1):
        if not cell.source.strip():
            yield number, "the code cell is empty", "delete it"
        elif cell.execution_count != expected:
            wrong = f"has execution count {cell.execution_count}, not {expected}"
            yield number, wrong, RUN_IT
            return


def short_cells(nb, part):
    """Look for code cells that are too long to read."""
    for number, cell in code_cells(nb):
        lines = len(cell.source.splitlines())
        if lines > MAX_LINES:
            yield number, f"has {lines} lines", f"split it ({MAX_LINES} at most)"


def known_tags(nb, part):
    """Look for misspelled tags, and for cells hidden from the book."""
    for number, cell in enumerate(nb.cells, 1):
        for tag in cell.metadata.get("tags", []):
            if tag not in TAGS:
                yield number, f"unknown tag {tag!r}", f"use one of {sorted(TAGS)}"
        hidden = "remove-cell" in cell.metadata.get("tags", [])
        own = HEADING.fullmatch(cell.source) or cell.source.startswith(INSTALLER_START)
        if hidden and not own:
            wrong = "remove-cell hides a cell from the readers of the book"
            yield number, wrong, "remove the tag, or the cell"


def machine_paths(nb, part):
    """Look for paths of one machine in prose and code."""
    for number, cell in enumerate(nb.cells, 1):
        if match := re.search(PATHS, cell.source):
            wrong = f"{match[0]!r} is a path of one machine"
            yield number, wrong, "name the file from the repository's folder"


# ---------------------------------------------------------------- outputs


def outputs(nb, part):
    """Look for outputs that differ from run to run, or should not be seen."""
    for number, output in all_outputs(nb):
        if output.output_type == "error":
            remedy = "catch the error and print it as one line"
            yield number, f"ends in {output.ename}", remedy
        if output.output_type == "stream" and output.name == "stderr":
            yield number, "writes to stderr", "find the cause; lu.setup silences logs"
        for kind in set(output.get("data", {})) - FORMATS:
            yield number, f"has an output of type {kind}", "show a PNG with lu.show"
        for name, pattern in UNSTABLE.items():
            match = re.search(pattern, text_of(output), re.MULTILINE)
            if match:
                wrong = f"the output holds {name}: {match[0].strip()!r}"
                yield number, wrong, "print what is the same on every machine"


def figures(nb, part):
    """Look at the size of each image and at the texts that belong to it."""
    for number, output in all_outputs(nb):
        if "image/png" not in output.get("data", {}):
            continue
        image = base64.b64decode(output.data["image/png"])
        if len(image) > MAX_IMAGE:
            wrong = f"the image has {len(image) // 1024} KiB"
            yield number, wrong, f"draw fewer points ({MAX_IMAGE // 1024} KiB at most)"
        width = struct.unpack(">I", image[16:20])[0]
        if width not in WIDTHS:
            remedy = "use figsize=lu.FIGURE or lu.WIDE (the height is free)"
            yield number, f"the image is {width} pixels wide, not in {WIDTHS}", remedy
        texts = output.get("metadata", {}).get("image/png", {})
        for name in ("alt", "caption"):
            if len(texts.get(name, "").strip()) < 20:
                yield (
                    number,
                    f"the image has no {name} text",
                    f"lu.show(..., {name}=...)",
                )
        if re.match(EMPTY_ALT, texts.get("alt", ""), re.IGNORECASE):
            wrong = "the alt text only announces a picture"
            yield number, wrong, "start with what is drawn, then say what it shows"


EMPTY_ALT = (
    r"\s*(an?|the)?\s*(plot|figure|image|picture|photo)\s*(of|with|showing|[:.]|$)"
)


def drawn_images(nb, part):
    """Look for images in the prose that have no alt text."""
    for number, cell in enumerate(nb.cells, 1):
        if cell.cell_type == "markdown" and re.search(
            r"!\[\s*\]\(|<img\b", cell.source
        ):
            yield number, "an image without an alt text", "![what it shows](file)"


# ---------------------------------------------------------------- trained numbers


def bands(nb, part):
    """Look for trained numbers that nothing checks."""
    checks = [number for number, cell in code_cells(nb) if is_band_check(cell)]
    for number, cell in code_cells(nb):
        ignored = "nbval-ignore-output" in cell.metadata.get("tags", [])
        if ignored and not any(check > number for check in checks):
            wrong = "its output is not compared, and no later cell checks its numbers"
            yield number, wrong, "add BANDS and `assert low < value < high` below"
        for value in assigned(cell, "BANDS"):
            if not finite(value):
                wrong = "BANDS must be literal (low, high) pairs, finite, low < high"
                yield number, wrong, "write the band that seeds 1-5 stay in"


def is_band_check(cell):
    """Say whether a cell asserts a comparison with BANDS."""
    nodes = list(ast.walk(parse(cell)))
    named = any(isinstance(node, ast.Name) and node.id == "BANDS" for node in nodes)
    asserts = [node.test for node in nodes if isinstance(node, ast.Assert)]
    compared = any(
        isinstance(n, ast.Compare) for test in asserts for n in ast.walk(test)
    )
    return named and compared


def assigned(cell, name):
    """Yield what a cell assigns to a name: literals, None for anything else."""
    for node in ast.walk(parse(cell)):
        targets = getattr(node, "targets", [])
        if any(isinstance(t, ast.Name) and t.id == name for t in targets):
            try:
                yield ast.literal_eval(node.value)
            except ValueError:
                yield None


def finite(bands):
    """Say whether a value is a finite (low, high) pair, or a dict of such."""
    if isinstance(bands, dict):
        return bool(bands) and all(map(finite, bands.values()))
    if not isinstance(bands, (tuple, list)) or len(bands) != 2:
        return False
    numbers = all(isinstance(value, (int, float)) for value in bands)
    return numbers and all(map(math.isfinite, bands)) and bands[0] < bands[1]


# ---------------------------------------------------------------- anatomy


def headings(nb, part):
    """Look for the title, the promise and the closing sections."""
    first = [(n, text) for n, level, text in all_headings(nb) if level == 1]
    if len(first) != 1 or first[0][0] != 1:
        yield None, f"{len(first)} headings of level 1", "one, in the first cell"
    second = [text for _, level, text in all_headings(nb) if level == 2]
    if [text for text in second if text in SECTIONS] != SECTIONS:
        remedy = "one `## NAME` each, in this order"
        yield None, f"the sections {', '.join(SECTIONS)} are not all there", remedy
    elif second[-1] != SECTIONS[-1]:
        yield None, f"{second[-1]!r} follows the references", "move it up"
    prose = "\n".join(
        cell.source for cell in nb.cells[:3] if cell.cell_type == "markdown"
    )
    for words in PROMISE:
        if words not in prose:
            yield None, f"the promise has no *{words}*", "add it below the title"


def setup_cell(nb, part):
    """Compare the set-up cell with the form that every chapter has."""
    code = [
        (n, c) for n, c in code_cells(nb) if not c.source.startswith(INSTALLER_START)
    ]
    if not code or not SETUP.fullmatch(code[0][1].source):
        remedy = (
            "`import lepton_utils as lu` and `rng = lu.setup(seed=1)`, nothing else"
        )
        yield code[0][0] if code else None, "the set-up cell is another", remedy


def parameters(nb, part):
    """Look for one cell of constants, literals that papermill can replace."""
    found = [
        (n, c) for n, c in code_cells(nb) if "parameters" in c.metadata.get("tags", [])
    ]
    if len(found) != 1:
        remedy = "tag the cell of UPPER_CASE constants"
        yield None, f"{len(found)} cells are tagged parameters, not 1", remedy
    for number, cell in found:
        for node in parse(cell).body:
            if not is_constant(node):
                wrong = f"line {node.lineno} of the parameters is no NAME = literal"
                yield number, wrong, "compute in a cell below"


def is_constant(node):
    """Say whether a statement is NAME = literal."""
    if not isinstance(node, ast.Assign) or len(node.targets) != 1:
        return False
    name = getattr(node.targets[0], "id", "")
    try:
        ast.literal_eval(node.value)
    except ValueError:
        return False
    return name.isupper()


# ---------------------------------------------------------------- the whole book


def repeated_labels(root, paths):
    """Yield ``(path, cell, ...)`` for labels that occur twice in the book."""
    places = [
        (label, path, number)
        for path in dict.fromkeys([p.resolve() for p in (*chapters(root), *paths)])
        for number, cell in enumerate(read(path).cells, 1)
        if cell.cell_type == "markdown"
        for label in labels(cell.source)
    ]
    counts, asked = Counter(label for label, *_ in places), {p.resolve() for p in paths}
    for label, path, number in places:
        if counts[label] > 1 and path in asked:
            yield path, number, f"label {label!r} is used twice", "rename one"


def labels(source):
    """Return the labels that a Markdown cell defines."""
    pattern = r"^:label: *(\S+)|^\(([\w-]+)\)=|\$\$ *\(([\w-]+)\)"
    return [max(groups) for groups in re.findall(pattern, source, re.MULTILINE)]


def parse(cell):
    """Return the syntax tree of a code cell; IPython's own lines count as blank."""
    source = re.sub(r"^(\s*)[%!].*", r"\1pass", cell.source, flags=re.MULTILINE)
    try:
        return ast.parse(source)
    except SyntaxError:
        return ast.parse("")


GATES = [
    executed,
    short_cells,
    known_tags,
    machine_paths,
    outputs,
    figures,
    drawn_images,
    bands,
    headings,
    setup_cell,
    parameters,
    exercises,
]
