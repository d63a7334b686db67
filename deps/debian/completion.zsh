#compdef spegel
# Completion of spegel(8) for zsh. Commands and flags are what the program's own --help says.
local command= i
for ((i = 2; i < CURRENT; i++)); do
    case $words[i] in
        --log-level | -log-level) ((i++)) ;;
        -*) ;;
        *) command=$words[i] && break ;;
    esac
done
case $words[CURRENT-1] in
    --log-level) compadd -- DEBUG INFO WARN ERROR && return ;;
    --bootstrap-kind) compadd -- dns http static && return ;;
    --format) compadd -- text json && return ;;
    *-path | *-dir | *-sock | *-file) _files && return ;;
esac
if [[ $words[CURRENT] == -* ]]; then
    compadd -- ${(f)"$($words[1] $command --help 2>/dev/null | sed -n 's/^ *\(--[a-z-]*\).*/\1/p')"}
elif [[ -z $command ]]; then
    compadd -- ${(f)"$($words[1] --help 2>/dev/null |
        sed -n '/^Commands:/,/^$/s/^  \([a-z-]*\) .*/\1/p')"}
fi
