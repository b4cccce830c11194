"""A fitted model as a skops file: no pickle, nothing that runs when it is loaded. Imports skops and so scikit-learn."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import skops.io  # type: ignore[import-untyped]

from retrain_trainer.contract import Failure, Reason
from retrain_trainer.task import Incomparable

FORMAT = "skops"
# Classes of the packages that a model of this trainer can be made of. No functions: predict() may call what it is given, and numpy has
# functions that run text. Of all classifiers and regressors of scikit-learn, none asks for more.
OURS = re.compile(r"(numpy|scipy|sklearn)(\.\w+)*\._?[A-Z]\w*|numpy\.dtype")


def serialise(model: Any, sample: Any) -> tuple[bytes, list[str]]:
    """The file's content, and the types that a reader must trust beyond skops' own list.

    It is loaded back with just those types and must predict for `sample` what the model does. Raises Failure (exit 5).
    """
    try:
        content: bytes = skops.io.dumps(model)
        trusted = sorted(skops.io.get_untrusted_types(data=content))
        if foreign := _foreign(trusted):
            raise Failure(
                Reason.ARTIFACT_INVALID, f"the model holds types that are not classes of numpy, scipy or scikit-learn: {', '.join(foreign)}"
            )
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


def restore(content: bytes, manifest: Mapping[str, Any]) -> Any:
    """Another run's model. Of the types that its manifest asks to trust, none but those of our packages are. Raises Incomparable."""
    described = manifest.get("artifact")
    asked = described.get("trustedTypes") if isinstance(described, dict) else None
    if not isinstance(asked, list) or not all(isinstance(name, str) for name in asked):
        raise Incomparable("its manifest names no types to trust")
    if foreign := _foreign(asked):
        raise Incomparable(f"it holds types that are not classes of numpy, scipy or scikit-learn: {', '.join(foreign[:5])}")
    try:
        return skops.io.loads(content, trusted=asked)
    except MemoryError:
        raise
    except Exception as error:
        raise Incomparable(f"it cannot be loaded: {type(error).__name__}: {error}") from error


def _foreign(names: Sequence[str]) -> list[str]:
    return [name for name in names if not OURS.fullmatch(name)]
