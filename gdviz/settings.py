"""Settings: one declaration of range, symbol and meaning, at the field and nowhere else.

A frozen dataclass whose fields are made by `setting` is the configuration, the cache key,
the command line, the permalink and the documentation of whatever it configures::

    @dataclass(frozen=True)
    class Walk(Settings):
        steps: int = setting(60, symbol="T", meaning="number of steps", low=1, high=5000)

Values are checked where they enter the library, hard caps included: a slider is no guard,
since the visitor of a page can send anything.
"""

import json
import math
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, Literal, Self, get_args, get_origin, get_type_hints

VERSION = 1
"""Version of the stored forms of settings, plain dicts and links.

It grows with any change of a name, a meaning or a default: a link leaves defaults out.
"""

MIGRATIONS: dict[int, Callable[[str, Mapping[str, Any]], Mapping[str, Any]]] = {}
"""Version to a function of a class name and its values, which makes them those of the next one.

The values of a link are still text there.
"""

Scale = Literal["linear", "log"]


class SettingError(ValueError):
    """A value outside its setting's declared range; names class, field, range and value."""


@dataclass(frozen=True)
class Setting:
    """What is known about one field of a `Settings` class.

    `kind` is the type of a value, or of the entries of `rows`; `shape` says how often it is
    nested: 0 for a scalar, 1 for a tuple of values, 2 for a tuple of equally long tuples.
    `low` and `high` bound every number; `longest` bounds the length of a tuple.
    """

    name: str
    kind: type
    shape: int
    default: Any
    symbol: str
    meaning: str
    low: float | None
    high: float | None
    scale: Scale
    choices: Mapping[Any, str] | None
    longest: int | None
    width: int | None
    when: Mapping[str, tuple[Any, ...]]
    primary: bool
    looks: bool

    def matters(self, settings: "Settings") -> bool:
        """Whether the setting changes anything, the others being as they are."""
        return all(getattr(settings, name) in values for name, values in self.when.items())

    @property
    def range(self) -> str:
        """The allowed values, in words, as they stand in error messages and help texts."""
        if self.choices is not None:
            return "one of " + ", ".join(repr(choice) for choice in self.choices)
        if self.kind is bool:
            return "true or false"
        noun = "an integer" if self.kind is int else "a finite number"
        one = noun if self.low is None else f"{noun} in [{self.low:g}, {self.high:g}]"
        if self.shape == 0:
            return one
        if self.shape == 1:
            return f"a list of 1 to {self.longest} values, each {one}"
        return f"a list of 1 to {self.longest} rows of {self.width} values, each {one}"

    def read(self, value: Any) -> Any:
        """Return `value` as the field's own type, or raise `ValueError`.

        Lists become tuples, integral floats become ints where ints are due, NumPy scalars
        become Python's: the same setting is the same key whoever sent it.
        """
        if self.shape == 0:
            return self._scalar(value)
        rows = self._sequence(value, 1, self.longest)
        if self.shape == 1:
            return tuple(self._scalar(entry) for entry in rows)
        return tuple(
            tuple(self._scalar(entry) for entry in self._sequence(row, self.width, self.width))
            for row in rows
        )

    def _sequence(self, value: Any, shortest: int | None, longest: int | None) -> Sequence[Any]:
        if isinstance(value, str | bytes | Mapping) or not hasattr(value, "__len__"):
            raise ValueError
        if len(value) > (longest or math.inf) or len(value) < (shortest or 0):
            raise ValueError
        return value  # type: ignore[no-any-return]

    def _scalar(self, value: Any) -> Any:
        value = value.item() if hasattr(value, "item") else value
        if self.choices is not None:
            if not isinstance(value, str | int | float) or value not in self.choices:
                raise ValueError
            return value
        if self.kind is bool:
            if not isinstance(value, bool):
                raise ValueError
            return value
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError
        if not math.isfinite(value) or (self.kind is int and value != int(value)):
            raise ValueError
        if self.low is not None and not self.low <= value <= (self.high or 0.0):
            raise ValueError
        return self.kind(value)

    def parse(self, text: str) -> Any:
        """Read a value from a command line, a text field or a link: JSON, or words and lists.

        ``1, 10`` is a list, and ``1,2;3,4`` a list of two rows.
        """
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):  # no JSON, or more of it than Python reads
            if self.shape == 0:
                return text.strip()
            if self.shape == 2:
                return [self._entries(row) for row in text.split(";")]
            return self._entries(text)
        return value if self.shape == 0 or isinstance(value, list) else [value]

    def _entries(self, text: str) -> list[Any]:
        entries = text.replace(",", " ").split()
        return entries if self.kind is str else [_number(entry) for entry in entries]

    def write(self, value: Any) -> str:
        """Return a value of the field as text from which `parse` reads it again, to the bit."""
        if self.shape == 0:
            return _text(value)
        if self.shape == 1:
            return ",".join(map(_text, value))
        return ";".join(",".join(map(_text, row)) for row in value)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    short = (
        f"{value:g}".replace("e+0", "e").replace("e+", "e")
        if isinstance(value, float)
        else str(value)
    )
    return repr(value) if isinstance(value, float) and float(short) != value else short


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def setting(
    default: Any,
    *,
    symbol: str,
    meaning: str,
    low: float | None = None,
    high: float | None = None,
    scale: Scale = "linear",
    choices: Mapping[Any, str] | None = None,
    longest: int | None = None,
    width: int | None = None,
    when: Mapping[str, tuple[Any, ...]] | None = None,
    primary: bool = False,
    looks: bool = False,
) -> Any:
    """Declare a field of a `Settings` class.

    Parameters
    ----------
    default
        The value when nobody says anything.
    symbol, meaning
        How a formula and how a sentence call it.
    low, high
        The hard range of every number in the value, ends included.
    scale
        How a control should move: ``linear`` or ``log``.
    choices
        Value to title, if only these are allowed.
    longest, width
        For tuples: the most entries; for tuples of rows: the entries of each row.
    when
        Other settings and the values at which this one matters; always, unless told.
    primary
        Shown first on a page; at most three of an experiment.
    looks
        Changes the picture and not the result. It is left out of ``==``, so that a result
        which is already there answers for it.
    """
    declared = dict(
        symbol=symbol, meaning=meaning, low=low, high=high, scale=scale, choices=choices,
        longest=longest, width=width, when=when or {}, primary=primary, looks=looks,
    )  # fmt: skip
    return field(default=default, compare=not looks, metadata=declared)


def declared(cls: type["Settings"]) -> Mapping[str, Setting]:
    """Return the settings of a class by name, in their order."""
    return _declared(cls)  # type: ignore[arg-type]  # mypy looks for the instances' __hash__


@cache
def _declared(cls: type["Settings"]) -> Mapping[str, Setting]:
    hints = get_type_hints(cls)
    found = {}
    for entry in fields(cls):
        kind, shape = hints[entry.name], 0
        while get_origin(kind) is tuple:
            kind, shape = get_args(kind)[0], shape + 1
        found[entry.name] = Setting(
            entry.name, kind, shape, entry.default, **entry.metadata
        )  # fmt: skip
    return types.MappingProxyType(found)


@dataclass(frozen=True)
class Settings:
    """A frozen dataclass of checked values; see the module."""

    def __post_init__(self) -> None:
        for one in declared(type(self)).values():
            object.__setattr__(self, one.name, self.read(one.name, getattr(self, one.name)))
        self.check()

    def check(self) -> None:
        """Check what ties several fields together; raise `SettingError` if it does not fit."""

    def ascending(self, lower: str, upper: str) -> None:
        """Raise `SettingError` unless the setting `lower` is below the setting `upper`."""
        low, high, one = getattr(self, lower), getattr(self, upper), declared(type(self))[lower]
        if not low < high:
            raise SettingError(
                f"{type(self).__name__}.{lower} ({one.meaning}, {one.symbol}) must be below "
                f"{upper} = {high:g}; got {low:g}"
            )

    @classmethod
    def read(cls, name: str, value: Any) -> Any:
        """Return `value` as the setting `name` holds it.

        Raises
        ------
        SettingError
            For a name that is no setting, or a value out of range.
        """
        known = declared(cls)
        if name not in known:
            raise SettingError(
                f"{cls.__name__} has no setting {_short(name)}; it has {', '.join(known)}"
            )
        one = known[name]
        try:
            return one.read(value)
        except (ValueError, TypeError, OverflowError):
            raise SettingError(
                f"{cls.__name__}.{one.name} ({one.meaning}, {one.symbol}) must be {one.range}; "
                f"got {_short(value)}"
            ) from None

    def plain(self) -> dict[str, Any]:
        """Return the settings as a dict of plain values, with the version of the form.

        ``json.dumps`` takes it, and `from_plain` gives an equal value back.
        """
        values = {name: _listed(getattr(self, name)) for name in declared(type(self))}
        return {"version": VERSION, **values}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Return the settings that `plain` describes; what it leaves out has its default.

        Raises
        ------
        SettingError
            For another version, a name that is no setting, or a value out of range.
        """
        values = {name: value for name, value in plain.items() if name != "version"}
        values = migrate(cls.__name__, plain.get("version", VERSION), values)
        return cls(**{name: cls.read(name, value) for name, value in values.items()})


def migrate(cls: str, version: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values of the class named `cls` that were stored by `version` as the present ones.

    Raises
    ------
    SettingError
        For a version that is not known, such as that of a newer gdviz.
    """
    while version in MIGRATIONS and version < VERSION:
        version, values = version + 1, MIGRATIONS[version](cls, values)
    if version != VERSION:
        raise SettingError(
            f"{cls}: these settings have version {_short(version)}, "
            f"this gdviz reads version {VERSION}"
        )
    return dict(values)


def _listed(value: Any) -> Any:
    return [_listed(entry) for entry in value] if isinstance(value, tuple) else value


def _short(value: Any, longest: int = 60) -> str:
    """A value as an error message may show it: never longer than a line."""
    text = repr(value)
    return text if len(text) <= longest else text[: longest - 1] + "…"
