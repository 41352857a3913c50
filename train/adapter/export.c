// export: see export.h; the model card is in model_card.c.
#include "export.h"

#include <string.h>

#include "fileio.h"

// Ollama takes the chat template from the GGUF base. A Hugging Face base has to become one first.
static int save_modelfile(const Model *m, const char *path, Err *err) {
    char *base = path_absolute(m->path);
    int rc = -1;
    if (strpbrk(base, "\"\n\r")) {
        err_input(err, "%s: a quote or a line end in the base model's path; a Modelfile cannot name it", base);
    } else {
        char *text = m->is_gguf ? mem_printf("FROM \"%s\"\nADAPTER ./adapter.gguf\n", base)
                                : mem_printf("# FROM needs the base model as a GGUF file. llama.cpp makes one:\n"
                                             "#   convert_hf_to_gguf.py \"%s\" --outfile base.gguf\n"
                                             "FROM ./base.gguf\nADAPTER ./adapter.gguf\n",
                                             base);
        rc = file_write_whole(path, text, strlen(text), err);
        mem_free(text);
    }
    mem_free(base);
    return rc;
}

int adapter_export(const Adapter *a, const Model *m, const char *output_dir, const char *name, const RunFacts *run,
                   Err *err) {
    char *peft = path_join(output_dir, "adapter"), *gguf = path_join(output_dir, "adapter.gguf");
    char *modelfile = path_join(output_dir, "Modelfile");
    char *card = model_card_text(m, &a->config, name, run);
    int rc = adapter_save_peft(a, m, peft, card, err);
    if (rc == 0 && !a->config.labels) rc = adapter_save_gguf(a, m, gguf, name, err);
    if (rc == 0 && !a->config.labels) rc = save_modelfile(m, modelfile, err);
    mem_free(card);
    mem_free(modelfile);
    mem_free(gguf);
    mem_free(peft);
    return rc;
}
