#include "secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proof.h"

// Empty counts as unset, as in launcher.c.
static const char *variable(const char *name) {
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static int check_file(int fd, const char *path, Err *err) {
    struct stat s;
    if (fstat(fd, &s)) return err_input(err, "LORAC_SECRET_FILE=%.200s: %s", path, strerror(errno));
    if (!S_ISREG(s.st_mode)) return err_input(err, "LORAC_SECRET_FILE=%.200s: not a regular file", path);
    if (s.st_uid != geteuid() && s.st_uid != 0)
        return err_input(err, "LORAC_SECRET_FILE=%.200s belongs to user %u; expected this user or root", path,
                         (unsigned)s.st_uid);
    if (!(s.st_mode & 077)) return 0;
    return err_input(err, "LORAC_SECRET_FILE=%.200s: other users may access it (mode %04o); expected 0600", path,
                     (unsigned)s.st_mode & 07777);
}

// O_NONBLOCK: opening a pipe must not block.
static int read_file(char secret[SECRET_MOST + 1], size_t *n, const char *path, Err *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) return err_input(err, "LORAC_SECRET_FILE=%.200s: %s", path, strerror(errno));
    int rc = check_file(fd, path, err);
    ssize_t got = 1;
    for (*n = 0; !rc && got > 0 && *n<SECRET_MOST + 1; *n += got> 0 ? (size_t)got : 0)
        got = read(fd, secret + *n, SECRET_MOST + 1 - *n);
    if (got < 0) rc = err_input(err, "LORAC_SECRET_FILE=%.200s: %s", path, strerror(errno));
    close(fd);
    return rc;
}

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

int secret_key(unsigned char key[GROUP_KEY], bool *secret, const char *job, Err *err) {
    const char *text = variable("LORAC_SECRET"), *path = variable("LORAC_SECRET_FILE");
    char bytes[SECRET_MOST + 1];
    size_t n = 0;
    *secret = text || path;
    if (text && path) return err_input(err, "LORAC_SECRET and LORAC_SECRET_FILE are both set; expected one of them");
    if (text) n = strnlen(text, sizeof bytes), memcpy(bytes, text, n);
    if (path && read_file(bytes, &n, path, err)) return -1;
    if (n > SECRET_MOST) return err_input(err, "%s: more than %d bytes", text ? "LORAC_SECRET" : path, SECRET_MOST);
    while (n > 0 && is_blank(bytes[n - 1])) n--;
    if (*secret && n < SECRET_LEAST)
        return err_input(err, "%s: a secret of %zu bytes; expected at least %d, e.g. from \"openssl rand -hex 16\"",
                         text ? "LORAC_SECRET" : path, n, SECRET_LEAST);
    proof_key(key, bytes, n, job ? job : "", job ? strlen(job) : 0);
    return 0;
}
