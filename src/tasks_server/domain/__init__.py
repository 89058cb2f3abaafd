"""What a task is and how it lives: pure rules. No I/O, no asyncio, no clock, no randomness."""
