"""Handlers: those that every engine has, and the processes in which those of users run."""
