# From COMMAND on, complete as if cgrun were not there. The functions above are replaced: cgrun's own commands come first
# on the command line, and the options after `run` are those of a session.

function __fish_cgrun_using_subcommand
    set -l words (commandline -opc)
    contains -- "$words[2]" $argv
end

# Prints the words of COMMAND before the cursor. Fails after one of cgrun's own commands.
function __fish_cgrun_command_words
    set -l words (commandline -opc)
    set -e words[1]
    contains -- "$words[1]" COMMAND NAMES
    and return 1
    test "$words[1]" = run
    and set -e words[1]
    # A switch can have a value after `=`.
    set -l options (__fish_cgrun_global_optspecs | string replace -r '^(SWITCHES|OF|CGRUN)$' '$1=?')
    # This fails if the last option still needs its value, which the cursor is in then.
    argparse -s $options -- $words 2>/dev/null
    and string escape -- $argv
    return 0
end

function __fish_cgrun_needs_command
    set -l words (__fish_cgrun_command_words)
    and not set -q words[1]
end

function __fish_cgrun_takes_command
    set -l words (__fish_cgrun_command_words)
    or return 1
    # An option of cgrun is not COMMAND.
    set -q words[1]
    or not string match -q -- "-*" (commandline -ct)
end

complete -c cgrun -x -n __fish_cgrun_takes_command \
    -a '(complete --do-complete=(string join " " -- (__fish_cgrun_command_words) (commandline -ct)))'

# clap leaves out the values of arguments that are no options. Only options take files, and merge.
complete -c cgrun -f -n "__fish_cgrun_using_subcommand COMMAND NAMES"
complete -c cgrun -F -n "__fish_cgrun_using_subcommand merge"
complete -c cgrun -n "__fish_cgrun_using_subcommand completions" -a "bash zsh fish"
