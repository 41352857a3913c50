// model_labels: the classes that a base model has a head for.
#include <stdio.h>
#include <string.h>

#include "json.h"
#include "json_read.h"
#include "labels.h"
#include "model.h"
#include "path.h"

// "0", "1", ... of id2label.
static int read_names(LabelList *names, const Json *list, int64_t classes, const char *path, Err *err) {
    bool own = false;
    if (list->type != JSON_OBJECT || (int64_t)list->count != classes) return 0; // of another head
    for (int64_t i = 0; i < classes; i++) {
        char key[32], plain[32];
        snprintf(key, sizeof key, "%ld", i);
        snprintf(plain, sizeof plain, "LABEL_%ld", i);
        const Json *v = json_get(list, key);
        if (!v || v->type != JSON_STRING || strlen(v->str.data) != v->str.len || v->str.len >= LABEL_MAX_BYTES)
            return err_input(err, "%s: id2label: \"%s\" is %s; expected a name of less than %d bytes", path, key,
                             json_type_name(v), LABEL_MAX_BYTES);
        own |= strcmp(v->str.data, plain) != 0;
        label_list_add(names, v->str.data);
    }
    const char *twice = label_list_repeated(names);
    if (twice) return err_input(err, "%s: id2label: two of the names are \"%s\"", path, twice);
    if (!own) label_list_clear(names);
    return 0;
}

int model_read_labels(LabelList *names, Problem *problem, const Model *m, Err *err) {
    enum { MAX_CONFIG_BYTES = 4 << 20 };
    AUTO_FREE char *dir = m->is_gguf ? NULL : weight_source_folder(m->path), *path = NULL;
    AUTO_JSON JsonDoc *doc = NULL;
    *names = (LabelList){0};
    *problem = PROBLEM_AUTO;
    if (!m->class_head.rows || !dir) return 0;
    path = path_join(dir, "config.json");
    if (json_load(&doc, path, MAX_CONFIG_BYTES, err)) return -1;
    const Json *list = json_given(json_root(doc), "id2label"), *type = json_given(json_root(doc), "problem_type");
    int word = type && type->type == JSON_STRING ? problem_find(type->str.data) : -1;
    if (type && word <= PROBLEM_AUTO)
        return err_input(err,
                         "%s: problem_type: \"%.64s\"; expected regression, single_label_classification or "
                         "multi_label_classification",
                         path, json_is_text(type) ? type->str.data : json_type_name(type));
    if (type) *problem = (Problem)word;
    if (list && read_names(names, list, m->class_head.rows, path, err) == 0) return 0;
    if (list) label_list_clear(names);
    return list ? -1 : 0;
}
