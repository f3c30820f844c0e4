#compdef agent
# zsh completion for agent(1): eval "$(agent completion zsh)"
_agent_first() { # the first word of each line that an `agent` command writes
    compadd -- $(agent "$@" 2>/dev/null | cut -d' ' -f1)
}
_agent_tools() { # nothing, if agentd does not answer within a second
    compadd -- $(timeout 1 agent tools 2>/dev/null | cut -d' ' -f1)
}
_agent() {
    local curcontext=$curcontext state line
    local -a common where kinds
    common=(
        '--socket[socket of agentd]:socket:_files'
        '--json[write JSON]'
        '(-h --help)'{-h,--help}'[show the help]'
    )
    where=(
        '(-c --continue)'{-c,--continue}'[go on in the newest session]'
        '--session[go on in this session]:session: _agent_first sessions'
        '--max-tokens[end the answer after N tokens]:tokens:'
    )
    kinds=('--kind[kind of memory]:kind:(fact preference event note person task skill)')
    _arguments -C -S $common $where \
        '--why[show what was recalled, and how it scored]' \
        '--stream[with --json, each reply as a line]' \
        '--version[show the version]' \
        '1:command:(ask chat memory sessions history whoami status health hardware tools tool approve refuse undo log route policy skills reminders notices brief watch completion help)' \
        '*::argument:->rest'
    [[ $state == rest ]] || return
    case $words[1] in
        ask) _arguments -S $common $where '--why[show what was recalled, and how it scored]' '--stream[with --json, each reply as a line]' '*:question:' ;;
        chat) _arguments -S $common $where ;;
        memory) _agent_memory ;;
        sessions) _agent_sessions ;;
        history) _arguments -S $common '--session[the same]:session: _agent_first sessions' '--limit[only the last N turns]:number:' '1:session: _agent_first sessions' ;;
        whoami) _arguments -S $common '--owner[who the owner is]:name:' '--address[how the owner wants to be addressed]:name:' '--name[what the agent is called]:name:' ;;
        health) _arguments -S $common '--wait[wait so long for it to become healthy]:seconds:' ;;
        tool) _arguments -S $common '--yes[say yes to what is asked]' '1:tool: _agent_tools' '*:argument:' ;;
        approve | refuse) _arguments -S $common '1:change: _agent_first approve' ;;
        undo) _arguments -S $common '--yes[do not ask]' '1:number in the log:' ;;
        log) _arguments -S $common '--limit[only the N newest]:number:' '--verify[check that nobody changed the log]' ;;
        route) _arguments -S $common '*:request:' ;;
        policy) _agent_policy ;;
        reminders) _arguments -S $common '--unseen[only what rang and was not seen]' ;;
        notices) _arguments -S $common '--all[also what is acknowledged or over]' '--ack[acknowledge one]:notice:' '--events[every event instead of notices]' '--quiet[set quiet hours]:hours:(22\:00-07\:00 off)' ;;
        completion) _arguments -S $common '1:shell:(bash zsh fish)' ;;
        *) _arguments -S $common ;;
    esac
}
_agent_memory() {
    _arguments -C -S $common \
        '1:command:(add search list show forget correct share history diff restore export import stats check)' \
        '*::argument:->rest'
    [[ $state == rest ]] || return
    case $words[1] in
        add) _arguments -S $common $kinds '--expires[not recalled after this day]:date:' '--shared[for everybody on this machine]' '*:text:' ;;
        search) _arguments -S $common '(-k --limit)'{-k,--limit}'[at most N]:number:' '--archived[also what was superseded or has expired]' '*:text:' ;;
        list) _arguments -S $common $kinds '--limit[at most N]:number:' '--archived[also what was superseded or has expired]' ;;
        show) _arguments -S $common '1:memory: _agent_first memory list' ;;
        correct) _arguments -S $common '1:memory: _agent_first memory list' '*:text:' ;;
        forget) _arguments -S $common '--turns[also what was said that it came from]' '--yes[do not ask]' '*:memory: _agent_first memory list' ;;
        share) _arguments -S $common '--no[no longer]' '1:memory: _agent_first memory list' ;;
        history) _arguments -S $common '--limit[at most N]:number:' '1:memory: _agent_first memory list' ;;
        diff) _arguments -S $common '1:revision: _agent_first memory history' ;;
        restore) _arguments -S $common '1:revision: _agent_first memory history' '2:memory: _agent_first memory list --archived' ;;
        export) _arguments -S $common '(-o --output)'{-o,--output}'[a tar file]:file:_files' ;;
        import) _arguments -S $common '--format[what the file is]:format:(archive markdown chatgpt claude jsonl)' '--source[where it comes from]:name:' '--skip[leave bad records out instead of ending]' '1:file:_files' ;;
        check) _arguments -S $common '--repair[put right what can be put right]' ;;
        *) _arguments -S $common ;;
    esac
}
_agent_policy() {
    _arguments -C -S $common '1:command:(check)' '*::argument:->rest'
    [[ $state == rest && $words[1] == check ]] || return
    _arguments -S $common '--tool[a tool, with NAME=VALUE]:tool: _agent_tools' '*:request:'
}
_agent_sessions() {
    _arguments -C -S $common '--limit[only the N newest]:number:' \
        '1:command:(list search rename fork delete)' \
        '*::argument:->rest'
    [[ $state == rest ]] || return
    case $words[1] in
        list) _arguments -S $common '--limit[only the N newest]:number:' ;;
        rename) _arguments -S $common '1:session: _agent_first sessions' '*:title:' ;;
        fork) _arguments -S $common '--turn[only up to this turn]:turn:' '1:session: _agent_first sessions' ;;
        delete) _arguments -S $common '--yes[do not ask]' '1:session: _agent_first sessions' ;;
        *) _arguments -S $common ;;
    esac
}
compdef _agent agent
