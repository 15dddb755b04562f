"""The figure helpers draw what they are given, and refuse what does not fit."""

import base64
import struct

import matplotlib as mpl
import numpy as np
import pytest

mpl.use("Agg")

from matplotlib import pyplot as plt

import lepton_utils as lu
from lepton_utils import plots


@pytest.fixture
def ax():
    plots.use_style()
    fig, ax = plt.subplots()
    yield ax
    plt.close(fig)


def test_show_stores_caption_and_alt_and_closes(monkeypatch):
    shown = []
    monkeypatch.setattr(
        "IPython.display.display", lambda *data, **more: shown.append((data, more))
    )
    plots.use_style()
    fig, _ = plt.subplots()
    words = {"caption": "A caption that says it.", "alt": "An empty pair of axes."}
    lu.show(fig, **words)
    ((data,), more) = shown[0]
    assert more["metadata"]["image/png"] == words
    assert data["text/plain"] == words["alt"]
    width = struct.unpack(">I", base64.b64decode(data["image/png"])[16:20])[0]
    assert width == 704  # 6.4 inches at 110 dots: not cropped to its content
    assert not plt.fignum_exists(fig.number)


@pytest.mark.parametrize("texts", [{"caption": "plot"}, {"alt": ""}])
def test_show_refuses_empty_words(texts):
    words = {"caption": "A caption that says it.", "alt": "An empty pair of axes."}
    with pytest.raises(ValueError, match=next(iter(texts))):
        lu.show(plt.figure(), **{**words, **texts})
    plt.close("all")


def test_use_style_is_color_blind_safe_and_opaque(ax):
    entries = list(mpl.rcParams["axes.prop_cycle"])
    assert len({entry["color"] for entry in entries}) == len(entries)
    assert len({str(entry["linestyle"]) for entry in entries}) == len(entries)
    assert mpl.rcParams["figure.facecolor"] == "white"
    assert mpl.rcParams["figure.dpi"] == 110


def test_plot_history_draws_both_curves_in_one_color(ax):
    history = {"loss": [3.0, 2.0, 1.0], "val_loss": [3.0, 2.5, 2.4]}
    lu.plot_history(history, ax, label="CNN")
    training, validation = ax.get_lines()
    assert training.get_color() == validation.get_color()
    assert list(validation.get_ydata()) == history["val_loss"]
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["CNN, training", "CNN, validation"]
    assert ax.get_xlabel() == "epoch"


def test_plot_history_names_the_keys_it_has(ax):
    with pytest.raises(ValueError, match="no 'accuracy'; it has loss, val_loss"):
        lu.plot_history({"loss": [1], "val_loss": [1]}, ax, "accuracy")


def test_plot_images_outlines_masks_and_switches_off_the_rest():
    fig, axes = plt.subplots(1, 3)
    mask = np.zeros((8, 8))
    mask[2:5, 2:5] = 1
    images = [np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8))]
    lu.plot_images(images, axes, titles=["a", "b"], masks=[mask, 0 * mask])
    assert axes[0].get_title() == "a"
    assert len(axes[0].collections) == 1
    assert not axes[1].collections
    assert not axes[2].axison
    plt.close(fig)


def test_plot_images_refuses_what_does_not_fit():
    fig, axes = plt.subplots(1, 2)
    images = [np.zeros((4, 4))] * 3
    with pytest.raises(ValueError, match="hold 3 images, got 2 axes"):
        lu.plot_images(images, axes)
    with pytest.raises(ValueError, match="titles must have one entry an image, 2: 1"):
        lu.plot_images(images[:2], axes, titles=["a"])
    plt.close(fig)


def test_plot_confusion_writes_counts(ax):
    lu.plot_confusion([[5, 1], [0, 4]], ["no", "yes"], ax)
    assert [text.get_text() for text in ax.texts] == ["5", "1", "0", "4"]


def test_plot_confusion_refuses_what_does_not_fit(ax):
    with pytest.raises(ValueError, match="matrix must be 3 x 3"):
        lu.plot_confusion(np.eye(2), ["a", "b", "c"], ax)
