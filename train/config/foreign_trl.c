// foreign_trl: the data set of TRL's configs: a file, a folder with a file for each split, or a name on the hub.
#include <string.h>

#include "foreign.h"
#include "hub_cache.h"
#include "json_pool.h"
#include "path.h"

// DIR/NAME.jsonl, .json, .csv or .parquet, with the split's name.
static char *split_file(const char *dir, const Json *split, const char *standard) {
    const char *name = split && json_is_text(split) ? split->str.data : standard;
    static const char *const kinds[] = {"jsonl", "json", "csv", "parquet"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        AUTO_FREE char *file = mem_printf("%s.%s", name, kinds[i]);
        AUTO_FREE char *path = path_join(dir, file);
        if (path_exists(path)) return mem_take(&path);
    }
    return NULL;
}

static void set_hub_split(const Foreign *f, ConfigKey key, const char *name, const Json *split, const char *standard) {
    AUTO_FREE char *text = mem_printf("%s:%s", name, split && json_is_text(split) ? split->str.data : standard);
    Json path = json_string(json_str(text));
    foreign_set(f, key, &path);
}

void map_dataset_name(const Foreign *f, const Json *v) {
    const Json *root = f->l->root;
    const Json *evaluates = json_given(root, "eval_strategy");
    bool with_test = evaluates && !json_is_string(evaluates, "no") && evaluates->type != JSON_FALSE;
    if (json_is_text(v) && hub_is_name(v->str.data, HUB_DATASET)) {
        set_hub_split(f, CONFIG_train_file, v->str.data, json_given(root, "dataset_train_split"), "train");
        if (with_test)
            set_hub_split(f, CONFIG_validation_file, v->str.data, json_given(root, "dataset_test_split"), "test");
        return;
    }
    if (!json_is_text(v) || !path_is_dir(v->str.data)) {
        foreign_set(f, CONFIG_train_file, v);
        return;
    }
    AUTO_FREE char *train = split_file(v->str.data, json_given(root, "dataset_train_split"), "train");
    AUTO_FREE char *test = split_file(v->str.data, json_given(root, "dataset_test_split"), "test");
    Json path = json_string(json_str(train ? train : v->str.data));
    foreign_set(f, CONFIG_train_file, &path);
    path = json_string(json_str(test ? test : ""));
    if (test && with_test) foreign_set(f, CONFIG_validation_file, &path);
}

void map_text_field(const Foreign *f, const Json *v) {
    if (!json_is_text(v) || !v->str.len) {
        foreign_refuse(f, v, "expected the name of a key");
    } else if (strcmp(v->str.data, "text") != 0) {
        mem_free(f->l->given.text_field);
        f->l->given.text_field = mem_strdup(v->str.data);
    }
}

void map_test_split(const Foreign *f, const Json *v) { foreign_set(f, CONFIG_val_set_size, v); }
