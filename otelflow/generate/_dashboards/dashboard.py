"""One Grafana dashboard and its panels as plain data: what its schema needs and no more."""

from collections.abc import Sequence
from typing import Any, Final

from otelflow import semconv

_WIDTH: Final = 24
_HEIGHT: Final = 8

# What a legend says of each line; without them other viewers than Grafana show no legend.
_CALCS: Final = ["lastNotNull", "max"]

# The columns of a table that are labels, the last of which leads to what it names
_LABELS: Final = {"job": "Job", "flow": "Flow"}

Panel = dict[str, Any]
Target = tuple[str, str]

#: How each result looks, on every dashboard
COLOURS: Final = {
    semconv.SUCCESS: "green",
    semconv.FAILURE: "red",
    semconv.TIMEOUT: "orange",
    semconv.ERROR: "purple",
    semconv.CANCELLATION: "blue",
    semconv.SKIP: "text",
}


class Dashboard:
    """One dashboard under construction: panels are placed from left to right, row by row."""

    def __init__(self, uid: str, title: str, description: str, prometheus: str) -> None:
        self.uid = uid
        self.title = title
        self.description = description
        self.source: Final = {"type": "prometheus", "uid": prometheus}
        self.panels: list[Panel] = []
        self.variables: list[dict[str, Any]] = []
        self.links: list[dict[str, Any]] = []
        self._x = self._y = self._row = 0

    def add(self, panel: Panel, width: int = 12, height: int = _HEIGHT) -> None:
        """Place *panel* beside the last one, or below when there is no room."""
        if self._x + width > _WIDTH:
            self._x, self._y = 0, self._y + self._row
            self._row = 0
        place = {"x": self._x, "y": self._y, "w": width, "h": height}
        self.panels.append({"id": len(self.panels) + 1, "gridPos": place, **panel})
        self._x, self._row = self._x + width, max(self._row, height)

    def row(self, title: str) -> None:
        """Begin a row called *title*."""
        self.add({"type": "row", "title": title, "collapsed": False, "panels": []}, _WIDTH, 1)

    def variable(self, name: str, query: str, *, many: bool, part: str = "") -> None:
        """Let the reader choose *name* among what *query* returns; a *part* of it follows, unseen, from the others."""
        self.variables.append(
            {
                "name": name,
                "type": "query",
                "label": name,
                "datasource": self.source,
                "query": {"qryType": 1, "query": query, "refId": name},
                "definition": query,
                "refresh": 2,
                "sort": 1,
                "multi": many,
                "includeAll": many,
                "allValue": ".*" if many else "",
                "current": {"text": "All", "value": "$__all"} if many else {},
                "options": [],
                "hide": 2 if part else 0,
                "regex": part,
                "skipUrlSync": False,
            }
        )

    def link(self, title: str, url: str, *, elsewhere: bool = False) -> None:
        """Offer an address at the top; one that leads *elsewhere* than to Grafana opens beside it."""
        self.links.append(
            {"title": title, "type": "link", "url": url, "targetBlank": elsewhere, "keepTime": not elsewhere}
        )

    def as_json(self) -> dict[str, Any]:
        """Return the dashboard as Grafana reads it."""
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": ["otelflow"],
            "timezone": "browser",
            "editable": True,
            "graphTooltip": 1,
            "refresh": "30s",
            "schemaVersion": 41,
            "version": 1,
            "time": {"from": "now-6h", "to": "now"},
            "annotations": {"list": []},
            "templating": {"list": self.variables},
            "links": self.links,
            "panels": self.panels,
        }

    # Kinds of panels

    def _panel(self, kind: str, title: str, description: str, targets: Sequence[dict[str, Any]]) -> Panel:
        return {
            "type": kind,
            "title": title,
            "description": description,
            "datasource": self.source,
            "targets": [{"refId": chr(ord("A") + place), **target} for place, target in enumerate(targets)],
        }

    def _target(self, expr: str, legend: str = "", **options: Any) -> dict[str, Any]:
        return {"datasource": self.source, "expr": expr, "legendFormat": legend, "editorMode": "code", **options}

    def lines(
        self, title: str, description: str, *targets: Target, unit: str = "short", stacked: bool = False
    ) -> Panel:
        """Return lines over time; what was counted can show single runs as dots that lead to their traces."""
        panel = self._panel(
            "timeseries",
            title,
            description,
            [
                self._target(expr, legend, range=True, exemplar="_total" in expr or "_bucket" in expr)
                for expr, legend in targets
            ],
        )
        custom: dict[str, Any] = {"lineWidth": 1, "fillOpacity": 20 if stacked else 5, "showPoints": "never"}
        if stacked:
            custom["stacking"] = {"mode": "normal", "group": "A"}
        panel["fieldConfig"] = {
            "defaults": {"unit": unit, "min": 0, "custom": custom},
            "overrides": [
                {
                    "matcher": {"id": "byName", "options": result},
                    "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}],
                }
                for result, colour in COLOURS.items()
            ],
        }
        panel["options"] = {
            "legend": {"displayMode": "table", "placement": "bottom", "showLegend": True, "calcs": _CALCS},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
        return panel

    def number(
        self,
        title: str,
        description: str,
        expr: str,
        *,
        unit: str = "short",
        steps: Sequence[tuple[float | None, str]] = (),
    ) -> Panel:
        """Return one number; it takes the colour of the last of *steps* (value, colour) that it reaches."""
        panel = self._panel("stat", title, description, [self._target(expr, instant=True)])
        panel["fieldConfig"] = {
            "defaults": {
                "unit": unit,
                "noValue": "-",
                "thresholds": {
                    "mode": "absolute",
                    "steps": [{"value": value, "color": colour} for value, colour in steps or ((None, "text"),)],
                },
            },
            "overrides": [],
        }
        panel["options"] = {
            "colorMode": "value",
            "graphMode": "none",
            "textMode": "auto",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        }
        return panel

    def heatmap(self, title: str, description: str, expr: str) -> Panel:
        """Return the distribution of durations over time; its dots are single runs that lead to their traces."""
        panel = self._panel(
            "heatmap", title, description, [self._target(expr, "{{le}}", format="heatmap", range=True, exemplar=True)]
        )
        panel["fieldConfig"] = {"defaults": {"custom": {"scaleDistribution": {"type": "linear"}}}, "overrides": []}
        panel["options"] = {
            "calculate": False,
            "cellGap": 1,
            "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64, "exponent": 0.5, "fill": "dark-orange"},
            "exemplars": {"color": "rgba(255,0,255,0.8)"},
            "filterValues": {"le": 1e-9},
            "rowsFrame": {"layout": "auto"},
            "yAxis": {"unit": "s", "axisPlacement": "left", "reverse": False},
            "legend": {"show": True},
            "tooltip": {"mode": "single", "yHistogram": False},
        }
        return panel

    def table(self, title: str, description: str, columns: dict[str, tuple[str, str]], link: str) -> Panel:
        """Return a table with a row for each flow, and *columns* {name: (query, unit)}; a name leads to *link*."""
        targets = [self._target(expr, instant=True, format="table") for expr, _ in columns.values()]
        panel = self._panel("table", title, description, targets)
        fields = [f"Value #{target['refId']}" for target in panel["targets"]]
        units = [
            {
                "matcher": {"id": "byName", "options": field},
                "properties": [{"id": "displayName", "value": name}, {"id": "unit", "value": unit}],
            }
            for field, (name, (_, unit)) in zip(fields, columns.items(), strict=True)
        ]
        order = {field: place for place, field in enumerate(("job", "flow", *fields))}
        labels: list[dict[str, Any]] = [
            {
                "matcher": {"id": "byName", "options": label},
                "properties": [{"id": "displayName", "value": name}, {"id": "unit", "value": "string"}],
            }
            for label, name in _LABELS.items()
        ]
        to_flow = {"id": "links", "value": [{"title": "This one alone", "url": link, "targetBlank": False}]}
        labels[-1]["properties"].append(to_flow)
        panel["fieldConfig"] = {"defaults": {"custom": {"align": "auto"}}, "overrides": [*units, *labels]}
        panel["options"] = {"showHeader": True, "cellHeight": "sm"}
        panel["transformations"] = [
            {"id": "merge", "options": {}},
            {
                "id": "organize",
                "options": {
                    "excludeByName": {"Time": True},
                    "indexByName": order,
                    "renameByName": dict(zip(fields, columns, strict=True)),
                },
            },
        ]
        return panel

    def text(self, title: str, markdown: str) -> Panel:
        """Return a text."""
        return {"type": "text", "title": title, "options": {"mode": "markdown", "content": markdown}}
