"""The dashboard: pages over the services, for people. Pages hold no rules of their own: they ask the services, as the
API does, and speak its words. Nothing here asks the store.
"""
