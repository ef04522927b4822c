"""What a referee asks of every figure: units, bars of length, letters, bands of a stated level, legends that fit."""

from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from phdenoise.figures.marks import BAR
from phdenoise.figures.panel_data import panels


def assert_complete(figure: Figure) -> None:
    """Fail with the name of what is missing."""
    shown = panels(figure)
    assert shown
    if len(shown) > 1:
        assert any(a.get_title(loc="left") == "a" for a in shown), "no panel letters"
    for axis in shown:
        _labels(axis)
        _bands(axis)
        _lines(axis)
    _maps(figure, shown)
    _legends(figure, shown)


def _label(axis, name: str) -> str:
    """The label of an axis, or of one that it shares its values with."""
    shared = getattr(axis, f"get_shared_{name}_axes")().get_siblings(axis)
    return next((t for a in shared if (t := getattr(a, f"get_{name}label")())), "")


def _labels(axis) -> None:
    for name in "xy":
        ticks = getattr(axis, f"{name}axis")
        shared = getattr(axis, f"get_shared_{name}_axes")().get_siblings(axis)
        labels = [t for a in shared for t in getattr(a, f"{name}axis").get_ticklabels()]
        named = [t.get_text() for t in labels if t.get_text()]
        # A map with a bar of length has no ticks; of named rows the names are the values.
        if not len(ticks.get_ticklocs()) or any(not _number(t) for t in named):
            continue
        assert "[" in _label(axis, name), f"{name} axis without unit: '{_label(axis, name)}'"


def _number(text: str) -> bool:
    return text.replace("\N{MINUS SIGN}", "-").lstrip("-$").rstrip("$")[:1].isdigit()


def _bands(axis) -> None:
    for band in axis.collections:
        if isinstance(band, PolyCollection):
            said = str(band.get_label())
            assert "%" in said or "all repeats" in said, f"band without level: '{said}'"


def _lines(axis) -> None:
    """A dashed line, or another of its kind in the panel, says what it is."""
    dashed = [
        x for x in axis.lines if x.get_linestyle() in ("--", ":", "-.") and x.get_gid() != BAR
    ]
    named = {
        (x.get_linestyle(), x.get_color()) for x in dashed if not str(x.get_label()).startswith("_")
    }
    assert {(x.get_linestyle(), x.get_color()) for x in dashed} <= named, (
        "a dashed line without a name"
    )


def _maps(figure, shown) -> None:
    maps = [a for a in shown if a.images]
    if not maps:
        return
    lengths = [a for a in maps if any(line.get_gid() == BAR for line in a.lines)]
    with_units = [a for a in maps if "[" in a.get_xlabel()]
    filters = [a for a in maps if "[px]" in a.get_ylabel()]
    assert lengths or with_units or filters, "a map without scale bar or axes with units"
    scalar = [a for a in maps if a.images[0].get_array().ndim == 2]
    bars = [a for a in figure.axes if a.get_label() == "<colorbar>"]
    if scalar:
        assert bars, "a map without colour bar"
    for bar in bars:
        said = bar.get_ylabel() + bar.get_xlabel()
        assert "[" in said, f"colour bar without unit: '{said}'"


def _legends(figure, shown) -> None:
    """Every entry of a legend is an artist of the figure that is drawn, and several curves have a legend."""
    legends = [a.get_legend() for a in shown if a.get_legend()] + figure.legends
    for legend in legends:
        assert legend.get_texts(), "an empty legend"
        for handle in legend.legend_handles:
            assert handle is not None
            assert handle.get_visible()
    named = {
        str(line.get_label())
        for a in shown
        for line in a.lines
        if not str(line.get_label()).startswith("_")
    }
    if len(named) > 1:
        said = {t.get_text() for legend in legends for t in legend.get_texts()}
        assert said, f"no legend for {named}"
        assert named <= said, f"not in a legend: {named - said}"
