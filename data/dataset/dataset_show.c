// dataset_show: labels and samples of a data set as people read them.
#include "dataset.h"

void dataset_show_labels(StrBuf *out, const Dataset *d) {
    enum { SHOWN = 20 };
    const LabelList *l = dataset_labels(d);
    for (size_t i = 0; l && i < l->count && i < SHOWN; i++)
        str_printf(out, "%s%s (%lld)", i ? ", " : "", l->names[i], (long long)dataset_label_counts(d)[i]);
    if (l && l->count > SHOWN) str_puts(out, ", ...");
}

static void show_piece(StrBuf *out, const char *text, size_t n) {
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        bool c1 = c == 0xC2 && i + 1 < n && (unsigned char)text[i + 1] < 0xA0; // U+0080 to U+009F
        if ((c < 32 && c != '\n' && c != '\t') || c == 127)
            str_printf(out, "\\x%02X", c);
        else if (c1)
            str_printf(out, "\\x%02X", (unsigned char)text[++i]);
        else
            str_add(out, text + i, 1);
    }
}

void sample_show(StrBuf *out, const Sample *s, const Tokenizer *t, const char *open, const char *close) {
    for (int64_t i = 0, stop; i < s->count; i = stop) {
        StrBuf text = {0};
        for (stop = i + 1; stop < s->count && s->supervised[stop] == s->supervised[i]; stop++) {
        }
        tokenizer_decode(t, s->ids + i, (size_t)(stop - i), true, &text);
        if (s->supervised[i]) str_puts(out, open);
        show_piece(out, text.data ? text.data : "", text.len);
        if (s->supervised[i]) str_puts(out, close);
        str_clear(&text);
    }
}
