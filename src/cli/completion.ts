import { PurserError } from '../model/errors.ts'
import { suggestion } from './line/suggest.ts'
import { defineVerb } from './line/verb.ts'

/** Each asks `purser __complete` for candidates, a line each; where there are none the shell completes files. */
const SCRIPTS: Readonly<Record<string, string>> = {
  bash: `_purser() {
  local words=("\${COMP_WORDS[@]:1:COMP_CWORD}")
  # bash takes = and : for words of their own; what the cursor is in is told apart here.
  mapfile -t COMPREPLY < <("\${COMP_WORDS[0]}" __complete -- "\${words[@]}" 2>/dev/null | cut -f1)
  local colon=\${COMP_WORDS[COMP_CWORD]%"\${COMP_WORDS[COMP_CWORD]##*:}"}
  COMPREPLY=("\${COMPREPLY[@]#"$colon"}")
}
complete -o default -o bashdefault -F _purser purser
`,
  zsh: `#compdef purser
_purser() {
  local -a found
  local line
  while IFS=$'\\t' read -r line help; do
    found+=("\${line//:/\\\\:}\${help:+:$help}")
  done < <("\${words[1]}" __complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)
  if (( \${#found} )); then _describe purser found; else _files; fi
}
compdef _purser purser
`,
  fish: `function __purser_complete
  set -l words (commandline -opc) (commandline -ct)
  $words[1] __complete -- $words[2..-1] 2>/dev/null
end
complete -c purser -f -n 'test -n "$(__purser_complete)"' -a '(__purser_complete)'
`,
}

export const verb = defineVerb({
  args: [{ name: 'shell', count: '1', completes: 'shell' }],
  options: {},
  async run({ args: [shell = ''] }) {
    const script = Object.hasOwn(SCRIPTS, shell) ? SCRIPTS[shell] : undefined
    if (script === undefined) {
      const known = Object.keys(SCRIPTS)
      throw new PurserError('invalid_argument', `there is no script for ${shell}${suggestion(shell, known)}`, {
        remedy: `write one of ${known.join(', ')}`,
      })
    }
    process.stdout.write(script)
    return 0
  },
})
