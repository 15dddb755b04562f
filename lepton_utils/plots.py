"""Figures in the book's style; caption and alternative text stored in the output."""

import base64
import io

import numpy as np
from cycler import cycler
from matplotlib import pyplot as plt

FIGURE = (6.4, 3.6)  # inches; at 110 dots per inch the text column of the rendered page
WIDE = (9.6, 3.6)  # inches; for panels side by side

# Okabe and Ito's palette (distinct for color-blind readers), darkest first; the line
# styles repeat the distinction for readers without color.
COLORS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"]
STYLES = ["-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1))]


def use_style():
    """Set the book's figure style: size, resolution, colors, line styles, light grid.

    The background is opaque white: a figure reads the same on a light and a dark page.
    """
    plt.rcdefaults()
    plt.rcParams.update(
        {
            "axes.grid": True,
            "axes.prop_cycle": cycler(color=COLORS, linestyle=STYLES),
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlesize": "medium",
            "figure.constrained_layout.use": True,
            "figure.dpi": 110,
            "figure.figsize": FIGURE,
            "grid.alpha": 0.3,
            "image.cmap": "gray",
            "image.interpolation": "nearest",
            "legend.frameon": False,
            "savefig.dpi": 110,
        }
    )


def show(fig, caption, alt):
    """Display a figure and close it; store caption and alternative text with it.

    The picture has the figure's own size; the alternative text is also the output's
    plain text, which strict nbval compares.

    Args:
        fig: matplotlib Figure.
        caption: str, one or two sentences that say what to see; MyST inline markup.
        alt: str, for a reader who cannot see it: what is drawn and what it shows.

    Raises:
        ValueError: if caption or alt is shorter than 20 characters.
    """
    for name, text in (("caption", caption), ("alt", alt)):
        if len(text) < 20:
            raise ValueError(
                f"{name} must say what the figure shows (20+ characters): {text!r}"
            )
    from IPython.display import display  # a service has none and draws nothing

    picture = io.BytesIO()
    fig.savefig(picture, format="png")  # IPython's own way crops, so that widths vary
    data = {"image/png": base64.b64encode(picture.getvalue()).decode()}
    words = {"alt": alt, "caption": caption}
    display({**data, "text/plain": alt}, metadata={"image/png": words}, raw=True)
    plt.close(fig)


def plot_history(history, ax, name="loss", label=None):
    """Draw a training curve and, where it was measured, its validation curve.

    Args:
        history: keras History, or a dict of lists, one value an epoch.
        ax: matplotlib Axes to draw on.
        name: str, the key to draw; ``"val_" + name`` is drawn dashed in the same color.
        label: str put before "training" and "validation" in the legend.

    Returns:
        the Axes.

    Raises:
        ValueError: if the history has no such key; the message names those it has.
    """
    values = getattr(history, "history", history)
    if name not in values:
        raise ValueError(f"history has no {name!r}; it has {', '.join(sorted(values))}")
    epochs = np.arange(1, len(values[name]) + 1)
    prefix = f"{label}, " if label else ""
    (line,) = ax.plot(epochs, values[name], "-", label=f"{prefix}training")
    if f"val_{name}" in values:
        color = line.get_color()
        ax.plot(
            epochs,
            values[f"val_{name}"],
            "--",
            color=color,
            label=f"{prefix}validation",
        )
    ax.set(xlabel="epoch", ylabel=name.replace("_", " "))
    ax.legend()
    return ax


def plot_images(images, axes, titles=None, masks=None, truths=None):
    """Draw images in a row (or grid) of axes, with outlines of masks laid over them.

    Args:
        images: sequence of (height, width) or (height, width, 3) arrays, uint8 0-255
            or float 0-1.
        axes: array of matplotlib Axes, at least as many; the rest are switched off.
        titles: sequence of str, one an image.
        masks: sequence of (height, width) arrays; the outline of ``mask > 0.5`` is
            drawn in orange.
        truths: the same, drawn in dashed blue.

    Returns:
        the axes.

    Raises:
        ValueError: if there are more images than axes, or titles or masks do not
            match the images in number.
    """
    cells = np.ravel(axes)
    if len(images) > len(cells):
        raise ValueError(f"axes must hold {len(images)} images, got {len(cells)} axes")
    for name, given in (("titles", titles), ("masks", masks), ("truths", truths)):
        if given is not None and len(given) != len(images):
            raise ValueError(
                f"{name} must have one entry an image, {len(images)}: {len(given)}"
            )
    for ax in cells:
        ax.set_axis_off()
    for i, (ax, image) in enumerate(zip(cells, images, strict=False)):
        top = 255 if np.asarray(image).dtype == np.uint8 else 1
        ax.imshow(image, vmin=0, vmax=top)
        for layer, color, style in ((truths, COLORS[4], "--"), (masks, COLORS[5], "-")):
            if layer is not None and np.any(np.asarray(layer[i]) > 0.5):
                inside = np.asarray(layer[i], dtype=float)
                ax.contour(
                    inside, [0.5], colors=color, linewidths=1.2, linestyles=style
                )
        if titles is not None:
            ax.set_title(titles[i])
    return axes


def plot_confusion(matrix, labels, ax):
    """Draw a confusion matrix: counts as text, the share of each true class as shade.

    Args:
        matrix: (classes, classes) int array, rows true, columns predicted class.
        labels: sequence of str, one a class.
        ax: matplotlib Axes to draw on.

    Returns:
        the Axes.

    Raises:
        ValueError: if the matrix is not square or the labels do not fit it.
    """
    matrix = np.asarray(matrix)
    if matrix.shape != (len(labels), len(labels)):
        raise ValueError(
            f"matrix must be {len(labels)} x {len(labels)}, got {matrix.shape}"
        )
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(matrix.shape):
        color = "white" if shares[row, column] > 0.5 else "black"
        ax.text(
            column, row, str(matrix[row, column]), ha="center", va="center", color=color
        )
    places = range(len(labels))
    ax.set(xlabel="predicted class", ylabel="true class", xticks=places, yticks=places)
    ax.set_xticklabels(labels)
    ax.set_yticklabels(labels)
    ax.grid(visible=False)
    return ax
