"""When exchanges trade."""

from typing import TYPE_CHECKING, Protocol

from thermocline.model.partition import DayRange

if TYPE_CHECKING:
    from thermocline.model.sessions import Sessions


class Calendars(Protocol):
    """Trading calendars by name."""

    def sessions(self, name: str, days: DayRange) -> "Sessions":
        """The sessions that touch those days, and perhaps some before and after; `days` of it says what is known.

        Raises:
            SettingsError: No calendar is called so.
        """
        ...
