"""The one form in which a chapter's notebook is stored."""

import re
import tomllib
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]

# ---------------------------------------------------------------- the installer cell

INSTALLER_START = "# On Colab: installs the book's helper package."
INSTALLER = f"""\
{INSTALLER_START} Elsewhere this cell does nothing.
try:
    import lepton_utils  # noqa: F401
except ImportError:
    %pip install --quiet "lepton-utils{{extra}} @ git+{{repository}}\""""
INSTALLER_WITHOUT_ADDRESS = f"""\
{INSTALLER_START} Elsewhere this cell does nothing.
try:
    import lepton_utils  # noqa: F401
except ImportError as error:
    message = 'lepton_utils is missing: README.md, "Without make", installs it'
    raise ImportError(message) from error"""


def installer(part, root=ROOT):
    """Return the source of the installer cell of a part's chapters.

    Args:
        part: str, the folder of the chapter: the extra of that name is installed.
        root: Path of the repository, whose pyproject.toml holds address and extras.
    """
    project = tomllib.loads((root / "pyproject.toml").read_text("utf8"))["project"]
    repository = project.get("urls", {}).get("Repository")
    if not repository:
        return INSTALLER_WITHOUT_ADDRESS
    extra = f"[{part}]" if part in project.get("optional-dependencies", {}) else ""
    return INSTALLER.format(extra=extra, repository=repository)


# ---------------------------------------------------------------- the stored form

KERNEL = {
    "display_name": "Python 3 (ipykernel)",
    "language": "python",
    "name": "python3",
}
KEPT_CELL_METADATA = {"tags", "mystnb", "slideshow"}
HEADING = re.compile(r"### (Exercise|Solution): \S.*")


def normalize(nb, part, root=ROOT):
    """Bring a notebook into the one form in which it is stored; change it in place.

    The installer cell is inserted or refreshed, metadata is reduced to what the book
    uses, streams are merged and carriage returns applied as nbval does, execution
    counts run from 1. Normalizing twice gives the same as once.

    Args:
        nb: NotebookNode, nbformat 4.
        part: str, the folder of the chapter.
        root: Path of the repository.

    Returns:
        the notebook.
    """
    nb.nbformat_minor = 5
    _refresh_installer(nb, part, root)
    folded = [cell.id for cell in nb.cells if _normalize_cell(cell)]
    language = {"name": "python"}
    nb.metadata = {"kernelspec": dict(KERNEL), "language_info": language}
    if folded:
        nb.metadata["colab"] = {"collapsed_sections": folded}
    nb.metadata = nbformat.from_dict(nb.metadata)
    code = (cell for cell in nb.cells if cell.cell_type == "code")
    count = 0
    for cell in code:
        count += bool(cell.source.strip())
        cell.execution_count = count if cell.source.strip() else None
        cell.outputs = _normalize_outputs(cell.outputs, count)
    return nb


def _refresh_installer(nb, part, root):
    nb.cells = [c for c in nb.cells if not c.source.startswith(INSTALLER_START)]
    code = [i for i, cell in enumerate(nb.cells) if cell.cell_type == "code"]
    if code:
        source = installer(part, root)
        cell = nbformat.v4.new_code_cell(source, id="installer")
        cell.metadata["tags"] = ["remove-cell"]
        nb.cells.insert(code[0], cell)


def _normalize_cell(cell):
    """Reduce a cell's metadata; return True for the heading of a solution."""
    kept = {k: v for k, v in cell.metadata.items() if k in KEPT_CELL_METADATA and v}
    heading = cell.cell_type == "markdown" and HEADING.fullmatch(cell.source.strip())
    if heading:
        kept["tags"] = ["remove-cell"]
    folded = bool(heading) and heading[1] == "Solution"
    if folded:
        # JupyterLab folds by the first key, Colab by the second and a list of them.
        kept["jp-MarkdownHeadingCollapsed"] = True
        kept["id"] = cell.id
    cell.metadata = nbformat.from_dict(kept)
    cell.source = cell.source.rstrip()
    return folded


def _normalize_outputs(outputs, count):
    merged, streams = [], {}
    for output in outputs:
        if output.output_type == "stream" and output.name in streams:
            streams[output.name].text += output.text
            continue
        if output.output_type == "stream":
            streams[output.name] = output
        if output.output_type == "execute_result":
            output.execution_count = count
        merged.append(output)
    for stream in streams.values():
        stream.text = final_text(stream.text)
    return merged


def final_text(text):
    """Return what is left of a text when its carriage returns are applied.

    The rule is nbval's, which compares by it: a carriage return erases the line so far.
    Blanks at the end of a line stay: the comparison would miss them.
    """
    return re.sub(r".*\r(?=[^\n])", "", text)


def stored_text(nb):
    """Return the text of the file that holds a notebook."""
    return nbformat.writes(nb, version=4) + "\n"


def read(path):
    """Return the notebook in a file, as nbformat 4."""
    return nbformat.read(path, as_version=4)


# ---------------------------------------------------------------- files


def chapters(root=ROOT):
    """Return the paths of all chapters of the book, in order."""
    found = (root / "chapters").glob("**/*.ipynb")
    return sorted(p for p in found if ".ipynb_checkpoints" not in p.parts)


def write_atomically(path, text):
    """Replace a file at once: a reader sees the old text or the new one."""
    scratch = path.with_name(path.name + ".part")
    scratch.write_text(text, "utf8")
    scratch.replace(path)


# ---------------------------------------------------------------- reading a notebook


def code_cells(nb):
    """Return ``(number, cell)`` of the code cells."""
    return [(n, c) for n, c in enumerate(nb.cells, 1) if c.cell_type == "code"]


def all_outputs(nb):
    """Return ``(number of the cell, output)`` of the whole notebook."""
    return [(n, output) for n, cell in code_cells(nb) for output in cell.outputs]


def all_headings(nb):
    """Return ``(cell, level, text)`` of the headings outside code blocks."""
    found = []
    for number, cell in enumerate(nb.cells, 1):
        if cell.cell_type == "markdown":
            prose = re.sub(r"^```.*?^```", "", cell.source, flags=re.M | re.S)
            found += [
                (number, len(level), text.strip())
                for level, text in re.findall(r"^(#{1,6}) +(.*)", prose, re.M)
            ]
    return found


def text_of(output):
    """Return all the text of an output."""
    data = output.get("data", {})
    texts = [data[kind] for kind in data if kind.startswith("text/")]
    return "\n".join([output.get("text", ""), *texts])
