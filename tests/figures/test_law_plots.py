"""The table of a comparison as a figure: every law is there, and the chosen one is filled."""

from phdenoise.figures.law_plots import comparison


def _row(model, parameters, held_out, chosen):
    deltas = {f"delta_{name}": 0.0 if chosen else 1e30 for name in ("aicc", "bic", "evidence")}
    return {
        "model": model,
        "enthalpy_degree": 0 if model == "fickian" else 1,
        "mobility_degree": 0,
        "parameters": parameters,
        "held_out": held_out,
        "chosen": chosen,
        **deltas,
    }


def test_comparison_shows_every_law_even_one_that_diverged():
    rows = [_row("fickian", 1, 0.9, False), _row("cahn-hilliard", 3, 1e-5, True)]
    rows.append(_row("allen-cahn", 4, 1e30, False))
    figure = comparison(rows, unit="share")
    axes = figure.axes
    assert len(axes) == 4
    labels = [text.get_text() for text in axes[0].get_yticklabels()]
    assert labels == ["fickian (0)", "cahn-hilliard (1, 0)", "allen-cahn (1, 0)"]
    for axis in axes:
        points = [line for line in axis.lines if line.get_marker() == "o"]
        filled = [p.get_markerfacecolor() != "white" for p in points]
        assert filled == [False, True, False]
        # What diverged does not stretch the axis.
        assert axis.get_xlim()[1] < 1e3
    assert "share" in axes[0].get_xlabel()
