// dataset_fixture: a tokenizer with one token a byte, a ChatML template, and data files in a scratch directory: the
// samples can then be compared as text, with [[...]] around the supervised part.
#pragma once

#include "dataset.h"
#include "rows.h"
#include "scratch.h"
#include "tokenizer_files.h"
#include "tokenizer_fixture.h"

// Ids: a byte's value; then these.
// One byte has no token, as some have none in SmolLM2.
enum { BYTE_WITHOUT_TOKEN = 4 };
enum { ID_IM_START = 256, ID_IM_END, ID_BOS, ID_EOS, ID_THINK, BYTE_VOCAB };

static const char CHATML[] =
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}"
    "{% for c in m.tool_calls or [] %}<call>{{ (c.function or c) | tojson }}</call>{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if tools %}tools:{{ tools | map(attribute='name') | join(',') }}\n{% endif %}{% if mood %}mood:{{ mood }}\n{% "
    "endif %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

// The byte-level alphabet of GPT-2.
static inline void byte_letter(int byte, int *n_shifted, StrBuf *out) {
    bool plain = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    put_character(out, plain ? (uint32_t)byte : 256u + (uint32_t)(*n_shifted)++);
}

static inline Tokenizer *byte_tokenizer(bool add_bos) {
    static const char *const added[] = {"<|im_start|>", "<|im_end|>", "<s>", "</s>", "<think>"};
    VocabLists *v = mem_calloc(1, sizeof *v);
    StrBuf letters[256] = {0};
    int n_shifted = 0;
    vocab_init(v, "gpt-2");
    for (int byte = 0; byte < 256; byte++) {
        byte_letter(byte, &n_shifted, &letters[byte]);
        vocab_add(v, 1, byte == BYTE_WITHOUT_TOKEN ? "[none]" : letters[byte].data);
    }
    for (int i = 0; i < 5; i++) vocab_add(v, i == 4 ? 4 : 3, added[i]);
    v->source.bos = ID_BOS;
    v->source.eos = ID_EOS;
    v->source.add_bos = add_bos;
    v->source.chat_template = str_of(CHATML);
    Tokenizer *t = NULL;
    Err err;
    ASSERT_OK(tokenizer_new(&t, &v->source, &err), &err);
    for (int byte = 0; byte < 256; byte++) str_clear(&letters[byte]);
    mem_free(v);
    return t;
}

// A tokenizer, a template and options for one file in the scratch directory.
typedef struct Bench {
    Tokenizer *t;
    ChatTemplate *chat;
    const char *files[4];
    DatasetOptions o;
} Bench;

static inline Bench bench_new(bool add_bos) {
    Bench b = {.t = byte_tokenizer(add_bos)};
    Err err;
    ASSERT_OK(chat_template_new(&b.chat, b.t, NULL, &err), &err);
    b.o = (DatasetOptions){.n_files = 1, .max_seq_length = 1000, .cache_dir = "cache"};
    b.files[0] = "d.jsonl";
    return b;
}

static inline void bench_free(Bench *b) {
    chat_template_free(b->chat);
    tokenizer_free(b->t);
}

static inline int bench_open(Dataset **d, Bench *b, bool with_chat, Err *err) {
    b->o.files = b->files;
    return dataset_open(d, &b->o, b->t, with_chat ? b->chat : NULL, err);
}

static inline void put_text(const char *path, const char *text) { scratch_put(path, text, strlen(text)); }

// All samples as text, a '|' after each.
static inline char *shown(const Dataset *d, const Tokenizer *t) {
    StrBuf out = {0};
    for (int64_t i = 0; i < d->count; i++) {
        Sample s = dataset_sample(d, i);
        sample_show(&out, &s, t, "[[", "]]");
        str_puts(&out, "|");
    }
    return out.data;
}

// Row r of the plan.
static inline void row_fill(Row *row, const Dataset *d, const RowPlan *p, int64_t r) {
    row_fill_several(row, d, p, &r, 1, 0);
}

// d.jsonl with this text, opened.
static inline Dataset *open_text(Bench *b, const char *text) {
    Dataset *d;
    Err err;
    put_text("d.jsonl", text);
    if (bench_open(&d, b, true, &err)) fail_msg("%s: %s", text, err.msg);
    return d;
}
