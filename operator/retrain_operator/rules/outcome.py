"""How an ended Job reads as the end of a run: phase, result and error."""

from dataclasses import dataclass

from retrain_operator.api.contract import EXIT_CODES, UNKNOWN_EXIT, ContractViolation, Outcome, RunDetails, TrainerResult, parse_result
from retrain_operator.api.job import Phase, RetrainJobSpec, RunError
from retrain_operator.rules import reasons
from retrain_operator.rules.observed import JobEnd, JobState, PodEnd

_PHASES = {Outcome.TRAINED: Phase.COMPLETED, Outcome.SIMULATED: Phase.COMPLETED, Outcome.SKIPPED: Phase.SKIPPED}
_OUTCOMES_OF_MODE = {"Execute": (Outcome.TRAINED, Outcome.SKIPPED), "Simulate": (Outcome.SIMULATED, Outcome.SKIPPED)}
_JOB_REASONS = {"DeadlineExceeded": reasons.DEADLINE_EXCEEDED}
_OOM_KILLED = "OOMKilled"
_NEVER_STARTED = ("StartError", "ContainerCannotRun")  # as containerd and CRI-O, and as Docker say it
_STATUS_UNKNOWN = "ContainerStatusUnknown"  # the kubelet lost the container; it then says exit code 137, which means nothing


@dataclass(frozen=True, slots=True)
class RunEnd:
    """The end of a run."""

    phase: Phase
    result: RunDetails | None = None
    error: RunError | None = None


def run_end(job: JobState, pod: PodEnd | None, spec: RetrainJobSpec, run_id: str) -> RunEnd:
    """The end of a run from its ended Job and the trainer's pod. Only an answer as the contract asks for makes a good end."""
    if job.end is JobEnd.COMPLETE:
        return _complete(pod, spec, run_id)
    if job.end_reason in _JOB_REASONS:
        return _failed(_JOB_REASONS[job.end_reason], job.end_message or "the run took longer than activeDeadlineSeconds", retryable=False)
    if pod is None or pod.reason == _STATUS_UNKNOWN:
        return _failed(reasons.POD_LOST, f"the Job failed ({job.end_reason}: {job.end_message}) and its pod is gone", retryable=True)
    if pod.reason == _OOM_KILLED:
        message = "the kernel ended it for using more than its memory limit: raise resources.limits.memory or use less data"
        return _failed(reasons.OUT_OF_MEMORY, message, exit_code=pod.exit_code, retryable=False)
    if pod.reason in _NEVER_STARTED:
        message = f"its container could not start: {pod.message.strip() or 'the node does not say why'}"
        return _failed(reasons.START_ERROR, message, exit_code=pod.exit_code, retryable=True)  # the node may be at fault
    return _exited(pod, spec, run_id)


def _complete(pod: PodEnd | None, spec: RetrainJobSpec, run_id: str) -> RunEnd:
    if pod is None:
        return _failed(reasons.RESULT_LOST, "the Job completed, but its pod is gone and the trainer's answer with it", retryable=True)
    try:
        result = _answer(pod, spec, run_id)
        if result.outcome not in _OUTCOMES_OF_MODE[spec.mode]:
            raise ContractViolation(f"the trainer exited with 0 and outcome '{result.outcome}' in mode {spec.mode}")
    except ContractViolation as violation:
        return _failed(reasons.CONTRACT_VIOLATION, str(violation), exit_code=pod.exit_code, retryable=False)
    return RunEnd(_PHASES[result.outcome], result=_details(result))


def _exited(pod: PodEnd, spec: RetrainJobSpec, run_id: str) -> RunEnd:
    known = EXIT_CODES.get(pod.exit_code, UNKNOWN_EXIT)
    try:
        result = _answer(pod, spec, run_id)
    except ContractViolation:
        # A trainer that crashed could not answer; its exit code has to do.
        message = f"the trainer exited with {pod.exit_code} ({known.meaning}) and gave no reason: see its log"
        return _failed(known.reason, message, exit_code=pod.exit_code, retryable=known.retryable)
    if result.error is None:
        message = f"the trainer exited with {pod.exit_code}, but its answer says '{result.outcome}'"
        return _failed(reasons.CONTRACT_VIOLATION, message, exit_code=pod.exit_code, retryable=False)
    retryable = known.retryable if result.error.retryable is None else result.error.retryable
    error = RunError(reason=result.error.reason, message=result.error.message, exit_code=pod.exit_code, retryable=retryable)
    return RunEnd(Phase.FAILED, result=_details(result), error=error)


def _answer(pod: PodEnd, spec: RetrainJobSpec, run_id: str) -> TrainerResult:
    """The trainer's answer, if it is about this run. Raises ContractViolation."""
    result = parse_result(pod.message)
    if result.run_id != run_id:
        raise ContractViolation(f"the result is of run '{result.run_id}', not of '{run_id}' (RETRAIN_RUN_ID)")
    if result.mode != spec.mode:
        raise ContractViolation(f"the result is of mode '{result.mode}', not '{spec.mode}' (RETRAIN_MODE)")
    return result


def _details(result: TrainerResult) -> RunDetails:
    return RunDetails.model_validate(result.to_json())


def _failed(reason: str, message: str, *, exit_code: int | None = None, retryable: bool) -> RunEnd:
    return RunEnd(Phase.FAILED, error=RunError(reason=reason, message=message, exit_code=exit_code, retryable=retryable))
