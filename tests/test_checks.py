"""check and gradient_check: a check that cannot fail would be worse than none."""

import numpy as np
import pytest

import lepton_utils as lu
from lepton_utils.checks import same

DOUBLE = [((1,), 2), ((2.5,), 5.0)]


def verdict(capsys, function, cases, **options):
    lu.check(function, cases, **options)
    return capsys.readouterr().out


def test_right_solution_passes(capsys):
    def double(x):
        return 2 * x

    assert verdict(capsys, double, DOUBLE) == "double: all 2 cases pass\n"


def test_stub_is_not_solved_yet(capsys):
    def double(x): ...

    assert verdict(capsys, double, DOUBLE) == "double: not solved yet\n"

    def raises(x):
        raise NotImplementedError

    assert verdict(capsys, raises, DOUBLE) == "raises: not solved yet\n"


def test_wrong_solution_names_call_result_and_expectation(capsys):
    def double(x):
        return x + 1

    expected = "double: 1 of 2 cases pass; double(2.5) gave 3.5, expected 5\n"
    assert verdict(capsys, double, DOUBLE) == expected


def test_exception_is_one_line(capsys):
    def double(x):
        return x / 0

    out = verdict(capsys, double, DOUBLE)
    assert "double(1) raised ZeroDivisionError: division by zero" in out
    assert out.count("\n") == 1


def test_expected_none_is_an_answer(capsys):
    assert "all 1 cases pass" in verdict(capsys, lambda x: None, [((1,), None)])


def test_cases_survive_a_function_that_changes_its_argument(capsys):
    numbers = [3, 1, 2]

    def smallest(values):
        values.sort()
        return values.pop(0)

    out = verdict(capsys, smallest, [((numbers,), 1), ((numbers,), 1)])
    assert "all 2 cases pass" in out
    assert numbers == [3, 1, 2]


@pytest.mark.parametrize("cases", [[], [(1, 2)], [((1,), 2, 3)], [5]])
def test_malformed_cases_are_refused(cases):
    with pytest.raises(ValueError, match="case"):
        lu.check(lambda x: x, cases)


@pytest.mark.parametrize(
    ("result", "expected", "agree"),
    [
        (1.0, 1, True),
        (1 + 1e-12, 1, True),
        (1.001, 1, False),
        (np.ones(3), 1.0, False),  # a shape that would broadcast does not match
        (np.ones((3, 1)), np.ones(3), False),
        (np.array([np.nan, 1]), np.array([np.nan, 1]), True),
        ("a", "a", True),
        ("a", "b", False),
        ((1, 2), (1, 2), True),
        ([1, 2], (1, 2), True),
        ((1, 2, 3), (1, 2), False),
        ({"a": 1.0}, {"a": 1}, True),
        ({"a": 1.0, "b": 2}, {"a": 1}, False),
        ([[1, 2], [3, 4]], np.array([[1, 2], [3, 4]]), True),
        ([[1, 2], [3]], np.array([1, 2, 3]), False),
        (True, True, True),
        (None, 1.0, False),
        (3, (1, 2), False),
    ],
)
def test_same(result, expected, agree):
    assert same(result, expected) is agree


def test_tolerance_is_respected(capsys):
    assert "all 1" in verdict(capsys, lambda: 3.1415, [((), np.pi)], tolerance=1e-3)
    assert "0 of 1" in verdict(capsys, lambda: 3.1415, [((), np.pi)])


def test_long_arrays_stay_on_one_line(capsys):
    out = verdict(capsys, lambda a: a, [((np.zeros((50, 50)),), np.ones((50, 50)))])
    assert "array of shape (50, 50)" in out or len(out) < 300
    assert out.count("\n") == 1


def test_a_function_among_the_arguments_is_named(capsys):
    def apply(function, x):
        return 0

    assert "apply(abs, -2) gave 0" in verdict(capsys, apply, [((abs, -2), 2)])
    assert "apply(<lambda>, 1)" in verdict(capsys, apply, [((lambda x: x, 1), 1)])


def test_gradient_check_accepts_a_right_and_catches_a_wrong_gradient():
    point = np.linspace(-1, 1, 6).reshape(2, 3)
    gradient = 3 * point**2
    assert lu.gradient_check(lambda x: (x**3).sum(), point, gradient) < 1e-8
    wrong = gradient.copy()
    wrong[1, 2] += 0.01
    found = lu.gradient_check(lambda x: (x**3).sum(), point, wrong)
    assert found == pytest.approx(0.01 / 3, rel=1e-3)


def test_gradient_check_reports_infinity_for_a_nan():
    bad = np.array([np.nan])
    assert lu.gradient_check(lambda x: x.sum(), np.ones(1), bad) == np.inf


def test_gradient_check_leaves_the_point_alone():
    point = np.ones(3)
    lu.gradient_check(lambda x: (x**2).sum(), point, 2 * point)
    assert (point == 1).all()


def test_gradient_check_names_bad_input():
    with pytest.raises(ValueError, match="point must be float64, got float32"):
        lu.gradient_check(np.sum, np.ones(2, np.float32), np.ones(2))
    with pytest.raises(ValueError, match=r"shape of point, \(2,\): \(3,\)"):
        lu.gradient_check(np.sum, np.ones(2), np.ones(3))


def test_two_large_arrays_are_told_apart(capsys):
    right = np.arange(40.0).reshape(4, 10)

    def nearly(x):
        return x + 0.25

    lu.check(nearly, [((right,), right)])
    assert "gave array of shape (4, 10), off by up to 0.25" in capsys.readouterr().out


def test_comparison_prints_or_says_by_how_much(capsys):
    lu.compare("sums", [1.0, 2.0], np.array([1.0, 2.0 + 1e-12]))
    assert capsys.readouterr().out == "sums: equal to 1e-10\n"
    with pytest.raises(AssertionError, match=r"sums: off by up to 0.5, more than 0.1"):
        lu.compare("sums", [1.0], [1.5], tolerance=0.1)
    with pytest.raises(AssertionError, match=r"sums: shape \(2,\), expected \(\)"):
        lu.compare("sums", [1.0, 1.0], 1.0)
    with pytest.raises(AssertionError, match="sums: off by up to nan"):
        lu.compare("sums", [np.nan], [1.0])
