"""Checks that a reader runs: an exercise on its cases, a gradient on differences."""

import copy
import reprlib

import numpy as np


def check(function, cases, tolerance=1e-9):
    """Try a function on cases with known answers and print the verdict.

    Args:
        function: the reader's solution. A stub that returns None (or raises
            NotImplementedError) counts as not solved yet.
        cases: list of ``(arguments, expected)``; the arguments a tuple, the expected
            value a number, string, bool, array, or a tuple, list or dict of these.
        tolerance: float, largest absolute or relative difference of numbers.

    Raises:
        ValueError: if there are no cases, or a case is not a pair with a tuple first.
    """
    if not cases:
        raise ValueError(
            "cases must hold at least one (arguments, expected) pair, got none"
        )
    name, passed, first_fault = getattr(function, "__name__", "function"), 0, None
    for case in cases:
        arguments, expected = _pair(case)
        call = f"{name}({', '.join(map(_short, arguments))})"
        try:
            result = function(*copy.deepcopy(arguments))
        except NotImplementedError:
            result = None
        except Exception as error:
            first_fault = (
                first_fault or f"{call} raised {type(error).__name__}: {error}"
            )
            continue
        if result is None and expected is not None:
            print(f"{name}: not solved yet")
            return
        if same(result, expected, tolerance):
            passed += 1
        else:
            wrong = f"{call} gave {_short(result)}, {_expected(result, expected)}"
            first_fault = first_fault or wrong
    if first_fault:
        print(f"{name}: {passed} of {len(cases)} cases pass; {first_fault}")
    else:
        print(f"{name}: all {len(cases)} cases pass")


def same(result, expected, tolerance=1e-9):
    """Say whether two values agree: numbers within a tolerance, the rest exactly.

    Args:
        result: number, string, array, or a tuple, list or dict of these.
        expected: the same. Shapes must agree: a scalar does not match an array.
        tolerance: float, absolute or relative, whichever is more lenient.

    Returns:
        bool.
    """
    if isinstance(expected, dict):
        return (
            isinstance(result, dict)
            and result.keys() == expected.keys()
            and all(same(result[key], expected[key], tolerance) for key in expected)
        )
    if isinstance(expected, (tuple, list)):
        return (
            isinstance(result, (tuple, list, np.ndarray))
            and len(result) == len(expected)
            and all(
                same(r, e, tolerance) for r, e in zip(result, expected, strict=True)
            )
        )
    try:
        result, expected = np.asarray(result), np.asarray(expected)
        if result.shape != expected.shape:
            return False
        if expected.dtype.kind in "fc" or result.dtype.kind in "fc":
            return np.allclose(
                result, expected, rtol=tolerance, atol=tolerance, equal_nan=True
            )
        return bool(np.all(result == expected))
    except (TypeError, ValueError):
        return False


def compare(what, ours, truth, tolerance=1e-10):
    """Print that a result equals what a library gives; stop if it does not.

    Args:
        what: str, what is compared.
        ours: number or array.
        truth: the same shape.
        tolerance: float, absolute or relative, whichever is more lenient.

    Raises:
        AssertionError: if shapes differ, or a value differs by more; it says by how
            much.
    """
    ours, truth = np.asarray(ours), np.asarray(truth)
    if ours.shape != truth.shape:
        raise AssertionError(f"{what}: shape {ours.shape}, expected {truth.shape}")
    if not same(ours, truth, tolerance):
        gap = np.abs(ours - truth).max()
        raise AssertionError(f"{what}: off by up to {gap:.4g}, more than {tolerance:g}")
    print(f"{what}: equal to {tolerance:g}")


def gradient_check(function, point, gradient, epsilon=1e-5):
    r"""Compare a gradient with central differences.

    The quotient $(f(x + \epsilon e_i) - f(x - \epsilon e_i)) / 2 \epsilon$ has an
    error of order $\epsilon^2$ from the truncated series and of order
    $10^{-16} / \epsilon$ from rounding; 1e-5 balances the two in float64.
    Taught in chapters/mathematics/01_neurons.

    Args:
        function: callable, float64 array of the shape of ``point`` -> float.
        point: float64 array, any shape; left unchanged.
        gradient: array of the same shape, the gradient to check at ``point``.
        epsilon: float > 0, the step.

    Returns:
        float, the largest ``|gradient - quotient| / max(1, |quotient|)``.

    Raises:
        ValueError: if ``point`` is not float64, or the shapes differ.
    """
    point, gradient = np.asarray(point), np.asarray(gradient)
    if point.dtype != np.float64:
        raise ValueError(
            f"point must be float64, got {point.dtype}: float32 rounding hides errors"
        )
    if gradient.shape != point.shape:
        raise ValueError(
            f"gradient must have the shape of point, {point.shape}: {gradient.shape}"
        )
    shifted, worst = point.copy(), 0.0
    for index in np.ndindex(point.shape):
        shifted[index] = point[index] + epsilon
        above = float(function(shifted))
        shifted[index] = point[index] - epsilon
        below = float(function(shifted))
        shifted[index] = point[index]
        quotient = (above - below) / (2 * epsilon)
        error = abs(gradient[index] - quotient) / max(1.0, abs(quotient))
        worst = max(worst, float(error)) if np.isfinite(error) else np.inf
    return worst


def _pair(case):
    if not (isinstance(case, tuple) and len(case) == 2 and isinstance(case[0], tuple)):
        raise ValueError(f"a case must be (tuple of arguments, expected), got {case!r}")
    return case


def _expected(result, expected):
    texts = _short(result), _short(expected)
    if texts[0] == texts[1] and isinstance(expected, np.ndarray):
        gap = np.abs(np.asarray(result) - expected).max()
        return f"off by up to {gap:.4g}"
    return f"expected {texts[1]}"


def _short(value):
    if isinstance(value, np.ndarray):
        with np.printoptions(precision=4, threshold=8, edgeitems=2, suppress=True):
            text = " ".join(np.array2string(value, separator=", ").split())
        return text if len(text) <= 80 else f"array of shape {value.shape}"
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return f"{value:.6g}"
    if callable(value):  # its own form would hold an address
        return getattr(value, "__name__", type(value).__name__)
    if isinstance(value, tuple):
        return f"({', '.join(map(_short, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, list):
        return (
            f"[{', '.join(map(_short, value))}]"
            if len(value) <= 8
            else reprlib.repr(value)
        )
    return reprlib.repr(value)
