// chart: line charts for the report.
#include "report.h"

#include <math.h>
#include <stdio.h>

enum { WIDTH = 560, HEIGHT = 240, LEFT = 58, RIGHT = 14, TOP = 14, BOTTOM = 30, TICKS = 5, MAX_POINTS = 500 };

typedef struct Range {
    double low, high;
} Range;

static void range_add(Range *r, double v) {
    if (!isfinite(v)) return;
    if (!(r->low <= v)) r->low = v; // NAN at first: the comparison is false
    if (!(r->high >= v)) r->high = v;
}

static bool find_ranges(const Chart *c, Range *x, Range *y) {
    *x = *y = (Range){NAN, NAN};
    for (size_t s = 0; s < c->n_series; s++) {
        for (size_t i = 0; i < c->series[s].count; i++) {
            if (!isfinite(c->series[s].y[i])) continue;
            range_add(x, c->series[s].x[i]);
            range_add(y, c->series[s].y[i]);
        }
    }
    if (!isfinite(y->low)) return false;
    if (c->from_zero && y->low > 0) y->low = 0;
    double span = y->high - y->low, size = fmax(fabs(y->high), fabs(y->low));
    // A span within rounding error of the values is a flat line: ticks must stay far apart from it.
    double margin = span > 1e-6 * size ? 0.05 * span : fmax(size * 0.1, 1e-12);
    y->high += margin;
    if (!c->from_zero) y->low -= margin;
    if (x->high <= x->low) x->high = x->low + 1;
    return true;
}

// A step of 1, 2 or 5 times a power of ten that gives about TICKS ticks.
static double tick_step(const Range *r) {
    double raw = (r->high - r->low) / TICKS, power = pow(10, floor(log10(raw))), f = raw / power;
    return power * (f < 1.5 ? 1 : f < 3.5 ? 2 : f < 7.5 ? 5 : 10);
}

// Multiples of step in the range.
static int tick_count(const Range *r, double step) {
    return isfinite(step) ? (int)(floor(r->high / step) - ceil(r->low / step)) + 1 : 0;
}

// Four digits, and large numbers without an exponent.
static const char *short_number(char buf[32], double v) {
    snprintf(buf, 32, fabs(v) >= 1000 && fabs(v) < 1e9 ? "%.0f" : "%.4g", v);
    return buf;
}

static double place_x(const Range *r, double v) {
    return LEFT + (v - r->low) / (r->high - r->low) * (WIDTH - LEFT - RIGHT);
}

static double place_y(const Range *r, double v) {
    return HEIGHT - BOTTOM - (v - r->low) / (r->high - r->low) * (HEIGHT - TOP - BOTTOM);
}

static void add_axes(StrBuf *out, const Range *x, const Range *y) {
    double step = tick_step(y);
    char number[32];
    for (int i = 0, n = tick_count(y, step); i < n; i++) {
        double v = (ceil(y->low / step) + i) * step, at = place_y(y, v);
        str_printf(out, "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>", LEFT, WIDTH - RIGHT, at,
                   at);
        str_printf(out, "<text class=\"tick\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>", LEFT - 6, at + 4,
                   short_number(number, v));
    }
    step = fmax(tick_step(x), 1); // steps are whole
    for (int i = 0, n = tick_count(x, step); i < n; i++) {
        double v = (ceil(x->low / step) + i) * step;
        str_printf(out, "<text class=\"tick\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.6g</text>", place_x(x, v),
                   HEIGHT - 10, v);
    }
}

// Long runs are thinned: a stretch of points becomes its mean.
static double mean_of(const double *v, size_t begin, size_t end) {
    double sum = 0, n = 0;
    for (size_t i = begin; i < end; i++) {
        if (isfinite(v[i])) sum += v[i], n++;
    }
    return n ? sum / n : NAN;
}

static void add_series(StrBuf *out, const ChartSeries *s, const Range *x, const Range *y, bool dots) {
    size_t stretch = s->count / MAX_POINTS + 1;
    bool open = false;
    str_printf(out, "<path class=\"line %s\" d=\"", s->style);
    for (size_t i = 0; i < s->count; i += stretch) {
        size_t end = i + stretch < s->count ? i + stretch : s->count;
        double vx = mean_of(s->x, i, end), vy = mean_of(s->y, i, end);
        if (isfinite(vy)) str_printf(out, "%s%.1f %.1f", open ? "L" : "M", place_x(x, vx), place_y(y, vy));
        open = isfinite(vy);
    }
    str_puts(out, "\"/>");
    for (size_t i = 0; dots && stretch == 1 && i < s->count; i++) {
        if (isfinite(s->y[i]))
            str_printf(
                out, "<circle class=\"dot %s\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\"><title>step %.0f: %.5g</title></circle>",
                s->style, place_x(x, s->x[i]), place_y(y, s->y[i]), s->x[i], s->y[i]);
    }
}

static double last_finite(const ChartSeries *s) {
    for (size_t i = s->count; i-- > 0;) {
        if (isfinite(s->y[i])) return s->y[i];
    }
    return NAN;
}

static void add_legend(StrBuf *out, const Chart *c) {
    char number[32];
    for (size_t s = 0; s < c->n_series; s++) {
        const ChartSeries *one = &c->series[s];
        if (one->count && one->name[0])
            str_printf(out, "<span class=\"key %s\">%s <b>%s</b>%s</span>", one->style, one->name,
                       short_number(number, last_finite(one)), c->unit);
    }
}

void chart_add(StrBuf *out, const Chart *c) {
    Range x, y;
    if (!find_ranges(c, &x, &y)) return;
    str_printf(out, "<figure><figcaption><strong>%s</strong>", c->title);
    add_legend(out, c);
    str_printf(out, "</figcaption><svg class=\"%s\" viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s\">",
               c->n_series > 1 ? "many" : "one", WIDTH, HEIGHT, c->title);
    add_axes(out, &x, &y);
    for (size_t s = 0; s < c->n_series; s++) add_series(out, &c->series[s], &x, &y, c->dots);
    str_puts(out, "</svg></figure>\n");
}
