// replay: a fuzz target as an ordinary test: runs it over the files of the folders given. Each input has ten seconds.
#include <dirent.h>
#include <stdio.h>

#include "fileio.h"
#include "fuzz.h"
#include "path.h"

enum { SECONDS = 10, MAX_BYTES = 1 << 20 };

static int replay_file(const char *path) {
    char *data;
    size_t size;
    Err err;
    if (file_read(&data, &size, path, MAX_BYTES, &err)) {
        fprintf(stderr, "%s\n", err.msg);
        return -1;
    }
    fprintf(stderr, "%s\n", path);                  // the last line names the culprit
    char *exact = size ? mem_alloc(size, 1) : NULL; // file_read ends it with a NUL, libFuzzer does not
    if (size) memcpy(exact, data, size);
    alarm(SECONDS);
    LLVMFuzzerTestOneInput((const uint8_t *)exact, size);
    alarm(0);
    mem_free(exact);
    mem_free(data);
    return 0;
}

static int replay_folder(const char *folder, int *count) {
    struct dirent **entries;
    int n = scandir(folder, &entries, NULL, alphasort), rc = n < 0 ? -1 : 0;
    if (n < 0) fprintf(stderr, "%s: cannot be read\n", folder);
    for (int i = 0; i < n; i++) {
        char *path = path_join(folder, entries[i]->d_name);
        if (!rc && entries[i]->d_name[0] != '.' && !path_is_dir(path)) {
            rc = replay_file(path);
            ++*count;
        }
        mem_free(path);
        free(entries[i]);
    }
    if (n >= 0) free(entries);
    return rc;
}

int main(int argc, char **argv) {
    int count = 0;
    for (int i = 1; i < argc; i++)
        if (replay_folder(argv[i], &count)) return 1;
    printf("%d inputs\n", count);
    return count ? 0 : 1;
}
