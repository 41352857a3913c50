// pretokenize: see pretokenize.h. Each step maps a list of pieces to a finer one; the families of GGUF are one step
// each, an expression that covers the text.
#include "pretokenize.h"

#include <string.h>

typedef struct Step {
    Regex *pattern; // cuts at it; NULL: Metaspace
    CutBehavior behavior;
    bool invert, split;
    PrependScheme scheme;
    char replacement[8];
} Step;

struct Pretokenizer {
    Step *steps;
    size_t count, capacity;
};

Pretokenizer *pretokenizer_new(void) { return mem_calloc(1, sizeof(Pretokenizer)); }

void pretokenizer_free(Pretokenizer *p) {
    if (!p) return;
    for (size_t i = 0; i < p->count; i++) regex_free(p->steps[i].pattern);
    mem_free(p->steps);
    mem_free(p);
}

static void add_step(Pretokenizer *p, Step step) {
    MEM_GROW(p->steps, p->capacity, p->count + 1);
    p->steps[p->count++] = step;
}

void pretokenizer_add_split(Pretokenizer *p, Regex *pattern, CutBehavior behavior, bool invert) {
    add_step(p, (Step){.pattern = pattern, .behavior = behavior, .invert = invert});
}

int pretokenizer_add_pattern(Pretokenizer *p, const char *pattern, CutBehavior behavior, bool invert, Err *err) {
    Regex *r;
    if (regex_new(&r, pattern, strlen(pattern), err)) return -1;
    pretokenizer_add_split(p, r, behavior, invert);
    return 0;
}

int pretokenizer_add_bert(Pretokenizer *p, Err *err) {
    if (pretokenizer_add_pattern(p, "\\s", CUT_REMOVED, false, err)) return -1;
    return pretokenizer_add_pattern(p, "\\p{is_punctuation}", CUT_ISOLATED, false, err);
}

void pretokenizer_add_metaspace(Pretokenizer *p, const char *replacement, PrependScheme scheme, bool split) {
    Step step = {.scheme = scheme, .split = split};
    size_t len = strlen(replacement);
    CHECK(len < sizeof step.replacement, "a replacement of more than one character");
    memcpy(step.replacement, replacement, len + 1);
    add_step(p, step);
}

void pretokenizer_add_prefix_space(Pretokenizer *p) { pretokenizer_add_metaspace(p, " ", PREPEND_ALWAYS, false); }

void pretokenizer_hash(const Pretokenizer *p, Fingerprint *f) {
    fingerprint_number(f, (int64_t)p->count);
    for (size_t i = 0; i < p->count; i++) {
        const Step *s = &p->steps[i];
        const char *pattern = s->pattern ? regex_pattern(s->pattern) : "";
        fingerprint_number(f,
                           (s->pattern != NULL) | s->behavior << 4 | s->scheme << 8 | s->invert << 12 | s->split << 13);
        fingerprint_text(f, pattern, strlen(pattern));
        fingerprint_text(f, s->replacement, strlen(s->replacement));
    }
}

// Removing all but the matches is the same for an expression that matches everywhere, as those of byte-level models do.
static bool isolates(const Step *s, const char *pattern) {
    bool kept = s->behavior == CUT_ISOLATED ? !s->invert : s->behavior == CUT_REMOVED && s->invert;
    Regex *r;
    if (!s->pattern || !kept || regex_new(&r, pattern, strlen(pattern), NULL)) return false;
    bool same = strcmp(regex_pattern(s->pattern), regex_pattern(r)) == 0; // as translated for PCRE2
    regex_free(r);
    return same;
}

bool pretokenizer_is(const Pretokenizer *p, const char *const *patterns) {
    size_t n = 0;
    while (n < p->count && patterns[n] && isolates(&p->steps[n], patterns[n])) n++;
    return n == p->count && !patterns[n];
}

// ---- lists of pieces ----

void pieces_clear(Pieces *w) {
    mem_free(w->items);
    mem_free(w->next);
    mapped_text_clear(&w->texts[0]);
    mapped_text_clear(&w->texts[1]);
    regex_walk_clear(&w->walk);
    *w = (Pieces){0};
}

static void emit(Pieces *w, size_t begin, size_t end) {
    if (begin == end) return;
    MEM_GROW(w->next, w->next_capacity, w->next_count + 1);
    w->next[w->next_count++] = (Piece){(uint32_t)begin, (uint32_t)end};
}

// The step's pieces become the list, and the old list the room for the next step.
static void finish_step(Pieces *w) {
    Piece *old = w->items;
    size_t capacity = w->capacity;
    w->items = w->next;
    w->count = w->next_count;
    w->capacity = w->next_capacity;
    w->next = old;
    w->next_count = 0;
    w->next_capacity = capacity;
}

// ---- cutting ----

// One piece being cut: spans (matches, and the text between them) in order.
typedef struct Cut {
    Pieces *w;
    CutBehavior behavior;
    bool any, match_before; // was there a span, and was the last one a match?
    size_t begin, end;      // of the piece that may still grow
} Cut;

// MergedWithNext holds a match back until it knows what follows; the other behaviours look back only.
static bool joins_span(const Cut *c, bool match) {
    switch (c->behavior) {
    case CUT_CONTIGUOUS: return match == c->match_before;
    case CUT_MERGED_WITH_PREVIOUS: return match && !c->match_before;
    case CUT_MERGED_WITH_NEXT: return !match && c->match_before;
    default: return false;
    }
}

static void end_piece(Cut *c) {
    if (c->any && !(c->behavior == CUT_REMOVED && c->match_before)) emit(c->w, c->begin, c->end);
}

static void add_span(Cut *c, size_t begin, size_t end, bool match) {
    if (begin == end) return;
    if (c->any && joins_span(c, match)) {
        c->end = end;
    } else {
        end_piece(c);
        c->begin = begin;
        c->end = end;
    }
    c->any = true;
    c->match_before = match;
}

static void split_piece(Pieces *w, const Step *s, Piece p) {
    Cut cut = {.w = w, .behavior = s->behavior};
    const char *text = w->view.text + p.begin;
    size_t len = p.end - p.begin, at = 0;
    regex_walk_begin(&w->walk, s->pattern, text, len);
    for (size_t begin, end; regex_walk_next(&w->walk, &begin, &end); at = end) {
        add_span(&cut, p.begin + at, p.begin + begin, s->invert);
        add_span(&cut, p.begin + begin, p.begin + end, !s->invert);
    }
    if (w->walk.failed) w->refused = REGEX_FAILED;
    add_span(&cut, p.begin + at, p.end, s->invert);
    end_piece(&cut);
}

// ---- steps that change the text ----

static bool begins_with(const char *text, size_t len, const char *prefix) {
    size_t n = strlen(prefix);
    return len >= n && memcmp(text, prefix, n) == 0;
}

// Is the replacement wanted in front of a piece that does not begin with it?
static bool wants_prefix(const Step *s, Piece p, TextPlace place) {
    if (p.begin == 0 && place == TEXT_CONTINUES) return false;
    if (s->scheme == PREPEND_ALWAYS) return true;
    return s->scheme == PREPEND_FIRST && place == TEXT_BEGINS && p.begin == 0;
}

// One piece with its spaces replaced and, if wanted, the replacement in front, at the end of m.
static void add_metaspace(MappedText *m, const Pieces *w, const Step *s, Piece p, TextPlace place) {
    const char *text = w->view.text;
    size_t n = strlen(s->replacement);
    bool has = text[p.begin] == ' ' || begins_with(text + p.begin, p.end - p.begin, s->replacement);
    if (!has && wants_prefix(s, p, place)) mapped_text_add(m, s->replacement, n, &w->view, p.begin, 0);
    for (size_t at = p.begin; at < p.end;) {
        const char *space = memchr(text + at, ' ', p.end - at);
        size_t stop = space ? (size_t)(space - text) : p.end;
        mapped_text_add(m, text + at, stop - at, &w->view, at, stop - at);
        if (space) mapped_text_add(m, s->replacement, n, &w->view, stop++, 1);
        at = stop;
    }
}

static void emit_metaspace(Pieces *w, const Step *s, const char *text, size_t begin, size_t end) {
    size_t n = strlen(s->replacement), from = begin;
    for (size_t at = begin + 1; s->split && at < end; at++) {
        if (!begins_with(text + at, end - at, s->replacement)) continue;
        emit(w, from, at);
        from = at;
        at += n - 1;
    }
    emit(w, from, end);
}

static void rewrite_pieces(Pieces *w, const Step *s, TextPlace place) {
    w->turn = !w->turn;
    MappedText *m = &w->texts[w->turn];
    m->text.len = 0;
    for (size_t i = 0; i < w->count; i++) {
        size_t begin = m->text.len;
        add_metaspace(m, w, s, w->items[i], place);
        emit_metaspace(w, s, m->text.data, begin, m->text.len);
    }
    w->view = mapped_text_view(m);
}

void pretokenizer_run(const Pretokenizer *p, Pieces *w, const TextView *in, TextPlace place) {
    w->view = *in;
    w->next_count = 0;
    w->refused = NULL;
    emit(w, 0, in->len);
    finish_step(w);
    for (size_t i = 0; i < p->count && !w->refused; i++) {
        const Step *s = &p->steps[i];
        if (!s->pattern) {
            rewrite_pieces(w, s, place); // at most 9 bytes of one
            if (w->view.len > w->limit) w->refused = TEXT_GROWS;
        }
        for (size_t k = 0; s->pattern && k < w->count && !w->refused; k++) split_piece(w, s, w->items[k]);
        finish_step(w);
    }
}
