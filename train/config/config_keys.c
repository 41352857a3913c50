// The table of config keys, from config_keys.def.
#include "config_internal.h"

#define BELOW_1 0.999999

static const Key keys[CONFIG_KEYS] = {
#define KEY(type_, name_, ...)                                                                                         \
    [CONFIG_##name_] = {.name = #name_, .type = KEY_##type_, .offset = offsetof(Config, name_), __VA_ARGS__},
#define CHOICE(Enum, name_, list_, ...)                                                                                \
    [CONFIG_##name_] = {.name = #name_,                                                                                \
                        .type = KEY_CHOICE,                                                                            \
                        .offset = offsetof(Config, name_),                                                             \
                        .words = ENUM_WORDS(list_),                                                                    \
                        __VA_ARGS__},
#include "config_keys.def"
};

const KeyTable config_table = {keys, CONFIG_KEYS};
