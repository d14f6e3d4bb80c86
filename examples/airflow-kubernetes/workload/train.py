"""Step 2: a network is fitted epoch by epoch, with checkpoints in the bucket; killed and started again, it goes on from there."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic

import numpy as np
from threadpoolctl import threadpool_limits

from workload import bucket, digits
from workload.arrays import pack, unpack
from workload.digits import Digits
from workload.errors import MissingObjectError, WorkloadError
from workload.network import WEIGHTS, Network
from workload.settings import Settings
from workload.step import log, output, run


@dataclass
class Progress:
    """A training as far as it has come."""

    network: Network
    losses: list[float] = field(default_factory=list[float])

    @property
    def epoch(self) -> int:
        return len(self.losses)


def train(settings: Settings) -> None:
    began = monotonic()
    data = digits.load(settings.data_url)
    progress = resumed(settings, data.digest) or started(settings)
    resumed_from = progress.epoch
    with threadpool_limits(1):  # for so small a network more threads are slower
        for epoch in range(progress.epoch + 1, settings.epochs + 1):
            loss = progress.network.fit_epoch(epoch, data.train.x, data.train.y)
            progress.losses.append(loss)
            log(f"epoch {epoch}/{settings.epochs}: loss {loss:.4f}, validation accuracy {validated(progress, data):.4f}")
            if epoch % settings.checkpoint_every == 0 or epoch == settings.epochs:
                save_checkpoint(settings, progress, data.digest)
    url = f"{settings.trial_url}/model.npz"
    bucket.write(url, pack(progress.network.weights))
    log(f"model written to {url}")
    output(
        final_loss=round(progress.losses[-1], 6),
        validation_accuracy=round(validated(progress, data), 6),
        epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        batch_size=settings.batch_size,
        loss_history=[round(loss, 6) for loss in progress.losses],
        resumed_from_epoch=resumed_from,
        train_seconds=round(monotonic() - began, 2),
        model_url=url,
    )


def started(settings: Settings) -> Progress:
    return Progress(Network(learning_rate=settings.learning_rate, batch_size=settings.batch_size, seed=settings.seed))


def resumed(settings: Settings, data_digest: str) -> Progress | None:
    """The training as its last checkpoint left it, where there is one of the same data."""
    try:
        stored = bucket.read(settings.checkpoint_url)
    except MissingObjectError:
        return None
    try:
        checkpoint = unpack(stored, settings.checkpoint_url, WEIGHTS | {"losses", "data_digest"})
    except WorkloadError as error:
        log(f"starting afresh: {error}")
        return None
    if str(checkpoint["data_digest"]) != data_digest:
        log(f"starting afresh: the data has changed since {settings.checkpoint_url} was written")
        return None
    progress = Progress(
        Network.restored(checkpoint, learning_rate=settings.learning_rate, batch_size=settings.batch_size, seed=settings.seed),
        losses=[float(loss) for loss in checkpoint["losses"]],
    )
    log(f"resuming after epoch {progress.epoch} from {settings.checkpoint_url}")
    return progress


def save_checkpoint(settings: Settings, progress: Progress, data_digest: str) -> None:
    state = {"losses": np.asarray(progress.losses), "data_digest": np.asarray(data_digest)}
    bucket.write(settings.checkpoint_url, pack(progress.network.weights | state))


def validated(progress: Progress, data: Digits) -> float:
    return progress.network.accuracy(data.validation.x, data.validation.y)


if __name__ == "__main__":
    run(train)
