import platform
import sys

import numpy as np
import pytest

from lepton_utils import datasets
from lepton_utils.cells import (
    CHROMATIN,
    gaussian_blur,
    make_cells,
    nucleus_depth,
    random_direction,
    renumber,
    smooth_noise,
)

# The arrays are frozen: published figures and the bands of chapters belong to them.
NUMPY = "2.4."
IMAGES = "61e7f71f888ebbfd8dd9ad6e22716aecd527a55b027b7a80c8f9a0e379392b76"
LABELS = "aa446d8f5220f6ac7ab78afcd653c6fd68123533319dbef16bac0abd92afaeb1"
STAIN_MEAN = [197.974, 152.392, 191.312]  # gray levels: red, green, blue
GLOW_MEAN = 44.558
PERCENTILES = [3, 15, 113, 193, 255]  # 5, 25, 50, 75, 95
NUCLEI = 15827


@pytest.fixture(scope="module")
def cells():
    """The embedded set, which `load` keeps in memory for the other tests as well."""
    arrays = datasets._generate("cells")
    return arrays["images"], arrays["labels"]


def test_shapes_and_types(cells):
    images, labels = cells
    assert images.shape == (1000, 128, 128, 3) and images.dtype == np.uint8
    assert labels.shape == (1000, 128, 128) and labels.dtype == np.uint8


def test_labels_count_from_one_without_gaps(cells):
    _, labels = cells
    for label in labels:
        assert np.array_equal(np.unique(label), np.arange(label.max() + 1))
    numbers = labels.reshape(1000, -1).max(axis=1)
    assert numbers.min() >= 1 and 10 < numbers.mean() < 20


def test_nuclei_fill_a_fifth_of_both_splits_and_styles(cells):
    foreground = cells[1] > 0
    for part in (np.s_[:800:2], np.s_[1:800:2], np.s_[800::2], np.s_[801::2]):
        assert 0.18 < foreground[part].mean() < 0.27


def test_styles_alternate(cells):
    images, labels = cells
    stained, glowing = images[::2], images[1::2]
    assert (glowing == glowing[..., :1]).all()
    assert not (stained[..., 0] == stained[..., 1]).all(axis=(1, 2)).any()
    nuclei = labels > 0
    assert stained[nuclei[::2]].mean() < stained[~nuclei[::2]].mean() - 40
    assert glowing[nuclei[1::2]].mean() > glowing[~nuclei[1::2]].mean() + 40


def test_the_arrays_are_frozen(cells):
    images, labels = cells
    pinned = (sys.platform, platform.machine(), np.__version__[: len(NUMPY)])
    if pinned == ("linux", "x86_64", NUMPY):
        assert datasets.digest(labels) == LABELS
        assert datasets.digest(images) == IMAGES
    # Elsewhere the last bit of an exponential may differ, and with it a rounding.
    assert np.mean(images[::2], axis=(0, 1, 2)) == pytest.approx(STAIN_MEAN, abs=0.01)
    assert np.mean(images[1::2]) == pytest.approx(GLOW_MEAN, abs=0.01)
    assert np.percentile(images, [5, 25, 50, 75, 95]) == pytest.approx(
        PERCENTILES, abs=1
    )
    assert int(labels.reshape(1000, -1).max(axis=1).sum()) == pytest.approx(
        NUCLEI, abs=2
    )


def test_an_image_depends_on_seed_and_index_alone(cells):
    images, labels = cells
    again, label = make_cells(count=3)
    assert np.array_equal(again, images[:3]) and np.array_equal(label, labels[:3])
    other, _ = make_cells(count=3, seed=1)
    assert all(not np.array_equal(a, b) for a, b in zip(again, other, strict=True))


def test_single_styles_and_other_sizes():
    stained, labels = make_cells(count=2, size=200, style="stain")
    assert stained.shape == (2, 200, 200, 3) and labels.shape == (2, 200, 200)
    assert np.ptp(stained.astype(int), axis=-1).max() > 50
    glowing, labels = make_cells(count=1, size=300, style="fluorescence")
    assert np.ptp(glowing, axis=-1).max() == 0
    assert labels.dtype == np.uint16 and labels.max() > 30


@pytest.mark.parametrize(
    "wrong",
    [
        {"count": 0},
        {"size": 31},
        {"seed": -1},
        {"count": 2.0},
        {"style": "brightfield"},
    ],
)
def test_wrong_arguments_are_named(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"{name} must be .*got {value!r}"):
        make_cells(**{"count": 1, **wrong})


def test_a_nucleus_has_about_the_area_of_its_circle():
    rng = np.random.default_rng(0)
    areas = [
        np.count_nonzero(nucleus_depth(rng, 64, 32, 32, 10)[0] > 0) for _ in range(200)
    ]
    assert np.mean(areas) == pytest.approx(100 * np.pi, rel=0.05)


def test_a_nucleus_off_the_image_is_cut():
    rng = np.random.default_rng(0)
    for row, column in ((-30, 5), (5, 90), (0, 0), (63, 63)):
        depth, patch = nucleus_depth(rng, 64, row, column, 10)
        assert np.zeros((64, 64))[patch].shape == depth.shape


def test_renumber_closes_gaps():
    labels = np.array([[0, 7], [3, 7]])
    assert np.array_equal(renumber(labels), [[0, 2], [1, 2]])
    assert np.array_equal(renumber(np.zeros((2, 2), int)), np.zeros((2, 2)))
    many = np.arange(300)[None]
    assert np.array_equal(renumber(2 * many), many)


def test_the_blur_is_a_gaussian():
    from scipy.ndimage import gaussian_filter

    image = np.random.default_rng(0).random((64, 64))
    truth = gaussian_filter(image, 2.0, mode="wrap", truncate=8)
    assert np.abs(gaussian_blur(image, 2.0) - truth).max() < 1e-6


def test_the_noise_has_the_contrast_it_is_asked_for():
    noise = smooth_noise(np.random.default_rng(0), 512, CHROMATIN)
    assert noise.std() == pytest.approx(CHROMATIN[0][1], rel=0.05)
    assert abs(noise.mean()) < 0.01


def test_directions_have_length_one_and_no_preference():
    rng = np.random.default_rng(0)
    directions = np.array([random_direction(rng) for _ in range(2000)])
    assert np.allclose(np.abs(directions), 1)
    assert abs(directions.mean()) < 0.05
