"""Sphinx extension of the book: what is written into pages from measured files.

1. Under a chapter's title: what it needs (from ``benchmarks/status.json``) and where it
   runs (a Colab link, once the repository has an address).
2. ``{benchmarks}``: the measured figures of ``benchmarks/results`` beside the published
   ones that ``benchmarks/runs.toml`` lists.
3. ``{measured}`NAME METRIC .3f` ``: one measured figure in a sentence or a table.

No number is typed by hand, and no link leads to an address that is not set.
"""

import hashlib
import json
import re
import tomllib
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective, SphinxRole

BRANCH = "main"
PROMISE = (
    "you will build",
    "you need",
)  # how the first and last line of a promise begin


# --- the files ---------------------------------------------------------------


def read_json(path, default=None):
    """Read a JSON file; the default where there is none."""
    return json.loads(path.read_text(encoding="utf8")) if path.is_file() else default


def read_toml(path):
    """Read a TOML file; an empty dict where there is none."""
    return tomllib.loads(path.read_text(encoding="utf8")) if path.is_file() else {}


def repository(source):
    """Return the address in ``[project.urls]`` of pyproject.toml, or None."""
    urls = read_toml(Path(source, "pyproject.toml")).get("project", {}).get("urls", {})
    return urls.get("Repository", "").rstrip("/").removesuffix(".git") or None


def note_inputs(app, config):
    """Set what depends on the address; have pages read again when a file changed."""
    root = Path(app.srcdir)
    address = repository(root)
    if address:
        config.html_theme_options |= {
            "repository_url": address,
            "repository_branch": BRANCH,
            "use_repository_button": True,
            "use_issues_button": True,
        }
    measured = sorted(root.glob("benchmarks/results/*.json"))
    files = [
        root / "benchmarks/runs.toml",
        root / "benchmarks/status.json",
        *measured,
        *sorted(Path(__file__).parent.glob("*.py")),
    ]
    digest = hashlib.sha256(str(address).encode())
    for path in filter(Path.is_file, files):
        digest.update(path.name.encode() + path.read_bytes())
    config.bookpages_inputs = digest.hexdigest()


# --- under the title ---------------------------------------------------------


def add_chapter_lines(app, doctree):
    """Put the status line and the links under the title of an executed chapter."""
    env = app.env
    path = Path(env.doc2path(env.docname))
    if path.suffix != ".ipynb":
        return
    title = doctree.next_node(nodes.title)
    status = read_json(Path(app.srcdir, "benchmarks/status.json"), {})
    line = nodes.paragraph(classes=["chapter-status"])
    if env.docname in status:
        line += nodes.Text(status_line(status[env.docname]))
    if address := repository(app.srcdir):
        line += nodes.Text(" " if line.children else "")
        line += nodes.reference(
            "", "Open in Colab", refuri=colab_link(address, env.docname)
        )
    if line.children:
        title.parent.insert(title.parent.index(title) + 1, line)


def frame_promise(app, doctree):
    """Frame what a chapter promises, from *You will build* to *You need*."""
    if Path(app.env.doc2path(app.env.docname)).suffix != ".ipynb":
        return
    opening, closing = (find_opening(doctree, words) for words in PROMISE)
    if not (opening and closing and opening.parent is closing.parent):
        return
    parent = opening.parent
    first, last = parent.index(opening), parent.index(closing)
    frame = nodes.container(classes=["promise"])
    frame += parent[first : last + 1]
    parent[first : last + 1] = [frame]


def find_opening(doctree, words):
    """Find the paragraph that opens with these emphasized words."""
    for paragraph in doctree.findall(nodes.paragraph):
        start = next((node for node in paragraph.children if node.astext()), None)
        emphasized = isinstance(start, (nodes.emphasis, nodes.strong))
        if emphasized and start.astext().lower().startswith(words):
            return paragraph
    return None


def status_line(measured):
    """Say in one line what a chapter needs, and what it was measured with."""
    parts = f"Runs in {measured['seconds']:.0f} s"
    if "peak_memory_mb" in measured:
        parts += f" with {measured['peak_memory_mb'] / 1000:.1f} GB"
    if "cores" in measured:
        parts += f" on {measured['cores']} cores"
    keras = measured.get("versions", {}).get("keras")
    with_keras = f", Keras {keras}" if keras else ""
    return f"{parts} ({measured['date']}{with_keras})."


def colab_link(address, docname):
    """Return the address under which Colab opens a chapter of a GitHub repository."""
    place = address.removeprefix("https://github.com/")
    return f"https://colab.research.google.com/github/{place}/blob/{BRANCH}/{docname}.ipynb"


# --- the table of results ----------------------------------------------------


class Benchmarks(SphinxDirective):
    """``{benchmarks}``: one section a benchmark, measured beside published."""

    def run(self):
        """Return the sections, in the order of runs.toml; other results come last."""
        folder = Path(self.env.srcdir, "benchmarks")
        runs = read_toml(folder / "runs.toml")
        results = {
            path.stem: read_json(path) for path in sorted(folder.glob("results/*.json"))
        }
        names = [*runs, *(name for name in results if name not in runs)]
        if not names:
            return [nodes.paragraph("", "No benchmark is listed yet.")]
        return [self.section(n, runs.get(n, {}), results.get(n)) for n in names]

    def section(self, name, run, result):
        """Build the section of one benchmark."""
        title = nodes.title("", name)
        section = nodes.section("", title, ids=[nodes.make_id(f"benchmark-{name}")])
        section += self.origin(run, result)
        rows = table_rows(run.get("published", []), result)
        if rows:
            section += self.table(rows)
        return section

    def origin(self, run, result):
        """Say what was run, and when and where: or that it was not."""
        text = f"`{(result or run).get('source', 'source not named')}`"
        settings = (result or run).get("parameters") or {}
        if settings:
            text += " with " + ", ".join(f"`{k} = {v!r}`" for k, v in settings.items())
        text += f": {measured_with(result)}" if result else ": not measured yet."
        return nodes.paragraph("", "", *self.inline(text))

    def table(self, rows):
        """Build the table; the last column holds MyST text."""
        head = ["Metric", "This book", "Baseline here", "Published", "Published by"]
        group = nodes.tgroup(cols=len(head))
        group += [nodes.colspec(colwidth=1) for _ in head]
        group += nodes.thead("", self.row(head))
        group += nodes.tbody("", *(self.row(row) for row in rows))
        return nodes.table("", group, classes=["benchmark-table"])

    def row(self, cells):
        """Build one row of paragraphs."""
        entries = (
            nodes.entry("", nodes.paragraph("", "", *self.inline(cell)))
            for cell in cells
        )
        return nodes.row("", *entries)

    def inline(self, text):
        """Parse MyST; a bare address becomes a link."""
        linked = re.sub(r"(?<![<(\w])(https?://[^\s,;)]+[\w/])", r"<\1>", text)
        return self.state.inline_text(linked, self.lineno)[0]


def table_rows(published, result):
    """Pair the measured figures with the published ones, metric by metric.

    Args:
        published: list of dicts with the keys metric, value, what, source.
        result: dict of one results file, or None.

    Returns:
        list of (metric, measured, baseline, published, source) of str.
    """
    metrics = (result or {}).get("metrics", {})
    own = [name for name in metrics if not name.startswith("baseline_")]
    names = [*own, *(p["metric"] for p in published if p["metric"] not in own)]
    rows = []
    for name in dict.fromkeys(names):
        known = [p for p in published if p["metric"] == name]
        for i, entry in enumerate(known or [{}]):
            rows.append(
                [
                    f"`{name}`" if i == 0 else "",
                    figure(metrics.get(name)) if i == 0 else "",
                    figure(metrics.get(f"baseline_{name}")) if i == 0 else "",
                    figure(entry.get("value")),
                    ": ".join(filter(None, [entry.get("what"), entry.get("source")])),
                ]
            )
    return rows


def figure(value):
    """Write a number with three digits, a count in full, nothing as a dash."""
    if value is None:
        return "–"
    if float(value).is_integer() and abs(value) >= 10:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


class Measured(SphinxRole):
    """``{measured}`NAME METRIC FORMAT` ``: a figure of results/NAME.json.

    FORMAT is Python's, as in ``.3f``; without it the figure is written as in the table.
    """

    def run(self):
        """Return the figure, or an error that says what there is."""
        name, metric, *form = self.text.split()
        path = Path(self.env.srcdir, "benchmarks/results", f"{name}.json")
        metrics = read_json(path, {}).get("metrics", {})
        if metric not in metrics:
            known = ", ".join(metrics) or f"no results/{name}.json"
            text = f"{name} has no figure {metric!r}; expected one of: {known}"
            return [], [self.inliner.reporter.error(text, line=self.lineno)]
        value = metrics[metric]
        return [nodes.Text(format(value, *form) if form else figure(value))], []


def measured_with(result):
    """Say how long a measurement took, on what and when."""
    versions = ", ".join(f"{k} {v}" for k, v in result.get("versions", {}).items())
    parts = [
        f"{result['seconds']:.0f} s",
        f"peak memory {result['peak_memory_mb'] / 1000:.1f} GB",
        f"{result['cores']} cores ({result['machine']})",
        f"{result['date']}",
        versions,
    ]
    return ", ".join(filter(None, parts)) + "."


def setup(app):
    """Connect everything; called by Sphinx."""
    app.add_config_value("bookpages_inputs", "", "env")
    app.add_directive("benchmarks", Benchmarks)
    app.add_role("measured", Measured())
    app.connect("config-inited", note_inputs)
    app.connect("doctree-read", frame_promise)
    app.connect("doctree-read", add_chapter_lines)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
