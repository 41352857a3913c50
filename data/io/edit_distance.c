#include "edit_distance.h"

#include <ctype.h>

static int lower(char c) {
    return tolower((unsigned char)c);
}

// One row of the table at a time.
size_t edit_distance(const char *a, size_t n, const char *b, size_t m) {
    enum { LONGEST = 80 };
    size_t row[LONGEST + 1];
    if (n > LONGEST || m > LONGEST) return LONGEST;
    for (size_t j = 0; j <= m; j++) row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t least = diagonal + (lower(a[i - 1]) != lower(b[j - 1]));
            diagonal = row[j];
            if (row[j - 1] + 1 < least) least = row[j - 1] + 1;
            if (row[j] + 1 < least) least = row[j] + 1;
            row[j] = least;
        }
    }
    return row[m];
}
