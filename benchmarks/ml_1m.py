"""Rank 100 films, 1 liked and 99 not seen, for 6,040 users: is deep better?

MovieLens 1M as split by He et al. (2017): each user's last film against 99 films that
he or she never rated. Every model is tuned on one film per user, drawn from the
training part; the test part is looked at once, at the end.

Ties: a film that ties with the liked one stands before it in half of all orders; both
metrics are the mean over all orders. Where the 99 contain the liked film itself (a flaw
of the published files, 156 users), that entry is left out, as in the authors' program.

Chapter: chapters/recommenders/03_factorization.
"""

import time

import keras
import numpy as np
from keras import layers, ops
from scipy import sparse

import lepton_utils as lu
from lepton_utils.leptonml import EASE, ImplicitALS, ItemNeighbors

SEED = 0
NEGATIVES, TOP = 99, 10
SHAPE = 6040, 3706
WIDTH = 32  # factors of the Keras models
RATE, DECAY = 0.003, 0.001


def evaluate(model, liked, others):
    """Return hit rate and nDCG at 10; liked (users,), others (users, 99)."""
    scores = score(model, np.column_stack([liked, others]))
    mine, theirs = scores[:, :1], scores[:, 1:]
    rivals = others != liked[:, None]
    above = ((theirs > mine) & rivals).sum(axis=1)
    tied = ((theirs == mine) & rivals).sum(axis=1) + 1
    gains = np.r_[1 / np.log2(np.arange(2, TOP + 2)), np.zeros(NEGATIVES + 1)]
    summed = np.r_[0, np.cumsum(gains)]
    hits = np.clip((TOP - above) / tied, 0, 1)
    return hits.mean(), ((summed[above + tied] - summed[above]) / tied).mean()


def score(model, candidates):
    """Return scores (users, n) of items (users, n)."""
    if hasattr(model, "score"):
        return model.score(candidates)
    return np.take_along_axis(model.predict(np.arange(len(candidates))), candidates, 1)


def hold_out(x, rng):
    """Take one film of each user away; return the rest, the films, 99 others each."""
    users, items = x.nonzero()
    order = np.lexsort((rng.random(len(users)), users))
    first = order[np.unique(users[order], return_index=True)[1]]
    rest = np.delete(np.arange(len(users)), first)
    others = [
        rng.choice(np.flatnonzero(~row), NEGATIVES, replace=False)
        for row in x.toarray() > 0
    ]
    cells = users[rest], items[rest]
    remaining = sparse.csr_array((np.ones(len(rest)), cells), x.shape)
    return remaining, items[first], np.array(others)


class Popularity:
    """Score an item by the number of its users."""

    def fit(self, x):
        """Count."""
        self.counts = x.sum(axis=0)
        return self

    def score(self, candidates):
        """Return scores of items (users, n)."""
        return self.counts[candidates]


class Blend:
    """(1 - weight) EASE + weight ALS: two least-squares estimates of a 0 or 1."""

    def __init__(self, ease, als, weight):
        self.ease, self.als, self.weight = ease, als, weight

    def fit(self, x):
        """Fit both."""
        self.ease.fit(x)
        self.als.fit(x)
        return self

    def score(self, candidates):
        """Return scores of items (users, n)."""
        first, second = score(self.ease, candidates), score(self.als, candidates)
        return first + self.weight * (second - first)


def scorer(shape, deep):
    """A Keras model (user, item) -> score: a dot product, and a perceptron if deep."""

    def vectors(inputs, count, width):
        start = keras.initializers.RandomNormal(stddev=0.05, seed=SEED + width)
        return layers.Embedding(count, width, embeddings_initializer=start)(inputs)

    user, item = keras.Input((), dtype="int32"), keras.Input((), dtype="int32")
    product = vectors(user, shape[0], WIDTH) * vectors(item, shape[1], WIDTH)
    if not deep:
        total = ops.sum(product, axis=-1, keepdims=True) + vectors(item, shape[1], 1)
        return keras.Model([user, item], total)
    hidden = ops.concatenate(
        [vectors(user, shape[0], 2 * WIDTH), vectors(item, shape[1], 2 * WIDTH)], -1
    )
    for width in (2 * WIDTH, WIDTH, WIDTH // 2):
        hidden = layers.Dense(width, activation="relu")(hidden)
    return keras.Model(
        [user, item], layers.Dense(1)(ops.concatenate([product, hidden], -1))
    )


class Trained:
    """Learn a scorer from random negatives, drawn anew in each epoch.

    Shallow: BPR, an interaction should score above a random item of the same user.
    Deep: NeuMF, cross-entropy of 1 for an interaction and 0 for 4 random items.
    """

    def __init__(self, deep, epochs, watch=None):
        self.deep, self.epochs, self.watch = deep, epochs, watch

    def fit(self, x):
        """Learn from a sparse matrix (users, items)."""
        keras.utils.set_random_seed(SEED)
        rng, (users, items) = np.random.default_rng(SEED), x.nonzero()
        self.network, self.seen = scorer(x.shape, self.deep), []
        learn, repeat = self.trainer(), 4 if self.deep else 1
        for epoch in range(1, self.epochs + 1):
            bad = rng.integers(0, x.shape[1], len(users) * repeat)
            if self.deep:
                inputs = [np.tile(users, 5), np.r_[items, bad]]
                target = np.r_[np.ones(len(users)), np.zeros(len(bad))]
            else:
                inputs, target = [users, items, bad], np.ones(len(users))
            learn.fit(inputs, target, batch_size=8192, verbose=0)
            if self.watch:
                self.seen.append((*evaluate(self, *self.watch)[::-1], epoch))
        return self

    def trainer(self):
        """Return the compiled model whose parameters are the network's."""
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
        if self.deep:
            learn = self.network
        else:
            user, good, bad = (keras.Input((), dtype="int32") for _ in range(3))
            margin = self.network([user, good]) - self.network([user, bad])
            learn = keras.Model([user, good, bad], margin)
        optimizer = keras.optimizers.Adam(RATE, weight_decay=DECAY)
        learn.compile(optimizer, loss=loss)
        return learn

    def score(self, candidates):
        """Return scores of items (users, n)."""
        users = np.repeat(np.arange(len(candidates)), candidates.shape[1])
        pair = [users, candidates.ravel()]
        flat = self.network.predict(pair, batch_size=65536, verbose=0)
        return flat.reshape(candidates.shape)


def best(models, x, liked, others):
    """Return the index of the model with the highest nDCG on the hold-out."""
    return max(
        range(len(models)),
        key=lambda k: evaluate(models[k].fit(x), liked, others)[1],
    )


def tune(x, rng):
    """Choose every parameter on a hold-out; return functions that make the models."""
    rest, liked, others = hold_out(x, rng)
    watch, start = (liked, others), time.perf_counter()
    eases = [EASE(l2) for l2 in (250, 500, 1000)]
    ease = eases[best(eases, rest, *watch)]
    grid = [(5.0, 0.007), (10.0, 0.007), (10.0, 0.01), (5.0, 0.01)]
    alses = [
        ImplicitALS(128, l2=l2, alpha=alpha, num_iterations=8, scaling=1.0)
        for alpha, l2 in grid
    ]
    als = alses[best(alses, rest, *watch)]
    blend = max(
        (Blend(ease, als, weight) for weight in (0.3, 0.4, 0.5, 0.6, 0.7)),
        key=lambda model: evaluate(model, *watch)[1],
    )
    seconds = time.perf_counter() - start
    near = [
        ItemNeighbors(k, shrinkage) for k in (50, 100, 200) for shrinkage in (0, 50)
    ]
    neighbors = near[best(near, rest, *watch)]
    bpr = Trained(False, 40, watch).fit(rest)
    deep = Trained(True, 20, watch).fit(rest)
    for model in (ease, als, neighbors):
        print("chosen:", model)
    for model in (bpr, deep):
        model.epochs, model.watch = max(model.seen)[2], None
        print("deep" if model.deep else "bpr", "epochs:", model.epochs, max(model.seen))
    print("blend:", blend.weight, "seconds to tune it:", round(seconds))
    table = {"popularity": Popularity(), "neighbors": neighbors, "ease": ease}
    return table | {"als": als, "bpr": bpr, "neural": deep, "blend": blend}, seconds


def main():
    """Measure and hand over."""
    (train, ones), (candidates, _) = lu.load("ml-1m")
    x = sparse.csr_array((ones.astype(float), tuple(train.T)), SHAPE)
    candidates = candidates[:, 1].reshape(-1, 1 + NEGATIVES)
    liked, others = candidates[:, 0], candidates[:, 1:]
    models, tuning = tune(x, np.random.default_rng(SEED))
    seconds = {}
    for name, model in models.items():
        start = time.perf_counter()
        if name != "blend":  # whose two parts are fitted by then
            model.fit(x)
        seconds[name] = time.perf_counter() - start
        hit_rate, ndcg = evaluate(model, liked, others)
        print(f"{name:12} {hit_rate:.4f} {ndcg:.4f}, {seconds[name]:.0f} s", flush=True)
        prefix = "" if name == "blend" else f"{name}_"
        lu.record(**{f"{prefix}hit_rate": hit_rate, f"{prefix}ndcg": ndcg})
    lu.record(seconds_fit=seconds["ease"] + seconds["als"], seconds_tuning=tuning)


if __name__ == "__main__":
    main()
