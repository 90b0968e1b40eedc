"""Who is at work, as stores are told."""

import os
import platform
from functools import cache

_LONGEST = 63
"""PostgreSQL cuts an `application_name` that has more bytes."""


@cache
def client_name() -> str:
    """`thermocline USER@HOST`: the program, the user of the operating system, and the machine, in plain ASCII."""
    name = f"thermocline {_user()}@{platform.node()}"
    return name.encode("ascii", "replace").decode()[:_LONGEST]


def _user() -> str:
    """Who the operating system says it is; variables such as USER could say anything."""
    try:
        import pwd  # noqa: PLC0415  # not on Windows

        return pwd.getpwuid(os.getuid()).pw_name
    except ImportError:
        return os.getlogin()
    except KeyError:
        # A container may run as a number that has no name.
        return str(os.getuid())
