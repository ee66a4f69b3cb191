# From COMMAND on, completes as if cgrun were not there.
_cgrun() {
    local i=2 ret=1
    # The words after `run` are those of a session.
    if [[ $words[2] == run ]] && (( CURRENT > 2 )); then
        words[2]=()
        (( CURRENT-- ))
    fi
    while (( i < CURRENT )); do
        case $words[i] in
            --)
                (( i++ ))
                break
                ;;
            OPTIONS|WITH|VALUES) (( i++ )) ;;
            -*) ;;
            COMMAND|NAMES)
                (( i > 2 )) || { _cgrun_itself "$@"; return }
                break
                ;;
            *) break ;;
        esac
        (( i++ ))
    done
    if (( i > CURRENT )) || [[ $i == $CURRENT && $words[i] == -* && $words[i-1] != -- ]]; then
        _cgrun_itself "$@"
        return
    fi
    (( CURRENT == 2 )) && _cgrun_commands && ret=0
    words=("${(@)words[i,-1]}")
    (( CURRENT -= i - 1 ))
    _normal -p cgrun && ret=0
    return ret
}

if [ "$funcstack[1]" = "_cgrun" ]; then
    _cgrun "$@"
else
    compdef _cgrun cgrun
fi
