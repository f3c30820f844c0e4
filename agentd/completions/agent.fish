# fish completion for agent(1): agent completion fish | source
complete -c agent -f
complete -c agent -n __fish_use_subcommand -a "ask chat sessions history status health hardware completion help"
complete -c agent -n "__fish_seen_subcommand_from completion" -a "bash zsh fish"
complete -c agent -n "__fish_seen_subcommand_from history" -a "(agent sessions 2>/dev/null | cut -d' ' -f1)"
complete -c agent -s c -l continue -d "go on in the newest session"
complete -c agent -l session -x -a "(agent sessions 2>/dev/null | cut -d' ' -f1)" -d "go on in this session"
complete -c agent -l socket -r -F -d "socket of agentd"
complete -c agent -l json -d "write JSON"
complete -c agent -l stream -d "with --json, each reply as a line"
complete -c agent -l max-tokens -x -d "end the answer after N tokens"
complete -c agent -l wait -x -d "with health: wait so many seconds"
complete -c agent -s h -l help -d "show the help"
