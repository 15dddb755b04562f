"""Plants one fault a page and sees that the check of tests/book_checks.py finds it."""

import shutil
from pathlib import Path

import book_checks as checks
import pytest
from conftest import serve

THEME = Path(__file__).parents[1] / "_theme"
MATHJAX = (
    '<script defer src="mathjax-settings.js"></script>'
    '<script defer src="mathjax/tex-chtml-full.js"></script>'
)
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>A page</title>
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">
<style>body {{ color: #111; background: #fff; }}</style>{head}</head>
<body><main><h1>A page</h1><p id="here">Some text.</p>{body}</main></body></html>
"""
FAULTLESS = (
    '<p>See <a href="#here">above</a> and <span class="math">\\(x^2\\)</span>.</p>'
    '<img src="dot.png" alt="A gray dot on white" width="5" height="5">'
    '<pre tabindex="0" style="overflow-x: auto">' + "wide " * 500 + "</pre>"
)
PLANTED = {
    "external": '<img src="https://example.org/x.png" alt="A dot from elsewhere">',
    "console": "<script>console.error('broken')</script>",
    "exception": "<script>nothing.at.all()</script>",
    "missing file": '<img src="absent.png" alt="A dot that is not there">',
    "bad formula": '<p class="math">\\(\\frac{1\\)</p>',
    "unknown macro": '<p class="math">\\(\\nosuchmacro\\)</p>',
    "diagram": '<pre class="mermaid">flowchart LR\n a --&gt; b</pre>',
    "wide element": '<p style="width: 2000px">wide</p>',
    "clipped element": '<div style="overflow: hidden">'
    '<p style="width: 2000px">wide</p></div>',
    "scrolling text": '<p style="overflow-x: auto; white-space: nowrap">'
    + "word " * 500
    + "</p>",
    "contrast": '<p style="color: #aaa">too light</p>',
    "no alt": '<img src="dot.png">',
    "empty alt": '<img src="dot.png" alt="">',
    "lazy alt": '<img src="dot.png" alt="Figure 3">',
    "dead anchor": '<a href="#nowhere">there</a>',
    "dead link": '<a href="absent.html">there</a>',
    "id twice": '<p id="here">again</p>',
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Yield a folder with MathJax and a picture in it, and its address."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(THEME / "vendor" / "mathjax", folder / "mathjax")
    shutil.copy(THEME / "static" / "mathjax-settings.js", folder)
    (folder / "dot.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with serve(folder) as address:
        yield folder, address


def write(folder, body, head=""):
    for page in folder.glob("*.html"):
        page.unlink()
    page = folder / "page.html"
    page.write_text(PAGE.format(head=head, body=body), encoding="utf8")
    return page


@pytest.fixture
def faults(browser, site):
    """Return a function that opens a page and returns what a check finds in it."""
    folder, address = site

    def find(check, body, head=None, scheme="light"):
        if head is None:
            head = MATHJAX if "math" in body else ""
        write(folder, body, head)
        with checks.visiting(browser, scheme, width=600) as visit:
            visit.open(address + "page.html")
            return check(visit)

    return find


ON_PAGE = {
    "external": checks.external_requests,
    "console": checks.console_faults,
    "exception": checks.console_faults,
    "missing file": checks.console_faults,
    "bad formula": checks.formula_faults,
    "unknown macro": checks.formula_faults,
    "diagram": checks.diagram_faults,
    "wide element": checks.width_faults,
    "clipped element": checks.width_faults,
    "scrolling text": checks.width_faults,
    "contrast": checks.accessibility_faults,
}
IN_FILE = {
    "no alt": lambda page: checks.image_faults(checks.Source(page)),
    "empty alt": lambda page: checks.image_faults(checks.Source(page)),
    "lazy alt": lambda page: checks.image_faults(checks.Source(page)),
    "dead anchor": lambda page: checks.link_faults(page.parent),
    "dead link": lambda page: checks.link_faults(page.parent),
    "id twice": lambda page: checks.link_faults(page.parent),
}


def test_every_planted_fault_has_a_check():
    assert PLANTED.keys() == ON_PAGE.keys() | IN_FILE.keys()


@pytest.mark.parametrize("check", dict.fromkeys(ON_PAGE.values()))
def test_faultless_page_passes(faults, check):
    assert faults(check, FAULTLESS) == []


@pytest.mark.parametrize("fault", ON_PAGE)
def test_planted_fault_is_found(faults, fault):
    assert faults(ON_PAGE[fault], PLANTED[fault])


def test_faultless_file_passes(tmp_path):
    (tmp_path / "dot.png").touch()
    page = write(tmp_path, FAULTLESS)
    assert [check(page) for check in IN_FILE.values()] == [[]] * len(IN_FILE)


@pytest.mark.parametrize("fault", IN_FILE)
def test_planted_fault_in_a_file_is_found(tmp_path, fault):
    (tmp_path / "dot.png").touch()
    page = write(tmp_path, PLANTED[fault])
    assert len(IN_FILE[fault](page)) == 1


def test_formula_without_mathjax_is_found(faults):
    found = faults(checks.formula_faults, FAULTLESS, head="")
    assert found == ["formula not rendered: \\(x^2\\)"]


def test_contrast_fault_of_the_dark_page_alone_is_found(faults):
    head = (
        "<style>@media (prefers-color-scheme: dark) { body { background: #000; } "
        "h1, p { color: #fff; } p.dim { color: #333; } }</style>"
    )
    body = '<p class="dim">dim</p>'
    assert faults(checks.color_faults, body, head) == []
    assert faults(checks.color_faults, body, head, scheme="dark")


def test_needless_mathjax_is_found(faults):
    (found,) = faults(checks.needless_files, "", head=MATHJAX)
    assert "mathjax/tex" in found
    assert faults(checks.needless_files, FAULTLESS) == []


def test_heavy_page_is_found(faults, site, monkeypatch):
    folder, address = site
    monkeypatch.setattr(checks, "HEAVY", 200_000)  # MathJax alone has 300,000
    assert faults(lambda v: checks.weight_faults(v, folder, address), FAULTLESS)
    monkeypatch.setattr(checks, "HEAVY", 1_600_000)
    assert not faults(lambda v: checks.weight_faults(v, folder, address), FAULTLESS)


def test_fault_of_a_thinned_page_is_found(faults):
    code = '<span class="k">def</span> ' * 50 + '<span class="c"># a note</span>'
    body = f'<div class="highlight"><pre tabindex="0">{code}</pre></div>'
    head = "<style>.highlight .c { color: #aaa; }</style>"

    def tokens_and_faults(visit):
        checks.thin_out(visit)
        tokens = visit.page.query_selector_all(".highlight span")
        return len(tokens), checks.accessibility_faults(visit)

    tokens, found = faults(tokens_and_faults, body, head)
    assert tokens == 4
    assert [fault.split(":")[0] for fault in found] == ["color-contrast"]
