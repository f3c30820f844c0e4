# bash completion for agent(1): eval "$(agent completion bash)"
_agent() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
    case $previous in
        --socket) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        --session|history) mapfile -t COMPREPLY < <(compgen -W "$(agent sessions 2>/dev/null | cut -d' ' -f1)" -- "$current"); return ;;
        completion) mapfile -t COMPREPLY < <(compgen -W "bash zsh fish" -- "$current"); return ;;
        --max-tokens|--limit|--wait) return ;;
    esac
    case $current in
        -*) mapfile -t COMPREPLY < <(compgen -W "-c --continue --session --socket --json --stream --max-tokens --limit --wait --help --version" -- "$current") ;;
        *) [[ $COMP_CWORD -eq 1 ]] && mapfile -t COMPREPLY < <(compgen -W "ask chat sessions history status health hardware completion help" -- "$current") ;;
    esac
}
complete -F _agent agent
