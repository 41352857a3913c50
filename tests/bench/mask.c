// bench mask: CPU time of the mask of allowed tokens, for each token of a text under a constraint: the first time, and
// when the automaton knows the text.
// usage: bench_mask MODEL   (a .gguf file or a folder with tokenizer.json)
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "constraint.h"
#include "model.h"

static const struct {
    const char *name;
    ConstraintKind kind;
    const char *source, *text;
} cases[] = {
    {"object, strings of any length", CONSTRAINT_SCHEMA,
     "{\"type\": \"object\", \"properties\": {\"name\": {\"type\": \"string\"}, \"note\": {\"type\": \"string\"}, "
     "\"age\": {\"type\": \"integer\"}}, \"required\": [\"name\", \"note\", \"age\"], \"additionalProperties\": false}",
     "{\"name\": \"Anna Smith\", \"note\": \"She lives in Berlin, likes long walks and plays the piano.\", \"age\": "
     "34}"},
    {"object, strings of at most 60 characters", CONSTRAINT_SCHEMA,
     "{\"type\": \"object\", \"properties\": {\"name\": {\"type\": \"string\", \"maxLength\": 60}, \"note\": "
     "{\"type\": "
     "\"string\", \"maxLength\": 60}, \"age\": {\"type\": \"integer\", \"minimum\": 0, \"maximum\": 150}}, "
     "\"required\": "
     "[\"name\", \"note\", \"age\"], \"additionalProperties\": false}",
     "{\"name\": \"Anna Smith\", \"note\": \"She lives in Berlin, likes long walks and plays the piano.\", \"age\": "
     "34}"},
    {"any JSON", CONSTRAINT_SCHEMA, "true",
     "{\n  \"name\": \"Anna\",\n  \"tags\": [\"a\", \"b\", 3.25, null, true],\n  \"more\": {\"x\": {\"y\": [[1, 2], "
     "[3, 4]]}}\n}"},
    {"pattern", CONSTRAINT_SCHEMA, "{\"type\": \"string\", \"pattern\": \"^[A-Z][a-z]+( [A-Z][a-z]+)*$\"}",
     "\"Anna Maria Smith Of Berlin\""},
    {"regex", CONSTRAINT_REGEX, "[^\\n]{1,200}\\n(yes|no)",
     "The capital of Germany is Berlin, which has a river and many lakes.\nyes"},
    {"grammar", CONSTRAINT_GRAMMAR,
     "root ::= sentence (\" \" sentence){0,5}\nsentence ::= [A-Z] word (\" \" word)* [.!?]\nword ::= [a-z]+ \",\"?",
     "The capital of many lakes, rivers and walks. It is long! Is it?"},
};

static double cpu_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

typedef struct Times {
    double sum, worst;
} Times;

static Times run_text(Constraint *c, const TokenIds *ids) {
    Times t = {0};
    ConstraintText text = {0};
    constraint_begin(c, &text);
    for (size_t i = 0; i < ids->count; i++) {
        double start = cpu_now();
        const uint64_t *mask = constraint_mask(c, &text);
        double seconds = cpu_now() - start;
        CHECK(mask[ids->ids[i] / 64] >> (ids->ids[i] % 64) & 1, "token %zu is not allowed", i);
        t.sum += seconds;
        if (seconds > t.worst) t.worst = seconds;
        constraint_add(c, &text, ids->ids[i]);
    }
    CHECK(constraint_complete(c, &text));
    constraint_end(&text);
    return t;
}

static int run_case(const Tokenizer *t, const TokenTrie *tokens, size_t i, Err *err) {
    AUTO_IDS TokenIds ids = {0};
    JsonStr source = {cases[i].source, strlen(cases[i].source)};
    double start = cpu_now();
    AUTO(constraint_free) Constraint *c = NULL;
    if (constraint_new(&c, tokens, cases[i].kind, source, err)) return -1;
    double compiled = cpu_now() - start;
    tokenizer_encode_rest(t, cases[i].text, strlen(cases[i].text), NULL, false, &ids);
    Times first = run_text(c, &ids), again = run_text(c, &ids);
    double n = (double)ids.count / 1e6;
    printf("%-42s %5.2f ms %7.1f us %8.1f us %7.2f us\n", cases[i].name, compiled * 1e3, first.sum / n,
           first.worst * 1e6, again.sum / n);
    return 0;
}

int main(int argc, char **argv) {
    Err err;
    Tokenizer *t = NULL;
    if (argc != 2) {
        fprintf(stderr, "usage: bench_mask MODEL\n");
        return 2;
    }
    int rc = model_load_tokenizer(&t, argv[1], &err);
    if (!rc) {
        double start = cpu_now();
        TokenTrie *tokens = token_trie_new(t);
        printf("%d tokens, %zu nodes, %zu of them without plain text; %.1f ms\n%-42s %8s %10s %11s %10s\n",
               t->vocab_size, tokens->all.count, tokens->rest.count, (cpu_now() - start) * 1e3, "", "compiled", "mask",
               "worst", "again");
        for (size_t i = 0; i < sizeof cases / sizeof *cases && !rc; i++) rc = run_case(t, tokens, i, &err);
        token_trie_free(tokens);
    }
    if (rc) fprintf(stderr, "bench_mask: %s\n", err.msg);
    tokenizer_free(t);
    return rc != 0;
}
