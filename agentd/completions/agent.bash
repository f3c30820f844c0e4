# bash completion for agent(1): eval "$(agent completion bash)"
_agent_first() { # the first word of each line that an `agent` command writes
    agent "$@" 2>/dev/null | cut -d' ' -f1
}
_agent_tools() { # nothing, if agentd does not answer within a second
    timeout 1 agent tools 2>/dev/null | cut -d' ' -f1
}
_agent() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
    local commands="ask chat memory sessions history whoami status health hardware"
    commands+=" tools tool approve refuse undo log route policy skills reminders notices brief watch completion help"
    local command="" action="" place word words="" options="--socket --json --help"
    for ((place = 1; place < COMP_CWORD; place++)); do
        word=${COMP_WORDS[place]}
        case $word in
            --socket | --session | --max-tokens | --limit | --wait) ((place++)) ;;
            -*) ;;
            *) if [[ -z $command ]]; then command=$word; else action=$word; break; fi ;;
        esac
    done
    # What is no command is a question.
    [[ -z $command || " $commands " == *" $command "* ]] || command=ask
    case $previous in
        --socket | -o | --output) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return 0 ;;
        --session) mapfile -t COMPREPLY < <(compgen -W '$(_agent_first sessions)' -- "$current"); return 0 ;;
        --kind) mapfile -t COMPREPLY < <(compgen -W "fact preference event note person task skill" -- "$current"); return 0 ;;
        --format) mapfile -t COMPREPLY < <(compgen -W "archive markdown chatgpt claude jsonl" -- "$current"); return 0 ;;
        --tool) mapfile -t COMPREPLY < <(compgen -W '$(_agent_tools)' -- "$current"); return 0 ;;
        --quiet) mapfile -t COMPREPLY < <(compgen -W "22:00-07:00 off" -- "$current"); return 0 ;;
        --ack | --max-tokens | --limit | -k | --wait | --expires | --source | --turn | --owner | --address | --name) COMPREPLY=(); return 0 ;;
    esac
    case $command${action:+ $action} in
        "") words=$commands options+=" -c --continue --session --max-tokens --why --stream --version" ;;
        ask*) options+=" -c --continue --session --max-tokens --why --stream" ;;
        chat) options+=" -c --continue --session --max-tokens" ;;
        memory) words="add search list show forget correct share history diff restore export import stats check" ;;
        "memory add") options+=" --kind --expires --shared" ;;
        "memory search") options+=" -k --limit --archived" ;;
        "memory list") options+=" --kind --limit --archived" ;;
        "memory show" | "memory correct") words='$(_agent_first memory list)' ;;
        "memory forget") words='$(_agent_first memory list)' options+=" --turns --yes" ;;
        "memory share") words='$(_agent_first memory list)' options+=" --no" ;;
        "memory history") words='$(_agent_first memory list)' options+=" --limit" ;;
        "memory diff" | "memory restore") words='$(_agent_first memory history)' ;;
        "memory export") options+=" -o --output" ;;
        "memory import") options+=" --format --source --skip" ;;
        "memory check") options+=" --repair" ;;
        sessions) words="list search rename fork delete" options+=" --limit" ;;
        "sessions list") options+=" --limit" ;;
        "sessions rename") words='$(_agent_first sessions)' ;;
        "sessions fork") words='$(_agent_first sessions)' options+=" --turn" ;;
        "sessions delete") words='$(_agent_first sessions)' options+=" --yes" ;;
        history) words='$(_agent_first sessions)' options+=" --session --limit" ;;
        whoami) options+=" --owner --address --name" ;;
        health) options+=" --wait" ;;
        tool) words='$(_agent_tools)' options+=" --yes" ;;
        "tool "*) options+=" --yes" ;;
        approve | refuse) words='$(_agent_first approve)' ;;
        undo*) options+=" --yes" ;;
        log*) options+=" --limit --verify" ;;
        policy) words="check" ;;
        "policy check") options+=" --tool" ;;
        reminders*) options+=" --unseen" ;;
        notices*) options+=" --all --ack --events --quiet" ;;
        completion) words="bash zsh fish" ;;
    esac
    if [[ $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
    elif [[ $command == memory && $action == import ]]; then
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
    else
        # Single-quoted above, so that agentd is asked only when its answer is wanted.
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
    fi
}
complete -F _agent agent
