#compdef agent
# zsh completion for agent(1): eval "$(agent completion zsh)"
_agent() {
    local state
    _arguments -S \
        '(-c --continue)'{-c,--continue}'[go on in the newest session]' \
        '--session[go on in this session]:session:($(agent sessions 2>/dev/null | cut -d" " -f1))' \
        '--socket[socket of agentd]:socket:_files' \
        '--json[write JSON]' \
        '--stream[with --json, each reply as a line]' \
        '--max-tokens[end the answer after N tokens]:tokens:' \
        '--help[show the help]' \
        '1:command:(ask chat memory sessions history whoami status health hardware completion help)' \
        '2:argument:->second' \
        '*::argument:_default'
    case $state in
        second)
            case $words[2] in
                memory) compadd add search list show forget correct share history diff restore export import stats check ;;
                sessions) compadd list search rename fork delete ;;
                *) _default ;;
            esac ;;
    esac
}
compdef _agent agent
