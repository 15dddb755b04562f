"""A progress line that nbval can compare."""

import time

import keras

INTERVAL = 0.2  # s between two lines: sending each step's costs more than a small step


class Progress(keras.callbacks.Callback):
    """Show one line while `fit` runs; leave one without times or trained numbers.

    The line is rewritten with a carriage return: notebook front ends and terminals
    show it moving, and what stays in the stored output is the same in every run.
    """

    _shown = float("-inf")  # when a line was last sent, in seconds

    def on_epoch_begin(self, epoch, logs=None):
        """Remember the epoch for the line."""
        self._epoch = epoch + 1

    def on_train_batch_end(self, batch, logs=None):
        """Rewrite the line, a few times a second."""
        if time.monotonic() - self._shown < INTERVAL:
            return
        self._shown = time.monotonic()
        epochs, steps = self.params["epochs"], self.params["steps"]
        figures = "  ".join(
            f"{name} {value:.3f}" for name, value in (logs or {}).items()
        )
        step = f"{batch + 1}/{steps}" if steps else f"{batch + 1}"
        line = f"epoch {self._epoch}/{epochs}  step {step}  {figures}"
        print(f"\r{line[:79]:<79}", end="", flush=True)

    def on_train_end(self, logs=None):
        """Replace the line by a summary that every run repeats."""
        epochs, steps = self._epoch, self.params["steps"]
        print(f"\r{'':<79}\rtrained: epochs {epochs}, steps per epoch {steps}")
