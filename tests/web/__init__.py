"""The pages, over a real store in memory, spoken to through ASGI; and in a real browser where there is one."""
