"""Boxes against other implementations and by their properties; scenes; the U-Net."""

import contextlib
import io

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from sklearn.metrics import average_precision_score

from lepton_utils import vision
from lepton_utils.scenes import CLASSES, enclose, make_scenes

SIDE = 100


@st.composite
def boxes(draw, least=0, most=12, smallest=0):
    """Lists of boxes on half pixels; some touch, repeat or have no area."""
    rows = []
    for _ in range(draw(st.integers(least, most))):
        size = draw(st.tuples(*[st.integers(2 * smallest, SIDE)] * 2))
        start = draw(st.tuples(*[st.integers(0, 2 * SIDE)] * 2))
        rows.append([*start, start[0] + size[0], start[1] + size[1]])
    return np.array(rows, float).reshape(-1, 4) / 2


def random_boxes(rng, count):
    start, size = rng.uniform(0, SIDE / 2, (count, 2)), rng.uniform(5, 40, (count, 2))
    return np.concatenate([start, start + size], axis=1)


# Intersection over union


@given(boxes(), boxes())
def test_iou_counts_pixels(ones, others):
    ones, others = np.round(ones), np.round(others)
    grid = np.arange(2 * SIDE)

    def masks(boxes):
        rows = (boxes[:, 0, None] <= grid) & (grid < boxes[:, 2, None])
        columns = (boxes[:, 1, None] <= grid) & (grid < boxes[:, 3, None])
        return rows[:, :, None] & columns[:, None]

    first, second = masks(ones), masks(others)
    got = vision.box_iou(ones, others)
    assert got.shape == (len(ones), len(others))
    for i, j in np.ndindex(got.shape):
        union = (first[i] | second[j]).sum()
        assert got[i, j] == pytest.approx(
            (first[i] & second[j]).sum() / union if union else 0
        )


@given(boxes(least=1), st.integers(-50, 50), st.integers(1, 9))
def test_iou_is_symmetric_and_blind_to_place_and_scale(some, shift, scale):
    overlap = vision.box_iou(some, some)
    assert_array_equal(overlap, overlap.T)
    assert_array_equal(np.diag(overlap), vision.box_area(some) > 0)
    assert_allclose(vision.box_iou(scale * some + shift, scale * some + shift), overlap)


def test_touching_boxes_do_not_overlap():
    assert vision.box_iou([[0, 0, 2, 2]], [[0, 2, 2, 4], [2, 0, 4, 2]]).max() == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([[3, 0, 1, 1]], r"boxes must be top <= bottom, left <= right, got \[3"),
        ([[0, 0, np.nan, 1]], "top <= bottom"),
        ([[0, 0, 1]], r"boxes must have shape \(n, 4\), got \(1, 3\)"),
        ([0, 0, 1, 1], r"got \(4,\)"),
    ],
)
def test_what_is_no_box_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        vision.box_iou(wrong, [[0, 0, 1, 1]])


def test_boxes_are_cut_at_the_border():
    cut = vision.clip_boxes([[-3, 5, 12, 30], [20, 20, 30, 30]], 10, 20)
    assert cut.tolist() == [[0, 5, 10, 20], [10, 20, 10, 20]]
    assert vision.box_area(cut).tolist() == [150, 0]


# Suppression


@given(boxes(least=1, smallest=1), st.randoms(), st.floats(0, 1))
def test_suppression_agrees_with_tensorflow(some, random, threshold):
    threshold = np.float32(threshold)
    scores = np.array(random.sample(range(1, 100), len(some))) / 100
    got = vision.non_max_suppression(some, scores, float(threshold))
    overlap = vision.box_iou(some, some)
    if (abs(overlap - threshold) < 1e-6).any():
        return  # TensorFlow computes in float32: which side a tie falls on may differ
    expected = tf.image.non_max_suppression(
        some.astype("float32"), scores.astype("float32"), len(some), threshold
    )
    assert_array_equal(got, expected)


@given(boxes(least=1), st.floats(0, 1))
def test_what_is_kept_is_apart_and_covers_the_rest(some, threshold):
    scores = np.linspace(1, 0, len(some))
    kept = vision.non_max_suppression(some, scores, threshold)
    overlap = vision.box_iou(some, some)
    assert kept[0] == 0 and (np.diff(kept) > 0).all()
    assert (
        overlap[np.ix_(kept, kept)][~np.eye(len(kept), dtype=bool)] <= threshold
    ).all()
    for i in set(range(len(some))) - set(kept.tolist()):
        assert overlap[i, kept[kept < i]].max() > threshold
    again = vision.non_max_suppression(some[kept], scores[kept], threshold)
    assert_array_equal(again, np.arange(len(kept)))


def test_of_equal_boxes_and_scores_the_first_is_kept():
    same = np.tile([0.0, 0, 5, 5], (3, 1))
    assert vision.non_max_suppression(same, np.ones(3)).tolist() == [0]
    assert vision.non_max_suppression(np.empty((0, 4)), []).tolist() == []


def test_suppression_refuses_what_it_cannot_order():
    one = [[0, 0, 1, 1]]
    with pytest.raises(ValueError, match="scores must be numbers, got nan"):
        vision.non_max_suppression(one, [np.nan])
    with pytest.raises(ValueError, match=r"scores must have shape \(1,\), got \(2,\)"):
        vision.non_max_suppression(one, [1, 2])
    with pytest.raises(ValueError, match="threshold must be from 0 to 1, got 50"):
        vision.non_max_suppression(one, [1], threshold=50)


# Offsets


@given(boxes(least=5, most=5, smallest=1), boxes(least=5, most=5, smallest=1))
def test_decoding_inverts_encoding(some, anchors):
    offsets = vision.encode_boxes(some, anchors)
    assert_allclose(vision.decode_boxes(offsets, anchors), some, atol=1e-9)
    scaled = vision.encode_boxes(3 * some + 7, 3 * anchors + 7)
    assert_allclose(scaled, offsets, atol=1e-9)


def test_offsets_of_a_known_pair():
    got = vision.encode_boxes([[15, 0, 35, 10]], [[0, 0, 10, 10]])
    assert_allclose(got, [[2, 0, np.log(2), 0]])


def test_boxes_without_area_have_no_offsets():
    flat, good = [[1, 1, 1, 5]], [[0, 0, 2, 2]]
    with pytest.raises(ValueError, match="boxes must have a positive area"):
        vision.encode_boxes(flat, good)
    with pytest.raises(ValueError, match="anchors must have a positive area"):
        vision.encode_boxes(good, flat)
    with pytest.raises(ValueError, match="offsets and anchors must be as many"):
        vision.decode_boxes(np.zeros((2, 4)), good)
    with pytest.raises(ValueError, match=r"offsets must have shape \(n, 4\)"):
        vision.decode_boxes(np.zeros((4, 1)), good)


# Average precision


def test_each_object_is_found_once_by_the_surest():
    truths = [[0, 0, 10, 10], [50, 50, 60, 60]]
    found = [[0, 0, 10, 9], [0, 0, 10, 10], [50, 50, 60, 55], [90, 90, 99, 99]]
    hits = vision.match_detections(found, [0.6, 0.9, 0.8, 0.7], truths, 0.5)
    assert hits.tolist() == [False, True, True, False]
    assert vision.match_detections(found, np.ones(4), [], 0.5).tolist() == [False] * 4
    assert vision.match_detections([], [], truths).tolist() == []


@given(
    st.lists(st.tuples(st.integers(0, 1000), st.booleans()), min_size=1, max_size=30)
)
def test_average_precision_is_a_step_above_that_of_scikit_learn(pairs):
    scores, hits = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])
    scores = scores + np.linspace(0, 0.5, len(scores))  # no ties
    if not hits.any():
        return
    got = vision.average_precision(scores, hits, hits.sum())
    order = np.argsort(-scores)
    precision = np.cumsum(hits[order]) / np.arange(1, len(hits) + 1)
    expected = np.mean([precision[i:].max() for i in np.flatnonzero(hits[order])])
    assert got == pytest.approx(expected)
    assert got >= average_precision_score(hits, scores) - 1e-12
    more = vision.average_precision(scores, hits, hits.sum() + 3)
    assert more == pytest.approx(got * hits.sum() / (hits.sum() + 3))


def test_average_precision_by_hand():
    scores, hits = [0.9, 0.8, 0.7, 0.6], [True, False, True, False]
    assert vision.average_precision(scores, hits, 4) == pytest.approx((1 + 2 / 3) / 4)
    assert vision.average_precision([], [], 3) == 0
    assert np.isnan(vision.average_precision([0.5], [False], 0))
    with pytest.raises(ValueError, match="num_truths must be at least 2, got 1"):
        vision.average_precision(scores, hits, 1)


def simulate(seed, images=12, classes=3):
    """Objects far apart, and detections beside them, of wrong classes, and of none."""
    rng = np.random.default_rng(seed)
    detections, truths = [], []
    for _ in range(images):
        count = rng.integers(1, 7)
        places = 100 * np.stack(np.divmod(rng.permutation(9)[:count], 3), axis=1)
        objects = random_boxes(rng, count) + np.tile(places, 2)
        labels = rng.integers(0, classes, count)
        seen = np.repeat(np.arange(count), rng.integers(0, 3, count))
        found = objects[seen] + rng.uniform(-2, 2, (len(seen), 4))
        found = np.concatenate([found, random_boxes(rng, 3)])
        named = np.concatenate([labels[seen], rng.integers(0, classes, 3)])
        wrong = rng.random(len(named)) < 0.2
        named = np.where(wrong, rng.integers(0, classes, len(named)), named)
        detections.append((found, rng.random(len(found)), named))
        truths.append((objects, labels))
    return detections, truths


def evaluate_with_coco(detections, truths, classes, threshold):
    """Average precision by pycocotools, at 10,001 recalls instead of 101."""

    def rows(boxes, labels, image, **more):
        for i, (top, left, bottom, right) in enumerate(boxes):
            size = [float(right - left), float(bottom - top)]
            box = [float(left), float(top), *size]
            extra = {key: float(value[i]) for key, value in more.items()}
            row = {"image_id": image, "category_id": int(labels[i]), "bbox": box}
            yield row | {"area": size[0] * size[1], "iscrowd": 0} | extra

    goal, found = [], []
    for image, ((b, s, c), (t, g)) in enumerate(zip(detections, truths, strict=True)):
        goal += rows(t, g, image)
        found += rows(b, c, image, score=s)
    coco = COCO()
    coco.dataset = {
        "images": [{"id": i} for i in range(len(truths))],
        "categories": [{"id": i} for i in range(classes)],
        "annotations": [row | {"id": i} for i, row in enumerate(goal, 1)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        run = COCOeval(coco, coco.loadRes(found), "bbox")
        run.params.iouThrs = np.array([threshold])
        run.params.recThrs = np.linspace(0, 1, 10001)
        run.evaluate()
        run.accumulate()
    return run.eval["precision"][0, :, :, 0, -1].mean(axis=0)


@pytest.mark.parametrize("threshold", [0.5, 0.75])
@pytest.mark.parametrize("seed", range(4))
def test_mean_average_precision_agrees_with_coco(seed, threshold):
    detections, truths = simulate(seed)
    got = vision.mean_average_precision(detections, truths, 3, threshold)
    expected = evaluate_with_coco(detections, truths, 3, threshold)
    assert 0.1 < got.mean() < 0.9
    assert_allclose(got, expected, atol=2e-4)


def test_perfect_and_absent_detections():
    _, truths = simulate(0)
    perfect = [(boxes, np.ones(len(boxes)), labels) for boxes, labels in truths]
    assert vision.mean_average_precision(perfect, truths, 3).tolist() == [1, 1, 1]
    nothing = [(np.empty((0, 4)), [], [])] * len(truths)
    assert vision.mean_average_precision(nothing, truths, 3).tolist() == [0, 0, 0]
    assert np.isnan(vision.mean_average_precision(perfect, truths, 4)[3])
    with pytest.raises(ValueError, match="as many images, got 1 and 12"):
        vision.mean_average_precision(perfect[:1], truths, 3)


# Scenes


def test_scenes_hold_what_their_rows_say():
    images, objects = make_scenes(count=40)
    assert images.shape == (40, 128, 128, 3) and images.dtype == np.uint8
    assert objects.shape == (40, 5, 5) and objects.dtype == np.float32
    counts = (objects[..., 4] >= 0).sum(axis=1)
    assert counts.min() >= 1 and counts.max() == 5
    for rows in objects:
        found, labels = vision.split_objects(rows)
        assert (found >= 0).all() and (found <= 128).all()
        assert (found[:, 2:] - found[:, :2] >= 7).all()
        assert set(labels) <= set(range(len(CLASSES)))
    one, row = make_scenes(count=3)
    assert_array_equal(one, images[:3])
    assert_array_equal(row, objects[:3])
    other, _ = make_scenes(count=3, seed=1)
    assert not np.array_equal(other, one)


def test_scenes_refuse_arguments_out_of_range():
    with pytest.raises(ValueError, match="size must be at least 64, got 32"):
        make_scenes(size=32)
    with pytest.raises(ValueError, match="mask must hold at least one pixel"):
        enclose(np.zeros((4, 4), bool))


def test_rows_are_taken_apart():
    found, labels = vision.split_objects([[1, 2, 3, 4, 2], [0, 0, 0, 0, -1]])
    assert found.tolist() == [[1, 2, 3, 4]] and labels.tolist() == [2]
    with pytest.raises(ValueError, match=r"objects must have shape \(k, 5\), got"):
        vision.split_objects([[1, 2, 3, 4]])


def test_boxes_are_drawn_around_their_pixels():
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    vision.plot_boxes(ax, [[0, 2, 4, 8], [1, 1, 3, 3]], [0, 1], ["disc", "square"])
    rim, first, _, second = ax.lines
    assert rim.get_color() == "white" and rim.get_linewidth() > first.get_linewidth()
    assert first.get_xdata().min() == 1.5 and first.get_ydata().max() == 3.5
    assert first.get_linestyle() != second.get_linestyle()
    assert [text.get_text() for text in ax.texts] == ["disc", "square"]


# Segmentation


def test_foreground_iou():
    one, two = np.zeros((2, 3, 4), bool), np.zeros((2, 3, 4), bool)
    assert vision.foreground_iou(one, two) == 1.0
    one[0, :2], two[0, 1:] = True, True
    assert vision.foreground_iou(one, two) == pytest.approx(4 / 12)
    with pytest.raises(ValueError, match="must agree in shape"):
        vision.foreground_iou(one, two[0])
    with pytest.raises(ValueError, match="truth must be of type bool, got uint8"):
        vision.foreground_iou(one, two.astype("uint8"))


def test_otsu_marks_the_smaller_part():
    image = np.full((8, 8, 3), 0.2)
    image[2:4, 2:5] = 0.9
    expected = np.zeros((8, 8), bool)
    expected[2:4, 2:5] = True
    assert np.array_equal(vision.otsu_mask(image), expected)
    assert np.array_equal(vision.otsu_mask(1 - image), expected)
    with pytest.raises(ValueError, match=r"\(height, width, channels\), got \(8, 8\)"):
        vision.otsu_mask(image[..., 0])


def test_distance_to_the_other_class():
    masks = np.zeros((3, 3, 5), bool)
    masks[0, :, :2] = True
    masks[1] = True
    distance = vision.boundary_distance(masks)
    assert distance[0].tolist() == [[2, 1, 1, 2, 3]] * 3
    assert np.isinf(distance[1:]).all()
    with pytest.raises(ValueError, match=r"must be bool .*got float64"):
        vision.boundary_distance(masks * 1.0)


def test_coarse_masks_of_a_rectangle():
    masks = np.zeros((1, 32, 32), bool)
    masks[:, 8:24, :16] = True
    averaged = vision.foreground_iou(vision.average_blocks(masks, 8), masks)
    fitted = vision.foreground_iou(vision.fit_coarse_logits(masks, 8) > 0, masks)
    assert 0.9 < averaged < fitted <= 1
    assert np.array_equal(vision.average_blocks(masks, 1), masks)
    rows = vision.bilinear_matrix(2, 4)
    assert rows[:, 1].tolist() == [0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1]
    assert np.allclose(rows.sum(axis=1), 1)
    for function in (vision.average_blocks, vision.fit_coarse_logits):
        with pytest.raises(ValueError, match="divisible by 5, got 32 x 32"):
            function(masks, 5)
        with pytest.raises(ValueError, match=r"square .*got 16 x 32"):
            function(masks[:, :16], 8)


@settings(max_examples=5, deadline=None)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 2))
def test_a_unet_returns_a_value_for_each_pixel(depth, outputs, channels):
    side = 2**depth
    model = vision.build_unet((None, None, channels), 2, depth, outputs)
    image = np.ones((2, side, 3 * side, channels), "float32")
    assert model(image).shape == (2, side, 3 * side, outputs)


def test_a_unet_of_a_size_that_is_not_divisible_is_refused():
    message = "must be divisible by 8 for depth 3, got 100 x 128"
    with pytest.raises(ValueError, match=message):
        vision.build_unet((100, 128, 3))
