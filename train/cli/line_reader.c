#include "line_reader.h"

#include <editline/readline.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "say.h"

static void mask_interrupt(int how) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    pthread_sigmask(how, &set, NULL);
}

void line_reader_open(LineReader *r) {
    *r = (LineReader){.terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)};
    if (r->terminal) setlocale(LC_CTYPE, ""); // how many columns a character takes
    mask_interrupt(SIG_BLOCK);
}

// readline's memory is malloc's, as getline's is.
static ssize_t read_terminal(LineReader *r) {
    free(r->line);
    r->line = readline("> ");
    if (!r->line) return -1;
    if (*r->line) add_history(r->line);
    return (ssize_t)strlen(r->line);
}

static ssize_t read_pipe(LineReader *r) {
    ssize_t n = getline(&r->line, &r->size, stdin);
    while (n > 0 && (r->line[n - 1] == '\n' || r->line[n - 1] == '\r')) r->line[--n] = 0;
    return n;
}

ssize_t line_reader_next(LineReader *r) {
    fflush(stdout);
    mask_interrupt(SIG_UNBLOCK);
    ssize_t n = r->terminal ? read_terminal(r) : read_pipe(r);
    mask_interrupt(SIG_BLOCK);
    return n;
}

void line_reader_close(LineReader *r) {
    if (r->terminal) say("\n");
    free(r->line);
}

bool line_reader_interrupted(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    return sigtimedwait(&set, NULL, &(struct timespec){0}) == SIGINT;
}
