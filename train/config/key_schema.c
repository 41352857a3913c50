// key_schema: a table of keys as JSON Schema, draft 2020-12. It accepts what key_read accepts, but for rules that span
// keys and keys given twice under different names. null means absent for every key.
#include <string.h>

#include "keys_internal.h"

static void add_description(cJSON *schema, const Key *k) {
    AUTO_STR StrBuf text = {0};
    str_puts(&text, k->help);
    for (const EnumWord *w = k->words; w && w->word; w++)
        if (w->help) str_printf(&text, "\n%s: %s", w->word, w->help);
    cJSON_AddStringToObject(schema, "description", text.data);
}

static cJSON *key_schema(const Key *k) {
    cJSON *s = cJSON_CreateObject(), *standard = cJSON_Parse(k->standard ? k->standard : "null");
    key_forms[k->type].schema(s, k);
    cJSON_AddItemToObject(s, "default", standard);
    add_description(s, k);
    return s;
}

// An alias is the key by another name; one with an implied value is true or false.
static void add_aliases(cJSON *properties, const Key *k) {
    char alias[64];
    for (const char *at = k->aliases; at && text_next_word(&at, alias, sizeof alias);) {
        char *equals = strchr(alias, '=');
        if (equals) *equals = 0;
        cJSON *s = cJSON_AddObjectToObject(properties, alias);
        AUTO_FREE char *target = mem_printf("#/properties/%s", k->name);
        AUTO_FREE char *text =
            equals ? mem_printf("true: %s %s", k->name, equals + 1) : mem_printf("Same as %s.", k->name);
        if (equals)
            schema_add_types(s, "boolean null");
        else
            cJSON_AddStringToObject(s, "$ref", target);
        cJSON_AddStringToObject(s, "description", text);
    }
}

cJSON *keys_schema(const KeyTable *t, const char *title) {
    cJSON *root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "$schema", "https://json-schema.org/draft/2020-12/schema");
    cJSON_AddStringToObject(root, "title", title);
    cJSON_AddStringToObject(root, "type", "object");
    cJSON *properties = cJSON_AddObjectToObject(root, "properties");
    for (const Key *k = t->keys; k < t->keys + t->count; k++) {
        cJSON_AddItemToObject(properties, k->name, key_schema(k));
        add_aliases(properties, k);
    }
    cJSON_AddFalseToObject(root, "additionalProperties");
    return root;
}
