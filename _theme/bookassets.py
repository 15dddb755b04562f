"""Sphinx extension of the book: what the browser loads, and how figures are written.

1. MathJax and mermaid come from ``_theme/vendor``; a page loads them only if it holds a
   formula or a diagram. They are plain scripts, so that the book also works from
   ``file://``.
2. A figure's caption and alternative text, which `lepton_utils.show` stores in the
   output metadata, become ``<figure>``, ``<img alt>`` and ``<figcaption>``.
3. Small repairs of the packages in between; each says what it repairs.
"""

import re
from pathlib import Path

from docutils import nodes
from myst_nb.core.render import NbElementRenderer
from sphinx_external_toc.collectors import TocTreeCollectorWithStyles
from sphinxcontrib.mermaid import mermaid

THEME = Path(__file__).resolve().parent
MATHJAX = "mathjax/tex-chtml-full.js"
MERMAID = "mermaid/mermaid.js"


# --- what a page loads -------------------------------------------------------


def add_assets(app, config):
    """Serve ``static`` and ``vendor``; take over from what loads from outside.

    Done after Jupyter Book has scanned the static folders: it would put every script
    that it finds below them on every page.
    """
    config.html_static_path += [str(THEME / "static"), str(THEME / "vendor")]
    disconnect(app, "html-page-context", "sphinx.ext.mathjax")
    disconnect(app, "html-page-context", "sphinxcontrib.mermaid")
    disconnect(app, "env-before-read-docs", "sphinx_thebe")
    disconnect(app, "doctree-resolved", "sphinx_thebe")
    app.add_css_file("book.css", priority=900)
    app.add_js_file("book.js", priority=900)


def disconnect(app, event, module):
    """Remove the handlers that a module has connected to an event."""
    listeners = app.events.listeners.get(event, [])
    listeners[:] = [
        listener
        for listener in listeners
        if not listener.handler.__module__.startswith(module)
    ]


def load_on_demand(app, pagename, templatename, context, doctree):
    """Load MathJax on pages with a formula, mermaid on pages with a diagram."""
    if doctree is None:
        return
    if doctree.next_node(lambda node: isinstance(node, (nodes.math, nodes.math_block))):
        app.add_js_file("mathjax-settings.js", loading_method="defer")
        app.add_js_file(MATHJAX, loading_method="defer")
    if doctree.next_node(mermaid):
        app.add_js_file(MERMAID, loading_method="defer")
        app.add_js_file("diagrams.js", loading_method="defer")


def finish_pages(app, exception):
    """Drop what the theme adds and no page needs, 5 MB in all; mend two details.

    ``fontawesome.js`` (1.5 MB on every page) draws the icons that the web font draws as
    well; the search index belongs to the search page alone, as the book has no
    search-as-you-type; source maps and templates are for the theme's developers.
    Sphinx gives references a role that is deprecated and unfit for items of a list, and
    the empty corner of a table the tag of a header, which screen readers announce.
    """
    if exception or app.builder.format != "html":
        return
    icons = r"scripts/fontawesome\.js"
    search = r"_static/searchtools\.js|_static/language_data\.js|searchindex\.js"
    for page in Path(app.outdir).rglob("*.html"):
        names = icons if page.name == "search.html" else f"{icons}|{search}"
        text = page.read_text(encoding="utf8")
        mended = re.sub(rf"\s*<script[^>]*(?:{names})[^>]*></script>", "", text)
        mended = mended.replace('role="doc-biblioentry"', 'role="listitem"')
        mended = re.sub(r'<th class="head[^>]*><p></p></th>', "<td></td>", mended)
        if mended != text:
            page.write_text(mended, encoding="utf8")
    static = Path(app.outdir, "_static")
    for unused in ("*.map", "scripts/fontawesome.js*", "*webpack-macros.html"):
        for path in static.rglob(unused):
            path.unlink()


# --- figures -----------------------------------------------------------------


def describe_images():
    """Let notebook images carry their words, which myst-nb ignores."""
    render_image = NbElementRenderer.render_image

    def render_described(self, data):
        images = render_image(self, data)
        words = data.output_metadata.get(data.mime_type) or {}
        for image in images:
            if words.get("alt") and not image.get("alt"):
                image["alt"] = str(words["alt"])
        if words.get("caption") and len(images) == 1:
            return [make_figure(self.renderer, images[0], str(words["caption"]), data)]
        return images

    NbElementRenderer.render_image = render_described


def make_figure(renderer, image, caption, data):
    """Wrap an image into a figure whose caption is parsed as MyST."""
    number = 1 + sum(1 for _ in renderer.document.findall(nodes.figure))
    figure = nodes.figure("", image, align="center", ids=[f"fig-{number}"])
    text = nodes.caption()
    with renderer.current_node_context(text):
        renderer.nested_render_text(caption, data.line or 0, inline=True)
    figure += text
    return figure


# --- repairs -----------------------------------------------------------------


def number_chapters_by_file():
    """Number a chapter by its file, ``03_article_cnn`` -> 3, while others are missing.

    Sphinx counts the pages that exist. And where two parts have a chapter 3, their
    figures and equations share one count; here each chapter counts its own.
    """
    count_sections = TocTreeCollectorWithStyles.assign_section_numbers
    count_figures = TocTreeCollectorWithStyles.assign_figure_numbers

    def assign_sections(self, env):
        rewrite = count_sections(self, env)
        for docname, numbers in env.toc_secnumbers.items():
            if match := re.fullmatch(r"chapters/\w+/(\d\d)_\w+", docname):
                renumber(env, docname, numbers, int(match[1]))
        return rewrite

    def assign_figures(self, env):
        rewrite = count_figures(self, env)
        for kinds in env.toc_fignumbers.values():
            for numbers in kinds.values():
                ordered = sorted(numbers.items(), key=lambda item: item[1])
                for place, (anchor, number) in enumerate(ordered, 1):
                    numbers[anchor] = (*number[:-1], place)
        return rewrite

    TocTreeCollectorWithStyles.assign_section_numbers = assign_sections
    TocTreeCollectorWithStyles.assign_figure_numbers = assign_figures


def renumber(env, docname, numbers, chapter):
    """Put a chapter's number first, wherever Sphinx keeps section numbers."""
    for anchor, number in numbers.items():
        if number:
            numbers[anchor] = (chapter, *number[1:])
    for node in [*env.tocs[docname].findall(nodes.reference), env.titles[docname]]:
        if node.get("secnumber"):
            node["secnumber"] = [chapter, *node["secnumber"][1:]]


def unique_ids(app, doctree, docname):
    """Drop the id that sphinx-exercise gives to the content of every exercise."""
    for section in doctree.findall(nodes.section):
        if section["ids"] in (["exercise-content"], ["solution-content"]):
            section["ids"] = []


def repair_singlehtml(app):
    """Let the one-page builder see all handlers.

    sphinx-exercise registers its own under the builder's name; Sphinx then ignores
    those that the other extensions have registered for the format.
    """
    handlers = app.registry.translation_handlers
    if "singlehtml" in handlers:
        for name, pair in handlers.get("html", {}).items():
            handlers["singlehtml"].setdefault(name, pair)


def setup(app):
    """Connect everything; called by Sphinx."""
    describe_images()
    number_chapters_by_file()
    app.connect("config-inited", add_assets, priority=900)
    app.connect("builder-inited", repair_singlehtml)
    app.connect("doctree-resolved", unique_ids, priority=900)
    app.connect("html-page-context", load_on_demand)
    app.connect("build-finished", finish_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
