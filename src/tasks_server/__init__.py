"""Tasks Server: a self-hosted task service. You POST a task; it is stored durably and executed on time."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("tasks-server")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"
