"""When unchanged data is no reason to skip, because the last trained model is too old. The run's Job is made at 12:00."""

from typing import Any

import pytest
from tests.builders import NOW, run

from retrain_operator.api.job import RetrainJobSpec
from retrain_operator.manifests.runs import retry_run
from retrain_operator.rules.decision import CreateJob
from retrain_operator.rules.run import decide

HOUR = {"uri": "s3://lake/churn", "check": "Skip", "maxAgeSeconds": 3600}


def previous(finished: str | None) -> dict[str, Any]:
    return {"run": "churn-1", "dataVersion": "d"} | ({"completionTime": f"2026-03-02T{finished}Z"} if finished else {})


@pytest.mark.parametrize(
    ("data", "last", "check"),
    [
        pytest.param(HOUR, previous("11:30:00"), "Skip", id="younger: skips what is unchanged"),
        pytest.param(HOUR, previous("11:00:00"), "Skip", id="exactly as old as allowed: skips"),
        pytest.param(HOUR, previous("10:59:59"), "Always", id="a second older: trains"),
        pytest.param(HOUR, previous(None), "Always", id="age not known: trains"),
        pytest.param(HOUR, None, "Skip", id="nothing trained yet: there is nothing to be unchanged from"),
        pytest.param({**HOUR, "maxAgeSeconds": None}, previous("00:00:00"), "Skip", id="no limit: skips, however old"),
    ],
)
@pytest.mark.parametrize("trigger", ["Schedule", "Retry"])
def test_data_check_of_the_job(data: dict[str, Any], last: dict[str, Any] | None, check: str, trigger: str) -> None:
    given = {name: value for name, value in data.items() if value is not None}
    fields: dict[str, Any] = {"data": given} | ({"previous": last} if last else {})
    observed = run(**fields)
    if trigger == "Retry":
        name = f"{observed.metadata.name}-r1"
        assert isinstance(observed.spec, RetrainJobSpec)
        observed = run(**retry_run(observed.metadata, observed.spec, name)["spec"], meta={"name": name})
    [job] = [each.body for each in decide(observed, NOW).actions if isinstance(each, CreateJob)]
    [trainer] = job["spec"]["template"]["spec"]["containers"]
    assert {each["name"]: each["value"] for each in trainer["env"]}["RETRAIN_DATA_CHECK"] == check
