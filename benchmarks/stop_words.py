"""Measure what a list of stop words costs a classifier of opinions.

Ten folds over all sentences of "mr": TF-IDF and logistic regression, with all words,
without scikit-learn's English stop words, and without those but for the negations.
Run: python benchmarks/stop_words.py
"""

import numpy as np
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline

import lepton_utils as lu

NEGATIONS = {
    *("not", "no", "never", "none", "nothing", "nobody", "neither", "nor", "cannot"),
    "without",
}  # those of the list; "n't", as the sentences are cut, is not on it
LISTS = {
    "accuracy": None,
    "stopped_accuracy": sorted(ENGLISH_STOP_WORDS),
    "negation_accuracy": sorted(ENGLISH_STOP_WORDS - NEGATIONS),
}


def main():
    """Measure, print and record the accuracies; return them as a dict."""
    lu.setup(seed=1)
    (x_train, y_train), (x_test, y_test) = lu.load("mr")
    x, y = np.append(x_train, x_test), np.append(y_train, y_test)
    folds = StratifiedKFold(10, shuffle=True, random_state=0)
    metrics = {}
    for name, stop_words in LISTS.items():
        model = make_pipeline(
            TfidfVectorizer(token_pattern=r"\S+", stop_words=stop_words),
            LogisticRegression(C=4),
        )
        metrics[name] = float((cross_val_predict(model, x, y, cv=folds) == y).mean())
    print("  ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
    lu.record(**metrics)
    return metrics


if __name__ == "__main__":
    main()
