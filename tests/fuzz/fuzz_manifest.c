// Bytes as the manifest of a snapshot before its own hash, which is put behind them.
#include "fuzz.h"
#include "hash.h"
#include "snapshot_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char hash[33];
    AUTO_STR StrBuf text = {0};
    str_add(&text, (const char *)data, size);
    hash_bytes(hash, data, size);
    str_printf(&text, "  \"xxh3\": \"%s\"\n}\n", hash);
    AUTO_FREE char *path = fuzz_put("manifest.json", text.data, text.len);
    mem_free(fuzz_put("a", "12345678", 8)); // a file that the seeds list
    Manifest *m = mem_calloc(1, sizeof *m);
    Err err;
    if (manifest_read(m, fuzz_folder(), true, &err) == 0) {
        CHECK(m->file_count <= MANIFEST_MAX_FILES && m->state.step >= 0 && m->state.updates <= m->state.step);
        for (int i = 0; i < m->file_count; i++)
            CHECK(m->files[i].name[0] != '/' && !strstr(m->files[i].name, "..") && m->files[i].size == 8);
    } else {
        CHECK(err.kind == ERR_INPUT);
    }
    mem_free(m);
    return 0;
}
