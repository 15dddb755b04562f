"""Metrics of ranked lists; one number a user, taught in recommenders/01_behavior.

Every metric takes ``recommended``, (n, k) integers, the items of user i in row i with
the best first, and ``relevant``, a sparse matrix (n, num_items) whose nonzeros are the
items that user i turned out to want. It returns float64 (n,), in [0, 1]. A list that
ran out of items is filled with -1, which is never relevant. A user to whom nothing is
relevant has no recall and no nDCG; such rows raise ValueError, so leave them out
before (and say how many they were).
"""

import numpy as np
from scipy import sparse

from lepton_utils.arguments import check_number

NOTHING = -1  # stands where a list has no item left


def top_k(scores, k, exclude=None):
    """Return each row's best items, best first; of equal scores the lower item first.

    Args:
        scores: (n, num_items) real numbers, no NaN; -inf for an item never to show.
        k: int in 1 ... num_items, length of the lists.
        exclude: sparse matrix (n, num_items) or None; its nonzeros are not
            recommended. A row with fewer than k items left is filled with -1.

    Returns:
        int64 (n, k).

    Raises:
        ValueError: if a shape does not fit, k is out of range, or a score is NaN.
    """
    scores = np.array(scores, dtype=float)
    if scores.ndim != 2 or np.isnan(scores).any():
        came = "NaN" if scores.ndim == 2 else f"shape {scores.shape}"
        raise ValueError(f"scores have {came}; expected (n, num_items) without NaN")
    if check_number("k", k, 1, integer=True) > scores.shape[1]:
        raise ValueError(f"k is {k}; expected 1 ... {scores.shape[1]}, the items")
    if exclude is not None:
        scores[_check_relevant("exclude", exclude, scores.shape).nonzero()] = -np.inf
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.where(np.take_along_axis(scores, best, 1) == -np.inf, NOTHING, best)


def hits(recommended, relevant):
    """Return a bool array (n, k): whether each recommended item was relevant.

    Raises:
        ValueError: if the shapes do not fit, an item is unknown or twice in one list,
            or a user has nothing relevant.
    """
    recommended = np.asarray(recommended)
    if recommended.ndim != 2 or recommended.dtype.kind not in "iu":
        came = f"shape {recommended.shape}, {recommended.dtype}"
        raise ValueError(f"recommended has {came}; expected integers (n, k)")
    shape = (len(recommended), np.shape(relevant)[-1])
    relevant = _check_relevant("relevant", relevant, shape)
    _check_items(recommended, shape[1])
    if (none := np.flatnonzero(np.diff(relevant.indptr) == 0)).size:
        raise ValueError(
            f"relevant has {none.size} rows without an item, the first is {none[0]}; "
            "expected at least one for every user"
        )
    found = recommended != NOTHING
    rows = np.broadcast_to(np.arange(shape[0])[:, None], found.shape)
    found[found] = relevant[rows[found], recommended[found]]
    return found


def precision_at(recommended, relevant):
    """Share of the k recommended items that were relevant."""
    return hits(recommended, relevant).mean(1)


def recall_at(recommended, relevant):
    """Share of the relevant items that were among the k recommended ones."""
    return hits(recommended, relevant).sum(1) / _count(relevant)


def hit_rate_at(recommended, relevant):
    """1 if any of the k recommended items was relevant, else 0."""
    return hits(recommended, relevant).any(1).astype(float)


def reciprocal_rank(recommended, relevant):
    """1 / place of the first relevant item, 0 if there is none among the k."""
    found = hits(recommended, relevant)
    return found.any(1) / (found.argmax(1) + 1)


def average_precision_at(recommended, relevant):
    """Mean precision at the places of the hits, over min(k, relevant items)."""
    found = hits(recommended, relevant)
    places = np.arange(1, found.shape[1] + 1)
    precision = found.cumsum(1) / places
    return (precision * found).sum(1) / np.minimum(_count(relevant), places[-1])


def ndcg_at(recommended, relevant):
    """Hits discounted by 1 / log2(1 + place), over those of the best possible list.

    Source: Järvelin & Kekäläinen, 2002, doi:10.1145/582415.582418, gains 0 and 1.
    """
    found = hits(recommended, relevant)
    discount = 1 / np.log2(np.arange(2, found.shape[1] + 2))
    best = discount.cumsum()[np.minimum(_count(relevant), found.shape[1]) - 1]
    return (found * discount).sum(1) / best


def coverage(recommended, num_items):
    """Share of all items that stand in at least one list; a float in [0, 1]."""
    return np.count_nonzero(exposure(recommended, num_items)) / num_items


def gini(recommended, num_items):
    """Inequality of how often items are recommended: 0 all alike, near 1 a few only."""
    counts = np.sort(exposure(recommended, num_items))
    ranks = 2 * np.arange(1, num_items + 1) - num_items - 1
    return float(ranks @ counts / (num_items * counts.sum()))


def exposure(recommended, num_items):
    """Return int64 (num_items,): the number of lists that each item stands in."""
    recommended = np.asarray(recommended)
    _check_items(recommended, check_number("num_items", num_items, 1, integer=True))
    return np.bincount(recommended[recommended != NOTHING], minlength=num_items)


def _check_relevant(name, matrix, shape):
    if not sparse.issparse(matrix) or matrix.shape != shape:
        came = f"{type(matrix).__name__}, shape {np.shape(matrix)}"
        raise ValueError(f"{name} is {came}; expected a sparse matrix {shape}")
    matrix = sparse.csr_array(matrix != 0)
    matrix.eliminate_zeros()
    return matrix


def _check_items(recommended, num_items):
    if recommended.size == 0:
        raise ValueError("recommended is empty; expected at least one item")
    if recommended.min() < NOTHING or recommended.max() >= num_items:
        came = f"{recommended.min()} to {recommended.max()}"
        raise ValueError(
            f"recommended items run from {came}; expected {NOTHING} ... {num_items - 1}"
        )
    ordered = np.sort(np.atleast_2d(recommended), 1)
    if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != NOTHING)).any():
        raise ValueError("recommended holds an item twice in one list")


def _count(relevant):
    return np.diff(sparse.csr_array(relevant != 0).indptr)
