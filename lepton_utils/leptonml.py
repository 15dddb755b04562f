"""LeptonML: recommenders and classifiers from NumPy and sparse matrices alone.

Conventions are scikit-learn's: parameters are given when a model is made and checked
in ``fit``, which learns from data, keeps what it learned in attributes whose names end
in ``_``, and returns the model; ``predict`` before ``fit`` raises `NotFittedError`.

Users and items are numbered from 0. Interactions are a sparse matrix, a row for each
user and a column for each item; what is not stored is 0, never "unknown".

SciPy is needed: the extra ``recommenders`` of the package installs it.

Taught in chapters/recommenders.
"""

from dataclasses import dataclass, fields

import numpy as np
from scipy import sparse
from scipy.special import expit, logsumexp

from lepton_utils.arguments import check_indices, check_interactions, check_number

# ---- what all models share


class NotFittedError(ValueError, AttributeError):
    """Raised where a model is used before ``fit``; the bases are scikit-learn's."""


class Model:
    """Parameters by name, as scikit-learn reads and copies them (``clone``)."""

    def get_params(self, deep=True):
        """Return the parameters as a dict; ``deep`` changes nothing here."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def set_params(self, **params):
        """Set parameters by name; return the model; refuse unknown names."""
        if unknown := set(params) - set(self.get_params()):
            known = sorted(self.get_params())
            raise ValueError(f"parameter {min(unknown)!r}; expected one of {known}")
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def _learned(self, name):
        """Return a learned attribute, or say that ``fit`` was not called."""
        if not hasattr(self, name):
            raise NotFittedError(f"{type(self).__name__} is not fitted: call fit first")
        return getattr(self, name)


class ProductModel(Model):
    """Scores that are a matrix product, ``left_`` (users, m) by ``right_`` (m, items).

    A score is then a sum of m parts, one for each bought item, similar user or factor;
    nearly all are 0 where a matrix is sparse.
    """

    def predict(self, users):
        """Return scores (len(users), num_items), float64, for integer ``users``.

        Raises:
            ValueError: if a user was not in ``fit``, or numbers are not integers.
            NotFittedError: before ``fit``.
        """
        left, right = self._learned("left_"), self._learned("right_")
        scores = left[check_indices("users", users, left.shape[0])] @ right
        return scores.toarray() if sparse.issparse(scores) else scores

    def explain(self, user, item):
        """Split one score into its parts, the largest first.

        Returns:
            indices (p,) of items, users or factors (whatever the middle of the product
            runs over), and their parts (p,), none 0: they add up to the score.
        """
        left, right = self._learned("left_"), self._learned("right_")
        (user,) = check_indices("user", [user], left.shape[0])
        (item,) = check_indices("item", [item], right.shape[1])
        row, column = left[[user]], right[:, [item]]
        row = row.toarray() if sparse.issparse(row) else row
        column = column.toarray() if sparse.issparse(column) else column
        parts = row[0] * column[:, 0]
        indices = np.argsort(-parts, kind="stable")
        indices = indices[parts[indices] != 0]
        return indices, parts[indices]


# ---- neighbors and EASE


def similarity_rows(vectors, rows, similarity, shrinkage):
    """Compare some rows of a sparse matrix with all of its rows.

    Args:
        vectors: CSR array (n, m), a row for each item or user.
        rows: slice of the n rows.
        similarity: "cosine", or "pearson": each row minus its mean over all m columns.
        shrinkage: number >= 0, columns in common at which a similarity is halved.

    Returns:
        array (rows, n); 0 where a row is constant (pearson) or empty (cosine).
    """
    dots = (vectors[rows] @ vectors.T).toarray()
    squares = vectors.multiply(vectors).sum(axis=1)
    if similarity == "pearson":
        sums = vectors.sum(axis=1)
        dots -= np.outer(sums[rows], sums) / vectors.shape[1]
        squares = squares - sums**2 / vectors.shape[1]
    norms = np.sqrt(np.maximum(squares, 0))
    lengths = np.outer(norms[rows], norms)
    result = np.divide(dots, lengths, out=np.zeros_like(dots), where=lengths > 1e-12)
    if shrinkage:
        stored = vectors.sign()
        common = (stored[rows] @ stored.T).toarray()
        result *= common / (common + shrinkage)
    return result


def keep_largest(block, k):
    """Set all but the k largest positive numbers of each row to 0; ties: first wins."""
    k = min(k, block.shape[1])
    least = np.partition(block, -k, axis=1)[:, [-k]]
    kept = (block >= least) & (block > 0)
    crowded = np.flatnonzero(kept.sum(axis=1) > k)
    tied = block[crowded] == least[crowded]
    room = k - (kept[crowded] & ~tied).sum(axis=1, keepdims=True)
    kept[crowded] &= ~tied | (tied.cumsum(axis=1) <= room)
    indptr = np.append(0, kept.sum(axis=1).cumsum())
    return sparse.csr_array((block[kept], kept.nonzero()[1], indptr), block.shape)


@dataclass(eq=False)
class ItemNeighbors(ProductModel):
    """Recommend what is similar to a user's items, or what similar users took.

    Item-based: score = sum over the user's items of their interaction times the
    similarity to the scored item, over the ``num_neighbors`` nearest of that item
    {cite:p}`sarwar2001,deshpande2004`. User-based: sum over the user's nearest users.

    Args:
        num_neighbors: int >= 1, kept for each item (or user).
        shrinkage: number >= 0; a similarity with n common users (or items) is
            multiplied by n / (n + shrinkage) {cite:p}`bell2007`.
        similarity: "cosine" or "pearson" (centered over all users, zeros included).
        by: "item" or "user".

    Attributes:
        similarity_: CSR array (n, n), a row for each item (or user): its neighbors.
        left_, right_: the two matrices whose product are the scores.

    Taught in chapters/recommenders/02_neighbors.
    """

    num_neighbors: int = 50
    shrinkage: float = 0.0
    similarity: str = "cosine"
    by: str = "item"
    block_rows = 1024  # rows of similarities in memory at a time

    def fit(self, interactions):
        """Learn from a sparse matrix (num_users, num_items) >= 0; return the model."""
        check_number("num_neighbors", self.num_neighbors, 1, integer=True)
        check_number("shrinkage", self.shrinkage, 0)
        choices = {"similarity": ("cosine", "pearson"), "by": ("item", "user")}
        for name, known in choices.items():
            if (value := getattr(self, name)) not in known:
                raise ValueError(f"{name} is {value!r}; expected one of {known}")
        x = check_interactions("interactions", interactions)
        vectors = x.T.tocsr() if self.by == "item" else x
        blocks = []
        for start in range(0, vectors.shape[0], self.block_rows):
            rows = slice(start, min(start + self.block_rows, vectors.shape[0]))
            block = similarity_rows(vectors, rows, self.similarity, self.shrinkage)
            block[np.arange(len(block)), np.arange(rows.start, rows.stop)] = 0
            blocks.append(keep_largest(block, self.num_neighbors))
        self.similarity_ = sparse.vstack(blocks, format="csr")
        by_item = self.by == "item"
        self.left_ = x if by_item else self.similarity_
        self.right_ = self.similarity_.T.tocsr() if by_item else x
        return self


@dataclass(eq=False)
class EASE(ProductModel):
    """Predict each item from all others by ridge regression with a zero diagonal.

    The weights minimize ||X - X B||^2 + l2 ||B||^2 subject to diag(B) = 0, in closed
    form {cite:p}`steck2019`: one inverse of an (num_items, num_items) matrix.

    Args:
        l2: number > 0, penalty of squared weights.

    Attributes:
        right_: array (num_items, num_items), the weights B, 0 on the diagonal.
        left_: CSR array (num_users, num_items), the interactions.

    Taught in chapters/recommenders/02_neighbors.
    """

    l2: float = 100.0

    def fit(self, interactions):
        """Learn from a sparse matrix (num_users, num_items) >= 0; return the model."""
        check_number("l2", self.l2, 0, include=False)
        self.left_ = check_interactions("interactions", interactions)
        gram = (self.left_.T @ self.left_).toarray()
        inverse = np.linalg.inv(gram + self.l2 * np.eye(len(gram)))
        self.right_ = -inverse / np.diag(inverse)
        np.fill_diagonal(self.right_, 0)
        return self


# ---- factorization


def check_factorization(model, positive):
    """Check the parameters of a factorization; the named ones must be > 0."""
    for name in ("num_factors", "num_iterations"):
        check_number(name, getattr(model, name), 1, integer=True)
    check_number("scaling", model.scaling, 0)
    for name in positive:
        check_number(name, getattr(model, name), 0, include=False)


@dataclass(eq=False)
class ImplicitALS(ProductModel):
    """Factorize 0 and 1, each cell weighted by our confidence in it.

    Alternating least squares for the sum over all users and items of
    c (p - x . y)^2 with p = 1 where r > 0 and c = 1 + alpha r {cite:p}`hu2008`, plus
    l2 (sum of the row's c)^scaling ||vector||^2 for each user and item
    {cite:p}`rendle2022`. Cost of an iteration: nnz d^2 + (users + items) d^3.

    Args:
        num_factors: int >= 1, d.
        l2: number > 0.
        alpha: number > 0, confidence of one interaction.
        num_iterations: int >= 1, of both halves.
        seed: int >= 0.
        scaling: number >= 0; 0 penalizes all alike.

    Attributes:
        left_, right_: arrays (num_users, d), (d, num_items): the factors.

    Taught in chapters/recommenders/03_factorization.
    """

    num_factors: int = 32
    l2: float = 10.0
    alpha: float = 10.0
    num_iterations: int = 10
    seed: int = 0
    scaling: float = 0.0

    def fit(self, interactions):
        """Learn from a sparse matrix (num_users, num_items) >= 0; return the model."""
        check_factorization(self, ["l2", "alpha"])
        x = check_interactions("interactions", interactions)
        shape, columns = (x.shape[1], self.num_factors), x.T.tocsr()
        factors = np.random.default_rng(self.seed).normal(0, 0.1, shape)
        for _ in range(self.num_iterations):
            self.left_ = self.solve(x, factors)
            factors = self.solve(columns, self.left_)
        self.right_ = factors.T
        return self

    def solve(self, rows, factors):
        """Solve for the vectors of rows, the other side's factors given.

        Args:
            rows: CSR array (n, m), interactions of n users with m items, or reversed.
            factors: array (m, d).

        Returns:
            array (n, d).
        """
        gram, solved = factors.T @ factors, np.zeros((rows.shape[0], factors.shape[1]))
        weights = rows.shape[1] + self.alpha * rows.sum(axis=1)
        penalties = self.l2 * weights**self.scaling
        for k, penalty in enumerate(penalties):
            part = slice(rows.indptr[k], rows.indptr[k + 1])
            chosen, extra = factors[rows.indices[part]], self.alpha * rows.data[part]
            matrix = gram + chosen.T @ (extra[:, None] * chosen)
            matrix.flat[:: len(gram) + 1] += penalty
            solved[k] = np.linalg.solve(matrix, chosen.T @ (1 + extra))
        return solved


@dataclass(eq=False)
class ExplicitALS(ProductModel):
    """Predict ratings: mean + user's bias + item's bias + user's by item's factors.

    Alternating least squares. With ``l2`` a number, it minimizes the squared error
    plus l2 count^scaling ||vector||^2 for every user and item with ``count`` ratings
    {cite:p}`zhou2008`. With None each vector also keeps its covariance, from which
    the noise and all penalties are learned: variational Bayes for the model of
    {cite:p}`salakhutdinov2008`.

    Args:
        num_factors: int >= 1, besides the biases.
        l2: number > 0, or None.
        num_iterations: int >= 1, of both halves.
        seed: int >= 0.
        scaling: number >= 0; 0 penalizes all alike, 1 by the number of ratings.

    Attributes:
        mean_, low_, high_: of the ratings; predictions stay in their range.
        left_: array (num_users, num_factors + 2): the factors, the user's bias, 1.
        right_: array (num_factors + 2, num_items): the factors, 1, the item's bias.
        noise_: float, variance of a rating; 1 where ``l2`` is given.

    Taught in chapters/recommenders/03_factorization.
    """

    num_factors: int = 5
    l2: float | None = None
    num_iterations: int = 12
    seed: int = 0
    scaling: float = 1.0

    def fit(self, pairs, ratings, shape=None):
        """Learn from int ``pairs`` (n, 2) of user and item and ``ratings`` (n,).

        ``shape`` is (num_users, num_items); None: the largest of the pairs plus 1.
        """
        learn, d = self.l2 is None, self.num_factors
        check_factorization(self, [] if learn else ["l2"])
        pairs, y = check_indices("pairs", pairs, shape, columns=2), np.array(ratings)
        if y.shape != (len(pairs),) or not y.size or not np.isfinite(y).all():
            raise ValueError(f"ratings are {y.shape}; expected {len(pairs)}, finite")
        self.mean_, self.low_, self.high_ = y.mean(), y.min(), y.max()
        cells, shape, y = tuple(pairs.T), shape or pairs.max(axis=0) + 1, y - y.mean()
        table, seen = (sparse.csr_array((v, cells), shape) for v in (y, y * 0 + 1))
        counts = [np.maximum(seen.sum(axis=k), 1)[:, None] for k in (1, 0)]
        noise = max(y.var(), 1e-9) if learn else 1.0
        penalties = [4 / noise if learn else self.l2 * c**self.scaling for c in counts]
        vectors, swap = [None, np.eye(d + 2)[[-1] * shape[1]]], [*range(d), d + 1, d]
        vectors[1][:, :d] += np.random.default_rng(self.seed).normal(
            0, 0.1, (shape[1], d)
        )
        moments = vectors[1][:, :, None] * vectors[1][:, None]
        for step in range(self.num_iterations):
            for k, (ratings, rated) in enumerate([(table, seen), (table.T, seen.T)]):
                other, moments = vectors[1 - k][:, swap], moments[:, swap][:, :, swap]
                normal = rated @ moments.reshape(len(other), -1)
                normal, target = normal.reshape(-1, d + 2, d + 2), ratings @ other
                matrix = normal[:, :-1, :-1] / noise
                matrix[:, range(d + 1), range(d + 1)] += penalties[k]
                inverse = np.linalg.inv(matrix)
                rest = (target - normal[:, -1])[:, :-1, None] / noise
                vectors[k] = np.insert((inverse @ rest)[:, :, 0], d + 1, 1, axis=1)
                moments = vectors[k][:, :, None] * vectors[k][:, None]
                if learn:
                    moments[:, :-1, :-1] += inverse
                if (
                    learn and step >= 3
                ):  # earlier, all factors are still near their 0 start
                    penalties[k] = 1 / moments.mean(axis=0).diagonal()[:-1]
            error = y @ y + (moments * normal).sum() - 2 * (vectors[1] * target).sum()
            noise = max(error / len(y), 1e-9) if learn else 1.0
        self.left_, self.right_, self.noise_ = vectors[0], vectors[1][:, swap].T, noise
        return self

    def predict(self, pairs):
        """Return ratings (n,) for int ``pairs`` (n, 2) of users and items."""
        left, right = self._learned("left_"), self._learned("right_").T
        limit = len(left), len(right)
        users, items = check_indices("pairs", pairs, limit, columns=2).T
        scores = self.mean_ + (left[users] * right[items]).sum(axis=1)
        return np.clip(scores, self.low_, self.high_)


# ---- naive Bayes and logistic regression


def check_features(name, x, columns=None):
    """Return finite features as float64 CSR (n, columns), n >= 1; else ValueError.

    Args:
        name: str, the argument's name for the message.
        x: SciPy sparse matrix or array, (n, num_features), real numbers.
        columns: int, or None where any number will do.
    """
    x = x if sparse.issparse(x) else np.asarray(x)
    good = x.ndim == 2 and x.dtype.kind in "buif" and 0 not in x.shape
    if not good or columns not in (None, x.shape[1]):
        expected = f"numbers (n, {'num_features' if columns is None else columns})"
        raise ValueError(f"{name} is {x.dtype}, shape {x.shape}; expected {expected}")
    csr = sparse.csr_array(x, dtype=np.float64)
    if not np.isfinite(csr.data).all():
        raise ValueError(f"{name} holds NaN or infinity; expected finite numbers")
    return csr


class Classifier(Model):
    """Labels from ``predict_proba``; learned: ``classes_``, ``num_features_``."""

    def _training(self, x, y):
        """Check x, y; return CSR x and each row's class, counted from 0."""
        x, y = check_features("x", x), np.asarray(y)
        if y.shape != (x.shape[0],):
            raise ValueError(f"y has shape {y.shape}; expected ({x.shape[0]},)")
        self.classes_, index = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y holds one class, {y[0]!r}; expected two or more")
        self.num_features_ = x.shape[1]
        return x, index

    def predict(self, x):
        """Return the most probable class of each row of x (n, num_features)."""
        return self._learned("classes_")[self.predict_proba(x).argmax(axis=1)]


class NaiveBayes(Classifier):
    """What both event models share: joint log probabilities linear in the counts."""

    binary = False  # whether counts above 1 are taken for 1

    def _counts(self, x, columns=None):
        """Check that features are counts: no negatives."""
        x = check_features("x", x, columns)
        if x.nnz and x.data.min() < 0:
            raise ValueError(f"x holds {x.data.min():g}; expected counts >= 0")
        return x.sign() if self.binary else x

    def fit(self, x, y):
        """Learn from counts x (n, num_features) and labels y (n,); return the model.

        Raises:
            ValueError: if x is not finite and >= 0, y has one class or another length,
                or ``alpha`` is not positive.
        """
        x, index = self._training(self._counts(x), y)
        alpha = np.asarray(self.alpha)
        good = alpha.dtype.kind in "iuf" and alpha.shape in ((), (x.shape[1],))
        if not good or not ((alpha > 0) & (alpha < np.inf)).all():
            raise ValueError(f"alpha is {self.alpha!r}; expected > 0, one or a feature")
        member = sparse.csr_array((np.ones(len(index)), (index, np.arange(len(index)))))
        self.class_count_ = np.bincount(index).astype(np.float64)
        self.class_log_prior_ = np.log(self.class_count_ / len(index))
        self.feature_count_ = (member @ x).toarray()
        self._weights, self._offset = self._learn(alpha)
        return self

    def predict_joint_log_proba(self, x):
        """Return log P(x, class), (n, num_classes), up to a term that x alone sets."""
        weights = self._learned("_weights")
        return self._counts(x, self.num_features_) @ weights.T + self._offset

    def predict_proba(self, x):
        """Return P(class | x), (n, num_classes): Bayes' rule, in logs until the end."""
        joint = self.predict_joint_log_proba(x)
        return np.exp(joint - logsumexp(joint, axis=1, keepdims=True))


@dataclass(eq=False)
class MultinomialNB(NaiveBayes):
    """Naive Bayes over counts: words are drawn one by one from the class's words.

    Args:
        alpha: number > 0, or array (num_features,) of them: imagined counts of each
            word in each class. The estimate is the mean of the posterior under a
            Dirichlet(alpha) prior {cite:p}`lewis1998`.

    Attributes:
        classes_: (num_classes,), the labels, sorted.
        class_count_, class_log_prior_: (num_classes,), rows of each; log of the share.
        feature_count_, feature_log_prob_: (num_classes, num_features), counts of each
            word; log P(word | class).

    Taught in chapters/recommenders/04_naive_bayes.
    """

    alpha: float = 1.0

    def _learn(self, alpha):
        smoothed = self.feature_count_ + alpha
        total = smoothed.sum(axis=1, keepdims=True)
        self.feature_log_prob_ = np.log(smoothed) - np.log(total)
        return self.feature_log_prob_, self.class_log_prior_


@dataclass(eq=False)
class BernoulliNB(NaiveBayes):
    """Naive Bayes over presence: each word is there or not, by a coin of its own.

    Args:
        alpha: number > 0, or array (num_features,): imagined rows of each class with,
            and as many without, each word; the mean of the posterior under a
            Beta(alpha, alpha) prior.

    Attributes:
        as those of `MultinomialNB`; ``feature_count_`` counts rows with the word.

    Taught in chapters/recommenders/04_naive_bayes.
    """

    alpha: float = 1.0
    binary = True

    def _learn(self, alpha):
        rows = self.class_count_[:, None]
        self.feature_log_prob_ = np.log(self.feature_count_ + alpha)
        self.feature_log_prob_ -= np.log(rows + 2 * alpha)
        absent = np.log(rows - self.feature_count_ + alpha) - np.log(rows + 2 * alpha)
        offset = self.class_log_prior_ + absent.sum(axis=1)
        return self.feature_log_prob_ - absent, offset


@dataclass(eq=False)
class LogisticRegression(Classifier):
    """Two classes; the log-odds are a weighted sum of features, fitted by Newton steps.

    Minimizes the sum of log losses + l2 / 2 ||w||^2 (the intercept is free). A step
    that does not improve is halved. Needs (num_features + 1)^2 numbers of memory.

    Args:
        l2: number > 0; scikit-learn's C is 1 / l2.
        max_iterations: int >= 1, Newton steps at most; 5 to 10 are usual.

    Attributes:
        classes_: (2,), the labels, sorted; coef_: (num_features,); intercept_: float;
        num_iterations_: int, steps taken.

    Taught in chapters/recommenders/04_naive_bayes.
    """

    l2: float = 1.0
    max_iterations: int = 50

    def fit(self, x, y):
        """Learn from features x (n, num_features) and labels y (n,); return the model.

        Raises:
            ValueError: if x is not finite, y has not two classes, or a parameter is
                out of range.
            RuntimeError: if max_iterations steps do not reach the minimum.
        """
        check_number("l2", self.l2, 0, include=False)
        check_number("max_iterations", self.max_iterations, 1, integer=True)
        x, target = self._training(x, y)
        if len(self.classes_) > 2:
            raise ValueError(f"y holds {len(self.classes_)} classes; expected two")
        z = sparse.hstack([x, np.ones((x.shape[0], 1))], format="csr")
        penalty = np.r_[np.full(x.shape[1], float(self.l2)), 0]

        def loss(theta):
            logits = z @ theta
            fit = np.logaddexp(0, logits).sum() - target @ logits
            return fit + penalty @ theta**2 / 2

        theta = np.zeros(z.shape[1])
        for number in range(self.max_iterations):
            p = expit(z @ theta)
            gradient = z.T @ (p - target) + penalty * theta
            curvature = (z.T @ (sparse.diags_array(p * (1 - p)) @ z)).toarray()
            step = np.linalg.solve(curvature + np.diag(penalty), gradient)
            now, size = loss(theta), 1.0
            while loss(theta - size * step) > now + 1e-12 * abs(now) and size > 1e-9:
                size /= 2
            theta = theta - size * step
            if gradient @ step < 1e-12 * (1 + now):
                self.coef_, self.intercept_ = theta[:-1], float(theta[-1])
                self.num_iterations_ = number + 1
                return self
        raise RuntimeError(f"no minimum after {self.max_iterations} steps")

    def decision_function(self, x):
        """Return the log-odds of ``classes_[1]``, (n,)."""
        weights = self._learned("coef_")
        return check_features("x", x, self.num_features_) @ weights + self.intercept_

    def predict_proba(self, x):
        """Return P(class | x), (n, 2)."""
        p = expit(self.decision_function(x))
        return np.column_stack([1 - p, p])
