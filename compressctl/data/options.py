"""The `key=value` options of a data notation, each read once by the source that knows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from compressctl.errors import UsageError, nearest


class Options:
    """Options as text, converted on request; `finish` refuses the ones that nobody asked for.

    Args:
        notation: the notation they stand in, for error messages.
        values: the options as written.
    """

    def __init__(self, notation: str, values: Mapping[str, str]) -> None:
        self.notation = notation
        self._values = dict(values)
        self._known: list[str] = []

    def all(self) -> dict[str, str]:
        """Return every option, for a source that takes any."""
        self._known += self._values
        return dict(self._values)

    def has(self, key: str) -> bool:
        """Return whether `key` is given; that alone does not make it known."""
        return key in self._values

    def text(self, key: str) -> str | None:
        """Return the value of `key`, or None where it is not given."""
        self._known.append(key)
        return self._values.get(key)

    def choice(self, key: str, choices: Sequence[str]) -> str | None:
        """Return the value of `key`, which must be one of `choices`.

        Raises:
            UsageError: it is not.
        """
        value = self.text(key)
        if value is not None and value not in choices:
            raise self.error(key, f"one of {', '.join(choices)}", value, choices)
        return value

    def flag(self, key: str) -> bool:
        """Return whether `key` is `true`; it is false where it is not given.

        Raises:
            UsageError: the value is neither true nor false.
        """
        return self.choice(key, ("true", "false")) == "true"

    def numbers(self, key: str) -> tuple[float, ...] | None:
        """Return the numbers of `key`, written with `/` between them.

        Raises:
            UsageError: one of them is not a finite number.
        """
        value = self.text(key)
        if value is None:
            return None
        try:
            numbers = tuple(float(word) for word in value.split("/"))
        except ValueError:
            numbers = ()
        if not numbers or not all(abs(number) < float("inf") for number in numbers):
            raise self.error(key, "numbers with / between them", value)
        return numbers

    def size(self, key: str) -> int | None:
        """Return the whole number of `key`, at least 1.

        Raises:
            UsageError: the value is not one.
        """
        value = self.text(key)
        if value is None:
            return None
        size = parse_size(value)
        if size is None:
            raise self.error(key, "a whole number from 1", value)
        return size

    def natural(self, key: str) -> int | None:
        """Return the whole number of `key`, which may be 0.

        Raises:
            UsageError: the value is not one.
        """
        return 0 if self.text(key) == "0" else self.size(key)

    def error(self, key: str, wanted: str, value: str, choices: Sequence[str] = ()) -> UsageError:
        """Return the error for a value of `key` that is not what is wanted."""
        return UsageError(f"data {self.notation!r}: {key}={value}: {wanted} is wanted", nearest(value, choices))

    def finish(self) -> None:
        """Refuse options that no source asked for.

        Raises:
            UsageError: names the first one and the nearest known one.
        """
        for key in self._values:
            if key not in self._known:
                known = ", ".join(dict.fromkeys(self._known)) or "none"
                hint = nearest(key, self._known) or f"it takes {known}"
                raise UsageError(f"data {self.notation!r}: unknown option {key!r}", hint)


def parse_size(text: str) -> int | None:
    """Return a whole number from 1 to 10^9, or None if the text is not one."""
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        return None
    return int(text) or None
