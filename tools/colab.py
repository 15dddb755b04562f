"""Run chapters as Colab would: its versions, the wheel, outside the repository.

    python tools/colab.py [FILE...]

The environment is made once in build/colab (about a minute, 1.9 GB) and made anew when
the list of versions changes. Each notebook runs in an empty folder, with a google.colab
module at hand, and must pass its check cells and leave no file.
"""

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from notebook_form import INSTALLER_START, ROOT, read
from notebooks import CELL_TIMEOUT, KERNEL_OPTIONS

CHAPTERS = ("mathematics/01_neurons", "vision/03_article_cnn")
PYTHONS = ("3.13", "3.12", "3.11")  # Colab has the first

# The versions of Colab's image in August 2026.
VERSIONS = [
    "keras==3.13.2",
    "matplotlib==3.10.0",
    "numpy==2.1.3",
    "scikit-learn==1.6.1",
    "scikit-image>=0.25",
    "pooch>=1.8",
    "ipykernel>=6.17",
]


def requirements():
    """Return what is installed before the wheel."""
    small = platform.system() == "Linux" and platform.machine() == "x86_64"
    return [f"tensorflow{'-cpu' if small else ''}==2.20.0", *VERSIONS]


def find_python():
    """Return the first Python that runs, in the order of `PYTHONS`."""
    for wanted in PYTHONS:
        folders = [Path(folder) for folder in os.get_exec_path()]
        folders += sorted(Path.home().glob(f".pyenv/versions/{wanted}.*/bin"))
        for program in (folder / f"python{wanted}" for folder in folders):
            if program.exists() and runs(program):
                return program
    return Path(sys.executable)


def runs(program):
    """Say whether a Python starts and can make environments; pyenv's stubs may not."""
    command = [program, "-c", "import venv, ensurepip"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def environment(folder):
    """Make the environment, or use the one there; return its Python.

    Args:
        folder: Path that holds one environment for each list of versions.
    """
    base, wanted = find_python(), requirements()
    key = hashlib.sha256(json.dumps([str(base), wanted]).encode()).hexdigest()[:12]
    venv = folder / key
    python = venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not (venv / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        print(f"making {venv} with {base}", flush=True)
        command([base, "-m", "venv", venv])
        pip(python, "install", *wanted)
        (venv / "complete").touch()
    return python


def install_wheel(python, folder):
    """Build the wheel of lepton_utils, data included, and install it."""
    pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", folder, ROOT)
    (wheel,) = Path(folder).glob("lepton_utils-*.whl")
    pip(python, "install", "--force-reinstall", "--no-deps", wheel)
    pip(python, "install", wheel)  # would replace a version that is too old


def pip(python, *arguments):
    """Run pip quietly."""
    command([python, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments])


def command(arguments):
    """Run a command outside the repository; end with what it printed when it fails."""
    done = subprocess.run(
        [str(argument) for argument in arguments],
        cwd=tempfile.gettempdir(),
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"failed: {' '.join(map(str, arguments))}\n{done.stderr}{done.stdout}")


def clean_environment(**extra):
    """Return this environment without what belongs to another Python or to a run."""
    foreign = ("PYTHON", "JUPYTER", "VIRTUAL_ENV", "LEPTON_", "MPLBACKEND")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
    return kept | extra


def run(python, path):
    """Run one notebook in an empty folder.

    Args:
        python: Path of the environment's Python.
        path: Path of the notebook.

    Returns:
        list of str, what went wrong.
    """
    with tempfile.TemporaryDirectory(prefix="colab-") as scratch:
        content, home = Path(scratch, "content"), Path(scratch, "home")
        content.mkdir()
        nb = read(path)
        try:
            execute(nb, python, content, stub(home))
        except Exception as error:
            return [f"{type(error).__name__}: {error}"]
        faults = [f"left the file {p.name}" for p in sorted(content.iterdir())]
    first = next(cell for cell in nb.cells if cell.cell_type == "code")
    if not first.source.startswith(INSTALLER_START):
        faults.append("the first code cell is not the installer cell")
    elif first.outputs:
        faults.append("the installer cell did something, though the package is there")
    return faults


def stub(home):
    """Make a google.colab module; return the variables that let a kernel find it."""
    module = home / "stub" / "google" / "colab"  # google is a namespace package
    startup = home / "ipython" / "profile_default" / "startup"
    for folder in (module, startup):
        folder.mkdir(parents=True)
    (module / "__init__.py").touch()
    (startup / "00-colab.py").write_text("import google.colab\n", "utf8")
    return {"PYTHONPATH": str(home / "stub"), "IPYTHONDIR": str(home / "ipython")}


def execute(nb, python, folder, variables):
    """Execute a notebook with the kernel of another Python."""
    manager = KernelManager()
    arguments = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    manager._kernel_spec = KernelSpec(argv=arguments, language="python")
    client = NotebookClient(
        nb,
        km=manager,
        timeout=CELL_TIMEOUT,
        extra_arguments=list(KERNEL_OPTIONS),
        resources={"metadata": {"path": str(folder)}},
    )
    try:
        client.execute(env=clean_environment(**variables))
    finally:
        manager.shutdown_kernel(now=True)


def main(arguments=None):
    """Run the named chapters, or the two that stand for all; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("files", nargs="*", type=Path)
    files = parser.parse_args(arguments).files
    files = files or [ROOT / "chapters" / f"{name}.ipynb" for name in CHAPTERS]
    python = environment(ROOT / "build" / "colab")
    with tempfile.TemporaryDirectory() as folder:
        install_wheel(python, folder)
    failed = 0
    for path in files:
        faults = run(python, path)
        failed += bool(faults)
        print(f"{path.name}: {'; '.join(faults) or 'runs'}", flush=True)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
