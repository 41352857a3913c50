#include "tiny_model.h"

#include <stdio.h>
#include <string.h>

enum { T_U32 = 4, T_I32 = 5, T_F32 = 6, T_STRING = 8, T_ARRAY = 9, ALIGNMENT = 32 };

typedef struct Writer {
    StrBuf keys, infos, data;
    uint64_t n_keys, n_tensors, state;
} Writer;

static void put(StrBuf *s, const void *bytes, size_t n) { str_add(s, bytes, n); }
static void put_u32(StrBuf *s, uint32_t v) { put(s, &v, sizeof v); }
static void put_u64(StrBuf *s, uint64_t v) { put(s, &v, sizeof v); }
static void put_text(StrBuf *s, const char *text) {
    put_u64(s, strlen(text));
    str_puts(s, text);
}

static void begin_key(Writer *w, const char *key, uint32_t type) {
    put_text(&w->keys, key);
    put_u32(&w->keys, type);
    w->n_keys++;
}
static void key_text(Writer *w, const char *key, const char *value) {
    begin_key(w, key, T_STRING);
    put_text(&w->keys, value);
}
static void key_u32(Writer *w, const char *key, int64_t value) {
    begin_key(w, key, T_U32);
    put_u32(&w->keys, (uint32_t)value);
}
static void key_f32(Writer *w, const char *key, float value) {
    begin_key(w, key, T_F32);
    put(&w->keys, &value, sizeof value);
}
static void begin_array(Writer *w, const char *key, uint32_t type, uint64_t n) {
    begin_key(w, key, T_ARRAY);
    put_u32(&w->keys, type);
    put_u64(&w->keys, n);
}

// splitmix64 instead of rng.h, so that the weights do not depend on the code under test.
static float next_symmetric(Writer *w) {
    uint64_t z = (w->state += 0x9E3779B97F4A7C15u);
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return (float)((z ^ z >> 31) >> 40) * 0x1p-23f - 1.0f;
}

// rows 0: a vector of `cols` ones (a norm). count 0: one matrix, else so many in one tensor.
static void tensors(Writer *w, const char *name, int64_t cols, int64_t rows, int64_t count, float scale) {
    put_text(&w->infos, name);
    put_u32(&w->infos, count ? 3 : rows ? 2 : 1);
    put_u64(&w->infos, (uint64_t)cols);
    if (rows) put_u64(&w->infos, (uint64_t)rows);
    if (count) put_u64(&w->infos, (uint64_t)count);
    put_u32(&w->infos, 0); // F32
    put_u64(&w->infos, w->data.len);
    w->n_tensors++;
    for (int64_t i = 0; i < cols * (rows ? rows : 1) * (count ? count : 1); i++) {
        float x = rows ? scale * next_symmetric(w) : 1.0f;
        put(&w->data, &x, sizeof x);
    }
    static const char zeros[ALIGNMENT];
    put(&w->data, zeros, -w->data.len % ALIGNMENT);
}

static void tensor(Writer *w, const char *name, int64_t cols, int64_t rows, float scale) {
    tensors(w, name, cols, rows, 0, scale);
}

static int64_t head_size(const TinyModel *m) { return m->head_size ? m->head_size : m->hidden / m->heads; }

static void layer_tensors(Writer *w, const TinyModel *m, int layer) {
    int64_t c = m->hidden, q = head_size(m) * m->heads, kv = head_size(m) * m->kv_heads, e = m->experts;
    const struct {
        const char *name;
        int64_t cols, rows, count;
    } all[] = {{"attn_norm", c, 0, 0},
               {"attn_q", c, q, 0},
               {"attn_k", c, kv, 0},
               {"attn_v", c, kv, 0},
               {"attn_output", q, c, 0},
               {"ffn_norm", c, 0, 0},
               {e ? "ffn_gate_exps" : "ffn_gate", c, m->ffn, e},
               {e ? "ffn_up_exps" : "ffn_up", c, m->ffn, e},
               {e ? "ffn_down_exps" : "ffn_down", m->ffn, c, e},
               {"ffn_gate_inp", c, e, 0}};
    size_t n = sizeof all / sizeof *all - (e ? 0 : 1);
    for (size_t i = 0; i < n; i++) {
        char name[64];
        snprintf(name, sizeof name, "blk.%d.%s.weight", layer, all[i].name);
        tensors(w, name, all[i].cols, all[i].rows, all[i].count, m->scale);
    }
}

// GPT-2's alphabet: printable bytes stand for themselves, the other 68 for U+0100 and up.
static void byte_token(StrBuf *out, int byte) {
    static const char *const kept = "!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`"
                                    "abcdefghijklmnopqrstuvwxyz{|}~";
    int code = byte, others = 0;
    bool self = (byte < 127 && byte && strchr(kept, byte)) || (byte >= 0xA1 && byte != 0xAD);
    for (int b = 0; b < byte; b++) others += !((b < 127 && b && strchr(kept, b)) || (b >= 0xA1 && b != 0xAD));
    if (!self) code = 0x100 + others;
    char text[3] = {(char)code, 0, 0};
    if (code >= 0x80) text[0] = (char)(0xC0 | code >> 6), text[1] = (char)(0x80 | (code & 0x3F));
    put_text(out, text);
}

static void vocabulary(Writer *w, const TinyModel *m) {
    static const char *const more[] = {"he", "in", "<|endoftext|>", "<|im_start|>", "<|im_end|>"};
    key_text(w, "tokenizer.ggml.model", "gpt2");
    key_text(w, "tokenizer.ggml.pre", "smollm");
    int64_t tokens = TINY_VOCAB + m->more_tokens;
    begin_array(w, "tokenizer.ggml.tokens", T_STRING, (uint64_t)tokens);
    for (int b = 0; b < 256; b++) byte_token(&w->keys, b);
    for (int i = 0; i < 5; i++) put_text(&w->keys, more[i]);
    for (int64_t i = TINY_VOCAB; i < tokens; i++) {
        char text[24];
        snprintf(text, sizeof text, "<%lld>", (long long)i);
        put_text(&w->keys, text);
    }
    begin_array(w, "tokenizer.ggml.token_type", T_I32, (uint64_t)tokens);
    for (int64_t i = 0; i < tokens; i++) put_u32(&w->keys, i < 258 ? 1 : i < TINY_VOCAB ? 3 : 5); // 5: unused
    begin_array(w, "tokenizer.ggml.merges", T_STRING, 2);
    put_text(&w->keys, "h e");
    put_text(&w->keys, "i n");
    key_u32(w, "tokenizer.ggml.bos_token_id", TINY_IM_START);
    key_u32(w, "tokenizer.ggml.eos_token_id", TINY_IM_END);
}

static void hyperparameters(Writer *w, const TinyModel *m) {
    key_text(w, "general.architecture", "llama");
    key_text(w, "general.name", "tiny");
    key_u32(w, "llama.block_count", m->layers);
    key_u32(w, "llama.context_length", m->context);
    key_u32(w, "llama.embedding_length", m->hidden);
    key_u32(w, "llama.feed_forward_length", m->ffn);
    key_u32(w, "llama.attention.head_count", m->heads);
    key_u32(w, "llama.attention.head_count_kv", m->kv_heads);
    key_u32(w, "llama.rope.dimension_count", head_size(m));
    if (m->head_size) {
        key_u32(w, "llama.attention.key_length", m->head_size);
        key_u32(w, "llama.attention.value_length", m->head_size);
    }
    if (m->experts) {
        key_u32(w, "llama.expert_count", m->experts);
        key_u32(w, "llama.expert_used_count", m->experts_used);
    }
    if (m->window) key_u32(w, "llama.attention.sliding_window", m->window);
    key_f32(w, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    key_f32(w, "llama.rope.freq_base", 10000.0f);
    key_u32(w, "llama.vocab_size", TINY_VOCAB + m->more_tokens);
}

static void chat_template(Writer *w) {
    key_text(w, "tokenizer.chat_template",
             "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + "
             "'<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}"
             "{% endif %}");
}

static void write_out(const Writer *w, const char *path) {
    StrBuf head = {0};
    static const char zeros[ALIGNMENT];
    str_puts(&head, "GGUF");
    put_u32(&head, 3);
    put_u64(&head, w->n_tensors);
    put_u64(&head, w->n_keys);
    put(&head, w->keys.data, w->keys.len);
    if (w->infos.len) put(&head, w->infos.data, w->infos.len);
    put(&head, zeros, -head.len % ALIGNMENT);
    FILE *f = fopen(path, "wb");
    CHECK(f, "%s", path);
    CHECK(fwrite(head.data, 1, head.len, f) == head.len, "%s", path);
    if (w->data.len) CHECK(fwrite(w->data.data, 1, w->data.len, f) == w->data.len, "%s", path);
    CHECK(fclose(f) == 0, "%s", path);
    str_clear(&head);
}

void tiny_model_write(const char *path, const TinyModel *m) {
    Writer w = {.state = m->seed};
    hyperparameters(&w, m);
    vocabulary(&w, m);
    if (!m->no_template) chat_template(&w);
    if (!m->vocab_only) {
        tensor(&w, "token_embd.weight", m->hidden, TINY_VOCAB + m->more_tokens, m->scale);
        for (int l = 0; l < m->layers; l++) layer_tensors(&w, m, l);
        tensor(&w, "output_norm.weight", m->hidden, 0, 0);
    }
    write_out(&w, path);
    str_clear(&w.keys);
    str_clear(&w.infos);
    str_clear(&w.data);
}
