"""The tools that run notebooks, measure them, and set the repository's address."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import colab  # noqa: E402
import measuring  # noqa: E402
import notebooks  # noqa: E402
from notebook_form import (  # noqa: E402
    INSTALLER_START,
    KERNEL,
    chapters,
    final_text,
    installer,
    read,
)

import benchmarks  # noqa: E402

URL = "https://example.org/ada/book"


@pytest.fixture
def root(tmp_path):
    """Return a repository of one chapter, whose requirements are what is installed."""
    for folder in ("chapters/mathematics", "benchmarks", "tools"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "requirements.txt").write_text("")
    return tmp_path


def chapter(root, *sources, name="01_try"):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    path = root / "chapters" / "mathematics" / f"{name}.ipynb"
    nb = nbformat.v4.new_notebook(cells=cells)
    nb.metadata["kernelspec"] = KERNEL
    nbformat.write(nb, path)
    return path


# ---------------------------------------------------------------- run


def test_second_run_gives_the_same_bytes(root, capsys):
    path = chapter(
        root,
        'print("step 1\\rstep 2\\rdone")',
        'names = {"a", "b", "c", "d"}\nnames',
        "from IPython.display import display\nprint(1)\ndisplay({1: 2})\nprint(3)",
    )
    assert notebooks.run([path], root) == 0
    first = path.read_bytes()
    assert notebooks.run([path], root) == 0
    assert path.read_bytes() == first
    assert "stored" in capsys.readouterr().out
    nb = read(path)
    assert [cell.execution_count for cell in nb.cells] == [1, 2, 3, 4]
    assert nb.cells[1].outputs[0].text == "done\n"
    assert nb.cells[0].source.startswith(INSTALLER_START)


def test_run_ignores_what_steers_other_runs(root, monkeypatch):
    for name in notebooks.STEERING:
        monkeypatch.setenv(name, "3")
    names = [n for n in notebooks.STEERING if n != "MPLBACKEND"]  # the kernel sets it
    path = chapter(root, f"import os\n[os.environ.get(n) for n in {names}]")
    assert notebooks.run([path], root) == 0
    assert read(path).cells[1].outputs[0].data["text/plain"] == "[None, None, None]"


def test_failing_notebook_stays_as_it_was(root, capsys):
    path = chapter(root, "1 / 0")
    before = path.read_bytes()
    assert notebooks.run([path], root) == 1
    assert path.read_bytes() == before
    assert "ZeroDivisionError" in capsys.readouterr().out


def test_run_refuses_other_versions(root, capsys):
    path = chapter(root, "1")
    before = path.read_bytes()
    (root / "requirements.txt").write_text(
        "numpy==0.1\nnot-there==2 ; python_version>'3'"
    )
    assert notebooks.run([path], root) == 1
    assert path.read_bytes() == before
    printed = capsys.readouterr().out
    assert "numpy: " in printed and "instead of ==0.1" in printed
    assert "not-there: nothing instead of ==2" in printed
    assert "pip install -r requirements.txt" in printed


def test_requirements_of_other_platforms_do_not_count():
    text = "numpy==0.1 ; sys_platform == 'amiga'\n# a comment\n\n"
    assert notebooks.version_differences(text) == []


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("a\rb\n", "b\n"),
        ("a\r\nb", "a\r\nb"),
        ("a\r\rb\rc", "c"),
        ("kept  \n", "kept  \n"),
    ],
)
def test_final_text_is_what_nbval_compares(text, left):
    from nbval.plugin import coalesce_streams

    output = nbformat.v4.new_output("stream", text=text)
    assert final_text(text) == left == coalesce_streams([output])[0].text


# ---------------------------------------------------------------- bands

SEEDED = """\
import json, os
seed = int(os.environ["LEPTON_SEED"])
with open(os.environ["LEPTON_RECORD"], "a") as file:
    file.write(json.dumps({"iou": seed / 10}))"""


def test_bands_names_the_seed_and_the_assert(root, capsys):
    path = chapter(root, SEEDED, 'assert seed < 2, "too large"')
    before = path.read_bytes()
    assert notebooks.bands(path, [1, 2]) == 1
    printed = capsys.readouterr().out
    assert "seed 1: every check cell passes" in printed
    assert "seed 2: cell 2: AssertionError too large at `assert seed < 2" in printed
    assert printed.splitlines()[-1].split() == ["iou", "0.1", "0.2"]
    assert path.read_bytes() == before


def test_seed_list():
    assert notebooks.seed_list("1-3,7") == [1, 2, 3, 7]


# ---------------------------------------------------------------- repository


def test_installer_without_an_address_points_to_the_readme(root):
    text = (root / "pyproject.toml").read_text()
    (root / "pyproject.toml").write_text(text.split("[project.urls]")[0])
    assert "http" not in installer("mathematics", root)
    section = notebooks_section(installer("mathematics", root))
    assert f"## {section}\n" in (ROOT / "README.md").read_text()


def notebooks_section(source):
    return source.split('README.md, "')[1].split('"')[0]


def test_repository_is_set_everywhere_once(root):
    path = chapter(root, "1")
    (root / "CITATION.cff").write_text("cff-version: 1.2.0\ntitle: A book\n")
    notebooks.set_repository(URL + ".git", root)
    assert f'lepton-utils[mathematics] @ git+{URL}"' in read(path).cells[0].source
    once = {file: file.read_text() for file in root.rglob("*") if file.is_file()}
    notebooks.set_repository(URL, root)
    assert {file: file.read_text() for file in once} == once
    notebooks.set_repository("https://example.org/other/name/", root)
    for name in ("pyproject.toml", "CITATION.cff"):
        text = (root / name).read_text()
        assert text.count("https://example.org/other/name") == 1 and URL not in text
    assert "example.org/other/name" in path.read_text() and URL not in path.read_text()
    assert installer("nowhere", root).count("[") == 0


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/a/b",
        "https://example.org",
        "https://example.org/a",
        "git@example.org:a/b",
        "https://user:secret@example.org/a/b",
        "https://example.org/a/b?x=1",
        'https://example.org/a/b"',
        "",
    ],
)
def test_what_is_no_address_is_refused(root, url):
    before = (root / "pyproject.toml").read_text()
    with pytest.raises(ValueError, match="https://host/owner/name"):
        notebooks.set_repository(url, root)
    assert (root / "pyproject.toml").read_text() == before


def test_command_line_refuses_a_bad_address():
    command = [
        sys.executable,
        str(ROOT / "tools/notebooks.py"),
        "repository",
        "nothing",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "must look like" in done.stdout


# ---------------------------------------------------------------- measuring


def test_status_measures_and_forgets_what_is_gone(root):
    path = chapter(root, "block = bytearray(200 * 2**20)\nimport time; time.sleep(0.5)")
    target = root / "benchmarks" / "status.json"
    target.write_text(json.dumps({"chapters/mathematics/99_gone": {}}))
    assert notebooks.status([path], root) == 0
    (name, entry), *others = json.loads(target.read_text()).items()
    assert not others and name == "chapters/mathematics/01_try"
    assert list(entry) == ["cores", "date", "peak_memory_mb", "seconds", "versions"]
    assert entry["peak_memory_mb"] > 200 and entry["seconds"] > 0.5
    assert {"python", "keras", "numpy"} <= set(entry["versions"])


def test_machine_is_a_processor_and_no_host():
    import platform

    assert measuring.machine() and platform.node() not in measuring.machine()


# ---------------------------------------------------------------- benchmarks

RECORDING = """\
import json, os
with open(os.environ["LEPTON_RECORD"], "a") as file:
    file.write(json.dumps({"iou": WIDTH / 10}))"""


@pytest.fixture
def runs(root):
    path = chapter(root, "WIDTH = 1", RECORDING)
    nb = read(path)
    nb.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(nb, path)
    (root / "benchmarks" / "runs.toml").write_text("""
        [small]
        source = "chapters/mathematics/01_try.ipynb"
        parameters = { WIDTH = 7 }
        metrics = ["iou"]
        published = []
        [script]
        source = "benchmarks/script.py"
        parameters = { width = 5 }
        metrics = ["iou"]
        published = []
        """)
    lines = RECORDING.replace("WIDTH", "float(sys.argv[2])")
    (root / "benchmarks" / "script.py").write_text(f"import sys\n{lines}")
    return root


def result(root, name):
    return json.loads((root / "benchmarks" / "results" / f"{name}.json").read_text())


def test_benchmark_of_a_chapter_uses_the_parameters(runs):
    before = (runs / "chapters/mathematics/01_try.ipynb").read_bytes()
    assert benchmarks.main(["small"], runs) == 0
    found = result(runs, "small")
    assert found["metrics"] == {"iou": 0.7} and found["parameters"] == {"WIDTH": 7}
    names = "name source parameters metrics seconds peak_memory_mb cores machine"
    assert set(found) == {*names.split(), "versions", "date"}
    assert (runs / "chapters/mathematics/01_try.ipynb").read_bytes() == before


def test_benchmark_of_a_script(runs):
    assert benchmarks.main(["script"], runs) == 0
    assert result(runs, "script")["metrics"] == {"iou": 0.5}


def test_benchmark_with_other_figures_writes_nothing(runs, capsys):
    table = runs / "benchmarks" / "runs.toml"
    table.write_text(table.read_text().replace('["iou"]', '["f1"]'))
    assert benchmarks.main(["script"], runs) == 1
    assert "promises ['f1'], got ['iou']" in capsys.readouterr().out
    assert not (runs / "benchmarks" / "results" / "script.json").exists()


def test_benchmark_that_fails_says_why(runs, capsys):
    script = runs / "benchmarks" / "script.py"
    script.write_text('raise OSError("nuclei is not here: set LEPTON_DATA")')
    assert benchmarks.main(["script"], runs) == 1
    assert "nuclei is not here: set LEPTON_DATA" in capsys.readouterr().out


def test_unknown_benchmark_lists_the_known(runs, capsys):
    assert benchmarks.main(["other"], runs) == 1
    assert "known: small, script" in capsys.readouterr().out


def test_runs_of_the_book_are_complete():
    runs = benchmarks.load_runs()
    for path in (ROOT / "benchmarks" / "results").glob("*.json"):
        found = json.loads(path.read_text())
        assert set(found["metrics"]) == set(runs[path.stem]["metrics"])
        assert found["source"] == runs[path.stem]["source"]


# ---------------------------------------------------------------- Colab, workflows


def test_colab_keeps_to_the_versions_of_its_image():
    wanted = " ".join(colab.requirements())
    for pin in ("keras==3.13.2", "numpy==2.1.3", "==2.20.0", "scikit-learn==1.6.1"):
        assert pin in wanted


@pytest.mark.parametrize("path", sorted(ROOT.glob(".github/workflows/*.yml")))
def test_workflow_is_valid(path):
    workflow = yaml.safe_load(path.read_text())
    assert set(workflow) == {
        "name",
        True,
        "permissions",
        "jobs",
    }  # YAML reads on as True
    for job in workflow["jobs"].values():
        assert job["steps"] and "runs-on" in job and "timeout-minutes" in job
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)


def test_every_chapter_has_a_number():
    assert all(path.name[:2].isdigit() and path.name[2] == "_" for path in chapters())
