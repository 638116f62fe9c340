"""The schedule of hosts: nobody is asked too often or too much, nobody keeps others waiting, no job is lost."""

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from facescrape.fetch.hosts import HostQueue


def queue_of(*hosts: str, connections: int = 2, spacing_s: float = 0.0) -> HostQueue[int]:
    """A queue of numbered jobs whose hosts are tuned already."""
    queue: HostQueue[int] = HostQueue()
    for number, host in enumerate(hosts):
        queue.push(host, number)
    for host in set(hosts):
        queue.tune(host, connections, spacing_s)
    return queue


def test_a_host_begins_with_one_connection() -> None:
    queue: HostQueue[int] = HostQueue()
    queue.push("a", 1)
    queue.push("a", 2)
    assert queue.pop(0.0) == ("a", 1)
    assert queue.pop(0.0) is None
    assert queue.wait_s(0.0) is None  # only `done` can change it
    queue.done("a", 0.0)
    assert queue.pop(0.0) == ("a", 2)


def test_connections_are_limited() -> None:
    queue = queue_of("a", "a", "a", connections=2)
    assert [queue.pop(0.0), queue.pop(0.0), queue.pop(0.0)] == [("a", 0), ("a", 1), None]
    queue.done("a", 0.0)
    assert queue.pop(0.0) == ("a", 2)


def test_requests_are_spaced() -> None:
    queue = queue_of("a", "a", "a", spacing_s=0.5)
    assert queue.pop(10.0) == ("a", 0)
    queue.done("a", 10.25)
    assert queue.pop(10.25) is None
    assert queue.wait_s(10.25) == 0.25
    assert queue.pop(10.5) == ("a", 1)
    queue.done("a", 12.0)
    assert queue.pop(12.0) == ("a", 2)


def test_a_job_that_asked_nothing_costs_no_distance() -> None:
    queue = queue_of("a", "a", "a", spacing_s=5.0)
    assert queue.pop(0.0) == ("a", 0)
    queue.done("a", 1.0)
    assert queue.pop(5.0) == ("a", 1)
    queue.done("a", 5.0, unused=5.0)
    assert queue.pop(5.0) == ("a", 2)


def test_a_slow_host_does_not_keep_others_waiting() -> None:
    queue = queue_of("slow", "slow", "quick", "quick", spacing_s=0.0)
    queue.tune("slow", 1, 60.0)
    popped = [queue.pop(0.0) for _ in range(4)]
    assert popped == [("slow", 0), ("quick", 2), ("quick", 3), None]
    for host in ("slow", "quick", "quick"):
        queue.done(host, 1.0)
    assert queue.wait_s(1.0) == 59.0


def test_a_held_host_waits() -> None:
    queue = queue_of("a", "a", "b")
    queue.hold("a", 30.0)
    assert queue.pop(0.0) == ("b", 2)
    assert queue.pop(29.9) is None
    assert queue.pop(30.0) == ("a", 0)


def test_jobs_of_later_let_others_go_before_them() -> None:
    queue = queue_of("a")
    queue.push("a", 7, not_before=3.0)
    queue.push("a", 8, first=True)
    assert [queue.pop(0.0), queue.pop(0.0)] == [("a", 8), ("a", 0)]
    queue.done("a", 0.5)
    queue.done("a", 0.5)
    assert queue.wait_s(1.0) == 2.0
    assert queue.pop(3.0) == ("a", 7)


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from([0.0, 0.0, 1.5, 4.0])), max_size=60),
    st.integers(1, 3),
    st.sampled_from([0.0, 0.25, 1.0]),
    st.sampled_from([0.1, 0.7, 2.0]),
)
def test_all_jobs_come_out_once_and_within_the_limits(
    jobs: list[tuple[str, float]], connections: int, spacing_s: float, lasts_s: float
) -> None:
    queue: HostQueue[int] = HostQueue()
    for number, (host, not_before) in enumerate(jobs):
        queue.push(host, number, not_before=not_before)
    now, running, begun = 0.0, list[tuple[float, str]](), list[tuple[str, int, float]]()
    while queue or running:
        while (popped := queue.pop(now)) is not None:
            host, number = popped
            queue.tune(host, connections, spacing_s)
            begun.append((host, number, now))
            running.append((now + lasts_s, host))
            at_once = Counter(host for _, host in running)
            assert at_once[host] <= connections
            assert now >= jobs[number][1]
        wait_s = queue.wait_s(now)
        ends = [end for end, _ in running]
        times = ends if wait_s is None else [*ends, now + wait_s]
        assert times, "jobs wait and nothing will ever wake them"
        now = min(times)
        for end, host in [entry for entry in running if entry[0] <= now]:
            running.remove((end, host))
            queue.done(host, now)
    assert sorted(number for _, number, _ in begun) == list(range(len(jobs)))
    for host in "abcd":
        times = [at for other, _, at in begun if other == host]
        assert all(after - before >= spacing_s - 1e-9 for before, after in pairwise(times))


def test_hosts_without_jobs_are_forgotten() -> None:
    queue: HostQueue[int] = HostQueue()
    for number in range(1000):
        queue.push(f"host{number}", number)
        host, _ = queue.pop(float(number)) or ("", 0)
        queue.tune(host, 2, 0.2)
        queue.done(host, float(number))
    assert queue.pop(2000.0) is None
    assert len(queue) == 0
    assert queue.hosts == 0
