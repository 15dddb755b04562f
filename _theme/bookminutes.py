"""Sphinx extension of the book: how long a chapter takes, for those who teach.

``{chapter-minutes}``: a table for the chapters named in its body, from the notebooks
themselves and from ``benchmarks/status.json``.
"""

import re
from pathlib import Path

from bookpages import read_json
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

WORDS_A_MINUTE = 130  # prose with formulas; newspaper text is read at 200 to 250
SECONDS_A_CODE_LINE = 5
EXERCISE_MINUTES, BUILDING_MINUTES = 10, 20  # each; the last one asks to build


class ChapterMinutes(SphinxDirective):
    """``{chapter-minutes}``: minutes of reading, running and exercises a chapter.

    The body names chapters, one a line, as in ``_toc.yml``.
    """

    has_content = True

    def run(self):
        """Return a table with a row for each chapter and one for the sum."""
        root = Path(self.env.srcdir)
        status = read_json(root / "benchmarks/status.json", {})
        rows, total = [], [0, 0, 0]
        for name in filter(None, map(str.strip, self.content)):
            path = root / f"{name}.ipynb"
            if not path.is_file():
                raise self.error(f"no chapter {name!r}")
            self.env.note_dependency(str(path))
            seconds = status.get(name, {}).get("seconds", 0)
            minutes = chapter_minutes(read_json(path), seconds)
            rows.append([chapter_title(read_json(path)), *minutes, sum(minutes)])
            total = [a + b for a, b in zip(total, minutes, strict=True)]
        rows.append(["together", *total, sum(total)])
        header = ["chapter", "reading", "running", "exercises", "minutes in all"]
        return [make_table(header, rows)]


def chapter_minutes(notebook, seconds):
    """Return whole minutes for reading, running and exercises.

    Args:
        notebook: dict, the parsed .ipynb file.
        seconds: float, the measured run time; 0 where it was not measured.
    """
    sources = [(c["cell_type"], "".join(c["source"])) for c in notebook["cells"]]
    prose = "\n".join(text for kind, text in sources if kind == "markdown")
    words = len(re.sub(r"^:::.*$|\$\$.*?\$\$", "", prose, flags=re.M | re.S).split())
    code = "\n".join(text for kind, text in sources if kind == "code")
    lines = sum(bool(line.strip()) for line in code.splitlines())
    exercises = prose.count("{exercise-start}")
    reading = words / WORDS_A_MINUTE + lines * SECONDS_A_CODE_LINE / 60
    solving = EXERCISE_MINUTES * (exercises - 1) + BUILDING_MINUTES
    return [round(reading), max(1, round(seconds / 60)), solving if exercises else 0]


def chapter_title(notebook):
    """Return the text of a notebook's first heading."""
    return "".join(notebook["cells"][0]["source"]).splitlines()[0].lstrip("# ")


def make_table(header, rows):
    """Build a table of plain cells."""
    group = nodes.tgroup(cols=len(header))
    group += [nodes.colspec(colwidth=1) for _ in header]
    group += nodes.thead("", make_row(header))
    group += nodes.tbody("", *map(make_row, rows))
    return nodes.table("", group)


def make_row(cells):
    """Build one row of paragraphs."""
    return nodes.row(
        "", *(nodes.entry("", nodes.paragraph("", str(cell))) for cell in cells)
    )


def setup(app):
    """Register the directive; called by Sphinx."""
    app.add_directive("chapter-minutes", ChapterMinutes)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
