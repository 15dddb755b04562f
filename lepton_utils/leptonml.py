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


def check_number(name, value, low, integer=False, include=True):
    """Return a finite number >= ``low`` (> without ``include``); else ValueError."""
    kinds = (int, np.integer) if integer else (int, float, np.integer, np.floating)
    good = isinstance(value, kinds) and not isinstance(value, bool)
    good = good and low <= value < np.inf and (include or value != low)
    if not good:
        kind, sign = "an integer" if integer else "a number", ">=" if include else ">"
        raise ValueError(f"{name} is {value!r}; expected {kind} {sign} {low}")
    return value


def check_interactions(name, matrix):
    """Return a float64 CSR copy without stored zeros.

    Args:
        name: str, the argument's name for the message.
        matrix: SciPy sparse matrix or array, (num_users, num_items), finite, >= 0.

    Raises:
        ValueError: if it is not sparse, empty, not 2-D, not finite or negative.
    """
    if not sparse.issparse(matrix) or matrix.ndim != 2:
        came = f"{type(matrix).__name__}, shape {np.shape(matrix)}"
        raise ValueError(f"{name} is {came}; expected a sparse matrix (users, items)")
    if 0 in matrix.shape or matrix.dtype.kind not in "buif":
        came = f"shape {matrix.shape}, {matrix.dtype}"
        raise ValueError(
            f"{name} has {came}; expected real numbers, a row and a column"
        )
    csr = sparse.csr_array(matrix, dtype=np.float64, copy=True)
    csr.sum_duplicates()
    csr.eliminate_zeros()
    if csr.nnz and not (np.isfinite(csr.data).all() and csr.data.min() > 0):
        raise ValueError(f"{name} holds NaN, infinity or negatives; expected all >= 0")
    return csr


def check_indices(name, indices, limit, columns=None):
    """Return integers in [0, limit) as int64, (n,) or (n, columns); else ValueError.

    Args:
        name: str, the argument's name for the message.
        indices: integers, any sequence, (n,), or (n, columns) for pairs.
        limit: int, or one int a column; None where any number >= 0 will do.
        columns: int, or None for one-dimensional indices.
    """
    array = np.asarray(indices)
    tail = () if columns is None else (columns,)
    if not array.shape or array.shape[1:] != tail:
        expected = "(n,)" if columns is None else f"(n, {columns})"
        raise ValueError(f"{name} has shape {array.shape}; expected {expected}")
    if array.size and array.dtype.kind not in "iu":
        raise ValueError(f"{name} are {array.dtype}; expected integers")
    array = array.astype(np.int64)
    top = np.iinfo(np.int64).max if limit is None else limit
    if ((array < 0) | (array >= top)).any():
        came = f"{array.min()} to {array.max()}"
        raise ValueError(f"{name} run from {came}; expected 0 <= number < {limit}")
    return array


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
    for row in np.flatnonzero(kept.sum(axis=1) > k):
        tied = np.flatnonzero(block[row] == least[row])
        kept[row, tied[k - kept[row].sum() :]] = False
    return sparse.csr_array(np.where(kept, block, 0))


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
