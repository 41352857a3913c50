// report_page: the frame of a page, its style, and the curves of a run's log (report_page.h).
#include "report_page.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "fileio.h"
#include "path.h"
#include "train_log.h"

// report_own recognises a report of lorac by these.
static const char HEAD[] = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
                           "content=\"width=device-width,initial-scale=1\"><title>",
                  SUBTITLE[] = "</h1><p class=\"sub\">LoRA training of ", TAIL[] = "</main></body></html>\n";

static const char STYLE[] =
    ":root{--bg:#fbfaf8;--card:#fff;--ink:#1d2126;--soft:#6a717b;--line:#e4e1db;--main:#2f6fde;--second:#d9480f;--good:"
    "#2b8a3e;--code:#f3f1ec}\n"
    "@media(prefers-color-scheme:dark){:root{--bg:#14171b;--card:#1c2026;--ink:#e7e9ec;--soft:#949ca7;--line:#2d333b;--"
    "main:#6ea8fe;--second:#ff922b;--good:#69db7c;--code:#242931}}\n"
    "*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 "
    "system-ui,-apple-system,\"Segoe UI\",Roboto,sans-serif}main{max-width:1200px;margin:0 auto;padding:32px 20px "
    "64px}\n"
    "h1{font-size:26px;margin:0}h2{font-size:18px;margin:36px 0 12px}p.sub{color:var(--soft);margin:4px 0 24px}\n"
    ".cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,230px),1fr));gap:12px}\n"
    ".card,figure,.sample,table{background:var(--card);border:1px solid var(--line);border-radius:10px}\n"
    ".card{padding:12px 16px}.card span{display:block;color:var(--soft);font-size:13px}.card "
    "b{font-size:21px;font-weight:600;font-variant-numeric:tabular-nums}\n"
    ".charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,460px),1fr));gap:14px}\n"
    "figure{margin:0;padding:12px 14px 6px}figcaption{display:flex;flex-wrap:wrap;gap:4px "
    "16px;font-size:14px}figcaption strong{flex:1}.key{color:var(--soft)}.key "
    "b{color:var(--ink);font-weight:600}.key::before{content:\"\";display:inline-block;width:14px;height:3px;border-"
    "radius:2px;vertical-align:middle;margin-right:6px;background:var(--main)}.key.second::before{background:var(--"
    "second)}.key.faint::before{opacity:.35}\n"
    "svg{width:100%;height:auto;display:block}.grid{stroke:var(--line)}.tick{fill:var(--soft);font-size:11px}.line{"
    "fill:none;stroke:var(--main);stroke-width:1.8;stroke-linejoin:round}.line.faint{opacity:.35;stroke-width:1.2}."
    "line.second{stroke:var(--second)}.dot{fill:var(--main)}.dot.second{fill:var(--second)}.dot.faint,.many "
    ".dot.main{display:none}\n"
    "table{border-collapse:separate;border-spacing:0;width:100%;overflow:hidden}td,th{text-align:left;padding:6px "
    "14px;border-bottom:1px solid var(--line);vertical-align:top}tr:last-child "
    "td{border-bottom:0}td:first-child{color:var(--soft);width:40%}\n"
    ".two{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));gap:14px;align-items:start}\n"
    ".sample{padding:14px 16px;margin-bottom:12px}.sample h3{font-size:13px;margin:10px 0 "
    "2px;color:var(--soft);font-weight:500}.sample h3:first-child{margin-top:0}.sample pre{margin:0;padding:8px "
    "10px;border-radius:6px;background:var(--code);white-space:pre-wrap;overflow-wrap:anywhere;font:13px/1.45 "
    "ui-monospace,Menlo,Consolas,monospace}.after{border-left:3px solid var(--good)}details "
    "summary{cursor:pointer;color:var(--soft)}\n"
    "code{font:13px ui-monospace,Menlo,Consolas,monospace;overflow-wrap:anywhere}\n"
    "@media(max-width:600px){.cards{grid-template-columns:1fr 1fr}.card b{font-size:18px}.tick{font-size:15px}}\n";

void report_escape(StrBuf *out, const char *text) {
    static const char *const entities[128] = {['<'] = "&lt;", ['>'] = "&gt;", ['&'] = "&amp;", ['"'] = "&quot;"};
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (*p < 128 && entities[*p])
            str_puts(out, entities[*p]);
        else
            str_add(out, (const char *)p, 1);
    }
}

int report_own(const char *path, Err *err) {
    AUTO_FREE char *text = NULL;
    size_t size;
    bool own = file_read(&text, &size, path, REPORT_MAX_BYTES, NULL) == 0 && starts_with(text, HEAD) &&
               strstr(text, SUBTITLE) && strstr(text, " with lorac") && size > sizeof TAIL &&
               strcmp(text + size - (sizeof TAIL - 1), TAIL) == 0;
    return own ? 0 : overwrite_refuse(path, "a report.html that lorac wrote", err);
}

void report_begin(StrBuf *page, const char *title, const char *base, const char *note) {
    str_puts(page, HEAD);
    report_escape(page, title);
    str_printf(page, "</title><style>\n%s</style></head><body><main>\n<h1>", STYLE);
    report_escape(page, title);
    str_puts(page, SUBTITLE);
    report_escape(page, base);
    str_printf(page, " with lorac%s</p>\n", note);
}

int report_end(StrBuf *page, const char *path, Err *err) {
    str_puts(page, TAIL);
    return file_write_whole(path, page->data, page->len, report_own, err);
}

// ---- curves ----

// Weight of the past in the smoothed loss curve.
static const double SMOOTHING = 0.9;

static void smooth_loss(Curves *c) {
    double sum = 0, weight = 0; // sum / weight: bias-corrected exponential moving average, as in Adam
    for (size_t i = 0; i < c->n; i++) {
        if (isfinite(c->loss[i])) {
            sum = SMOOTHING * sum + (1 - SMOOTHING) * c->loss[i];
            weight = SMOOTHING * weight + (1 - SMOOTHING);
        }
        c->smooth[i] = weight > 0 ? sum / weight : NAN;
    }
}

Curves curves_read(double **data, const char *output_dir) {
    AUTO_FREE char *path = path_join(output_dir, "train_log.jsonl");
    size_t count, n_columns = 0;
    AUTO_FREE LogPoint *points = train_log_read(path, &count);
    Curves c = {0};
    const struct {
        double **to;
        size_t field; // of LogPoint
        double scale;
        bool is_eval;
    } columns[] = {{&c.step, offsetof(LogPoint, step), 1, false},
                   {&c.loss, offsetof(LogPoint, loss), 1, false},
                   {&c.smooth, offsetof(LogPoint, loss), 1, false},
                   {&c.rate, offsetof(LogPoint, learning_rate), 1, false},
                   {&c.norm, offsetof(LogPoint, grad_norm), 1, false},
                   {&c.speed, offsetof(LogPoint, tokens_per_second), 1, false},
                   {&c.memory, offsetof(LogPoint, memory), 1e-6, false},
                   {&c.margin, offsetof(LogPoint, margin), 1, false},
                   {&c.hard, offsetof(LogPoint, hard), 1, false},
                   {&c.soft, offsetof(LogPoint, soft), 1, false},
                   {&c.eval_step, offsetof(LogPoint, step), 1, true},
                   {&c.eval_loss, offsetof(LogPoint, loss), 1, true},
                   {&c.accuracy, offsetof(LogPoint, accuracy), 100, true},
                   {&c.f1, offsetof(LogPoint, macro_f1), 100, true},
                   {&c.eval_margin, offsetof(LogPoint, margin), 1, true},
                   {&c.eval_hard, offsetof(LogPoint, hard), 1, true},
                   {&c.eval_soft, offsetof(LogPoint, soft), 1, true}};
    n_columns = sizeof columns / sizeof *columns;
    *data = mem_calloc(n_columns * (count + 1), sizeof(double));
    for (size_t k = 0; k < n_columns; k++) {
        size_t n = 0;
        *columns[k].to = *data + k * (count + 1);
        for (size_t i = 0; i < count; i++)
            if (points[i].is_eval == columns[k].is_eval)
                (*columns[k].to)[n++] =
                    columns[k].scale * *(const double *)((const char *)&points[i] + columns[k].field);
        *(columns[k].is_eval ? &c.n_eval : &c.n) = n;
    }
    smooth_loss(&c);
    return c;
}
