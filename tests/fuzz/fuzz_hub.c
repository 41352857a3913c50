// Bytes as an answer of the hub: a commit, a page of a listing, of which files are chosen; else as a name on the hub.
#include "fuzz.h"
#include "hub_listing.h"

static void choose(HubListing *l, HubType type) {
    static const char *const all[] = {"*"};
    char repository[] = "o/n";
    HubName n = {.type = type, .repository = repository};
    Err err;
    for (int include = 0; include < 2; include++) {
        HubPatterns p = {.include = all, .n_include = (size_t)include};
        if (hub_select(l, &n, &p, &err)) {
            CHECK(err.kind == ERR_INPUT);
            continue;
        }
        for (size_t i = 0; i < l->count; i++) {
            const HubFile *f = &l->files[i];
            if (!f->selected) continue;
            AUTO_FREE char *path = mem_printf("/%s/", f->path);
            CHECK(!strstr(path, "/../") && !strstr(path, "//") && !strstr(path, "/./") && f->size >= 0);
            CHECK(strspn(f->hash, "0123456789abcdef") == strlen(f->hash) && strlen(f->hash) >= HUB_COMMIT_DIGITS);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    AUTO_FREE char *text = mem_strndup((const char *)data, size);
    HubListing l = {0};
    HubName n;
    Err err;
    if (hub_name_read(&n, text, HUB_DATASET)) {
        AUTO_FREE char *folder = hub_folder(&n);
        CHECK(!strstr(n.repository, "..") && folder);
        hub_name_clear(&n);
    }
    if (hub_listing_read_commit(&l, text, size, "answer", &err) == 0) CHECK(strlen(l.commit) == HUB_COMMIT_DIGITS);
    if (hub_listing_add_page(&l, text, size, "answer", &err) == 0) {
        choose(&l, HUB_MODEL);
        choose(&l, HUB_DATASET);
    }
    hub_listing_clear(&l);
    return 0;
}
