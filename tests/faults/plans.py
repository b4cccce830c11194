"""Which cases to try, from what the scenarios write and hear without faults."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle

from tests.faults.kinds import CRASHES, ELECTION_FAULTS, RESOURCES, AtEvent, AtWrite, EventFault, WriteFault
from tests.faults.trial import Case, Outcome
from tests.faults.writes import Write

EVENTS_MAX = 6  # of each watch; later ones are like these
LONG_OUTAGE_S = 90.0
_SINGLE = tuple(kind for kind in WriteFault if kind not in ELECTION_FAULTS)
_FOR_EVENTS = (*CRASHES, WriteFault.LOST, WriteFault.ERROR)  # an event may be lost; it must only be in nobody's way
_IN_ALL = ("scheduled run",)  # the scenario that the sample tries with every crash

# A create that arrives when its object was made by the repeat and is deleted: nothing in Kubernetes can tell it from a new one. The
# operator keeps such a name for a while before it deletes what has it. A person who deletes it at once does not.
_GHOSTS = {
    (scenario, WriteFault.LATE, "create") for scenario in ("delete during a run", "run deleted during a run", "job deleted during a run")
}

# A crash would leave no trace at all of a Job that is deleted at once; a long run writes what a short one does.
_ONLY_EVENTS = ("job deleted at once", "long run")

References = Mapping[str, Outcome]


def everything(references: References) -> list[Case]:
    """Every fault at every write and at the first events of every watch; two replicas; a stopped leader; a long outage."""
    cases: list[Case] = []
    for scenario, reference in references.items():
        for write in () if scenario in _ONLY_EVENTS else reference.writes:
            kinds = _FOR_EVENTS if write.is_event else _SINGLE
            cases += [Case(scenario, AtWrite(kind, write)) for kind in kinds]
            if not write.is_event:
                cases += [Case(scenario, AtWrite(kind, write), replicas=2) for kind in CRASHES]
        for resource in RESOURCES:
            for n in range(1, min(EVENTS_MAX, reference.events.get(resource, 0)) + 1):
                cases += [Case(scenario, AtEvent(kind, resource, n)) for kind in EventFault]
    for scenario in ("scheduled run", "tick waits for a run"):
        writes = [write for write in references[scenario].writes if not write.is_event]
        cases += [Case(scenario, AtWrite(WriteFault.STOPPED, write), replicas=2, election=True) for write in writes]
        cases.append(Case(scenario, AtWrite(WriteFault.OUTAGE, writes[0]), outage_s=LONG_OUTAGE_S))
    return [case for case in cases if not _is_ghost(case)]


def sample(references: References) -> list[Case]:
    """Every kind of write and every kind of fault, the first write of each kind with two kinds in turn; every crash of one scenario."""
    cases: dict[Case, None] = {}
    kinds, event_kinds = cycle(_SINGLE), cycle(_FOR_EVENTS)
    for scenario, write in _distinct(references):
        if write.is_event and write.n > 1:
            continue
        for _ in range(1 if write.is_event or write.n > 1 else 2):
            cases[Case(scenario, AtWrite(next(event_kinds if write.is_event else kinds), write))] = None
    for scenario in _IN_ALL:
        writes = [write for write in references[scenario].writes if not write.is_event]
        for write in writes:
            for kind in CRASHES:
                cases[Case(scenario, AtWrite(kind, write))] = None
                cases[Case(scenario, AtWrite(kind, write), replicas=2)] = None
        cases[Case(scenario, AtWrite(WriteFault.STOPPED, writes[0]), replicas=2, election=True)] = None
    for kopf_fails in (EventFault.ERROR_500, EventFault.ERROR_504):
        cases[Case("long run", AtEvent(kopf_fails, "retrainschedules", 1))] = None
    scenarios = cycle(references.items())
    for event_fault, resource in zip(EventFault, cycle(RESOURCES), strict=False):
        scenario, reference = next(each for each in scenarios if each[1].events.get(resource))
        cases[Case(scenario, AtEvent(event_fault, resource, reference.events[resource] // 2 + 1))] = None
    return [case for case in cases if not _is_ghost(case)]


def spread(cases: Sequence[Case], count: int) -> list[Case]:
    """So many of these, with each kind of fault as often as the others, and each kind all over the scenarios and their writes."""
    kinds: defaultdict[str, list[Case]] = defaultdict(list)
    for case in cases:
        kinds[case.kind].append(case)
    chosen: list[Case] = []
    for done, of_kind in enumerate(sorted(kinds.values(), key=len)):  # what a rare kind leaves of its share goes to the others
        wanted = min(len(of_kind), (count - len(chosen)) // (len(kinds) - done))
        first = done / len(kinds)  # not the same writes for each kind
        chosen += [of_kind[int((n + first) * len(of_kind) / wanted)] for n in range(wanted)]
    order = {case: n for n, case in enumerate(cases)}
    return sorted(chosen, key=order.__getitem__)


def _is_ghost(case: Case) -> bool:
    return isinstance(case.fault, AtWrite) and (case.scenario, case.fault.kind, case.fault.write.verb) in _GHOSTS


def _distinct(references: References) -> Iterator[tuple[str, Write]]:
    """Each kind of write once, in the first scenario that has it."""
    seen: set[tuple[str, int]] = set()
    for scenario, reference in references.items():
        for write in () if scenario in _ONLY_EVENTS else reference.writes:
            if (write.role, write.n) not in seen:
                seen.add((write.role, write.n))
                yield scenario, write


def uncovered(references: References, cases: Sequence[Case]) -> set[str]:
    """Kinds of writes and of faults that no case of these has."""
    faults = [case.fault for case in cases]
    roles = {write.role for reference in references.values() for write in reference.writes}
    wanted: set[str] = roles | set(WriteFault) | set(EventFault)
    return wanted - {fault.write.role for fault in faults if isinstance(fault, AtWrite)} - {fault.kind for fault in faults if fault}
