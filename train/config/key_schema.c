// key_schema: a table of keys as JSON Schema, draft 2020-12. It accepts what key_read accepts, but for rules that span
// keys and keys given twice under different names. null means absent for every key.
#include <cjson/cJSON.h>
#include <string.h>

#include "keys.h"

static cJSON *types(const char *const *names, size_t count) {
    return cJSON_CreateStringArray(names, (int)count);
}
#define TYPES(...)                                                                                                     \
    types((const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static void add_range(cJSON *schema, const Key *k) {
    if (k->min == 0 && k->max == 0) return;
    bool above = k->min == ABOVE_0;
    cJSON_AddNumberToObject(schema, above ? "exclusiveMinimum" : "minimum", above ? 0 : k->min);
    cJSON_AddNumberToObject(schema, "maximum", k->max);
}

// The words as values; "true" and "false" also as JSON's own.
static cJSON *values(const Key *k, bool with_null) {
    cJSON *list = cJSON_CreateArray();
    for (const EnumWord *w = k->words; w->word; w++) {
        cJSON_AddItemToArray(list, cJSON_CreateString(w->word));
        bool yes = strcmp(w->word, "true") == 0;
        if (yes || strcmp(w->word, "false") == 0) cJSON_AddItemToArray(list, cJSON_CreateBool(yes));
    }
    if (with_null) cJSON_AddItemToArray(list, cJSON_CreateNull());
    return list;
}

static cJSON *text_schema(void) {
    cJSON *s = cJSON_CreateObject();
    cJSON_AddStringToObject(s, "type", "string");
    cJSON_AddNumberToObject(s, "minLength", 1);
    return s;
}

static cJSON *file_schema(const Key *k) {
    cJSON *s = cJSON_CreateObject(), *members, *weight;
    cJSON_AddItemToObject(s, "type", TYPES("string", "object"));
    cJSON_AddNumberToObject(s, "minLength", 1);
    cJSON_AddItemToObject(s, "properties", members = cJSON_CreateObject());
    cJSON_AddItemToObject(members, "path", text_schema());
    cJSON_AddItemToObject(members, "weight", weight = cJSON_CreateObject());
    cJSON_AddItemToObject(weight, "type", TYPES("number", "null"));
    add_range(weight, k);
    cJSON_AddItemToObject(s, "required", TYPES("path"));
    cJSON_AddFalseToObject(s, "additionalProperties");
    return s;
}

static cJSON *item_schema(const Key *k) {
    if (k->type == KEY_FILES) return file_schema(k);
    if (k->type == KEY_STRINGS && !k->words) return text_schema();
    cJSON *s = cJSON_CreateObject();
    if (k->words) {
        cJSON_AddItemToObject(s, "enum", values(k, false));
    } else {
        cJSON_AddStringToObject(s, "type", "integer");
        add_range(s, k);
    }
    return s;
}

// A list, or one item without brackets, or null.
static void add_list(cJSON *schema, const Key *k) {
    cJSON *any = cJSON_AddArrayToObject(schema, "anyOf"), *list = cJSON_CreateObject(), *null = cJSON_CreateObject();
    cJSON_AddStringToObject(list, "type", "array");
    if (k->type == KEY_INTS) cJSON_AddNumberToObject(list, "minItems", 1);
    cJSON_AddItemToObject(list, "items", item_schema(k));
    cJSON_AddStringToObject(null, "type", "null");
    cJSON_AddItemToArray(any, item_schema(k));
    cJSON_AddItemToArray(any, list);
    cJSON_AddItemToArray(any, null);
}

// "^(all)$" for the words that a number may be replaced by.
static void add_pattern(cJSON *schema, const Key *k) {
    StrBuf pattern = {0};
    for (const EnumWord *w = k->words; w->word; w++) str_printf(&pattern, "%s%s", w == k->words ? "^(" : "|", w->word);
    str_puts(&pattern, ")$");
    cJSON_AddStringToObject(schema, "pattern", pattern.data);
    str_clear(&pattern);
}

static void add_type(cJSON *schema, const Key *k) {
    switch (k->type) {
    case KEY_STRING:
    case KEY_PATH:
    case KEY_TEXT:
    case KEY_TEXTS:
        cJSON_AddItemToObject(schema, "type", k->words ? TYPES("string", "boolean", "null") : TYPES("string", "null"));
        cJSON_AddNumberToObject(schema, "minLength", 1);
        break;
    case KEY_INT:
        cJSON_AddItemToObject(schema, "type", k->words ? TYPES("integer", "string", "null") : TYPES("integer", "null"));
        add_range(schema, k);
        if (k->words) add_pattern(schema, k);
        break;
    case KEY_FLOAT:
        cJSON_AddItemToObject(schema, "type", TYPES("number", "null"));
        add_range(schema, k);
        break;
    case KEY_BOOL:
        cJSON_AddItemToObject(schema, "type", TYPES("boolean", "null"));
        break;
    case KEY_CHOICE:
        cJSON_AddItemToObject(schema, "enum", values(k, true));
        break;
    case KEY_BYTES:
        cJSON_AddItemToObject(schema, "type", TYPES("number", "string", "null"));
        cJSON_AddNumberToObject(schema, "minimum", 0x1p20); // as word_bytes
        cJSON_AddNumberToObject(schema, "maximum", 0x1p60);
        cJSON_AddStringToObject(schema, "pattern", "^[-+0-9.eE]+ *([KMG](i?B)?|Ti?B|B)?$");
        break;
    case KEY_STRINGS:
    case KEY_FILES:
    case KEY_INTS:
        add_list(schema, k);
        break;
    }
}

static void add_description(cJSON *schema, const Key *k) {
    StrBuf text = {0};
    str_puts(&text, k->help);
    for (const EnumWord *w = k->words; w && w->word; w++)
        if (w->help) str_printf(&text, "\n%s: %s", w->word, w->help);
    cJSON_AddStringToObject(schema, "description", text.data);
    str_clear(&text);
}

static cJSON *key_schema(const Key *k) {
    cJSON *s = cJSON_CreateObject(), *standard = cJSON_Parse(k->standard ? k->standard : "null");
    if (k->later && strcmp(k->later, "*") == 0)
        cJSON_AddItemToObject(s, "const", cJSON_Duplicate(standard, true));
    else
        add_type(s, k);
    cJSON_AddItemToObject(s, "default", standard);
    add_description(s, k);
    return s;
}

// An alias is the key by another name; one with an implied value is true or false.
static void add_aliases(cJSON *properties, const Key *k) {
    char alias[64];
    for (const char *at = k->aliases; at && text_next_word(&at, alias, sizeof alias);) {
        char *equals = strchr(alias, '='), *text;
        if (equals) *equals = 0;
        cJSON *s = cJSON_AddObjectToObject(properties, alias);
        if (equals) {
            cJSON_AddItemToObject(s, "type", TYPES("boolean", "null"));
            text = mem_printf("true: %s %s", k->name, equals + 1);
        } else {
            char *target = mem_printf("#/properties/%s", k->name);
            cJSON_AddStringToObject(s, "$ref", target);
            mem_free(target);
            text = mem_printf("Same as %s.", k->name);
        }
        cJSON_AddStringToObject(s, "description", text);
        mem_free(text);
    }
}

cJSON *keys_schema(const KeyTable *t, const char *title) {
    cJSON *root = cJSON_CreateObject(), *properties;
    cJSON_AddStringToObject(root, "$schema", "https://json-schema.org/draft/2020-12/schema");
    cJSON_AddStringToObject(root, "title", title);
    cJSON_AddStringToObject(root, "type", "object");
    cJSON_AddItemToObject(root, "properties", properties = cJSON_CreateObject());
    for (const Key *k = t->keys; k < t->keys + t->count; k++) {
        cJSON_AddItemToObject(properties, k->name, key_schema(k));
        add_aliases(properties, k);
    }
    cJSON_AddFalseToObject(root, "additionalProperties");
    return root;
}
