# bash completion for agent(1): eval "$(agent completion bash)"
_agent() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
    case $previous in
        --socket) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        --session|history|rename|fork|delete) mapfile -t COMPREPLY < <(compgen -W "$(agent sessions 2>/dev/null | cut -d' ' -f1)" -- "$current"); return ;;
        memory) mapfile -t COMPREPLY < <(compgen -W "add search list show forget correct share history diff restore export import stats check" -- "$current"); return ;;
        sessions) mapfile -t COMPREPLY < <(compgen -W "list search rename fork delete" -- "$current"); return ;;
        import|-o|--output) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        --kind) mapfile -t COMPREPLY < <(compgen -W "fact preference event note person task skill" -- "$current"); return ;;
        --format) mapfile -t COMPREPLY < <(compgen -W "archive markdown chatgpt claude jsonl" -- "$current"); return ;;
        completion) mapfile -t COMPREPLY < <(compgen -W "bash zsh fish" -- "$current"); return ;;
        --max-tokens|--limit|--wait) return ;;
    esac
    case $current in
        -*) mapfile -t COMPREPLY < <(compgen -W "-c --continue --session --socket --json --stream --why --max-tokens --limit --wait --kind --expires --archived --turns --yes --format --source --skip --repair --help --version" -- "$current") ;;
        *) [[ $COMP_CWORD -eq 1 ]] && mapfile -t COMPREPLY < <(compgen -W "ask chat memory sessions history whoami status health hardware completion help" -- "$current") ;;
    esac
}
complete -F _agent agent
