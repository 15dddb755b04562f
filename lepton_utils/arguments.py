"""Checks of arguments that several modules share; each returns what it checked."""

import numpy as np
from scipy import sparse


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
