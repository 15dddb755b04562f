"""Boxes, their measures, and the U-Net: what several chapters on vision share.

A box is top, left, bottom, right in pixels; bottom and right are excluded, so that its
area is (bottom - top) (right - left). Everything is NumPy but `build_unet`.
"""

import numpy as np

COLORS = ("tab:red", "tab:blue", "tab:green", "tab:orange", "tab:purple")
STYLES = ("-", "--", ":", "-.")


def box_iou(boxes, others):
    """Compare every box of one list with every box of another.

    Args:
        boxes: float array (n, 4).
        others: float array (m, 4).

    Returns:
        float array (n, m), intersection over union, 0 to 1; 0 where both boxes of a
        pair have no area.

    Raises:
        ValueError: if a list has another shape, or a box ends before it begins.

    Taught in chapters/vision/06_detection.
    """
    boxes, others = _check_boxes("boxes", boxes), _check_boxes("others", others)
    start = np.maximum(boxes[:, None, :2], others[None, :, :2])
    end = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    common = np.prod(np.maximum(end - start, 0), axis=-1)
    union = box_area(boxes)[:, None] + box_area(others) - common
    return np.divide(common, union, out=np.zeros_like(union), where=union > 0)


def box_area(boxes):
    """Area of boxes (..., 4), px; taught in chapters/vision/06_detection."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def clip_boxes(boxes, height, width):
    """Cut boxes (n, 4) off at the border of an image; outside it they lose all area."""
    limits = np.array([height, width, height, width], float)
    return np.clip(_check_boxes("boxes", boxes), 0, limits)


def non_max_suppression(boxes, scores, threshold=0.5):
    """Keep the best of the boxes that cover the same place.

    Args:
        boxes: float array (n, 4).
        scores: float array (n,); of equal ones the first is the better.
        threshold: float from 0 to 1; a box is dropped if its intersection over union
            with a better box that is kept is larger.

    Returns:
        int array, indices of the boxes that are kept, the best first.

    Raises:
        ValueError: if shapes differ, a box ends before it begins, a score is not a
            number, or the threshold is out of its range.

    Source: greedy suppression as in girshick2014. Taught in
    chapters/vision/06_detection.
    """
    boxes, scores = _check_boxes("boxes", boxes), _check_scores(scores, len(boxes))
    _check_threshold(threshold)
    left, kept = np.argsort(-scores, kind="stable"), []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        left = left[box_iou(boxes[[best]], boxes[left])[0] <= threshold]
    return np.array(kept, int)


def encode_boxes(boxes, anchors):
    """Describe boxes relative to anchors, as a network predicts them.

    Args:
        boxes: float array (n, 4), each with a positive area.
        anchors: float array (n, 4), each with a positive area.

    Returns:
        float array (n, 4): shift of the center down and to the right, in heights and
        widths of the anchor; natural logarithm of height and of width over the
        anchor's.

    Raises:
        ValueError: if shapes differ or a box has no area.

    Source: girshick2014. Taught in chapters/vision/06_detection.
    """
    boxes, anchors = _check_boxes("boxes", boxes), _check_boxes("anchors", anchors)
    _check_pairs("boxes", boxes, anchors)
    center, size = _center_and_size("boxes", boxes)
    middle, unit = _center_and_size("anchors", anchors)
    return np.concatenate([(center - middle) / unit, np.log(size / unit)], axis=1)


def decode_boxes(offsets, anchors):
    """Turn offsets back into boxes: the inverse of `encode_boxes`.

    Args:
        offsets: float array (n, 4), as `encode_boxes` returns them.
        anchors: float array (n, 4), each with a positive area.

    Returns:
        float array (n, 4), boxes; they may reach beyond the image.

    Raises:
        ValueError: if shapes differ or an anchor has no area.
    """
    offsets, anchors = _check_rows("offsets", offsets), _check_boxes("anchors", anchors)
    _check_pairs("offsets", offsets, anchors)
    middle, unit = _center_and_size("anchors", anchors)
    center, size = middle + offsets[:, :2] * unit, unit * np.exp(offsets[:, 2:])
    return np.concatenate([center - size / 2, center + size / 2], axis=1)


def match_detections(boxes, scores, truths, threshold=0.5):
    """Say which detections of one class in one image find an object.

    In the order of their scores, each takes the object that it overlaps most. It is a
    hit if the overlap reaches the threshold and no better one took that object before.

    Args:
        boxes: float array (n, 4), detections.
        scores: float array (n,).
        truths: float array (m, 4), boxes of the objects.
        threshold: float from 0 to 1, intersection over union that is enough.

    Returns:
        bool array (n,), in the order of the detections.

    Raises:
        ValueError: if shapes differ or a box ends before it begins.

    Source: everingham2010. Taught in chapters/vision/06_detection.
    """
    overlap = box_iou(boxes, truths)
    scores, hits = _check_scores(scores, len(overlap)), np.zeros(len(overlap), bool)
    _check_threshold(threshold)
    taken = set()
    for i in np.argsort(-scores, kind="stable") if overlap.shape[1] else ():
        best = int(overlap[i].argmax())
        hits[i] = overlap[i, best] >= threshold and best not in taken
        if hits[i]:
            taken.add(best)
    return hits


def average_precision(scores, hits, num_truths):
    """Area below the precision-recall curve, its precision made monotone.

    Args:
        scores: float array (n,), of the detections of one class in all images.
        hits: bool array (n,), from `match_detections`.
        num_truths: int >= 0, objects of the class in all images.

    Returns:
        float, 0 to 1; not a number if there are no objects.

    Raises:
        ValueError: if shapes differ, or there are more hits than objects.

    Source: everingham2010, interpolated at all points. Taught in
    chapters/vision/06_detection.
    """
    hits = np.asarray(hits, bool)
    scores = _check_scores(scores, len(hits))
    if hits.sum() > num_truths:
        raise ValueError(f"num_truths must be at least {hits.sum()}, got {num_truths}")
    if num_truths == 0:
        return float("nan")
    found = np.cumsum(hits[np.argsort(-scores, kind="stable")])
    precision = found / np.arange(1, len(found) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(precision * np.diff(found, prepend=0)) / num_truths)


def mean_average_precision(detections, truths, num_classes, threshold=0.5):
    """Average precision of every class; its mean is the mAP.

    Args:
        detections: list, for each image (boxes (n, 4), scores (n,), labels (n,)).
        truths: list, for each image (boxes (m, 4), labels (m,)).
        num_classes: int >= 1; labels count from 0.
        threshold: float from 0 to 1, intersection over union that is enough.

    Returns:
        float array (num_classes,), not a number for a class without objects: take
        ``np.nanmean``.

    Raises:
        ValueError: if the lists differ in length, or shapes do not fit.

    Source: everingham2010. Taught in chapters/vision/06_detection.
    """
    if len(detections) != len(truths):
        raise ValueError(
            f"detections and truths must be of as many images, got {len(detections)} "
            f"and {len(truths)}"
        )
    result = np.empty(num_classes)
    for label in range(num_classes):
        scores, hits, count = [], [], 0
        for (boxes, confidence, found), (true_boxes, true_labels) in zip(
            detections, truths, strict=True
        ):
            mine, goal = np.asarray(found) == label, np.asarray(true_labels) == label
            some, sure = np.asarray(boxes)[mine], np.asarray(confidence)[mine]
            objects = np.asarray(true_boxes)[goal]
            hits.append(match_detections(some, sure, objects, threshold))
            scores.append(sure)
            count += len(objects)
        result[label] = average_precision(
            np.concatenate(scores), np.concatenate(hits), count
        )
    return result


def split_objects(objects):
    """Take the rows apart that `lepton_utils.load` gives for one image.

    Args:
        objects: float array (k, 5), top, left, bottom, right, class; -1 = no object.

    Returns:
        boxes (n, 4) float and labels (n,) int of the n objects.
    """
    objects = np.asarray(objects)
    if objects.ndim != 2 or objects.shape[1] != 5:
        raise ValueError(f"objects must have shape (k, 5), got {objects.shape}")
    found = objects[objects[:, 4] >= 0]
    return found[:, :4], found[:, 4].astype(int)


def plot_boxes(ax, boxes, labels=None, names=None):
    """Draw boxes with a white rim into an image, color and line style by class.

    Args:
        ax: matplotlib axes that show the image (`lepton_utils.plot_images`).
        boxes: float array (n, 4).
        labels: int array (n,), or None: all of class 0.
        names: list of str, to write beside each box; None: nothing.
    """
    boxes = _check_boxes("boxes", boxes)
    labels = np.zeros(len(boxes), int) if labels is None else np.asarray(labels)
    for i, ((top, left, bottom, right), label) in enumerate(
        zip(boxes, labels, strict=True)
    ):
        color, style = COLORS[label % len(COLORS)], STYLES[label % len(STYLES)]
        y, x = [top, top, bottom, bottom, top], [left, right, right, left, left]
        for line in (
            {"color": "white", "linestyle": "-", "linewidth": 3.5},  # the rim
            {"color": color, "linestyle": style},
        ):
            ax.plot(np.array(x) - 0.5, np.array(y) - 0.5, **line)
        if names is not None:
            ax.text(left, top - 1, names[i], color=color, fontsize=7)


def foreground_iou(predicted, truth):
    """Intersection over union of all foreground pixels of all images together.

    Args:
        predicted: bool array, any shape.
        truth: bool array of the same shape.

    Returns:
        float, 0 to 1; 1 if there is no foreground in either.

    Raises:
        ValueError: if shapes differ, or an array is not of type bool.

    Taught in chapters/vision/03_article_cnn.
    """
    predicted, truth = np.asarray(predicted), np.asarray(truth)
    if predicted.shape != truth.shape:
        raise ValueError(
            f"predicted and truth must agree in shape, got {predicted.shape} and "
            f"{truth.shape}"
        )
    for name, mask in ("predicted", predicted), ("truth", truth):
        if mask.dtype != bool:
            raise ValueError(f"{name} must be of type bool, got {mask.dtype}")
    union = np.count_nonzero(predicted | truth)
    return np.count_nonzero(predicted & truth) / union if union else 1.0


def otsu_mask(image):
    """Take the smaller of the two parts that Otsu's gray level makes of an image.

    Args:
        image: array (height, width, channels) of numbers; the mean of the channels
            is its gray level.

    Returns:
        bool array (height, width).

    Raises:
        ValueError: if the image has not three axes.

    Source: otsu1979threshold. Used in chapters/vision/03 to 05.
    """
    from skimage.filters import threshold_otsu

    image = np.asarray(image)
    if image.ndim != 3:
        raise ValueError(f"image must be (height, width, channels), got {image.shape}")
    gray = image.mean(axis=-1)
    bright = gray > threshold_otsu(gray)
    return bright if bright.mean() < 0.5 else ~bright


def boundary_distance(masks):
    """Distance of each pixel to the nearest pixel of the other class.

    Args:
        masks: bool array (n, height, width).

    Returns:
        float64 array of the same shape, px, 1 on both sides of an outline; in a mask
        without an outline infinite.

    Raises:
        ValueError: if the masks are not bool with three axes.

    Used in chapters/vision/03 to 05.
    """
    from scipy.ndimage import distance_transform_edt

    masks = _check_masks(masks)
    distance = np.full(masks.shape, np.inf)
    for out, mask in zip(distance, masks, strict=True):
        if mask.any() and not mask.all():
            out[:] = distance_transform_edt(mask) + distance_transform_edt(~mask)
    return distance


def bilinear_matrix(count, stride):
    """Weights with which a row of numbers is enlarged, the edge repeated.

    Args:
        count: int, numbers in the row.
        stride: int, by how much it becomes longer.

    Returns:
        float32 array (count * stride, count).

    Derived in chapters/vision/04_fully_convolutional.
    """
    place = np.clip((np.arange(count * stride) + 0.5) / stride - 0.5, 0, count - 1)
    return np.maximum(0, 1 - abs(place[:, None] - np.arange(count))).astype("float32")


def average_blocks(masks, stride):
    """Average masks over blocks, enlarge the averages bilinearly, cut at one half.

    Args:
        masks: bool array (n, side, side).
        stride: int, side of a block in px; divides the side of the mask.

    Returns:
        bool array of the same shape.

    Raises:
        ValueError: if the masks are not square, or the stride does not divide them.

    Taught in chapters/vision/03_article_cnn.
    """
    masks = _check_masks(masks, stride)
    n, count = len(masks), masks.shape[1] // stride
    means = masks.reshape(n, count, stride, count, stride).mean(axis=(2, 4))
    up = bilinear_matrix(count, stride)
    return up @ means @ up.T > 0.5


def fit_coarse_logits(masks, stride, steps=60):
    """Enlarge the coarse logits that fit masks with the least cross-entropy.

    Nesterov's gradient descent on a convex loss.

    Args:
        masks: bool array (n, side, side).
        stride: int, px between two logits; divides the side of the mask.
        steps: int, gradient steps.

    Returns:
        float32 array of the same shape, logits; above 0 is foreground.

    Raises:
        ValueError: if the masks are not square, or the stride does not divide them.

    Taught in chapters/vision/03_article_cnn.
    """
    masks = _check_masks(masks, stride)
    up = bilinear_matrix(masks.shape[1] // stride, stride)
    rate = 4 / np.linalg.norm(up, 2) ** 4  # 1 / largest curvature
    z = speed = np.zeros((len(masks), up.shape[1], up.shape[1]), "float32")
    for _ in range(steps):
        ahead = z + 0.9 * speed
        p = 1 / (1 + np.exp(-(up @ ahead @ up.T)))
        speed = 0.9 * speed - rate * (up.T @ (p - masks) @ up)
        z = z + speed
    return up @ z @ up.T


def _check_masks(masks, stride=None):
    masks = np.asarray(masks)
    if masks.ndim != 3 or masks.dtype != bool:
        raise ValueError(
            f"masks must be bool (n, height, width), got {masks.dtype} {masks.shape}"
        )
    height, width = masks.shape[1:]
    if stride is not None and (height != width or height % stride):
        raise ValueError(
            f"masks must be square and divisible by {stride}, got {height} x {width}"
        )
    return masks


def build_unet(shape, width=8, depth=3, num_outputs=1):
    """Build a U-Net: two normalized convolutions on each level, skips between sides.

    Args:
        shape: tuple (height, width, channels); height and width, if they are not None,
            must be divisible by 2 ** depth.
        width: int, filters on the highest level; each level below has twice as many.
        depth: int >= 1, number of poolings.
        num_outputs: int, values per pixel, before a sigmoid or softmax.

    Returns:
        keras.Model, images (n, height, width, channels) -> (n, height, width,
        num_outputs).

    Raises:
        ValueError: if the size is not divisible.

    Source: ronneberger2015unet. Taught in chapters/vision/05_unet.
    """
    from keras import Model, layers

    for side in shape[:2]:
        if side is not None and side % 2**depth:
            raise ValueError(
                f"height and width must be divisible by {2**depth} for depth {depth}, "
                f"got {shape[0]} x {shape[1]}"
            )
    inputs = x = layers.Input(shape)
    skips = []
    for level in range(depth):
        skips.append(_convolve_twice(x, width * 2**level))
        x = layers.MaxPooling2D()(skips[-1])
    x = _convolve_twice(x, width * 2**depth)
    for level in reversed(range(depth)):
        x = layers.Concatenate()([layers.UpSampling2D()(x), skips[level]])
        x = _convolve_twice(x, width * 2**level)
    return Model(inputs, layers.Conv2D(num_outputs, 1)(x))


def _convolve_twice(x, width):
    from keras import layers

    for _ in range(2):
        x = layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization(momentum=0.9)(x)
        x = layers.ReLU()(x)
    return x


def _center_and_size(name, boxes):
    if not (box_area(boxes) > 0).all():
        raise ValueError(f"{name} must have a positive area")
    size = boxes[:, 2:] - boxes[:, :2]
    return boxes[:, :2] + size / 2, size


def _check_rows(name, rows):
    rows = np.asarray(rows, float)
    if rows.size == 0:
        return rows.reshape(0, 4)
    if rows.ndim != 2 or rows.shape[1] != 4:
        raise ValueError(f"{name} must have shape (n, 4), got {rows.shape}")
    return rows


def _check_boxes(name, boxes):
    boxes = _check_rows(name, boxes)
    wrong = ~(boxes[:, :2] <= boxes[:, 2:]).all(axis=1)
    if wrong.any():
        raise ValueError(
            f"{name} must be top <= bottom, left <= right, got {boxes[wrong][0]}"
        )
    return boxes


def _check_pairs(name, rows, anchors):
    if len(rows) != len(anchors):
        raise ValueError(
            f"{name} and anchors must be as many, got {len(rows)} and {len(anchors)}"
        )


def _check_scores(scores, count):
    scores = np.asarray(scores, float)
    if scores.shape != (count,):
        raise ValueError(f"scores must have shape ({count},), got {scores.shape}")
    if np.isnan(scores).any():
        raise ValueError("scores must be numbers, got nan")
    return scores


def _check_threshold(threshold):
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold must be from 0 to 1, got {threshold}")
