"""Jobs in threads: each ends once whatever stops it and whenever, and threads go on."""

import random
import threading
import time

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
