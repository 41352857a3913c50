#include "progress.h"
#include "say.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const double REDRAW_SECONDS = 0.1, LINE_SECONDS = 5; // on a terminal
static const double MB = 1e6;
enum { MIN_BAR = 10, MAX_BAR = 40, TEXT_COLUMNS = 66 };

void progress_start(Progress *p, int64_t step, int64_t total, bool several) {
    bool terminal = !several && isatty(STDOUT_FILENO);
    *p = (Progress){.terminal = terminal, .first_step = step, .total = total, .started = time_now()};
}

static void format_time(char *buf, size_t size, double seconds) {
    long s = seconds > 0 && seconds < 1e8 ? (long)(seconds + 0.5) : 0;
    if (s >= 3600) {
        snprintf(buf, size, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    } else {
        snprintf(buf, size, "%ld:%02ld", s / 60, s % 60);
    }
}

const char *duration_text(char buf[32], double seconds) {
    long s = (long)(seconds + 0.5);
    if (s >= 3600)
        snprintf(buf, 32, "%ld h %02ld min", s / 3600, s / 60 % 60);
    else if (s >= 60)
        snprintf(buf, 32, "%ld min %02ld s", s / 60, s % 60);
    else
        snprintf(buf, 32, "%ld s", s);
    return buf;
}

double progress_left(const Progress *p, int64_t step) {
    double done = (double)(step - p->first_step);
    return (time_now() - p->started) / fmax(done, 1) * (double)(p->total - step);
}

static int bar_width(void) {
    struct winsize w;
    int columns = ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col ? w.ws_col : 80;
    int width = columns - TEXT_COLUMNS;
    return width < MIN_BAR ? MIN_BAR : width > MAX_BAR ? MAX_BAR : width;
}

static void draw_bar(const Progress *p, const StepReport *r, const char *left, size_t peak) {
    char bar[MAX_BAR + 1];
    int width = bar_width(), full = p->total ? (int)((double)width * (double)r->step / (double)p->total) : width;
    memset(bar, ' ', (size_t)width);
    memset(bar, '=', (size_t)full);
    if (full < width) bar[full] = '>';
    bar[width] = 0;
    say_clear_line();
    say("%ld/%ld [", r->step, p->total);
    say_color(SAY_CYAN);
    say("%s", bar);
    say_color(SAY_PLAIN);
    say("] loss %.4f  %.0f tok/s  %s left  %.0f MB", r->loss, (double)r->tokens / fmax(r->seconds, 1e-9), left,
        (double)peak / MB);
    fflush(stdout);
}

static void clear_bar(const Progress *p) {
    if (p->terminal) say_clear_line();
}

static void say_preference(const PreferenceReport *p) {
    double margin = p->reward_chosen - p->reward_rejected;
    if (!isnan(margin) || p->paired) say("margin %.4f  ", margin);
    if (p->paired)
        say("accuracy %.1f%%", 100 * p->accuracy);
    else
        say("kl %.4f", p->kl);
}

static void say_teacher(const TeacherReport *t) {
    if (t->given) say("ce %.4f  kd %.4f  ", t->hard, t->soft);
}

static void print_step(const Progress *p, const StepReport *r, const char *left, size_t peak) {
    say("step %ld/%ld  epoch %.2f  loss %.4f  ", r->step, p->total, r->epoch, r->loss);
    if (r->preference.samples) say_preference(&r->preference), say("  ");
    say_teacher(&r->teacher);
    say("lr %.3g  grad_norm %.4f  %.0f tok/s  %s left  %.0f MB\n", r->learning_rate, r->grad_norm,
        (double)r->tokens / fmax(r->seconds, 1e-9), left, (double)peak / MB);
    fflush(stdout);
}

void progress_step(Progress *p, const StepReport *r, size_t peak, bool logged) {
    char left[32];
    double now = time_now();
    format_time(left, sizeof left, progress_left(p, r->step));
    if (logged && (!p->terminal || now - p->printed >= LINE_SECONDS)) {
        clear_bar(p);
        print_step(p, r, left, peak);
        p->printed = now;
    } else if (p->terminal && now - p->drawn < REDRAW_SECONDS && r->step < p->total) {
        return;
    }
    if (p->terminal) draw_bar(p, r, left, peak);
    p->drawn = now;
}

static void say_classes(const EvalResult *r) {
    AUTO_STR StrBuf text = {0};
    class_metrics_print(&text, r->problem, &r->classes);
    say("%s", text.data);
}

void progress_eval(Progress *p, int64_t step, const EvalResult *r, bool best) {
    clear_bar(p);
    say("step %ld/%ld  eval_loss %.4f  ", step, p->total, r->loss);
    say_teacher(&r->teacher);
    if (r->preference.samples)
        say_preference(&r->preference);
    else if (r->vectors.records)
        say(r->vectors.ranked ? "accuracy %.1f%%" : "Spearman %.1f%%",
            100 * (r->vectors.ranked ? r->vectors.accuracy : r->vectors.spearman));
    else if (r->labels)
        say_classes(r);
    else
        say("perplexity %.4g  token accuracy %.1f%%", r->perplexity, 100 * r->accuracy);
    say_color(best ? SAY_GREEN : SAY_PLAIN);
    say("%s", best ? "  (best)" : "");
    say_color(SAY_PLAIN);
    say("\n");
    fflush(stdout);
}

void progress_note(Progress *p, const char *fmt, ...) {
    clear_bar(p);
    va_list args;
    va_start(args, fmt);
    say_list(stdout, fmt, args);
    va_end(args);
    say("\n");
    fflush(stdout);
}

void progress_end(Progress *p) {
    if (p->terminal) say("\n");
    fflush(stdout);
}
