"""One scenario with at most one fault: set up, let it happen, wait until all is well and quiet, and ask the oracle."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tests.faults.endstate import end_state
from tests.faults.entry import RESYNC_VARIABLE, SILENCE_VARIABLE
from tests.faults.gate import Gate
from tests.faults.history import Body, History
from tests.faults.kinds import NEEDS_RESYNC, AtEvent, Fault
from tests.faults.lab import Lab
from tests.faults.oracle import Evidence, Violation, violations
from tests.faults.scenarios import SCENARIOS
from tests.faults.script import OUTAGE_S, Script
from tests.faults.stage import Stage
from tests.faults.truth import FINISHED
from tests.faults.writes import Write

RECOVERY_S = 30.0  # after the last fault everything is right within this
QUIET_S = 3.0
LOOK_S = 0.25
FOR_EVER = frozenset(  # once broken, nothing mends it: no need to wait
    {
        "one run per tick",
        "one run by drift",
        "one job per run",
        "a finished run is final",
        "runs do not overlap",
        "nothing starts against the users will",
        "a slot never goes back by itself",
        "a slot holds one whole model",
    }
)
UNDER_WAY = ("Pending", "RollingOut", "RollingBack")
_SHORTENED = {RESYNC_VARIABLE: "5", SILENCE_VARIABLE: "2"}


@dataclass(frozen=True, slots=True)
class Case:
    """What to try."""

    scenario: str
    fault: Fault | None = None
    replicas: int = 1
    election: bool = False
    bug: str | None = None
    outage_s: float = OUTAGE_S
    recovery_s: float = RECOVERY_S

    @property
    def kind(self) -> str:
        """Of the fault, for a table."""
        assert self.fault is not None
        return str(self.fault.kind) + (", two replicas" if self.replicas > 1 else "")

    def __str__(self) -> str:
        crew = f" ({self.replicas} replicas{', elected' if self.election else ''})" if self.replicas > 1 else ""
        return f"{self.scenario}{crew}: {self.fault or 'no fault'}" + (f" [{self.bug}]" if self.bug else "")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it."""

    case: Case
    violations: list[Violation]
    injected: bool
    seconds: float
    recovered_s: float  # from the last fault until all was well
    writes: list[Write]
    events: dict[str, int]  # that watches carried, by resource
    end: list[Body]
    log: str = field(repr=False, default="")


async def run_trial(lab: Lab, case: Case, reference: list[Body] | None = None, *, quiet_s: float = QUIET_S) -> Outcome:
    """`reference`: the end of the same scenario without faults."""
    started = time.monotonic()
    namespace = await lab.namespace()
    script = Script(case.fault, case.outage_s)
    crew = Crew(lab, case, namespace, script)

    def start() -> None:
        script.first_version = lab.observer.newest_version
        crew.start()

    stage = Stage(lab.admin, namespace, lab.observer, start, lab.edit)

    def judge() -> list[Violation]:
        evidence = Evidence(lab.observer.history(namespace), datetime.now(UTC), script.last_fault_at, stage.floors, reference)
        return violations(evidence) + crew.complaints

    async with crew.ready():
        try:
            await SCENARIOS[case.scenario](stage)
            found, well_at = await _settle(lab, namespace, script, judge, case.recovery_s, quiet_s)
        except TimeoutError:
            found, well_at = [*judge(), Violation("the scenario goes on", "a step did not come within its deadline")], time.monotonic()
    now = time.monotonic()
    return Outcome(
        case,
        found,
        script.injected,
        now - started,
        max(0.0, well_at - script.last_fault_at) if script.injected else 0.0,
        [each.write for each in script.sent],
        dict(script.watched),
        end_state(lab.observer.history(namespace)),
        crew.log.read_text() if crew.log.exists() else "",
    )


async def _settle(
    lab: Lab, namespace: str, script: Script, judge: Callable[[], list[Violation]], recovery_s: float, quiet_s: float
) -> tuple[list[Violation], float]:
    """Wait until nothing is wrong, and then until nothing is written for `quiet_s`. Violations, and since when all was well."""
    begun, changed = time.monotonic(), lab.observer.changed(namespace)
    well_at: float | None = None
    while True:
        changed.clear()
        found = judge()
        now = time.monotonic()
        deadline = max(begun, script.last_fault_at) + recovery_s
        if any(each.rule in FOR_EVER for each in found):
            await lab.observer.in_step(namespace)
            found = judge()
            if any(each.rule in FOR_EVER for each in found):
                return found, now
        if found or script.under_way or _is_busy(lab.observer.history(namespace)):
            well_at = None
            if now > deadline and not script.under_way:
                return found or [Violation("every run comes to its end", "one has not")], now
        else:
            well_at = now if well_at is None else well_at
            writes = [each.at for each in script.sent if not each.write.role.startswith("election")]
            active_at = max(lab.observer.history(namespace).last_change_at, *writes, begun if not writes else -1.0)
            if now - active_at >= quiet_s:
                return [], well_at
            if now > deadline + quiet_s:
                last = script.sent[-1].write if script.sent else "nothing"
                return [Violation("all is quiet at the end", f"the last write was {last}")], well_at
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await changed.wait()
        await asyncio.sleep(max(0.0, now + LOOK_S - time.monotonic()))  # all gates share this process: looking must not slow them down


def _is_busy(history: History) -> bool:
    """Whether a run has not finished, or a rollout is looked after: quiet, while a pod is at work, is no end."""
    runs, schedules = list(history.living("retrainjobs")), history.living("retrainschedules")
    rollouts = [run.status.get("deployment") or {} for run in runs] + [each.status.get("lastRollback") or {} for each in schedules]
    return any(run.status.get("phase") not in FINISHED for run in runs) or any(each.get("state") in UNDER_WAY for each in rollouts)


class Crew:
    """The operators of one trial: each behind a gate of its own, started again when a fault killed it."""

    def __init__(self, lab: Lab, case: Case, namespace: str, script: Script) -> None:
        self.log = lab.folder / f"{namespace}.log"
        self.complaints: list[Violation] = []
        self._lab, self._case, self._namespace, self._script = lab, case, namespace, script
        self._started = asyncio.Event()

    def start(self) -> None:
        self._started.set()

    @contextlib.asynccontextmanager
    async def ready(self) -> AsyncIterator[None]:
        """Gates are open; SIGKILL at the end."""
        async with contextlib.AsyncExitStack() as stack:
            gates = [
                await stack.enter_async_context(Gate(self._lab.upstream, self._script, number, on_error=self._complain))
                for number in range(self._case.replicas)
            ]
            keepers = [asyncio.create_task(self._keep(gate, number)) for number, gate in enumerate(gates)]
            try:
                yield
            finally:
                for keeper in keepers:
                    keeper.cancel()
                ends = await asyncio.gather(*keepers, return_exceptions=True)
                for gate in gates:
                    if gate.process is not None:
                        gate.process.kill()
        for end in ends:
            if isinstance(end, Exception):
                raise end

    async def _keep(self, gate: Gate, number: int) -> None:
        await self._started.wait()
        name = f"{self._namespace}-{number}"
        flags = ["--http-host", "127.0.0.1", "--http-port", "0", "--namespace", self._namespace, "--log-level", "debug"]
        flags += ["--kubeconfig", str(self._lab.kubeconfig(name, gate.server)), "--lease-namespace", "retrain-system"]
        flags += ["--leader-election" if self._case.election else "--no-leader-election"]
        environment = {"RETRAIN_OPERATOR_LEASE_NAME": self._namespace}
        if isinstance(self._case.fault, AtEvent) and self._case.fault.kind in NEEDS_RESYNC:
            environment |= _SHORTENED
        while True:
            gate.process = await self._lab.zygote.start(flags, log=self.log, environment=environment, bug=self._case.bug)
            await gate.process.ended.wait()
            if not gate.process.was_killed:
                self.complaints.append(Violation("the operator does not end by itself", self.log.read_text()[-500:]))

    def _complain(self, error: BaseException) -> None:
        self.complaints.append(Violation("the harness itself works", repr(error)))
