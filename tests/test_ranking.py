"""Metrics of ranked lists, against scikit-learn and the definitions in loops."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.metrics import ndcg_score

from lepton_utils import ranking

METRICS = (
    ranking.precision_at,
    ranking.recall_at,
    ranking.hit_rate_at,
    ranking.reciprocal_rank,
    ranking.average_precision_at,
    ranking.ndcg_at,
)
few = settings(max_examples=60, deadline=None, derandomize=True)


def by_definition(items, wanted):
    """The six metrics of one list, in loops and Python's numbers."""
    k, found, precisions, dcg = len(items), 0, [], 0.0
    first = 0.0
    for place, item in enumerate(items, start=1):
        if item in wanted:
            found += 1
            first = first or 1 / place
            precisions.append(found / place)
            dcg += 1 / math.log2(place + 1)
    best = sum(1 / math.log2(p + 1) for p in range(1, min(k, len(wanted)) + 1))
    average = sum(precisions) / min(k, len(wanted))
    hit = float(found > 0)
    return [found / k, found / len(wanted), hit, first, average, dcg / best]


@st.composite
def problems(draw):
    """Scores, relevant items (one at least in a row) and a length of the lists."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    rows, num_items = draw(st.integers(1, 6)), draw(st.integers(1, 15))
    relevant = rng.random((rows, num_items)) < draw(st.floats(0, 1))
    relevant[np.arange(rows), rng.integers(num_items, size=rows)] = True
    scores = rng.permutation(rows * num_items).reshape(rows, num_items)
    return scores, sparse.csr_array(relevant), draw(st.integers(1, num_items))


@few
@given(problems())
def test_metrics_equal_their_definitions(problem):
    scores, relevant, k = problem
    recommended = ranking.top_k(scores, k)
    ours = np.stack([metric(recommended, relevant) for metric in METRICS], axis=1)
    wanted = [set(np.flatnonzero(row)) for row in relevant.toarray()]
    loops = [by_definition(*pair) for pair in zip(recommended, wanted, strict=True)]
    np.testing.assert_allclose(ours, loops, atol=1e-12)
    assert ours.min() >= 0 and ours.max() <= 1


@few
@given(problems())
def test_ndcg_equals_scikit_learn(problem):
    scores, relevant, k = problem
    if scores.shape[1] == 1:
        return  # scikit-learn refuses a single item
    ours = ranking.ndcg_at(ranking.top_k(scores, k), relevant).mean()
    assert ours == pytest.approx(ndcg_score(relevant.toarray(), scores, k=k))


@few
@given(problems())
def test_lists_hold_the_best_that_is_not_excluded(problem):
    scores, excluded, k = problem
    recommended = ranking.top_k(scores, k, exclude=excluded)
    for row, items, out in zip(scores, recommended, excluded.toarray(), strict=True):
        left = [item for item in np.argsort(-row) if not out[item]][:k]
        assert items.tolist() == left + [ranking.NOTHING] * (k - len(left))


def test_equal_scores_come_by_item_number():
    assert ranking.top_k([[0, 5, 5, 1]], 3).tolist() == [[1, 2, 3]]


def test_a_list_that_ran_out_is_judged_by_its_full_length():
    relevant = sparse.csr_array([[0, 1, 1, 1]])
    recommended = np.array([[1, ranking.NOTHING, ranking.NOTHING]])
    assert ranking.precision_at(recommended, relevant) == pytest.approx([1 / 3])
    assert ranking.recall_at(recommended, relevant) == pytest.approx([1 / 3])


def test_the_scores_are_left_as_they_were():
    scores = np.arange(6.0).reshape(2, 3)
    ranking.top_k(scores, 1, exclude=sparse.csr_array(np.eye(2, 3)))
    assert (scores == np.arange(6.0).reshape(2, 3)).all()


def test_stored_zeros_are_not_relevant():
    relevant = sparse.csr_array(([0.0, 1.0], ([0, 0], [0, 1])), shape=(1, 3))
    assert ranking.precision_at([[0]], relevant) == [0.0]
    assert ranking.recall_at([[1]], relevant) == [1.0]


def test_coverage_and_gini_on_lists_counted_by_hand():
    alike = [[0, 1], [2, 3]]
    assert ranking.coverage(alike, 4) == 1.0
    assert ranking.gini(alike, 4) == pytest.approx(0.0)
    assert ranking.gini([[0], [0]], 4) == pytest.approx(0.75)  # (4 - 1) / 4
    assert ranking.coverage([[0, ranking.NOTHING]], 4) == 0.25


@few
@given(st.lists(st.integers(0, 9), min_size=1, max_size=30))
def test_gini_is_half_the_mean_difference_over_the_mean(items):
    lists = [[item] for item in items]
    counts = ranking.exposure(lists, 10)
    differences = np.abs(counts[:, None] - counts).mean()
    assert ranking.gini(lists, 10) == pytest.approx(differences / (2 * counts.mean()))


ONE = sparse.csr_array([[1, 0, 0]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ranking.top_k([1, 2], 1), r"shape \(2,\); expected \(n, num_items\)"),
        (lambda: ranking.top_k([[1, np.nan]], 1), "NaN; expected"),
        (lambda: ranking.top_k([[1, 2]], 3), "k is 3; expected 1 ... 2"),
        (lambda: ranking.top_k([[1, 2]], 0), "k is 0; expected an integer >= 1"),
        (lambda: ranking.top_k([[1, 2]], 1, [[1, 0]]), "exclude is list"),
        (lambda: ranking.precision_at([[0.5]], ONE), "float64; expected integers"),
        (lambda: ranking.precision_at([0], ONE), r"shape \(1,\)"),
        (lambda: ranking.precision_at([[0]], [[1]]), "relevant is list"),
        (lambda: ranking.precision_at([[0], [1]], ONE), r"shape \(1, 3\)"),
        (lambda: ranking.precision_at([[3]], ONE), r"3 to 3; expected -1 \.\.\. 2"),
        (lambda: ranking.precision_at([[-2]], ONE), "-2 to -2"),
        (lambda: ranking.precision_at([[1, 1]], ONE), "an item twice in one list"),
        (lambda: ranking.recall_at([[0]], 0 * ONE), "1 rows without an item"),
        (lambda: ranking.coverage([[]], 3), "recommended is empty"),
        (lambda: ranking.gini([[0]], 0), "num_items is 0"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
