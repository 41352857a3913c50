// foreign_prompts: the data set types of Axolotl whose text is a fixed prompt, as prompt_format and columns.
//
// Sources: Axolotl's prompters and prompt strategies (alpaca_chat, alpaca_instruct, alpaca_w_system, context_qa,
// creative_acr) and its handlers of data set types. Checked against them: tests/golden/make_axolotl_types_golden.py.
#include <string.h>

#include "foreign_entry.h"

#define TASK "Below is an instruction that describes a task"
#define PAIRED ", paired with an input that provides further context. "
#define ANSWER "Write a response that appropriately completes the request."
#define FROM_USER "Below is an instruction from a USER that describes a task"

// Words around a turn, in which {system} is written where there is one. PHI and the others: as in Axolotl.
typedef struct Style {
    const char *name; // of "alpaca:NAME"; NULL: only of the types below
    const char *system, *with_input, *no_input;
} Style;
typedef enum { INSTRUCT, CHAT, CHATML, PHI, ORCA, CONTEXT, CREATIVE, SUMMARY } StyleId;
#define CHATML_END "<|im_end|>\n<|im_start|>assistant\n"
static const Style styles[] = {
    [INSTRUCT] = {"instruct", "{system}\n\n",
                  "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n",
                  "### Instruction:\n{instruction}\n\n### Response:\n"},
    [CHAT] = {"chat", "SYSTEM: {system}\n",
              "USER: {instruction}\n{input}\nASSISTANT:", "USER: {instruction}\nASSISTANT:"},
    [CHATML] = {"chatml", "<|im_start|>system\n{system}<|im_end|>\n",
                "<|im_start|>user\n{instruction}\n{input}" CHATML_END, "<|im_start|>user\n{instruction}" CHATML_END},
    [PHI] = {"phi", "<|system|>\n{system}<|end|>\n", "<|user|>\n{instruction}<|end|>{input}<|assistant|>",
             "<|user|>\n{instruction}<|end|>\n<|assistant|>\n"},
    [ORCA] = {NULL, "### System:\n{system}\n",
              "### Human:\n{instruction}\n### Additional Context:\n{input}\n"
              "### Assistant:\n",
              "### Human:\n{instruction}\n### Assistant:\n"},
    [CONTEXT] = {NULL, "SYSTEM: {system}\n",
                 "USER: {instruction}\n===\n{input}\nASSISTANT:", "USER: {instruction}\n===\n\nASSISTANT:"},
    [CREATIVE] = {NULL, "{system}\n", "USER: {instruction}\nASSISTANT:", "USER: {instruction}\nASSISTANT:"},
    [SUMMARY] = {NULL, "{system}",
                 "USER: Summarize the following article as a TL;DR.\n{instruction}\n{input}\nASSISTANT:",
                 "USER: Summarize the following article as a TL;DR.\n{instruction}\nASSISTANT:"},
};

// system: the fixed text with an input and without one; "": none; NULL: of the record.
typedef struct PromptType {
    const char *names; // separated by spaces
    StyleId style;
    const char *system[2];
    const char *columns[4]; // names of instruction, input, output, system; NULL: as they are, "": not read
} PromptType;

#define ALPACA                                                                                                         \
    { TASK PAIRED ANSWER, TASK ". " ANSWER }
#define CONCISE                                                                                                        \
    {                                                                                                                  \
        FROM_USER PAIRED                                                                                               \
            "The ASSISTANT writes a response that concisely and appropriately completes the request.\n\n",             \
            FROM_USER ". The ASSISTANT writes a response that appropriately and concisely completes the request.\n\n"  \
    }
#define NO_SYSTEM                                                                                                      \
    { "", "" }
#define OF_RECORD                                                                                                      \
    { NULL, NULL }
#define FROM_CONTEXT "Use the following contextual information to concisely answer the question.\n"
#define CREATIVELY                                                                                                     \
    "Answer the following question in a comprehensive, in-depth, and creative way. Additionally your response should " \
    "be relevant, accurate, and free of any ambiguity."

static const PromptType types[] = {
    {"alpaca alpaca_instruct alpaca_instruct.load", INSTRUCT, ALPACA, {0}},
    {"alpaca_instruct.load_no_prompt", INSTRUCT, NO_SYSTEM, {0}},
    {"alpaca_chat alpaca_chat.load", CHAT, ALPACA, {0}},
    {"alpaca_chat.load_concise", CHAT, CONCISE, {0}},
    {"alpaca_chat.load_qa", CHAT, CONCISE, {"question", "", "answer"}},
    {"alpaca_chat.load_camel_ai", CHAT, CONCISE, {"message_1", "", "message_2"}},
    {"alpaca_chat.load_no_prompt", CHAT, NO_SYSTEM, {0}},
    {"alpaca_w_system alpaca_w_system.load alpaca_w_system.load_chat", CHAT, OF_RECORD, {0}},
    {"alpaca_w_system.load_instruct", INSTRUCT, OF_RECORD, {0}},
    {"alpaca_w_system.load_open_orca", ORCA, OF_RECORD, {"question", "", "response", "system_prompt"}},
    {"alpaca_w_system.load_open_orca_chatml", CHATML, OF_RECORD, {"question", "", "response", "system_prompt"}},
    {"context_qa context_qa.load", CONTEXT, {FROM_CONTEXT, FROM_CONTEXT}, {"article", "question", "answer"}},
    {"creative_acr.load_answer", CREATIVE, {CREATIVELY, CREATIVELY}, {NULL, "", "revision"}},
    {"gpteacher", INSTRUCT, ALPACA, {NULL, NULL, "response"}},
    {"oasst", INSTRUCT, ALPACA, {"INSTRUCTION", "", "RESPONSE"}},
    {"summarizetldr", SUMMARY, NO_SYSTEM, {"article", "", "summary"}},
};
enum { TYPES = sizeof types / sizeof *types, STYLES = sizeof styles / sizeof *styles };

// The style behind a colon, of the types that have it: "alpaca:chat".
static bool take_style(StyleId *style, const char *name) {
    for (size_t s = 0; s < STYLES; s++)
        if (styles[s].name && strcmp(name, styles[s].name) == 0) {
            *style = (StyleId)s;
            return true;
        }
    return false;
}

static const PromptType *find_type(const char *text, StyleId *style) {
    size_t n = strcspn(text, ":");
    for (const PromptType *t = types; t < types + TYPES; t++) {
        if (!is_among(text, n, t->names)) continue;
        *style = t->style;
        if (!text[n]) return t;
        return is_among(text, n, "alpaca gpteacher oasst") && take_style(style, text + n + 1) ? t : NULL;
    }
    return NULL;
}

static char *with_system(const Style *s, const char *system, const char *turn) {
    static const char field[] = "{system}";
    const char *at = strstr(s->system, field);
    if (!*system) return mem_strdup(turn);
    return mem_printf("%.*s%s%s%s", (int)(at - s->system), s->system, system, at + strlen(field), turn);
}

static void add_part(Entry *e, PromptPart p, const char *text) {
    cJSON_AddStringToObject(e->prompt, prompt_part_name(p), text);
}

bool entry_take_prompt_type(Entry *e, const char *text) {
    static const RecordKey keys[] = {COLUMN_INSTRUCTION, COLUMN_INPUT, COLUMN_OUTPUT, COLUMN_SYSTEM};
    StyleId id;
    const PromptType *t = find_type(text, &id);
    if (!t) return false;
    e->format = "alpaca_prompt";
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        Json name = json_string(json_str(t->columns[i] ? t->columns[i] : ""));
        if (name.str.len) entry_add_column(e, "type", keys[i], &name);
    }
    if (t == types && id == INSTRUCT) return true; // what alpaca_prompt is
    const Style *s = &styles[id];
    bool reads_input = !t->columns[1] || *t->columns[1];
    AUTO_FREE char *no_input = with_system(s, t->system[1] ? t->system[1] : "", s->no_input);
    AUTO_FREE char *with_input = with_system(s, t->system[0] ? t->system[0] : "", s->with_input);
    e->prompt = cJSON_CreateObject();
    add_part(e, PROMPT_SYSTEM_FORMAT, t->system[0] ? "" : s->system);
    add_part(e, PROMPT_WITH_INPUT, reads_input ? with_input : no_input);
    add_part(e, PROMPT_NO_INPUT, no_input);
    return true;
}
