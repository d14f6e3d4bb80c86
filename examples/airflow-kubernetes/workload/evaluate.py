"""Step 3: the model is judged on digits that the training never saw; too many mistakes are a failed step."""

from __future__ import annotations

from workload import bucket, digits
from workload.arrays import unpack
from workload.errors import InaccurateError, MissingObjectError
from workload.network import WEIGHTS, Network
from workload.settings import Settings
from workload.step import log, output, run


def evaluate(settings: Settings) -> None:
    test = digits.load(settings.data_url).test
    accuracy = load_model(settings.model_url).accuracy(test.x, test.y)
    log(f"{accuracy:.2%} of {len(test.y)} unseen digits are read right, by {settings.model_url}")
    output(accuracy=round(accuracy, 6), test_rows=len(test.y), evaluated_model_url=settings.model_url)
    if accuracy < settings.min_accuracy:
        raise InaccurateError(f"accuracy {accuracy:.4f} is below MIN_ACCURACY {settings.min_accuracy:g}")


def load_model(url: str) -> Network:
    try:
        weights = bucket.read(url)
    except MissingObjectError as error:
        raise MissingObjectError(
            f"no model at {url}: run tasks/train.yaml first, with the same RUN_NAME, EPOCHS, LEARNING_RATE, BATCH_SIZE and SEED, "
            "or set MODEL_URL to the model_url it put out"
        ) from error
    return Network.restored(unpack(weights, url, WEIGHTS))


if __name__ == "__main__":
    run(evaluate)
