"""An event is handled once: what failed on the way is not looked at again before the next event."""

from retrain_operator.reconcile.reconciler import Reconciler


def _forget(self: Reconciler, *_: object, **__: object) -> None:
    return None


Reconciler._again = _forget  # type: ignore[method-assign]
