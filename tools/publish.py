"""Hand the book out: `publish.py zip` for a USB stick, `publish.py pdf` for paper.

Both need Chromium or the packages of requirements.txt only, and no network.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from lepton_utils.doctor import find_chromium

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
BROWSER_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

START = """\
The Lepton Book, to take along

book/index.html     open it in a browser: no server and no network needed
chapters/           the notebooks; run them with JupyterLab
data/               the data that is embedded in the helper package
*.whl               the helper package:  pip install --no-deps FILE.whl
requirements.txt    the exact versions the book was executed with

On a machine that is online once:  pip install -r requirements.txt
For a room without a network, add the packages to this folder beforehand:
    pip download -r requirements.txt -d packages
and install there with:
    pip install --no-index --find-links packages -r requirements.txt
Public data sets: put their folders beside this file and set LEPTON_DATA to this folder.
"""

# What paper needs: no navigation (removed, since hidden headings become bookmarks),
# every solution open, long lines wrapped, code in one piece.
NAVIGATION = (
    ".bd-sidebar-primary, .bd-sidebar-secondary, .bd-header, .bd-header-article, "
    ".header-article, .prev-next-footer, .headerlink, .copybtn, .toggle-button, "
    ".bd-footer, .bd-footer-content, #pst-skip-link, #jb-print-toc, dialog"
)
PRINT_STYLE = """
@page { size: A4; }
html { font-size: 62.5%; }
.bd-container, .bd-container__inner, .bd-main, .bd-content, .bd-article-container {
  display: block !important; max-width: none !important; width: 100% !important;
  margin: 0 !important; padding: 0 !important; overflow: visible !important; }
h1 { break-before: page; }
h1, h2, h3 { break-after: avoid; }
div.cell_input, figure, img, table, .admonition-title { break-inside: avoid; }
img { max-width: 100% !important; }
pre, code { white-space: pre-wrap !important; overflow-wrap: anywhere; }
.cell_output pre, .cell_input pre { font-size: 0.85em; }
table { font-size: 0.85em; width: auto; max-width: 100%; overflow-wrap: anywhere; }
mjx-container { overflow: visible !important; }
"""

PREPARE = """
async ([navigation, style]) => {
  document.querySelectorAll(navigation).forEach((e) => e.remove());
  document.documentElement.dataset.theme = 'light';
  document.documentElement.dataset.mode = 'light';
  if (window.MathJax?.startup) await MathJax.startup.promise;
  document.querySelectorAll('details').forEach((d) => { d.open = true; });
  document.querySelectorAll('.toggle-hidden')
    .forEach((d) => d.classList.remove('toggle-hidden'));
  const sheet = document.createElement('style');
  sheet.textContent = style;
  document.head.append(sheet);
  const width = document.querySelector('article').clientWidth;
  document.querySelectorAll('mjx-container[display="true"]').forEach((box) => {
    const formula = box.querySelector('mjx-math');
    const wide = formula ? formula.getBoundingClientRect().width : 0;
    if (wide > width) box.style.fontSize = `${Math.floor(95 * width / wide)}%`;
  });
}
"""

# Elements whose content reaches past the right edge of the text column.
CLIPPED = """
() => {
  const edge = document.querySelector('article').getBoundingClientRect().right + 2;
  return [...document.querySelectorAll('article pre, article table, article img, '
    + 'article mjx-math, article svg')]
    .filter((e) => e.getBoundingClientRect().width && !e.closest('mjx-assistive-mml'))
    .filter((e) => e.getBoundingClientRect().right > edge
      || (e.tagName === 'PRE' && e.scrollWidth > e.clientWidth + 2))
    .map((e) => `${e.tagName.toLowerCase()}: ${e.textContent.trim().slice(0, 60)}`);
}
"""


def main():
    """Make what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["zip", "pdf"])
    parser.add_argument("--output", type=Path, help="default: dist/lepton-book.*")
    arguments = parser.parse_args()
    output = arguments.output or DIST / f"lepton-book.{arguments.what}"
    output.parent.mkdir(parents=True, exist_ok=True)
    {"zip": make_zip, "pdf": make_pdf}[arguments.what](output)
    print(f"{output.name}: {output.stat().st_size / 1e6:.1f} MB")


def make_zip(output):
    """Pack the built book, the notebooks, the data and the wheel, always alike.

    Args:
        output: Path of the zip file to write.

    Raises:
        SystemExit: if the book has not been built.
    """
    pages = ROOT / "_build" / "html"
    if not (pages / "index.html").exists():
        sys.exit("_build/html/index.html is missing: run 'make book' first")
    with tempfile.TemporaryDirectory() as folder:
        members = {"START.txt": START, **_tree(pages, "book")}
        for name in ("chapters", "data"):
            members |= _tree(ROOT / name, name)
        for name in ("requirements.txt", "LICENSE", "README.md"):
            members[name] = ROOT / name
        wheel = build_wheel(Path(folder))
        members[wheel.name] = wheel
        _write_zip(output, members)


def build_wheel(folder):
    """Build the helper package's wheel into a folder and return its path."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True)
    shutil.rmtree(ROOT / "build" / "lib", ignore_errors=True)
    return next(folder.glob("*.whl"))


def make_pdf(output):
    """Print the whole book: one page build, then Chromium with bookmarks.

    Args:
        output: Path of the PDF file to write.

    Raises:
        SystemExit: if the build fails, Chromium is missing, or content is clipped.
    """
    from playwright.sync_api import sync_playwright

    program = find_chromium()
    if program is None:
        sys.exit("Chromium is missing: install it, or set CHROMIUM to its program file")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        command = [str(Path(sys.executable).with_name("jupyter-book")), "build", "."]
        command += ["--builder", "singlehtml", "--path-output", folder]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        source = Path(folder) / "_build" / "singlehtml" / "index.html"
        browser = playwright.chromium.launch(
            executable_path=program, args=BROWSER_FLAGS
        )
        # 180 mm of text at 96 dots per inch: what Chromium lays out on A4 below
        page = browser.new_page(
            color_scheme="light", viewport={"width": 680, "height": 1000}
        )
        page.goto(source.as_uri(), wait_until="networkidle")
        page.emulate_media(media="print")
        page.evaluate(PREPARE, [NAVIGATION, PRINT_STYLE])
        clipped = page.evaluate(CLIPPED)
        if clipped:
            sys.exit("wider than the page:\n" + "\n".join(clipped))
        page.pdf(path=output, **_paper())
        browser.close()


def _paper():
    number = "<span class='pageNumber'></span> / <span class='totalPages'></span>"
    return {
        "format": "A4",
        "margin": {"top": "18mm", "bottom": "18mm", "left": "15mm", "right": "15mm"},
        "print_background": True,
        "outline": True,
        "tagged": True,
        "display_header_footer": True,
        "header_template": "<span></span>",
        "footer_template": "<div style='font-size:8px;width:100%;text-align:center'>"
        f"{number}</div>",
    }


def _tree(folder, name):
    """Map archive names to the files below a folder, leaving out scratch."""
    scratch = {".ipynb_checkpoints", "__pycache__", ".doctrees"}
    return {
        f"{name}/{path.relative_to(folder).as_posix()}": path
        for path in folder.rglob("*")
        if path.is_file() and not scratch & set(path.parts) and path.suffix != ".py"
    }


def _write_zip(output, members):
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(members.items()):
            data = content if isinstance(content, str) else content.read_bytes()
            entry = zipfile.ZipInfo(f"lepton-book/{name}", (2026, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)


if __name__ == "__main__":
    main()
