// Classifiers, decoders and BERT, against transformers and PEFT (SEQ_CLS): logits of packed samples, loss, gradients of
// the LoRA matrices and of the head, AdamW steps. Cases and their files: golden/make_classify_golden.py.
#include "classifier_case.h"
#include "strided_backend.h"

static Backend *open_host(const char *device) {
    Backend *b;
    Err err;
    ASSERT_OK(backend_open(&b, device, 2, &err), &err);
    return b;
}

static void test_classify_golden_matches_pytorch(void **state) {
    (void)state;
    Backend *cpu = open_host("cpu"), *ref = open_host("ref"), *strided = strided_open();
    for (int i = 0; i < CLASSIFIERS; i++) {
        check_classifier(classifiers[i], FAMILY_HF, cpu, RECOMPUTE_NONE, &GOLDEN_F32);
        check_classifier(classifiers[i], FAMILY_HF_SHARDED, ref, RECOMPUTE_BLOCKS, &GOLDEN_F32);
        check_classifier(classifiers[i], FAMILY_HF, strided, RECOMPUTE_FFN, &GOLDEN_F32);
    }
    backend_close(cpu);
    backend_close(ref);
    backend_close(strided);
}

// What is written is read back as it was, names of classes too.
static void test_classify_golden_round_trip(void **state) {
    (void)state;
    Err err;
    static char *names[] = {"so \"so\"", "nay", "aye"};
    for (int i = 0; i < CLASSIFIERS; i++) {
        Classifier c;
        Adapter *back;
        char dir[32];
        snprintf(dir, sizeof dir, "adapter-%d", i);
        open_classifier(&c, classifiers[i], FAMILY_HF, open_host("cpu"));
        const LabelList labels = {names, (size_t)c.family.labels, 0};
        adapter_name_labels(c.adapter, &labels);
        ASSERT_OK(adapter_save_peft(c.adapter, c.model, dir, NULL, &err), &err);
        ASSERT_OK(adapter_load(&back, c.model, dir, false, &err), &err);
        assert_int_equal(back->config.labels, c.family.labels);
        assert_int_equal(back->config.problem, c.family.problem ? c.family.problem : PROBLEM_SINGLE_LABEL);
        assert_int_equal(back->count, c.adapter->count);
        assert_memory_equal(back->params, c.adapter->params, (size_t)back->count * sizeof(float));
        assert_string_equal(back->labels.names[0], "so \"so\"");
        ASSERT_REFUSED(adapter_save_gguf(back, c.model, "a.gguf", "a", &err), &err, "no place in a GGUF");
        adapter_free(back);
        close_classifier(&c);
        backend_close(c.backend);
    }
}

// A model with a head of its own starts from it; of another number of classes, or without one, from small noise.
static void test_classify_golden_starting_heads(void **state) {
    (void)state;
    Err err;
    Classifier c;
    open_classifier(&c, "../classify/bert-all", FAMILY_HF, open_host("cpu"));
    for (int64_t labels = 3; labels <= 4; labels++) {
        AdapterConfig config = {.rank = 4, .alpha = 6, .projections = 1u << PROJ_Q, .labels = labels};
        Adapter *a;
        ASSERT_OK(adapter_new(&a, c.model, &config, 1, false, &err), &err);
        AdapterHead head = adapter_head(a);
        double squares = 0;
        for (int64_t i = 0; i < labels * 32; i++)
            squares += (double)a->params[head.weight->offset + i] * (double)a->params[head.weight->offset + i];
        double deviation = sqrt(squares / (double)(labels * 32));
        bool own =
            memcmp(a->params + head.weight->offset, c.model->class_head.segments[0].data, 32 * sizeof(float)) == 0;
        assert_true(own == (labels == 3));
        if (!own) ASSERT_NEAR(deviation, 0.02, 0.005); // of 128 draws: five standard deviations
        assert_true(own || a->params[head.bias->offset] == 0);
        adapter_free(a);
    }
    close_classifier(&c);
    backend_close(c.backend);
}

// Without the task, models that have no language-model head are refused by one line.
static void test_classify_golden_refusals(void **state) {
    (void)state;
    Err err;
    Family f;
    Backend *b;
    Model *m;
    ASSERT_OK(backend_open(&b, "cpu", 1, &err), &err);
    family_open(&f, "../classify/bert", FAMILY_HF);
    ASSERT_REFUSED(model_load(&m, f.path, b, NULL, &err), &err, "without a language-model head");
    family_close(&f);
    backend_close(b);
}

TEST_MAIN(SCRATCH_TEST(test_classify_golden_matches_pytorch), SCRATCH_TEST(test_classify_golden_round_trip),
          SCRATCH_TEST(test_classify_golden_starting_heads), SCRATCH_TEST(test_classify_golden_refusals))
