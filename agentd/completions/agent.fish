# fish completion for agent(1): agent completion fish | source
complete -c agent -f
complete -c agent -n __fish_use_subcommand -a "ask chat memory sessions history whoami status health hardware completion help"
complete -c agent -n "__fish_seen_subcommand_from completion" -a "bash zsh fish"
complete -c agent -n "__fish_seen_subcommand_from memory; and not __fish_seen_subcommand_from add search list show forget correct share history diff restore export import stats check" -a "add search list show forget correct share history diff restore export import stats check"
complete -c agent -n "__fish_seen_subcommand_from import" -F
complete -c agent -n "__fish_seen_subcommand_from sessions; and not __fish_seen_subcommand_from list search rename fork delete" -a "list search rename fork delete"
complete -c agent -n "__fish_seen_subcommand_from history rename fork delete" -a "(agent sessions 2>/dev/null | cut -d' ' -f1)"
complete -c agent -s c -l continue -d "go on in the newest session"
complete -c agent -l session -x -a "(agent sessions 2>/dev/null | cut -d' ' -f1)" -d "go on in this session"
complete -c agent -l socket -r -F -d "socket of agentd"
complete -c agent -l why -d "show what was recalled"
complete -c agent -l json -d "write JSON"
complete -c agent -l stream -d "with --json, each reply as a line"
complete -c agent -l max-tokens -x -d "end the answer after N tokens"
complete -c agent -l wait -x -d "with health: wait so many seconds"
complete -c agent -s h -l help -d "show the help"
