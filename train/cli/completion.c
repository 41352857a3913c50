// completion: verbs, then the options of the verb, then an option's words or files. What differs between the verbs is
// only in lists, which are written here; "files" where nothing else is known.
#include "completion.h"

#include <string.h>

#include "cli.h"
#include "config.h"
#include "say.h"

// The first sentence of a help text, in single quotes; zsh: after a backslash a colon separates nothing.
static void say_quoted(const char *help, bool zsh) {
    say("'");
    for (const char *p = help; *p && *p != '\n' && !(*p == '.' && (!p[1] || p[1] == ' ')); p++)
        say(*p == '\'' ? "'\\'%c" : zsh && *p == ':' ? "\\%c" : "%c", *p);
    say("'");
}

static void say_verb_names(bool config_only, const char *separator) {
    const char *between = "";
    for (size_t i = 0; verbs[i]; i++) {
        if (config_only && !verbs[i]->takes_config) continue;
        say("%s%s", between, verbs[i]->name);
        between = separator;
    }
}

static void say_words(const Key *k) {
    for (const EnumWord *w = k->words; w->word; w++) say("%s%s", w == k->words ? "" : " ", w->word);
}

// "    VERB/--option) values='A B' ;;" for each option that has words.
static void say_cases(const KeyTable *t, const char *verb) {
    for (const Key *k = t->keys; k < t->keys + t->count; k++) {
        if (!k->words) continue;
        say("    %s/--%s) values='", verb, k->name);
        say_words(k);
        say("' ;;\n");
    }
}

// Sets `values` by the verb and the word before the cursor; a verb's own options come before the keys of a config.
static void say_all_cases(void) {
    say("    case $verb/$previous in\n");
    for (size_t i = 0; verbs[i]; i++) say_cases(&verbs[i]->options, verbs[i]->name);
    say("    *) [ \"$config\" ] && case config/$previous in\n");
    say_cases(&config_table, "config");
    say("    esac ;;\n    esac\n");
}

static void say_options(const KeyTable *t, bool zsh) {
    for (const Key *k = t->keys; k < t->keys + t->count; k++) {
        say(zsh ? " '--%s:'" : " --%s", k->name);
        if (zsh) say_quoted(k->help, true);
    }
}

// Sets `options`, and `config` to 1 where all keys of a config are options, too.
static void say_all_options(bool zsh) {
    const char *open = zsh ? "(" : "'", *close = zsh ? ")" : "'";
    say("    case $verb in\n");
    for (size_t i = 0; verbs[i]; i++) {
        say("    %s) config=%s options=%s", verbs[i]->name, verbs[i]->takes_config ? "1" : "", open);
        say_options(&verbs[i]->options, zsh);
        say("%s ;;\n", close);
    }
    say("    esac\n    [ \"$config\" ] && options+=%s", open);
    say_options(&config_table, zsh);
    say("%s\n", close);
}

static void print_bash(void) {
    say("# bash completion for lorac, written by \"lorac help --completion bash\"\n"
        "_lorac() {\n"
        "    local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} verb=${COMP_WORDS[1]}\n"
        "    local config='' options='' values=''\n"
        "    # bash makes three words of --key=value\n"
        "    [ \"$previous\" = = ] && previous=${COMP_WORDS[COMP_CWORD-2]}\n"
        "    [ \"$word\" = = ] && word=''\n");
    say_all_options(false);
    say_all_cases();
    say("    [[ $word == -* ]] && values=$options\n"
        "    if [ \"$COMP_CWORD\" = 1 ]; then values='");
    say_verb_names(false, " ");
    say("'\n    elif [ \"$COMP_CWORD/$verb\" = 2/help ]; then values=\"config ");
    say_verb_names(false, " ");
    say("\"\n    fi\n"
        "    COMPREPLY=($(compgen -W \"$values\" -- \"$word\"))\n"
        "    if [ ${#COMPREPLY[@]} = 0 ] && [ \"$COMP_CWORD\" != 1 ]; then\n"
        "        local IFS=$'\\n'\n"
        "        compopt -o filenames 2>/dev/null\n"
        "        COMPREPLY=($(compgen -f -- \"$word\"))\n"
        "    fi\n"
        "}\n"
        "complete -F _lorac lorac\n");
}

static void print_zsh(void) {
    say("#compdef lorac\n"
        "# zsh completion for lorac, written by \"lorac help --completion zsh\"\n"
        "_lorac() {\n"
        "    local verb=$words[2] previous=$words[CURRENT-1] config=''\n"
        "    local -a options verbs\n"
        "    verbs=(");
    for (size_t i = 0; verbs[i]; i++) {
        say("\n        '%s:'", verbs[i]->name);
        say_quoted(verbs[i]->summary, true);
    }
    say(")\n"
        "    if (( CURRENT == 2 )) || [[ $CURRENT/$verb == 3/help ]]; then\n"
        "        _describe verb verbs\n"
        "        return\n"
        "    fi\n"
        "    [[ $PREFIX == --*=* ]] && previous=${PREFIX%%%%=*} && compset -P '*='\n");
    say_all_options(true);
    say("    local values=''\n");
    say_all_cases();
    say("    [[ $values ]] && compadd -- ${=values} && return\n"
        "    [[ $PREFIX == -* ]] && _describe -o option options && return\n"
        "    _files\n"
        "}\n"
        "_lorac \"$@\"\n");
}

static void say_fish_options(const KeyTable *t, const char *verb) {
    for (const Key *k = t->keys; k < t->keys + t->count; k++) {
        say("complete -c lorac -n '__fish_seen_subcommand_from ");
        if (verb)
            say("%s", verb);
        else
            say_verb_names(true, " ");
        say("' -l %s%s", k->name, k->type == KEY_BOOL ? "" : k->words && k->type != KEY_PATH ? " -x" : " -rF");
        if (k->words) {
            say(" -a '");
            say_words(k);
            say("'");
        }
        say(" -d ");
        say_quoted(k->help, false);
        say("\n");
    }
}

static void print_fish(void) {
    say("# fish completion for lorac, written by \"lorac help --completion fish\"\n");
    for (size_t i = 0; verbs[i]; i++) {
        say("complete -c lorac -n __fish_use_subcommand -f -a %s -d ", verbs[i]->name);
        say_quoted(verbs[i]->summary, false);
        say("\n");
        say_fish_options(&verbs[i]->options, verbs[i]->name);
    }
    say_fish_options(&config_table, NULL);
    say("complete -c lorac -n '__fish_seen_subcommand_from help' -f -a 'config ");
    say_verb_names(false, " ");
    say("'\n");
}

void completion_print(Shell shell) {
    static void (*const print[])(void) = {
        [SHELL_BASH] = print_bash, [SHELL_ZSH] = print_zsh, [SHELL_FISH] = print_fish};
    print[shell]();
}
