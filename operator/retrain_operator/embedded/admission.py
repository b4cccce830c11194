"""What the API server does with our custom resources before it stores them, for the in-memory cluster: defaults and refusals."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from retrain_operator.api.base import SpecModel, unseen_status
from retrain_operator.api.job import MUTABLE_RUN_FIELDS, NAME_RULE, Phase, RetrainJobSpec, has_right_length
from retrain_operator.api.names import SCHEDULE_NAME_MAX
from retrain_operator.api.schedule import RetrainScheduleSpec
from retrain_operator.cluster.protocol import RUNS, SCHEDULES, Body, Rejected, Resource
from retrain_operator.cluster.store import Admission

S = TypeVar("S", bound=SpecModel)


def _admit(
    model: type[S], named: Callable[[str, S], bool], rule: str, status: Mapping[str, Any], immutable_but: frozenset[str] | None
) -> Admission:
    """`named`: whether an object of this spec may have this name, as `rule` says it to people."""

    def admit(new: Body, old: Body | None) -> Body:
        name = new["metadata"]["name"]
        try:
            model_of = model.model_validate(new.get("spec") or {})
        except ValidationError as error:
            problems = "; ".join(f"spec.{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
            raise Rejected(f'{new["kind"]} "{name}" is invalid: {problems}', status=422) from None
        if not named(name, model_of):
            raise Rejected(f'{new["kind"]} "{name}" is invalid: {rule}', status=422)
        spec = model_of.to_json()
        if old is not None and immutable_but is not None:
            before = old["spec"]
            changed = {field for field in {*spec, *before} - immutable_but if spec.get(field) != before.get(field)}
            if changed:
                fields = ", ".join(f"spec.{field}" for field in sorted(changed))
                raise Rejected(f'{new["kind"]} "{name}" is invalid: {fields} cannot be changed: create another one', status=422)
        admitted = {**new, "spec": spec}
        if old is None:
            admitted["status"] = dict(status)
        return admitted

    return admit


ADMISSION: dict[Resource, Admission] = {
    SCHEDULES: _admit(
        RetrainScheduleSpec,
        lambda name, _: len(name) <= SCHEDULE_NAME_MAX,
        f"choose a name of at most {SCHEDULE_NAME_MAX} characters",
        unseen_status(),
        None,
    ),
    RUNS: _admit(RetrainJobSpec, has_right_length, NAME_RULE[1], {"phase": Phase.PENDING.value, **unseen_status()}, MUTABLE_RUN_FIELDS),
}
