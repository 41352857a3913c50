#include "export.h"

#include <string.h>

#include "fileio.h"
#include "path.h"

static const char made_by[] = "# The base model with the adapter in its weights, for Ollama; in this folder:\n";
static const char merge_gguf[] = "#   lorac merge . --out merged.gguf --dtype q8_0\n";
static const char merge_folder[] = "#   lorac merge . --out merged\n";
static const char create[] = "#   ollama create NAME -f Modelfile\n";

// Texts of tokens in quotes: one line without a quote.
static bool can_be_quoted(JsonStr text) {
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.data[i] < 32 || text.data[i] == 127 || text.data[i] == '"' || text.data[i] == '\\')
            return false;
    return text.len > 0;
}

// Ollama stops at the end of sequence of the file; the other ends of an answer are named.
static void put_stops(StrBuf *out, const Tokenizer *t) {
    for (int i = 0; i < t->n_ends; i++) {
        JsonStr text;
        text.data = tokenizer_piece(t, t->ends[i], &text.len);
        if (tokenizer_is_control(t, t->ends[i]) && can_be_quoted(text))
            str_printf(out, "PARAMETER stop \"%.*s\"\n", (int)text.len, text.data);
    }
}

// Lines that save_modelfile writes, or did in earlier versions; a file with other lines was edited.
static bool is_own_line(const char *line) {
    static const char *const begins[] = {made_by,
                                         merge_gguf,
                                         merge_folder,
                                         create,
                                         "FROM ./merged.gguf\n",
                                         "FROM ./merged\n",
                                         "PARAMETER stop \"",
                                         "# The chat template is in ",
                                         "# a well-known family; for another one add TEMPLATE",
                                         "# For Ollama before 0.34.1. ",
                                         "FROM \"",
                                         "FROM ./base.gguf\n",
                                         "ADAPTER ./adapter.gguf\n",
                                         "# FROM needs the base model as a GGUF file. llama.cpp makes one:\n",
                                         "#   convert_hf_to_gguf.py ",
                                         "# The adapter was trained with adapter/chat_template.jinja in place of",
                                         "# TEMPLATE is another language (Go templates): "};
    for (size_t i = 0; i < sizeof begins / sizeof *begins; i++)
        if (starts_with(line, begins[i])) return true;
    return false;
}

int modelfile_own(const char *path, Err *err) {
    enum { MAX_BYTES = 1 << 20 };
    AUTO_FREE char *text = NULL;
    size_t size;
    bool own = file_read(&text, &size, path, MAX_BYTES, NULL) == 0 && size && text[size - 1] == '\n' &&
               strlen(text) == size && (strstr(text, made_by) || strstr(text, "ADAPTER ./adapter.gguf\n"));
    for (const char *line = text; own && *line; line = strchr(line, '\n') + 1) own = is_own_line(line);
    return own ? 0 : overwrite_refuse(path, "a Modelfile as lorac wrote it", err);
}

// Ollama loads no adapters since 0.34.1, but GGUF files and, of some families, Hugging Face folders.
static int save_modelfile(const Model *m, const char *path, Err *err) {
    AUTO_STR StrBuf text = {0};
    bool gguf = m->is_gguf || model_config_gguf_check(&m->config, NULL) == 0;
    const char *merged = gguf ? "merged.gguf" : "merged";
    str_printf(&text, "%s%s%sFROM ./%s\n", made_by, gguf ? merge_gguf : merge_folder, create, merged);
    put_stops(&text, m->tokenizer);
    str_printf(&text,
               "# The chat template is in %s. Ollama translates it if it knows it as that of\n"
               "# a well-known family; for another one add TEMPLATE, in the language of Go's templates.\n",
               merged);
    return file_write_whole(path, text.data, text.len, modelfile_own, err);
}

int adapter_export(const Adapter *trained, const Model *m, const char *output_dir, const char *name,
                   const RunFacts *run, Err *err) {
    AUTO(adapter_free) Adapter *plain = NULL;
    if (adapter_plain(&plain, m, trained, err)) return -1;
    const Adapter *a = plain ? plain : trained;
    AUTO_FREE char *peft = path_join(output_dir, "adapter"), *gguf = path_join(output_dir, "adapter.gguf");
    AUTO_FREE char *modelfile = path_join(output_dir, "Modelfile"), *card = model_card_text(m, a, name, run);
    if (adapter_save_peft_whole(a, m, peft, card, err)) return -1;
    if (!adapter_generates(a)) return 0;
    if (adapter_has_gguf(a) && adapter_save_gguf(a, m, gguf, name, err)) return -1;
    return save_modelfile(m, modelfile, err);
}
