"""A fitted model as a skops file: no pickle, nothing that runs when it is loaded. Imports skops and so scikit-learn."""

from typing import Any

import numpy as np
import skops.io  # type: ignore[import-untyped]

from retrain_trainer.contract import Failure, Reason

FORMAT = "skops"
FILE_NAME = "model.skops"
OUR_PACKAGES = ("numpy.", "scipy.", "sklearn.")  # what a model of this trainer can be made of


def serialise(model: Any, sample: Any) -> tuple[bytes, list[str]]:
    """The file's content, and the types that a reader must trust beyond skops' own list.

    It is loaded back with just those types and must predict for `sample` what the model does. Raises Failure (exit 5).
    """
    try:
        content: bytes = skops.io.dumps(model)
        trusted = sorted(skops.io.get_untrusted_types(data=content))
        if foreign := [name for name in trusted if not name.startswith(OUR_PACKAGES)]:
            raise Failure(Reason.ARTIFACT_INVALID, f"the model holds types of other packages: {', '.join(foreign)}")
        restored = skops.io.loads(content, trusted=trusted)
        is_same = np.array_equal(restored.predict(sample), model.predict(sample))
    except MemoryError:
        raise
    except Failure:
        raise
    except Exception as error:
        message = f"the model cannot be written without pickle: {type(error).__name__}: {error}"
        raise Failure(Reason.ARTIFACT_INVALID, message) from error
    if not is_same:
        raise Failure(Reason.ARTIFACT_INVALID, "the model predicts otherwise after it was written and loaded")
    return content, trusted
