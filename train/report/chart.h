// chart: one line chart as inline SVG. Colours come from the page's CSS variables, so it follows light and dark.
#pragma once

#include "base.h"

typedef struct ChartSeries {
    const char *name;
    const char *style; // CSS class: "main", "faint", "second"
    const double *x, *y;
    size_t count; // points whose y is not finite interrupt the line
} ChartSeries;

typedef struct Chart {
    const char *title, *unit; // unit: printed after values, may be ""
    const ChartSeries *series;
    size_t n_series;
    bool dots;      // mark every point
    bool from_zero; // the y axis starts at 0
} Chart;

void chart_add(StrBuf *out, const Chart *c); // nothing if there is no finite point
