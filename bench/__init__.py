"""Benchmarks: each module named in `python -m bench --list` measures one thing and prints its result as JSON.

The product runs as users run it (`tasks-server serve` on a file, fsync on, everything recorded); the load comes from
wrk or from a client at a fixed rate, the target is nginx or a receiver of our own, and the target's log is the judge.
See `bench/README.md`.
"""
