"""The command line: reads words, calls the services, prints. No rules live here."""
