// Bytes as a Parquet file, through lorac-parquet.so: every row is read as a record and parsed, or refused. Skipped
// where the module is not built (make parquet).
#include <stdio.h>

#include "fuzz.h"
#include "parquet_module.h"
#include "record_faults.h"
#include "records.h"

// ROWS: a few bytes may stand for any number of equal rows.
enum { SKIPPED = 77, ROWS = 4096 };

static void skip_without_module(void) {
    const ParquetCalls *calls;
    Err err;
    if (module_symbol(&calls, "lorac-parquet.so", "lorac_parquet", "Arrow's C++ library (make parquet)", &err) == 0)
        return;
    printf("skipped: %s\n", err.msg);
    fflush(stdout);
    _exit(SKIPPED);
}

static void read_rows(RecordReader *r) {
    RecordSpan span;
    Err err;
    for (int i = 0; i < ROWS && records_next(r, &span, &err) == 1; i++) {
        JsonDoc *doc;
        fuzz_touch(span.text, span.len);
        if (record_parse(&doc, span, &err) == 0) { // else its text is no UTF-8, or it is nested too deeply
            CHECK(json_root(doc)->type == JSON_OBJECT);
            json_free(doc);
        }
        records_release(r);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool loaded;
    if (!loaded) skip_without_module();
    loaded = true;
    char *path = fuzz_put("x.parquet", data, size);
    RecordReader *r;
    Err err;
    if (records_open(&r, path, &err) == 0) {
        read_rows(r);
        records_close(r);
    }
    mem_free(path);
    return 0;
}
