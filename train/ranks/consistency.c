// consistency: compares items by their hashes; only the first one that differs is sent as text (ranks.h).
#include "ranks.h"

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
    RankValue mine = own_value(item->value);
    AUTO_FREE RankValue *all = mem_calloc((size_t)g->ranks, sizeof *all);
    if (group_gather(g, all, &mine, sizeof mine, err)) return -1;
    for (int r = 0; r < g->ranks; r++) GROUP_END_TEXT(all[r].host), GROUP_END_TEXT(all[r].value);
    err_input(err, "%s: rank %d (host %s) has %s, rank 0 (host %s) has %s%s%s%s", item->name, other, all[other].host,
              all[other].value, all[0].host, all[0].value, more, item->hint ? "; " : "", item->hint ? item->hint : "");
    if (g->rank > 0) err->msg[0] = 0;
    return -1;
}

// Compares the hash of every item: names the first that differs, and lists the others.
static int refuse_items(Group *g, const ConsistencyItem *items, int n, int other, Err *err) {
    AUTO_FREE Hash *mine = mem_calloc((size_t)n, sizeof *mine);
    AUTO_FREE Hash *all = mem_calloc((size_t)n * (size_t)g->ranks, sizeof *all);
    AUTO_STR StrBuf more = {0};
    int first = -1;
    for (int i = 0; i < n; i++) hash_items(mine[i], &items[i], 1, true);
    if (group_gather(g, all, mine, (size_t)n * sizeof *mine, err)) return -1;
    for (int i = 0; i < n; i++) {
        if (memcmp(all[i], all[other * n + i], sizeof all[i]) == 0) continue;
        if (first >= 0) str_printf(&more, "%s %s", more.len ? "," : "; they also differ in", items[i].name);
        if (first < 0) first = i;
    }
    if (first < 0) return err_runtime(err, "rank %d sent inconsistent hashes", other);
    return refuse(g, &items[first], other, more.len ? more.data : "", err);
}

int consistency_check(Group *g, const ConsistencyItem *items, int n, Err *err) {
    if (g->ranks == 1) return 0;
    ItemHashes mine = {{0}, {0}};
    AUTO_FREE ItemHashes *all = mem_calloc((size_t)g->ranks, sizeof *all);
    hash_items(mine.names, items, n, false);
    hash_items(mine.values, items, n, true);
    if (group_gather(g, all, &mine, sizeof mine, err)) return -1;
    int other = first_different(all, sizeof *all, g->ranks);
    if (other == g->ranks) return 0;
    if (memcmp(all[0].names, all[other].names, sizeof all->names) == 0) return refuse_items(g, items, n, other, err);
    // With different names, items cannot be compared one by one.
    return refuse(g, &(ConsistencyItem){"what is compared", mine.names, NULL}, other, "", err);
}
