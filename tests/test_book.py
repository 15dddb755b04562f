"""The built book in a real browser: `make book` (or `make test`) builds it first.

Every page is opened in light and dark, as wide as a desktop and as narrow as a phone.
"""

import hashlib
import re
import tomllib
from pathlib import Path

import book_checks as checks
import pytest
import yaml
from conftest import serve

ROOT = Path(__file__).parents[1]
BOOK = ROOT / "_build" / "html"
DESKTOP, PHONE = 1280, 390
# A word that the search must find in each part of the book.
TERMS = {
    "Mathematics": "backpropagation",
    "Workflow": "calibration",
    "Vision": "segmentation",
    "Language": "tokenizer",
    "Recommenders": "factorization",
    "Appendix": "ablation",
}

TOC = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf8"))
PARTS = {
    part["caption"]: [entry["file"] for entry in part["chapters"]]
    for part in TOC["parts"]
}
CHAPTERS = [name for part in PARTS.values() for name in part]
PAGES = [TOC["root"], *CHAPTERS, "search", "genindex"]


@pytest.fixture(scope="module", autouse=True)
def built():
    if not (BOOK / "index.html").is_file():
        pytest.fail("there is no book in _build/html: run 'make book' first")


@pytest.fixture(scope="module")
def site(built):
    with serve(BOOK) as address:
        yield address


@pytest.fixture(scope="module")
def first_with_formulas(built):
    """Return the first chapter that has a formula."""
    pages = (BOOK / f"{name}.html" for name in CHAPTERS)
    return next(p for p in pages if 'class="math' in p.read_text(encoding="utf8"))


def source(name):
    paths = (ROOT / f"{name}{suffix}" for suffix in (".md", ".ipynb"))
    return next(path for path in paths if path.is_file())


# --- every page --------------------------------------------------------------


@pytest.mark.parametrize("name", [TOC["root"], *CHAPTERS])
def test_page_is_built_from_what_its_source_is_now(name):
    page = BOOK / f"{name}.html"
    assert page.is_file(), "run 'make book'"
    assert page.stat().st_mtime >= source(name).stat().st_mtime, "run 'make book'"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_page(browser, site, name, scheme):
    faults = {}
    with checks.visiting(browser, scheme, DESKTOP) as visit:
        visit.open(f"{site}{name}.html")
        theme = visit.page.evaluate("() => document.documentElement.dataset.theme")
        assert theme == scheme
        for width in (DESKTOP, PHONE):
            visit.dress(width=width)
            for check in (
                checks.formula_faults,
                checks.diagram_faults,
                checks.width_faults,
            ):
                faults[f"{check.__name__}, {width} px"] = check(visit)
        faults["weight"] = checks.weight_faults(visit, BOOK, site)
        for check in (
            checks.needless_files,
            checks.external_requests,
            checks.console_faults,
        ):
            faults[check.__name__] = check(visit)
        checks.thin_out(visit)
        for width in (PHONE, DESKTOP):
            visit.dress(width=width)
            check = (
                checks.color_faults if scheme == "dark" else checks.accessibility_faults
            )
            faults[f"{check.__name__}, {width} px"] = check(visit)
    found = [f"{name}: {fault}" for name in faults for fault in faults[name]]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", PAGES)
def test_images_have_words(name):
    assert checks.image_faults(checks.Source(BOOK / f"{name}.html")) == []


def test_links_and_anchors_lead_somewhere():
    assert checks.link_faults(BOOK) == []


def test_changing_the_color_scheme_draws_the_page_anew(browser, site):
    """The reader's switch, not the system's setting: diagrams follow it."""
    with checks.visiting(browser, "light", DESKTOP) as visit:
        visit.open(f"{site}{TOC['root']}.html")
        before = visit.page.inner_html(".mermaid")
        for _ in range(3):  # auto, light, dark, in an order of the theme's
            visit.page.locator("button.theme-switch-button").first.click()
            visit.page.mouse.move(DESKTOP / 2, 500)  # away from it: no tooltip
            visit.settle()
            if visit.page.evaluate("document.documentElement.dataset.theme") == "dark":
                break
        assert visit.page.inner_html(".mermaid") != before
        assert checks.diagram_faults(visit) == []
        assert checks.accessibility_faults(visit) == []
        assert checks.console_faults(visit) == []


# --- search ------------------------------------------------------------------


@pytest.mark.parametrize("part", PARTS)
def test_search_finds_a_term_of_each_part(browser, site, part):
    assert part in TERMS, f"name a word of the part {part!r} in TERMS"
    with checks.visiting(browser) as visit:
        visit.open(f"{site}search.html?q={TERMS[part]}")
        found = search_results(visit)
        assert checks.console_faults(visit) == []
    assert any(page in link for link in found for page in PARTS[part])


def search_results(visit):
    visit.page.wait_for_selector("#search-results li a", timeout=10_000)
    visit.page.wait_for_function(
        "() => /found|finished/i.test(document.querySelector('#search-results p')"
        ".textContent)"
    )
    links = visit.page.query_selector_all("#search-results li a")
    return [link.get_attribute("href") for link in links]


# --- without a server --------------------------------------------------------


def test_book_opens_from_a_folder(browser):
    with checks.visiting(browser) as visit:
        visit.page.goto((BOOK / "index.html").as_uri())
        visit.page.wait_for_url(f"**/{TOC['root']}.html")
        visit.settle()
        assert visit.page.inner_text("h1").startswith(title())
        assert checks.diagram_faults(visit) == []
        assert checks.external_requests(visit) == []
        assert checks.console_faults(visit) == []


def title():
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf8"))
    return config["title"]


def test_formulas_are_set_from_a_folder(browser, first_with_formulas):
    with checks.visiting(browser) as visit:
        visit.open(first_with_formulas.as_uri())
        assert visit.page.query_selector("mjx-container")
        assert checks.formula_faults(visit) == []
        assert checks.external_requests(visit) == []
        assert checks.console_faults(visit) == []


def test_search_works_from_a_folder(browser):
    with checks.visiting(browser) as visit:
        visit.open((BOOK / "search.html").as_uri() + f"?q={TERMS['Appendix']}")
        assert any("glossary" in link for link in search_results(visit))
        assert checks.console_faults(visit) == []


# --- what goes along ---------------------------------------------------------


def test_repository_links_only_when_the_repository_has_an_address():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))
    address = project["project"].get("urls", {}).get("Repository")
    notebooks = [name for name in CHAPTERS if source(name).suffix == ".ipynb"]
    for name in notebooks:
        page = (BOOK / f"{name}.html").read_text(encoding="utf8")
        links = re.findall(r'href="(https://colab[^"]*)"', page)
        if address is None:
            assert links == []
        else:
            place = address.removeprefix("https://github.com/").rstrip("/")
            assert len(links) == 1
            assert f"/{place}/blob/main/{name}.ipynb" in links[0]


@pytest.mark.parametrize("folder", ["_theme/vendor", "tests/vendor"])
def test_vendored_files_are_the_published_ones(folder):
    lines = (ROOT / folder / "SHA256SUMS").read_text(encoding="utf8").splitlines()
    listed = {name.removeprefix("./"): digest for digest, name in map(str.split, lines)}
    there = {
        path.relative_to(ROOT / folder).as_posix(): hashlib.sha256(path.read_bytes())
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.name != "SHA256SUMS"
    }
    assert {name: digest.hexdigest() for name, digest in there.items()} == listed
