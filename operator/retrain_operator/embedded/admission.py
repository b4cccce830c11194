"""What the API server does with our custom resources before it stores them, for the in-memory cluster: defaults and refusals."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from retrain_operator.api.base import SpecModel, unseen_status
from retrain_operator.api.job import MUTABLE_RUN_FIELDS, Phase, RetrainJobSpec
from retrain_operator.api.names import RUN_NAME_MAX, SCHEDULE_NAME_MAX
from retrain_operator.api.schedule import RetrainScheduleSpec
from retrain_operator.cluster.protocol import RUNS, SCHEDULES, Body, Rejected, Resource
from retrain_operator.cluster.store import Admission


def _admit(model: type[SpecModel], name_max: int, status: Mapping[str, Any], immutable_but: frozenset[str] | None) -> Admission:
    def admit(new: Body, old: Body | None) -> Body:
        name = new["metadata"]["name"]
        if len(name) > name_max:
            raise Rejected(f'{new["kind"]} "{name}" is invalid: choose a name of at most {name_max} characters', status=422)
        try:
            spec = model.model_validate(new.get("spec") or {}).to_json()
        except ValidationError as error:
            problems = "; ".join(f"spec.{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
            raise Rejected(f'{new["kind"]} "{name}" is invalid: {problems}', status=422) from None
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
    SCHEDULES: _admit(RetrainScheduleSpec, SCHEDULE_NAME_MAX, unseen_status(), None),
    RUNS: _admit(RetrainJobSpec, RUN_NAME_MAX, {"phase": Phase.PENDING.value, **unseen_status()}, MUTABLE_RUN_FIELDS),
}
