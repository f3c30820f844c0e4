#compdef agent
# zsh completion for agent(1): eval "$(agent completion zsh)"
_agent() {
    _arguments -S \
        '(-c --continue)'{-c,--continue}'[go on in the newest session]' \
        '--session[go on in this session]:session:($(agent sessions 2>/dev/null | cut -d" " -f1))' \
        '--socket[socket of agentd]:socket:_files' \
        '--json[write JSON]' \
        '--stream[with --json, each reply as a line]' \
        '--max-tokens[end the answer after N tokens]:tokens:' \
        '--help[show the help]' \
        '1:command:(ask chat sessions history status health hardware completion help)' \
        '*::argument:_default'
}
compdef _agent agent
