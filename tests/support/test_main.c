// test_main: main of a test program, which holds one or more test files (test.h). The name that it is called by selects
// the file.
#include "test.h"

static TestFile *files;

void test_file_add(TestFile *f) {
    f->next = files;
    files = f;
}

static const char *name_of(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

int main(int argc, char **argv) {
    const char *name = name_of(argv[0]);
    size_t n = strlen(name);
    for (const TestFile *f = files; f; f = f->next) {
        const char *file = name_of(f->path);
        if (!files->next || (strncmp(file, name, n) == 0 && strcmp(file + n, ".c") == 0)) return f->run(argc, argv);
    }
    fprintf(stderr, "%s: called by none of these names:\n", name);
    for (const TestFile *f = files; f; f = f->next) fprintf(stderr, "  %s\n", name_of(f->path));
    return 2;
}
