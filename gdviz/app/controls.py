"""Controls, generated from settings: what is declared at a field is all they need."""

import math
from collections.abc import Callable
from typing import Any

from gdviz.app import plain as widgets
from gdviz.app import text
from gdviz.settings import Setting

TYPED = 1000
"""An integer range of more steps than this is typed rather than slid."""
A_DECADE = 20
"""Stops of a logarithmic slider a decade: 1, 1.1, 1.3, 1.4, 1.6, … as preferred numbers go."""


class Control:
    """One setting as a widget; its `value` is that of the setting and not of the widget."""

    def __init__(self, setting: Setting, changed: Callable[[str, Any], None]) -> None:
        self.setting = setting
        self.widget = _widget(setting)
        self.widget.tooltip = f"{setting.meaning}, {setting.symbol}: {setting.range}"
        self.widget.add_class("gd-control")
        self._changed = changed
        self._told = setting.default
        self._quiet = False
        self.widget.observe(self._hear, "value")

    @property
    def value(self) -> Any:
        """The value as the setting would take it; it may still be out of range."""
        raw = self.widget.value
        if self.setting.shape == 1:
            return self.setting.parse(raw)
        if isinstance(self.widget, widgets.FloatSlider) and math.isfinite(raw):
            return round(raw, -_digits(self.setting))  # the browser sends 0.19999999999999998
        return raw

    def show(self, value: Any) -> None:
        """Move the control to `value` without telling anybody."""
        self._told, self._quiet = value, True
        try:
            if isinstance(self.widget, widgets.SelectionSlider):
                with self.widget.hold_sync():
                    self.widget.options = _stops(self.setting, value)
                    self.widget.value = value
            else:
                self.widget.value = _written(value) if self.setting.shape == 1 else value
        finally:
            self._quiet = False

    def extremes(self) -> tuple[Any, Any]:
        """Two values of the widget that lie as far apart as it goes, for tests."""
        if self.setting.choices is not None:
            options = list(self.setting.choices)
            return options[0], options[-1]
        if self.setting.kind is bool:
            return False, True
        low, high = self.setting.low, self.setting.high
        return (_written((low,)), _written((high,))) if self.setting.shape else (low, high)

    def _hear(self, _change: Any) -> None:
        value = self.value
        if not self._quiet and value != self._told:
            self._told = value
            self._changed(self.setting.name, value)


def _written(values: tuple[Any, ...]) -> str:
    return ", ".join(f"{value:.12g}" for value in values)


def _widget(one: Setting) -> Any:
    """The widget that fits the kind, the range and the scale of a setting."""
    label = {"description": f"{one.meaning[0].upper()}{one.meaning[1:]}, {one.symbol}"}
    if one.choices is not None:
        options = [(title, value) for value, title in one.choices.items()]
        return widgets.Dropdown(options=options, value=one.default, **label)
    if one.kind is bool:
        return widgets.Checkbox(value=one.default, indent=False, **label)
    if one.shape == 1:
        return widgets.Text(value=_written(one.default), continuous_update=False, **label)
    assert one.low is not None
    assert one.high is not None
    if one.scale == "log":
        # FloatLogSlider rounds what it is given: 1500 steps would read 1514.
        stops = _stops(one, one.default)
        return widgets.SelectionSlider(options=stops, value=one.default, **label)
    bounds: dict[str, Any] = {"value": one.default, "min": one.low, "max": one.high, **label}
    if one.kind is int:
        typed = one.high - one.low > TYPED
        return (widgets.BoundedIntText if typed else widgets.IntSlider)(**bounds)
    return widgets.FloatSlider(step=10.0 ** _digits(one), readout_format=".3g", **bounds)


def _stops(one: Setting, value: Any) -> list[tuple[str, Any]]:
    """Label and value of a logarithmic slider's stops: round numbers, both ends, and `value`."""
    assert one.low is not None
    assert one.high is not None
    first, last = (math.floor(A_DECADE * math.log10(end)) for end in (one.low, one.high))
    rounded = (float(f"{10 ** (k / A_DECADE):.2g}") for k in range(first, last + 1))
    inside = {one.kind(number) for number in rounded if one.low <= number <= one.high}
    return [
        (text.number(stop), stop)
        for stop in sorted(inside | {one.kind(one.low), one.kind(one.high), value})
    ]


def _digits(one: Setting) -> int:
    """The power of ten that is the step of a linear slider: a hundred steps or more."""
    assert one.low is not None
    assert one.high is not None
    return math.floor(math.log10((one.high - one.low) / 100))
