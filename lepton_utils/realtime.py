"""Recommend in real time: state per event, fold-in, candidates, re-ranking.

Four parts that the chapter builds and the service uses:

- `DecayedCounts`: what a user did, with a weight that fades; one event at a time, in
  any order of arrival, each event once;
- `fold_in`: the vector of a user whom the factorization has never seen;
- `InvertedFile`: the items with the largest scores, without scoring all of them;
- `rerank`: the list that is shown: diverse, and without what must not be shown.

SciPy is needed: the extra ``recommenders`` of the package installs it.

Taught in chapters/recommenders/05_realtime.
"""

import math

import numpy as np

from lepton_utils.arguments import check_indices, check_number
from lepton_utils.leptonml import NotFittedError

# ---- state


def decay_update(value, last, time, weight, tau):
    """Add one event to an exponentially decayed sum, in any order of arrival.

    The sum at time t is S(t) = sum of weight_e exp(-(t - time_e) / tau) over the events
    e. It is kept as S at the newest time seen: whichever is older, the sum so far or
    the new event, fades up to the newer one. Sums and maxima do not depend on the order
    of their terms, so neither does the state (but for rounding).

    Args:
        value: float, S at time ``last``; 0.0 for no event.
        last: float, the newest time seen; -inf for no event.
        time: float, of the event, in the unit of ``tau`` (seconds, say).
        weight: float, of the event.
        tau: float > 0, after which a weight has faded to 1/e.

    Returns:
        (value, last): the new state.
    """
    newest = max(last, time)
    faded = value * math.exp((last - newest) / tau)
    return faded + weight * math.exp((time - newest) / tau), newest


class DecayedCounts:
    """What each user did, item by item, as decayed sums updated event by event.

    Late events enter with their own decay and a repeated event id changes nothing, so
    the state is a function of the *set* of events: at-least-once delivery is enough.

    Args:
        tau: number > 0, seconds after which a weight has faded to 1/e.

    Attributes:
        users: dict, user -> {item: (value, last)}, see `decay_update`.
    """

    def __init__(self, tau):
        """Start empty."""
        self.tau = check_number("tau", tau, 0, include=False)
        self.users, self.seen = {}, set()

    def add(self, user, item, time, weight=1.0, event_id=None):
        """Count one event; return False if its id was counted before.

        Args:
            user: hashable, usually int.
            item: hashable, usually int.
            time: finite number, seconds. A time in the future counts for more than 1
                until it has come: the caller bounds it.
            weight: number > 0.
            event_id: hashable; None: the caller has sorted out repetitions.
        """
        check_number("time", time, -np.inf, include=False)
        check_number("weight", weight, 0, include=False)
        if event_id is not None:
            if event_id in self.seen:
                return False
            self.seen.add(event_id)
        items = self.users.setdefault(user, {})
        state = items.get(item, (0.0, -math.inf))
        items[item] = decay_update(*state, time, weight, self.tau)
        return True

    def counts(self, user, time):
        """Return items (n,) int64, ascending, and their weights (n,) at ``time``."""
        state = sorted(self.users.get(user, {}).items())
        weights = [s * math.exp((last - time) / self.tau) for _, (s, last) in state]
        return np.array([item for item, _ in state], np.int64), np.array(weights)


def fold_in(item_factors, gram, items, confidence, l2):
    """Return the user vector that implicit ALS would give to these interactions.

    It minimizes the sum over *all* items of c_i (p_i - x . y_i)^2 + l2 |x|^2, with
    p_i = 1 and c_i = ``confidence`` for the given items, p_i = 0 and c_i = 1 for the
    others. With Y_u the rows of the given items, the minimum solves

        (Y' Y + Y_u' diag(c - 1) Y_u + l2 I) x = Y_u' c

    in O(len(items) d^2 + d^3), however many items there are {cite:p}`hu2008`. p jumps:
    an item with confidence 1 still adds y_i on the right, so leave out what has faded.

    Args:
        item_factors: array (num_items, d), Y.
        gram: array (d, d), Y' Y; computed once, not for each user.
        items: distinct ints (n,); none: the zero vector.
        confidence: array (n,), > 0.
        l2: number > 0.

    Returns:
        array (d,).

    Raises:
        ValueError: if an argument is not of that shape or range.
    """
    check_number("l2", l2, 0, include=False)
    items = check_indices("items", items, len(item_factors))
    confidence = np.asarray(confidence, dtype=np.float64)
    if confidence.shape != items.shape or not (np.isfinite(confidence).all()):
        came = f"shape {confidence.shape}"
        raise ValueError(
            f"confidence has {came}; expected a finite number for each of {len(items)}"
        )
    if len(set(items.tolist())) < len(items) or (confidence <= 0).any():
        raise ValueError(
            "items repeat or confidence is <= 0; expected distinct and > 0"
        )
    chosen = item_factors[items]
    matrix = gram + chosen.T @ ((confidence - 1)[:, None] * chosen)
    return np.linalg.solve(matrix + l2 * np.eye(len(gram)), chosen.T @ confidence)


# ---- candidates


def kmeans(vectors, num_clusters, rng, num_iterations=10):
    """Return centroids (num_clusters, d) after Lloyd's iterations; empty ones stay."""
    start = rng.choice(len(vectors), num_clusters, replace=False)
    centroids = vectors[start].copy()
    for _ in range(num_iterations):
        nearest = assign(vectors, centroids)
        sums = np.zeros_like(centroids)
        np.add.at(sums, nearest, vectors)
        sizes = np.bincount(nearest, minlength=num_clusters)
        centroids[sizes > 0] = sums[sizes > 0] / sizes[sizes > 0, None]
    return centroids


def assign(vectors, centroids, rows=8192):
    """Return the nearest centroid of each vector (n,), a block of rows at a time."""
    half = (centroids**2).sum(axis=1) / 2
    starts = range(0, len(vectors), rows)
    parts = [half - vectors[start : start + rows] @ centroids.T for start in starts]
    return np.concatenate([part.argmin(axis=1) for part in parts])


class InvertedFile:
    """Find the largest inner products by looking into the nearest of k-means' lists.

    Each vector x gets one more entry, sqrt(M^2 - |x|^2) with M the largest norm, and a
    query q the entry 0. All x then have the norm M, and |q - x|^2 is
    |q|^2 + M^2 - 2 q . x: the nearest neighbor *is* the largest inner product
    {cite:p}`bachrach2014`. k-means cuts the new vectors into lists; a search scores
    only the lists nearest to the query
    {cite:p}`jegou2011`.

    Args:
        num_lists: int >= 1; about the square root of the number of vectors.
        seed: int, of the first centroids and of the sample k-means sees.
        sample_per_list: int >= 1, vectors k-means sees for each list.

    Attributes:
        centroids_: array (num_lists, d + 1), float32.
        order_: int array (n,), the vectors' numbers, list after list.
        starts_: int array (num_lists + 1,), where each list starts in ``order_``.
        vectors_: array (n, d), float32, in that order: a list is one block of memory.
    """

    def __init__(self, num_lists, seed=0, sample_per_list=40):
        """Keep the parameters."""
        self.num_lists, self.seed = num_lists, seed
        self.sample_per_list = sample_per_list

    def fit(self, vectors):
        """Cut vectors (n, d), n >= num_lists, into lists; return the index."""
        check_number("num_lists", self.num_lists, 1, integer=True)
        check_number("sample_per_list", self.sample_per_list, 1, integer=True)
        vectors = np.asarray(vectors, dtype=np.float32)
        if vectors.ndim != 2 or len(vectors) < self.num_lists:
            expected = f"(n >= {self.num_lists}, d)"
            raise ValueError(f"vectors have shape {vectors.shape}; expected {expected}")
        if not np.isfinite(vectors).all():
            raise ValueError("vectors hold NaN or infinity; expected finite numbers")
        squares = (vectors**2).sum(axis=1)
        extra = np.sqrt(squares.max() - squares)
        points = np.concatenate([vectors, extra[:, None]], axis=1)
        rng = np.random.default_rng(self.seed)
        size = min(len(points), self.num_lists * self.sample_per_list)
        sample = points[rng.choice(len(points), size, replace=False)]
        self.centroids_ = kmeans(sample, self.num_lists, rng)
        nearest = assign(points, self.centroids_)
        self.order_ = np.argsort(nearest, kind="stable")
        sizes = np.bincount(nearest, minlength=self.num_lists)
        self.starts_ = np.concatenate([[0], np.cumsum(sizes)])
        self.vectors_ = vectors[self.order_]
        return self

    def search(self, query, k, num_probes):
        """Return the best of the ``num_probes`` lists nearest to a query.

        Args:
            query: array (d,).
            k: int >= 1.
            num_probes: int >= 1; all lists give the exact answer.

        Returns:
            indices: int array, at most (k,), best first.
            scores: float32 array, their inner products with the query.
            cost: int, inner products taken, those with the centroids included.
        """
        if not hasattr(self, "centroids_"):
            raise NotFittedError("InvertedFile is not fitted: call fit first")
        check_number("k", k, 1, integer=True)
        check_number("num_probes", num_probes, 1, integer=True)
        query = np.asarray(query, dtype=np.float32)
        if query.shape != self.vectors_.shape[1:]:
            expected = self.vectors_.shape[1:]
            raise ValueError(f"query has shape {query.shape}; expected {expected}")
        far = (self.centroids_**2).sum(axis=1) / 2 - self.centroids_[:, :-1] @ query
        lists = np.argsort(far, kind="stable")[:num_probes]
        blocks = [slice(self.starts_[i], self.starts_[i + 1]) for i in lists]
        scores = np.concatenate([self.vectors_[block] @ query for block in blocks])
        indices = np.concatenate([self.order_[block] for block in blocks])
        best = np.argsort(-scores, kind="stable")[:k]
        return indices[best], scores[best], len(far) + len(scores)


# ---- the list that is shown


def rerank(scores, vectors, k, diversity=0.3, blocked=None):
    """Choose k candidates one by one: relevant, unlike the chosen, and allowed.

    Maximal marginal relevance {cite:p}`carbonell1998` takes in turn the candidate with
    the largest (1 - diversity) relevance - diversity max over chosen j of cos(i, j).
    Relevance is the score, scaled to 0..1 over the allowed candidates.

    Args:
        scores: array (n,), finite, the higher the better.
        vectors: array (n, d), what similarity is measured on.
        k: int >= 1.
        diversity: number in 0..1; 0 sorts by score, 1 ignores it after the first.
        blocked: bool array (n,), must not be shown (sold out, bought); None: none.

    Returns:
        int array, at most (k,): places in ``scores``, in the order to be shown.

    Raises:
        ValueError: if shapes differ or numbers are out of range.
    """
    scores, vectors = np.asarray(scores, dtype=np.float64), np.asarray(vectors)
    blocked = np.zeros(len(scores), bool) if blocked is None else np.asarray(blocked)
    shapes = scores.shape, vectors.shape[:1], blocked.shape
    if scores.ndim != 1 or vectors.ndim != 2 or len(set(shapes)) > 1:
        raise ValueError(
            f"scores, vectors, blocked: {shapes} rows; expected the same n"
        )
    if not np.isfinite(scores).all() or blocked.dtype != bool:
        raise ValueError("scores not finite or blocked not bool; expected both")
    check_number("k", k, 1, integer=True)
    if check_number("diversity", diversity, 0) > 1:
        raise ValueError(f"diversity is {diversity}; expected a number in 0..1")
    allowed = np.flatnonzero(~blocked)
    if not len(allowed):
        return allowed
    relevance = scores[allowed] - scores[allowed].min()
    relevance /= relevance.max() or 1.0
    length = np.linalg.norm(vectors[allowed], axis=1, keepdims=True)
    unit = vectors[allowed] / np.where(length > 0, length, 1)
    chosen, closest = [int(np.argmax(relevance))], np.full(len(allowed), -np.inf)
    while len(chosen) < min(k, len(allowed)):
        closest = np.maximum(closest, unit @ unit[chosen[-1]])
        marginal = (1 - diversity) * relevance - diversity * closest
        marginal[chosen] = -np.inf
        chosen.append(int(np.argmax(marginal)))
    return allowed[chosen]
