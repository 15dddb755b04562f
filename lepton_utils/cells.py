"""Synthetic microscopy: images of cell nuclei whose outlines are known exactly.

Stands in for the article's 1,000 color images of 128 x 128 pixels, which were never
published. Each step of the simulation is one function, named after what it imitates. An
image depends only on the seed and on its own index: a larger set begins with the
smaller one.

Everything is computed in float64 and rounded once, at the end: where another processor
or library differs in the last bit, a pixel differs by one gray level at most.
"""

import numpy as np

STYLES = ("stain", "fluorescence")

MARGIN = (
    8  # px drawn around the field of view and cut off, so that cells cross its border
)

# Nuclei. Lengths in px; "density" is relative: 1 is a typical nucleus.
NUCLEI = (8, 28)  # tried per 128 x 128 px
RADIUS = (6.0, 13.5)
ELONGATION = (1.0, 1.6)  # long axis / short axis
WAVES = (0.06, 0.06, 0.04)  # amplitude of 2, 3, 4 waves around the outline / radius
CLUSTERED = 0.5  # share of nuclei that are put beside an existing one
CONTACT = (0.75, 1.05)  # distance of such a pair / sum of their radii
HIDDEN = 0.35  # largest share of a nucleus that others may cover
DENSITY = (0.65, 1.35)  # of one nucleus
SHINE_THROUGH = 0.35  # what the lower of two overlapping nuclei adds to the upper one
RIM = 0.25  # extra density along the outline
CHROMATIN = ((1.6, 0.22),)  # (grain in px, relative contrast)

# Debris: as dense as a nucleus, but of another size, shape or texture.
# Counts per 128 x 128 px.
GRAINS, GRAIN_RADIUS = (2, 18), (0.8, 2.4)
FIBERS, FIBER_WIDTH = (0, 4), (0.8, 2.0)
SMEARS, SMEAR_RADIUS = (0, 4), (10.0, 22.0)
DEBRIS_DENSITY = (0.4, 1.1)

# Optics and sensor. Light is relative to full scale.
BLUR = (0.35, 0.7)  # px, standard deviation of the point spread
SHADE = 0.18  # amplitude of uneven light

# Stained tissue: optical density of (red, green, blue) at density 1, varied from image
# to image.
HEMATOXYLIN = (0.72, 0.95, 0.42)
EOSIN = (0.10, 0.62, 0.36)
STAIN_SPREAD = 0.11  # relative, per color
STRENGTH = (0.75, 1.25)  # of both stains in an image
TISSUE = 0.6  # density of the pink ground
TISSUE_GRAIN = ((3.0, 0.12), (14.0, 0.18))  # (px, contrast), fine and coarse
GAPS = 0.4  # share of images with places without tissue
GAP_GRAIN = ((12.0, 1.0),)
STAIN_NOISE = 0.02

# Fluorescence: gray on a dark ground, exposed very differently from image to image.
EXPOSURE = (0.15, 0.6)
GROUND = (0.02, 0.10)  # light of the empty ground / exposure
GLOW = (0.10, 0.40)  # out-of-focus light around nuclei / exposure
GLOW_RADIUS = 6.0  # px
FLUORESCENCE_NOISE = (0.006, 0.02)


def make_cells(count=1000, size=128, seed=2005, style="mixed"):
    """Make microscope images of nuclei, with instance labels.

    Args:
        count: int >= 1, number of images.
        size: int >= 32, height and width in pixels. Nuclei keep their size: a
            larger image shows more of them.
        seed: int >= 0. Image i depends on the seed, the size, the style and i alone.
        style: "stain" (dark purple nuclei on pink tissue), "fluorescence" (gray on a
            dark ground, all three colors equal), or "mixed": the two in turn.

    Returns:
        images (count, size, size, 3) uint8; labels (count, size, size), uint8 up to
        size 256 and uint16 above: 0 = background, 1 ... n = the nuclei, the upper one
        where two overlap.

    Raises:
        ValueError: if an argument is out of its range.
    """
    _check_arguments(count, size, seed, style)
    images = np.empty((count, size, size, 3), np.uint8)
    labels = np.empty((count, size, size), np.uint8 if size <= 256 else np.uint16)
    for i in range(count):
        chosen = STYLES[i % 2] if style == "mixed" else style
        labels[i], light = make_cell(np.random.default_rng([seed, i]), size, chosen)
        gray_levels = np.floor(255 * np.clip(light, 0, 1) + 0.5)
        images[i] = np.moveaxis(gray_levels, 0, -1)
    return images, labels


def make_cell(rng, size, style):
    """Make one image: draw nuclei and debris, cut the labels, render the light.

    Args:
        rng: numpy Generator.
        size: int, height and width in pixels.
        style: "stain" or "fluorescence".

    Returns:
        labels (size, size) int; light (3 or 1, size, size) float, 1 = full scale.
    """
    extent = size + 2 * MARGIN
    area = (extent / 128) ** 2
    labels, nuclei = draw_nuclei(rng, extent, round(area * rng.integers(*NUCLEI)))
    debris = draw_debris(rng, extent, area)
    render = render_stain if style == "stain" else render_fluorescence
    return renumber(cut_margin(labels)), render(rng, nuclei, debris)


# Nuclei


def draw_nuclei(rng, extent, count):
    """Put nuclei on an empty ground, one over the other.

    Args:
        rng: numpy Generator.
        extent: int, height and width in pixels.
        count: int, nuclei to try; one that would hide too much of another is left out.

    Returns:
        labels (extent, extent) int; density (extent, extent) float, with chromatin.
    """
    labels = np.zeros((extent, extent), int)
    density = np.zeros((extent, extent))
    area, visible = np.zeros(count + 1), np.zeros(count + 1)  # px, by label
    placed = []
    for _ in range(count):
        row, column, radius = place_nucleus(rng, extent, placed)
        depth, patch = nucleus_depth(rng, extent, row, column, radius)
        inside = depth > 0
        hidden = np.bincount(labels[patch][inside], minlength=count + 1)
        hidden[0] = 0
        if np.any(visible - hidden < (1 - HIDDEN) * area):
            continue
        placed.append((row, column, radius))
        labels[patch][inside] = len(placed)
        visible -= hidden
        area[len(placed)] = visible[len(placed)] = np.count_nonzero(inside)
        stain_nucleus(density[patch], depth, rng.uniform(*DENSITY))
    return labels, density * (1 + smooth_noise(rng, extent, CHROMATIN))


def stain_nucleus(density, depth, strength):
    """Lay one nucleus over what is there, in place; it is denser along its rim."""
    cover = np.clip(depth + 0.5, 0, 1)
    rim = 1 + RIM * np.exp(-(((depth - 1.2) / 1.2) ** 2))
    density *= 1 - (1 - SHINE_THROUGH) * cover
    density += strength * rim * cover


def place_nucleus(rng, extent, placed):
    """Choose where a nucleus lies: anywhere, or in contact with an earlier one."""
    radius = rng.uniform(*RADIUS)
    row, column = rng.uniform(0, extent, 2)
    if placed and rng.random() < CLUSTERED:
        row, column, other = placed[rng.integers(len(placed))]
        step = rng.standard_normal(2)
        step *= rng.uniform(*CONTACT) * (radius + other) / np.sqrt(np.sum(step**2))
        row, column = row + step[0], column + step[1]
    return row, column, radius


def nucleus_depth(rng, extent, row, column, radius):
    """Shape a nucleus: an ellipse whose outline is perturbed by a few waves.

    The position relative to the center is the complex number ``z``. ``(z / |z|)**k``
    turns k times while ``z`` turns once: its real part is a wave along the outline.

    Returns:
        depth (height, width) float, the distance in pixels to the outline, positive
        inside (exact for a circle); patch, the slices of the image that it belongs to.
    """
    reach = radius * (ELONGATION[1] ** 0.5 + sum(WAVES)) + 1
    patch, y, x = cut_patch(extent, row, column, reach)
    direction = random_direction(rng)
    z = ((x - column) + 1j * (y - row)) * direction
    stretch = np.sqrt(rng.uniform(*ELONGATION))
    z = z.real / stretch + 1j * z.imag * stretch
    distance = np.abs(z)
    z /= np.maximum(distance, 1e-9)
    outline, turn = np.ones(z.shape), z
    for amplitude in WAVES:
        turn = turn * z
        outline += rng.uniform(0, amplitude) * (turn * random_direction(rng)).real
    return radius * outline - distance, patch


def renumber(labels):
    """Number the labels that are left 1, 2, ... in their order; 0 stays 0."""
    present = np.unique(labels[labels > 0])
    numbers = np.zeros(labels.max(initial=0) + 1, int)
    numbers[present] = np.arange(1, len(present) + 1)
    return numbers[labels]


# Debris


def draw_debris(rng, extent, area):
    """Add up everything on the slide that is not a nucleus.

    Args:
        rng: numpy Generator.
        extent: int, height and width in pixels.
        area: float, area of the image / (128 x 128 px).

    Returns:
        (extent, extent) float, density.
    """
    debris = np.zeros((extent, extent))
    for draw, counts in (
        (draw_grain, GRAINS),
        (draw_fiber, FIBERS),
        (draw_smear, SMEARS),
    ):
        for _ in range(round(area * rng.integers(*counts))):
            draw(rng, debris)
    return debris


def draw_grain(rng, debris):
    """Add a speck of dust: round, sharp, smaller than any nucleus."""
    row, column = rng.uniform(0, len(debris), 2)
    radius = rng.uniform(*GRAIN_RADIUS)
    add_blob(debris, row, column, rng.uniform(*DEBRIS_DENSITY), radius, power=4)


def draw_smear(rng, debris):
    """Add stain out of focus: larger than a nucleus, without outline or texture."""
    row, column = rng.uniform(0, len(debris), 2)
    radius = rng.uniform(*SMEAR_RADIUS)
    add_blob(debris, row, column, rng.uniform(*DEBRIS_DENSITY), radius, power=1)


def add_blob(debris, row, column, density, radius, power):
    """Add ``density * exp(-(r / radius)**(2 * power))`` around a point."""
    reach = radius * (2.6 if power == 1 else 1.5) + 1
    patch, y, x = cut_patch(len(debris), row, column, reach)
    near = ((y - row) ** 2 + (x - column) ** 2) / radius**2
    debris[patch] += density * np.exp(-(near**power))


def cut_patch(extent, row, column, reach):
    """Cut the square around a point out of the image.

    Returns:
        patch, two slices; y (height, 1) and x (1, width), the pixel positions in it.
    """
    top, left, bottom, right = (
        min(max(int(end), 0), extent)
        for end in (row - reach, column - reach, row + reach + 2, column + reach + 2)
    )
    y, x = np.arange(top, bottom)[:, None], np.arange(left, right)[None, :]
    return (slice(top, bottom), slice(left, right)), y, x


def draw_fiber(rng, debris):
    """Add a long thin strand along an arc of a circle."""
    extent = len(debris)
    row, column = rng.uniform(0, extent, 2)
    bend = rng.uniform(0.4, 3) * extent  # px, radius of the arc
    center = bend * random_direction(rng)
    x = np.arange(extent)
    y = x[:, None]
    off = np.sqrt((x - column - center.real) ** 2 + (y - row - center.imag) ** 2) - bend
    width = rng.uniform(*FIBER_WIDTH)
    debris += rng.uniform(*DEBRIS_DENSITY) * np.exp(-((off / width) ** 2))


# Optics


def render_stain(rng, nuclei, debris):
    """Light through a stained section: every stain absorbs a share of each color.

    Densities add up; the light that passes is exp(-density) (law of Beer and Lambert).

    Args:
        rng: numpy Generator.
        nuclei: (extent, extent) float, density of the nuclear stain.
        debris: the same.

    Returns:
        (3, size, size) float: red, green, blue, 1 = full scale.
    """
    purple = cut_margin(gaussian_blur(nuclei + debris, rng.uniform(*BLUR)))
    pink = cut_margin(draw_tissue(rng, len(nuclei))) * np.exp(-purple)
    spread = rng.uniform(*STRENGTH) * np.exp(STAIN_SPREAD * rng.standard_normal((2, 3)))
    stains = (spread * [HEMATOXYLIN, EOSIN])[..., None, None]
    transmitted = np.exp(-(purple * stains[0] + pink * stains[1]))
    light = uneven_light(rng, len(purple)) * transmitted
    return light + STAIN_NOISE * rng.standard_normal(light.shape, np.float32)


def draw_tissue(rng, extent):
    """Density of the pink ground: coarse and fine texture, torn open in some images."""
    tissue = np.maximum(TISSUE + smooth_noise(rng, extent, TISSUE_GRAIN), 0)
    if rng.random() < GAPS:
        height = smooth_noise(rng, extent, GAP_GRAIN) - rng.uniform(0.2, 1.0)
        tissue /= 1 + np.exp(np.clip(height / 0.15, -30, 30))
    return tissue


def render_fluorescence(rng, nuclei, debris):
    """Light of glowing nuclei on a dark ground, with the glow of what is out of focus.

    Args:
        rng: numpy Generator.
        nuclei: (extent, extent) float, density of the dye.
        debris: the same.

    Returns:
        (1, size, size) float, 1 = full scale.
    """
    dye = nuclei + debris
    glow = rng.uniform(*GLOW) * gaussian_blur(dye, GLOW_RADIUS)
    light = cut_margin(gaussian_blur(dye, rng.uniform(*BLUR)) + glow)
    light = rng.uniform(*EXPOSURE) * (light + rng.uniform(*GROUND))
    light = light * uneven_light(rng, len(light))
    noise = rng.uniform(*FLUORESCENCE_NOISE)
    return (light + noise * rng.standard_normal(light.shape, np.float32))[None]


def uneven_light(rng, extent):
    """Make illumination that falls off across the field: a plane and a bowl, mean 1."""
    y = np.linspace(-1, 1, extent)[:, None]
    x = y.T
    slope = SHADE * random_direction(rng)
    return 1 + slope.real * x + slope.imag * y - SHADE * (x**2 + y**2 - 2 / 3)


def cut_margin(layers):
    """Cut the margin off the last two axes."""
    return layers[..., MARGIN:-MARGIN, MARGIN:-MARGIN]


def gaussian_blur(layers, sigma):
    """Blur along the last two axes, periodically.

    What wraps around falls into the margin; of a blur as wide as it, a little goes on.

    Args:
        layers: (..., extent, extent) float.
        sigma: float > 0, standard deviation in pixels.
    """
    extent = layers.shape[-1]
    spectrum = np.fft.rfft2(layers) * gaussian_response(extent, sigma)
    return np.fft.irfft2(spectrum, s=(extent, extent))


def gaussian_response(extent, sigma):
    """Fourier transform of a Gaussian (standard deviation in pixels), for rfft2."""
    y = np.exp(-2 * (np.pi * sigma * np.fft.fftfreq(extent)) ** 2)
    return y[:, None] * y[: extent // 2 + 1]


def smooth_noise(rng, extent, grains):
    """Make random texture of mean 0 without a direction: white noise, blurred.

    Args:
        rng: numpy Generator.
        extent: int, height and width in pixels.
        grains: pairs of a standard deviation of the blur in pixels and of the result.
    """
    response = sum(
        contrast * 2 * np.pi**0.5 * scale * gaussian_response(extent, scale)
        for scale, contrast in grains
    )
    noise = rng.standard_normal((extent, extent), np.float32)
    spectrum = np.fft.rfft2(noise.astype(float)) * response
    return np.fft.irfft2(spectrum, s=noise.shape)


def random_direction(rng):
    """Draw a complex number of absolute value 1, all directions alike."""
    x, y = rng.standard_normal(2).tolist()
    return complex(x, y) / (x * x + y * y) ** 0.5


def _check_arguments(count, size, seed, style):
    for name, value, least in (
        ("count", count, 1),
        ("size", size, 32),
        ("seed", seed, 0),
    ):
        if not isinstance(value, (int, np.integer)) or value < least:
            raise ValueError(f"{name} must be an integer >= {least}, got {value!r}")
    if style not in (*STYLES, "mixed"):
        raise ValueError(
            f"style must be 'stain', 'fluorescence' or 'mixed', got {style!r}"
        )
