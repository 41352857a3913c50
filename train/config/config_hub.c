// config_hub: names on the hub, in place of paths, become paths of its cache (hub_cache.h). A name that is not there
// stays as it is, and what opens it says so; with `pull` it is fetched, once nothing else is wrong with the config.
#include <string.h>

#include "config_internal.h"
#include "hub_cache.h"
#include "hub_name.h"
#include "hub_pull.h"
#include "record_slice.h"

// True: `text` was fetched and can be looked up again. A failure ends the loading.
static bool fetch(Loading *l, const char *text, HubType type, const char *revision) {
    if (!l->c->pull || l->n_problems || l->failed.kind || !hub_is_name(text, type)) return false;
    return hub_pull_named(text, type, revision, &l->failed) == 0;
}

// A revision in the name and model_revision: the one that is not the standard, "main".
static void find_model(Loading *l, ConfigKey key, char **field, const char *revision) {
    AUTO_HUB_NAME HubName n = {0};
    Err err = {0};
    if (!*field || l->wrong[key]) return;
    if (hub_is_name(*field, HUB_MODEL) && hub_name_read(&n, *field, HUB_MODEL) && n.revision && revision) {
        if (strcmp(revision, "main") != 0 && strcmp(revision, n.revision) != 0) {
            AUTO_FREE char *what =
                mem_printf("found @%s in the name and model_revision %s; expected one of them", n.revision, revision);
            refuse_key(l, key, what);
            return;
        }
        mem_free(l->c->model_revision); // of the adapter's base, and of a run that begins from the saved config
        l->c->model_revision = mem_strdup(n.revision);
        revision = NULL;
    }
    AUTO_FREE char *name = mem_strdup(*field);
    int rc = hub_find_model(field, revision, &err);
    if (!rc && strcmp(name, *field) == 0 && fetch(l, name, HUB_MODEL, revision))
        rc = hub_find_model(field, revision, &err);
    if (rc) refuse_key(l, key, err.msg);
    bool other = revision && strcmp(revision, "main") != 0 && !strpbrk(name, "@:") && hub_is_name(*field, HUB_MODEL);
    if (!other || strcmp(name, *field) != 0) return;
    mem_free(*field); // what opens it names the revision
    *field = mem_printf("%s@%s", name, revision);
}

// *found: its files, none if it is no name.
static int find_data(Loading *l, NameList *found, const char *text, const char *split, Err *err) {
    bool is_there;
    int rc = hub_find_data(found, &is_there, text, split, err);
    return (rc || !is_there) && fetch(l, text, HUB_DATASET, NULL) ? hub_find_data(found, &is_there, text, split, err)
                                                                  : rc;
}

// What is left of a rule for one of `count` files of a split: its slice, as the slice of a file. Of several files
// nothing that is meant for all of them together.
static void fit_rule(Loading *l, ConfigKey key, FileRule *rule, size_t count) {
    RecordSlice unused;
    size_t name = 0;
    if (rule->split) record_slice_parse(&unused, rule->split, &name);
    char *slice = rule->split && rule->split[name] ? mem_printf("train%s", rule->split + name) : NULL;
    if (count > 1 && (slice || rule->limit || rule->probability || l->c->mix_strategy != MIX_CONCAT))
        refuse_key(
            l, key,
            "a split in several files; with max_samples, a slice, probability or mix_strategy expected one file, "
            "as owner/name/FILE");
    mem_free(rule->split);
    rule->split = slice;
}

static void find_files(Loading *l, ConfigKey key, FileList *files, const char *standard) {
    FileList all = {0};
    if (l->wrong[key]) return;
    for (size_t i = 0; i < files->count; i++) {
        AUTO_NAMES NameList found = {0};
        FileRule *rule = &files->rules[i];
        size_t n = rule->split ? strcspn(rule->split, "[") : 0;
        AUTO_FREE char *split = n ? mem_strndup(rule->split, n) : mem_strdup(standard);
        Err err = {0};
        if (find_data(l, &found, files->items[i], split, &err)) refuse_key(l, key, err.msg);
        if (found.count) fit_rule(l, key, rule, found.count);
        for (size_t k = 0; k < found.count; k++) file_list_add(&all, found.items[k], files->weights[i], rule);
        if (!found.count) file_list_add(&all, files->items[i], files->weights[i], rule);
    }
    file_list_clear(files);
    *files = all;
}

void find_hub_names(Loading *l) {
    Config *c = l->c;
    find_model(l, CONFIG_model_name_or_path, &c->model_name_or_path, c->model_revision);
    find_model(l, CONFIG_adapter_name_or_path, &c->adapter_name_or_path, NULL);
    find_model(l, CONFIG_teacher_model, &c->teacher_model, NULL);
    find_model(l, CONFIG_teacher_adapter, &c->teacher_adapter, NULL);
    find_files(l, CONFIG_train_file, &c->train_file, "train");
    find_files(l, CONFIG_validation_file, &c->validation_file, "validation");
}
