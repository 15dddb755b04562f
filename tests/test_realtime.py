"""Tests of real-time recommendation: each part against an independent truth."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lepton_utils import realtime
from lepton_utils.leptonml import NotFittedError

TAU = 100.0
TIMES = st.floats(-1e4, 1e4)
EVENTS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 3), TIMES, st.floats(0.1, 5)),
    max_size=30,
)
QUICK = settings(max_examples=60, deadline=None)


def feed(events, order=None):
    """Feed numbered events in some order."""
    state = realtime.DecayedCounts(TAU)
    for i in range(len(events)) if order is None else order:
        user, item, time, weight = events[i]
        state.add(user, item, time, weight, event_id=i)
    return state


def truth(events, user, item, now):
    """Sum by the definition."""
    terms = [
        w * math.exp((t - now) / TAU) for u, i, t, w in events if (u, i) == (user, item)
    ]
    return math.fsum(terms)


@QUICK
@given(EVENTS)
def test_state_equals_the_sum_over_all_events(events):
    state, now = feed(events), 1e4
    for user in range(3):
        items, weights = state.counts(user, now)
        assert items.tolist() == sorted({i for u, i, *_ in events if u == user})
        expected = [truth(events, user, item, now) for item in items]
        np.testing.assert_allclose(weights, expected, rtol=1e-10)


@QUICK
@given(EVENTS, st.randoms(use_true_random=False))
def test_order_and_repetition_do_not_matter(events, random):
    order = [*range(len(events)), *range(len(events))]
    random.shuffle(order)
    once, mixed = feed(events), feed(events, order)
    for user in range(3):
        for a, b in zip(once.counts(user, 1e4), mixed.counts(user, 1e4), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10)


def test_a_repeated_event_says_so():
    state = realtime.DecayedCounts(TAU)
    assert state.add(0, 1, 5.0, event_id="a")
    assert not state.add(0, 1, 9.0, event_id="a")
    assert state.add(0, 1, 5.0) and state.add(0, 1, 5.0)
    np.testing.assert_allclose(state.counts(0, 5.0)[1], 3)


def test_an_unknown_user_has_no_counts():
    items, weights = realtime.DecayedCounts(TAU).counts(7, 0.0)
    assert items.shape == weights.shape == (0,) and items.dtype == np.int64


@pytest.mark.parametrize("tau", [0, -1, math.nan, math.inf, "1", True])
def test_bad_tau(tau):
    with pytest.raises(ValueError, match="tau"):
        realtime.DecayedCounts(tau)


@pytest.mark.parametrize(
    "name, value", [("time", math.nan), ("weight", 0), ("weight", math.inf)]
)
def test_a_bad_event_leaves_no_trace(name, value):
    state = realtime.DecayedCounts(TAU)
    with pytest.raises(ValueError, match=name):
        state.add(0, 0, **({"time": 0.0, "event_id": 1} | {name: value}))
    assert not state.users and not state.seen


@QUICK
@given(st.integers(0, 10**6), st.integers(0, 12), st.floats(0.01, 50))
def test_fold_in_equals_the_solve_over_all_items(seed, n, l2):
    rng = np.random.default_rng(seed)
    factors, items = rng.normal(size=(40, 6)), rng.choice(40, n, replace=False)
    confidence = rng.uniform(0.5, 20, n)
    c, p = np.ones(40), np.zeros(40)
    c[items], p[items] = confidence, 1
    rows = np.vstack([np.sqrt(c)[:, None] * factors, np.sqrt(l2) * np.eye(6)])
    full = np.linalg.lstsq(rows, np.r_[np.sqrt(c) * p, np.zeros(6)], rcond=None)[0]
    ours = realtime.fold_in(factors, factors.T @ factors, items, confidence, l2)
    np.testing.assert_allclose(ours, full, atol=1e-8)


@pytest.mark.parametrize(
    "change, name",
    [
        ({"items": [0, 9]}, "items"),
        ({"items": [1, 1]}, "items"),
        ({"items": [0.5, 1.5]}, "items"),
        ({"confidence": [1.0]}, "confidence"),
        ({"confidence": [1.0, math.nan]}, "confidence"),
        ({"confidence": [1.0, -2.0]}, "confidence"),
        ({"l2": 0}, "l2"),
    ],
)
def test_fold_in_refuses(change, name):
    factors = np.eye(4)
    arguments = {"items": [0, 1], "confidence": [2.0, 2.0], "l2": 1.0} | change
    with pytest.raises(ValueError, match=name):
        realtime.fold_in(factors, factors, **arguments)


def make_index(n=600, d=8, num_lists=20, seed=0):
    """Fit an index to vectors of very different norms."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(n, d)) * rng.uniform(0.1, 3, (n, 1))
    return rng, vectors, realtime.InvertedFile(num_lists, seed).fit(vectors)


def test_all_lists_give_the_exact_answer():
    rng, vectors, index = make_index()
    assert sorted(index.order_) == list(range(600)) and index.starts_[-1] == 600
    for query in rng.normal(size=(20, 8)):
        found, scores, cost = index.search(query, 10, 20)
        exact = np.argsort(-(vectors @ query))[:10]
        assert found.tolist() == exact.tolist() and cost == 620
        np.testing.assert_allclose(scores, (vectors @ query)[exact], rtol=1e-4)


def test_more_probes_cost_more_and_find_more():
    rng, vectors, index = make_index()
    queries, recalls, costs = rng.normal(size=(50, 8)), [], []
    for probes in (1, 4, 12):
        results = [index.search(query, 10, probes) for query in queries]
        exact = np.argsort(-(queries @ vectors.T))[:, :10]
        hits = [len(set(f) & set(e)) for (f, *_), e in zip(results, exact, strict=True)]
        recalls.append(np.mean(hits) / 10)
        costs.append(np.mean([cost for *_, cost in results]))
    assert recalls == sorted(recalls) and costs == sorted(costs)
    assert recalls[-1] > 0.9 and costs[0] < 120


def test_every_vector_is_in_its_nearest_list():
    _, vectors, index = make_index(num_lists=7)
    norms = np.linalg.norm(vectors, axis=1)
    points = np.c_[vectors, np.sqrt(np.maximum(norms.max() ** 2 - norms**2, 0))]
    distance = np.linalg.norm(points[:, None] - index.centroids_, axis=2)
    lists = np.repeat(np.arange(7), np.diff(index.starts_))
    chosen = distance[index.order_, lists]
    np.testing.assert_allclose(chosen, distance[index.order_].min(axis=1), rtol=1e-3)


def test_one_list_one_vector():
    index = realtime.InvertedFile(1).fit([[2.0, 0.0]])
    found, scores, cost = index.search([3, 1], 5, 9)
    assert (found.tolist(), scores.tolist(), cost) == ([0], [6.0], 2)


def test_index_refuses():
    index = realtime.InvertedFile(3)
    with pytest.raises(NotFittedError):
        index.search([1.0], 1, 1)
    for vectors in (np.ones((2, 4)), np.ones(4), np.full((5, 2), np.nan)):
        with pytest.raises(ValueError, match="vectors"):
            index.fit(vectors)
    with pytest.raises(ValueError, match="query"):
        index.fit(np.eye(4)).search([1.0], 1, 1)


def test_without_diversity_rerank_sorts():
    rng = np.random.default_rng(0)
    scores, vectors = rng.normal(size=30), rng.normal(size=(30, 4))
    chosen = realtime.rerank(scores, vectors, 10, diversity=0)
    assert chosen.tolist() == np.argsort(-scores)[:10].tolist()


@QUICK
@given(st.integers(0, 10**6), st.floats(0, 1), st.integers(1, 15))
def test_rerank_is_maximal_marginal_relevance(seed, diversity, k):
    rng = np.random.default_rng(seed)
    scores, vectors = rng.normal(size=12), rng.normal(size=(12, 3))
    blocked = rng.random(12) < 0.3
    left = np.flatnonzero(~blocked).tolist()
    chosen = realtime.rerank(scores, vectors, k, diversity, blocked)
    assert len(chosen) == min(k, len(left)) and not set(chosen) - set(left)
    low, high = scores[left].min(initial=9), scores[left].max(initial=-9)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def marginal(i, before):
        relevance = (scores[i] - low) / ((high - low) or 1)
        closest = max(unit[i] @ unit[j] for j in before)
        return (1 - diversity) * relevance - diversity * closest

    for place, item in enumerate(chosen):
        if place:
            best = max(marginal(i, chosen[:place]) for i in left)
            assert marginal(item, chosen[:place]) >= best - 1e-9
        else:
            assert scores[item] == high
        left.remove(item)


def test_rerank_separates_copies():
    vectors = np.array([[1.0, 0], [1, 0], [0, 1]])
    scores = np.array([1.0, 0.99, 0.5])
    assert realtime.rerank(scores, vectors, 2, 0.0).tolist() == [0, 1]
    assert realtime.rerank(scores, vectors, 2, 0.5).tolist() == [0, 2]
    assert realtime.rerank(scores, vectors, 3, 0.5, [True] * 3).tolist() == []
    assert realtime.rerank(scores, 0 * vectors, 3, 0.5).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "change, name",
    [
        ({"scores": [1.0, math.nan]}, "scores"),
        ({"scores": [1.0]}, "scores"),
        ({"diversity": 1.5}, "diversity"),
        ({"diversity": -0.1}, "diversity"),
        ({"k": 0}, "k"),
        ({"blocked": [0, 1]}, "blocked"),
        ({"blocked": [True]}, "blocked"),
    ],
)
def test_rerank_refuses(change, name):
    arguments = {"scores": [1.0, 2.0], "vectors": np.eye(2), "k": 1} | change
    with pytest.raises(ValueError, match=name):
        realtime.rerank(**arguments)
