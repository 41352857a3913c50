#include "data_files.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "byte_stream.h"
#include "temporary.h"

// ---- kinds ----

static const struct {
    const char *suffix;
    DataKind kind;
} suffixes[] = {{".jsonl", DATA_JSON}, {".json", DATA_JSON}, {".txt", DATA_TEXT},
                {".csv", DATA_CSV},    {".tsv", DATA_TSV},   {".parquet", DATA_PARQUET},
                {".tar", DATA_TAR},    {".tgz", DATA_TAR},   {".tzst", DATA_TAR}};
enum { SUFFIXES = sizeof suffixes / sizeof *suffixes };

// SUFFIXES: unknown. A compression has its suffix after the others, or (.tgz) there is no other.
static size_t suffix_of(const char *path) {
    size_t len, i = 0;
    byte_stream_is_compressed(path, &len);
    while (i < SUFFIXES && !ends_with_nocase(path, len, suffixes[i].suffix) &&
           !(suffixes[i].kind == DATA_TAR && ends_with_nocase(path, strlen(path), suffixes[i].suffix)))
        i++;
    return i;
}

DataKind data_kind(const char *path) {
    size_t i = suffix_of(path);
    return i < SUFFIXES ? suffixes[i].kind : DATA_UNKNOWN;
}

const char *data_kind_name(const char *path) {
    static const char *const names[] = {"json", "text", "tar", "csv", "tsv", "parquet", "json"};
    return names[data_kind(path)];
}

#define EXPECTED ".jsonl, .json, .txt, .csv, .tsv or .tar, or one of these with .gz or .zst, or .parquet"

int data_kind_refuse(const char *path, Err *err) {
    static const struct {
        const char *suffix, *convert;
    } known[] = {
        {".arrow", "import datasets; datasets.Dataset.from_file('x.arrow').to_json('x.jsonl')"},
        {".xz", NULL},
        {".bz2", NULL},
        {".lz4", NULL},
        {".zip", NULL},
    };
    size_t len;
    if (path_is_dir(path)) return err_input(err, "%s: found a folder; expected one data file in it", path);
    byte_stream_is_compressed(path, &len);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (!ends_with_nocase(path, len, known[i].suffix)) continue;
        if (!known[i].convert)
            return err_input(err, "%s: %s files are not in this version; expected " EXPECTED, path, known[i].suffix);
        return err_input(err, "%s: %s files are not read; convert: python -c \"%s\"", path, known[i].suffix,
                         known[i].convert);
    }
    return err_input(err, "%s: found a data file of unknown kind; expected " EXPECTED, path);
}

// ---- folders and patterns ----

typedef struct Expansion {
    NameList *names;
    size_t first; // of this value
    size_t n_left;
    StrBuf *left; // the names of the first LEFT_NAMED of them
} Expansion;
enum { LEFT_NAMED = 5 };

static void leave_out(Expansion *e, const char *path) {
    const char *name = path_name(path);
    if (*name == '.') return;
    if (e->n_left++ >= LEFT_NAMED) return;
    str_printf(e->left, "%s%.80s%s", e->left->len ? ", " : "", name, path_is_dir(path) ? "/" : "");
}

static void end_left(const Expansion *e) {
    if (e->n_left > LEFT_NAMED) str_printf(e->left, " and %zu more", e->n_left - LEFT_NAMED);
}

// Half-written files of downloads, editors and this program.
static bool is_temporary(const char *path) {
    static const char *const ends[] = {"~", ".tmp", ".part", ".partial", ".incomplete", ".crdownload", ".lock", ".swp"};
    const char *name = path_name(path);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (ends_with_nocase(name, strlen(name), ends[i])) return true;
    return *name == '.' || *name == '#' || temporary_stem(name);
}

static const char *const split_words[] = {"train training", "validation valid dev val", "test testing eval evaluation"};

const char *data_split_words(const char *split) {
    for (size_t i = 0; i < sizeof split_words / sizeof *split_words; i++)
        if (is_among(split, strlen(split), split_words[i])) return split_words[i];
    return split;
}

// The split that a file's name has as a word, as in train-00000-of-00002.jsonl: 't'rain, 'v'alidation or test, or 0.
static char split_of(const char *path) {
    const char *name = path_name(path);
    for (size_t n; *name; name += n + (name[n] != 0)) {
        for (n = 0; isalpha((unsigned char)name[n]);) n++;
        if (is_among_nocase(name, n, split_words[0])) return 't';
        if (is_among_nocase(name, n, split_words[1]) || is_among_nocase(name, n, split_words[2])) return 'v';
    }
    return 0;
}

static bool has_word(const char *name, const char *word, size_t len) {
    for (size_t n; *name; name += n + (name[n] != 0)) {
        for (n = 0; isalnum((unsigned char)name[n]);) n++;
        if (n == len && strncasecmp(name, word, len) == 0) return true;
    }
    return false;
}

static int check_folder(const Expansion *e, DataName name, Err *err) {
    const char *folder = name.given;
    size_t train = SIZE_MAX, test = SIZE_MAX, count = e->names->count;
    char **items = e->names->items;
    bool others = e->left->len > 0;
    if (count == e->first && name.split)
        return err_input(err,
                         "%s: found no data file of the split %.*s in the folder%s%s%s; expected a file with that "
                         "word in its name",
                         folder, (int)name.split_len, name.split, others ? " (" : "", others ? e->left->data : "",
                         others ? ")" : "");
    if (count == e->first)
        return err_input(err, "%s: found no data file in the folder%s%s%s; expected " EXPECTED, folder,
                         others ? " (" : "", others ? e->left->data : "", others ? ")" : "");
    for (size_t i = e->first; i < count; i++) {
        const char *a = suffixes[suffix_of(items[e->first])].suffix, *b = suffixes[suffix_of(items[i])].suffix;
        if (strcmp(a, b) != 0) {
            AUTO_FREE char *pattern = path_join(folder, "*");
            return err_input(err, "%s: found %s and %s files in the folder; expected one kind, or a pattern: %s%s",
                             folder, a, b, pattern, a);
        }
        if (split_of(items[i]) == 't') train = i;
        if (split_of(items[i]) == 'v') test = i;
    }
    if (train == SIZE_MAX || test == SIZE_MAX) return 0;
    return err_input(err, "%s: found files of several splits in the folder, %s and %s; expected one, or a pattern",
                     folder, path_name(items[train]), path_name(items[test]));
}

static int expand_folder(Expansion *e, DataName name, Err *err) {
    const char *folder = name.given;
    AUTO_NAMES NameList names = {0};
    if (dir_list(&names, folder, err)) return -1;
    if (names.count > PATTERN_MAX_FILES)
        return err_input(err, "%s: found a folder of %zu file%s; expected at most %d", folder, names.count,
                         plural(names.count), PATTERN_MAX_FILES);
    name_list_sort(&names, 0);
    bool named = false; // without files of that name all are the split train
    for (size_t i = 0; name.split && i < names.count; i++)
        named |= has_word(names.items[i], name.split, name.split_len);
    if (name.split && !named && is_among(name.split, name.split_len, "train")) name.split = NULL;
    for (size_t i = 0; i < names.count; i++) {
        char *path = path_join(folder, names.items[i]);
        bool wanted = !name.split || has_word(names.items[i], name.split, name.split_len);
        if (wanted && !is_temporary(path) && data_kind(path) != DATA_UNKNOWN && !path_is_dir(path)) {
            name_list_add(e->names, path);
            continue;
        }
        leave_out(e, path);
        mem_free(path);
    }
    end_left(e);
    return check_folder(e, name, err);
}

static int expand_pattern(Expansion *e, const char *pattern, Err *err) {
    AUTO_NAMES NameList found = {0};
    int rc = file_pattern_expand(&found, pattern, err);
    bool one = found.count == 1 && strcmp(found.items[0], pattern) == 0; // a name: whatever it is
    for (size_t i = 0; i < found.count; i++) {
        if (one || (!is_temporary(found.items[i]) && !path_is_dir(found.items[i])))
            name_list_add(e->names, mem_take(&found.items[i]));
        else
            leave_out(e, found.items[i]);
    }
    end_left(e);
    if (!rc && e->names->count == e->first)
        return err_input(err, "%s: found only folders and temporary files of that pattern; expected a data file",
                         pattern);
    return rc;
}

int data_files_expand(NameList *names, DataName name, StrBuf *left, Err *err) {
    AUTO_STR StrBuf unused = {0};
    Expansion e = {.names = names, .first = names->count, .left = left ? left : &unused};
    return path_is_dir(name.given) ? expand_folder(&e, name, err) : expand_pattern(&e, name.given, err);
}

void data_files_show(StrBuf *out, DataName name) {
    enum { NAMED = 8 };
    AUTO_NAMES NameList names = {0};
    AUTO_STR StrBuf left = {0};
    if (data_files_expand(&names, name, &left, NULL) || !names.count || strcmp(names.items[0], name.given) == 0) return;
    str_printf(out, "%s: %zu file%s: ", name.given, names.count, plural(names.count));
    for (size_t i = 0; i < names.count && i < NAMED; i++) str_printf(out, "%s%s", i ? ", " : "", names.items[i]);
    if (names.count > NAMED) str_printf(out, " and %zu more", names.count - NAMED);
    if (left.len) str_printf(out, "; not read: %s", left.data);
}
