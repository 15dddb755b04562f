"""Run, check and maintain the chapters' notebooks.

    python tools/notebooks.py run FILE...             execute, normalize and store
    python tools/notebooks.py check [FILE...]         look for broken rules, run nothing
    python tools/notebooks.py bands FILE --seeds 1-5  the check cells under other seeds
    python tools/notebooks.py status [FILE...]        measure run time and memory
    python tools/notebooks.py repository URL          set the repository's address

CONTRIBUTING.md says when to use which.
"""

import argparse
import json
import os
import re
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import urlsplit

import gates
import nbformat
from measuring import Meter, provenance
from nbclient import NotebookClient
from notebook_form import (
    ROOT,
    chapters,
    normalize,
    read,
    stored_text,
    write_atomically,
)
from packaging.requirements import Requirement

# Kernels warn that TCP is readable; with ipc two runs in a folder share their sockets.
KERNEL_OPTIONS = ["--log-level=ERROR"]
CELL_TIMEOUT = 600  # seconds; a whole chapter has less, so this is a cell that hangs

# A run under these would store something other than the embedded default.
STEERING = ("LEPTON_DATA", "LEPTON_SEED", "LEPTON_RECORD", "MPLBACKEND")

# ---------------------------------------------------------------- running


def kernel_environment(**extra):
    """Return the environment of a kernel: this one without what steers a run."""
    kept = {k: v for k, v in os.environ.items() if k not in STEERING}
    return kept | {"PYTHONHASHSEED": "0"} | extra


def execute(nb, folder, environment=None, allow_errors=False, timeout=CELL_TIMEOUT):
    """Execute a notebook in a fresh kernel, in place.

    Args:
        nb: NotebookNode.
        folder: Path, the working directory of the kernel.
        environment: dict of str, the environment of the kernel.
        allow_errors: bool, whether to go on after a cell that fails.
        timeout: int, seconds that a cell may take.

    Raises:
        nbclient.exceptions.CellExecutionError: if a cell fails, unless that is allowed.
    """
    client = NotebookClient(
        nb,
        timeout=timeout,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        allow_errors=allow_errors,
        extra_arguments=list(KERNEL_OPTIONS),
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env=environment or kernel_environment())


def version_differences(requirements):
    """Compare the installed packages with the pinned ones.

    Args:
        requirements: str, ``name==version ; marker`` lines.

    Returns:
        list of str, one a difference.
    """
    found = []
    for line in requirements.splitlines():
        line = line.split("#")[0].strip()
        if not line or line.startswith("-"):
            continue
        wanted = Requirement(line)
        if wanted.marker and not wanted.marker.evaluate():
            continue
        try:
            installed = version(wanted.name)
        except PackageNotFoundError:
            installed = "nothing"
        if installed == "nothing" or installed not in wanted.specifier:
            found.append(f"{wanted.name}: {installed} instead of {wanted.specifier}")
    return found


def run(paths, root=ROOT):
    """Execute notebooks in fresh kernels and store them normalized.

    A notebook that fails is left as it was.

    Returns:
        int, the number of notebooks that failed.
    """
    differences = version_differences((root / "requirements.txt").read_text("utf8"))
    if differences:
        print("Stored outputs come from the versions in requirements.txt only:")
        print(*(f"  {line}" for line in differences), sep="\n")
        print(f"Install them: {sys.executable} -m pip install -r requirements.txt")
        return len(paths)
    return sum(not _run_one(path, root) for path in paths)


def _run_one(path, root):
    before = path.read_text("utf8")
    nb = normalize(read(path), path.resolve().parent.name, root)
    with Meter() as meter:
        try:
            execute(nb, path.resolve().parent)
        except Exception as error:
            print(f"{path}: not stored. {type(error).__name__}: {error}")
            return False
    normalize(nb, path.resolve().parent.name, root)
    nbformat.validate(nb)
    after = stored_text(nb)
    if after != before:
        write_atomically(path, after)
    size, verdict = len(after.encode()) / 1024, "same" if after == before else "stored"
    print(f"{path}: {verdict}, {meter.seconds:.0f} s, {size:.0f} KiB")
    return True


# ---------------------------------------------------------------- bands


def bands(path, seeds):
    """Run a notebook under other seeds, store nothing, and print what its checks say.

    Args:
        path: Path of the notebook.
        seeds: list of int.

    Returns:
        int, the number of seeds under which a cell failed.
    """
    recorded, failed = {}, 0
    for seed in seeds:
        faults, recorded[seed] = _run_seed(path, seed)
        failed += bool(faults)
        print(f"seed {seed}: {'; '.join(faults) or 'every check cell passes'}")
    for name in dict.fromkeys(n for figures in recorded.values() for n in figures):
        cells = (figures.get(name, float("nan")) for figures in recorded.values())
        print(f"{name:<28}", *(f"{value:10.4g}" for value in cells))
    return failed


def _run_seed(path, seed):
    nb = read(path)
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "record.jsonl"
        data = {k: os.environ[k] for k in ("LEPTON_DATA",) if k in os.environ}
        environment = kernel_environment(
            LEPTON_SEED=str(seed), LEPTON_RECORD=str(record), **data
        )
        execute(nb, path.resolve().parent, environment, allow_errors=True)
        return list(_faults(nb)), read_record(record)


def _faults(nb):
    for number, cell in enumerate(nb.cells, 1):
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                trace = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(output.traceback))
                line = re.findall(r"^-+> *\d+ (.*)", trace, re.MULTILINE)
                where = f" at `{line[0].strip()}`" if line else ""
                yield f"cell {number}: {output.ename} {output.evalue}{where}"


def read_record(path):
    """Return the figures that `lepton_utils.record` wrote to a file, as one dict."""
    lines = path.read_text("utf8").splitlines() if path.exists() else []
    return {name: value for line in lines for name, value in json.loads(line).items()}


# ---------------------------------------------------------------- status


def status(paths, root=ROOT):
    """Measure chapters and write the figures to benchmarks/status.json.

    Returns:
        int, the number of chapters that failed.
    """
    target = root / "benchmarks" / "status.json"
    entries = json.loads(target.read_text("utf8")) if target.exists() else {}
    failed = 0
    for path in paths:
        name = path.resolve().relative_to(root).with_suffix("").as_posix()
        with Meter() as meter:
            try:
                execute(read(path), path.resolve().parent)
            except Exception as error:
                print(f"{path}: not measured. {type(error).__name__}: {error}")
                failed += 1
                continue
        entries[name] = meter.figures() | provenance()
        print(f"{name}: {meter.seconds:.1f} s, {meter.peak_memory_mb} MB")
    present = {k: v for k, v in entries.items() if (root / f"{k}.ipynb").exists()}
    write_atomically(target, json.dumps(present, indent=2, sort_keys=True) + "\n")
    return failed


# ---------------------------------------------------------------- repository


def set_repository(url, root=ROOT):
    """Write the address of the repository to where it is used.

    That is pyproject.toml, CITATION.cff and the installer cell of every chapter.

    Args:
        url: str, ``https://host/owner/name``.
        root: Path of the repository.

    Raises:
        ValueError: if the address is not of that form.
    """
    url = clean_url(url)
    project = root / "pyproject.toml"
    text = project.read_text("utf8")
    write_atomically(project, with_repository(text, url))
    citation = root / "CITATION.cff"
    if citation.exists():
        line, text = f'repository-code: "{url}"', citation.read_text("utf8")
        text = re.sub(r"^repository-code:.*\n?", "", text, flags=re.MULTILINE)
        write_atomically(citation, f"{text.rstrip()}\n{line}\n")
    for path in chapters(root):
        write_atomically(
            path, stored_text(normalize(read(path), path.parent.name, root))
        )


def clean_url(url):
    """Return the address without a trailing slash or ``.git``; refuse what is none."""
    parts = urlsplit(url.strip())
    path = parts.path.strip("/").removesuffix(".git")
    clean = f"https://{parts.netloc}/{path}"
    if (
        parts.scheme != "https"
        or parts.query
        or parts.fragment
        or not re.fullmatch(r"https://[\w-]+(\.[\w-]+)+(/[\w.~-]+){2,}", clean)
    ):
        raise ValueError(f"URL must look like https://host/owner/name, got {url!r}")
    return clean


def with_repository(text, url):
    """Return the text of pyproject.toml with the address in [project.urls]."""
    line = f'Repository = "{url}"\n'
    if "[project.urls]\n" not in text:
        start = text.index("[project]\n") + len("[project]\n")
        following = re.search(r"^\[", text[start:], re.MULTILINE)
        end = start + following.start() if following else len(text)
        return f"{text[:end].rstrip()}\n\n[project.urls]\n{line}\n{text[end:]}"
    head, tail = text.split("[project.urls]\n")
    table, *rest = re.split(r"(?=^\[)", tail, maxsplit=1, flags=re.MULTILINE)
    table = re.sub(r"^Repository\s*=.*\n", "", table, flags=re.MULTILINE)
    return f"{head}[project.urls]\n{line}{table}{''.join(rest)}"


# ---------------------------------------------------------------- command line


def seed_list(text):
    """Turn ``1-5`` or ``1,3`` into a list of int."""
    pieces = (piece.partition("-") for piece in text.split(","))
    return [n for a, _, b in pieces for n in range(int(a), int(b or a) + 1)]


def main(arguments=None):
    """Do what the command line asks; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name, count in (("run", "+"), ("check", "*"), ("status", "*")):
        commands.add_parser(name).add_argument("files", nargs=count, type=Path)
    command = commands.add_parser("bands")
    command.add_argument("file", type=Path)
    command.add_argument("--seeds", type=seed_list, default="1-5")
    commands.add_parser("repository").add_argument("url")
    options = parser.parse_args(arguments)
    if options.command == "run":
        return min(run(options.files), 1)
    if options.command == "check":
        return min(gates.check(options.files or chapters()), 1)
    if options.command == "status":
        return min(status(options.files or chapters()), 1)
    if options.command == "bands":
        return min(bands(options.file, options.seeds), 1)
    try:
        set_repository(options.url)
    except ValueError as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
