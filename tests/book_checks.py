"""Checks of rendered pages. Each returns a list of faults, in words.

`tests/test_book.py` applies them to every page of the built book,
`tests/test_book_checks.py` to pages with one planted fault each.
"""

import contextlib
import gzip
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
HOME = ("127.0.0.1", "localhost")
MB = 1_000_000
HEAVY, LIGHT = 1.6 * MB, 0.75 * MB  # with formulas or diagrams, and without; compressed

# Formulas are set, diagrams drawn, fonts there, transitions of the theme finished.
SETTLED = """
async () => {
  if (window.MathJax?.startup?.promise) await MathJax.startup.promise;
  const drawn = () => !document.querySelector('pre.mermaid:not([data-processed])');
  for (let i = 0; i < 100 && window.mermaid && !drawn(); i++)
    await new Promise((done) => setTimeout(done, 50));
  await document.fonts.ready;
  await new Promise((done) => setTimeout(done, 250));
}
"""

FORMULAS = """
() => {
  const faults = [];
  for (const formula of document.querySelectorAll('.math')) {
    const set = formula.querySelector('mjx-container');
    if (!set) faults.push('formula not rendered: ' + formula.textContent.slice(0, 60));
  }
  for (const error of document.querySelectorAll('mjx-merror, [data-mjx-error]'))
    faults.push('MathJax: ' + (error.dataset.mjxError || error.textContent));
  return faults;
}
"""

DIAGRAMS = """
() => [...document.querySelectorAll('.mermaid')]
  .filter((d) => !d.querySelector('svg:not([aria-roledescription=error])'))
  .map((d) => 'diagram not drawn: ' + d.textContent.trim().slice(0, 60))
"""

# The page itself never scrolls sideways; nothing sticks out of it unseen; and of what
# is on it, only code, outputs, tables and formulas may scroll.
WIDTH = """
() => {
  const scrollers = 'pre, .highlight, .output, mjx-container, div.math, ' +
    '.pst-scrollable-table-container, table';
  const faults = [];
  const root = document.documentElement;
  if (root.scrollWidth > window.innerWidth)
    faults.push(`page of ${root.scrollWidth} px, window of ${window.innerWidth}`);
  for (const element of document.querySelectorAll('main *')) {
    const name = `${element.tagName.toLowerCase()}.${element.className}`.slice(0, 80);
    const overflow = getComputedStyle(element).overflowX;
    const scrolls = ['auto', 'scroll'].includes(overflow) &&
      element.scrollWidth > element.clientWidth + 1;
    if (scrolls && !element.matches(scrollers))
      faults.push(`scrolls sideways: ${name}`);
    const box = element.getBoundingClientRect();
    const visible = box.width > 1 && box.height > 1 &&
      element.checkVisibility({visibilityProperty: true});
    const out = box.right > window.innerWidth + 1 || box.left < -1;
    if (visible && out && !element.closest(scrollers))
      faults.push(`sticks out of the page: ${name}`);
  }
  return faults;
}
"""

# axe looks at every element. A chapter has 20,000, most of them tokens of code and
# parts of formulas: of tokens that look alike three stay, of formulas twenty; the rest
# becomes plain text, or a box of the same size.
THIN_OUT = """
() => {
  const seen = {};
  for (const token of document.querySelectorAll('.highlight pre span')) {
    const place = token.closest('.cell_input, .cell_output, .admonition');
    const look = `${token.className} in ${place?.className}`;
    seen[look] = (seen[look] ?? 0) + 1;
    if (seen[look] > 3 && !token.querySelector('span'))
      token.replaceWith(token.textContent);
  }
  const formulas = [...document.querySelectorAll('mjx-container')].slice(20);
  const boxes = formulas.map((f) => f.firstElementChild.getBoundingClientRect());
  formulas.forEach((formula, i) => {
    const box = document.createElement('span');
    box.style.display = 'inline-block';
    box.style.width = `${boxes[i].width}px`;
    box.style.height = `${boxes[i].height}px`;
    formula.replaceChildren(box);
  });
}
"""

# `rules` is null for all of them, or a list of names.
ACCESSIBILITY = """
async (rules) => {
  const options = {resultTypes: ['violations'], preload: false};
  if (rules) options.runOnly = {type: 'rule', values: rules};
  const found = await axe.run(document, options);
  return found.violations.flatMap((rule) => rule.nodes.map((node) =>
    `${rule.id}: ${node.target.join(' ')}: ${node.html.slice(0, 90)}`));
}
"""


@dataclass
class Visit:
    """A page in the browser, and what happened while it loaded."""

    page: object
    requests: list = field(default_factory=list)
    messages: list = field(default_factory=list)

    def open(self, address):
        """Load a page and wait until it is complete."""
        self.requests.clear()
        self.messages.clear()
        self.page.goto(address)
        self.settle()

    def settle(self):
        """Wait until formulas, diagrams and fonts are in place."""
        self.page.evaluate(SETTLED)

    def dress(self, scheme=None, width=None):
        """Change the color scheme or the width of the window, without loading again."""
        if scheme:
            self.page.emulate_media(color_scheme=scheme)
        if width:
            self.page.set_viewport_size({"width": width, "height": 900})
        self.settle()


@contextlib.contextmanager
def visiting(browser, scheme="light", width=1280):
    """Yield a `Visit` in a fresh context: no cache, no storage."""
    size = {"width": width, "height": 900}
    context = browser.new_context(color_scheme=scheme, viewport=size)
    context.set_default_timeout(90_000)  # a busy machine is no fault of the page
    visit = Visit(context.new_page())
    record = visit.messages.append
    page = visit.page
    page.on("request", lambda request: visit.requests.append(request.url))
    page.on("pageerror", lambda error: record(f"script: {error}"))
    page.on("requestfailed", lambda request: record(f"not loaded: {request.url}"))
    page.on(
        "console", lambda m: record(f"console: {m.text}") if m.type == "error" else 0
    )
    yield visit
    context.close()


# --- what happened while the page loaded -------------------------------------


def external_requests(visit):
    """Requests that leave this machine."""
    kept = ("data:", "blob:", "file:")
    return [
        f"request to {url}"
        for url in visit.requests
        if not url.startswith(kept) and urlsplit(url).hostname not in HOME
    ]


def console_faults(visit):
    """Errors in the console, exceptions in scripts, files that were not there."""
    return list(visit.messages)


def needless_files(visit):
    """Large files that were loaded and are not used on the page."""
    needs = {
        "/mathjax/tex": ".math",
        "/mermaid/": ".mermaid",
        "/searchindex.js": "#search-results",
        "/fontawesome.js": "no-such-element",
        "/thebe": "no-such-element",
    }
    return [
        f"loads {url} without a {use}"
        for url in visit.requests
        for name, use in needs.items()
        if name in url.split("?")[0] and not visit.page.query_selector(use)
    ]


def weight(visit, folder, base):
    """Bytes of the page and all that it loads, compressed as a server sends them."""
    files = {urlsplit(url).path for url in visit.requests if url.startswith(base)}
    return sum(compressed(folder / unquote(path).lstrip("/")) for path in files)


def weight_faults(visit, folder, base):
    """A page over its budget."""
    size = weight(visit, folder, base)
    limit = HEAVY if visit.page.query_selector(".math, .mermaid") else LIGHT
    return [f"{size / MB:.2f} MB, limit {limit / MB}"] if size > limit else []


def compressed(path):
    """Bytes of a file after gzip, or as it is where that does not help."""
    content = path.read_bytes()
    return min(len(content), len(gzip.compress(content, 6)))


# --- what is on the page -----------------------------------------------------


def formula_faults(visit):
    """Formulas that are not set, or set with an error."""
    return visit.page.evaluate(FORMULAS)


def diagram_faults(visit):
    """Diagrams that are still text, or an error message."""
    return visit.page.evaluate(DIAGRAMS)


def width_faults(visit):
    """What is wider than the window."""
    return visit.page.evaluate(WIDTH)


def thin_out(visit):
    """Make a long page quick to check for accessibility, and unfit for other checks."""
    visit.page.evaluate(THIN_OUT)


def accessibility_faults(visit, rules=None):
    """Violations that axe-core finds, of all rules or of those that are named."""
    if not visit.page.evaluate("() => Boolean(window.axe)"):
        visit.page.evaluate(AXE.read_text(encoding="utf8"))
    return visit.page.evaluate(ACCESSIBILITY, rules)


def color_faults(visit):
    """Violations of the rules on color alone: what differs between light and dark."""
    return accessibility_faults(visit, ["color-contrast", "link-in-text-block"])


# --- what is in the files ----------------------------------------------------


class Source(HTMLParser):
    """Collect anchors, links and images of one page."""

    def __init__(self, path):
        """Read the page."""
        super().__init__()
        self.ids, self.repeated, self.links, self.images = {""}, [], [], []
        self.feed(path.read_text(encoding="utf8"))

    def handle_starttag(self, tag, attributes):
        """Note what the tag carries."""
        found = dict(attributes)
        if found.get("id"):
            if found["id"] in self.ids:
                self.repeated.append(found["id"])
            self.ids.add(found["id"])
        if tag == "img":
            self.images.append(found)
        if tag == "meta" and found.get("http-equiv", "").lower() == "refresh":
            self.links.append(found["content"].partition("url=")[2])
        self.links += [found[name] for name in ("href", "src") if found.get(name)]


def image_faults(source):
    """Images without words, or with words that say nothing."""
    empty = re.compile(r"(image|figure|plot|picture|png|output)?[\W\d]*", re.IGNORECASE)
    return [
        f"alternative text {image.get('alt')!r}: {image.get('src', '')[-60:]}"
        for image in source.images
        if empty.fullmatch((image.get("alt") or "").strip())
        and "logo__image" not in image.get("class", "")  # its name stands beside it
    ]


def link_faults(folder):
    """Links in the pages of a folder that lead nowhere; ids that occur twice."""
    pages = {path.resolve(): Source(path) for path in sorted(folder.rglob("*.html"))}
    faults = []
    for path, source in pages.items():
        name = path.relative_to(folder.resolve())
        faults += [f"{name}: id {repeated!r} twice" for repeated in source.repeated]
        for link in source.links:
            if not urlsplit(link).scheme and not leads_somewhere(path, link, pages):
                faults.append(f"{name}: {link}")
    return faults


def leads_somewhere(path, link, pages):
    """Say whether a relative link meets a file and, if it names one, an anchor."""
    address, anchor = urldefrag(urljoin(path.as_uri(), link))
    target = Path(unquote(urlsplit(address).path)).resolve()
    if target in pages:
        return unquote(anchor) in pages[target].ids
    return target.exists() and not link.startswith("/")
