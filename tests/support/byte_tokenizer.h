// byte_tokenizer: a tokenizer with one token per byte and the control tokens of several chat formats; conversations as
// text with [[ ]] around what is supervised.
#pragma once

#include "chat.h"
#include "tokenizer_files.h"
#include "tokenizer_fixture.h"

static const char *const control_tokens[] = {"<s>",
                                             "</s>",
                                             "<|im_start|>",
                                             "<|im_end|>",
                                             "<|user|>",
                                             "<|assistant|>",
                                             "<|system|>",
                                             "<|end|>",
                                             "<|start_header_id|>",
                                             "<|end_header_id|>",
                                             "<|eot_id|>",
                                             "<|begin_of_text|>",
                                             "[INST]",
                                             "[/INST]",
                                             "[TOOL_CALLS]",
                                             "[TOOL_RESULTS]",
                                             "[/TOOL_RESULTS]",
                                             "<start_of_turn>",
                                             "<end_of_turn>",
                                             "<|im_sep|>",
                                             "<|User|>",
                                             "<|Assistant|>",
                                             "<|tool_calls_begin|>",
                                             "<|tool_calls_end|>",
                                             "<|tool_call_begin|>",
                                             "<|tool_call_end|>",
                                             "<|tool_sep|>",
                                             "<|end_of_sentence|>",
                                             "<|tool_outputs_begin|>",
                                             "<|tool_outputs_end|>",
                                             "<|start|>",
                                             "<|message|>",
                                             "<|channel|>",
                                             "<|call|>",
                                             "<|return|>",
                                             "<|eom_id|>",
                                             "[SYSTEM_PROMPT]",
                                             "[/SYSTEM_PROMPT]",
                                             "<\uff5cUser\uff5c>",
                                             "<\uff5cAssistant\uff5c>",
                                             "<|START_OF_TURN_TOKEN|>",
                                             "<|END_OF_TURN_TOKEN|>",
                                             "<|SYSTEM_TOKEN|>",
                                             "<|USER_TOKEN|>",
                                             "<|CHATBOT_TOKEN|>",
                                             "<|start_of_role|>",
                                             "<|end_of_role|>"};
static const char *const user_tokens[] = {"<think>", "</think>", "<tool_call>", "</tool_call>"};

enum { CONTROL = 3, USER_DEFINED = 4, NORMAL = 1 };

static Tokenizer *byte_tokenizer(const char *const merges[], size_t n_merges) {
    static char names[256][3];
    VocabLists *v = mem_calloc(1, sizeof *v);
    vocab_init(v, "gpt-2");
    for (int b = 0, other = 256; b < 256; b++) {
        bool same = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
        int c = same ? b : other++;
        names[b][0] = (char)(c < 0x80 ? c : 0xC0 | c >> 6);
        names[b][1] = (char)(c < 0x80 ? 0 : 0x80 | (c & 0x3F));
        vocab_add(v, NORMAL, names[b]);
    }
    for (size_t i = 0; i < sizeof control_tokens / sizeof *control_tokens; i++)
        vocab_add(v, CONTROL, control_tokens[i]);
    for (size_t i = 0; i < sizeof user_tokens / sizeof *user_tokens; i++) vocab_add(v, USER_DEFINED, user_tokens[i]);
    for (size_t i = 0; i < n_merges; i += 2) { // merge, merged token
        vocab_merge(v, merges[i]);
        vocab_add(v, NORMAL, merges[i + 1]);
    }
    v->source.bos = 256;
    v->source.eos = 257;
    Tokenizer *t = NULL;
    Err err = {0};
    ASSERT_OK(tokenizer_new(&t, &v->source, &err), &err);
    mem_free(v);
    return t;
}

// The tokens' text, supervised ones in [[ ]].
static char *marked(const ChatTokens *ct, const Tokenizer *t) {
    StrBuf s = {0};
    str_puts(&s, "");
    for (size_t i = 0; i < ct->count; i++) {
        bool before = i > 0 && ct->supervised[i - 1], now = ct->supervised[i];
        if (now != before) str_puts(&s, now ? "[[" : "]]");
        tokenizer_decode(t, &ct->ids[i], 1, true, &s);
    }
    if (ct->count && ct->supervised[ct->count - 1]) str_puts(&s, "]]");
    return s.data;
}
