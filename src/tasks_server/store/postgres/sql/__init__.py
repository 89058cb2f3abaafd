"""One statement a file, by the same names as the other adapters where they do the same."""
