"""Charts of the report, as SVG text that needs nothing else to be shown."""

import io
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

mpl.rcParams |= {"svg.hashsalt": "deixis", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}


def curves_chart(paths: dict[str, Path]) -> str:
    """Training loss per epoch, one line per predictor; each over its own first value, so that they share an axis."""
    figure = Figure(figsize=(6.4, 2.8), layout="constrained")
    axes = figure.subplots()
    for name, path in paths.items():
        table = pd.read_csv(path)
        axes.plot(table["epoch"], table["total"] / table["total"].iloc[0], marker="o", markersize=3, label=name)
    axes.set(xlabel="epoch", ylabel="training loss / first epoch's")
    axes.legend(frameon=False)
    return _svg(figure)


def coverage_chart(curves: dict[str, dict[str, float] | None]) -> str:
    """Acc@0.5 of the most confident part of each predictor's answers, over how large that part is."""
    figure = Figure(figsize=(6.4, 2.8), layout="constrained")
    axes = figure.subplots()
    for name, curve in curves.items():
        if curve:
            shares = [100 * float(share) for share in curve]
            axes.plot(shares, [100 * hits for hits in curve.values()], marker="o", markersize=3, label=name)
    if not axes.lines:
        return ""
    axes.set(xlabel="most confident part of the answers, by margin, in percent", ylabel="Acc@0.5", ylim=(None, 100))
    axes.legend(frameon=False)
    return _svg(figure)


def usage_chart(usage: dict[str, dict[str, float] | None]) -> str:
    """Share of each expert in the router's choices for the evaluation phrases."""
    shares = pd.DataFrame({name: shares_of_one for name, shares_of_one in usage.items() if shares_of_one}).T.fillna(0.0)
    if shares.empty:
        return ""
    figure = Figure(figsize=(6.4, 0.9 + 0.5 * len(shares)), layout="constrained")
    axes = figure.subplots()
    start = pd.Series(0.0, index=shares.index)
    for expert in shares:
        axes.barh(shares.index, shares[expert], left=start, label=str(expert))
        start += shares[expert]
    axes.set(xlim=(0, 1), xlabel="share of the router's choices over the evaluation phrases")
    axes.legend(frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return _svg(figure)


def _svg(figure: Figure) -> str:
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()[stream.getvalue().index("<svg") :]
