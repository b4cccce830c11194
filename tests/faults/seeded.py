"""For each seeded bug the faults that show it: a harness that finds nothing wrong there would find nothing wrong anywhere."""

from tests.faults.kinds import AtEvent, AtWrite, EventFault, WriteFault
from tests.faults.trial import Case
from tests.faults.writes import Write

_RUN_CREATE = Write("create", "retrainjobs", "run create", 1)
_JOB_CREATE = Write("create", "jobs", "job create", 1)
_DECISION = Write("patch", "retrainschedules", "schedule status decision Run", 1)
_RUNNING = Write("patch", "retrainjobs", "run status Running", 1)
_COMPLETED = Write("patch", "retrainjobs", "run status Completed", 1)
_SLOT_UPDATE = Write("update", "configmaps", "slot update", 1)
_SKIPPED = Write("patch", "retrainjobs", "run status Skipped", 1)

# The bug's module, the rules of the oracle of which one must be broken, and the faults.
SEEDED: dict[str, tuple[set[str], list[Case]]] = {
    "random_run_names": ({"one run per tick"}, [Case("scheduled run", AtWrite(WriteFault.KILL_AFTER, _RUN_CREATE))]),
    "random_job_names": ({"one job per run"}, [Case("scheduled run", AtWrite(WriteFault.KILL_AFTER, _JOB_CREATE))]),
    "no_compare_and_swap": ({"a finished run is final"}, [Case("request during a run", AtWrite(WriteFault.LATE, _RUNNING))]),
    "no_relist_comparison": (
        {"status tells the truth"},
        [Case("job deleted during a run", AtEvent(EventFault.GAP, "jobs", n)) for n in (2, 3, 4)],
    ),
    "edge_triggered": ({"status tells the truth"}, [Case("scheduled run", AtWrite(WriteFault.ERROR, _COMPLETED))]),
    "status_before_create": ({"every tick has one fate"}, [Case("scheduled run", AtWrite(WriteFault.KILL_AFTER, _DECISION))]),
    # The second run goes on instead of being skipped: beside the first one, or after it when the restart took longer than that.
    "guard_in_memory": (
        {"runs do not overlap", "the end is as without faults"},
        [Case("second run by hand", AtWrite(WriteFault.KILL_BEFORE, _SKIPPED))],
    ),
    "slot_without_order": ({"a slot never goes back by itself"}, [Case("late old model")]),
    "rollback_without_hold": ({"the newest good model is live"}, [Case("rollout that hangs")]),
    "slot_without_compare_and_swap": ({"a slot never goes back by itself"}, [Case("rollback", AtWrite(WriteFault.LATE, _SLOT_UPDATE))]),
}
