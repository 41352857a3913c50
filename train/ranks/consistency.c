#include "consistency.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "hash.h"

typedef char Hash[33];

typedef struct ItemHashes {
    Hash names, values;
} ItemHashes;

// One rank's value of the item that differs.
typedef struct RankValue {
    char host[64], value[160];
} RankValue;

static void hash_items(Hash hash, const ConsistencyItem *items, int n, bool values) {
    Fingerprint *f = fingerprint_new();
    for (int i = 0; i < n; i++) {
        const char *text = values ? items[i].value : items[i].name;
        fingerprint_text(f, text, strlen(text));
    }
    fingerprint_end(f, hash);
}

static RankValue own_value(const char *value) {
    RankValue s = {{0}, {0}};
    if (gethostname(s.host, sizeof s.host - 1)) snprintf(s.host, sizeof s.host, "?");
    snprintf(s.value, sizeof s.value, "%s%s", strlen(value) >= sizeof s.value ? "..." : "", value);
    return s;
}

// The first rank that differs from rank 0; `ranks` where none does.
static int first_different(const void *all, size_t size, int ranks) {
    int r = 1;
    while (r < ranks && memcmp(all, (const char *)all + (size_t)r * size, size) == 0) r++;
    return r;
}

static int refuse(Group *g, const ConsistencyItem *item, int other, const char *more, Err *err) {
    RankValue mine = own_value(item->value), *all = mem_calloc((size_t)g->ranks, sizeof *all);
    int rc = group_gather(g, all, &mine, sizeof mine, err);
    for (int r = 0; r < g->ranks && !rc; r++) GROUP_END_TEXT(all[r].host), GROUP_END_TEXT(all[r].value);
    if (!rc)
        rc = err_input(err, "%s: rank %d (host %s) has %s, rank 0 (host %s) has %s%s%s%s", item->name, other,
                       all[other].host, all[other].value, all[0].host, all[0].value, more, item->hint ? "; " : "",
                       item->hint ? item->hint : "");
    if (g->rank > 0 && !g->broken) err->msg[0] = 0;
    mem_free(all);
    return rc;
}

// Compares the hash of every item: names the first that differs, and lists the others.
static int refuse_items(Group *g, const ConsistencyItem *items, int n, int other, Err *err) {
    Hash *mine = mem_calloc((size_t)n, sizeof *mine), *all = mem_calloc((size_t)n * (size_t)g->ranks, sizeof *all);
    StrBuf more = {0};
    int first = -1;
    for (int i = 0; i < n; i++) hash_items(mine[i], &items[i], 1, true);
    int rc = group_gather(g, all, mine, (size_t)n * sizeof *mine, err);
    for (int i = 0; i < n && !rc; i++) {
        if (memcmp(all[i], all[other * n + i], sizeof all[i]) == 0) continue;
        if (first >= 0) str_printf(&more, "%s %s", more.len ? "," : "; they also differ in", items[i].name);
        if (first < 0) first = i;
    }
    if (!rc && first < 0) rc = err_runtime(err, "rank %d sent inconsistent hashes", other);
    if (!rc) rc = refuse(g, &items[first], other, more.len ? more.data : "", err);
    str_clear(&more);
    mem_free(mine);
    mem_free(all);
    return rc;
}

int consistency_check(Group *g, const ConsistencyItem *items, int n, Err *err) {
    if (g->ranks == 1) return 0;
    ItemHashes mine = {{0}, {0}}, *all = mem_calloc((size_t)g->ranks, sizeof *all);
    hash_items(mine.names, items, n, false);
    hash_items(mine.values, items, n, true);
    int rc = group_gather(g, all, &mine, sizeof mine, err);
    int other = rc ? 0 : first_different(all, sizeof *all, g->ranks);
    bool same_names = !rc && other < g->ranks && memcmp(all[0].names, all[other].names, sizeof all->names) == 0;
    mem_free(all);
    if (rc || other == g->ranks) return rc;
    // With different names, items cannot be compared one by one.
    ConsistencyItem names = {"what is compared", mine.names, NULL};
    return same_names ? refuse_items(g, items, n, other, err) : refuse(g, &names, other, "", err);
}
