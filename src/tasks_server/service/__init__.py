"""Use cases, and the only door for those who face people: the API, the command line. Rules are the domain's, memory
is the store's.
"""
