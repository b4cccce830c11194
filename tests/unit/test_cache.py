"""What is known of the cluster, however events, lists and answers arrive."""

import itertools
from typing import Any

import pytest
from tests.builders import SCHEDULE, SCHEDULE_UID, owner, run_metadata, tick_name

from retrain_operator.api.names import Key
from retrain_operator.cluster.protocol import JOBS, RUNS, SCHEDULES
from retrain_operator.manifests.runs import manual_run_name
from retrain_operator.reconcile import cache as cache_module
from retrain_operator.reconcile.cache import Cache
from retrain_operator.reconcile.workqueue import Item, Kind

NAME = tick_name("12:00")
RUN, CHURN = Key("ml", NAME), Key("ml", SCHEDULE)
Body = dict[str, Any]


def body(name: str, uid: str, version: int, *, spec: Any = None, status: Any = None, **metadata: Any) -> Body:
    meta = {"namespace": "ml", "name": name, "uid": uid, "resourceVersion": str(version), "generation": 1}
    return {"metadata": meta | {"creationTimestamp": "2026-03-02T12:00:01Z"} | metadata, "spec": spec or {}, "status": status or {}}


def a_schedule(version: int = 1, uid: str = SCHEDULE_UID, **fields: Any) -> Body:
    return body(SCHEDULE, uid, version, **fields)


def a_run(
    version: int = 1, phase: str = "Pending", uid: str = "run", name: str = NAME, schedule: str | None = SCHEDULE, **metadata: Any
) -> Body:
    finished = {"completionTime": "2026-03-02T12:03:00Z"} if phase in ("Completed", "Failed", "Skipped") else {}
    spec = {"schedule": schedule} if schedule else {}
    return body(name, uid, version, spec=spec, status={"phase": phase, "observedGeneration": 1} | finished, **metadata)


def a_job(
    version: int = 1, uid: str = "job", run: str = "run", *, ready: int = 0, ended: bool = False, guard: str | None = None, name: str = NAME
) -> Body:
    status: Body = {"ready": ready} | ({"conditions": [{"type": "Complete", "status": "True"}]} if ended else {})
    labels = {"retrain.dev/guard": guard} if guard else {}
    return body(name, uid, version, status=status, labels=labels, ownerReferences=[owner("RetrainJob", name, run)])


def items(found: list[Item]) -> list[str]:
    return sorted(f"{item.kind} {item.key.name}" for item in found)


LOOK_AT_BOTH = [f"run {NAME}", f"schedule {SCHEDULE}"]


@pytest.fixture
def now() -> list[float]:
    return [0.0]


@pytest.fixture
def cache(now: list[float]) -> Cache:
    return Cache(lambda: now[0])


class TestSchedules:
    def test_new_and_changed_are_looked_at(self, cache: Cache) -> None:
        assert items(cache.put(SCHEDULES, a_schedule(1))) == [f"schedule {SCHEDULE}"]
        assert items(cache.put(SCHEDULES, a_schedule(2))) == [f"schedule {SCHEDULE}"]

    def test_the_same_and_the_older_change_nothing(self, cache: Cache) -> None:
        cache.put(SCHEDULES, a_schedule(5, spec={"new": 1}))
        assert cache.put(SCHEDULES, a_schedule(5, spec={"new": 1})) == []
        assert cache.put(SCHEDULES, a_schedule(4)) == []
        assert b"new" in cache.schedules[CHURN].raw

    @pytest.mark.parametrize(("decided", "is_told"), [("2026-03-02T12:00:00Z", True), ("2026-03-02T11:59:00Z", False)])
    def test_a_run_that_is_gone_stays_in_mind_until_its_tick_is_told_of(self, cache: Cache, decided: str, is_told: bool) -> None:
        cache.put(SCHEDULES, a_schedule(1))
        made = a_run(2, ownerReferences=[owner("RetrainSchedule", SCHEDULE, SCHEDULE_UID)])
        made["spec"]["scheduledTime"] = "2026-03-02T12:00:00Z"
        cache.put(RUNS, made)
        cache.remove(RUNS, RUN, "run")
        assert [run.name for run in cache.untold(CHURN)] == [NAME]
        # By a clock that was set back the tick is not due yet.
        cache.put(SCHEDULES, a_schedule(3, status={"decidedThrough": decided}))
        assert [run.name for run in cache.untold(CHURN)] == ([] if is_told else [NAME])

    def test_resource_versions_compare_as_numbers(self, cache: Cache) -> None:
        cache.put(SCHEDULES, a_schedule(9))
        cache.put(SCHEDULES, a_schedule(10))
        assert cache.schedules[CHURN].version == 10

    def test_deleted_stays_deleted_when_a_late_event_shows_it_alive(self, cache: Cache) -> None:
        cache.put(SCHEDULES, a_schedule(5))
        assert items(cache.remove(SCHEDULES, CHURN, SCHEDULE_UID)) == [f"schedule {SCHEDULE}"]
        assert cache.put(SCHEDULES, a_schedule(6)) == []
        assert cache.schedules == {}

    def test_deletion_of_an_earlier_one_of_the_name_does_not_hit_its_successor(self, cache: Cache) -> None:
        cache.put(SCHEDULES, a_schedule(5, uid="new"))
        cache.remove(SCHEDULES, CHURN, "old")
        assert cache.schedules[CHURN].uid == "new"

    def test_memory_of_deletions_is_bounded(self, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cache_module, "TOMBSTONES_MAX", 2)
        for uid in ("a", "b", "c"):
            cache.remove(SCHEDULES, CHURN, uid)
        late = {uid: bool(cache.put(SCHEDULES, a_schedule(5, uid=uid))) for uid in ("b", "c", "a")}
        assert late == {"b": False, "c": False, "a": True}


class TestRuns:
    def test_new_one_concerns_itself_and_its_schedule(self, cache: Cache) -> None:
        assert items(cache.put(RUNS, a_run())) == LOOK_AT_BOTH
        assert [run.name for run in cache.runs_of(CHURN)] == [NAME]

    def test_change_that_its_schedule_does_not_read_concerns_itself_only(self, cache: Cache) -> None:
        cache.put(RUNS, a_run(1))
        assert items(cache.put(RUNS, a_run(2))) == [f"run {NAME}"]

    def test_late_event_does_not_put_it_back(self, cache: Cache) -> None:
        cache.put(RUNS, a_run(2, "Completed"))
        assert cache.put(RUNS, a_run(1, "Running")) == []
        assert cache.runs_of(CHURN)[0].is_finished

    def test_finished_one_concerns_its_schedule_and_is_kept_without_its_body(self, cache: Cache) -> None:
        cache.put(RUNS, a_run(1))
        assert items(cache.put(RUNS, a_run(2, "Completed"))) == [f"schedule {SCHEDULE}"]
        assert cache.runs[RUN].raw is None
        assert [str(item) for item in cache.everything()] == []

    def test_finished_one_with_an_edit_to_acknowledge_is_looked_at(self, cache: Cache) -> None:
        assert items(cache.put(RUNS, a_run(2, "Completed", generation=2))) == LOOK_AT_BOTH
        assert cache.runs[RUN].raw is not None

    def test_run_of_no_schedule_with_a_ticks_name_is_known_to_that_schedule(self, cache: Cache) -> None:
        cache.put(RUNS, a_run(schedule=None))
        assert [run.schedule for run in cache.runs_of(CHURN)] == [None]

    def test_run_of_no_schedule_with_a_requests_name_is_known_to_that_schedule(self, cache: Cache) -> None:
        cache.put(RUNS, a_run(name=manual_run_name("churn", "token"), schedule=None))
        assert [run.schedule for run in cache.runs_of(CHURN)] == [None]

    def test_run_of_another_schedule_with_a_ticks_name_is_known_to_both(self, cache: Cache) -> None:
        cache.put(RUNS, a_run(schedule="other"))
        assert cache.runs_of(CHURN) == cache.runs_of(Key("ml", "other")) != ()

    def test_schedules_whose_names_end_in_numbers_are_told_apart(self, cache: Cache) -> None:
        cache.put(RUNS, a_run(name="churn-1-29540880", schedule="churn-1"))
        assert cache.runs_of(CHURN) == ()
        assert len(cache.runs_of(Key("ml", "churn-1"))) == 1

    def test_namespaces_are_told_apart(self, cache: Cache) -> None:
        cache.put(RUNS, a_run())
        assert cache.runs_of(Key("other", SCHEDULE)) == ()

    def test_deleted_one_is_gone_from_its_schedule(self, cache: Cache) -> None:
        cache.put(RUNS, a_run())
        assert items(cache.remove(RUNS, RUN, "run")) == LOOK_AT_BOTH
        assert cache.runs_of(CHURN) == ()
        assert cache.remove(RUNS, RUN, "run") == []

    def test_finished_one_that_is_being_deleted_is_as_good_as_gone(self, cache: Cache) -> None:
        cache.put(RUNS, a_run(1))
        gone = a_run(2, "Completed", deletionTimestamp="2026-03-02T12:05:00Z")
        assert items(cache.put(RUNS, gone)) == [f"schedule {SCHEDULE}"]
        assert ([run.gone for run in cache.runs_of(CHURN)], [*cache.everything()]) == ([True], [])

    def test_unfinished_one_that_is_being_deleted_is_still_in_the_way(self, cache: Cache) -> None:
        cache.put(RUNS, a_run(1, "Running", deletionTimestamp="2026-03-02T12:05:00Z"))
        assert len(cache.runs_of(CHURN)) == 1

    def test_successor_of_the_name_replaces_one_whose_deletion_was_not_told(self, cache: Cache) -> None:
        cache.put(RUNS, a_run(1, schedule="other", name="hand"))
        found = cache.put(RUNS, a_run(2, uid="new", schedule=SCHEDULE, name="hand"))
        assert items(found) == ["run hand", "run hand", f"schedule {SCHEDULE}", "schedule other"]
        assert cache.runs_of(Key("ml", "other")) == ()
        assert cache.put(RUNS, a_run(3, schedule="other", name="hand")) == [], "the old one is known to be gone"
        cache.remove(RUNS, Key("ml", "hand"), "run")
        cache.remove(RUNS, Key("ml", "hand"), "new")
        assert (cache.runs_of(CHURN), cache.runs_of(Key("ml", "other"))) == ((), ())


class TestJobs:
    def test_new_and_changed_concern_their_run(self, cache: Cache) -> None:
        cache.put(RUNS, a_run())
        assert items(cache.put(JOBS, a_job(1))) == [f"run {NAME}"]
        assert items(cache.put(JOBS, a_job(2, ready=1))) == [f"run {NAME}"]

    def test_change_that_no_rule_reads_concerns_nobody(self, cache: Cache) -> None:
        cache.put(JOBS, a_job(1))
        assert cache.put(JOBS, a_job(2)) == []

    def test_late_event_does_not_put_it_back(self, cache: Cache) -> None:
        cache.put(JOBS, a_job(2, ready=1))
        assert cache.put(JOBS, a_job(1)) == []
        assert cache.jobs[RUN].state.ready == 1

    def test_ended_with_its_run_it_is_not_kept(self, cache: Cache) -> None:
        cache.put(RUNS, a_run(1))
        cache.put(JOBS, a_job(1, ended=True))
        cache.put(RUNS, a_run(2, "Completed"))
        assert cache.jobs == {}
        assert cache.put(JOBS, a_job(2, ended=True)) == []
        assert cache.jobs == {}

    def test_one_whose_end_is_told_after_its_runs_is_forgotten_then(self, cache: Cache) -> None:
        cache.put(RUNS, a_run(1))
        cache.put(JOBS, a_job(1))
        cache.put(RUNS, a_run(2, "Completed"))
        assert cache.put(JOBS, a_job(2, ended=True)) == []
        assert cache.jobs == {}

    def test_one_that_goes_on_after_the_end_of_its_run_is_looked_at(self, cache: Cache) -> None:
        cache.put(RUNS, a_run(1, "Skipped"))
        assert items(cache.put(JOBS, a_job(2))) == [f"run {NAME}"]
        late = cache.late_job(RUN)
        assert late is not None
        assert late.uid == "job"
        assert cache.remove(JOBS, RUN, "job") == []
        assert (cache.jobs, cache.late_job(RUN)) == ({}, None)

    def test_the_job_of_an_unfinished_run_is_not_late(self, cache: Cache) -> None:
        cache.put(RUNS, a_run(1, "Running"))
        cache.put(JOBS, a_job(2))
        assert cache.late_job(RUN) is None

    def test_deleted_while_its_run_goes_it_is_remembered_as_deleted(self, cache: Cache) -> None:
        cache.put(RUNS, a_run())
        cache.put(JOBS, a_job(1, ready=1))
        assert items(cache.remove(JOBS, RUN, "job")) == [f"run {NAME}"]
        assert (cache.jobs[RUN].state.deleted, cache.jobs[RUN].state.ready) == (True, 1)
        assert cache.put(JOBS, a_job(2)) == [], "a late event does not bring it back"

    def test_deletion_of_an_earlier_job_of_the_name_does_not_hit_its_successor(self, cache: Cache) -> None:
        cache.put(RUNS, a_run())
        cache.put(JOBS, a_job(1, uid="new"))
        assert cache.remove(JOBS, RUN, "old") == []
        assert not cache.jobs[RUN].state.deleted

    def test_deleted_with_its_run_gone_it_is_forgotten(self, cache: Cache) -> None:
        cache.put(JOBS, a_job())
        assert cache.remove(JOBS, RUN, "job") == []
        assert cache.jobs == {}

    def test_it_outlives_its_run_until_its_own_end_is_told(self, cache: Cache) -> None:
        cache.put(RUNS, a_run())
        cache.put(JOBS, a_job(guard="g"))
        cache.remove(RUNS, RUN, "run")
        assert cache.has_other_job(run_metadata(uid="another"), "g")
        cache.remove(JOBS, RUN, "job")
        assert cache.jobs == {}

    @pytest.mark.parametrize("ended", [pytest.param(True, id="ended"), pytest.param(False, id="deleted")])
    def test_gone_before_its_run_it_goes_with_it(self, cache: Cache, ended: bool) -> None:
        cache.put(RUNS, a_run())
        cache.put(JOBS, a_job(ended=ended))
        if not ended:
            cache.remove(JOBS, RUN, "job")
        cache.remove(RUNS, RUN, "run")
        assert cache.jobs == {}

    def test_job_of_a_younger_run_of_the_name_outlives_the_late_end_of_the_elder(self, cache: Cache) -> None:
        cache.put(RUNS, a_run(1))
        cache.put(JOBS, a_job(9, uid="new-job", run="new"))
        cache.put(RUNS, a_run(2, "Failed"))
        cache.put(JOBS, a_job(10, uid="new-job", run="new", ready=1))
        cache.remove(RUNS, RUN, "run")
        cache.put(RUNS, a_run(8, uid="new"))
        assert cache.jobs[RUN].state.ready == 1


class TestGuard:
    """Which Jobs are known to stand in the way of a run that finds no Lease."""

    ME = run_metadata()

    def test_an_unfinished_job_of_the_guard_does(self, cache: Cache) -> None:
        cache.put(JOBS, a_job(1, guard="g"))
        assert cache.has_other_job(self.ME, "g")

    @pytest.mark.parametrize(
        "job",
        [
            pytest.param(a_job(2, guard="other"), id="of another guard"),
            pytest.param(a_job(2), id="of none"),
            pytest.param(a_job(2, guard="g", ended=True), id="ended"),
            pytest.param(a_job(2, guard="g", run=ME.uid), id="the run's own"),
            pytest.param(a_job(2, guard="g") | {"metadata": a_job(2, guard="g")["metadata"] | {"namespace": "other"}}, id="elsewhere"),
        ],
    )
    def test_nothing_else_does(self, cache: Cache, job: Body) -> None:
        cache.put(JOBS, job)
        assert not cache.has_other_job(self.ME, "g")

    def test_no_longer_once_it_has_ended_or_is_gone(self, cache: Cache) -> None:
        cache.put(RUNS, a_run(1))
        cache.put(RUNS, a_run(1, uid="b", name="b"))
        cache.put(JOBS, a_job(2, guard="g"))
        cache.put(JOBS, a_job(2, uid="job-b", run="b", guard="g", name="b"))
        cache.put(JOBS, a_job(3, guard="g", ended=True))
        assert cache.has_other_job(self.ME, "g")
        cache.remove(JOBS, Key("ml", "b"), "job-b")
        assert not cache.has_other_job(self.ME, "g")

    def test_names_are_found_by_uid(self, cache: Cache) -> None:
        cache.put(RUNS, a_run(1))
        assert (cache.name_of("run"), cache.name_of("gone")) == (NAME, None)


def that_replaces(name: str, replaced: str | None, version: int = 1, phase: str = "Pending", *, suspend: bool = False) -> Body:
    made = a_run(version, phase, uid=f"uid-{name}", name=name, schedule=None)
    return made | {"spec": {"replaces": replaced, "suspend": suspend}} if replaced else made


class TestReplacements:
    A, B, C = (Key("ml", name) for name in "abc")

    def put(self, cache: Cache, *runs: Body) -> list[str]:
        return [item for run in runs for item in items(cache.put(RUNS, run))]

    def ends(self, cache: Cache) -> tuple[str | None, ...]:
        """By what a and b are replaced, and what b and c wait for."""
        return *(map(cache.replacements.of, (self.A, self.B))), *(map(cache.replacements.replaces_unfinished, (self.B, self.C)))

    def test_a_replacement_concerns_both(self, cache: Cache) -> None:
        self.put(cache, that_replaces("a", None))
        assert self.put(cache, that_replaces("b", "a")) == ["run a", "run b"]
        assert self.ends(cache) == ("b", None, "a", None)
        assert self.put(cache, that_replaces("a", None, 2, "Failed")) == ["run b"]
        assert self.ends(cache)[2] is None, "the way is free"

    def test_it_may_be_told_first(self, cache: Cache) -> None:
        self.put(cache, that_replaces("b", "a"), that_replaces("a", None))
        assert self.ends(cache) == ("b", None, "a", None)

    def test_what_does_not_exist_is_not_waited_for(self, cache: Cache) -> None:
        self.put(cache, that_replaces("b", "a"))
        assert self.ends(cache) == ("b", None, None, None)

    def test_a_finished_one_replaces_nothing(self, cache: Cache) -> None:
        self.put(cache, that_replaces("a", None), that_replaces("b", "a", 1, "Skipped"))
        assert self.ends(cache)[0] is None

    def test_one_that_is_held_ends_nothing_until_it_may_go_on(self, cache: Cache) -> None:
        self.put(cache, that_replaces("a", None), that_replaces("b", "a", suspend=True))
        assert self.ends(cache)[0] is None
        assert self.put(cache, that_replaces("b", "a", 2)) == ["run a", "run b"]
        assert self.ends(cache)[0] == "b"

    def test_what_replaces_one_that_is_held_ends_both(self, cache: Cache) -> None:
        self.put(cache, that_replaces("a", None), that_replaces("b", "a", suspend=True), that_replaces("c", "b"))
        assert self.ends(cache) == ("c", "c", "a", "b")

    def test_of_two_the_other_still_counts_when_one_is_gone(self, cache: Cache) -> None:
        self.put(cache, that_replaces("a", None), that_replaces("b", "a"), that_replaces("c", "a"))
        cache.remove(RUNS, self.C, "uid-c")
        assert self.ends(cache)[0] == "b"
        self.put(cache, that_replaces("c", "a", 2, "Failed") | {})
        assert self.ends(cache)[0] == "b"

    def test_a_chain_waits_for_its_first_link(self, cache: Cache) -> None:
        self.put(cache, that_replaces("a", None), that_replaces("b", "a"), that_replaces("c", "b"))
        assert self.ends(cache) == ("b", "c", "a", "b")
        assert self.put(cache, that_replaces("b", "a", 2, "Failed")) == ["run a", "run c"]
        assert self.ends(cache) == ("c", "c", "a", "a"), "b never started; what it waited for is still being ended"
        assert self.put(cache, that_replaces("a", None, 2, "Failed")) == ["run b", "run c"]
        assert self.ends(cache)[3] is None

    def test_a_circle_ends(self, cache: Cache) -> None:
        self.put(cache, that_replaces("a", "b"), that_replaces("b", "a"), that_replaces("c", "c"))
        assert self.ends(cache) == ("b", "a", "a", "c")
        assert cache.replacements.of(self.C) == "c"


@pytest.mark.parametrize(
    ("run", "looked_at"),
    [
        pytest.param(that_replaces("hand", None, 1, "Completed") | {"spec": {"ttlSecondsAfterFinished": 5}}, True, id="made by hand"),
        pytest.param(
            that_replaces("hand", None, 1, "Completed") | {"spec": {"ttlSecondsAfterFinished": 5, "schedule": SCHEDULE}},
            True,
            id="made by hand for a schedule, which deletes only what it made",
        ),
        pytest.param(
            a_run(1, "Completed", ownerReferences=[owner("RetrainSchedule", SCHEDULE, SCHEDULE_UID)])
            | {"spec": {"ttlSecondsAfterFinished": 5}},
            False,
            id="made by a schedule, which deletes it",
        ),
        pytest.param(a_run(1, "Completed"), False, id="without a time to live"),
    ],
)
def test_a_finished_run_is_looked_at_when_it_ends_its_own_life(cache: Cache, run: Body, looked_at: bool) -> None:
    cache.put(RUNS, run)
    assert (len(list(cache.everything())) == 1) is looked_at


class TestAge:
    def test_is_without_end_for_what_was_never_seen(self, cache: Cache) -> None:
        assert cache.age_s(SCHEDULES, CHURN) == float("inf")

    def test_counts_from_the_last_sight_of_the_object(self, cache: Cache, now: list[float]) -> None:
        cache.put(SCHEDULES, a_schedule())
        now[0] = 40.0
        assert cache.age_s(SCHEDULES, CHURN) == 40.0
        cache.put(SCHEDULES, a_schedule())
        assert cache.age_s(SCHEDULES, CHURN) == 0.0

    def test_older_state_confirms_nothing(self, cache: Cache, now: list[float]) -> None:
        cache.put(SCHEDULES, a_schedule(5))
        now[0] = 40.0
        cache.put(SCHEDULES, a_schedule(4))
        assert cache.age_s(SCHEDULES, CHURN) == 40.0


def test_known_is_what_a_list_is_compared_with(cache: Cache) -> None:
    cache.put(SCHEDULES, a_schedule(5))
    cache.put(RUNS, a_run(6))
    assert cache.known(SCHEDULES) == {CHURN: (SCHEDULE_UID, 5)}
    assert cache.known(RUNS) == {RUN: ("run", 6)}


def test_everything_is_what_may_need_a_decision(cache: Cache) -> None:
    cache.put(SCHEDULES, a_schedule())
    cache.put(RUNS, a_run(1))
    cache.put(RUNS, a_run(2, "Completed", uid="b", name="done"))
    assert set(cache.everything()) == {Item(Kind.SCHEDULE, CHURN), Item(Kind.RUN, RUN)}


STORY = [
    (RUNS, a_run(1)),
    (JOBS, a_job(2)),
    (JOBS, a_job(3, ready=1)),
    (RUNS, a_run(4, "Running")),
    (JOBS, a_job(5, ended=True)),
    (RUNS, a_run(6, "Completed")),
]


def test_state_does_not_depend_on_the_order_in_which_it_was_told() -> None:
    told_in_order = [
        order
        for order in itertools.permutations(STORY)
        if [body for kind, body in order if kind is JOBS] == [body for kind, body in STORY if kind is JOBS]
    ]  # one watch tells in order; the two of runs and of Jobs are not in step
    for order in told_in_order:
        cache = Cache(lambda: 0.0)
        for resource, told in order:
            cache.put(resource, told)
            cache.put(resource, told)
        [child] = cache.runs_of(CHURN)
        assert (child.phase, cache.jobs, cache.runs[RUN].version) == ("Completed", {}, 6)
