#include "lr_schedule.h"

#include <math.h>

static const double PI = 3.14159265358979323846;
enum { INVERSE_SQRT_TIMESCALE = 10000 }; // of transformers, where there is no warm-up

static double at_least_1(int64_t n) { return n < 1 ? 1.0 : (double)n; }

static double half_cosine(double progress, double min_ratio) {
    double factor = 0.5 * (1.0 + cos(PI * progress));
    return fmax(0.0, factor * (1 - min_ratio) + min_ratio);
}

static double wsd(const LrSchedule *s, int64_t done) {
    int64_t decay = (s->total + 9) / 10;
    int64_t stable_end = s->total - decay > s->warmup ? s->total - decay : s->warmup;
    if (done < stable_end) return 1;
    if (done >= stable_end + decay) return s->min_ratio;
    return half_cosine((double)(done - stable_end) / at_least_1(decay), s->min_ratio);
}

static double inverse_sqrt(const LrSchedule *s, int64_t done) {
    int64_t timescale = s->warmup ? s->warmup : INVERSE_SQRT_TIMESCALE;
    return 1.0 / sqrt((double)(done + timescale - s->warmup) / (double)timescale);
}

// done: steps before this one, at least the warm-up.
static double factor(const LrSchedule *s, int64_t done) {
    double progress = (double)(done - s->warmup) / at_least_1(s->total - s->warmup);
    switch (s->kind) {
    case LR_COSINE: return half_cosine(progress, 0);
    case LR_COSINE_WITH_MIN_LR: return half_cosine(progress, s->min_ratio);
    case LR_LINEAR: return fmax(0.0, (double)(s->total - done) / at_least_1(s->total - s->warmup));
    case LR_WSD: return wsd(s, done);
    case LR_INVERSE_SQRT: return inverse_sqrt(s, done);
    case LR_CONSTANT:
    case LR_CONSTANT_WITH_WARMUP: break;
    }
    return 1;
}

double lr_at(const LrSchedule *s, int64_t step) {
    if (step <= s->warmup && s->kind != LR_CONSTANT) return s->peak * ((double)step / (double)s->warmup);
    return s->peak * factor(s, step - 1);
}
