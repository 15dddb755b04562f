"""The rules of an exercise: stub, folded solution, wrong answer. See gates.py."""

import re

from notebook_form import HEADING, all_headings, text_of

MIN_EXERCISES = 3


def exercises(nb, part):
    """Look for stub, solution and wrong answer of every exercise."""
    starts = [n for n, cell in enumerate(nb.cells, 1) if opens(cell, "exercise")]
    if len(starts) < MIN_EXERCISES:
        yield None, f"{len(starts)} exercises", f"at least {MIN_EXERCISES}"
    for number, cell in enumerate(nb.cells, 1):
        if re.search(r"^[:`]{3,}\{(exercise|solution)\}", cell.source, re.MULTILINE):
            remedy = "use exercise-start, a stub with lu.check, exercise-end"
            yield number, "an exercise without code", remedy
    for start in starts:
        yield from one_exercise(nb, start)


def one_exercise(nb, start):
    """Look at the exercise that a cell opens."""
    source = nb.cells[start - 1].source
    label = re.search(r"^:label: (ex-[\w-]+)$", source, re.MULTILINE)
    if not label:
        yield start, "the exercise has no label", ":label: ex-CHAPTER-NAME"
        return
    solved = [
        n
        for n, cell in enumerate(nb.cells, 1)
        if opens(cell, "solution") and f"{{solution-start}} {label[1]}\n" in cell.source
    ]
    yield from headed(nb, start, "Exercise")
    yield from stub(nb, start)
    if len(solved) != 1:
        wrong = f"{len(solved)} solutions of {label[1]}"
        yield start, wrong, f"one :::{{solution-start}} {label[1]}"
        return
    yield from headed(nb, solved[0], "Solution")
    yield from solution(nb, solved[0])


def headed(nb, number, kind):
    """Look for the heading that Jupyter folds and lists."""
    before = nb.cells[number - 2].source if number > 1 else ""
    match = HEADING.fullmatch(before)
    if not match or match[1] != kind:
        remedy = f"a Markdown cell `### {kind}: TITLE` of its own before it"
        yield number, f"no heading of the {kind.lower()}", remedy


def stub(nb, start):
    """Look at what the unsolved exercise prints."""
    texts, closed = outputs_until(nb, start, "exercise")
    if not closed:
        yield start, "the exercise is not closed", ":::{exercise-end}"
    elif not any("not solved yet" in text for text in texts):
        yield start, "the stub does not print 'not solved yet'", "leave `...` in it"
    if any("cases pass" in text for text in texts):
        yield start, "the stub claims to be solved", "leave `...` in it, and run"


def solution(nb, start):
    """Look at what the solution and the wrong answer print."""
    texts, closed = outputs_until(nb, start, "solution")
    if ":class: dropdown" not in nb.cells[start - 1].source:
        yield start, "the solution is not collapsed", ":class: dropdown"
    if not closed:
        yield start, "the solution is not closed", ":::{solution-end}"
        return
    if not any(re.search(r": all \d+ cases pass", text) for text in texts):
        yield start, "the solution does not pass all cases", "correct it, and run"
    if not any(re.search(r": \d+ of \d+ cases pass;", text) for text in texts):
        remedy = "show one common wrong answer failing the same check"
        yield start, "no wrong answer fails", remedy
    yield from folding(nb, start)


def folding(nb, start):
    """Look for a cell that the folded heading of a solution would hide, or let out."""
    end = next(
        n for n, c in enumerate(nb.cells, 1) if n > start and closes(c, "solution")
    )
    inside = [n for n, level, _ in all_headings(nb) if start <= n <= end and level <= 3]
    for number in inside:
        yield number, "a heading unfolds the rest of the solution", "use #### or bold"
    after = {n for n, level, _ in all_headings(nb) if level <= 3}
    if end < len(nb.cells) and end + 1 not in after:
        remedy = "start the next cell with a heading"
        yield end + 1, "is folded away with the solution above", remedy


def outputs_until(nb, start, kind):
    """Return the texts printed up to the closing cell, and whether there is one."""
    texts = []
    for cell in nb.cells[start:]:
        if closes(cell, kind):
            return texts, True
        texts += [text_of(output) for output in cell.get("outputs", [])]
    return texts, False


def opens(cell, kind):
    """Say whether a cell opens an exercise or a solution."""
    return cell.cell_type == "markdown" and f":::{{{kind}-start}}" in cell.source


def closes(cell, kind):
    """Say whether a cell closes an exercise or a solution."""
    return cell.cell_type == "markdown" and f":::{{{kind}-end}}" in cell.source
