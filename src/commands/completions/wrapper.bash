# From COMMAND on, completes as if cgrun were not there.
_cgrun_or_command() {
    local i=1 position=$COMP_CWORD
    while ((i < COMP_CWORD)); do
        case ${COMP_WORDS[i]} in
            --)
                ((i++))
                break
                ;;
            OPTIONS|WITH|VALUES)
                [[ ${COMP_WORDS[i + 1]-} == = ]] || ((i++))
                ;;
            -*) ;;
            run)
                ((i == 1)) || break
                ;;
            COMMAND|NAMES)
                ((i > 1)) || { _cgrun "$@"; return; }
                break
                ;;
            *) break ;;
        esac
        # bash splits --grace=5s into three words, and 1000:1000 too.
        while [[ ${COMP_WORDS[i + 1]-} =~ ^[=:]+$ ]]; do ((i += 2)); done
        ((i++))
    done
    if ((i > COMP_CWORD)) || [[ $i == "$COMP_CWORD" && $2 == -* && ${COMP_WORDS[i - 1]} != -- ]]; then
        local previous=$3
        [[ $3 != = ]] || previous=${COMP_WORDS[COMP_CWORD - 2]}
        if [[ $previous != -* && ($3 == = || ${COMP_WORDS[COMP_CWORD]} == =) ]]; then
            # The FILE of KIND=FILE, which bash completes if we do not.
            COMPREPLY=()
            return
        fi
        _cgrun "$1" "$2" "$previous"
        return
    fi
    if declare -F _comp_command_offset >/dev/null; then
        _comp_command_offset "$i"
    elif declare -F _command_offset >/dev/null; then
        _command_offset "$i"
    elif ((i == COMP_CWORD)); then
        mapfile -t COMPREPLY < <(compgen -c -- "$2")
    fi
    if ((position == 1)); then
        mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -W "run COMMAND NAMES" -- "$2")
    fi
}

complete -F _cgrun_or_command -o bashdefault -o default cgrun
