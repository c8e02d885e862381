import { Argument, type Command } from 'commander'

const SCRIPTS: Record<string, (verbs: string) => string> = {
  bash: (verbs) => `complete -W '${verbs}' purser\n`,
  fish: (verbs) => `complete -c purser -f -n __fish_use_subcommand -a '${verbs}'\n`,
  zsh: (verbs) => `#compdef purser\n_purser() { compadd ${verbs} }\ncompdef _purser purser\n`,
}

export function define(program: Command, verbs: readonly string[]): void {
  program
    .command('completion')
    .addArgument(new Argument('<shell>').choices(Object.keys(SCRIPTS)))
    .description('completion script of a shell')
    .action((shell: string) => {
      process.stdout.write(SCRIPTS[shell]?.(verbs.join(' ')) ?? '')
    })
}
