# fish completion for agent(1): agent completion fish | source
set -l commands ask chat memory sessions history whoami status health hardware \
    tools tool approve refuse undo log route policy skills reminders notices brief watch completion help
set -l actions add search list show forget correct share history diff restore export import stats check
set -l inner list search rename fork delete
set -l sessions "(agent sessions 2>/dev/null | cut -d' ' -f1)"
set -l memories "(agent memory list 2>/dev/null | cut -d' ' -f1)"
set -l revisions "(agent memory history 2>/dev/null | cut -d' ' -f1)"
# Nothing, if agentd does not answer within a second.
set -l tools "(timeout 1 agent tools 2>/dev/null | cut -d' ' -f1)"
set -l waiting "(agent approve 2>/dev/null | cut -d' ' -f1)"
set -l asking "not __fish_seen_subcommand_from $commands[3..-1]"
set -l memory "__fish_seen_subcommand_from memory; and __fish_seen_subcommand_from"
set -l of_sessions "__fish_seen_subcommand_from sessions; and __fish_seen_subcommand_from"

complete -c agent -f
complete -c agent -n "not __fish_seen_subcommand_from $commands" -a "$commands"
complete -c agent -l socket -r -F -d "socket of agentd"
complete -c agent -l json -d "write JSON"
complete -c agent -s h -l help -d "show the help"
complete -c agent -n "not __fish_seen_subcommand_from $commands" -l version -d "show the version"
complete -c agent -n $asking -s c -l continue -d "go on in the newest session"
complete -c agent -n $asking -l session -x -a $sessions -d "go on in this session"
complete -c agent -n $asking -l max-tokens -x -d "end the answer after N tokens"
complete -c agent -n $asking -l why -d "show what was recalled, and how it scored"
complete -c agent -n $asking -l stream -d "with --json, each reply as a line"

complete -c agent -n "__fish_seen_subcommand_from memory; and not __fish_seen_subcommand_from $actions" -a "$actions"
complete -c agent -n "$memory show forget correct share history" -a $memories
complete -c agent -n "$memory diff restore" -a $revisions
complete -c agent -n "$memory add list" -l kind -x -a "fact preference event note person task skill" -d "kind of memory"
complete -c agent -n "$memory add" -l expires -x -d "not recalled after this day"
complete -c agent -n "$memory add" -l shared -d "for everybody on this machine"
complete -c agent -n "$memory search" -s k -l limit -x -d "at most N"
complete -c agent -n "$memory list history" -l limit -x -d "at most N"
complete -c agent -n "$memory search list" -l archived -d "also what was superseded or has expired"
complete -c agent -n "$memory forget" -l turns -d "also what was said that it came from"
complete -c agent -n "$memory forget" -l yes -d "do not ask"
complete -c agent -n "$memory share" -l no -d "no longer"
complete -c agent -n "$memory export" -s o -l output -r -F -d "a tar file"
complete -c agent -n "$memory import" -F
complete -c agent -n "$memory import" -l format -x -a "archive markdown chatgpt claude jsonl" -d "what the file is"
complete -c agent -n "$memory import" -l source -x -d "where it comes from"
complete -c agent -n "$memory import" -l skip -d "leave bad records out instead of ending"
complete -c agent -n "$memory check" -l repair -d "put right what can be put right"

complete -c agent -n "__fish_seen_subcommand_from sessions; and not __fish_seen_subcommand_from $inner" -a "$inner"
complete -c agent -n "__fish_seen_subcommand_from sessions; and not __fish_seen_subcommand_from search rename fork delete" -l limit -x -d "only the N newest"
complete -c agent -n "$of_sessions rename fork delete" -a $sessions
complete -c agent -n "$of_sessions fork" -l turn -x -d "only up to this turn"
complete -c agent -n "$of_sessions delete" -l yes -d "do not ask"

complete -c agent -n "__fish_seen_subcommand_from history; and not __fish_seen_subcommand_from memory" -a $sessions
complete -c agent -n "__fish_seen_subcommand_from history; and not __fish_seen_subcommand_from memory" -l limit -x -d "only the last N turns"
complete -c agent -n "__fish_seen_subcommand_from whoami" -l owner -x -d "who the owner is"
complete -c agent -n "__fish_seen_subcommand_from whoami" -l address -x -d "how the owner wants to be addressed"
complete -c agent -n "__fish_seen_subcommand_from whoami" -l name -x -d "what the agent is called"
complete -c agent -n "__fish_seen_subcommand_from health" -l wait -x -d "wait so long for it to become healthy"

complete -c agent -n "__fish_seen_subcommand_from tool" -a $tools
complete -c agent -n "__fish_seen_subcommand_from tool undo" -l yes -d "do not ask"
complete -c agent -n "__fish_seen_subcommand_from approve refuse" -a $waiting
complete -c agent -n "__fish_seen_subcommand_from log" -l limit -x -d "only the N newest"
complete -c agent -n "__fish_seen_subcommand_from log" -l verify -d "check that nobody changed the log"
complete -c agent -n "__fish_seen_subcommand_from policy; and not __fish_seen_subcommand_from check" -a check
complete -c agent -n "__fish_seen_subcommand_from policy" -l tool -x -a $tools -d "a tool, with NAME=VALUE ..."
complete -c agent -n "__fish_seen_subcommand_from reminders" -l unseen -d "only what rang and was not seen"
complete -c agent -n "__fish_seen_subcommand_from notices" -l all -d "also what is acknowledged or over"
complete -c agent -n "__fish_seen_subcommand_from notices" -l ack -x -d "acknowledge one"
complete -c agent -n "__fish_seen_subcommand_from notices" -l events -d "every event instead of notices"
complete -c agent -n "__fish_seen_subcommand_from notices" -l quiet -x -a "22:00-07:00 off" -d "set quiet hours"
complete -c agent -n "__fish_seen_subcommand_from completion" -a "bash zsh fish"
