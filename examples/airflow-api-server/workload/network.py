"""The network that is trained: one hidden layer on 8x8 digits, an epoch at a time.

Plain stochastic gradient descent, and a shuffle that is a function of seed and epoch: the weights are then all the state there is,
so a run resumed from a checkpoint ends in the very weights of one that was never interrupted.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from workload.arrays import Arrays
from workload.errors import WorkloadError

PIXELS, DIGITS, HIDDEN = 64, 10, 64
WEIGHTS = frozenset({"hidden_weights", "hidden_bias", "output_weights", "output_bias"})

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]


class Network:
    def __init__(self, *, learning_rate: float, batch_size: int, seed: int) -> None:
        # Here, for whoever takes no more than a name from this module need not wait for it.
        from sklearn.neural_network import MLPClassifier

        self._batch_size, self._seed = batch_size, seed
        self._model = MLPClassifier((HIDDEN,), solver="sgd", momentum=0.0, learning_rate_init=learning_rate)

    @classmethod
    def restored(cls, weights: Arrays, *, learning_rate: float = 0.1, batch_size: int = 32, seed: int = 0) -> Network:
        network = cls(learning_rate=learning_rate, batch_size=batch_size, seed=seed)
        # One step on nothing makes scikit-learn's model whole; its weights are then replaced.
        network._model.partial_fit(np.zeros((1, PIXELS), np.float32), np.zeros(1, np.int64), classes=np.arange(DIGITS))
        network._model.coefs_ = [weights["hidden_weights"], weights["output_weights"]]
        network._model.intercepts_ = [weights["hidden_bias"], weights["output_bias"]]
        return network

    @property
    def weights(self) -> Arrays:
        (hidden, output), (hidden_bias, output_bias) = self._model.coefs_, self._model.intercepts_
        return {"hidden_weights": hidden, "hidden_bias": hidden_bias, "output_weights": output, "output_bias": output_bias}

    def fit_epoch(self, epoch: int, x: Floats, y: Labels) -> float:
        """Go through the data once, in the epoch's own order, and return the mean loss."""
        order = np.random.SeedSequence([self._seed, epoch]).generate_state(1)[0]
        self._model.set_params(random_state=int(order), batch_size=min(self._batch_size, len(y)))
        diverged = WorkloadError(f"the training diverged in epoch {epoch}: choose a smaller LEARNING_RATE")
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                self._model.partial_fit(x, y, classes=np.arange(DIGITS))
        except ValueError as error:
            raise diverged from error
        if not np.isfinite(self._model.loss_):
            raise diverged
        return float(self._model.loss_)

    def accuracy(self, x: Floats, y: Labels) -> float:
        return float(np.mean(self._model.predict(x) == y))
