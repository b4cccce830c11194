"""How an ended Job reads: phase, result and error from the Job's condition, the exit code and the trainer's answer."""

import json
from dataclasses import dataclass

import pytest
from tests.builders import answer, failed, job_ended, job_failed, pod_end, run_metadata, run_spec, trained

from retrain_operator.api.contract import EXIT_CODES, Outcome
from retrain_operator.api.job import Phase, RunError
from retrain_operator.manifests.common import run_id
from retrain_operator.rules.observed import JobState, PodEnd
from retrain_operator.rules.outcome import run_end

COMPLETE, BACKOFF = job_ended(), job_failed()


@dataclass(frozen=True)
class Case:
    """An ended Job, and the phase, error and outcome that it reads as. `message` is a part of the error's."""

    job: JobState
    pod: PodEnd | None
    phase: Phase
    reason: str | None = None
    message: str = ""
    exit_code: int | None = None
    retryable: bool | None = None
    outcome: Outcome | None = None
    mode: str = "Execute"


def violation(pod: PodEnd, message: str, *, mode: str = "Execute") -> Case:
    return Case(COMPLETE, pod, Phase.FAILED, "ContractViolation", message, pod.exit_code, False, mode=mode)


def exited(
    pod: PodEnd, reason: str, message: str, *, retryable: bool, outcome: Outcome | None = Outcome.FAILED, mode: str = "Execute"
) -> Case:
    return Case(BACKOFF, pod, Phase.FAILED, reason, message, pod.exit_code, retryable, outcome, mode)


SIMULATED = answer("simulated", mode="Simulate", data={"rows": 569})

COMPLETED = [
    pytest.param(Case(COMPLETE, pod_end(), Phase.COMPLETED, outcome=Outcome.TRAINED), id="trained: Completed"),
    pytest.param(
        Case(COMPLETE, pod_end(message=answer("skipped", reason="DataUnchanged")), Phase.SKIPPED, outcome=Outcome.SKIPPED),
        id="skipped: Skipped",
    ),
    pytest.param(
        Case(COMPLETE, pod_end(message=SIMULATED), Phase.COMPLETED, outcome=Outcome.SIMULATED, mode="Simulate"),
        id="simulated, as asked for: Completed",
    ),
    pytest.param(
        Case(COMPLETE, pod_end(message=answer("skipped", mode="Simulate")), Phase.SKIPPED, outcome=Outcome.SKIPPED, mode="Simulate"),
        id="skipped in a simulation: Skipped",
    ),
    pytest.param(
        Case(COMPLETE, pod_end(message=trained(aFieldOfTheFuture={"x": 1})), Phase.COMPLETED, outcome=Outcome.TRAINED),
        id="fields that nobody knows are ignored",
    ),
    pytest.param(violation(pod_end(message=""), "the termination message is empty"), id="exit 0 without an answer: ContractViolation"),
    pytest.param(violation(pod_end(message=" \n"), "the termination message is empty"), id="exit 0 with a blank answer"),
    pytest.param(violation(pod_end(message="done!"), "not one JSON object"), id="exit 0 with a log line"),
    pytest.param(violation(pod_end(message="[]"), "result"), id="exit 0 with a list"),
    pytest.param(violation(pod_end(message=failed()), "exited with 0 and outcome 'failed'"), id="exit 0 with outcome failed"),
    pytest.param(violation(pod_end(message=trained(runId="churn-1-aaaaaaaa")), "RETRAIN_RUN_ID"), id="the answer of another run"),
    pytest.param(violation(pod_end(message=trained()), "RETRAIN_MODE", mode="Simulate"), id="trained, but was to simulate"),
    pytest.param(violation(pod_end(message=SIMULATED), "RETRAIN_MODE"), id="simulated, but was to train"),
    pytest.param(
        violation(pod_end(message=trained().replace("0.98673", "NaN")), "NaN is no JSON number"),
        id="NaN in a metric: refused, with the remedy",
    ),
    pytest.param(
        violation(pod_end(message=trained().replace("0.98673", "-Infinity")), "-Infinity is no JSON number"), id="Infinity in a metric"
    ),
    pytest.param(
        violation(pod_end(message=trained().replace("0.98673", "1e999")), "1e999 is too large"), id="a number that reads as infinite"
    ),
    pytest.param(violation(pod_end(message=trained(metrics={"roc_auc": "high"})), "metrics.roc_auc"), id="a metric of the wrong type"),
    pytest.param(
        violation(pod_end(message=trained(config={"params": {"x": "y" * 4000}})[-4096:]), "longer than 3072 bytes"),
        id="more than the kubelet keeps, cut at its 4,096 bytes",
    ),
    pytest.param(violation(pod_end(message=trained()[200:]), "not one JSON object"), id="cut at the front, as with more containers"),
    pytest.param(
        Case(COMPLETE, None, Phase.FAILED, "ResultLost", "its pod is gone", None, True),
        id="ended well, but the pod is gone: ResultLost, may be tried again",
    ),
]

FAILED = [
    pytest.param(
        exited(pod_end(4, failed("TooLittleData", "7 rows", code=4)), "TooLittleData", "7 rows", retryable=False),
        id="exit 4 with an answer: the trainer's own reason",
    ),
    pytest.param(
        exited(pod_end(4, failed(retryable=True)), "TooLittleData", "7 rows", retryable=True),
        id="the answer says that trying again may help: it counts more than the exit code",
    ),
    pytest.param(
        exited(pod_end(3, failed(retryable=False)), "TooLittleData", "7 rows", retryable=False), id="the answer says that it will not help"
    ),
    *(
        pytest.param(
            exited(pod_end(code, ""), known.reason, f"exited with {code} ({known.meaning})", retryable=known.retryable, outcome=None),
            id=f"exit {code} without an answer: {known.reason}",
        )
        for code, known in EXIT_CODES.items()
    ),
    pytest.param(
        exited(pod_end(42, "Traceback …"), "UnexpectedError", "exited with 42 (unknown exit code)", retryable=True, outcome=None),
        id="an unknown exit code: unexpected, may be tried again",
    ),
    pytest.param(
        exited(pod_end(3, failed(runId="churn-1-aaaaaaaa")), "DataUnreadable", "exited with 3", retryable=True, outcome=None),
        id="the answer of another run: the exit code has to do",
    ),
    pytest.param(
        exited(pod_end(3, failed(mode="Simulate")), "DataUnreadable", "exited with 3", retryable=True, outcome=None),
        id="the answer of another mode: the exit code has to do",
    ),
    pytest.param(
        exited(pod_end(1, trained()), "ContractViolation", "answer says 'trained'", retryable=False, outcome=None),
        id="exit 1 with outcome trained: ContractViolation",
    ),
    pytest.param(
        exited(pod_end(137, trained(), "OOMKilled"), "OutOfMemory", "raise resources.limits.memory", retryable=False, outcome=None),
        id="OOMKilled with a valid answer: OutOfMemory",
    ),
    pytest.param(
        exited(pod_end(1, failed(), "OOMKilled"), "OutOfMemory", "raise resources.limits.memory", retryable=False, outcome=None),
        id="OOMKilled with another exit code: OutOfMemory",
    ),
    pytest.param(
        Case(
            BACKOFF,
            PodEnd(137, "ContainerStatusUnknown", "The container could not be located when the pod was terminated"),
            Phase.FAILED,
            "PodLost",
            "its pod is gone",
            None,
            True,
        ),
        id="the kubelet lost the container and says 137: PodLost, not OutOfMemory",
    ),
    pytest.param(
        exited(
            PodEnd(128, "StartError", 'exec: "retrian": executable file not found in $PATH\n'),
            "StartError",
            'its container could not start: exec: "retrian": executable file not found in $PATH',
            retryable=True,
            outcome=None,
        ),
        id="a command that the image does not have: StartError, in the node's own words",
    ),
    pytest.param(
        exited(PodEnd(127, "ContainerCannotRun", ""), "StartError", "the node does not say why", retryable=True, outcome=None),
        id="the same as Docker says it, without a word",
    ),
    pytest.param(
        Case(BACKOFF, None, Phase.FAILED, "PodLost", "BackoffLimitExceeded: Job has reached the specified backoff limit", None, True),
        id="failed, and the pod is gone: PodLost, may be tried again",
    ),
    pytest.param(
        Case(
            job_failed("DeadlineExceeded", "Job was active longer than specified deadline"),
            None,
            Phase.FAILED,
            "DeadlineExceeded",
            "Job was active longer",
            None,
            False,
        ),
        id="past activeDeadlineSeconds: DeadlineExceeded",
    ),
    pytest.param(
        Case(
            job_failed("DeadlineExceeded", ""),
            pod_end(143, failed("Terminated")),
            Phase.FAILED,
            "DeadlineExceeded",
            "activeDeadlineSeconds",
            None,
            False,
        ),
        id="past activeDeadlineSeconds, with an answer: DeadlineExceeded",
    ),
]


@pytest.mark.parametrize("case", [*COMPLETED, *FAILED])
def test_run_end(case: Case) -> None:
    end = run_end(case.job, case.pod, run_spec(mode=case.mode), run_id(run_metadata()))
    assert end.phase is case.phase
    assert (end.result.outcome if end.result else None) == case.outcome
    assert (end.error is None) == (case.reason is None)
    if end.error is not None:
        assert case.message in end.error.message
        assert end.error == RunError(
            reason=case.reason or "", message=end.error.message, exit_code=case.exit_code, retryable=case.retryable
        )
    assert json.loads(json.dumps(end.result.to_json() if end.result else {}, allow_nan=False)) is not None


def test_result_keeps_what_the_trainer_found_and_drops_its_envelope() -> None:
    result = run_end(COMPLETE, pod_end(), run_spec(), run_id(run_metadata())).result
    assert result is not None
    assert result.to_json().keys() == {"outcome", "metrics", "artifact"}
    assert result.metrics == {"roc_auc": 0.98673, "f1": 0.95, "mae": None}
