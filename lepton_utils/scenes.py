"""Synthetic scenes for detection: discs, squares and triangles among clutter.

Stands in for photographs with boxes. A scene has one to five objects of three classes
on an uneven ground with strokes and arcs, which are as bright as objects but are none;
objects overlap, and their boxes are known exactly. A scene depends only on the seed and
on its own index.
"""

import numpy as np

CLASSES = ("disc", "square", "triangle")
BCCD_CLASSES = ("red cell", "white cell", "platelet")

CORNERS = {"square": 4, "triangle": 3}
MAX_OBJECTS = 5
RADIUS = (7.0, 24.0)  # px, of the circle around an object
HIDDEN = 0.5  # largest share of an object that later ones may cover
CLUTTER = (3, 9)  # strokes and arcs a scene, the upper end excluded
CONTRAST = 0.25  # smallest difference in one color from what lies below; 1 = full scale
NOISE = 0.04  # standard deviation of a pixel


def make_scenes(count=1500, size=128, seed=2006):
    """Make scenes with the boxes and classes of their objects.

    Args:
        count: int >= 1, number of scenes.
        size: int >= 64, height and width in pixels; objects keep their size.
        seed: int >= 0. Scene i depends on the seed, the size and i alone.

    Returns:
        images (count, size, size, 3) uint8; objects (count, 5, 5) float32: in each row
        top, left, bottom, right in pixels (bottom and right excluded) and the class, an
        index into `CLASSES`. A row without an object is 0, 0, 0, 0, -1. A box
        encloses the whole object, also where another one covers it.

    Raises:
        ValueError: if an argument is out of its range.
    """
    for name, value, low in ("count", count, 1), ("size", size, 64), ("seed", seed, 0):
        if value < low:
            raise ValueError(f"{name} must be at least {low}, got {value}")
    images = np.empty((count, size, size, 3), np.uint8)
    objects = np.zeros((count, MAX_OBJECTS, 5), np.float32)
    objects[..., 4] = -1
    for i in range(count):
        light, rows = make_scene(np.random.default_rng([seed, i]), size)
        images[i] = np.floor(255 * np.clip(light, 0, 1) + 0.5)
        objects[i, : len(rows)] = rows
    return images, objects


def make_scene(rng, size):
    """Make one scene: ground, clutter, objects one over the other, noise.

    Returns:
        light (size, size, 3) float, 1 = full scale; list of rows as in `make_scenes`.
    """
    y, x = np.mgrid[:size, :size] + 0.5
    light = draw_ground(rng, y, x)
    for _ in range(rng.integers(*CLUTTER)):
        paint(rng, light, draw_clutter(rng, y, x))
    visible, areas, rows = [], [], []
    for _ in range(rng.integers(1, MAX_OBJECTS + 1)):
        label = rng.integers(len(CLASSES))
        cover = draw_object(rng, CLASSES[label], y, x)
        mask = cover > 0.5
        left = [old & ~mask for old in visible]
        if any(m.sum() < (1 - HIDDEN) * a for m, a in zip(left, areas, strict=True)):
            continue
        paint(rng, light, cover)
        visible, areas = [*left, mask], [*areas, mask.sum()]
        rows.append([*enclose(mask), label])
    return light + rng.normal(0, NOISE, light.shape), rows


def enclose(mask):
    """Return top, left, bottom, right of the smallest box around a mask's pixels.

    Args:
        mask: bool array (height, width).

    Raises:
        ValueError: if no pixel of the mask is set.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        raise ValueError("mask must hold at least one pixel, got none")
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def draw_ground(rng, y, x):
    """Mix two colors along a wave of random direction, length and phase."""
    first, second = rng.uniform(0.2, 0.8, (2, 3))
    angle = rng.uniform(0, 2 * np.pi)
    along = (np.cos(angle) * x + np.sin(angle) * y) / len(x)
    mix = 0.5 + 0.5 * np.sin(along * rng.uniform(2, 12) + rng.uniform(0, 6))
    return first + mix[..., None] * (second - first)


def draw_object(rng, name, y, x):
    """Draw a disc or a turned polygon; return its cover (height, width), 0 to 1."""
    radius = rng.uniform(*RADIUS)
    middle_y, middle_x = rng.uniform(radius, len(x) - radius, 2)
    y, x = y - middle_y, x - middle_x
    if name not in CORNERS:
        return antialias(np.hypot(y, x) - radius)
    corners = CORNERS[name]
    angles = rng.uniform(0, 2 * np.pi) + 2 * np.pi * np.arange(corners) / corners
    height = radius * np.cos(np.pi / corners)  # of a side above the middle
    return antialias(
        np.max([np.sin(a) * y + np.cos(a) * x for a in angles], 0) - height
    )


def draw_clutter(rng, y, x):
    """Draw a stroke or an arc; return its cover (height, width), 0 to 1."""
    middle_y, middle_x = rng.uniform(0, len(x), 2)
    angle = rng.uniform(0, np.pi)
    along = np.cos(angle) * (x - middle_x) + np.sin(angle) * (y - middle_y)
    across = np.cos(angle) * (y - middle_y) - np.sin(angle) * (x - middle_x)
    if rng.random() < 0.5:
        length, width = rng.uniform(8, 40), rng.uniform(1, 3)
        return antialias(np.maximum(abs(along) - length, abs(across) - width))
    radius = rng.uniform(6, 24)
    ring = abs(np.hypot(along, across) - radius) - rng.uniform(1, 2.5)
    return antialias(np.maximum(ring, rng.uniform(-radius, radius / 2) - along))


def antialias(distance):
    """Turn signed distances from an outline (px, inside < 0) into cover, 0 to 1."""
    return np.clip(0.5 - distance, 0, 1)


def paint(rng, light, cover):
    """Paint a shape, in place, in a color that differs from what lies below it."""
    below = light[cover > 0.5]
    mean = below.mean(axis=0) if len(below) else light.mean(axis=(0, 1))
    color = mean
    while abs(color - mean).max() < CONTRAST:
        color = rng.uniform(0.05, 0.95, 3)
    light += cover[..., None] * (color - light)
