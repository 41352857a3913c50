#include "data_notes.h"

#include <inttypes.h>

static void add(StrBuf *out, int64_t records, const char *what) {
    if (records)
        str_printf(out, "%s%" PRId64 " record%s %s", out->len ? "; " : "", records, records == 1 ? "" : "s", what);
}

void data_notes_show_special(StrBuf *out, const DatasetStats *s) {
    add(out, s->parsed_special, "with control tokens written in the text, parsed as tokens");
    add(out, s->plain_special, "with control tokens written in the text, kept as plain text");
    add(out, s->own_bos, "with a BOS token of their own, not doubled");
    add(out, s->cannot_stop, "with an answer that no end token ends");
}

static void warn_special(const DatasetStats *s, const Tokenizer *t) {
    int32_t eos = tokenizer_eos(t);
    size_t len = 4;
    const char *piece = eos >= 0 ? tokenizer_piece(t, eos, &len) : "none";
    if (s->plain_special)
        log_warn(
            "control tokens of the model are written in the data and kept as plain text (records: %" PRId64
            "): in messages only the chat template makes them, so a rendered conversation belongs in a text column; "
            "in text and raw prompts parse_special decides",
            s->plain_special);
    if (s->cannot_stop)
        log_warn("no end token ends an answer (records: %" PRId64
                 "), so the model does not learn to stop; expected the chat template to close a turn with a control "
                 "token (the model's eos is %.*s)",
                 s->cannot_stop, (int)(len < 64 ? len : 64), piece);
}

static void warn_unread(const Dataset *d) {
    const KeyCounts *unread = dataset_unread(d);
    StrBuf names = {0};
    for (size_t i = 0; i < unread->count; i++)
        if (key_is_prompt_like(unread->names[i]))
            str_printf(&names, "%s%s (records: %" PRId64 ")", names.len ? ", " : "", unread->names[i],
                       unread->records[i]);
    if (names.len)
        log_warn(
            "the model does not see %s: keys that format %s does not read, though their names suggest that they are "
            "part of the prompt; put their text into a key that it reads, or drop them",
            names.data, dataset_format_name(dataset_stats(d)->format));
    str_clear(&names);
}

void data_notes_warn(const Dataset *d, const Tokenizer *t) {
    warn_special(dataset_stats(d), t);
    warn_unread(d);
}
