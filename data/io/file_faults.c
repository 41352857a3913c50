// file_faults: recognises files that are not UTF-8 text by their first bytes (see fileio.h).
#include "fileio.h"

#include <string.h>

// By a byte order mark, or by the zeros of the first ASCII characters.
static const char *encoding_of(const unsigned char *p, size_t n, bool is_text) {
    if (n < 2) return NULL;
    if (n >= 4 &&
        ((!p[0] && !p[1] && p[2] == 0xFE && p[3] == 0xFF) || (p[0] == 0xFF && p[1] == 0xFE && !p[2] && !p[3])))
        return "UTF-32";
    if ((p[0] == 0xFF && p[1] == 0xFE) || (p[0] == 0xFE && p[1] == 0xFF)) return "UTF-16";
    if (n < 4 || !is_text) return NULL;
    if ((p[0] && !p[1] && !p[2] && !p[3]) || (!p[0] && !p[1] && !p[2] && p[3])) return "UTF-32";
    if ((p[0] && !p[1] && p[2] && !p[3]) || (!p[0] && p[1] && !p[2] && p[3])) return "UTF-16";
    return NULL;
}

typedef struct Magic {
    const char *bytes;
    size_t n;
    const char *what, *hint;
} Magic;

static const Magic magics[] = {
    {"\x1F\x8B", 2, "gzip data", "a name that ends in .gz"},
    {"\x28\xB5\x2F\xFD", 4, "Zstandard data", "a name that ends in .zst"},
    {"BZh", 3, "bzip2 data", "text, or .gz or .zst"},
    {"\xFD\x37zXZ", 5, "xz data", "text, or .gz or .zst"},
    {"PK\x03\x04", 4, "a zip archive", "text, or .gz or .zst"},
    {"PAR1", 4, "a Parquet file", "a name that ends in .parquet"},
    {"ARROW1", 6, "an Arrow file", "JSON records (datasets.Dataset.from_file(...).to_json(...))"},
    {"SQLite format 3", 15, "an SQLite database", "JSON records"},
    {"%PDF", 4, "a PDF document", "text"},
    {"version https://git-lfs", 23, "a Git LFS pointer, not the file itself", "the file (git lfs pull)"},
    {"<!DOCTYPE", 9, "an HTML page", "a data file"},
    {"<html", 5, "an HTML page", "a data file"},
};

int fault_in_file(const char *path, const char *text, size_t len, bool is_text, Err *err) {
    const char *encoding = encoding_of((const unsigned char *)text, len, is_text);
    if (encoding)
        return err_input(err, "%s: found %s text; expected UTF-8 (iconv -f %s -t UTF-8)", path, encoding, encoding);
    for (size_t i = 0; i < sizeof magics / sizeof *magics; i++)
        if (len >= magics[i].n && memcmp(text, magics[i].bytes, magics[i].n) == 0)
            return err_input(err, "%s: found %s; expected %s", path, magics[i].what, magics[i].hint);
    return 0;
}
