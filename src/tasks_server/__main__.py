"""`python -m tasks_server` is the command `tasks-server`; the supervisor starts its children this way."""

from tasks_server.cli.main import main

if __name__ == "__main__":
    main()
