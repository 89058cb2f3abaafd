"""Jobs in threads: each ends once whatever stops it and whenever, and threads go on."""

import random
import threading
import time

import pytest

from tasks_server.runner.threads import Job, Threads


class Count:
    """How often each job has ended, and with what."""

    def __init__(self, jobs: int) -> None:
        self.given: list[list[object]] = [[] for _ in range(jobs)]
        self._left = jobs
        self._lock = threading.Lock()
        self.all_ended = threading.Event()

    def end(self, number: int, given: object) -> None:
        with self._lock:
            self.given[number].append(given)
            self._left -= 1
            if not self._left:
                self.all_ended.set()


def jobs_of(count: Count, busy_seconds: float) -> list[Job]:
    def job(number: int) -> Job:
        def run() -> int:
            until = time.monotonic() + busy_seconds
            while time.monotonic() < until:
                sum(range(50))
            return number

        return Job(run, lambda given: count.end(number, given))

    return [job(number) for number in range(len(count.given))]


def test_a_job_gives_what_it_made() -> None:
    count = Count(20)
    threads = Threads()
    for job in jobs_of(count, 0):
        threads.start(job)
    assert count.all_ended.wait(60)
    assert count.given == [[number] for number in range(20)]


def test_a_job_that_was_stopped_before_does_not_begin() -> None:
    count = Count(1)
    (job,) = jobs_of(count, 3600)
    job.stop()
    Threads().start(job)
    assert count.all_ended.wait(60)
    assert count.given == [[None]]


def test_stops_at_any_moment_end_each_job_once() -> None:
    """Stops hit jobs that wait, work, end, or are over, twice and thrice; a thread that died of one would be told of
    by `threading.excepthook`, which fails the test.
    """
    chance = random.Random(17)
    count = Count(400)
    threads = Threads()
    jobs = jobs_of(count, 0.002)
    begun = []
    for job in jobs:
        threads.start(job)
        begun.append(job)
        for _ in range(chance.choice((0, 1, 2))):
            chance.choice(begun[-8:]).stop()
    while not count.all_ended.is_set():
        chance.choice(jobs).stop()
    assert all(given in ([None], [number]) for number, given in enumerate(count.given))
    assert any(given != [None] for given in count.given)
    again = Count(20)
    for job in jobs_of(again, 0):
        threads.start(job)
    assert again.all_ended.wait(60)
    assert again.given == [[number] for number in range(20)]


def test_without_more_threads_jobs_wait_for_those_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    first, others = Count(1), Count(5)
    threads, go = Threads(), threading.Event()
    threads.start(Job(go.wait, lambda given: first.end(0, given)))

    def full(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", full)
        for job in jobs_of(others, 0):
            threads.start(job)
        with pytest.raises(RuntimeError, match="no thread can be started"):
            Threads().start(jobs_of(Count(1), 0)[0])
    go.set()
    assert others.all_ended.wait(60)
    assert others.given == [[number] for number in range(5)]
    more = Count(3)
    for job in jobs_of(more, 0.01):
        threads.start(job)
    assert more.all_ended.wait(60)


def test_a_job_that_raises_ends_and_so_does_the_next() -> None:
    count, threads = Count(2), Threads()

    def fail() -> None:
        raise SystemExit(3)

    threads.start(Job(fail, lambda given: count.end(0, given)))
    threads.start(Job(lambda: 1, lambda given: count.end(1, given)))
    assert count.all_ended.wait(60)
    assert count.given == [[None], [1]]
