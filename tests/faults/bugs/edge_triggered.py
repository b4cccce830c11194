"""An event is handled once: what failed on the way is not looked at again before the next event."""

from retrain_operator.reconcile.controller import Controller


def _forget(self: Controller, *_: object, **__: object) -> None:
    return None


Controller._again = _forget  # type: ignore[method-assign]
