"""Names of hosts in other scripts, as the ASCII that they are looked up by (UTS 46, not transitional, and IDNA 2008).

The tables behind it are loaded when the first such name comes. What another spelling of digits and dots turns out to
be (`１２７。０。０。１`) is an address like any other, and judged as one.
"""  # noqa: RUF002

from typing import Final

_UNSURE: Final = "has a host that cannot be turned into ASCII"


def ascii_host(name: str) -> str:
    """The name in ASCII, in lower case where it was not ASCII before; no more is checked of it.

    Raises `ValueError`.

    >>> ascii_host("B\u00fccher.example"), ascii_host("Example.com")
    ('xn--bcher-kva.example', 'Example.com')
    """
    if name.isascii():
        return name
    import idna

    try:
        mapped = idna.uts46_remap(name, std3_rules=True, transitional=False)
        labels = [label if label.isascii() else idna.alabel(label).decode("ascii") for label in mapped.split(".")]
        # What claims to be encoded already must be so, else it would be shown as another name than it is.
        for label in labels:
            if label.startswith("xn--"):
                idna.ulabel(label)
    except UnicodeError:
        raise ValueError(_UNSURE) from None
    return ".".join(labels)
