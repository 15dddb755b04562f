"""Command line: ``python -m lepton_utils``, then ``fetch NAME`` or ``doctor``."""

import argparse
import sys

from lepton_utils import datasets


def main(arguments=None):
    """Run one command.

    Args:
        arguments: list of str, those of the command line by default.

    Returns:
        int, the exit code: 0, or 1 if something failed and was explained.
    """
    options = build_parser().parse_args(arguments)
    try:
        return options.run(options)
    except (datasets.DataError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; nothing half-done was kept", file=sys.stderr)
        return 1


def build_parser():
    """Make the parser of the commands."""
    parser = argparse.ArgumentParser(prog="python -m lepton_utils")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    fetch = commands.add_parser("fetch", help="download a public data set, or list all")
    fetch.add_argument("name", nargs="?", help="which one; none lists them")
    fetch.set_defaults(run=lambda options: run_fetch(options.name))
    doctor = commands.add_parser(
        "doctor", help="check this machine and say what to fix"
    )
    doctor.set_defaults(run=lambda options: run_doctor())
    return parser


def run_fetch(name):
    """Download one data set, or list all of them."""
    if name is None:
        for known, entry in datasets.DATASETS.items():
            kind = "embedded" if entry.make else "public"
            print(f"{known:10} {kind:9} {entry.title} ({entry.licence})")
        return 0
    folder = datasets.fetch(name)
    if folder is None:
        print(f"{name} needs no download: the package generates it")
    else:
        print(f"{name} is verified and stored in {folder}")
    return 0


def run_doctor():
    """Check the machine; see `lepton_utils.doctor`."""
    from lepton_utils import doctor

    return doctor.main()


if __name__ == "__main__":
    sys.exit(main())
