"""What moves tasks: promote, claim, execute, settle, rescue, prune. It decides nothing of its own: rules are the
domain's, memory is the store's, calls are made by a `Caller`.
"""
