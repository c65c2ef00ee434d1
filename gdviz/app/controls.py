"""Controls, generated from settings: what is declared at a field is all they need."""

import math
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets
import numpy as np

from gdviz.settings import Setting

TYPED = 1000
"""An integer range of more steps than this is typed rather than slid."""


class Control:
    """One setting as a widget; its `value` is that of the setting and not of the widget."""

    def __init__(self, setting: Setting, changed: Callable[[str, Any], None]) -> None:
        self.setting = setting
        self.widget = _widget(setting)
        self.widget.tooltip = f"{setting.meaning}, {setting.symbol}: {setting.range}"
        self.widget.add_class("gd-control")
        self._changed = changed
        self._quiet = False
        self.widget.observe(self._hear, "value")

    @property
    def value(self) -> Any:
        """The value as the setting would take it; it may still be out of range."""
        raw = self.widget.value
        if self.setting.shape == 1:
            return self.setting.parse(raw)
        if self.setting.kind is int and math.isfinite(raw):
            return round(raw)
        ends = (self.setting.low, self.setting.high)
        # A logarithmic slider at its end gives 10^log10(end), which rounding may put outside.
        return next((end for end in ends if end and math.isclose(raw, end, rel_tol=1e-9)), raw)

    def show(self, value: Any) -> None:
        """Move the control to `value` without telling anybody."""
        self._quiet = True
        try:
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
        if not self._quiet:
            self._changed(self.setting.name, self.value)


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
        low, high = _exponents(one.low, one.high)
        form = ".0f" if one.kind is int else ".3g"
        return widgets.FloatLogSlider(
            value=one.default, base=10, min=low, max=high, step=0.01, readout_format=form, **label
        )
    bounds: dict[str, Any] = {"value": one.default, "min": one.low, "max": one.high, **label}
    if one.kind is int:
        if one.high - one.low > TYPED:
            return widgets.BoundedIntText(**bounds)
        return widgets.IntSlider(**bounds)
    return widgets.FloatSlider(step=(one.high - one.low) / 200, readout_format=".3g", **bounds)


def _exponents(low: float, high: float) -> tuple[float, float]:
    """log10 of a range, rounded outwards by a hair: its own ends must pass the widget's check."""
    return (
        float(np.nextafter(math.log10(low), -math.inf)),
        float(np.nextafter(math.log10(high), math.inf)),
    )
