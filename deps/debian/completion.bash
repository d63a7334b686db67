# Completion of spegel(8) for bash. Commands and flags are what the program's own --help says.
_spegel()
{
    local word=${COMP_WORDS[COMP_CWORD]} command="" i
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
            --log-level | -log-level) ((i++)) ;;
            -*) ;;
            *) command=${COMP_WORDS[i]} && break ;;
        esac
    done
    case ${COMP_WORDS[COMP_CWORD - 1]} in
        --log-level) mapfile -t COMPREPLY < <(compgen -W "DEBUG INFO WARN ERROR" -- "$word") && return ;;
        --bootstrap-kind) mapfile -t COMPREPLY < <(compgen -W "dns http static" -- "$word") && return ;;
        --format) mapfile -t COMPREPLY < <(compgen -W "text json" -- "$word") && return ;;
        *-path | *-dir | *-sock | *-file) mapfile -t COMPREPLY < <(compgen -f -- "$word") && return ;;
    esac
    if [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$("${COMP_WORDS[0]}" $command --help 2>/dev/null |
            sed -n 's/^ *\(--[a-z-]*\).*/\1/p')" -- "$word")
    elif [[ -z $command ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$("${COMP_WORDS[0]}" --help 2>/dev/null |
            sed -n '/^Commands:/,/^$/s/^  \([a-z-]*\) .*/\1/p')" -- "$word")
    fi
}
complete -F _spegel spegel
