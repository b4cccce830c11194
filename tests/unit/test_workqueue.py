"""Each key at most once, never by two workers at a time, what makes a Job first."""

import asyncio

from retrain_operator.api.names import Key
from retrain_operator.reconcile.workqueue import Item, Kind, Urgency, WorkQueue


def item(name: str) -> Item:
    return Item(Kind.RUN, Key("ml", name))


A, B, C = item("a"), item("b"), item("c")


async def drain(queue: WorkQueue) -> list[str]:
    taken = []
    while len(queue):
        each = await queue.take()
        queue.done(each)
        taken.append(each.key.name)
    return taken


async def test_items_come_in_the_order_in_which_they_were_added() -> None:
    queue = WorkQueue()
    for each in (B, A, C):
        queue.add(each)
    assert await drain(queue) == ["b", "a", "c"]


async def test_adding_an_item_that_waits_changes_nothing() -> None:
    queue = WorkQueue()
    for each in (A, B, A, A):
        queue.add(each)
    assert len(queue) == 2
    assert await drain(queue) == ["a", "b"]


async def test_schedule_and_run_of_one_name_are_two_items() -> None:
    queue = WorkQueue()
    queue.add(A)
    queue.add(Item(Kind.SCHEDULE, A.key))
    assert len(queue) == 2


async def test_urgent_items_come_first_each_lane_in_order() -> None:
    queue = WorkQueue()
    queue.add(A)
    queue.add(B, Urgency.DUE)
    queue.add(C, Urgency.DUE)
    assert await drain(queue) == ["b", "c", "a"]


async def test_what_makes_a_job_comes_before_what_is_due() -> None:
    queue = WorkQueue()
    for each, urgency in ((A, Urgency.LATER), (B, Urgency.DUE), (C, Urgency.START)):
        queue.add(each, urgency)
    assert await drain(queue) == ["c", "b", "a"]


async def test_it_is_calm_when_nothing_urgent_waits_in_whatever_lane_it_came() -> None:
    queue = WorkQueue()
    queue.add(A)
    await queue.calm()
    queue.add(A, Urgency.DUE)
    queue.add(A, Urgency.START)
    calm = asyncio.ensure_future(queue.calm())
    await asyncio.sleep(0)
    assert not calm.done()
    queue.add(B)
    assert await queue.take() == A
    await calm
    assert await queue.take() == B


async def test_item_that_was_added_while_taken_waits_as_urgently_as_it_was_ever_added() -> None:
    queue = WorkQueue()
    queue.add(A)
    assert await queue.take() == A
    queue.add(A, Urgency.DUE)
    queue.add(A)
    queue.add(B)
    queue.done(A)
    assert await drain(queue) == ["a", "b"]


async def test_item_that_waits_and_becomes_urgent_moves_and_comes_once() -> None:
    queue = WorkQueue()
    for each in (A, B):
        queue.add(each)
    queue.add(B, Urgency.DUE)
    assert await drain(queue) == ["b", "a"]


async def test_urgent_item_stays_urgent_when_added_without_urgency() -> None:
    queue = WorkQueue()
    queue.add(A)
    queue.add(B, Urgency.DUE)
    queue.add(B)
    assert await drain(queue) == ["b", "a"]


async def test_item_that_changed_lanes_may_come_back_behind_others() -> None:
    queue = WorkQueue()
    queue.add(A)
    queue.add(A, Urgency.DUE)
    assert await queue.take() == A
    queue.done(A)
    queue.add(B)
    queue.add(A)
    assert sorted(await drain(queue)) == ["a", "b"]


async def test_what_was_taken_is_active_until_it_is_done() -> None:
    queue = WorkQueue()
    for each in (A, B):
        queue.add(each)
    assert (len(queue), queue.active) == (2, 0)
    assert await queue.take() == A
    assert (len(queue), queue.active) == (1, 1)
    queue.done(A)
    assert (len(queue), queue.active) == (1, 0)


async def test_item_added_while_it_is_looked_at_is_looked_at_once_more_afterwards() -> None:
    queue = WorkQueue()
    queue.add(A)
    assert await queue.take() == A
    queue.add(A)
    queue.add(A)
    queue.add(B)
    assert len(queue) == 2
    assert await queue.take() == B, "nobody else may take it meanwhile"
    queue.done(B)
    queue.done(A)
    assert await drain(queue) == ["a"]


async def test_urgency_of_an_item_that_is_looked_at_is_kept() -> None:
    queue = WorkQueue()
    queue.add(A)
    await queue.take()
    queue.add(B)
    queue.add(A, Urgency.DUE)
    queue.add(A)
    queue.done(A)
    assert await drain(queue) == ["a", "b"]


async def test_workers_that_wait_share_what_comes() -> None:
    queue, seen = WorkQueue(), set()

    async def work() -> None:
        while True:
            each = await queue.take()
            assert each not in seen
            seen.add(each)
            await asyncio.sleep(0)
            queue.done(each)

    async with asyncio.TaskGroup() as tasks:
        workers = [tasks.create_task(work()) for _ in range(4)]
        await asyncio.sleep(0)
        for number in range(20):
            queue.add(item(str(number)))
        await queue.join()
        for worker in workers:
            worker.cancel()
    assert len(seen) == 20


async def test_one_item_is_never_looked_at_by_two_workers() -> None:
    queue, looking, looks = WorkQueue(), set(), 0

    async def work() -> None:
        nonlocal looks
        while True:
            each = await queue.take()
            assert each not in looking
            looking.add(each)
            looks += 1
            await asyncio.sleep(0)
            looking.discard(each)
            queue.done(each)

    async with asyncio.TaskGroup() as tasks:
        workers = [tasks.create_task(work()) for _ in range(4)]
        for _ in range(10):
            queue.add(A)
            await asyncio.sleep(0)
        await queue.join()
        for worker in workers:
            worker.cancel()
    assert looks > 1


async def test_join_waits_for_what_waits_and_for_what_is_looked_at() -> None:
    queue = WorkQueue()
    await queue.join()
    queue.add(A)
    joined = asyncio.ensure_future(queue.join())
    await asyncio.sleep(0)
    assert not joined.done()
    await queue.take()
    await asyncio.sleep(0)
    assert not joined.done()
    queue.add(A)
    queue.done(A)
    await asyncio.sleep(0)
    assert not joined.done(), "it was added again while it was looked at"
    await queue.take()
    queue.done(A)
    await joined
