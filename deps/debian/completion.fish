# Completion of spegel(8) for fish. Commands and flags are what the program's own --help says.
function __spegel_complete
    set -l words (commandline -opc)
    set -l rest $words[2..]
    set -l command
    while set -q rest[1]; and not set -q command[1]
        switch $rest[1]
            case --log-level -log-level
                set rest $rest[3..]
            case '-*'
                set rest $rest[2..]
            case '*'
                set command $rest[1]
        end
    end
    switch $words[-1]
        case --log-level
            printf '%s\n' DEBUG INFO WARN ERROR
        case --bootstrap-kind
            printf '%s\n' dns http static
        case --format
            printf '%s\n' text json
        case '*-path' '*-dir' '*-sock' '*-file'
            __fish_complete_path (commandline -ct)
        case '*'
            if string match -q -- '-*' (commandline -ct)
                $words[1] $command --help 2>/dev/null | string match -rg '^ *(--[a-z-]*)'
            else if not set -q command[1]
                $words[1] --help 2>/dev/null | sed -n '/^Commands:/,/^$/s/^  \([a-z-]*\) .*/\1/p'
            end
    end
end
complete -c spegel -f -a '(__spegel_complete)'
