// The JSON Schema of the config (`lorac help config --json`): well-formed, true to what lorac accepts, and true of the
// configs in configs/. The checker below knows the keywords that the schema uses, and no others.
#include <cjson/cJSON.h>

#include "test.h"

#include <dirent.h>
#include <math.h>

#include "config.h"
#include "config_internal.h"
#include "regex.h"

typedef struct Check {
    const cJSON *root; // for $ref
    const char *fault; // the keyword that refused, or an unknown one
} Check;

static bool is_type(const cJSON *v, const char *type) {
    if (strcmp(type, "null") == 0) return cJSON_IsNull(v);
    if (strcmp(type, "boolean") == 0) return cJSON_IsBool(v);
    if (strcmp(type, "string") == 0) return cJSON_IsString(v);
    if (strcmp(type, "array") == 0) return cJSON_IsArray(v);
    if (strcmp(type, "object") == 0) return cJSON_IsObject(v);
    if (strcmp(type, "number") == 0) return cJSON_IsNumber(v);
    if (strcmp(type, "integer") != 0) fail_msg("unknown type %s", type);
    return cJSON_IsNumber(v) && v->valuedouble == floor(v->valuedouble);
}

static bool has_type(const cJSON *v, const cJSON *type) {
    if (cJSON_IsString(type)) return is_type(v, type->valuestring);
    for (const cJSON *t = type->child; t; t = t->next)
        if (is_type(v, t->valuestring)) return true;
    return false;
}

static bool matches(const char *text, const char *pattern) {
    Regex *re;
    RegexWalk w = {0};
    Err err;
    size_t begin, end;
    ASSERT_OK(regex_new(&re, pattern, strlen(pattern), &err), &err);
    regex_walk_begin(&w, re, text, strlen(text));
    bool found = regex_walk_next(&w, &begin, &end);
    regex_walk_clear(&w);
    regex_free(re);
    return found;
}

static bool is_one_of(const cJSON *v, const cJSON *list) {
    for (const cJSON *e = list->child; e; e = e->next)
        if (cJSON_Compare(v, e, true)) return true;
    return false;
}

static bool holds(Check *c, const cJSON *schema, const cJSON *v);

static bool holds_any(Check *c, const cJSON *list, const cJSON *v) {
    for (const cJSON *s = list->child; s; s = s->next)
        if (holds(c, s, v)) return true;
    return false;
}

static bool members_hold(Check *c, const cJSON *schema, const cJSON *v) {
    const cJSON *properties = cJSON_GetObjectItemCaseSensitive(schema, "properties");
    for (const cJSON *m = v->child; m; m = m->next) {
        const cJSON *s = cJSON_GetObjectItemCaseSensitive(properties, m->string);
        if (s ? !holds(c, s, m) : cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(schema, "additionalProperties")))
            return false;
    }
    const cJSON *required = cJSON_GetObjectItemCaseSensitive(schema, "required");
    for (const cJSON *r = required ? required->child : NULL; r; r = r->next)
        if (!cJSON_GetObjectItemCaseSensitive(v, r->valuestring)) return false;
    return true;
}

static bool keyword_holds(Check *c, const cJSON *schema, const cJSON *k, const cJSON *v) {
    bool number = cJSON_IsNumber(v), string = cJSON_IsString(v), array = cJSON_IsArray(v);
#define IS(name) (strcmp(k->string, name) == 0)
    if (IS("$schema") || IS("title") || IS("description") || IS("default")) return true;
    if (IS("type")) return has_type(v, k);
    if (IS("enum")) return is_one_of(v, k);
    if (IS("const")) return cJSON_Compare(v, k, true);
    if (IS("minimum")) return !number || v->valuedouble >= k->valuedouble;
    if (IS("exclusiveMinimum")) return !number || v->valuedouble > k->valuedouble;
    if (IS("maximum")) return !number || v->valuedouble <= k->valuedouble;
    if (IS("minLength")) return !string || strlen(v->valuestring) >= (size_t)k->valueint;
    if (IS("pattern")) return !string || matches(v->valuestring, k->valuestring);
    if (IS("minItems")) return !array || cJSON_GetArraySize(v) >= k->valueint;
    if (IS("anyOf")) return holds_any(c, k, v);
    if (IS("properties")) return !cJSON_IsObject(v) || members_hold(c, schema, v);
    if (IS("required") || IS("additionalProperties")) return true; // with properties
    if (IS("items")) {
        for (const cJSON *e = array ? v->child : NULL; e; e = e->next)
            if (!holds(c, k, e)) return false;
        return true;
    }
    if (!IS("$ref")) fail_msg("unknown keyword %s", k->string);
#undef IS
    assert_int_equal(strncmp(k->valuestring, "#/properties/", 13), 0);
    const cJSON *properties = cJSON_GetObjectItemCaseSensitive(c->root, "properties");
    const cJSON *target = cJSON_GetObjectItemCaseSensitive(properties, k->valuestring + 13);
    assert_non_null(target);
    return holds(c, target, v);
}

static bool holds(Check *c, const cJSON *schema, const cJSON *v) {
    for (const cJSON *k = schema->child; k; k = k->next)
        if (!keyword_holds(c, schema, k, v)) {
            c->fault = k->string;
            return false;
        }
    return true;
}

static cJSON *schema_new(void) {
    cJSON *schema = keys_schema(&config_table, "config");
    char *text = cJSON_Print(schema); // as it is printed
    cJSON_Delete(schema);
    schema = cJSON_Parse(text);
    assert_non_null(schema);
    cJSON_free(text);
    return schema;
}

// Text that holds, or not.
static bool text_holds(const char *text) {
    Check c = {.root = schema_new()};
    JsonDoc *doc;
    StrBuf plain = {0}; // without comments
    Err err;
    ASSERT_OK(json_parse_config(&doc, text, strlen(text), "config", &err), &err);
    json_print(&plain, json_root(doc));
    cJSON *root = cJSON_Parse(plain.data);
    bool held = holds(&c, c.root, root);
    cJSON_Delete(root);
    json_free(doc);
    str_clear(&plain);
    cJSON_Delete((cJSON *)c.root);
    return held;
}

static void test_schema_describes_every_key(void **state) {
    (void)state;
    cJSON *schema = schema_new(), *properties = cJSON_GetObjectItemCaseSensitive(schema, "properties");
    assert_string_equal(cJSON_GetObjectItemCaseSensitive(schema, "$schema")->valuestring,
                        "https://json-schema.org/draft/2020-12/schema");
    for (size_t i = 0; i < CONFIG_KEYS; i++) {
        const Key *k = &config_table.keys[i];
        const cJSON *s = cJSON_GetObjectItemCaseSensitive(properties, k->name);
        assert_non_null(s);
        assert_non_null(strstr(cJSON_GetObjectItemCaseSensitive(s, "description")->valuestring, k->help));
        Check c = {.root = schema};
        const cJSON *standard = cJSON_GetObjectItemCaseSensitive(s, "default");
        if (!standard || !holds(&c, s, standard)) fail_msg("%s: the default is refused by %s", k->name, c.fault);
    }
    for (const cJSON *p = properties->child; p; p = p->next) {
        const char *implied;
        assert_non_null(keys_find(&config_table, p->string, &implied));
    }
    cJSON_Delete(schema);
}

// Schema and reader agree on each key and each of these values.
static void test_schema_agrees_with_the_reader(void **state) {
    (void)state;
    static const char *const values[] = {"null",
                                         "true",
                                         "false",
                                         "0",
                                         "1",
                                         "-1",
                                         "1.5",
                                         "0.5",
                                         "3.0",
                                         "1e300",
                                         "\"\"",
                                         "\"auto\"",
                                         "\"true\"",
                                         "\"none\"",
                                         "\"all\"",
                                         "\"6GiB\"",
                                         "[]",
                                         "{}",
                                         "\"6 xx\"",
                                         "[\"html\"]",
                                         "[1]",
                                         "[-1]",
                                         "[\"\"]",
                                         "[[]]",
                                         "1048576",
                                         "\"12345678\"",
                                         "[\"a\", {\"path\": \"b\", \"weight\": 2}]",
                                         "{\"path\": \"b\", \"weight\": 0}",
                                         "{\"path\": \"b\", \"w\": 1}"};
    cJSON *schema = schema_new(), *properties = cJSON_GetObjectItemCaseSensitive(schema, "properties");
    for (size_t i = 0; i < CONFIG_KEYS; i++)
        for (size_t j = 0; j < sizeof values / sizeof *values; j++) {
            const Key *k = &config_table.keys[i];
            if (k->is_valid) continue; // the schema does not know its rule
            Check c = {.root = schema};
            Config config = {0};
            Err err = {0};
            cJSON *v = cJSON_Parse(values[j]);
            JsonDoc *doc;
            ASSERT_OK(json_parse(&doc, values[j], strlen(values[j]), "", 1, &err), &err);
            bool read = key_read(&config, k, json_root(doc), "", &err) == 0;
            bool held = holds(&c, cJSON_GetObjectItemCaseSensitive(properties, k->name), v);
            if (read != held)
                fail_msg("%s: %s: read %d (%s), schema %d (%s)", k->name, values[j], read, err.msg, held, c.fault);
            config_clear(&config);
            json_free(doc);
            cJSON_Delete(v);
        }
    cJSON_Delete(schema);
}

static void test_schema_refuses(void **state) {
    (void)state;
    assert_true(text_holds("{\"r\": 8, \"load_in_4bit\": true, // c\n\"dataset\": \"d\"}"));
    assert_false(text_holds("{\"lorra_r\": 8}"));
    assert_false(text_holds("{\"r\": \"8\"}"));
    assert_false(text_holds("{\"load_in_4bit\": 4}"));
    assert_false(text_holds("{\"runs\": [1]}"));
}

static void check_file(const char *path) {
    char text[1 << 16];
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    size_t n = fread(text, 1, sizeof text - 1, f);
    text[n] = 0;
    fclose(f);
    if (!text_holds(text)) fail_msg("%s does not hold", path);
    Config c = {0};
    Err err;
    char *argv[] = {(char *)path};
    ASSERT_OK(config_load(&c, 1, argv, CONFIG_FOR_TRAIN, &err), &err);
    char *saved = config_json(&c);
    assert_true(text_holds(saved));
    mem_free(saved);
    config_clear(&c);
}

static void test_schema_holds_for_all_configs(void **state) {
    (void)state;
    DIR *d = opendir(SOURCE_DIR "/configs");
    int files = 0;
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        size_t n = strlen(e->d_name);
        if (n < 5 || strcmp(e->d_name + n - 5, ".json") != 0) continue;
        char *path = mem_printf("%s/%s", SOURCE_DIR "/configs", e->d_name);
        check_file(path);
        mem_free(path);
        files++;
    }
    closedir(d);
    assert_true(files >= 3);
}

TEST_MAIN(TEST(test_schema_describes_every_key), TEST(test_schema_agrees_with_the_reader), TEST(test_schema_refuses),
          TEST(test_schema_holds_for_all_configs))
