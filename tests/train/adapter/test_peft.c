// peft: what PEFT's adapter_config.json means, against what PEFT itself made of it (golden/make_adapters_golden.py):
// which modules carry an adapter, with which rank and alpha; logits of adapters with patterns, other names and types.
#include <math.h>
#include <stdio.h>

#include "family_fixture.h"
#include "fileio.h"
#include "logits.h"
#include "path.h"
#include "peft_internal.h"
#include "scratch.h"
#include "strided_backend.h"

#define GOLDEN TEST_DIR "/golden/adapters/"
enum { MOST = 64 * 64 };

// ---- targets.txt ----

// "KEY -", or "KEY RANK ALPHA".
static void check_line(PeftTargets *t, const char *config, const char *line, const Err *err) {
    char key[160], rank[32], alpha[32] = "";
    assert_true(sscanf(line, "%159s %31s %31s", key, rank, alpha) >= 2);
    PeftModule m = {.key = key};
    int found = peft_targets_match(t, &m);
    if (found < 0) fail_msg("%s: %s", config, err->msg);
    bool want = strcmp(rank, "-") != 0;
    if (found != want) fail_msg("%s: %s is %s target", config, key, want ? "a" : "no");
    if (want && (m.rank != strtod(rank, NULL) || m.alpha != strtod(alpha, NULL)))
        fail_msg("%s: %s has r %g, alpha %g; PEFT: %s, %s", config, key, m.rank, m.alpha, rank, alpha);
}

static void test_peft_targets_are_those_of_peft(void **state) {
    (void)state;
    char line[1024], config[1024] = "";
    JsonDoc *doc = NULL;
    PeftTargets *t = NULL;
    Err err;
    FILE *in = fopen(GOLDEN "targets.txt", "r");
    assert_non_null(in);
    int lines = 0;
    while (fgets(line, sizeof line, in)) {
        if (line[0] != '=') {
            check_line(t, config, line, &err);
            lines++;
            continue;
        }
        peft_targets_free(t);
        json_free(doc);
        snprintf(config, sizeof config, "%.*s", (int)strcspn(line + 2, "\n"), line + 2);
        ASSERT_OK(json_parse(&doc, config, strlen(config), "config", 1, &err), &err);
        ASSERT_OK(peft_targets_new(&t, &(JsonReader){json_root(doc), "config", "", &err}), &err);
    }
    assert_true(lines > 1000);
    peft_targets_free(t);
    json_free(doc);
    fclose(in);
}

// Refused when it is read, or at the first key that takes too long.
static void check_refused(const char *config, const char *part) {
    JsonDoc *doc;
    PeftTargets *t;
    Err err;
    ASSERT_OK(json_parse(&doc, config, strlen(config), "config", 1, &err), &err);
    int rc = peft_targets_new(&t, &(JsonReader){json_root(doc), "config", "", &err});
    PeftModule m = {.key = "model.layers.0.self_attn.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    if (rc == 0) {
        rc = peft_targets_match(t, &m);
        peft_targets_free(t);
    }
    assert_int_equal(rc, -1);
    assert_int_equal(err.kind, ERR_INPUT);
    if (!strstr(err.msg, part)) fail_msg("%s: %s lacks %s", config, err.msg, part);
    json_free(doc);
}

static void test_peft_targets_refuse_what_python_does_not_know(void **state) {
    (void)state;
    static const struct {
        const char *key, *part;
    } cases[] = {
        {"\"target_modules\":\"(*LIMIT_MATCH=1)q\"", "(*"},
        {"\"target_modules\":\"q(*ACCEPT)\"", "(*"},
        {"\"target_modules\":\"(?R)\"", "a group"},
        {"\"target_modules\":\"(?P>x)\"", "a group"},
        {"\"target_modules\":\"[[:alpha:]]\"", "POSIX"},
        {"\"target_modules\":\"\\\\Qq\"", "an escape"},
        {"\"target_modules\":\"q\\\\\"", "backslash"},
        {"\"target_modules\":\"(q\"", "target_modules"},
        {"\"target_modules\":\".*(a|aa)+[bc]\"", "steps"},
        {"\"target_modules\":[\"q\",1]", "holds an integer"},
        {"\"target_modules\":7", "a list of names or a pattern"},
        {"\"target_modules\":[\"q\"],\"exclude_modules\":{}", "exclude_modules"},
        {"\"target_modules\":[\"q\"],\"rank_pattern\":[2]", "rank_pattern"},
        {"\"target_modules\":[\"q\"],\"rank_pattern\":{\"q\":\"2\"}", "rank_pattern"},
        {"\"target_modules\":[\"q\"],\"alpha_pattern\":{\"(\":2}", "alpha_pattern"},
        {"\"target_modules\":[\"q\"],\"layers_to_transform\":[\"1\"]", "layers_to_transform"},
        {"\"target_modules\":\".*\",\"layers_to_transform\":[1]", "which PEFT refuses"},
        {"\"target_modules\":[\"q\"],\"layers_to_transform\":1,\"layers_pattern\":[1]", "layers_pattern"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *config = mem_printf("{\"r\":8,\"lora_alpha\":16,%s}", cases[i].key);
        check_refused(config, cases[i].part);
        mem_free(config);
    }
    check_refused("{\"lora_alpha\":1}", "config: r is missing");
    check_refused("{\"r\":null,\"lora_alpha\":1}", "config: r is null");
}

// ---- adapters that PEFT has saved ----

typedef struct Case {
    Family family;
    Backend *backend;
    Model *model;
    char dir[256];
    int32_t *ids;
    float *want;
    size_t n_ids, n_want;
} Case;

static void *take(const Safetensors *s, const char *name, size_t *n) {
    const SafetensorsTensor *t = safetensors_get(s, name);
    assert_non_null(t);
    *n = t->bytes / 4;
    void *copy = mem_alloc(*n, 4);
    memcpy(copy, t->data, t->bytes);
    return copy;
}

static Case open_case_on(const char *name, Backend *b) {
    Case c = {0};
    Err err;
    char *family, path[320];
    size_t n;
    snprintf(c.dir, sizeof c.dir, GOLDEN "%s", name);
    snprintf(path, sizeof path, "%s/case.txt", c.dir);
    ASSERT_OK(file_read(&family, &n, path, 100, &err), &err);
    family[strcspn(family, "\n")] = 0;
    family_open(&c.family, family, FAMILY_HF);
    mem_free(family);
    c.backend = b;
    ASSERT_OK(model_load(&c.model, c.family.path, c.backend, &(ModelOptions){.classifier = true}, &err), &err);
    Safetensors *s;
    snprintf(path, sizeof path, "%s/logits.safetensors", c.dir);
    ASSERT_OK(safetensors_open(&s, path, &err), &err);
    c.ids = take(s, "ids", &c.n_ids);
    c.want = take(s, "logits", &c.n_want);
    assert_true(c.n_want <= MOST);
    safetensors_close(s);
    return c;
}

static Case open_case(const char *name) {
    Backend *b;
    Err err;
    ASSERT_OK(backend_open(&b, "cpu", 1, &err), &err);
    return open_case_on(name, b);
}

static void close_case(Case *c) {
    mem_free(c->ids);
    mem_free(c->want);
    model_free(c->model);
    backend_close(c->backend);
    family_close(&c->family);
}

static void compare_logits(const Case *c, const Adapter *a, const char *path) {
    Err err;
    float got[MOST];
    int rc = a->config.labels ? model_class_logits(c->model, a, c->ids, (int64_t)c->n_ids, (int64_t)c->n_ids, got, &err)
                              : model_logits(c->model, a, c->ids, (int64_t)c->n_ids, got, &err);
    ASSERT_OK(rc, &err);
    for (size_t i = 0; i < c->n_want; i++)
        if (!(fabsf(got[i] - c->want[i]) <= 1e-5f))
            fail_msg("%s: logit %zu is %g; PEFT: %g", path, i, (double)got[i], (double)c->want[i]);
}

static Adapter *check_logits(const Case *c, const char *path) {
    Adapter *a;
    Err err;
    ASSERT_OK(adapter_load(&a, c->model, path, true, &err), &err);
    compare_logits(c, a, path);
    return a;
}

// As PEFT saved it, as lorac writes it, as GGUF, and as PEFT folder from that. `patterns`: of what lorac writes.
static void check_case(const char *name, const char *patterns) {
    Case c = open_case(name);
    Err err;
    Adapter *a = check_logits(&c, c.dir), *b;
    cJSON *config = peft_config_write(a, c.model, "base");
    char *flat = cJSON_PrintUnformatted(config);
    for (const char *p = patterns; *p; p += strcspn(p, ";"), p += *p == ';') {
        char part[512];
        snprintf(part, sizeof part, "%.*s", (int)strcspn(p, ";"), p);
        if (!strstr(flat, part)) fail_msg("%s: %s lacks %s", name, flat, part);
    }
    ASSERT_OK(adapter_save_peft(a, c.model, "saved", NULL, &err), &err);
    b = check_logits(&c, "saved");
    assert_int_equal(a->count, b->count);
    assert_memory_equal(a->params, b->params, (size_t)a->count * sizeof(float));
    adapter_free(b);
    if (a->config.dora) {
        assert_int_equal(adapter_narrow(&a, c.model, a->config.projections), 0);
        compare_logits(&c, a, "narrowed");
        ASSERT_REFUSED(adapter_save_gguf(a, c.model, "saved.gguf", "x", &err), &err, "magnitudes of DoRA");
    }
    if (adapter_has_gguf(a)) {
        ASSERT_OK(adapter_save_gguf(a, c.model, "saved.gguf", "x", &err), &err);
        b = check_logits(&c, "saved.gguf");
        ASSERT_OK(adapter_save_peft(b, c.model, "again", NULL, &err), &err);
        adapter_free(b);
        adapter_free(check_logits(&c, "again"));
    }
    cJSON_free(flat);
    cJSON_Delete(config);
    adapter_free(a);
    close_case(&c);
    c = open_case_on(name, strided_open()); // a device, on which q, k and v lie stacked
    adapter_free(check_logits(&c, c.dir));
    close_case(&c);
}

static void test_peft_adapters_compute_what_peft_does(void **state) {
    (void)state;
    check_case("patterns",
               "\"rank_pattern\":{\"v_proj\":1,\"gate_proj\":3,\"model.layers.1.mlp.up_proj\":3,\"down_proj\":3};"
               "\"r\":2;\"use_rslora\":false;\"lora_alpha\":8.48528137423857;"
               "\"alpha_pattern\":{\"v_proj\":6,\"model.layers.0.mlp.up_proj\":4.2426406871192857");
    check_case("full-names",
               "[\"model.layers.0.self_attn.q_proj\",\"model.layers.1.mlp.up_proj\"];\"rank_pattern\":{}");
    check_case("above-the-side", "\"rank_pattern\":{\"v_proj\":36};\"r\":40");
    check_case("layers", "[\"model.layers.1.self_attn.q_proj\",\"model.layers.0.mlp.down_proj\"];"
                         "\"layers_to_transform\":null");
    check_case("regex",
               "[\"q_proj\",\"k_proj\",\"gate_proj\"];\"rank_pattern\":{\"model.layers.0.self_attn.q_proj\":4,");
    check_case(
        "gpt2",
        "\"rank_pattern\":{\"c_attn\":3,\"transformer.h.1.mlp.c_proj\":1};\"alpha_pattern\":{\"attn.c_proj\":5}");
    check_case("phi3", "[\"model.layers.1.self_attn.qkv_proj\",\"gate_up_proj\"];\"alpha_pattern\":{\"qkv_proj\":4}");
    check_case("mixtral", "[\"q_proj\",\"o_proj\"];\"rank_pattern\":{\"o_proj\":1}");
    check_case("dora", "\"use_dora\":true;\"rank_pattern\":{\"up_proj\":3}");
    check_case("dora-gpt2", "\"use_dora\":true;[\"c_attn\",\"c_proj\"]");
    check_case("bert", "\"rank_pattern\":{\"attention.output.dense\":3,\"bert.encoder.layer.1.output.dense\":1};"
                       "\"modules_to_save\":[\"classifier\"]");
}

// BERT's output.dense is the end of attention.output.dense: both names are written where they share a value.
static void test_peft_writes_a_pattern_for_every_module(void **state) {
    (void)state;
    Case c = open_case("bert");
    AdapterConfig config = {.rank = 2, .alpha = 4};
    Adapter *a, *b;
    Err err;
    AdapterRank *each = mem_calloc((size_t)c.model->config.layers * PROJ_COUNT, sizeof *each);
    for (int64_t i = 0; i < c.model->config.layers; i++) {
        each[i * PROJ_COUNT + PROJ_O] = each[i * PROJ_COUNT + PROJ_DOWN] = (AdapterRank){3, 4};
        each[i * PROJ_COUNT + PROJ_UP] = (AdapterRank){2, 4};
    }
    adapter_config_set_each(&config, each, c.model);
    ASSERT_OK(adapter_new(&a, c.model, &config, 1, false, &err), &err);
    for (int64_t i = 0; i < a->count; i++) a->params[i] = 0.01f;
    ASSERT_OK(adapter_save_peft(a, c.model, "saved", NULL, &err), &err);
    ASSERT_OK(adapter_load(&b, c.model, "saved", false, &err), &err);
    assert_int_equal(a->count, b->count);
    adapter_free(a);
    adapter_free(b);
    adapter_config_clear(&config);
    close_case(&c);
}

// ---- tensors by other names, and what is named when something is missing ----

// Writes the golden adapter "mixtral" into "peft" with its tensors renamed: each of `from` to `to`, in the first n.
static void rename_tensors(const char *from, const char *to, size_t n) {
    Safetensors *s;
    Err err;
    char *text;
    size_t size;
    ASSERT_OK(safetensors_open(&s, GOLDEN "mixtral/adapter_model.safetensors", &err), &err);
    SafetensorsEntry entries[16];
    size_t count = safetensors_count(s);
    assert_true(count <= 16);
    for (size_t i = 0; i < count; i++) {
        const SafetensorsTensor *t = safetensors_at(s, i);
        const char *at = i < n ? strstr(t->name, from) : NULL;
        char *name =
            at ? mem_printf("%.*s%s%s", (int)(at - t->name), t->name, to, at + strlen(from)) : mem_strdup(t->name);
        entries[i] = (SafetensorsEntry){name, t->dtype, t->n_dims, {t->shape[0], t->shape[1]}, t->data};
    }
    ASSERT_OK(dir_make_parents("peft", &err), &err);
    ASSERT_OK(safetensors_save("peft/adapter_model.safetensors", entries, count, NULL, 0, replace_any, &err), &err);
    for (size_t i = 0; i < count; i++) mem_free((char *)entries[i].name);
    safetensors_close(s);
    ASSERT_OK(file_read(&text, &size, GOLDEN "mixtral/adapter_config.json", 1 << 20, &err), &err);
    scratch_put("peft/adapter_config.json", text, size);
    mem_free(text);
}

static void test_peft_tensors_by_other_names(void **state) {
    (void)state;
    Case c = open_case("mixtral");
    static const struct {
        const char *from, *to;
    } names[] = {{"base_model.", "module.base_model."},
                 {"base_model.model.model.", ""},
                 {"base_model.model.", "model._orig_mod."},
                 {"layers.", "layers._checkpoint_wrapped_module."},
                 {".weight", ".some name.weight"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        rename_tensors(names[i].from, names[i].to, 16);
        adapter_free(check_logits(&c, "peft"));
    }
    static const struct {
        const char *from, *to, *part;
        size_t n;
    } bad[] = {{".weight", ".default.weight", "expected one adapter", 1},
               {"layers.0", "layers.7", "layers.7.self_attn", 1},
               {"model.layers", "vision_tower.layers", "vision_tower.layers.0", 16},
               {"lora_A", "lora_magnitude_vector", "lora_magnitude_vector", 1}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        Adapter *a;
        Err err;
        rename_tensors(bad[i].from, bad[i].to, bad[i].n);
        ASSERT_REFUSED(adapter_load(&a, c.model, "peft", false, &err), &err, bad[i].part);
        assert_int_equal(err.kind, ERR_INPUT);
    }
    close_case(&c);
}

static void test_peft_folder_without_safetensors(void **state) {
    (void)state;
    Case c = open_case("mixtral");
    Adapter *a;
    Err err;
    rename_tensors("", "", 0);
    unlink("peft/adapter_model.safetensors");
    ASSERT_REFUSED(adapter_load(&a, c.model, "peft", false, &err), &err, "has no adapter_model.safetensors");
    scratch_put("peft/adapter_model.bin", "PK", 2);
    ASSERT_REFUSED(adapter_load(&a, c.model, "peft", false, &err), &err, "found adapter_model.bin");
    if (!strstr(err.msg, "convert it with: python3 -c")) fail_msg("%s", err.msg);
    ASSERT_REFUSED(adapter_load(&a, c.model, "peft/adapter_model.bin", false, &err), &err, "a file of a PEFT folder");
    ASSERT_OK(dir_make_parents("out/adapter", &err), &err);
    scratch_put("out/adapter/adapter_model.safetensors", "", 0);
    ASSERT_REFUSED(adapter_load(&a, c.model, "out", false, &err), &err, "but a folder adapter with one");
    close_case(&c);
}

// A rank of 2^20 in the config does not take memory before the tensors are seen to have it.
static void test_peft_rank_beyond_the_file(void **state) {
    (void)state;
    Case c = open_case("mixtral");
    Adapter *a;
    Err err;
    rename_tensors("", "", 0);
    static const char config[] =
        "{\"peft_type\":\"LORA\",\"r\":1048576,\"lora_alpha\":1,\"target_modules\":[\"q_proj\"],"
        "\"rank_pattern\":{\"o_proj\":1048576}}";
    scratch_put("peft/adapter_config.json", config, sizeof config - 1);
    ASSERT_REFUSED(adapter_load(&a, c.model, "peft", false, &err), &err, "expected [1048576, 32]");
    close_case(&c);
}

TEST_MAIN(TEST(test_peft_targets_are_those_of_peft), TEST(test_peft_targets_refuse_what_python_does_not_know),
          SCRATCH_TEST(test_peft_adapters_compute_what_peft_does),
          SCRATCH_TEST(test_peft_writes_a_pattern_for_every_module), SCRATCH_TEST(test_peft_tensors_by_other_names),
          SCRATCH_TEST(test_peft_folder_without_safetensors), SCRATCH_TEST(test_peft_rank_beyond_the_file))
