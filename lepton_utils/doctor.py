"""Check a machine for what the book needs: one line a finding, each with its fix.

The output is meant to be pasted into a bug report: the home folder appears as ``~``.
"""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import tomllib
from importlib import metadata
from pathlib import Path

from lepton_utils import datasets

OK, WARN, FAIL = "ok", "WARN", "FAIL"
MEMORY = 3  # GB, what the heaviest chapter needs
DISK = 1  # GB, for the public data sets
KERNEL_SECONDS = 60  # until a kernel must have answered
TENSORFLOW_SECONDS = 120  # until TensorFlow must have been imported
TENSORFLOW = """
import tensorflow
gpus = tensorflow.config.list_physical_devices("GPU")
print(f"{tensorflow.__version__}, GPUs: {len(gpus)}")
"""
CHROMIUM = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)


def main():
    """Run every check and print what came out.

    Returns:
        int, the exit code: 1 if a check failed, else 0.
    """
    results = []
    for check in CHECKS:
        status, text, fix = run_check(check)
        results.append(status)
        line = f"{status:4} {text}" + (f"  -> {fix}" if fix else "")
        print(hide_home(line), flush=True)
    failed, warned = results.count(FAIL), results.count(WARN)
    verdict = "not ready" if failed else "ready"
    print(f"verdict: {verdict} ({len(results)} checks: {failed} FAIL, {warned} WARN)")
    return 1 if failed else 0


def run_check(check):
    """Run one check; one that breaks down is itself a failure."""
    try:
        return check()
    except Exception as error:
        return FAIL, f"{check.__name__}: {type(error).__name__}: {error}", "report this"


def hide_home(text):
    """Write ``~`` for the home folder, which carries the user's name."""
    home = str(Path.home())
    return text.replace(home, "~") if len(home) > 1 else text


def find_checkout():
    """Folder of the repository that the package lies in; None in an installed one."""
    folder = Path(__file__).resolve().parent.parent
    return folder if (folder / "pyproject.toml").is_file() else None


# The checks. Each returns (status, text, fix).


def check_python():
    """Compare Python with the range that pyproject.toml states."""
    from packaging.specifiers import SpecifierSet

    checkout, version = find_checkout(), platform.python_version()
    system = f"Python {version} on {platform.system()} {platform.machine()}"
    if checkout:
        text = (checkout / "pyproject.toml").read_text(encoding="utf8")
        wanted = tomllib.loads(text)["project"]["requires-python"]
    else:
        wanted = metadata.metadata("lepton-utils")["Requires-Python"]
    if SpecifierSet(wanted).contains(version, prereleases=True):
        return OK, system, ""
    fix = "install one of these, then make a new .venv"
    return FAIL, f"{system}, wanted {wanted}", fix


def check_packages():
    """Compare the installed packages with requirements.txt, markers honored."""
    checkout = find_checkout()
    if checkout is None or not (checkout / "requirements.txt").is_file():
        text = "packages: not compared, the package does not run from a checkout"
        return WARN, text, "pip install -e . in a checkout"
    text = (checkout / "requirements.txt").read_text(encoding="utf8")
    wanted, missing, other = compare_packages(text)
    if not missing and not other:
        return OK, f"packages: all {wanted} as pinned", ""
    named = ", ".join([*missing, *other][:8])
    found = f"{len(missing)} missing, {len(other)} in other versions: {named}"
    fix = "pip install -r requirements.txt, in the book's .venv"
    return (FAIL if missing else WARN), f"packages: of {wanted}, {found}", fix


def compare_packages(requirements):
    """Look every pinned package up.

    Args:
        requirements: str, text of a requirements file.

    Returns:
        number of requirements that apply here, names that are missing, "name version"
        of those installed in a version that the file does not allow.
    """
    from packaging.requirements import Requirement

    lines = (line.split("#")[0].strip() for line in requirements.splitlines())
    wanted = [Requirement(line) for line in lines if line and not line.startswith("-")]
    wanted = [one for one in wanted if one.marker is None or one.marker.evaluate()]
    missing, other = [], []
    for one in wanted:
        try:
            version = metadata.version(one.name)
        except metadata.PackageNotFoundError:
            missing.append(one.name)
            continue
        if not one.specifier.contains(version, prereleases=True):
            other.append(f"{one.name} {version}")
    return len(wanted), missing, other


def check_processor():
    """Count the processor cores."""
    cores = os.cpu_count() or 1
    if cores >= 2:
        return OK, f"processor: {cores} cores", ""
    return (
        WARN,
        f"processor: {cores} core",
        "chapters take about twice their stated time",
    )


def check_tensorflow():
    """Import TensorFlow in a process of its own and count its GPUs; none is needed."""
    fix = "pip install -r requirements.txt (the rendered book needs no TensorFlow)"
    command = [sys.executable, "-c", TENSORFLOW]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TENSORFLOW_SECONDS
        )
    except subprocess.TimeoutExpired:
        return FAIL, f"TensorFlow: no answer in {TENSORFLOW_SECONDS} s", fix
    if done.returncode == 0:
        return OK, f"TensorFlow: {done.stdout.strip()} (none needed)", ""
    reason = (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]
    return FAIL, f"TensorFlow: {reason}", fix


def check_memory():
    """Compare the memory of the machine with what the heaviest chapter needs."""
    total, available = read_memory()
    if total is None:
        return WARN, "memory: unknown on this system", f"{MEMORY} GB are needed"
    text = f"memory: {total:.1f} GB" + (f", {available:.1f} free" if available else "")
    if (available or total) >= MEMORY:
        return OK, text, ""
    return WARN, text, f"close other programs: a chapter may need {MEMORY} GB"


def read_memory():
    """Return total and available memory in GB, None where it cannot be known."""
    try:
        import psutil

        memory = psutil.virtual_memory()
        return memory.total / 1e9, memory.available / 1e9
    except ImportError:
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, None
    except (AttributeError, ValueError, OSError):
        return None, None


def check_disk():
    """Look for free space where the cache lies."""
    folder = datasets.cache_folder()
    while not folder.is_dir():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 1e9
    if free >= DISK:
        return OK, f"disk: {free:.0f} GB free for the cache", ""
    return (
        WARN,
        f"disk: {free:.1f} GB free for the cache",
        "free some, or set LEPTON_CACHE",
    )


def check_cache():
    """Write a file into the cache folder, and delete it."""
    folder = datasets.cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"test")
    except OSError as error:
        text = f"cache: {folder} cannot be written ({error.strerror})"
        return FAIL, text, "set LEPTON_CACHE to a folder that can"
    return OK, f"cache: {folder} can be written", ""


def check_kernel():
    """Start a Jupyter kernel, let it compute, stop it."""
    from jupyter_client.manager import start_new_kernel

    outputs = []
    manager, client = start_new_kernel(
        kernel_name="python3",
        startup_timeout=KERNEL_SECONDS,
        stderr=subprocess.DEVNULL,
    )
    try:
        code = "import sys; print(sys.prefix)"
        client.execute_interactive(
            code, timeout=KERNEL_SECONDS, output_hook=outputs.append
        )
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    printed = "".join(m["content"].get("text", "") for m in outputs).strip()
    if printed == sys.prefix:
        return OK, "kernel: python3 starts and computes", ""
    fix = "python -m ipykernel install --sys-prefix, in the book's .venv"
    return WARN, f"kernel: python3 is another Python ({printed or 'silent'})", fix


def find_chromium():
    """Return the path of Chromium or Chrome, ``CHROMIUM`` first; None without one."""
    names = (os.environ.get("CHROMIUM"), *CHROMIUM)
    return next(filter(None, map(shutil.which, filter(None, names))), None)


def check_chromium():
    """Look for the browser that the tests of the rendered book use."""
    if found := find_chromium():
        return OK, f"browser: {Path(found).name}", ""
    fix = "to run the tests of the rendered book, install it or set CHROMIUM"
    return WARN, "browser: no Chromium found", fix


def check_data():
    """Say which data sets are here."""
    try:
        datasets.embedded_file("README.md")
    except ValueError as error:
        return FAIL, f"data: {error}", "the package is incomplete: install it again"
    places = {name: datasets.find_folder(name) for name in datasets.DATASETS}
    text = ", ".join(f"{name}: {place or 'absent'}" for name, place in places.items())
    given = datasets.data_folder()
    if given and not given.is_dir():
        return FAIL, f"data: {text}; LEPTON_DATA = {given}", "LEPTON_DATA is no folder"
    if None in places.values():
        fix = "python -m lepton_utils fetch NAME, if you want the public sets"
        return OK, f"data: {text}", fix
    return OK, f"data: {text}", ""


CHECKS = (
    check_python,
    check_packages,
    check_processor,
    check_tensorflow,
    check_memory,
    check_disk,
    check_cache,
    check_kernel,
    check_chromium,
    check_data,
)
