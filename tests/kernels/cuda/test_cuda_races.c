// The kernels under ThreadSanitizer, every thread of a block a thread of its own: no two of them touch the same memory
// without a barrier between them. Blocks of one launch are not ordered at all.
// usage: test_cuda_races [name of a fault]: with a name, that faulty kernel runs, which must be reported.
#include <stdio.h>
#include <string.h>

#include "emulated.h"
#include "faults.h"
#include "opcheck.h"

// Its cost is that of every access of every thread, so small sizes only.
static bool is_small(const OpSize *s) {
    return s->t * (s->n > s->k ? s->n : s->k) <= 1 << 13 && s->t * s->t * s->d * (s->heads ? s->heads : 1) <= 1 << 17 &&
           s->t <= 64;
}

// Every third small size of each op, in turn over the types.
static int run_cases(Backend *b, const OpCase *cases, DType activation) {
    int n = 0;
    for (const OpCase *c = cases; c->name; c++)
        for (int i = activation == DTYPE_F32 ? 0 : 1; i < c->n_sizes && !c->host; i += 3) {
            if (!is_small(&c->sizes[i])) continue;
            OpSetup setup = OP_PLAIN;
            setup.activation = activation;
            op_run_free(op_run(c, &c->sizes[i], b, setup));
            n++;
        }
    return n;
}

static int run_faulty(const char *name) {
    for (int i = 0; i < shift_count(); i++)
        if (!strcmp(name, shift_name(i))) shift_is_right(i, false);
    if (!strcmp(name, "count")) count_blocks(false, 8);
    return 0;
}

int main(int argc, char **argv) {
    if (argc > 1) return run_faulty(argv[1]);
    for (int i = 0; i < shift_count(); i++)
        if (!shift_is_right(i, true)) {
            fprintf(stderr, "%s\n", shift_name(i));
            return 1;
        }
    if (count_blocks(true, 8) != 8) {
        fprintf(stderr, "count\n");
        return 1;
    }
    const DType types[] = {DTYPE_F32, DTYPE_BF16};
    for (int t = 0; t < 2; t++) {
        Backend *b;
        Err err;
        if (emulated_open(&b, types[t], &err)) {
            fprintf(stderr, "%s\n", err.msg);
            return 1;
        }
        const OpCase *groups[] = {op_cases_pointwise, op_cases_activation, op_cases_matmul,
                                  op_cases_attention, op_cases_head,       op_cases_moe};
        for (int g = 0; g < 5; g++) printf("%d cases\n", run_cases(b, groups[g], types[t]));
        backend_close(b);
    }
    return 0;
}
