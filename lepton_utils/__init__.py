"""Helper package of the Lepton Book: plumbing, and what two chapters share.

The chapters write ``import lepton_utils as lu`` and use the names in ``__all__``.
Importing the package loads neither Keras nor TensorFlow; `setup` does, quietly.
"""

from lepton_utils.checks import check, compare, gradient_check
from lepton_utils.datasets import load
from lepton_utils.plots import (
    FIGURE,
    WIDE,
    plot_confusion,
    plot_history,
    plot_images,
    show,
)
from lepton_utils.runtime import record, setup

__all__ = [
    "FIGURE",
    "WIDE",
    "Progress",
    "check",
    "compare",
    "gradient_check",
    "load",
    "plot_confusion",
    "plot_history",
    "plot_images",
    "record",
    "setup",
    "show",
]


def __getattr__(name):
    """Load `Progress` on first use: as a Keras callback it needs Keras."""
    if name == "Progress":
        from lepton_utils.progress import Progress

        return Progress
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
